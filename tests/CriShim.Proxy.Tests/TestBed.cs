using CriShim.Linux;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Callers;
using CriShim.TestSupport.RawHttp2;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy.Tests;

/// <summary>A backend, on the proxy route a proxy before it, and callers. Everything ends with it.</summary>
internal sealed class TestBed : IAsyncDisposable
{
    public const string Version = "/runtime.v1.RuntimeService/Version";
    public const string Events = "/runtime.v1.RuntimeService/GetContainerEvents";
    public const string Unary = "/runtime.v1.RuntimeService/ExecSync";
    public const string Brandnew = "/runtime.v1.RuntimeService/Brandnew";

    private readonly string _directory = Directory.CreateTempSubdirectory("crishim-").FullName;
    private readonly List<RawConnection> _connections = [];
    private readonly List<HttpCaller> _callers = [];
    private FakeContainerd? _fake;
    private RawBackend? _raw;

    private TestBed(Route route)
    {
        Route = route;
        Supervision = route == Route.Rewriting ? new ShownContainers { RewritesViews = true } : null;
    }

    public Route Route { get; }

    /// <summary>What callers are shown; null: no supervision.</summary>
    public ShownContainers? Supervision { get; private init; }

    public FakeContainerd Fake => _fake ?? throw new InvalidOperationException("this bed has a raw backend");

    public RawBackend Raw => _raw ?? throw new InvalidOperationException("this bed has a fake containerd");

    public RecordedLog Log { get; } = new();

    public RecordedMeters Meters { get; } = new();

    public ProxyServer? Proxy { get; private set; }

    public string BackendPath => Path.Combine(_directory, "backend.sock");

    public string CallerPath => Route == Route.Bare ? BackendPath : Path.Combine(_directory, "proxy.sock");

    /// <summary>With a fake containerd, there from the start unless <paramref name="present"/> says otherwise.</summary>
    public static async Task<TestBed> WithFakeAsync(Route route, bool present = true)
    {
        var bed = new TestBed(route);
        bed._fake = FakeContainerd.Create(bed.BackendPath);
        if (present)
        {
            await bed._fake.AppearAsync();
        }

        bed.StartProxy();
        return bed;
    }

    /// <summary>With a fake containerd, and supervision that shows what the test says.</summary>
    public static async Task<TestBed> WithSupervisionAsync(ShownContainers supervision)
    {
        var bed = new TestBed(Route.Proxy) { Supervision = supervision };
        bed._fake = FakeContainerd.Create(bed.BackendPath);
        await bed._fake.AppearAsync();
        bed.StartProxy();
        return bed;
    }

    /// <summary>With a backend that speaks raw frames.</summary>
    public static TestBed WithRaw(Route route)
    {
        var bed = new TestBed(route);
        bed._raw = new RawBackend(bed.BackendPath);
        bed.StartProxy();
        return bed;
    }

    public async Task<RawConnection> ConnectAsync(RawConnectionOptions? options = null)
    {
        RawConnection connection = await RawConnection.ConnectAsync(CallerPath, options);
        _connections.Add(connection);
        return connection;
    }

    public HttpCaller Http()
    {
        var caller = new HttpCaller(CallerPath);
        _callers.Add(caller);
        return caller;
    }

    /// <summary>A caller that does nothing wrong, on a connection of its own, is served (by a backend that echoes).</summary>
    public async Task AssertOthersAreServedAsync()
    {
        await using RawConnection other = await RawConnection.ConnectAsync(CallerPath);
        byte[] body = GrpcWire.Message("well-behaved"u8);
        RawStream answer = await other.CallAsync(Brandnew, body);
        Assert.Equal("0", answer.Status);
        Octets.AssertEqual(body, answer.Body, "the answer to a well-behaved caller");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (HttpCaller caller in _callers)
        {
            caller.Dispose();
        }

        foreach (RawConnection connection in _connections)
        {
            await connection.DisposeAsync();
        }

        if (Proxy is not null)
        {
            await Proxy.DisposeAsync().AsTask().Bounded("the proxy's end");
        }

        if (_fake is not null)
        {
            await _fake.DisposeAsync().AsTask().Bounded("the fake's end");
        }

        if (_raw is not null)
        {
            await _raw.DisposeAsync();
        }

        Meters.Dispose();
        Directory.Delete(_directory, recursive: true);
        Assert.True(Log.Failures.IsEmpty, $"the proxy logged errors: {string.Join('\n', Log.Failures)}");
    }

    private void StartProxy()
    {
        if (Route != Route.Bare)
        {
            Log.LowestLevel = Route == Route.Looking ? LogLevel.Debug : LogLevel.Warning;
            var options = new ProxyOptions { BackendSocketPath = BackendPath };
            var listener = UnixListener.Bind(CallerPath, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            Proxy = new ProxyServer(options, listener, Log, supervision: Supervision, meters: Meters);
            Proxy.Start();
        }
    }
}
