using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Tests.Admin;

/// <summary>Answers that the test gives.</summary>
internal sealed class StandInReports : INodeReports
{
    public ListPodsResponse Pods { get; set; } = new();

    public ExplainResponse Explained { get; set; } = new() { Pod = new Pod() };

    public GetTimelineResponse Drawn { get; set; } = new();

    /// <summary>Given one after another; then nothing happens any more.</summary>
    public Queue<GetEventsResponse> Events { get; } = new();

    public (string Name, string Version)? Backend { get; set; } = ("containerd", "v2.1.3");

    /// <summary>What is asked for is refused with this.</summary>
    public RpcException? Refusal { get; set; }

    public List<string> Subjects { get; } = [];

    /// <summary>How lists and events are answered, one after another; with what is asked for once there are none, and for OK.</summary>
    public Queue<StatusCode> Codes { get; } = new();

    public (int Pods, int Sidecars) Count() => (Pods.Pods.Count, 3);

    public Task<(string Name, string Version)?> BackendAsync(TimeSpan patience, CancellationToken cancellationToken) => Task.FromResult(Backend);

    public Task<ListPodsResponse> ListAsync(bool withUsage, CancellationToken cancellationToken) => Task.FromResult(ByCode(Pods));

    public Task<ExplainResponse> ExplainAsync(string subject, CancellationToken cancellationToken) => Task.FromResult(Asked(subject, Explained));

    public NodePage Page(int mostPods, int mostEvents) => new([], 0, 0, 0);

    public GetTimelineResponse Timeline(string subject) => Asked(subject, Drawn);

    public Task<GetEventsResponse> EventsAsync(long cursor, TimeSpan wait, string subject, CancellationToken cancellationToken)
    {
        Subjects.Add($"{subject} after {cursor}");
        return Task.FromResult(ByCode(Events.TryDequeue(out GetEventsResponse? events) ? events : new GetEventsResponse { Cursor = cursor }));
    }

    private T ByCode<T>(T answer) =>
        Codes.TryDequeue(out StatusCode code) && code != StatusCode.OK ? throw new RpcException(new Status(code, "as the test says")) : answer;

    private T Asked<T>(string subject, T answer)
    {
        Subjects.Add(subject);
        return Refusal is null ? answer : throw Refusal;
    }
}
