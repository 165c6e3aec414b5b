using System.Buffers.Binary;
using System.Text;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// Reads the ids out of the first bytes of a request, for the log line of a call that failed. Nothing else of a request is
/// ever logged: the rest holds environments, arguments, commands, credentials and annotations.
/// </summary>
internal static class Subject
{
    /// <summary>How much of a request is kept for this.</summary>
    public const int PrefixLength = 512;

    /// <summary>Text such as <c>container=3f2a…</c>, or an empty one where the bytes don't say.</summary>
    /// <param name="field">Where the method has its id.</param>
    /// <param name="request">The first bytes of the request's body: flag, length, message.</param>
    public static string Describe(SubjectField field, ReadOnlySpan<byte> request)
    {
        const int GrpcPrefixLength = 5;
        if (field == SubjectField.None || request.Length <= GrpcPrefixLength || request[0] != 0)
        {
            return "";
        }

        uint length = BinaryPrimitives.ReadUInt32BigEndian(request[1..]);
        ReadOnlySpan<byte> message = request[GrpcPrefixLength..];
        message = message[..(int)Math.Min(length, (uint)message.Length)];
        if (!TryReadBytes(ref message, 1, out ReadOnlySpan<byte> first))
        {
            return "";
        }

        switch (field)
        {
            case SubjectField.ContainerId:
                return Say("container", first);
            case SubjectField.PodSandboxId:
                return Say("sandbox", first);
            default:
                if (!TryReadBytes(ref first, 1, out ReadOnlySpan<byte> metadata))
                {
                    return "";
                }

                _ = TryReadBytes(ref metadata, 1, out ReadOnlySpan<byte> name);
                _ = TryReadBytes(ref metadata, 2, out ReadOnlySpan<byte> uid);
                _ = TryReadBytes(ref metadata, 3, out ReadOnlySpan<byte> space);
                return string.Join(' ', new[] { Say("pod", name), Say("namespace", space), Say("uid", uid) }.Where(text => text.Length > 0));
        }
    }

    private static string Say(string word, ReadOnlySpan<byte> id)
    {
        if (id.IsEmpty || id.Length > 253)
        {
            return "";
        }

        foreach (byte letter in id)
        {
            if (!char.IsAsciiLetterOrDigit((char)letter) && letter is not ((byte)'-' or (byte)'.' or (byte)'_'))
            {
                return "";
            }
        }

        return $"{word}={Encoding.ASCII.GetString(id)}";
    }

    /// <summary>Takes a length-delimited field of this number from the front; false, and nothing taken, when another is there.</summary>
    private static bool TryReadBytes(ref ReadOnlySpan<byte> message, int number, out ReadOnlySpan<byte> value)
    {
        value = default;
        if (message.IsEmpty || message[0] != ((number << 3) | 2))
        {
            return false;
        }

        ReadOnlySpan<byte> rest = message[1..];
        uint length = 0;
        for (int i = 0; ; i++)
        {
            if (i == rest.Length || i == 4)
            {
                return false;
            }

            length |= (uint)(rest[i] & 0x7f) << (7 * i);
            if ((rest[i] & 0x80) == 0)
            {
                rest = rest[(i + 1)..];
                break;
            }
        }

        // The prefix may cut the field short; a nested message is still of use then.
        value = rest[..(int)Math.Min(length, (uint)rest.Length)];
        message = rest[value.Length..];
        return true;
    }
}
