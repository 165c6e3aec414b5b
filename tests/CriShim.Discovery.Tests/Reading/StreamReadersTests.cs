using System.Text;
using CriShim.Discovery.Reading;
using CriShim.Discovery.Tests.Support;

namespace CriShim.Discovery.Tests.Reading;

public sealed class StreamReadersTests
{
    private const int MaxValue = 64 * 1024;

    private static readonly string List = $$$$"""
         {"kind":"PodList","apiVersion":"v1","newField":[{"x":1}],"items":[{{{{PodJson.Small("a", "ua")}}}}, {{{{PodJson.Full}}}}
        ,{{{{PodJson.Small("b", "ub")}}}}],"metadata":{"continue":"","resourceVersion":"77"}}
        """;

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(100)]
    [InlineData(100_000)]
    public async Task ReadAsync_ListInPieces_GivesAllPodsAndTheVersion(int pieceSize)
    {
        (string version, List<PodDocument> pods, List<string> rejected) = await ReadListAsync(List, pieceSize);

        Assert.Equal("77", version);
        Assert.Equal(["a", "web-0", "b"], pods.Select(p => p.Facts.Name));
        Assert.Empty(rejected);
    }

    [Theory]
    [InlineData("""{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":null}""")]
    [InlineData("""{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}""")]
    [InlineData("""{"metadata":{"resourceVersion":"1"}}""")]
    public async Task ReadAsync_EmptyList_GivesNoPods(string json)
    {
        (string version, List<PodDocument> pods, _) = await ReadListAsync(json, 10);

        Assert.Equal("1", version);
        Assert.Empty(pods);
    }

    [Fact]
    public async Task ReadAsync_OnePodUnreadable_GivesTheOthers()
    {
        (_, List<PodDocument> pods, List<string> rejected) = await ReadListAsync(
            $$$$"""{"items":[{{{{PodJson.Small("a", "ua")}}}},{"metadata":{"name":"x"}},5,{{{{PodJson.Small("b", "ub")}}}}]}""", 9);

        Assert.Equal(["a", "b"], pods.Select(p => p.Facts.Name));
        Assert.Equal(2, rejected.Count);
    }

    [Fact]
    public async Task ReadAsync_ListCutOffAnywhere_IsRefused()
    {
        string list = List.Trim();
        for (int length = 0; length < list.Length; length++)
        {
            await Assert.ThrowsAsync<PodSpecException>(() => ReadListAsync(list[..length], 1000));
        }
    }

    [Theory]
    [InlineData("<html><body>Bad gateway</body></html>")]
    [InlineData("""{"kind":"Status","code":500}""")]
    [InlineData("""{"kind":"PodList","items":{}}""")]
    [InlineData("[1,2]")]
    [InlineData("""{"kind":"PodList","items":[}""")]
    public async Task ReadAsync_NoList_IsRefused(string text) => await Assert.ThrowsAsync<PodSpecException>(() => ReadListAsync(text, 5));

    [Fact]
    public async Task ReadAsync_PodLargerThanAllowed_IsRefused()
    {
        string large = PodJson.Small("a", "u", more: $$$$""","annotations":{"x":"{{{{new string('x', 2 * MaxValue)}}}}"}""");

        PodSpecException e = await Assert.ThrowsAsync<PodSpecException>(() => ReadListAsync($$$$"""{"items":[{{{{large}}}}]}""", 4096));

        Assert.Contains("more than", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(13)]
    [InlineData(100_000)]
    public async Task ReadAsync_WatchInPieces_GivesAllEvents(int pieceSize)
    {
        string watch = $$$$"""
            {"type":"ADDED","object":{{{{PodJson.Small("a", "ua", 5)}}}}}
            {"object":{{{{PodJson.Small("a", "ua", 6)}}}},"type":"MODIFIED"}{"type":"DELETED","new":[],"object":{{{{PodJson.Small("a", "ua", 7)}}}}}
            {"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"8"},"spec":{"containers":null}}}
            {"type":"SOMETHINGNEW","object":{"metadata":{"resourceVersion":"9"}}}
            {"type":"ADDED","object":{"metadata":{"resourceVersion":"10"}}}
            {"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}
            """;

        List<WatchEvent> events = await ReadWatchAsync(watch, pieceSize);

        Assert.Equal(
            [
                (WatchEventKind.Upserted, "5"), (WatchEventKind.Upserted, "6"), (WatchEventKind.Deleted, "7"), (WatchEventKind.Bookmark, "8"),
                (WatchEventKind.Unknown, "9"), (WatchEventKind.Upserted, "10"), (WatchEventKind.Error, ""),
            ],
            events.Select(e => (e.Kind, e.Version)));
        Assert.Equal("metadata.uid is missing", events[5].Fault);
        Assert.Equal(410, events[6].ErrorCode);
    }

    [Fact]
    public async Task ReadAsync_WatchCutOffInAnEvent_GivesTheWholeOnes()
    {
        string watch = $$$$"""{"type":"ADDED","object":{{{{PodJson.Small("a", "ua", 5)}}}}}{"type":"ADDED","object":{"metadata":""";

        Assert.Single(await ReadWatchAsync(watch, 50));
    }

    [Theory]
    [InlineData("<html>")]
    [InlineData("[]")]
    [InlineData("""{"object":{}}""")]
    [InlineData("""{"type":"ADDED"}""")]
    [InlineData("""{"type":"ADDED","object":5}""")]
    [InlineData("""{"type":"ERROR","object":"x"}""")]
    public async Task ReadAsync_NoWatch_IsRefused(string text) => await Assert.ThrowsAsync<PodSpecException>(() => ReadWatchAsync(text, 5));

    private static async Task<(string Version, List<PodDocument> Pods, List<string> Rejected)> ReadListAsync(string json, int pieceSize)
    {
        var pods = new List<PodDocument>();
        var rejected = new List<string>();
        using var stream = new PiecemealStream(Encoding.UTF8.GetBytes(json), pieceSize);
        using var buffer = new JsonStreamBuffer(stream, MaxValue);
        string version = await new PodListReader(buffer, pods.Add, rejected.Add).ReadAsync(CancellationToken.None);
        return (version, pods, rejected);
    }

    private static async Task<List<WatchEvent>> ReadWatchAsync(string json, int pieceSize)
    {
        var events = new List<WatchEvent>();
        using var stream = new PiecemealStream(Encoding.UTF8.GetBytes(json), pieceSize);
        using var buffer = new JsonStreamBuffer(stream, MaxValue);
        var reader = new WatchReader(buffer);
        while (await reader.ReadAsync(CancellationToken.None) is { } happened)
        {
            events.Add(happened);
        }

        return events;
    }
}
