using System.Collections.Concurrent;
using System.Net.Sockets;
using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;
using Xunit.Sdk;

namespace CriShim.Proxy.Tests.Fuzz;

/// <summary>A backend that gives every call its body back, judges each connection, and keeps none of them: for very many.</summary>
internal sealed class JudgingBackend : IAsyncDisposable
{
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly ConcurrentDictionary<Task, bool> _serving = new();
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly Task _accepting;
    private long _calls;

    public JudgingBackend(string socketPath)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(socketPath));
        _listener.Listen(1024);
        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>What the proxy did wrong, on any connection.</summary>
    public IReadOnlyCollection<string> Violations => _violations;

    /// <summary>Connections that the proxy holds now.</summary>
    public int Connections => _serving.Count;

    /// <summary>Calls that came through.</summary>
    public long Calls => Interlocked.Read(ref _calls);

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting.Bounded();
        await Task.WhenAll(_serving.Keys).Bounded("the end of the proxy's connections");
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket socket = await _listener.AcceptAsync();
                var serving = Task.Run(() => ServeAsync(socket));
                _serving[serving] = true;
                _ = serving.ContinueWith(done => _serving.TryRemove(done, out bool _), TaskScheduler.Default);
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        await using var connection = new RawConnection(socket, isCaller: false);
        try
        {
            while (true)
            {
                RawStream stream = await connection.NextStreamAsync(forever: true);
                _ = Interlocked.Increment(ref _calls);
                _ = Task.Run(() => AnswerAsync(connection, stream));
            }
        }
        catch (XunitException)
        {
            // The proxy has closed it, or has broken a rule.
        }

        foreach (string violation in connection.Violations)
        {
            _violations.Enqueue(violation);
        }
    }

    private static async Task AnswerAsync(RawConnection connection, RawStream stream)
    {
        try
        {
            await connection.UntilAsync(() => stream.Closed, "the request's end", forever: true);
            if (stream.ResetCode is null)
            {
                await stream.RespondAsync(stream.Body);
            }
        }
        catch (XunitException)
        {
            // Its caller has gone.
        }
    }
}
