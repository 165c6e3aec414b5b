using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text;

namespace CriShim.Http;

/// <summary>A request's head: GET or HEAD, HTTP/1.0 or 1.1, nothing else (RFC 9112).</summary>
internal sealed record HttpRequest
{
    /// <summary>The most bytes that a request may have.</summary>
    public const int MaxLength = 8 * 1024;

    public required bool IsHead { get; init; }

    /// <summary>Without the query; begins with a slash.</summary>
    public required string Path { get; init; }

    /// <summary>The Host field, without the port; null in HTTP/1.0 without one.</summary>
    public required string? Host { get; init; }

    public required string? Accept { get; init; }

    /// <summary>Parses a head, without the empty line at its end.</summary>
    /// <param name="head">Whole lines that end with CR LF.</param>
    /// <param name="request">The request.</param>
    /// <param name="refusal">What to answer where it is none.</param>
    public static bool TryParse(
        ReadOnlySpan<byte> head, [NotNullWhen(true)] out HttpRequest? request, [NotNullWhen(false)] out HttpAnswer? refusal)
    {
        request = null;
        refusal = HttpAnswer.Text(HttpStatusCode.BadRequest, "malformed request\n");
        if (head.ContainsAnyExcept(Printable) || !head.EndsWith("\r\n"u8))
        {
            return false;
        }

        string[] lines = Encoding.ASCII.GetString(head)[..^2].Split("\r\n");
        string[] first = lines[0].Split(' ');
        if (first is not [{ Length: > 0 } method, ['/', ..] target, "HTTP/1.1" or "HTTP/1.0"]
            || Array.Exists(lines, line => line.AsSpan().IndexOfAny('\r', '\n') >= 0))
        {
            return false;
        }

        string? host = null;
        string? accept = null;
        foreach (string line in lines.AsSpan(1))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);

            // No blank before the colon, and no line that goes on the one before: what proxies and servers read differently.
            if (colon <= 0 || line.AsSpan(0, colon).IndexOfAny(' ', '\t') >= 0)
            {
                return false;
            }

            string value = line[(colon + 1)..].Trim(' ', '\t');
            switch (line[..colon].ToLowerInvariant())
            {
                case "host" when host is not null:
                    return false;
                case "host":
                    host = value;
                    break;
                case "accept":
                    accept = accept is null ? value : $"{accept}, {value}";
                    break;
                case "content-length" when value == "0":
                    break;
                case "content-length" or "transfer-encoding":
                    refusal = HttpAnswer.Text(HttpStatusCode.RequestEntityTooLarge, "no request body is read here\n");
                    return false;
                default:
                    break;
            }
        }

        if (host is null && first[2] == "HTTP/1.1")
        {
            return false;
        }

        if (method is not ("GET" or "HEAD"))
        {
            refusal = HttpAnswer.Text(HttpStatusCode.MethodNotAllowed, "GET and HEAD only\n") with { Allow = "GET, HEAD" };
            return false;
        }

        int query = target.IndexOf('?', StringComparison.Ordinal);
        refusal = null;
        request = new HttpRequest
        {
            IsHead = method == "HEAD",
            Path = query < 0 ? target : target[..query],
            Host = WithoutPort(host),
            Accept = accept,
        };
        return true;
    }

    private static readonly System.Buffers.SearchValues<byte> Printable =
        System.Buffers.SearchValues.Create([.. Enumerable.Range(0x20, 0x5f).Select(i => (byte)i), (byte)'\r', (byte)'\n', (byte)'\t']);

    private static string? WithoutPort(string? host)
    {
        if (host is null)
        {
            return null;
        }

        int colon = host.LastIndexOf(':');
        bool hasPort = colon >= 0 && host.AsSpan(colon).IndexOf(']') < 0;
        return (hasPort ? host[..colon] : host).Trim('[', ']');
    }
}
