using CriShim.Commands;
using CriShim.Configuration;
using CriShim.Node.Draining;
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
/// <param name="time">The clock.</param>
internal sealed class SupervisorService(
    CriShimConfiguration configuration,
    NodeDrain drain,
    Func<CancellationToken, Task<IReadOnlyList<CallerInfo>>> callers,
    KubeletEvidence kubelets,
    TimeProvider time) : Supervisor.SupervisorBase
{
    private readonly Timestamp _startedAt = Timestamp.FromDateTimeOffset(time.GetUtcNow());

    /// <inheritdoc/>
    public override Task<StatusResponse> Status(StatusRequest request, ServerCallContext context) => Task.FromResult(new StatusResponse
    {
        Version = VersionCommand.Version,
        StartedAt = _startedAt,
        ListenPath = configuration.Listen.SocketPath,
        ContainerdPath = configuration.Containerd.SocketPath,
        SupervisionMode = SettingRules.NameOf(configuration.Supervision.Mode),
        IsDraining = drain.IsDraining,
    });

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

    private static TimeSpan ReadGrace(Duration? grace)
    {
        // ToTimeSpan throws for what is no proper duration.
        TimeSpan? span = null;
        try
        {
            span = grace?.ToTimeSpan();
        }
        catch (Exception improper) when (improper is InvalidOperationException or OverflowException)
        {
        }

        return span is { } value && value >= TimeSpan.Zero && value <= NodeDrain.MaxGrace
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
