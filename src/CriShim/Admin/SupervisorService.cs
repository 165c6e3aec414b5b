using CriShim.Commands;
using CriShim.Configuration;
using CriShim.Node.Draining;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using CriShim.Proxy;
using CriShim.Supervision;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using DrainedPod = CriShim.Protocol.Admin.V1.DrainedPod;
using DrainState = CriShim.Protocol.Admin.V1.DrainState;
using PodEndPhase = CriShim.Protocol.Admin.V1.PodEndPhase;

namespace CriShim.Admin;

/// <summary>What crishim's commands ask of the one that serves.</summary>
/// <param name="configuration">What it serves.</param>
/// <param name="drain">The node's drain.</param>
/// <param name="callers">Who is connected to the CRI socket now.</param>
/// <param name="kubelets">Which of them are kubelets.</param>
/// <param name="reports">What is known of the node's pods.</param>
/// <param name="time">The clock.</param>
internal sealed class SupervisorService(
    CriShimConfiguration configuration,
    NodeDrain drain,
    Func<CancellationToken, Task<IReadOnlyList<CallerInfo>>> callers,
    KubeletEvidence kubelets,
    INodeReports reports,
    TimeProvider time) : Supervisor.SupervisorBase
{
    private static readonly TimeSpan BackendPatience = TimeSpan.FromSeconds(1);

    private readonly Timestamp _startedAt = Timestamp.FromDateTimeOffset(time.GetUtcNow());

    /// <inheritdoc/>
    public override async Task<StatusResponse> Status(StatusRequest request, ServerCallContext context)
    {
        (string Name, string Version)? backend = await reports.BackendAsync(BackendPatience, context.CancellationToken).ConfigureAwait(false);
        (int pods, int sidecars) = reports.Count();
        return new StatusResponse
        {
            Version = VersionCommand.Version,
            StartedAt = _startedAt,
            ListenPath = configuration.Listen.SocketPath,
            ContainerdPath = configuration.Containerd.SocketPath,
            SupervisionMode = SettingRules.NameOf(configuration.Supervision.Mode),
            IsDraining = drain.IsDraining,
            BackendName = backend?.Name ?? "",
            BackendVersion = backend?.Version ?? "",
            Pods = pods,
            Sidecars = sidecars,
        };
    }

    /// <inheritdoc/>
    public override Task<ListPodsResponse> ListPods(ListPodsRequest request, ServerCallContext context) =>
        reports.ListAsync(request.WithUsage, context.CancellationToken);

    /// <inheritdoc/>
    public override Task<ExplainResponse> Explain(ExplainRequest request, ServerCallContext context) =>
        reports.ExplainAsync(request.Subject, context.CancellationToken);

    /// <inheritdoc/>
    public override Task<GetTimelineResponse> GetTimeline(GetTimelineRequest request, ServerCallContext context) =>
        Task.FromResult(reports.Timeline(request.Subject));

    /// <inheritdoc/>
    public override Task<GetEventsResponse> GetEvents(GetEventsRequest request, ServerCallContext context) =>
        reports.EventsAsync(request.Cursor, ReadWait(request.Wait), request.Subject, context.CancellationToken);

    /// <inheritdoc/>
    public override async Task<DrainResponse> Drain(DrainRequest request, ServerCallContext context)
    {
        TimeSpan grace = ReadGrace(request.Grace);
        if (!request.Force && kubelets.Find(await callers(context.CancellationToken).ConfigureAwait(false)) is { } alive)
        {
            throw new RpcException(new Status(StatusCode.FailedPrecondition, alive));
        }

        return new DrainResponse { Drain = ToMessage(drain.Begin(grace)) };
    }

    /// <inheritdoc/>
    public override Task<GetDrainResponse> GetDrain(GetDrainRequest request, ServerCallContext context) =>
        Task.FromResult(new GetDrainResponse { Drain = drain.State() is { } state ? ToMessage(state) : null });

    /// <inheritdoc/>
    public override Task<CancelDrainResponse> CancelDrain(CancelDrainRequest request, ServerCallContext context) =>
        Task.FromResult(new CancelDrainResponse { WasDraining = drain.Cancel() });

    /// <summary>Null for what is no proper duration, for which ToTimeSpan throws.</summary>
    private static TimeSpan? Read(Duration? duration)
    {
        try
        {
            return duration?.ToTimeSpan();
        }
        catch (Exception improper) when (improper is InvalidOperationException or OverflowException)
        {
            return null;
        }
    }

    private static TimeSpan ReadWait(Duration? wait) => Read(wait) is { } time && time > TimeSpan.Zero ? time : TimeSpan.Zero;

    private static TimeSpan ReadGrace(Duration? grace)
    {
        return Read(grace) is { } value && value >= TimeSpan.Zero && value <= NodeDrain.MaxGrace
            ? value
            : throw new RpcException(new Status(
                StatusCode.InvalidArgument, $"grace must be from 0s to {GoDuration.Format(NodeDrain.MaxGrace)}"));
    }

    private DrainState ToMessage(Node.Draining.DrainState state)
    {
        var message = new DrainState
        {
            BeganAt = Timestamp.FromDateTimeOffset(state.BeganAt),
            Deadline = Timestamp.FromDateTimeOffset(state.Deadline),
            IsNodeKnown = state.IsNodeKnown,
            IsComplete = state.IsComplete,
            IsSettled = state.IsSettled(time.GetUtcNow()),
        };
        foreach (Node.Draining.DrainedPod pod in state.Pods)
        {
            message.Pods.Add(new DrainedPod
            {
                SandboxId = pod.Pod.SandboxId,
                Namespace = pod.Pod.Namespace,
                Name = pod.Pod.Name,
                Phase = pod.State.Phase switch
                {
                    Node.Draining.PodEndPhase.Done => PodEndPhase.Done,
                    Node.Draining.PodEndPhase.Failed => PodEndPhase.Failed,
                    _ => PodEndPhase.Ending,
                },
                Stage = pod.State.Stage,
                Running = { pod.State.Running },
                EndedAt = pod.EndedAt is { } at ? Timestamp.FromDateTimeOffset(at) : null,
            });
        }

        return message;
    }
}
