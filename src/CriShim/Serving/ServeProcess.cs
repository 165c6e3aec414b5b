using System.Diagnostics;
using System.Net.Sockets;
using CriShim.Admin;
using CriShim.Commands;
using CriShim.Configuration;
using CriShim.Discovery;
using CriShim.Discovery.Events;
using CriShim.Events;
using CriShim.Http;
using CriShim.Linux;
using CriShim.Linux.Files;
using CriShim.Metrics;
using CriShim.Node;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;
using CriShim.Proxy;
using CriShim.StatusPage;
using CriShim.Tracing;
using Microsoft.Extensions.Logging;
using CriShim.Supervision;

namespace CriShim.Serving;

/// <summary>A serving process from its first log line to its exit code.</summary>
/// <remarks>
/// <list type="number">
/// <item>Take the signals, so that a stop during the start is a clean one too.</item>
/// <item>Acquire the listener: systemd's, else our own.</item>
/// <item>Start the proxy, say READY. containerd is not waited for: it may start later, and calls are answered UNAVAILABLE until then.</item>
/// <item>Prove life to the watchdog until a signal comes.</item>
/// <item>Say STOPPING, let running calls go on for their grace, exit with 0. A second signal ends the process where it stands.</item>
/// </list>
/// </remarks>
internal static class ServeProcess
{
    /// <summary>The proxy closes everything by the end of the grace; should it not, the process does not hang for it.</summary>
    private static readonly TimeSpan StopMargin = TimeSpan.FromSeconds(5);

    public static async Task<int> RunAsync(LoadedConfiguration loaded, TimeProvider time)
    {
        CriShimConfiguration configuration = loaded.Configuration!;
        using var stop = new StopSignal();
        using ILoggerFactory loggers = LogOutput.Create(configuration.Log);
        ILogger log = loggers.CreateLogger("CriShim.Serve");
        using var lastWords = new LastWords(log, loggers);
        try
        {
            return await RunAsync(configuration, loaded.File, stop, loggers, log, time);
        }
        catch (UnixListenerException e)
        {
            log.ListenFailed(e.Message);
        }
        catch (Exception e)
        {
            log.ServingFailed(e);
        }

        return ExitCode.Failure;
    }

    private static async Task<int> RunAsync(
        CriShimConfiguration configuration, string? file, StopSignal stop, ILoggerFactory loggers, ILogger log, TimeProvider time)
    {
        using UnixListener listener = AcquireListener(configuration, log);
        var notifier = new ServiceNotifier(log);
        var options = new ProxyOptions { BackendSocketPath = configuration.Containerd.SocketPath };
        var node = new NodeNameResolver(
            configuration.Discovery.NodeName, configuration.Discovery.Kubeconfig, loggers.CreateLogger<NodeNameResolver>());
        PodDiscovery? discovery = CreateDiscovery(configuration.Discovery, node, loggers, time);
        using var meters = new MeterFactory();
        // Before whatever counts: zeros from which counters begin are seen only by who listens already.
        using MetricsCollector? metrics = configuration.Metrics.Address is null ? null : new MetricsCollector(meters);
        PodEventRecorder? events = CreateEvents(configuration, node, meters, loggers, time);
        List<IHappeningListener> listeners = [];
        if (configuration.Metrics.Address is not null)
        {
            listeners.Add(new HappeningMetrics(meters));
        }

        if (events is not null)
        {
            listeners.Add(new PodStory(events.Record));
        }

        using SpanExporter? spans = CreateTracing(configuration, node, meters, log, time);
        if (spans is not null)
        {
            listeners.Add(new SupervisionTracer(spans.Export));
        }

        await using var supervision = new NodeSupervision(
            SupervisionOf(configuration, discovery is not null) with { Listeners = listeners }, discovery?.Index, loggers, time);
        await using var proxy = new ProxyServer(
            options, listener, loggers, time, supervision, configuration.Metrics.Address is null ? null : meters,
            spans is null ? null : new CallTracer(spans.Export));
        proxy.Start();
        supervision.Start();
        await using ServiceServer? admin = StartAdmin(configuration, supervision, proxy, loggers, log, time);
        await using LocalHttpServer? http = StartHttp(configuration, meters, metrics, supervision, discovery, proxy, listener.Path, log, time);
        log.ServingStarted(VersionCommand.Version, listener.Path, configuration.Containerd.SocketPath, file ?? "none");
        notifier.Ready($"Serving {listener.Path} for {configuration.Containerd.SocketPath}");

        using var serving = new CancellationTokenSource();
        Task discovering = discovery?.RunAsync(serving.Token) ?? Task.CompletedTask;
        Task telling = events is null ? Task.CompletedTask : Task.Run(() => events.RunAsync(serving.Token), CancellationToken.None);
        Task tracing = spans is null ? Task.CompletedTask : Task.Run(() => spans.RunAsync(serving.Token), CancellationToken.None);
        Task watching = Watchdog.Interval() is { } interval
            ? new Watchdog(interval, proxy.PingAsync, ct => ListenerProof.RunAsync(listener.Path, ct), notifier.Alive, time, log, meters)
                .RunAsync(serving.Token)
            : Task.CompletedTask;

        // Neither the proxy nor the watchdog ends by itself but by a fault of its own: that must end the process, not leave a silent one.
        Task ended = await Task.WhenAny(stop.Task, proxy.Completion, watching.IsCompletedSuccessfully ? stop.Task : watching);
        if (ended != stop.Task)
        {
            await ended;
            throw new InvalidOperationException(ended == watching ? "the watchdog ended" : "the proxy ended");
        }

        TimeSpan grace = configuration.Shutdown.RunningCallsGrace;
        log.StopRequested((await stop.Task).ToString(), GoDuration.Format(grace));
        notifier.Stopping(grace + StopMargin);
        long began = time.GetTimestamp();
        await serving.CancelAsync();
        try
        {
            await proxy.StopAsync(grace).WaitAsync(grace + StopMargin, time);
        }
        catch (TimeoutException)
        {
            // Disposing it would wait for the same thing again.
            log.StopOverdue(GoDuration.Format(StopMargin));
            loggers.Dispose();
            Environment.Exit(ExitCode.Failure);
        }

        await discovering;
        await telling;
        await tracing;
        log.ServingStopped(GoDuration.Format(time.GetElapsedTime(began)));
        return ExitCode.Success;
    }

    /// <summary>What operators ask must never be what callers' calls depend on: without this socket serving goes on.</summary>
    private static ServiceServer? StartAdmin(
        CriShimConfiguration configuration, NodeSupervision supervision, ProxyServer proxy, ILoggerFactory loggers, ILogger log, TimeProvider time)
    {
        if (configuration.Admin.SocketPath is not { } path)
        {
            return null;
        }

        try
        {
            var service = new SupervisorService(
                configuration, supervision.Drain, proxy.CallersAsync, new KubeletEvidence(), supervision.Reports, time);
            var server = new ServiceServer(
                UnixListener.Bind(path, UnixFileMode.UserRead | UnixFileMode.UserWrite),
                binder => Supervisor.BindService(binder, service),
                peer => peer.IsRootOrSelf,
                loggers,
                time);
            server.Start();
            _ = server.Completion.ContinueWith(
                ended => log.AdminFailed(ended.Exception!.GetBaseException().Message),
                CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            return server;
        }
        catch (Exception exception) when (exception is UnixListenerException or IOException)
        {
            log.AdminFailed(exception.Message);
            return null;
        }
    }

    /// <summary>Nor what monitoring reads.</summary>
    private static LocalHttpServer? StartHttp(
        CriShimConfiguration configuration, MeterFactory meters, MetricsCollector? metrics, NodeSupervision supervision,
        PodDiscovery? discovery, ProxyServer proxy, string listenPath, ILogger log, TimeProvider time)
    {
        if (configuration.Metrics.Address is not { } address || metrics is null)
        {
            return null;
        }

        _ = new ProcessMetrics(meters, time);
        _ = new NodeMetrics(meters, () => supervision.Health, supervision.Overview, () => discovery?.Index.Sources ?? [], metrics);
        var readiness = new Readiness(
            configuration.Supervision.RelistInterval, () => supervision.Health, proxy.PingAsync, ct => ListenerProof.RunAsync(listenPath, ct), time);
        var site = new OperatorSite(metrics, readiness, checks => StatusPageHtml.Render(new StatusView
        {
            Now = time.GetUtcNow(),
            Version = VersionCommand.Version,
            Mode = SettingRules.NameOf(configuration.Supervision.Mode),
            Checks = checks,
            Sources = discovery?.Index.Sources ?? [],
            Node = supervision.Reports.Page(StatusPageHtml.MaxPods, StatusPageHtml.MaxEvents),
        }));
        try
        {
            var server = new LocalHttpServer(
                address, configuration.Metrics.AllowsRemote ? [System.Net.Dns.GetHostName()] : [], site.AnswerAsync, log, time);
            log.HttpStarted(server.Address);
            return server;
        }
        catch (SocketException exception)
        {
            log.HttpNotStarted(address, exception.Message);
            return null;
        }
    }

    private static SupervisionOptions SupervisionOf(CriShimConfiguration configuration, bool hasSource) => new()
    {
        BackendSocketPath = configuration.Containerd.SocketPath,
        StateDirectory = configuration.Supervision.StateDirectory,
        Version = VersionCommand.Version,
        Mode = configuration.Supervision.Mode,
        Restart = configuration.Supervision.Restart,
        Teardown = configuration.Supervision.Teardown,
        LogRotation = configuration.Supervision.LogRotation,
        PodResources = configuration.Supervision.PodResources,
        RelistInterval = configuration.Supervision.RelistInterval,
        IsSpecSourceConfigured = hasSource,
        Files = configuration.ContainerFiles,
    };

    private static PodEventRecorder? CreateEvents(
        CriShimConfiguration configuration, NodeNameResolver node, MeterFactory meters, ILoggerFactory loggers, TimeProvider time) =>
        configuration.Discovery.Kubeconfig is { } kubeconfig && configuration.Events.WritesKubernetesEvents
            ? new PodEventRecorder(
                new PodEventOptions { KubeconfigPath = kubeconfig, NodeName = configuration.Discovery.NodeName }, time, loggers, meters, node)
            : null;

    private static SpanExporter? CreateTracing(
        CriShimConfiguration configuration, NodeNameResolver node, MeterFactory meters, ILogger log, TimeProvider time) =>
        configuration.Tracing.Endpoint is { } endpoint
            ? new SpanExporter(
                endpoint,
                node.Resolve,
                meters, log, time)
            : null;

    private static PodDiscovery? CreateDiscovery(
        DiscoveryConfiguration configuration, NodeNameResolver node, ILoggerFactory loggers, TimeProvider time)
    {
        if (!configuration.HasSource)
        {
            return null;
        }

        return new PodDiscovery(
            new DiscoveryOptions
            {
                NodeName = configuration.NodeName,
                NodeKubeconfigPath = configuration.Kubeconfig,
                StaticManifests = configuration.PodManifests is { } path ? new StaticManifestOptions { Path = path } : null,
                ApiServer = configuration.Kubeconfig is { } kubeconfig ? new ApiServerOptions { KubeconfigPath = kubeconfig } : null,
                KubeletPods = configuration.KubeletPods is { } address
                    ? new KubeletPodsOptions { Address = address, KubeconfigPath = configuration.Kubeconfig }
                    : null,
            },
            time,
            loggers,
            node);
    }

    private static UnixListener AcquireListener(CriShimConfiguration configuration, ILogger log)
    {
        UnixListener? inherited = SystemdActivation.TakeListener();
        if (inherited is null)
        {
            return UnixListener.Bind(configuration.Listen.SocketPath, configuration.Listen.Mode, group: configuration.Listen.Group.Id);
        }

        if (UnixSocketPath.AreSame(inherited.Path, configuration.Containerd.SocketPath))
        {
            throw new UnixListenerException(
                $"systemd socket activation: the passed socket is {inherited.Path}, which is containerd.address too: calls would go round in a circle");
        }

        if (!UnixSocketPath.AreSame(inherited.Path, configuration.Listen.SocketPath))
        {
            log.ListenAddressOverruled(inherited.Path, configuration.Listen.SocketPath);
        }

        return inherited;
    }
}
