using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>
/// Who reads slowly slows down who sends to it, and nobody else. "Stuck" is never a matter of time here: the sender has used
/// its window up, and has PING answers that prove that the other side had seen all that was sent and granted nothing for it.
/// </summary>
public sealed class FlowControlTests
{
    /// <summary>More than any implementation should hold for one call that does not move.</summary>
    private const int Bounded = 24 << 20;

    private const int Endless = 128 << 20;

    private static readonly RawConnectionOptions DefaultWindows = new() { Settings = [], ExtraConnectionWindow = 0 };

    private static readonly RawConnectionOptions StreamsStall = new() { Settings = [], GrantStreamWindows = false };

    [Theory]
    [EveryRoute]
    public async Task Answer_CallerDoesNotRead_BackendIsThrottledAndNothingIsLost(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync(DefaultWindows with { GrantStreamWindows = false });
        RawStream call = await caller.SendCallAsync(TestBed.Events, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.SendHeadersAsync(GrpcWire.ResponseHead());

        byte[] sent = await SendUntilStuckAsync(served);

        Assert.InRange(sent.Length, 65535, Bounded);
        await call.BodyLengthAsync(65535);
        Assert.Equal(65535, call.BodyLength);

        await caller.GrantAsync(call.Id, 1 << 30);
        await served.SendHeadersAsync(GrpcWire.Trailers(0), endStream: true);
        await call.EndedAsync();
        Octets.AssertEqual(sent, call.Body, "the answer, late");
    }

    [Theory]
    [EveryRoute]
    public async Task Request_BackendDoesNotRead_CallerIsThrottledAndNothingIsLost(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        RawConnection backend = await bed.Raw.AcceptAsync(StreamsStall);
        RawStream served = await backend.NextStreamAsync();

        byte[] sent = await SendUntilStuckAsync(call);

        Assert.InRange(sent.Length, 65535, Bounded);
        await backend.GrantAsync(served.Id, 1 << 30);
        await caller.WriteAsync(Frame.Data(call.Id, [], endStream: true));
        await served.EndedAsync();
        Octets.AssertEqual(sent, served.Body, "the request, late");
        await served.RespondAsync([]);
        await call.EndedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Answers_ManyStalled_OtherStreamsOfTheConnectionFlow(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        byte[] large = Octets.Varied(2 << 20);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            await call.SendAsync(large);
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions
        {
            Settings = [(Setting.InitialWindowSize, 20_000)],
        });
        var stalled = new List<RawStream>();
        for (int i = 0; i < 40; i++)
        {
            RawStream call = caller.OpenStream();
            call.GrantWindow = false;
            await call.SendHeadersAsync(GrpcWire.Request(TestBed.Events), endStream: true);
            stalled.Add(call);
        }

        await caller.UntilAsync(() => stalled.All(call => call.BodyLength == 20_000), "every stream at the end of its window");

        RawStream free = await caller.CallAsync(TestBed.Version, large);
        Octets.AssertEqual(large, free.Body, "the answer past the stalled ones");

        foreach (RawStream call in stalled)
        {
            call.GrantWindow = true;
            await caller.GrantAsync(call.Id, 20_000);
        }

        await caller.UntilAsync(() => stalled.All(call => call.EndStream), "the stalled answers");
        Assert.All(stalled, call => Octets.AssertEqual(large, call.Body, "a stalled answer"));
    }

    [Theory]
    [EveryRoute]
    public async Task Requests_ManyStalled_OtherStreamsOfTheConnectionFlow(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream first = caller.OpenStream();
        await first.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        RawConnection backend = await bed.Raw.AcceptAsync(StreamsStall);
        var stalled = new List<(RawStream Call, RawStream Served, byte[] Sent)>();
        for (int i = 0; i < 10; i++)
        {
            RawStream call = i == 0 ? first : caller.OpenStream();
            if (i > 0)
            {
                await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
            }

            RawStream served = await backend.NextStreamAsync();
            stalled.Add((call, served, await SendUntilStuckAsync(call)));
        }

        byte[] large = Octets.Varied(1 << 20);
        RawStream free = caller.OpenStream();
        await free.SendHeadersAsync(GrpcWire.Request(TestBed.Version));
        Task sending = free.SendBodyAsync(large, endStream: true);
        RawStream freeServed = await backend.NextStreamAsync();
        await backend.GrantAsync(freeServed.Id, 1 << 24);
        await freeServed.EndedAsync();
        await sending;
        Octets.AssertEqual(large, freeServed.Body, "the request past the stalled ones");

        foreach ((RawStream call, RawStream served, byte[] sent) in stalled)
        {
            await backend.GrantAsync(served.Id, 1 << 28);
            await caller.WriteAsync(Frame.Data(call.Id, [], endStream: true));
            await served.EndedAsync();
            Octets.AssertEqual(sent, served.Body, "a stalled request");
        }
    }

    [Theory]
    [EveryRoute]
    public async Task Answer_WholeConnectionStalled_OtherCallersFlow(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        byte[] large = Octets.Varied(4 << 20);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            await call.SendAsync(large);
            await call.EndAsync();
        });
        RawConnection stalled = await bed.ConnectAsync(new RawConnectionOptions
        {
            ExtraConnectionWindow = 0,
            GrantConnectionWindow = false,
        });
        RawStream[] calls = [.. await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => stalled.SendCallAsync(TestBed.Events, [])))];
        await stalled.UntilAsync(() => calls.Sum(call => call.BodyLength) == 65535, "the connection's window used up");

        RawConnection other = await bed.ConnectAsync();
        RawStream free = await other.CallAsync(TestBed.Version, large);
        Octets.AssertEqual(large, free.Body, "the other caller's answer");

        await stalled.GrantAsync(0, 1 << 30);
        await stalled.UntilAsync(() => calls.All(call => call.EndStream), "the stalled answers");
        Assert.All(calls, call => Octets.AssertEqual(large, call.Body, "a stalled answer"));
    }

    [Theory]
    [EveryRoute]
    public async Task Answer_CallerStopsReadingItsSocket_OtherCallersFlow(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        byte[] large = Octets.Varied(8 << 20);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            await call.SendAsync(large);
            await call.EndAsync();
        });
        RawConnection deaf = await bed.ConnectAsync(new RawConnectionOptions { Read = false });
        RawStream call = await deaf.SendCallAsync(TestBed.Events, body: null);
        await bed.Fake.NextCallAsync();

        await bed.AssertOthersAreServedAsync();

        deaf.StartReading();
        await call.EndedAsync();
        Octets.AssertEqual(large, call.Body, "the answer, late");
    }

    [Theory]
    [InlineData(Route.Bare, 1)]
    [InlineData(Route.Proxy, 1)]
    [InlineData(Route.Bare, 97)]
    [InlineData(Route.Proxy, 97)]
    public async Task Call_TinyWindows_PassesBothWays(Route route, uint window)
    {
        var tiny = new RawConnectionOptions { Settings = [(Setting.InitialWindowSize, window)], ExtraConnectionWindow = 0 };
        await using TestBed bed = TestBed.WithRaw(route);
        bed.Raw.EchoForever(tiny);
        RawConnection caller = await bed.ConnectAsync(tiny);
        byte[] body = Octets.Varied((int)window * 200);

        RawStream call = await caller.CallAsync(TestBed.Unary, body);

        Octets.AssertEqual(body, call.Body, "the answer");
        Assert.Equal("0", call.Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Call_WindowZeroAtFirst_TrailersComeAllTheSame(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions
        {
            Settings = [(Setting.InitialWindowSize, 0)],
            GrantStreamWindows = false,
        });
        bed.Raw.EchoForever();

        RawStream empty = await caller.CallAsync(TestBed.Unary, []);
        Assert.Equal("0", empty.Status);

        RawStream call = await caller.SendCallAsync(TestBed.Unary, [1, 2, 3]);
        await call.HeadAsync();
        await caller.GrantAsync(call.Id, 3);
        await call.EndedAsync();
        Octets.AssertEqual([1, 2, 3], call.Body, "the answer");
    }

    [Theory]
    [EveryRoute]
    public async Task Settings_BackendShrinksWindowsBelowZero_RequestWaitsAndArrivesWhole(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        RawConnection backend = await bed.Raw.AcceptAsync(StreamsStall);
        RawStream served = await backend.NextStreamAsync();
        byte[] body = Octets.Varied(100_000);
        await call.SendBodyAsync(body.AsMemory(0, 60_000));
        await served.BodyLengthAsync(60_000);

        await backend.SendSettingsAsync((Setting.InitialWindowSize, 10));
        await backend.UntilAsync(() => backend.SettingsAcknowledged == 2, "the acknowledgement");
        Task sending = call.SendBodyAsync(body.AsMemory(60_000), endStream: true);
        await backend.GrantAsync(served.Id, 50_000);
        await backend.PingAsync();
        Assert.Equal(60_000, served.BodyLength);
        await backend.GrantAsync(served.Id, 10_000);
        await served.BodyLengthAsync(60_010);
        await backend.SendSettingsAsync((Setting.InitialWindowSize, 1 << 20));

        await served.EndedAsync();
        await sending;
        Octets.AssertEqual(body, served.Body, "the request");
    }

    [Theory]
    [EveryRoute]
    public async Task Settings_CallerShrinksWindowsBelowZero_AnswerWaitsAndArrivesWhole(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync(StreamsStall);
        RawStream call = await caller.SendCallAsync(TestBed.Events, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.SendHeadersAsync(GrpcWire.ResponseHead());
        byte[] body = Octets.Varied(100_000);
        await served.SendBodyAsync(body.AsMemory(0, 60_000));
        await call.BodyLengthAsync(60_000);

        await caller.SendSettingsAsync((Setting.InitialWindowSize, 10));
        await caller.UntilAsync(() => caller.SettingsAcknowledged == 2, "the acknowledgement");
        Task sending = served.SendBodyAsync(body.AsMemory(60_000));
        await caller.GrantAsync(call.Id, 50_000);
        await caller.PingAsync();
        Assert.Equal(60_000, call.BodyLength);
        await caller.GrantAsync(call.Id, 10_000);
        await call.BodyLengthAsync(60_010);
        await caller.SendSettingsAsync((Setting.InitialWindowSize, 1 << 20));
        await sending;
        await served.SendHeadersAsync(GrpcWire.Trailers(0), endStream: true);

        await call.EndedAsync();
        Octets.AssertEqual(body, call.Body, "the answer");
    }

    private static async Task<byte[]> SendUntilStuckAsync(RawStream stream)
    {
        RawConnection sender = stream.Connection;
        byte[] all = Octets.Varied(1 << 16, seed: stream.Id);
        var sent = new List<byte>();
        int pings = 0;
        while (sent.Count < Endless)
        {
            int length = sender.TakeSendWindow(stream, all.Length);
            if (length > 0)
            {
                pings = 0;
                await sender.WriteAsync(Frame.Data(stream.Id, all.AsSpan(0, length)));
                sent.AddRange(all.AsSpan(0, length));
            }
            else if (++pings > 3)
            {
                break;
            }
            else
            {
                await sender.PingAsync();
            }
        }

        return [.. sent];
    }
}
