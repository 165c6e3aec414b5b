using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>How RFC 9113 wants an offence answered.</summary>
internal static class Verdict
{
    /// <summary>
    /// Waits for GOAWAY with one of the codes and the end of the connection, or, where <paramref name="stream"/> is given, for an answer that refuses it or for
    /// RST_STREAM with one of them: an endpoint may always treat a stream error as one of the connection (5.4.2).
    /// </summary>
    public static async Task AssertRejectedAsync(RawConnection caller, RawStream? stream, params Http2Code[] codes)
    {
        await caller.UntilAsync(
            () => caller.GoAways.Count > 0 || stream?.ResetCode is not null || (stream is not null && IsRefusal(stream)),
            stream is null ? "GOAWAY" : "GOAWAY, RST_STREAM or an answer 4xx");
        if (caller.GoAways.Count > 0)
        {
            Http2Code code = caller.GoAways[^1].Code;
            Assert.True(codes.Contains(code), $"GOAWAY {code}, not {string.Join(" or ", codes)}\n{caller.DescribeLog()}");
            await caller.EndAsync();
        }
        else if (stream!.ResetCode is { } code)
        {
            Assert.True(codes.Contains(code), $"RST_STREAM {code}, not {string.Join(" or ", codes)}\n{caller.DescribeLog()}");
        }
    }

    private static bool IsRefusal(RawStream stream) =>
        stream.EndStream && (stream.Status == "12" || stream.Head.ValueOf(":status")?.StartsWith('4') == true);
}
