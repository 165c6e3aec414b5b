using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests;

/// <summary>One containerd of a version with crishim before it, for all tests of that version.</summary>
public abstract class ContainerdFixture(ContainerdVersion version) : IAsyncLifetime
{
    private PrivateContainerd? _containerd;
    private CrishimProcess? _crishim;

    public ContainerdVersion Version => version;

    public PrivateContainerd Containerd => _containerd!;

    public string CrishimSocket => Path.Combine(Containerd.Folder, "crishim.sock");

    public string CrishimLog => _crishim!.Log;

    public async Task InitializeAsync()
    {
        _containerd = await PrivateContainerd.StartAsync(version);
        try
        {
            _crishim = await CrishimProcess.ServeAsync(CrishimSocket, _containerd.SocketPath, _containerd.Folder);
        }
        catch
        {
            await DisposeAsync();
            throw;
        }
    }

    public async Task DisposeAsync()
    {
        if (_crishim is not null)
        {
            await _crishim.DisposeAsync();
        }

        if (_containerd is not null)
        {
            await _containerd.DisposeAsync();
        }
    }

    /// <summary>Runs a test's body and gives its failure both logs' ends.</summary>
    public async Task WithLogsAsync(Func<Task> body)
    {
        try
        {
            await body();
        }
        catch (Exception failure)
        {
            throw new Xunit.Sdk.XunitException(
                $"{failure.Message}\n--- containerd {version} ---\n{Containerd.LogTail}\n--- crishim ---\n{CrishimLog}", failure);
        }
    }
}

public sealed class Containerd16Fixture() : ContainerdFixture(ContainerdVersion.V16);

public sealed class Containerd17Fixture() : ContainerdFixture(ContainerdVersion.V17);

public sealed class Containerd21Fixture() : ContainerdFixture(ContainerdVersion.V21);

[CollectionDefinition(Name)]
public sealed class Containerd16 : ICollectionFixture<Containerd16Fixture>
{
    public const string Name = "containerd 1.6";
}

[CollectionDefinition(Name)]
public sealed class Containerd17 : ICollectionFixture<Containerd17Fixture>
{
    public const string Name = "containerd 1.7";
}

[CollectionDefinition(Name)]
public sealed class Containerd21 : ICollectionFixture<Containerd21Fixture>
{
    public const string Name = "containerd 2.1";
}
