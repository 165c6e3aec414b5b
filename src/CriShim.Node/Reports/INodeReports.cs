using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Node.Reports;

/// <summary>What people's tools ask about the node's pods. Bounded answers; nothing here changes anything.</summary>
public interface INodeReports
{
    /// <summary>Pods and sidecars of ready sandboxes, for a status.</summary>
    (int Pods, int Sidecars) Count();

    /// <summary>Name and version of the backend; null while it can't be asked.</summary>
    Task<(string Name, string Version)?> BackendAsync(TimeSpan patience, CancellationToken cancellationToken);

    /// <summary>All pods that are known, by namespace and name.</summary>
    Task<ListPodsResponse> ListAsync(bool withUsage, CancellationToken cancellationToken);

    /// <summary>Pods with their lives and what happened to them, for a page. Asks nobody: takes each pod's lock for a moment.</summary>
    /// <param name="mostPods">How many pods at most.</param>
    /// <param name="mostEvents">How many things of each that happened.</param>
    NodePage Page(int mostPods, int mostEvents);

    /// <summary>Why a pod, or one of its containers, is as it is.</summary>
    /// <exception cref="RpcException">NOT_FOUND or FAILED_PRECONDITION, see supervisor.proto.</exception>
    Task<ExplainResponse> ExplainAsync(string subject, CancellationToken cancellationToken);

    /// <summary>One pod's life as bars.</summary>
    /// <exception cref="RpcException">As for <see cref="ExplainAsync"/>.</exception>
    GetTimelineResponse Timeline(string subject);

    /// <summary>What happened after a cursor.</summary>
    /// <exception cref="RpcException">As for <see cref="ExplainAsync"/>.</exception>
    Task<GetEventsResponse> EventsAsync(long cursor, TimeSpan wait, string subject, CancellationToken cancellationToken);
}
