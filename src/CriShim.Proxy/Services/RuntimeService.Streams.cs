using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;
using Grpc.Core;

namespace CriShim.Proxy.Services;

/// <content>Lists that come as streams, and statistics: looked at only while something is shown otherwise than the backend says.</content>
internal sealed partial class RuntimeService
{
    /// <inheritdoc/>
    public override async Task StreamContainers(
        StreamContainersRequest request, IServerStreamWriter<StreamContainersResponse> responseStream, ServerCallContext context)
    {
        StreamContainersRequest? unfiltered = null;
        ContainerState? filter = request.Filter?.State?.State;
        if (filter is not null)
        {
            unfiltered = request.Clone();
            unfiltered.Filter.State = null;
        }

        var views = new ListViews(filter, supervision);
        await ForwardListAsync(context, StreamContainersResponse.Parser, views.Apply, unfiltered).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public override Task StreamContainerStats(
        StreamContainerStatsRequest request, IServerStreamWriter<StreamContainerStatsResponse> responseStream, ServerCallContext context) =>
        ForwardListAsync(context, StreamContainerStatsResponse.Parser, message => StatsViews.Apply(message, supervision));

    /// <inheritdoc/>
    public override Task StreamPodSandboxStats(
        StreamPodSandboxStatsRequest request, IServerStreamWriter<StreamPodSandboxStatsResponse> responseStream, ServerCallContext context) =>
        ForwardListAsync(context, StreamPodSandboxStatsResponse.Parser, message => StatsViews.Apply(message, supervision));

    /// <inheritdoc/>
    public override Task StreamPodSandboxMetrics(
        StreamPodSandboxMetricsRequest request, IServerStreamWriter<StreamPodSandboxMetricsResponse> responseStream, ServerCallContext context) =>
        ForwardListAsync(context, StreamPodSandboxMetricsResponse.Parser, message => StatsViews.Apply(message, supervision));

    /// <inheritdoc/>
    public override async Task<PodSandboxStatsResponse> PodSandboxStats(PodSandboxStatsRequest request, ServerCallContext context) =>
        StatsViews.Apply(await ForwardListAsync(context, PodSandboxStatsResponse.Parser).ConfigureAwait(false), supervision);

    /// <inheritdoc/>
    public override async Task<ListPodSandboxStatsResponse> ListPodSandboxStats(ListPodSandboxStatsRequest request, ServerCallContext context) =>
        StatsViews.Apply(await ForwardListAsync(context, ListPodSandboxStatsResponse.Parser).ConfigureAwait(false), supervision);

    /// <inheritdoc/>
    public override async Task<ListPodSandboxMetricsResponse> ListPodSandboxMetrics(
        ListPodSandboxMetricsRequest request, ServerCallContext context) =>
        StatsViews.Apply(await ForwardListAsync(context, ListPodSandboxMetricsResponse.Parser).ConfigureAwait(false), supervision);

    private async Task ForwardListAsync<T>(ServerCallContext context, MessageParser<T> parser, Func<T, T> apply, IMessage? replacement = null)
        where T : class, IMessage<T>
    {
        await supervision.ReadyAsync(context.CancellationToken).ConfigureAwait(false);
        Call(context).ForwardRewritten(new ListRewriter<T>(parser, apply), replacement);
    }

    private async Task<T> ForwardListAsync<T>(ServerCallContext context, MessageParser<T> parser)
        where T : class, IMessage<T>
    {
        await supervision.ReadyAsync(context.CancellationToken).ConfigureAwait(false);
        return await Call(context).ForwardAsync(parser).ConfigureAwait(false);
    }
}
