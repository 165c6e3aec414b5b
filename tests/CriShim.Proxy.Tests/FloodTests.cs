using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>One caller's flood costs the proxy a bounded amount, and the other callers nothing.</summary>
public sealed class FloodTests
{
    private const int Flood = 48 << 20;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(16000)]
    public async Task Continuations_WithoutEnd_EndTheConnection(int length)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        await caller.WriteAsync(Frame.Headers(1, new HpackEncoder().Encode(GrpcWire.Request(TestBed.Version)), endHeaders: false));
        byte[] piece = new HpackWriter().Literal(("x-flood", new string('f', Math.Max(0, length - 20)))).ToArray();
        byte[] many =
        [
            .. Enumerable.Repeat(Frame.Continuation(1, length < 20 ? new byte[length] : piece, endHeaders: false).ToArray(), 200)
                .SelectMany(octets => octets),
        ];

        for (int sent = 0; sent < Flood && !caller.Ended; sent += many.Length)
        {
            await caller.WriteRawAsync(many);
        }

        await caller.EndAsync();
        await bed.AssertOthersAreServedAsync();
        Assert.Single(bed.Fake.Calls);
    }

    /// <summary>
    /// Frames that each ask for an answer, from a caller that reads none: whoever keeps the answers grows without bound. Either
    /// the connection ends, or the proxy stops reading it. That it has stopped shows in octets that stay unsent over many turns of
    /// its loop.
    /// </summary>
    [Theory]
    [InlineData("SETTINGS")]
    [InlineData("PING")]
    [InlineData("unimplemented calls")]
    public async Task AnswersUnread_Flood_IsThrottledOrEnded(string kind)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Read = false });
        await using RawConnection other = await RawConnection.ConnectAsync(bed.CallerPath);
        byte[] block = new HpackEncoder().Encode(GrpcWire.Request("/grpc.health.v1.Health/Check"));
        long written = 0;
        int nextId = 1;
        Task flood = Task.Run(async () =>
        {
            while (written < Flood)
            {
                var chunk = new MemoryStream();
                while (chunk.Length < 64 * 1024)
                {
                    chunk.Write(kind switch
                    {
                        "SETTINGS" => Frame.Settings().ToArray(),
                        "PING" => Frame.Ping((ulong)chunk.Length).ToArray(),
                        _ => Frame.Headers((nextId += 2) - 2, block, endStream: true).ToArray(),
                    });
                }

                await caller.WriteRawAsync(chunk.ToArray());
                Interlocked.Add(ref written, chunk.Length);
            }
        });

        long before;
        do
        {
            before = Interlocked.Read(ref written);
            for (int i = 0; i < 100; i++)
            {
                Assert.Equal("0", (await other.CallAsync(TestBed.Version, [1])).Status);
            }
        }
        while (before == 0 || before != Interlocked.Read(ref written));

        if (flood.IsCompleted)
        {
            // All of it was taken, or thrown away because the proxy had hung up: reading on tells which.
            caller.StartReading();
            await caller.EndAsync();
        }

        Assert.True(before < Flood || caller.Ended, $"{before} octets of {kind} taken, and none of the answers read");
        caller.Kill();
        await flood.Bounded();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RapidReset_Flood_LeavesNothingBehindAtTheBackend(bool withBody)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(TestBed.Unary, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        caller.Encoder.Compress = true;
        for (int i = 0; i < 5000 && !caller.Ended; i++)
        {
            RawStream stream = caller.OpenStream();
            await stream.SendHeadersAsync(GrpcWire.Request(TestBed.Unary), endStream: !withBody);
            await stream.ResetAsync(Http2Code.Cancel);
        }

        await bed.AssertOthersAreServedAsync();
        if (!caller.Ended)
        {
            RawStream after = await caller.CallAsync(TestBed.Version, [1]);
            Assert.True(after.Status == "0" || caller.GoAways.Count > 0, caller.DescribeLog());
        }

        foreach (TestSupport.Backends.FakeCall call in bed.Fake.Calls.Where(call => call.Path == TestBed.Unary))
        {
            await call.Finished.Bounded("a reset call's end at the backend");
        }
    }

    [Fact]
    public async Task Streams_Allowed_AreManyButNotEndless()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        await caller.PingAsync();
        uint allowed = caller.PeerSettings.GetValueOrDefault(Setting.MaxConcurrentStreams, uint.MaxValue);

        // The limit is a promise to legitimate callers (hundreds of calls open for minutes) and a bound for the others.
        Assert.InRange(allowed, 1000u, 1u << 20);
        await bed.AssertOthersAreServedAsync();
    }

    [Fact]
    public async Task ConnectionsByTheThousand_OpenedAndDropped_LeaveTheProxyServing()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        for (int i = 0; i < 2000; i++)
        {
            RawConnection caller = await RawConnection.ConnectAsync(bed.CallerPath, new RawConnectionOptions { Read = false });
            await caller.DisposeAsync();
        }

        await bed.AssertOthersAreServedAsync();
    }
}
