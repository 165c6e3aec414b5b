using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using CriShim.Discovery.Access;
using CriShim.Discovery.Reading;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.ApiServer;

/// <summary>
/// The API server's pods of this node: one list, then a watch from the list's version on, over and over.
///
///     connect ──▶ list ──▶ watch ──(its time is up, the connection is lost)──▶ connect, watch from the last version seen
///        ▲                   └────(410, garbage, a version not known there)──▶ connect, list
///        └── after a wait, while the API server is away; the kubeconfig and its files are read anew each time
///
/// The API server answers lists of version 0 from its memory, which is what a thousand nodes that start together should ask for. What is
/// in its memory may be behind a version that the same server has called gone; then the list that follows asks for the latest.
/// </summary>
public sealed class ApiServerSource(ApiServerOptions options, NodeNameResolver nodeName, TimeProvider time, ILogger<ApiServerSource> log)
    : IPodSpecSource
{
    public string Name => "API server";

    public PodIdentity Identity => PodIdentity.Uid;

    public async Task RunAsync(IPodFactsSink sink, CancellationToken cancellationToken)
    {
        using var follower = new Follower(options, nodeName, time, log, sink, Name);
        await follower.RunAsync(cancellationToken).ConfigureAwait(false);
    }

    private sealed class Follower(
        ApiServerOptions options, NodeNameResolver nodeName, TimeProvider time, ILogger log, IPodFactsSink sink, string sourceName) : IDisposable
    {
        /// <summary>etcd takes 1.5 MiB an object.</summary>
        private const int MaxPodBytes = 4 * 1024 * 1024;

        /// <summary>More than any node has; what comes after is not kept while a list is read.</summary>
        private const int MaxListed = 20_000;

        /// <summary>One may end at once because an API server shuts down; one after the other, there is something else in between.</summary>
        private const int MaxShortWatches = 3;

        private static readonly TimeSpan HealthyWatch = TimeSpan.FromSeconds(10);
        private static readonly TimeSpan MaxRetryAfter = TimeSpan.FromSeconds(60);

        private readonly RetryBackoff _backoff = new(TimeSpan.FromSeconds(1), options.MaxRetryDelay, Random.Shared);
        private readonly HashSet<string> _rejected = new(StringComparer.Ordinal);
        private readonly KeptConnection _connection = new();

        /// <summary>Where the next watch goes on; null: list first.</summary>
        private string? _version;

        private bool _wantsLatest;
        private bool _wasGone;
        private bool _isHealthy;
        private int _shortWatches;

        public async Task RunAsync(CancellationToken cancellationToken)
        {
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                _isHealthy = false;
                SpecSourceException? failure = await TryFollowAsync(cancellationToken).ConfigureAwait(false);
                bool wasHealthy = _isHealthy;
                if (wasHealthy)
                {
                    _backoff.Reset();
                    _wasGone = false;
                    _shortWatches = 0;
                }

                if (failure is null && wasHealthy)
                {
                    continue;
                }

                if (failure is { Failure: SpecSourceFailure.Gone } && !_wasGone)
                {
                    // To be expected once; a server that says so again and again is waited for.
                    _wasGone = true;
                    log.WatchVersionGone();
                    continue;
                }

                if (failure is null && ++_shortWatches >= MaxShortWatches)
                {
                    _version = null;
                    failure = new SpecSourceException($"{Where}: its watches end at once");
                }

                TimeSpan delay = _backoff.Next();
                if (failure is not null)
                {
                    delay = Max(delay, Min(failure.RetryAfter ?? TimeSpan.Zero, MaxRetryAfter));
                    log.ApiServerTryFailed(delay, failure.Message);
                    if (!wasHealthy)
                    {
                        // A single lost connection is mended before it matters: the next failure is the one to tell.
                        sink.Report(PodSpecSourceState.Degraded, failure.Message);
                    }
                }

                await Task.Delay(delay, time, cancellationToken).ConfigureAwait(false);
            }
        }

        public void Dispose() => _connection.Dispose();

        private async Task<SpecSourceException?> TryFollowAsync(CancellationToken cancellationToken)
        {
            try
            {
                ApiAccess access = Connect();
                if (_version is null)
                {
                    await ListAsync(access, cancellationToken).ConfigureAwait(false);
                }

                await WatchAsync(access, cancellationToken).ConfigureAwait(false);
                return null;
            }
            catch (SpecSourceException e)
            {
                switch (e.Failure)
                {
                    case SpecSourceFailure.Unauthorized:
                        // The same certificate over a new connection is what helps when the API server's own trust has changed.
                        _connection.Drop();
                        break;
                    case SpecSourceFailure.Gone:
                        _version = null;
                        _wantsLatest = true;
                        break;
                    case SpecSourceFailure.VersionUnknown:
                        _version = null;
                        break;
                }

                return new SpecSourceException($"{Where}: {e.Message}", e.Failure, e.RetryAfter);
            }
            catch (PodSpecException e)
            {
                // What was seen up to here can't be trusted to be all.
                _version = null;
                _connection.Drop();
                return new SpecSourceException($"{Where}: what it sent {e.Message}");
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested && ApiConnection.FindReason(e) is not null)
            {
                return new SpecSourceException($"{Where}: {ApiConnection.FindReason(e)}");
            }
        }

        private string Where => _connection.Current?.Address.GetLeftPart(UriPartial.Authority) ?? options.KubeconfigPath;

        private ApiAccess Connect()
        {
            ApiAccess access = KubeconfigReader.Read(options.KubeconfigPath);
            if (_connection.Use(access))
            {
                log.ApiServerConnectionOpened(_connection.Current!.Address, options.KubeconfigPath);
            }

            return access;
        }

        private async Task ListAsync(ApiAccess access, CancellationToken cancellationToken)
        {
            using var deadline = new CallDeadline(options.CallTimeout, time, cancellationToken);
            try
            {
                var pods = new List<SeenPod>();
                string version;
                using (HttpResponseMessage response = await GetAsync(access, _wantsLatest ? "" : "&resourceVersion=0", deadline.Token).ConfigureAwait(false))
                {
                    using Stream body = await response.Content.ReadAsStreamAsync(deadline.Token).ConfigureAwait(false);
                    using var buffer = new JsonStreamBuffer(body, MaxPodBytes);
                    version = await new PodListReader(buffer, pod => Keep(pods, pod), Reject).ReadAsync(deadline.Token).ConfigureAwait(false);
                }

                if (version.Length == 0)
                {
                    throw new PodSpecException("has no metadata.resourceVersion to watch from");
                }

                sink.ReplaceAll(pods);
                log.PodsListed(pods.Count, version);
                _version = version;
                _wantsLatest = false;
            }
            catch (OperationCanceledException) when (deadline.IsOver)
            {
                throw new SpecSourceException($"no whole list within {options.CallTimeout.TotalSeconds:0.###} s");
            }
        }

        private async Task WatchAsync(ApiAccess access, CancellationToken cancellationToken)
        {
            TimeSpan duration = options.WatchDuration * (0.75 + (Random.Shared.NextDouble() / 2));
            string query = string.Create(CultureInfo.InvariantCulture,
                $"&watch=true&allowWatchBookmarks=true&timeoutSeconds={(long)duration.TotalSeconds}&resourceVersion={Uri.EscapeDataString(_version!)}");
            using HttpResponseMessage response = await BeginWatchAsync(access, query, cancellationToken).ConfigureAwait(false);
            if (_shortWatches < MaxShortWatches)
            {
                sink.Report(PodSpecSourceState.Synced);
            }

            long began = time.GetTimestamp();

            // The API server ends the watch itself; one that does not is hung.
            using var deadline = new CallDeadline(duration + options.CallTimeout, time, cancellationToken);
            try
            {
                using Stream body = await response.Content.ReadAsStreamAsync(deadline.Token).ConfigureAwait(false);
                using var buffer = new JsonStreamBuffer(body, MaxPodBytes);
                var reader = new WatchReader(buffer);
                while (await reader.ReadAsync(deadline.Token).ConfigureAwait(false) is { } happened)
                {
                    Apply(happened);
                    _shortWatches = 0;
                    sink.Report(PodSpecSourceState.Synced);
                }
            }
            catch (OperationCanceledException) when (deadline.IsOver)
            {
                throw new SpecSourceException("the watch did not end when its time was up");
            }
            finally
            {
                _isHealthy = time.GetElapsedTime(began) >= HealthyWatch;
            }
        }

        private async Task<HttpResponseMessage> BeginWatchAsync(ApiAccess access, string query, CancellationToken cancellationToken)
        {
            using var deadline = new CallDeadline(options.CallTimeout, time, cancellationToken);
            try
            {
                return await GetAsync(access, query, deadline.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (deadline.IsOver)
            {
                throw new SpecSourceException($"no answer within {options.CallTimeout.TotalSeconds:0.###} s");
            }
        }

        /// <summary>Newer API servers let a node list pods only with this very selector.</summary>
        private Task<HttpResponseMessage> GetAsync(ApiAccess access, string query, CancellationToken cancellationToken) =>
            _connection.Current!.GetAsync(
                $"/api/v1/pods?fieldSelector=spec.nodeName%3D{Uri.EscapeDataString(nodeName.Resolve())}{query}", access.BearerToken, cancellationToken);

        private void Apply(WatchEvent happened)
        {
            if (happened.Kind == WatchEventKind.Error)
            {
                throw happened.ErrorCode == 410
                    ? new SpecSourceException("the version is gone (410)", SpecSourceFailure.Gone)
                    : new SpecSourceException($"the watch ended with status {happened.ErrorCode}", SpecSourceFailure.VersionUnknown);
            }

            if (happened.Fault is { } fault)
            {
                Reject(fault);
            }
            else if (happened.Pod is { } pod)
            {
                if (happened.Kind == WatchEventKind.Deleted)
                {
                    sink.Remove(pod.Facts);
                }
                else
                {
                    NoteLoss(pod);
                    sink.Upsert(new SeenPod(pod.Facts, pod.IsFinished));
                }
            }

            if (happened.Version.Length > 0)
            {
                _version = happened.Version;
            }
        }

        private void Keep(List<SeenPod> pods, PodDocument pod)
        {
            if (pods.Count < MaxListed)
            {
                NoteLoss(pod);
                pods.Add(new SeenPod(pod.Facts, pod.IsFinished));
            }
        }

        private void NoteLoss(PodDocument pod)
        {
            if (pod.Loss is { } loss)
            {
                Reject($"{pod.Facts.Namespace}/{pod.Facts.Name}: {loss}");
            }
        }

        /// <summary>Once for each reason: the same pods come again with every list.</summary>
        private void Reject(string fault)
        {
            if (_rejected.Count < 100 && _rejected.Add(fault))
            {
                log.PodRejected(sourceName, fault);
            }
        }

        private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;

        private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
    }
}
