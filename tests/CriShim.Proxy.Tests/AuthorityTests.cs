using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>Whatever kubelets and crictl put into <c>:authority</c> over a Unix socket works.</summary>
public sealed class AuthorityTests
{
    public static TheoryData<Route, string?, string?> Kinds()
    {
        var rows = new TheoryData<Route, string?, string?>();
        foreach (Route route in Enum.GetValues<Route>())
        {
            rows.Add(route, "/run/crishim/crishim.sock", null);
            rows.Add(route, "%2Frun%2Fcrishim%2Fcrishim.sock", null);
            rows.Add(route, "localhost", null);
            rows.Add(route, "", null);
            rows.Add(route, null, null);
            rows.Add(route, null, "localhost");
            rows.Add(route, null, "/run/x.sock");
            rows.Add(route, "localhost", "localhost");
            rows.Add(route, "unix:///run/x.sock", null);
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Call_AnyAuthority_Works(Route route, string? authority, string? host)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        bed.Raw.EchoForever();
        RawConnection caller = await bed.ConnectAsync();
        caller.Encoder.Compress = true;
        List<HeaderField> head = GrpcWire.Request(TestBed.Version).Without(":authority");
        if (authority is not null)
        {
            head.Insert(3, (":authority", authority));
        }

        if (host is not null)
        {
            head.Add(("host", host));
        }

        for (int i = 0; i < 3; i++)
        {
            RawStream call = caller.OpenStream();
            await call.SendHeadersAsync(head);
            await call.SendBodyAsync(new byte[] { 1, 2 }, endStream: true);
            await call.ClosedAsync();
            Assert.Equal("0", call.Status);
            Octets.AssertEqual([1, 2], call.Body, "the answer");
        }

        // grpc-go refuses a request that carries either of them twice.
        IReadOnlyList<HeaderField> seen = bed.Raw.Connections[0].Stream(1).Head;
        Assert.True(seen.Count(field => field.Name == ":authority") <= 1, string.Join(" | ", seen));
        Assert.True(seen.Count(field => field.Name == "host") <= 1, string.Join(" | ", seen));
    }
}
