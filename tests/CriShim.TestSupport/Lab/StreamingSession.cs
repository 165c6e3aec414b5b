using System.Buffers.Binary;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace CriShim.TestSupport.Lab;

/// <summary>
/// The other end of an exec, attach or port-forward URL: a WebSocket with the sub-protocol v4.channel.k8s.io, where each message
/// begins with the number of its channel.
/// </summary>
public sealed class StreamingSession : IAsyncDisposable
{
    /// <summary>Channels of exec and attach.</summary>
    public const byte Stdin = 0, Stdout = 1, Stderr = 2, Outcome = 3;

    private readonly ClientWebSocket _socket;
    private readonly Dictionary<byte, MemoryStream> _received = [];
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly CancellationTokenSource _limit;

    private StreamingSession(ClientWebSocket socket, CancellationTokenSource limit)
    {
        _socket = socket;
        _limit = limit;
    }

    /// <summary>Opens the URL of an ExecResponse, AttachResponse or PortForwardResponse. All of the session has to fit in <paramref name="timeout"/>.</summary>
    public static async Task<StreamingSession> OpenAsync(string url, TimeSpan timeout)
    {
        var socket = new ClientWebSocket();
        var limit = new CancellationTokenSource(timeout);
        try
        {
            socket.Options.AddSubProtocol("v4.channel.k8s.io");
            socket.Options.Proxy = null;
            await socket.ConnectAsync(new UriBuilder(url) { Scheme = "ws" }.Uri, limit.Token).ConfigureAwait(false);
            return new StreamingSession(socket, limit);
        }
        catch
        {
            socket.Dispose();
            limit.Dispose();
            throw;
        }
    }

    public async Task SendAsync(byte channel, string text)
    {
        byte[] message = [channel, .. Encoding.UTF8.GetBytes(text)];
        await _socket.SendAsync(message, WebSocketMessageType.Binary, endOfMessage: true, _limit.Token).ConfigureAwait(false);
    }

    /// <summary>All that has come on a channel.</summary>
    public string Text(byte channel) => Encoding.UTF8.GetString(Bytes(channel));

    public byte[] Bytes(byte channel) => _received.TryGetValue(channel, out var stream) ? stream.ToArray() : [];

    /// <summary>Reads until <paramref name="expected"/> has come on the channel.</summary>
    public async Task ReadUntilAsync(byte channel, string expected)
    {
        while (!Text(channel).Contains(expected, StringComparison.Ordinal))
        {
            if (!await ReceiveAsync().ConfigureAwait(false))
            {
                throw new InvalidOperationException($"The stream ended before '{expected}'; channel {channel} has: {Text(channel)}");
            }
        }
    }

    /// <summary>Reads to the end of the stream.</summary>
    public async Task ReadToEndAsync()
    {
        while (await ReceiveAsync().ConfigureAwait(false))
        {
        }
    }

    /// <summary>Reads to the end; the exit code that the outcome channel tells.</summary>
    public async Task<int> ReadExitCodeAsync()
    {
        await ReadToEndAsync().ConfigureAwait(false);
        var text = Text(Outcome);
        using var status = JsonDocument.Parse(text);
        if (status.RootElement.GetProperty("status").GetString() == "Success")
        {
            return 0;
        }

        foreach (var cause in status.RootElement.GetProperty("details").GetProperty("causes").EnumerateArray())
        {
            if (cause.GetProperty("reason").GetString() == "ExitCode")
            {
                return int.Parse(cause.GetProperty("message").GetString()!, System.Globalization.CultureInfo.InvariantCulture);
            }
        }

        throw new InvalidOperationException($"No exit code in: {text}");
    }

    /// <summary>Port-forward: the port that a channel begins with.</summary>
    public async Task<ushort> ReadPortAsync(byte channel)
    {
        while (Bytes(channel).Length < 2)
        {
            if (!await ReceiveAsync().ConfigureAwait(false))
            {
                throw new InvalidOperationException($"The stream ended before channel {channel} named its port.");
            }
        }

        return BinaryPrimitives.ReadUInt16LittleEndian(Bytes(channel));
    }

    public ValueTask DisposeAsync()
    {
        _socket.Dispose();
        _limit.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<bool> ReceiveAsync()
    {
        byte? channel = null;
        while (true)
        {
            ValueWebSocketReceiveResult result;
            try
            {
                result = await _socket.ReceiveAsync(_buffer.AsMemory(), _limit.Token).ConfigureAwait(false);
            }
            catch (WebSocketException) when (_received.ContainsKey(Outcome))
            {
                // Having told the outcome, the other end may hang up without a goodbye.
                return false;
            }

            if (result.MessageType == WebSocketMessageType.Close)
            {
                return false;
            }

            var data = _buffer.AsMemory(0, result.Count);
            if (channel is null && result.Count > 0)
            {
                channel = _buffer[0];
                data = data[1..];
            }

            if (channel is { } number)
            {
                if (!_received.TryGetValue(number, out var stream))
                {
                    _received[number] = stream = new MemoryStream();
                }

                stream.Write(data.Span);
            }

            if (result.EndOfMessage)
            {
                return true;
            }
        }
    }
}
