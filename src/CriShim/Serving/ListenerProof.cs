using System.Net.Sockets;
using CriShim.Linux;

namespace CriShim.Serving;

/// <summary>Comes to the listening socket as a caller does, and is content with the first frame of an answer.</summary>
internal static class ListenerProof
{
    private const int FrameHeaderLength = 9;
    private const byte SettingsFrame = 4;
    private const int MaxSettingsLength = 16384; // The frame size that holds until SETTINGS say otherwise (RFC 9113, 4.2).

    /// <summary>The connection preface with empty SETTINGS (RFC 9113, 3.4), and GOAWAY: nothing more will come.</summary>
    private static readonly byte[] Greeting =
    [
        .. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8,
        0, 0, 0, SettingsFrame, 0, 0, 0, 0, 0,
        0, 0, 8, 7, 0, 0, 0, 0, 0, /* last stream */ 0, 0, 0, 0, /* NO_ERROR */ 0, 0, 0, 0,
    ];

    /// <exception cref="SocketException">Nobody listens, or the connection broke.</exception>
    /// <exception cref="InvalidDataException">The answer is not HTTP/2.</exception>
    public static async Task RunAsync(string path, CancellationToken cancellationToken)
    {
        await using Stream stream = await UnixConnector.ConnectAsync(path, cancellationToken);
        await stream.WriteAsync(Greeting, cancellationToken);
        byte[] frame = new byte[FrameHeaderLength];
        try
        {
            await stream.ReadExactlyAsync(frame, cancellationToken);
            int length = (frame[0] << 16) | (frame[1] << 8) | frame[2];
            bool isSettings = frame[3] == SettingsFrame && (frame[4] & 1) == 0 && frame.AsSpan(5).IndexOfAnyExcept((byte)0) < 0;
            if (!isSettings || length > MaxSettingsLength)
            {
                throw new InvalidDataException($"it answered something else than HTTP/2 SETTINGS: {Convert.ToHexString(frame)}");
            }

            await stream.ReadExactlyAsync(new byte[length], cancellationToken);
        }
        catch (EndOfStreamException e)
        {
            throw new InvalidDataException("it closed the connection without HTTP/2 SETTINGS", e);
        }
    }
}
