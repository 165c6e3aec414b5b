using System.Collections.Concurrent;
using System.Collections.Immutable;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery;

/// <summary>A pod found in the index.</summary>
/// <param name="Facts">What is known; its UID is the one asked for.</param>
/// <param name="Source">Name of the source that knows it.</param>
/// <param name="IsStale">That source is degraded: deletion, for one, may have been missed.</param>
public readonly record struct PodFactsMatch(PodFacts Facts, string Source, bool IsStale);

/// <summary>Something is known of a pod that was not known before, or no longer is.</summary>
/// <param name="Source">Name of the source.</param>
/// <param name="Identity">By UID, or (UID empty) by namespace and name, for sandboxes with <c>kubernetes.io/config.source: file</c>.</param>
/// <param name="Facts">The pod as it is now, or as it was last known.</param>
/// <param name="IsRemoved">The source knows it no longer.</param>
public readonly record struct PodFactsChange(string Source, PodIdentity Identity, PodFacts Facts, bool IsRemoved);

/// <summary>
/// All that the pod spec sources know, in memory. Reads take no lock and never wait; each source writes its own part. A source that is
/// down keeps what it knew: specs hardly change, and knowing an old one is better than knowing none.
/// </summary>
public sealed class PodFactsIndex(int maxPodsPerSource, TimeProvider time, ILogger<PodFactsIndex> log)
{
    /// <summary>The value of <see cref="ConfigSourceAnnotation"/> on sandboxes of static pods.</summary>
    public const string FileConfigSource = "file";

    /// <summary>The sandbox annotation that says where the kubelet has the pod from: file, http, or api.</summary>
    public const string ConfigSourceAnnotation = "kubernetes.io/config.source";

    // One reference, replaced as a whole: a reader sees some state of it, and goes on with that.
    private ImmutableArray<Part> _parts = [];

    /// <summary>
    /// Raised after the index has changed, by the source's thread, for different sources at the same time. Updates that leave a pod's facts
    /// as they were raise nothing. Handlers must not block.
    /// </summary>
    public event Action<PodFactsChange>? Changed;

    /// <summary>The sources in the order they are asked.</summary>
    public IReadOnlyList<PodSpecSourceStatus> Sources => [.. _parts.Select(p => p.Status)];

    /// <summary>Makes room for a source. Of two that know a pod equally well, the one added first is believed.</summary>
    public IPodFactsSink Add(string source, PodIdentity identity)
    {
        var part = new Part(this, source, identity);
        ImmutableInterlocked.Update(ref _parts, (parts, p) => parts.Add(p), part);
        return part;
    }

    /// <summary>
    /// What is known of a sandbox's pod. Sources that are current go before degraded ones, and among those a UID before a name: while a static
    /// pod is replaced by one of the same name, both have sandboxes, and the manifest is the new one's.
    /// </summary>
    /// <param name="uid">The pod's UID as CRI shows it.</param>
    /// <param name="podNamespace">The pod's namespace.</param>
    /// <param name="name">The pod's name; for a static pod the manifest's name, a hyphen, and the node's name.</param>
    /// <param name="configSource">The sandbox's annotation <see cref="ConfigSourceAnnotation"/>; null when it has none.</param>
    public PodFactsMatch? Find(string uid, string podNamespace, string name, string? configSource)
    {
        // A pod of the API server may happen to be called like a static one.
        string? nameKey = configSource == FileConfigSource ? Part.NameKey(podNamespace, name) : null;
        PodFactsMatch? best = null;
        int bestRank = int.MaxValue;
        foreach (Part part in _parts)
        {
            bool isByName = part.Identity == PodIdentity.Name;
            if ((isByName ? nameKey : uid) is not { } key || part.Find(key) is not { } facts)
            {
                continue;
            }

            bool isStale = part.IsStale;
            int rank = (isStale ? 2 : 0) + (isByName ? 1 : 0);
            if (rank < bestRank)
            {
                bestRank = rank;
                best = new PodFactsMatch(facts.Uid == uid ? facts : facts with { Uid = uid }, part.Source, isStale);
            }
        }

        return best;
    }

    /// <summary>All pods that one source knows, as of now or a moment ago.</summary>
    public IReadOnlyList<PodFacts> PodsOf(string source) => [.. _parts.Where(p => p.Source == source).SelectMany(p => p.All)];

    private void Raise(PodFactsChange change)
    {
        try
        {
            Changed?.Invoke(change);
        }
        catch (Exception e)
        {
            // A reader's fault is no reason for a source to stop.
            log.ChangeHandlerFailed(change.Source, e);
        }
    }

    private DateTimeOffset Now => time.GetUtcNow();

    private int MaxPods => maxPodsPerSource;

    private ILogger Log => log;

    private readonly record struct Entry(PodFacts Facts, bool IsFinished);

    private sealed class Part(PodFactsIndex index, string source, PodIdentity identity) : IPodFactsSink
    {
        private readonly ConcurrentDictionary<string, Entry> _entries = new(concurrencyLevel: 1, capacity: 31, StringComparer.Ordinal);
        private PodSpecSourceStatus _status = new(source, PodSpecSourceState.Starting, "", index.Now, 0, 0);
        private long _succeededAtTicks;

        // Kept beside the dictionary, whose own count takes all its locks. Written by the source alone.
        private int _count;
        private long _refused;

        public string Source => source;

        public PodIdentity Identity => identity;

        public PodSpecSourceStatus Status => Volatile.Read(ref _status) with
        {
            Pods = Volatile.Read(ref _count),
            Refused = Volatile.Read(ref _refused),
            LastSuccessAt = Volatile.Read(ref _succeededAtTicks) is var ticks and > 0 ? new DateTimeOffset(ticks, TimeSpan.Zero) : null,
        };

        public bool IsStale => Volatile.Read(ref _status).State != PodSpecSourceState.Synced;

        public IEnumerable<PodFacts> All => _entries.Select(e => e.Value.Facts);

        /// <summary>A slash is in no namespace and in no name.</summary>
        public static string NameKey(string podNamespace, string name) => $"{podNamespace}/{name}";

        public PodFacts? Find(string key) => _entries.TryGetValue(key, out Entry entry) ? entry.Facts : null;

        public void Upsert(SeenPod pod)
        {
            string key = KeyOf(pod.Facts);
            if (_entries.TryGetValue(key, out Entry known))
            {
                bool same = PodFactsComparison.AreSame(known.Facts, pod.Facts);
                if (!same || known.IsFinished != pod.IsFinished)
                {
                    // The old object stays where nothing changed: most updates are of a pod's status.
                    _entries[key] = new Entry(same ? known.Facts : pod.Facts, pod.IsFinished);
                }

                if (!same)
                {
                    Raise(pod.Facts, isRemoved: false);
                }

                return;
            }

            if (_count >= index.MaxPods && !TryMakeRoom(pod.IsFinished))
            {
                if (Interlocked.Increment(ref _refused) == 1)
                {
                    index.Log.TooManyPods(source, index.MaxPods);
                }

                return;
            }

            _entries[key] = new Entry(pod.Facts, pod.IsFinished);
            Interlocked.Increment(ref _count);
            Raise(pod.Facts, isRemoved: false);
        }

        public void Remove(PodFacts pod) => Remove(KeyOf(pod));

        public void ReplaceAll(IReadOnlyCollection<SeenPod> pods)
        {
            var keys = pods.Select(p => KeyOf(p.Facts)).ToHashSet(StringComparer.Ordinal);
            foreach (string gone in _entries.Select(e => e.Key).Where(k => !keys.Contains(k)).ToList())
            {
                Remove(gone);
            }

            foreach (SeenPod pod in pods)
            {
                Upsert(pod);
            }
        }

        public void Report(PodSpecSourceState state, string reason = "")
        {
            if (state == PodSpecSourceState.Synced)
            {
                Volatile.Write(ref _succeededAtTicks, index.Now.UtcTicks);
            }

            PodSpecSourceStatus before = _status;
            if (before.State == state && before.Reason == reason)
            {
                return;
            }

            bool entered = before.State != state;
            Volatile.Write(ref _status, before with
            {
                State = state,
                Reason = reason,
                Since = entered ? index.Now : before.Since,
                Failures = before.Failures + (state == PodSpecSourceState.Degraded ? 1 : 0),
            });
            if (state == PodSpecSourceState.Synced)
            {
                index.Log.SourceSynced(source, _count);
            }
            else if (state == PodSpecSourceState.Degraded)
            {
                index.Log.SourceDegraded(source, reason, _count);
            }
        }

        private string KeyOf(PodFacts pod) => identity == PodIdentity.Uid ? pod.Uid : NameKey(pod.Namespace, pod.Name);

        private void Remove(string key)
        {
            if (_entries.TryRemove(key, out Entry gone))
            {
                Interlocked.Decrement(ref _count);
                Raise(gone.Facts, isRemoved: true);
            }
        }

        private bool TryMakeRoom(bool isForFinished)
        {
            if (isForFinished)
            {
                return false;
            }

            foreach ((string key, Entry entry) in _entries)
            {
                if (entry.IsFinished)
                {
                    Remove(key);
                    return true;
                }
            }

            return false;
        }

        private void Raise(PodFacts facts, bool isRemoved) => index.Raise(new PodFactsChange(source, identity, facts, isRemoved));
    }
}
