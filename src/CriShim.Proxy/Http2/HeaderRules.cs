namespace CriShim.Proxy.Http2;

/// <summary>What RFC 9113, section 8, asks of the fields of a request or a response.</summary>
internal static class HeaderRules
{
    /// <summary>Checks a request's header block; null when it is well-formed, else what is wrong with it.</summary>
    public static string? CheckRequest(HeaderList fields, out int pathIndex, out long contentLength)
    {
        pathIndex = -1;
        contentLength = -1;
        bool method = false;
        bool scheme = false;
        bool authority = false;
        bool regular = false;
        for (int i = 0; i < fields.Count; i++)
        {
            ReadOnlySpan<byte> name = fields.Name(i);
            if (name.IsEmpty)
            {
                return "a field without a name";
            }

            if (!IsValue(fields.Value(i)))
            {
                return "a field's value has a control character";
            }

            if (name[0] != ':')
            {
                regular = true;
                if (CheckRegular(name, fields.Value(i), ref contentLength) is { } wrong)
                {
                    return wrong;
                }

                continue;
            }

            if (regular)
            {
                return "a pseudo-header field after a regular one";
            }

            bool repeated;
            if (name.SequenceEqual(":path"u8))
            {
                repeated = pathIndex >= 0;
                pathIndex = i;
            }
            else if (name.SequenceEqual(":method"u8))
            {
                repeated = method;
                method = true;
            }
            else if (name.SequenceEqual(":scheme"u8))
            {
                repeated = scheme;
                scheme = true;
            }
            else if (name.SequenceEqual(":authority"u8))
            {
                repeated = authority;
                authority = true;
            }
            else
            {
                return "an unknown pseudo-header field";
            }

            if (repeated)
            {
                return "a pseudo-header field twice";
            }
        }

        if (pathIndex < 0 || !method || !scheme)
        {
            return "a pseudo-header field is missing";
        }

        return fields.Value(pathIndex).IsEmpty ? ":path is empty" : null;
    }

    /// <summary>Checks a response's header block, or its trailers; null when it is well-formed.</summary>
    public static string? CheckResponse(HeaderList fields, bool isTrailers, out int status)
    {
        status = 0;
        long contentLength = -1;
        for (int i = 0; i < fields.Count; i++)
        {
            ReadOnlySpan<byte> name = fields.Name(i);
            if (name.IsEmpty || !IsValue(fields.Value(i)))
            {
                return "a field without a name, or with a control character";
            }

            if (name[0] != ':')
            {
                if (CheckRegular(name, fields.Value(i), ref contentLength) is { } wrong)
                {
                    return wrong;
                }
            }
            else if (isTrailers || i != 0 || !name.SequenceEqual(":status"u8) || !TryReadStatus(fields.Value(i), out status))
            {
                return "a pseudo-header field that does not belong there";
            }
        }

        return isTrailers || status != 0 ? null : ":status is missing";
    }

    /// <summary>Checks a request's trailers.</summary>
    public static string? CheckTrailers(HeaderList fields)
    {
        long contentLength = -1;
        for (int i = 0; i < fields.Count; i++)
        {
            ReadOnlySpan<byte> name = fields.Name(i);
            if (name.IsEmpty || name[0] == ':' || !IsValue(fields.Value(i)))
            {
                return "a trailer field that does not belong there";
            }

            if (CheckRegular(name, fields.Value(i), ref contentLength) is { } wrong)
            {
                return wrong;
            }
        }

        return null;
    }

    private static bool TryReadStatus(ReadOnlySpan<byte> value, out int status)
    {
        status = 0;
        if (value.Length != 3)
        {
            return false;
        }

        foreach (byte digit in value)
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                return false;
            }

            status = (status * 10) + digit - '0';
        }

        return status >= 100;
    }

    private static string? CheckRegular(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, ref long contentLength)
    {
        foreach (byte letter in name)
        {
            // Visible ASCII without capitals and colons (RFC 9113, 8.2.1).
            if (letter is <= 0x20 or >= 0x7f or (>= (byte)'A' and <= (byte)'Z') or (byte)':')
            {
                return "a field's name has a character that is not allowed";
            }
        }

        switch (name[0])
        {
            case (byte)'c' when name.SequenceEqual("connection"u8):
            case (byte)'k' when name.SequenceEqual("keep-alive"u8):
            case (byte)'p' when name.SequenceEqual("proxy-connection"u8):
            case (byte)'t' when name.SequenceEqual("transfer-encoding"u8):
            case (byte)'u' when name.SequenceEqual("upgrade"u8):
                return "a connection-specific field";
            case (byte)'t' when name.SequenceEqual("te"u8) && !value.SequenceEqual("trailers"u8):
                return "te is not 'trailers'";
            case (byte)'c' when name.SequenceEqual("content-length"u8):
                if (contentLength >= 0 || value.Length is 0 or > 18 || value.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
                {
                    return "content-length is not one number";
                }

                contentLength = 0;
                foreach (byte digit in value)
                {
                    contentLength = (contentLength * 10) + digit - '0';
                }

                return null;
            default:
                return null;
        }
    }

    /// <summary>
    /// No NUL, CR or LF. Blanks at the ends pass, though RFC 9113 would have them rejected: a backend's grpc-message may end
    /// with one.
    /// </summary>
    private static bool IsValue(ReadOnlySpan<byte> value) => !value.ContainsAny((byte)0, (byte)'\r', (byte)'\n');
}
