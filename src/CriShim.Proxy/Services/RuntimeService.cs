using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy.Services;

/// <summary>
/// CRI's RuntimeService, as far as crishim looks into it; every method that is not overridden here is forwarded as bytes.
/// </summary>
/// <remarks>
/// <para>
/// Calls that change something are always looked at: they say in the log what happened to pods and containers, and supervision is
/// asked before and told after. Lists, statuses and streams, which the kubelet asks for every second, are parsed only while
/// something must be shown otherwise, or a sidecar runs whose death they may tell first, or debug messages are wanted; calls on one
/// container only while some id stands for another.
/// </para>
/// <para>A failure of supervision lets the call through as it came, but for views: see <see cref="ISupervision"/>.</para>
/// </remarks>
internal sealed partial class RuntimeService(ILogger logger, ISupervision supervision, TimeProvider time)
    : Protocol.Runtime.V1.RuntimeService.RuntimeServiceBase
{
    /// <summary>Our entry in the info of verbose answers.</summary>
    private const string InfoKey = "crishim";

    private readonly RuntimeServiceLog _log = new(logger);
    private readonly bool _isSupervised = supervision is not NoSupervision;

    /// <summary>The typed methods by their paths.</summary>
    public IReadOnlyDictionary<string, TypedMethod> Bind()
    {
        var binder = new ServiceBinder(WantsToLook, WantsRequest);
        Protocol.Runtime.V1.RuntimeService.BindService(binder, this);
        return binder.Methods;
    }

    // ---- Pod sandboxes -----------------------------------------------------------------------------------------------

    /// <inheritdoc/>
    public override async Task<RunPodSandboxResponse> RunPodSandbox(RunPodSandboxRequest request, ServerCallContext context)
    {
        supervision.BeforeRunPodSandbox();
        RunPodSandboxResponse response = await Call(context).ForwardAsync(RunPodSandboxResponse.Parser).ConfigureAwait(false);
        supervision.OnPodSandboxRan(response.PodSandboxId, request.Config);
        PodSandboxMetadata? pod = request.Config?.Metadata;
        _log.PodSandboxRan(response.PodSandboxId, pod?.Namespace, pod?.Name, pod?.Uid, pod?.Attempt ?? 0);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<StopPodSandboxResponse> StopPodSandbox(StopPodSandboxRequest request, ServerCallContext context)
    {
        StopPodSandboxResponse response = await StopSandboxAsync(request.PodSandboxId, StopPodSandboxResponse.Parser, context).ConfigureAwait(false);
        _log.PodSandboxStopped(request.PodSandboxId);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<RemovePodSandboxResponse> RemovePodSandbox(RemovePodSandboxRequest request, ServerCallContext context)
    {
        RemovePodSandboxResponse response = await StopSandboxAsync(request.PodSandboxId, RemovePodSandboxResponse.Parser, context).ConfigureAwait(false);
        supervision.OnPodSandboxRemoved(request.PodSandboxId);
        _log.PodSandboxRemoved(request.PodSandboxId);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<ListPodSandboxResponse> ListPodSandbox(ListPodSandboxRequest request, ServerCallContext context)
    {
        ListPodSandboxResponse response = await Call(context).ForwardAsync(ListPodSandboxResponse.Parser).ConfigureAwait(false);
        int ready = response.Items.Count(sandbox => sandbox.State == PodSandboxState.SandboxReady);
        _log.PodSandboxesListed(response.Items.Count, ready);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<PodSandboxStatusResponse> PodSandboxStatus(PodSandboxStatusRequest request, ServerCallContext context)
    {
        await supervision.ReadyAsync(context.CancellationToken).ConfigureAwait(false);
        PodSandboxStatusResponse response = await Call(context).ForwardAsync(PodSandboxStatusResponse.Parser).ConfigureAwait(false);
        _log.PodSandboxStatusRead(request.PodSandboxId, response.Status?.State ?? default);
        if (request.Verbose && Describe(() => supervision.DescribePod(response.Status?.Id ?? "")) is { } said)
        {
            Call(context).Append(new PodSandboxStatusResponse { Info = { { InfoKey, said } } });
        }

        return ContainerViews.Apply(response, supervision);
    }

    // ---- Containers --------------------------------------------------------------------------------------------------

    /// <inheritdoc/>
    public override async Task<CreateContainerResponse> CreateContainer(CreateContainerRequest request, ServerCallContext context)
    {
        CreateAnswer answer = await supervision.BeforeCreateAsync(request, context.CancellationToken).ConfigureAwait(false);
        ContainerMetadata? container = request.Config?.Metadata;
        if (answer.AnswerWith is { } existing)
        {
            _log.ContainerCreateAnswered(existing, container?.Name, request.PodSandboxId);
            return new CreateContainerResponse { ContainerId = existing };
        }

        CreateContainerResponse response;
        try
        {
            response = await Call(context).ForwardAsync(CreateContainerResponse.Parser).ConfigureAwait(false);
        }
        catch (Exception failure)
        {
            supervision.OnCreateFailed(request, isOutcomeKnown: failure is RpcException
            {
                StatusCode: not (StatusCode.Unavailable or StatusCode.Cancelled or StatusCode.DeadlineExceeded),
            });
            throw;
        }

        supervision.OnCreated(request, response.ContainerId);
        _log.ContainerCreated(response.ContainerId, container?.Name, container?.Attempt ?? 0, request.PodSandboxId);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<StartContainerResponse> StartContainer(StartContainerRequest request, ServerCallContext context)
    {
        if (await supervision.BeforeStartAsync(request.ContainerId, context.Deadline, context.CancellationToken).ConfigureAwait(false))
        {
            return new StartContainerResponse();
        }

        StartContainerResponse response = await Call(context).ForwardAsync(StartContainerResponse.Parser).ConfigureAwait(false);
        supervision.OnStarted(request.ContainerId);
        _log.ContainerStarted(request.ContainerId);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<StopContainerResponse> StopContainer(StopContainerRequest request, ServerCallContext context)
    {
        _log.ContainerStopRequested(request.ContainerId, request.Timeout);
        string instance = await supervision
            .BeforeStopAsync(request.ContainerId, TimeSpan.FromSeconds(Math.Clamp(request.Timeout, 0, int.MaxValue)), context.Deadline, context.CancellationToken)
            .ConfigureAwait(false);
        StopContainerResponse response = await Call(context)
            .ForwardAsync(StopContainerResponse.Parser, Redirect(request, request.ContainerId, instance, static (copy, id) => copy.ContainerId = id))
            .ConfigureAwait(false);
        supervision.OnStopped(instance);
        _log.ContainerStopped(instance);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<RemoveContainerResponse> RemoveContainer(RemoveContainerRequest request, ServerCallContext context)
    {
        await supervision.BeforeRemoveAsync(request.ContainerId, context.Deadline, context.CancellationToken).ConfigureAwait(false);
        RemoveContainerResponse response = await Call(context).ForwardAsync(RemoveContainerResponse.Parser).ConfigureAwait(false);
        supervision.OnRemoved(request.ContainerId);
        _log.ContainerRemoved(request.ContainerId);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<UpdateContainerResourcesResponse> UpdateContainerResources(
        UpdateContainerResourcesRequest request, ServerCallContext context)
    {
        UpdateContainerResourcesRequest? redirected =
            Redirect(request, request.ContainerId, supervision.CurrentInstance(request.ContainerId), static (copy, id) => copy.ContainerId = id);
        UpdateContainerResourcesResponse response =
            await Call(context).ForwardAsync(UpdateContainerResourcesResponse.Parser, redirected).ConfigureAwait(false);
        supervision.OnResourcesUpdated(redirected ?? request);
        _log.ContainerUpdated(request.ContainerId);
        return response;
    }

    /// <inheritdoc/>
    public override async Task<ListContainersResponse> ListContainers(ListContainersRequest request, ServerCallContext context)
    {
        // Filters by state apply to what is shown, hence after rewriting (rule 1).
        ListContainersRequest? unfiltered = null;
        ContainerState? filter = request.Filter?.State?.State;
        if (LooksAtViews && filter is not null)
        {
            unfiltered = request.Clone();
            unfiltered.Filter.State = null;
        }

        await supervision.ReadyAsync(context.CancellationToken).ConfigureAwait(false);
        ListContainersResponse response =
            await Call(context).ForwardAsync(ListContainersResponse.Parser, unfiltered).ConfigureAwait(false);
        int running = response.Containers.Count(container => container.State == ContainerState.ContainerRunning);
        _log.ContainersListed(response.Containers.Count, running);
        return new ListViews(filter, supervision).Apply(response);
    }

    /// <inheritdoc/>
    public override async Task<ContainerStatusResponse> ContainerStatus(ContainerStatusRequest request, ServerCallContext context)
    {
        await supervision.ReadyAsync(context.CancellationToken).ConfigureAwait(false);
        ContainerStatusResponse response = await Call(context).ForwardAsync(ContainerStatusResponse.Parser).ConfigureAwait(false);
        _log.ContainerStatusRead(request.ContainerId, response.Status?.State ?? default, response.Status?.ExitCode ?? 0);
        if (request.Verbose && Describe(() => supervision.DescribeContainer(response.Status?.Id ?? "")) is { } said)
        {
            Call(context).Append(new ContainerStatusResponse { Info = { { InfoKey, said } } });
        }

        return ContainerViews.Apply(response, supervision)
            ?? throw new RpcException(new Status(StatusCode.NotFound, $"container \"{request.ContainerId}\": not found"));
    }

    /// <inheritdoc/>
    public override async Task<ContainerStatsResponse> ContainerStats(ContainerStatsRequest request, ServerCallContext context)
    {
        ContainerStatsRequest? redirected =
            Redirect(request, request.ContainerId, supervision.CurrentInstance(request.ContainerId), static (copy, id) => copy.ContainerId = id);
        ContainerStatsResponse response =
            await Call(context).ForwardAsync(ContainerStatsResponse.Parser, redirected).ConfigureAwait(false);
        _log.ContainerStatsRead(1);
        if (redirected is not null && response.Stats?.Attributes is not null
            && supervision.Show(request.ContainerId, "", "", 0) is { As: ShownAs.Masked })
        {
            // The instance behind is nobody's to know.
            response = response.Clone();
            response.Stats.Attributes.Id = request.ContainerId;
        }

        return response;
    }

    /// <inheritdoc/>
    public override async Task<ListContainerStatsResponse> ListContainerStats(ListContainerStatsRequest request, ServerCallContext context)
    {
        ListContainerStatsResponse response = await ForwardListAsync(context, ListContainerStatsResponse.Parser).ConfigureAwait(false);
        _log.ContainerStatsRead(response.Stats.Count);
        return StatsViews.Apply(response, supervision);
    }

    /// <inheritdoc/>
    public override async Task<ExecSyncResponse> ExecSync(ExecSyncRequest request, ServerCallContext context)
    {
        supervision.OnExec(request.ContainerId, request.Cmd, isRunning: true);
        try
        {
            return await Call(context)
                .ForwardAsync(ExecSyncResponse.Parser, Redirect(request, request.ContainerId, static (copy, id) => copy.ContainerId = id))
                .ConfigureAwait(false);
        }
        finally
        {
            supervision.OnExec(request.ContainerId, request.Cmd, isRunning: false);
        }
    }

    /// <inheritdoc/>
    public override Task<ExecResponse> Exec(ExecRequest request, ServerCallContext context) => Call(context)
        .ForwardAsync(ExecResponse.Parser, Redirect(request, request.ContainerId, static (copy, id) => copy.ContainerId = id));

    /// <inheritdoc/>
    public override Task<AttachResponse> Attach(AttachRequest request, ServerCallContext context) => Call(context)
        .ForwardAsync(AttachResponse.Parser, Redirect(request, request.ContainerId, static (copy, id) => copy.ContainerId = id));

    /// <inheritdoc/>
    public override Task<ReopenContainerLogResponse> ReopenContainerLog(ReopenContainerLogRequest request, ServerCallContext context) =>
        Call(context).ForwardAsync(
            ReopenContainerLogResponse.Parser, Redirect(request, request.ContainerId, static (copy, id) => copy.ContainerId = id));

    // ---- The node ----------------------------------------------------------------------------------------------------

    /// <inheritdoc/>
    public override async Task<StatusResponse> Status(StatusRequest request, ServerCallContext context)
    {
        StatusResponse response = await Call(context).ForwardAsync(StatusResponse.Parser).ConfigureAwait(false);
        bool ready = response.Status?.Conditions.All(condition => condition.Status) ?? false;
        _log.StatusRead(ready);
        if (request.Verbose && Describe(supervision.DescribeNode) is { } said)
        {
            Call(context).Append(new StatusResponse { Info = { { InfoKey, said } } });
        }

        return response;
    }

    /// <inheritdoc/>
    public override async Task GetContainerEvents(
        GetEventsRequest request, IServerStreamWriter<ContainerEventResponse> responseStream, ServerCallContext context)
    {
        if (_isSupervised)
        {
            await supervision.ReadyAsync(context.CancellationToken).ConfigureAwait(false);
            Call(context).ForwardRewritten(new ContainerEventRewriter(supervision, time, logger.IsEnabled(LogLevel.Debug) ? Watch : null));
            return;
        }

        Call(context).ForwardObserved(message => Watch(ContainerEventResponse.Parser.ParseFrom(message.Span)));
    }

    private void Watch(ContainerEventResponse change) => _log.ContainerEventPassed(change.ContainerEventType, change.ContainerId);

    private async Task<T> StopSandboxAsync<T>(string sandboxId, MessageParser<T> parser, ServerCallContext context)
        where T : class, IMessage<T>
    {
        bool isKnown = await supervision.BeforeStopSandboxAsync(sandboxId, context.Deadline, context.CancellationToken).ConfigureAwait(false);
        bool isStopped = false;
        try
        {
            T response = await Call(context).ForwardAsync(parser).ConfigureAwait(false);
            isStopped = true;
            return response;
        }
        finally
        {
            if (isKnown)
            {
                supervision.OnStopSandboxEnded(sandboxId, isStopped);
            }
        }
    }

    private bool LooksAtViews => supervision.RewritesViews || supervision.WatchesEnds;

    private static TypedCall Call(ServerCallContext context) => (TypedCall)context;

    /// <summary>The request for another instance, or null where it goes on as it came.</summary>
    private static T? Redirect<T>(T request, string id, string instance, Action<T, string> set)
        where T : class, IDeepCloneable<T>
    {
        if (instance == id)
        {
            return null;
        }

        T copy = request.Clone();
        set(copy, instance);
        return copy;
    }

    private T? Redirect<T>(T request, string id, Action<T, string> set)
        where T : class, IDeepCloneable<T> =>
        Redirect(request, id, supervision.CurrentInstance(id), set);

    /// <summary>What supervision says about something, for a verbose answer; nothing where it fails.</summary>
    private string? Describe(Func<string?> describe)
    {
        try
        {
            return describe();
        }
        catch (Exception exception)
        {
            _log.DescriptionFailed(exception);
            return null;
        }
    }

    /// <summary>Verbose answers get an entry of ours; others are looked at only where something may be shown otherwise.</summary>
    private RequestQuestion? WantsRequest(string path) => path[(path.LastIndexOf('/') + 1)..] switch
    {
        nameof(ContainerStatus) => message =>
            LooksAtViews || logger.IsEnabled(LogLevel.Debug) || IsSet(message, ContainerStatusRequest.VerboseFieldNumber),
        nameof(PodSandboxStatus) => message =>
            LooksAtViews || logger.IsEnabled(LogLevel.Debug) || IsSet(message, PodSandboxStatusRequest.VerboseFieldNumber),
        nameof(Status) => message => logger.IsEnabled(LogLevel.Debug) || IsSet(message, StatusRequest.VerboseFieldNumber),
        _ => null,
    };

    /// <summary>A bool field of a message whose other fields are short.</summary>
    private static bool IsSet(ReadOnlySpan<byte> message, int field)
    {
        // Its tag and 1: nothing else in a request without the field looks like it but by chance, and then its handler finds it unset.
        ReadOnlySpan<byte> set = [(byte)(field << 3), 1];
        return message.IndexOf(set) >= 0;
    }

    private Func<bool>? WantsToLook(string path)
    {
        switch (path[(path.LastIndexOf('/') + 1)..])
        {
            case nameof(RunPodSandbox):
            case nameof(StopPodSandbox):
            case nameof(RemovePodSandbox):
            case nameof(CreateContainer):
            case nameof(StartContainer):
            case nameof(StopContainer):
            case nameof(RemoveContainer):
            case nameof(UpdateContainerResources):
                return static () => true;
            case nameof(ListContainers):
                return () => LooksAtViews || logger.IsEnabled(LogLevel.Debug);
            case nameof(ContainerStatus):
            case nameof(PodSandboxStatus):
                return () => LooksAtViews || _isSupervised || logger.IsEnabled(LogLevel.Debug);
            case nameof(StreamContainers):
                return () => LooksAtViews;
            case nameof(ListContainerStats):
                return () => supervision.RewritesViews || logger.IsEnabled(LogLevel.Debug);
            case nameof(ContainerStats):
                return () => supervision.MapsIds || logger.IsEnabled(LogLevel.Debug);
            case nameof(ExecSync):
                return () => supervision.MapsIds || supervision.WatchesHooks;
            case nameof(Exec):
            case nameof(Attach):
            case nameof(ReopenContainerLog):
                return () => supervision.MapsIds;
            case nameof(StreamContainerStats):
            case nameof(PodSandboxStats):
            case nameof(ListPodSandboxStats):
            case nameof(StreamPodSandboxStats):
            case nameof(ListPodSandboxMetrics):
            case nameof(StreamPodSandboxMetrics):
                return () => supervision.RewritesViews;
            case nameof(ListPodSandbox):
                return () => logger.IsEnabled(LogLevel.Debug);
            case nameof(Status):
                return () => _isSupervised || logger.IsEnabled(LogLevel.Debug);
            case nameof(GetContainerEvents):
                return () => _isSupervised || logger.IsEnabled(LogLevel.Debug);
            default:
                return null;
        }
    }
}
