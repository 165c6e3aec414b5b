using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>What a caller sees through crishim is what it sees on containerd's own socket.</summary>
public abstract class TransparencyTests(ContainerdFixture lab)
{
    [Fact]
    public Task APodsLife_ThroughCrishim_IsSeenAsOnTheBareSocket() => lab.WithLogsAsync(async () =>
    {
        var bare = await RunAsync(lab.Containerd.SocketPath);
        var through = await RunAsync(lab.CrishimSocket);

        var differences = Enumerable.Range(0, Math.Max(bare.Count, through.Count))
            .Select(call => (Bare: bare.ElementAtOrDefault(call) ?? "", Through: through.ElementAtOrDefault(call) ?? ""))
            .Where(pair => pair.Bare != pair.Through)
            .Select(pair => Difference(pair.Bare, pair.Through))
            .ToList();
        Assert.True(differences.Count == 0, string.Join('\n', differences));
    });

    [Fact]
    public Task ContainerdsOwnServices_ThroughCrishim_AreUnimplemented() => lab.WithLogsAsync(async () =>
    {
        var marshaller = Marshallers.Create<byte[]>(bytes => bytes, bytes => bytes);
        var version = new Method<byte[], byte[]>(MethodType.Unary, "containerd.services.version.v1.Version", "Version", marshaller, marshaller);
        using var bare = new CriCaller(lab.Containerd.SocketPath);
        using var through = new CriCaller(lab.CrishimSocket);

        var answer = await bare.Invoker.AsyncUnaryCall(version, null, new CallOptions(), []);
        var refusal = await Assert.ThrowsAsync<RpcException>(async () => await through.Invoker.AsyncUnaryCall(version, null, new CallOptions(), []));

        Assert.NotEmpty(answer);
        Assert.Equal(StatusCode.Unimplemented, refusal.StatusCode);
    });

    [Fact]
    public Task Serve_OnASocketThatALiveCrishimHolds_IsRefusedAndTheFirstGoesOn() => lab.WithLogsAsync(async () =>
    {
        await using var second = CrishimProcess.Launch(lab.CrishimSocket, lab.Containerd.SocketPath, lab.Containerd.Folder);

        Assert.NotEqual(0, await second.ExitAsync(TimeSpan.FromSeconds(20)));
        Assert.Contains(lab.CrishimSocket, second.Log, StringComparison.Ordinal);
        using var caller = new CriCaller(lab.CrishimSocket);
        Assert.Equal("containerd", (await caller.Runtime.VersionAsync(new VersionRequest())).RuntimeName);
    });

    private static string Difference(string bare, string through)
    {
        var left = bare.Split('\n');
        var right = through.Split('\n');
        return string.Join('\n',
        [
            left[0],
            .. left.Except(right).Take(20).Select(line => "  bare:    " + line),
            .. right.Except(left).Take(20).Select(line => "  crishim: " + line),
        ]);
    }

    private async Task<IReadOnlyList<string>> RunAsync(string socketPath)
    {
        using var caller = new CriCaller(socketPath);
        var transcript = new Transcript(caller);
        await new PodScenario(transcript, lab.Containerd).RunAsync();
        return transcript.Render();
    }
}

[Collection(Containerd16.Name)]
public sealed class TransparencyOn16Tests(Containerd16Fixture lab) : TransparencyTests(lab);

[Collection(Containerd17.Name)]
public sealed class TransparencyOn17Tests(Containerd17Fixture lab) : TransparencyTests(lab);

[Collection(Containerd21.Name)]
public sealed class TransparencyOn21Tests(Containerd21Fixture lab) : TransparencyTests(lab);
