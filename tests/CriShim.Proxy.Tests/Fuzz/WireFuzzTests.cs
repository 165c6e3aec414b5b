using System.Net.Sockets;
using CriShim.Linux;
using CriShim.TestSupport;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;
using CriShim.TestSupport.RawHttp2;
using Microsoft.Extensions.Logging;
using Xunit.Sdk;

namespace CriShim.Proxy.Tests.Fuzz;

/// <summary>
/// Kubelets' own calls, broken: no crash, no hang, no buffer without bounds, good HTTP/2 for the backend, and not one octet changed for
/// the callers beside.
/// </summary>
[Trait(Proof.Category, Proof.Name)]
[Collection(AloneCollection.Name)]
public sealed class WireFuzzTests
{
    private const string Subject = "Wire fuzzing";
    private const int Workers = 4;

    /// <summary>A worker's inputs between two calls of its well-behaved caller.</summary>
    private const int CheckEvery = 50;

    /// <summary>What the live heap may hold more after all inputs than after the first tenth.</summary>
    private const long MaxGrowth = 16 * 1024 * 1024;

    /// <summary>Without an answer, after which a patient caller hangs up.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(2);

    private static ReadOnlySpan<byte> Preface => Frame.Preface;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Callers_ThatBreakTheirCalls_HarmNobody(bool rewriting)
    {
        int inputs = Proof.Pick(6_000, 400_000);
        await using var bed = new FuzzBed(rewriting);
        await RunAsync(bed, inputs, random => [.. Preface, .. WireMutation.Apply(random, WireSeeds.Connection(random), WireSeeds.Connection(random))]);
        Proof.Record(Subject, $"broken connections of callers, {(rewriting ? "views rewritten" : "forwarded")}", $"{inputs:n0} ({bed.Backend.Calls:n0} calls came through)");
    }

    [Fact]
    public async Task Callers_ThatAreNoHttp2_HarmNobody()
    {
        int inputs = Proof.Pick(2_000, 100_000);
        await using var bed = new FuzzBed(rewriting: false);
        await RunAsync(bed, inputs, random => WireMutation.Broken(random, [.. Preface, .. WireSeeds.Connection(random).SelectMany(frame => frame.ToArray())]));
        Proof.Record(Subject, "broken prefaces and octets anywhere", $"{inputs:n0}");
    }

    /// <summary>A backend that breaks: its callers get an end, good HTTP/2, and the next call goes through.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Backends_ThatBreakTheirAnswers_HangAndHarmNobody(bool rewriting)
    {
        int inputs = Proof.Pick(600, 50_000);
        string folder = Directory.CreateTempSubdirectory("crishim-").FullName;
        var log = new RecordedLog { LowestLevel = LogLevel.Error, Expected = "broke HTTP/2" };
        var random = new Random(Proof.Seed);
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder, "backend.sock")));
        listener.Listen(64);
        await using (var proxy = StartProxy(folder, log, rewriting))
        {
            for (int i = 0; i < inputs; i++)
            {
                byte[] answers = WireMutation.Apply(random, WireSeeds.Answers(random), WireSeeds.Connection(random));
                await BreakOnceAsync(folder, listener, answers, $"seed {Proof.Seed}, answer {i}: {Convert.ToHexStringLower(answers)}");
            }
        }

        Directory.Delete(folder, recursive: true);
        Assert.True(log.Failures.IsEmpty, $"the proxy logged errors: {string.Join('\n', log.Failures)}");
        Proof.Record(Subject, $"broken answers of a backend, {(rewriting ? "views rewritten" : "forwarded")}", $"{inputs:n0}");
    }

    private static ProxyServer StartProxy(string folder, RecordedLog log, bool rewriting)
    {
        var proxy = new ProxyServer(
            new ProxyOptions { BackendSocketPath = Path.Combine(folder, "backend.sock") },
            UnixListener.Bind(Path.Combine(folder, "proxy.sock"), UnixFileMode.UserRead | UnixFileMode.UserWrite),
            log,
            supervision: rewriting ? new ShownContainers { RewritesViews = true } : null);
        proxy.Start();
        return proxy;
    }

    private static async Task BreakOnceAsync(string folder, Socket listener, byte[] answers, string input)
    {
        await using RawConnection caller = await RawConnection.ConnectAsync(Path.Combine(folder, "proxy.sock"));
        using var over = new CancellationTokenSource();
        Task backend = AnswerAllAsync(listener, answers, over.Token);
        RawStream[] calls =
        [
            await caller.SendCallAsync("/runtime.v1.RuntimeService/ListContainers", GrpcWire.Message([])),
            await caller.SendCallAsync("/runtime.v1.RuntimeService/ContainerStatus", GrpcWire.Message([0x0a, 1, (byte)'a'])),
            await caller.SendCallAsync(TestBed.Brandnew, GrpcWire.Message([1, 2, 3])),
        ];
        foreach (RawStream call in calls)
        {
            // Ends, one way or another; the caller's end of the connection judges how it is told.
            try
            {
                await call.ClosedAsync();
            }
            catch (XunitException failure)
            {
                throw new XunitException($"{input}\n{failure.Message}");
            }
        }

        await over.CancelAsync();
        await backend.Bounded();
    }

    /// <summary>Every connection gets the same octets, whatever it asked for, and then nothing more.</summary>
    private static async Task AnswerAllAsync(Socket listener, byte[] answers, CancellationToken over)
    {
        var connections = new List<Socket>();
        try
        {
            while (true)
            {
                Socket connection = await listener.AcceptAsync(over);
                connections.Add(connection);
                try
                {
                    await connection.SendAsync(answers, over);
                    connection.Shutdown(SocketShutdown.Send);
                }
                catch (SocketException)
                {
                    // The proxy was quicker to hang up; it may connect again.
                }
            }
        }
        catch (OperationCanceledException)
        {
            // All calls have ended.
        }

        connections.ForEach(connection => connection.Dispose());
    }

    private static async Task RunAsync(FuzzBed bed, int inputs, Func<Random, byte[]> make)
    {
        int first = inputs / 10;
        await RunAsync(bed, 0, first, make);
        long heap = GC.GetTotalMemory(forceFullCollection: true);
        await RunAsync(bed, first, inputs, make);
        long growth = GC.GetTotalMemory(forceFullCollection: true) - heap;
        Assert.True(growth < MaxGrowth, $"{growth:n0} octets more on the heap after {inputs:n0} inputs than after {first:n0}");
    }

    private static async Task RunAsync(FuzzBed bed, int from, int to, Func<Random, byte[]> make)
    {
        await Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(async () =>
        {
            await using RawConnection good = await RawConnection.ConnectAsync(bed.CallerPath);
            for (int i = from + worker; i < to; i += Workers)
            {
                // Each input by its own number, so that one alone can be made again.
                byte[] wire = make(new Random(unchecked((Proof.Seed * 397) ^ i)));
                await SendAsync(bed.CallerPath, wire, isPatient: i / Workers % 2 == 0, $"seed {Proof.Seed}, input {i}: {Convert.ToHexStringLower(wire)}");
                if (i / Workers % CheckEvery == 0)
                {
                    byte[] body = Octets.Varied(1 + (i % 3000), i);
                    RawStream answer = await good.CallAsync(TestBed.Brandnew, body);
                    Assert.Equal("0", answer.Status);
                    Octets.AssertEqual(body, answer.Body, $"the well-behaved caller's answer after seed {Proof.Seed}, input {i}");
                }
            }
        })));

        Assert.True(bed.Backend.Violations.Count == 0, $"seed {Proof.Seed}: the backend was sent {string.Join("; ", bed.Backend.Violations.Take(5))}");
        await bed.AssertAllAreGoneAsync();
    }

    /// <summary>Sends it, hangs up one way, and reads until the proxy has hung up, too.</summary>
    private static async Task SendAsync(string path, byte[] wire, bool isPatient, string input)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
            await socket.SendAsync(wire);
            var buffer = new byte[8192];
            if (isPatient)
            {
                // As long as answers come, so that what is whole of it goes through to the backend and back.
                while (socket.Poll(Pause, SelectMode.SelectRead) && await socket.ReceiveAsync(buffer) > 0)
                {
                }
            }

            socket.Shutdown(SocketShutdown.Send);
            using var bound = new CancellationTokenSource(Bounds.Failure);
            while (await socket.ReceiveAsync(buffer, bound.Token) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // The proxy had closed it before all was sent.
        }
        catch (OperationCanceledException)
        {
            throw new XunitException($"the proxy keeps a connection whose caller has hung up; {input}");
        }
    }

    private sealed class FuzzBed : IAsyncDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("crishim-").FullName;
        private readonly RecordedLog _log = new() { LowestLevel = LogLevel.Error };
        private readonly ProxyServer _proxy;

        public FuzzBed(bool rewriting)
        {
            Backend = new JudgingBackend(Path.Combine(_folder, "backend.sock"));
            _proxy = StartProxy(_folder, _log, rewriting);
        }

        public JudgingBackend Backend { get; }

        public string CallerPath => Path.Combine(_folder, "proxy.sock");

        public async Task AssertAllAreGoneAsync()
        {
            await Condition.BecomesTrueAsync(
                "no caller is left", Bounds.Failure, async () => (await _proxy.CallersAsync(CancellationToken.None).Bounded("the list of callers")).Count == 0);
            await Condition.BecomesTrueAsync("no connection to the backend is left", Bounds.Failure, () => Backend.Connections == 0);
        }

        public async ValueTask DisposeAsync()
        {
            await _proxy.DisposeAsync().AsTask().Bounded("the proxy's end");
            await Backend.DisposeAsync();
            Directory.Delete(_folder, recursive: true);
            Assert.True(_log.Failures.IsEmpty, $"the proxy logged errors: {string.Join('\n', _log.Failures)}");
        }
    }
}
