using CriShim.Admin;
using CriShim.Configuration;
using CriShim.Linux;
using CriShim.Linux.Polling;
using CriShim.Node.Draining;
using CriShim.Node.State;
using CriShim.Node.Tests.Draining;
using CriShim.Protocol.Admin.V1;
using CriShim.Proxy;
using CriShim.Tests.Serving;
using Microsoft.Extensions.Logging;

namespace CriShim.Tests.Admin;

/// <summary>The admin socket of a serving crishim, with pods that the test decides about.</summary>
internal sealed class AdminBed : IAsyncDisposable
{
    private readonly ServiceServer _server;

    public AdminBed(TempDirectory directory, Func<PeerCredentials, bool>? admits = null)
    {
        SocketFile = directory.File("admin.sock");
        Drain = new NodeDrain(Teardown, new StateStore(directory.File("state"), Log), Log, TimeProvider.System);
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Admin = SocketFile }, directory.File("absent.yaml"));
        var service = new SupervisorService(
            loaded.Configuration!, Drain, _ => Task.FromResult(Callers), new KubeletEvidence(directory.File("proc")), Reports,
            TimeProvider.System);
        _server = new ServiceServer(
            UnixListener.Bind(SocketFile, UnixFileMode.UserRead | UnixFileMode.UserWrite),
            binder => Supervisor.BindService(binder, service),
            admits ?? (peer => peer.IsRootOrSelf),
            new OneLog(Log));
        _server.Start();
        Channel = new UnixChannel(SocketFile);
    }

    public string SocketFile { get; }

    public RecordedLog Log { get; } = new();

    public StandInTeardown Teardown { get; } = new();

    public NodeDrain Drain { get; }

    /// <summary>What is known of pods.</summary>
    public StandInReports Reports { get; } = new();

    public UnixChannel Channel { get; }

    public Supervisor.SupervisorClient Client => new(Channel.Invoker);

    /// <summary>Who is connected to the CRI socket.</summary>
    public IReadOnlyList<CallerInfo> Callers { get; set; } = [];

    public async ValueTask DisposeAsync()
    {
        Channel.Dispose();
        await _server.DisposeAsync();
        await Drain.DisposeAsync();
    }

    private sealed class OneLog(ILogger log) : ILoggerFactory
    {
        public ILogger CreateLogger(string categoryName) => log;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }
    }
}
