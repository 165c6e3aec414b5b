using System.Net;
using System.Net.Sockets;
using CriShim.Serving;
using Microsoft.Extensions.Logging;

namespace CriShim.Http;

/// <summary>
/// Answers GET and HEAD on one address of this node, for monitoring and people: small on purpose, for it runs as root beside the pods.
/// </summary>
/// <remarks>
/// One request a connection, a few connections at a time, a small head, no body, a few seconds for all of it. A request that names
/// another host than this one by name is refused: a browser on the node may have been led here by a foreign page (DNS rebinding).
/// </remarks>
internal sealed class LocalHttpServer : IAsyncDisposable
{
    private const int MaxConnections = 16;
    private const int MaxDrained = 64 * 1024;

    private static readonly TimeSpan RequestLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(500);

    private readonly Func<HttpRequest, CancellationToken, ValueTask<HttpAnswer>> _answer;
    private readonly IReadOnlyList<string> _names;
    private readonly ILogger _log;
    private readonly TimeProvider _time;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _stopping = new();
    private readonly SemaphoreSlim _slots = new(MaxConnections);
    private readonly Task _accepting;

    /// <summary>Binds, and serves from here on.</summary>
    /// <param name="address">Port 0: any that is free.</param>
    /// <param name="names">Names of this node that a request may be for, beside <c>localhost</c> and any IP address.</param>
    /// <param name="answer">Answers a request; what it throws is logged and answered with 500.</param>
    /// <param name="log">Where it logs.</param>
    /// <param name="time">The clock.</param>
    /// <exception cref="SocketException">The address can't be bound.</exception>
    public LocalHttpServer(
        IPEndPoint address, IReadOnlyList<string> names, Func<HttpRequest, CancellationToken, ValueTask<HttpAnswer>> answer, ILogger log,
        TimeProvider time)
    {
        _names = names;
        _answer = answer;
        _log = log;
        _time = time;
        _listener = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            // Not with ReuseAddress, which .NET takes for SO_REUSEPORT as well: a second crishim would share the port in silence.
            _listener.Bind(address);
            _listener.Listen(MaxConnections);
            Address = (IPEndPoint)_listener.LocalEndPoint!;
        }
        catch
        {
            _listener.Dispose();
            _slots.Dispose();
            _stopping.Dispose();
            throw;
        }

        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Where it listens.</summary>
    public IPEndPoint Address { get; }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _listener.Dispose();
        await _accepting;
        for (int i = 0; i < MaxConnections; i++)
        {
            await _slots.WaitAsync();
        }

        _slots.Dispose();
        _stopping.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                await _slots.WaitAsync(_stopping.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            try
            {
                Socket connection = await _listener.AcceptAsync(_stopping.Token);
                _ = ServeAsync(connection);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                _ = _slots.Release();
                if (!_stopping.IsCancellationRequested)
                {
                    // No descriptor is left, say.
                    await Task.Delay(AcceptPause, _time, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
        }
    }

    private async Task ServeAsync(Socket connection)
    {
        try
        {
            using (connection)
            {
                connection.NoDelay = true;
                (HttpRequest? request, HttpAnswer? answer) = await WithinAsync(RequestLimit, ct => ReadAsync(connection, ct));
                if (request is not null)
                {
                    answer = IsHere(request.Host)
                        ? await WithinAsync(AnswerLimit, ct => AnswerAsync(request, ct).AsTask())
                        : HttpAnswer.Text(HttpStatusCode.MisdirectedRequest, "this host goes by another name\n");
                }

                if (answer is not null)
                {
                    byte[] bytes = request is { IsHead: true } ? answer.Head() : [.. answer.Head(), .. answer.Body];
                    await WithinAsync(AnswerLimit, async ct => await SendAsync(connection, bytes, ct));
                    await WithinAsync(CloseLimit, async ct => await CloseAsync(connection, ct));
                }
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // It went away, or was too slow.
        }
        catch (Exception e)
        {
            _log.HttpFailed(e);
        }
        finally
        {
            _ = _slots.Release();
        }
    }

    private async ValueTask<HttpAnswer> AnswerAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await _answer(request, cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _log.HttpFailed(e);
            return HttpAnswer.Text(HttpStatusCode.InternalServerError, "it failed; crishim's log says why\n");
        }
    }

    private bool IsHere(string? host) =>
        host is null || IPAddress.TryParse(host, out _) || host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || _names.Contains(host, StringComparer.OrdinalIgnoreCase);

    private static async Task<(HttpRequest? Request, HttpAnswer? Refusal)> ReadAsync(Socket connection, CancellationToken cancellationToken)
    {
        byte[] head = new byte[HttpRequest.MaxLength];
        int length = 0;
        while (length < head.Length)
        {
            int read = await connection.ReceiveAsync(head.AsMemory(length), cancellationToken);
            if (read == 0)
            {
                return default;
            }

            // The end may have come in two parts.
            int from = Math.Max(0, length - 3);
            length += read;
            int end = head.AsSpan(from, length - from).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
            {
                return HttpRequest.TryParse(head.AsSpan(0, from + end + 2), out HttpRequest? request, out HttpAnswer? refusal)
                    ? (request, null)
                    : (null, refusal);
            }
        }

        return (null, HttpAnswer.Text(HttpStatusCode.RequestHeaderFieldsTooLarge, $"more than {HttpRequest.MaxLength} bytes\n"));
    }

    private static async Task<bool> SendAsync(Socket connection, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await connection.SendAsync(bytes, cancellationToken)..];
        }

        connection.Shutdown(SocketShutdown.Send);
        return true;
    }

    /// <summary>Closing with something unread resets the connection, and the answer may be lost with it.</summary>
    private static async Task<bool> CloseAsync(Socket connection, CancellationToken cancellationToken)
    {
        byte[] rest = new byte[4096];
        int drained = 0;
        int read;
        while (drained < MaxDrained && (read = await connection.ReceiveAsync(rest, cancellationToken)) > 0)
        {
            drained += read;
        }

        return true;
    }

    private async Task<T> WithinAsync<T>(TimeSpan limit, Func<CancellationToken, Task<T>> work)
    {
        using var timeout = new CancellationTokenSource(limit, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, _stopping.Token);
        return await work(either.Token);
    }
}
