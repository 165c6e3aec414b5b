using System.Net;
using System.Text;

namespace CriShim.Http;

/// <summary>What is answered to a request.</summary>
internal sealed record HttpAnswer
{
    public required HttpStatusCode Status { get; init; }

    public required string ContentType { get; init; }

    public required byte[] Body { get; init; }

    public string? Allow { get; init; }

    /// <summary>What a browser may do with it; by default nothing but show it.</summary>
    public string ContentSecurityPolicy { get; init; } = "default-src 'none'; frame-ancestors 'none'";

    public static HttpAnswer Text(HttpStatusCode status, string text) =>
        new() { Status = status, ContentType = "text/plain; charset=utf-8", Body = Encoding.UTF8.GetBytes(text) };

    /// <summary>Status line and fields, with the empty line at the end.</summary>
    public byte[] Head()
    {
        var head = new StringBuilder(512)
            .Append("HTTP/1.1 ").Append((int)Status).Append(' ').Append(Status).Append("\r\n")
            .Append("Content-Type: ").Append(ContentType).Append("\r\n")
            .Append("Content-Length: ").Append(Body.Length).Append("\r\n")
            .Append("Connection: close\r\n")
            .Append("Cache-Control: no-store\r\n")
            .Append("Content-Security-Policy: ").Append(ContentSecurityPolicy).Append("\r\n")
            .Append("Cross-Origin-Resource-Policy: same-origin\r\n")
            .Append("Referrer-Policy: no-referrer\r\n")
            .Append("X-Content-Type-Options: nosniff\r\n")
            .Append("X-Frame-Options: DENY\r\n");
        if (Allow is not null)
        {
            _ = head.Append("Allow: ").Append(Allow).Append("\r\n");
        }

        return Encoding.ASCII.GetBytes(head.Append("\r\n").ToString());
    }
}
