using System.Collections.Concurrent;
using CriShim.Linux;
using CriShim.Linux.Polling;
using CriShim.Proxy.Http2;
using Grpc.Core;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// The one thread that moves bytes: it waits for sockets, reads them, lets the connections handle their frames, and sends what
/// came of it. A call goes through without a hop to another thread, a lock, or an allocation in steady state.
/// </summary>
/// <remarks>
/// A turn: wait; read backends, then callers, then new connections; run what other threads posted; send; close what ended.
/// Backends come first, so that a backend's end is known before calls are sent to it.
/// </remarks>
internal sealed class ProxyLoop : IDisposable
{
    // Large enough for a socket's whole queue, so that one turn empties it.
    private const int ReadBufferLength = 256 * 1024;
    private const int MaxPooledCalls = 256;
    private const ulong ListenerToken = 0;
    private const ulong WakeupToken = 1;

    // The poll's own unit.
    private static readonly TimeSpan LazyDelay = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);

    private readonly Epoll _epoll = new();
    private readonly Wakeup _wakeup = new();
    private readonly ConcurrentQueue<Action> _posted = new();
    private readonly ReadinessReport[] _reports = new ReadinessReport[256];
    private readonly Dictionary<ulong, Http2Connection> _connections = [];
    private readonly List<Http2Connection> _dirty = [];
    private readonly List<Http2Connection> _lazy = [];
    private readonly List<Http2Connection> _closing = [];
    private readonly Stack<Call> _pool = new();
    private readonly PriorityQueue<Action, long> _timers = new();
    private readonly Queue<(ulong Token, long AcceptedAt)> _newCallers = new();
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly byte[] _readBuffer = GC.AllocateUninitializedArray<byte>(ReadBufferLength, pinned: true);
    private readonly UnixListener _listener;
    private List<Http2Connection> _readLater = [];
    private List<Http2Connection> _readNow = [];
    private byte[] _block = new byte[1024];
    private long _lazySince;
    private ulong _nextToken = 2;
    private bool _started;
    private bool _accepting;
    private bool _stopping;
    private bool? _backendReachable;

    /// <param name="backendPath">The backend's socket; null where there is none, and every method has a handler here.</param>
    /// <param name="methods">What callers may ask for.</param>
    /// <param name="listener">Where they come; disposed of with the stop.</param>
    /// <param name="log">What it says.</param>
    /// <param name="time">The clock.</param>
    public ProxyLoop(string? backendPath, MethodTable methods, UnixListener listener, ProxyLog log, TimeProvider time)
    {
        BackendPath = backendPath ?? "";
        Methods = methods;
        _listener = listener;
        Log = log;
        Time = time;
        _epoll.Add(_wakeup.Descriptor, WakeupToken, edgeTriggered: false);
    }

    /// <summary>Empty where there is no backend.</summary>
    public string BackendPath { get; }

    public bool HasBackend => BackendPath.Length > 0;

    /// <summary>Whether a process may connect; null: whoever the socket's mode lets in.</summary>
    public Func<PeerCredentials, bool>? Admits { get; init; }

    public ProxyLog Log { get; }

    /// <summary>Gets calls of recorded traces; null: nobody wants them.</summary>
    public ICallTracer? Tracer { get; init; }

    /// <summary>Null: nothing is measured.</summary>
    public ProxyMetrics? Metrics { get; init; }

    public TimeProvider Time { get; }

    public MethodTable Methods { get; }

    /// <summary>Whether something is to be shown otherwise than the backend says: then streams that can't be read are refused.</summary>
    public Func<bool> RewritesViews { get; init; } = static () => false;

    /// <summary>For requests whose header block is too large to be read.</summary>
    public CriMethod UnreadableMethod { get; } = new("(unreadable)", isForwarded: false);

    /// <summary>The one buffer that sockets are read into.</summary>
    public Span<byte> ReadBuffer => _readBuffer;

    /// <summary>The one list that header blocks are decoded into.</summary>
    public HeaderList Fields { get; } = new();

    /// <summary>The one list that own answers are made in.</summary>
    public HeaderList AnswerFields { get; } = new();

    /// <summary>Completes when the thread has ended, with its exception if it failed.</summary>
    public Task Stopped => _stopped.Task;

    // ---- From any thread ---------------------------------------------------------------------------------------------

    /// <summary>Runs an action on the loop's thread.</summary>
    public void Post(Action action)
    {
        _posted.Enqueue(action);
        _wakeup.Signal();
    }

    public void Start(string name)
    {
        _started = true;
        _epoll.Add(_listener.Descriptor, ListenerToken, edgeTriggered: false);
        _accepting = true;
        new Thread(Run) { Name = name, IsBackground = true }.Start();
    }

    /// <summary>Stops for good, and completes when all is closed; see <see cref="ProxyServer.StopAsync"/>.</summary>
    public Task StopAsync(TimeSpan grace)
    {
        if (!_started)
        {
            _listener.Dispose();
            return Task.CompletedTask;
        }

        Stop(grace);
        return Stopped;
    }

    private void Stop(TimeSpan grace) => Post(() =>
    {
        // A second stop can only shorten the first one.
        After(grace, EndCalls);
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        Log.Stopping(grace.TotalSeconds);

        // Whoever waits in an inherited listener's queue is served by the next process.
        StopAccepting();
        _listener.Dispose();
        foreach (CallerConnection caller in Callers())
        {
            caller.BeginStop();
        }
    });

    /// <summary>Who is connected now.</summary>
    public Task<IReadOnlyList<CallerInfo>> CallersAsync(CancellationToken cancellationToken)
    {
        var answer = new TaskCompletionSource<IReadOnlyList<CallerInfo>>(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() => answer.SetResult([.. Callers().Where(caller => !caller.IsClosed).Select(caller => caller.Describe())]));
        return answer.Task.WaitAsync(cancellationToken);
    }

    // ---- For connections, on the loop's thread -----------------------------------------------------------------------

    public void Register(Http2Connection connection)
    {
        ulong token = _nextToken++;
        connection.Token = token;
        _connections.Add(token, connection);
        Metrics?.OnConnected(connection is CallerConnection);
        _epoll.Add(connection.Descriptor, token, edgeTriggered: true);
    }

    public void MarkDirty(Http2Connection connection)
    {
        if (!connection.IsDirty && !connection.IsClosed)
        {
            connection.IsDirty = true;
            _dirty.Add(connection);
        }
    }

    /// <summary>
    /// Output that nobody waits for, such as an acknowledgement: it goes with the next frame on that connection, or in a moment.
    /// </summary>
    public void MarkLazy(Http2Connection connection)
    {
        if (connection.IsDirty || connection.IsClosed)
        {
            return;
        }

        connection.IsLazy = true;
        if (!connection.IsLazyListed)
        {
            connection.IsLazyListed = true;
            if (_lazy.Count == 0)
            {
                _lazySince = Time.GetTimestamp();
            }

            _lazy.Add(connection);
        }
    }

    /// <summary>The socket was full: tell when it takes more, or no more.</summary>
    public void WatchWritable(Http2Connection connection, bool writable) =>
        _epoll.WatchWritable(connection.Descriptor, connection.Token, writable);

    public void ReadLater(Http2Connection connection)
    {
        if (!connection.IsReadPending && !connection.IsClosed)
        {
            connection.IsReadPending = true;
            _readLater.Add(connection);
        }
    }

    public void CloseLater(Http2Connection connection) => _closing.Add(connection);

    public void After(TimeSpan delay, Action action) =>
        _timers.Enqueue(action, Time.GetTimestamp() + (long)(delay.TotalSeconds * Time.TimestampFrequency));

    /// <summary>Encodes fields into the loop's one block, which is good until the next call.</summary>
    public ReadOnlySpan<byte> Encode(HeaderList fields)
    {
        int bound = 0;
        for (int i = 0; i < fields.Count; i++)
        {
            bound += HpackEncoder.MaxLength(fields.Name(i).Length, fields.Value(i).Length);
        }

        if (_block.Length < bound || (_block.Length > 64 * 1024 && bound < 1024))
        {
            _block = new byte[Math.Max(bound, 1024)];
        }

        int length = 0;
        for (int i = 0; i < fields.Count; i++)
        {
            length += HpackEncoder.Encode(fields.Name(i), fields.Value(i), fields.IsNeverIndexed(i), _block.AsSpan(length));
        }

        return _block.AsSpan(0, length);
    }

    public Call NewCall() => _pool.TryPop(out Call? call) ? call : new Call(this);

    public void Recycle(Call call)
    {
        if (_pool.Count < MaxPooledCalls)
        {
            _pool.Push(call);
        }
    }

    public void OnBackendReachable()
    {
        if (_backendReachable != true)
        {
            _backendReachable = true;
            Log.BackendReachable(BackendPath);
        }
    }

    public void OnBackendUnreachable(string reason)
    {
        if (_backendReachable != false)
        {
            _backendReachable = false;
            Log.BackendUnreachable(BackendPath, reason);
        }
    }

    public void OnCallConcluded(Call call, in CallTimes times)
    {
        StatusCode code = call.Status ?? StatusCode.Unknown;
        long startedAt = times.StartedAt;
        Metrics?.OnConcluded(call.Method, code, times);
        if (call.TraceParent is { } parent)
        {
            Trace(call, parent, code, times);
        }

        if (code == StatusCode.OK)
        {
            if (Log.IsDebug)
            {
                Log.CallDone(call.Method.Path, code, Elapsed(startedAt), call.DescribeSubject());
            }
        }
        else if (code is StatusCode.Cancelled or StatusCode.NotFound or StatusCode.Unimplemented)
        {
            // Every kubelet's day: calls given up, objects already removed, methods that this backend is too old for.
            Log.CallRefused(call.Method.Path, code, Elapsed(startedAt), call.DescribeSubject());
        }
        else
        {
            Log.CallFailed(call.Method.Path, code, Elapsed(startedAt), call.DescribeSubject());
        }
    }

    private void Trace(Call call, TraceParent parent, StatusCode code, in CallTimes times)
    {
        DateTimeOffset now = Time.GetUtcNow();
        long concludedAt = times.ConcludedAt;
        Tracer!.OnCall(new TracedCall
        {
            Parent = parent,
            Path = call.Method.Path,
            Code = code,
            Subject = call.DescribeSubject(),
            StartedAt = At(times.StartedAt),
            EndedAt = now,
            Backend = times.ForwardedAt == 0 ? null : (At(times.ForwardedAt), times.BackendEndedAt == 0 ? now : At(times.BackendEndedAt)),
        });

        DateTimeOffset At(long timestamp) => now - Time.GetElapsedTime(timestamp, concludedAt);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _epoll.Dispose();
        _wakeup.Dispose();
    }

    // ---- The thread --------------------------------------------------------------------------------------------------

    private void Run()
    {
        try
        {
            while (!_stopping || _connections.Count > 0)
            {
                RunTurn();
            }

            _stopped.SetResult();
        }
        catch (Exception exception)
        {
            Log.LoopFailed(exception);
            _stopped.SetException(exception);
        }
    }

    private void RunTurn()
    {
        int count = _epoll.Wait(_reports, NextTimeout());
        if (_lazy.Count > 0 && Time.GetElapsedTime(_lazySince) >= LazyDelay)
        {
            FlushLazy();
        }
        bool accept = false;
        for (int pass = 0; pass < 2; pass++)
        {
            for (int i = 0; i < count; i++)
            {
                ReadinessReport report = _reports[i];
                switch (report.Token)
                {
                    case ListenerToken:
                        accept = true;
                        break;
                    case WakeupToken:
                        if (pass == 0)
                        {
                            _wakeup.Reset();
                        }

                        break;
                    default:
                        if (_connections.TryGetValue(report.Token, out Http2Connection? connection) && connection is BackendConnection == (pass == 0))
                        {
                            Handle(connection, report.Readiness);
                        }

                        break;
                }
            }
        }

        if (accept && _accepting)
        {
            Accept();
        }

        RunReadLater();
        while (_posted.TryDequeue(out Action? action))
        {
            RunGuarded(action);
        }

        RunTimers();
        Flush();
        CloseEnded();
    }

    private void Handle(Http2Connection connection, Readiness readiness)
    {
        try
        {
            if ((readiness & Readiness.Readable) != 0)
            {
                connection.OnReadable((readiness & Readiness.HungUp) != 0);
            }

            if ((readiness & Readiness.Writable) != 0 && !connection.IsClosed)
            {
                MarkDirty(connection);
            }
        }
        catch (Exception exception)
        {
            // A fault of ours in one connection must not take the node's other calls with it.
            Log.ConnectionFailed(exception);
            connection.Abort();
        }
    }

    private void RunReadLater()
    {
        if (_readLater.Count == 0)
        {
            return;
        }

        (_readNow, _readLater) = (_readLater, _readNow);
        foreach (Http2Connection connection in _readNow)
        {
            connection.IsReadPending = false;
            Handle(connection, Readiness.Readable);
        }

        _readNow.Clear();
    }

    private void RunTimers()
    {
        while (_timers.TryPeek(out Action? action, out long due) && due <= Time.GetTimestamp())
        {
            _ = _timers.Dequeue();
            RunGuarded(action);
        }
    }

    private void EndCalls()
    {
        foreach (CallerConnection caller in Callers())
        {
            caller.EndStop();
        }
    }

    private void RunGuarded(Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception)
        {
            Log.ActionFailed(exception);
        }
    }

    private int NextTimeout()
    {
        if (_readLater.Count > 0 || !_posted.IsEmpty)
        {
            return 0;
        }

        if (_lazy.Count > 0)
        {
            return 1;
        }

        if (!_timers.TryPeek(out _, out long due))
        {
            return -1;
        }

        double milliseconds = (due - Time.GetTimestamp()) * 1000.0 / Time.TimestampFrequency;
        return milliseconds <= 0 ? 0 : (int)Math.Min(milliseconds + 1, 60_000);
    }

    private void Flush()
    {
        // Sending may make room, and room may make more output.
        for (int i = 0; i < _dirty.Count; i++)
        {
            Http2Connection connection = _dirty[i];
            connection.IsDirty = false;
            try
            {
                connection.Flush();
            }
            catch (Exception exception)
            {
                Log.ConnectionFailed(exception);
                connection.Abort();
            }
        }

        _dirty.Clear();
    }

    private void FlushLazy()
    {
        foreach (Http2Connection connection in _lazy)
        {
            connection.IsLazyListed = false;
            if (connection.IsLazy)
            {
                connection.IsLazy = false;
                MarkDirty(connection);
            }
        }

        _lazy.Clear();
    }

    private void CloseEnded()
    {
        foreach (Http2Connection connection in _closing)
        {
            if (_connections.Remove(connection.Token))
            {
                Metrics?.OnDisconnected(connection is CallerConnection);
                StreamSocket.Close(connection.Descriptor);
            }
        }

        _closing.Clear();
    }

    private void Accept()
    {
        while (_accepting)
        {
            int descriptor = StreamSocket.Accept(_listener.Descriptor);
            if (descriptor == StreamSocket.WouldBlock)
            {
                return;
            }

            if (descriptor < 0)
            {
                if (Errno.IsOutOfDescriptors(-descriptor))
                {
                    // The listener stays readable: look again later instead of spinning. The caller waits in its queue.
                    Log.AcceptFailed(Errno.Name(-descriptor));
                    StopAccepting();
                    After(AcceptPause, ResumeAccepting);
                }

                return;
            }

            PeerCredentials? peer = PeerCredentials.Of(descriptor);
            if (Admits is not null && (peer is not { } process || !Admits(process)))
            {
                Log.CallerNotAdmitted(_listener.Path, peer?.ProcessId ?? 0, peer?.UserId);
                StreamSocket.Close(descriptor);
                continue;
            }

            Log.CallerConnected(peer?.ProcessId ?? 0, peer?.UserId);
            var caller = new CallerConnection(this, descriptor, peer);
            try
            {
                Register(caller);
            }
            catch (IOException exception)
            {
                Log.ConnectionFailed(exception);
                caller.Abort();
                continue;
            }

            // By its token: callers that come and go quickly must not be kept until their time is over.
            _newCallers.Enqueue((caller.Token, Time.GetTimestamp()));
            if (_newCallers.Count == 1)
            {
                After(CallerConnection.PrefaceTimeout, CloseSilentCallers);
            }
        }
    }

    private void CloseSilentCallers()
    {
        while (_newCallers.TryPeek(out (ulong Token, long AcceptedAt) oldest))
        {
            TimeSpan left = CallerConnection.PrefaceTimeout - Time.GetElapsedTime(oldest.AcceptedAt);
            if (left > TimeSpan.Zero)
            {
                After(left, CloseSilentCallers);
                return;
            }

            _ = _newCallers.Dequeue();
            if (_connections.GetValueOrDefault(oldest.Token) is CallerConnection { IsClosed: false, PrefaceSeen: false } silent)
            {
                silent.CloseSilent();
            }
        }
    }

    private void StopAccepting()
    {
        if (_accepting)
        {
            _accepting = false;
            _epoll.Remove(_listener.Descriptor);
        }
    }

    private void ResumeAccepting()
    {
        if (!_stopping)
        {
            _accepting = true;
            _epoll.Add(_listener.Descriptor, ListenerToken, edgeTriggered: false);
        }
    }

    private CallerConnection[] Callers() => [.. _connections.Values.OfType<CallerConnection>()];

    private double Elapsed(long startedAt) => Math.Round(Time.GetElapsedTime(startedAt).TotalMilliseconds, 3);
}
