using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;
using Google.Protobuf.Collections;

namespace CriShim.Proxy.Services;

/// <summary>Statistics and metrics have nothing of containers that lists do not show, or show as completed. Whatever is not rewritten is the same object.</summary>
internal static class StatsViews
{
    public static ListContainerStatsResponse Apply(ListContainerStatsResponse response, ISupervision supervision) =>
        Without(response, static list => list.Stats, stats => IsHidden(stats, supervision));

    public static StreamContainerStatsResponse Apply(StreamContainerStatsResponse response, ISupervision supervision) =>
        Without(response, static list => list.ContainerStats, stats => IsHidden(stats, supervision));

    public static PodSandboxStatsResponse Apply(PodSandboxStatsResponse response, ISupervision supervision)
    {
        if (response.Stats is not { } stats || ReferenceEquals(Apply(stats, supervision), stats))
        {
            return response;
        }

        PodSandboxStatsResponse rewritten = response.Clone();
        rewritten.Stats = Apply(stats, supervision);
        return rewritten;
    }

    public static ListPodSandboxStatsResponse Apply(ListPodSandboxStatsResponse response, ISupervision supervision) =>
        Each(response, static list => list.Stats, stats => Apply(stats, supervision));

    public static StreamPodSandboxStatsResponse Apply(StreamPodSandboxStatsResponse response, ISupervision supervision) =>
        Each(response, static list => list.PodSandboxStats, stats => Apply(stats, supervision));

    public static ListPodSandboxMetricsResponse Apply(ListPodSandboxMetricsResponse response, ISupervision supervision) =>
        Each(response, static list => list.PodMetrics, metrics => Apply(metrics, supervision));

    public static StreamPodSandboxMetricsResponse Apply(StreamPodSandboxMetricsResponse response, ISupervision supervision) =>
        Each(response, static list => list.PodSandboxMetrics, metrics => Apply(metrics, supervision));

    private static PodSandboxStats Apply(PodSandboxStats stats, ISupervision supervision) =>
        stats.Linux is null ? stats : Without(stats, static pod => pod.Linux.Containers, container => IsHidden(container, supervision));

    private static PodSandboxMetrics Apply(PodSandboxMetrics metrics, ISupervision supervision) => Without(
        metrics,
        static pod => pod.ContainerMetrics,
        container => IsHidden(supervision.Show(container.ContainerId, metrics.PodSandboxId, "", 0)));

    private static bool IsHidden(ContainerStats stats, ISupervision supervision) => stats.Attributes is { } container
        && IsHidden(supervision.Show(container.Id, SandboxOf(container, supervision), container.Metadata?.Name ?? "", container.Metadata?.Attempt ?? 0));

    /// <summary>Of a replacement whose id nobody has told yet only its labels say where it is.</summary>
    private static string SandboxOf(ContainerAttributes container, ISupervision supervision) =>
        supervision.SandboxOf(container.Id) is null && container.Labels.TryGetValue("io.kubernetes.pod.uid", out string? uid)
            ? supervision.SandboxOfPod(uid) ?? ""
            : "";

    // What has ended, by what is shown, has no statistics either.
    private static bool IsHidden(ShownContainer? shown) => shown?.As is ShownAs.Hidden or ShownAs.Masked;

    private static T Without<T, TItem>(T message, Func<T, RepeatedField<TItem>> items, Predicate<TItem> isHidden)
        where T : IDeepCloneable<T>
    {
        RepeatedField<TItem> all = items(message);
        TItem[] shown = [.. all.Where(item => !isHidden(item))];
        return shown.Length == all.Count ? message : RewrittenItems.With(message, items, shown);
    }

    private static T Each<T, TItem>(T message, Func<T, RepeatedField<TItem>> items, Func<TItem, TItem> apply)
        where T : IDeepCloneable<T>
        where TItem : class
    {
        RepeatedField<TItem> all = items(message);
        TItem[] shown = [.. all.Select(apply)];
        return shown.SequenceEqual(all, ReferenceEqualityComparer.Instance) ? message : RewrittenItems.With(message, items, shown);
    }
}
