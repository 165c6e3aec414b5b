using CriShim.Protocol.Containerd.Services.Tasks.V1;
using CriShim.Protocol.Runtime.V1;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Containerd.Runtime;

/// <summary>The shim's own CRI calls to containerd.</summary>
/// <remarks>
/// Nothing here throws, but for <see cref="OperationCanceledException"/> when the given token was cancelled: a failure is a value,
/// for a restart has to decide by it. Questions are asked again while containerd is away, within their deadline; changes never
/// are, since one that got no answer may have taken effect.
/// </remarks>
public sealed class RuntimeAdapter : IDisposable
{
    private const uint SigKill = 9;
    private const int MaxDeletions = 5;

    private readonly RuntimeAdapterOptions _options;
    private readonly TimeProvider _time;
    private readonly ContainerdLog _log;
    private readonly ContainerdChannel _channel;
    private readonly RuntimeService.RuntimeServiceClient _runtime;
    private readonly Tasks.TasksClient _tasks;

    /// <summary>Connects at the first call.</summary>
    public RuntimeAdapter(RuntimeAdapterOptions options, ILogger logger, TimeProvider? time = null)
    {
        _options = options;
        _time = time ?? TimeProvider.System;
        _log = new ContainerdLog(logger);
        _channel = new ContainerdChannel(options.SocketPath);
        _runtime = new RuntimeService.RuntimeServiceClient(_channel.Invoker);
        _tasks = new Tasks.TasksClient(_channel.Invoker);
    }

    /// <summary>All pod sandboxes that match; all there are without a filter.</summary>
    public Task<CallResult<ListPodSandboxResponse>> ListPodSandboxAsync(PodSandboxFilter? filter, CancellationToken cancellationToken) =>
        AskAsync("ListPodSandbox", filter?.Id ?? "", options => _runtime.ListPodSandboxAsync(new ListPodSandboxRequest { Filter = filter }, options), cancellationToken);

    /// <summary>All containers that match; all there are without a filter.</summary>
    public Task<CallResult<ListContainersResponse>> ListContainersAsync(ContainerFilter? filter, CancellationToken cancellationToken) =>
        AskAsync("ListContainers", filter?.PodSandboxId ?? "", options => _runtime.ListContainersAsync(new ListContainersRequest { Filter = filter }, options), cancellationToken);

    /// <summary>A container's status; verbose, with its configuration in <c>info</c>, which holds its environment.</summary>
    public Task<CallResult<ContainerStatusResponse>> ContainerStatusAsync(string containerId, bool verbose, CancellationToken cancellationToken) =>
        AskAsync("ContainerStatus", containerId, options => _runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = containerId, Verbose = verbose }, options), cancellationToken);

    /// <summary>A pod sandbox's status; verbose, with its configuration in <c>info</c>.</summary>
    public Task<CallResult<PodSandboxStatusResponse>> PodSandboxStatusAsync(string sandboxId, bool verbose, CancellationToken cancellationToken) =>
        AskAsync("PodSandboxStatus", sandboxId, options => _runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = sandboxId, Verbose = verbose }, options), cancellationToken);

    /// <summary>What containers use now.</summary>
    public Task<CallResult<ListContainerStatsResponse>> ListContainerStatsAsync(ContainerStatsFilter? filter, CancellationToken cancellationToken) =>
        AskAsync("ListContainerStats", filter?.PodSandboxId ?? "", options => _runtime.ListContainerStatsAsync(new ListContainerStatsRequest { Filter = filter }, options), cancellationToken);

    /// <summary>Name and version of the backend.</summary>
    public Task<CallResult<VersionResponse>> VersionAsync(CancellationToken cancellationToken) =>
        AskAsync("Version", "", options => _runtime.VersionAsync(new VersionRequest(), options), cancellationToken);

    /// <summary>Creates a container exactly as requested.</summary>
    public Task<CallResult<CreateContainerResponse>> CreateContainerAsync(CreateContainerRequest request, CancellationToken cancellationToken) =>
        CallAsync("CreateContainer", request.PodSandboxId, options => _runtime.CreateContainerAsync(request, options), _options.ChangeDeadline, cancellationToken);

    /// <summary>Starts a created container. One that runs already is <see cref="FailureKind.Other"/>.</summary>
    public Task<CallResult<StartContainerResponse>> StartContainerAsync(string containerId, CancellationToken cancellationToken) =>
        CallAsync("StartContainer", containerId, options => _runtime.StartContainerAsync(new StartContainerRequest { ContainerId = containerId }, options), _options.ChangeDeadline, cancellationToken);

    /// <summary>Changes a container's resources exactly as requested.</summary>
    public Task<CallResult<UpdateContainerResourcesResponse>> UpdateContainerResourcesAsync(
        UpdateContainerResourcesRequest request, CancellationToken cancellationToken) =>
        CallAsync("UpdateContainerResources", request.ContainerId, options => _runtime.UpdateContainerResourcesAsync(request, options), _options.ChangeDeadline, cancellationToken);

    /// <summary>
    /// Sends the stop signal, waits for <paramref name="grace"/>, kills. OK for one that has ended already. containerd sends the signal
    /// once per container: a later call only waits and kills. Cancelled while it waits, it does not kill.
    /// </summary>
    /// <param name="containerId">The container.</param>
    /// <param name="grace">Rounded up to whole seconds; 0 kills at once.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    public Task<CallResult<StopContainerResponse>> StopContainerAsync(string containerId, TimeSpan grace, CancellationToken cancellationToken)
    {
        long seconds = Math.Max(0, (long)Math.Ceiling(grace.TotalSeconds));
        var request = new StopContainerRequest { ContainerId = containerId, Timeout = seconds };
        TimeSpan deadline = TimeSpan.FromSeconds(seconds) + _options.StopMargin;
        return CallAsync("StopContainer", containerId, options => _runtime.StopContainerAsync(request, options), deadline, cancellationToken);
    }

    /// <summary>Runs a command in a container, and waits for its end.</summary>
    /// <param name="containerId">The container.</param>
    /// <param name="command">The command and its arguments.</param>
    /// <param name="timeout">Rounded up to whole seconds; then the backend kills it.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    public Task<CallResult<ExecSyncResponse>> ExecSyncAsync(
        string containerId, IReadOnlyList<string> command, TimeSpan timeout, CancellationToken cancellationToken)
    {
        // Zero would be for ever.
        long seconds = Math.Max(1, (long)Math.Ceiling(timeout.TotalSeconds));
        var request = new ExecSyncRequest { ContainerId = containerId, Timeout = seconds };
        request.Cmd.AddRange(command);
        TimeSpan deadline = TimeSpan.FromSeconds(seconds) + _options.StopMargin;
        return CallAsync("ExecSync", containerId, options => _runtime.ExecSyncAsync(request, options), deadline, cancellationToken);
    }

    /// <summary>Removes a container, killing it if it runs. OK for one that is gone already.</summary>
    public Task<CallResult<RemoveContainerResponse>> RemoveContainerAsync(string containerId, CancellationToken cancellationToken) =>
        CallAsync("RemoveContainer", containerId, options => _runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = containerId }, options), _options.ChangeDeadline, cancellationToken);

    /// <summary>Stops a pod sandbox, killing what still runs in it. OK for one that has stopped already.</summary>
    public Task<CallResult<StopPodSandboxResponse>> StopPodSandboxAsync(string sandboxId, CancellationToken cancellationToken) =>
        CallAsync(
            "StopPodSandbox", sandboxId, options => _runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandboxId }, options),
            _options.ChangeDeadline, cancellationToken);

    /// <summary>
    /// Ends a task that was left behind (<see cref="FailureKind.TaskLeftBehind"/>), by containerd's own task service: after that the
    /// container can be removed. The answer is that of the deletion, which is refused until the killed process is gone. For no other
    /// container: CRI, which thinks that it runs, was seen to refuse the removal of one whose task it lost this way.
    /// </summary>
    public async Task<CallResult<DeleteResponse>> DiscardTaskAsync(string containerId, CancellationToken cancellationToken)
    {
        var kill = new KillRequest { ContainerId = containerId, Signal = SigKill };
        var delete = new DeleteTaskRequest { ContainerId = containerId };
        _ = await CallAsync("Kill", containerId, options => _tasks.KillAsync(kill, InNamespace(options)), _options.ChangeDeadline, cancellationToken)
            .ConfigureAwait(false);
        CallResult<DeleteResponse> deleted;
        int tries = 0;
        while (true)
        {
            deleted = await CallAsync(
                "Delete", containerId, options => _tasks.DeleteAsync(delete, InNamespace(options)), _options.ChangeDeadline, cancellationToken)
                .ConfigureAwait(false);
            if (deleted.Failure is not { Code: StatusCode.FailedPrecondition or StatusCode.Unknown } || ++tries == MaxDeletions)
            {
                return deleted;
            }

            await Task.Delay(_options.FirstRetryDelay, _time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _channel.Dispose();

    private static CallOptions InNamespace(CallOptions options) => options.WithHeaders(new Metadata { { "containerd-namespace", "k8s.io" } });

    private async Task<CallResult<T>> AskAsync<T>(
        string method, string subject, Func<CallOptions, AsyncUnaryCall<T>> call, CancellationToken cancellationToken)
        where T : class
    {
        long start = _time.GetTimestamp();
        TimeSpan delay = _options.FirstRetryDelay;
        while (true)
        {
            TimeSpan left = _options.ReadDeadline - _time.GetElapsedTime(start);
            CallResult<T> result = await CallAsync(method, subject, call, left, cancellationToken).ConfigureAwait(false);
            // RESOURCE_EXHAUSTED and the like would only be made worse by asking again.
            if (result.Failure is not { Kind: FailureKind.Unavailable } || _time.GetElapsedTime(start) + delay >= _options.ReadDeadline)
            {
                return result;
            }

            _log.CallRetried(method, result.Failure.Code);
            await Task.Delay(delay, _time, cancellationToken).ConfigureAwait(false);
            delay = delay * 2 < _options.MaxRetryDelay ? delay * 2 : _options.MaxRetryDelay;
        }
    }

    private async Task<CallResult<T>> CallAsync<T>(
        string method, string subject, Func<CallOptions, AsyncUnaryCall<T>> call, TimeSpan deadline, CancellationToken cancellationToken)
        where T : class
    {
        cancellationToken.ThrowIfCancellationRequested();
        long start = _time.GetTimestamp();
        // A token rather than gRPC's own deadline: that one knows no TimeProvider. containerd learns of it all the same, by the
        // stream's reset.
        using var limit = new CancellationTokenSource(deadline > TimeSpan.Zero ? deadline : TimeSpan.Zero, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        Status status;
        try
        {
            using AsyncUnaryCall<T> running = call(new CallOptions(cancellationToken: either.Token));
            T answer = await running.ResponseAsync.ConfigureAwait(false);
            _log.CallEnded(method, StatusCode.OK, _time.GetElapsedTime(start).TotalMilliseconds, subject);
            return CallResult<T>.Ok(answer);
        }
        catch (RpcException e)
        {
            status = e.Status;
        }
        catch (OperationCanceledException)
        {
            status = new Status(StatusCode.Cancelled, "");
        }

        if (either.IsCancellationRequested && status.StatusCode == StatusCode.Cancelled)
        {
            cancellationToken.ThrowIfCancellationRequested();
            status = new Status(StatusCode.DeadlineExceeded, "");
        }

        _log.CallEnded(method, status.StatusCode, _time.GetElapsedTime(start).TotalMilliseconds, subject);
        return CallResult<T>.Failed(FailureReading.Read(status));
    }
}
