using System.CommandLine;
using System.Text.Json;
using CriShim.Commands.Doctor;
using CriShim.Protocol.Runtime.V1;
using CriShim.Tests.Admin;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using Google.Protobuf;

namespace CriShim.Tests.Commands;

/// <summary>A node for the doctor: files below a folder of the test's own, a runtime that answers on both sockets, an admin socket.</summary>
internal sealed class DoctorBed : IAsyncDisposable
{
    private const string Service = "/runtime.v1.RuntimeService/";

    private readonly TempDirectory _directory = new();
    private FakeContainerd _backend = null!;
    private FakeContainerd? _listener;

    private DoctorBed() => Admin = new AdminBed(_directory);

    public AdminBed Admin { get; }

    public VersionResponse Version { get; } = new() { RuntimeName = "containerd", RuntimeVersion = "1.7.24", RuntimeApiVersion = "v1" };

    public ListPodSandboxResponse Pods { get; } = new();

    public StatusResponse Status { get; } = new() { Status = new RuntimeStatus() };

    public bool? IsSynchronised { get; set; } = true;

    public Dictionary<string, (long Free, long Total)> Room { get; } = [];

    public string ListenPath => _directory.File("crishim.sock");

    public string ContainerdPath => _directory.File("containerd.sock");

    /// <summary>What the configuration says beside the sockets.</summary>
    public string Configuration { get; set; } = "";

    public static async Task<DoctorBed> StartAsync()
    {
        var bed = new DoctorBed();
        bed._backend = await FakeContainerd.StartAsync(bed.ContainerdPath);
        bed._listener = await FakeContainerd.StartAsync(bed.ListenPath);
        File.SetUnixFileMode(bed.ListenPath, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        bed._backend.Otherwise = bed._listener.Otherwise = bed.AnswerAsync;
        bed.Write("/proc/self/comm", "crishim\n");
        bed.Link("/proc/self/ns/pid", "pid:[1]");
        bed.Write("/proc/1/status", "Name:\tsystemd\nCapBnd:\t000001ffffffffff\n");
        bed.Write("/sys/fs/cgroup/cgroup.controllers", "cpu memory");
        return bed;
    }

    public FakeContainerd Backend => _backend;

    /// <summary>Nobody listens on the callers' socket any more; its file stays.</summary>
    public Task AbandonListenSocketAsync() => _listener!.DieAsync(leaveSocketFile: true);

    public string At(string path) => Path.Combine(_directory.Path, "root") + path;

    public void Write(string path, string content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.WriteAllText(At(path), content);
    }

    public void Kubelet(params string[] arguments)
    {
        Write("/proc/77/comm", "kubelet\n");
        Write("/proc/77/cmdline", string.Join('\0', ["/usr/bin/kubelet", .. arguments]) + "\0");
        Link("/proc/77/ns/pid", "pid:[1]");
    }

    public void Pod(string id, string name) => Pods.Items.Add(new PodSandbox
    {
        Id = id, Metadata = new PodSandboxMetadata { Namespace = "default", Name = name },
    });

    public async Task<(int Code, string Output)> RunAsync(params string[] arguments)
    {
        string file = _directory.File("config.yaml");
        await File.WriteAllTextAsync(file, $"""
            listen: {"{"}address: {ListenPath}{"}"}
            containerd: {"{"}address: {ContainerdPath}{"}"}
            admin: {"{"}address: {Admin.SocketFile}{"}"}
            {Configuration}
            """);
        var command = new DoctorCommand(
            At(""), TimeProvider.System, () => IsSynchronised,
            folder => Room.TryGetValue(folder[At("").Length..], out (long, long) room) ? room : (80, 100));
        using var output = new StringWriter();
        ParseResult parse = new RootCommand { command.Command }.Parse(["doctor", "--config", file, .. arguments]);
        Assert.Empty(parse.Errors);
        int code = await parse.InvokeAsync(new InvocationConfiguration { Output = output, Error = output, ProcessTerminationTimeout = null });
        return (code, output.ToString());
    }

    /// <summary>What was found of an area: "severity: text → remedy".</summary>
    public async Task<IReadOnlyList<string>> FindAsync(string area, params string[] arguments)
    {
        (_, string output) = await RunAsync(["-o", "json", .. arguments]);
        using JsonDocument json = JsonDocument.Parse(output);
        return [.. json.RootElement.GetProperty("findings").EnumerateArray()
            .Where(finding => finding.GetProperty("area").GetString() == area)
            .Select(finding => $"{finding.GetProperty("severity").GetString()}: {finding.GetProperty("text").GetString()}"
                + (finding.TryGetProperty("remedy", out JsonElement remedy) ? $" → {remedy.GetString()}" : ""))];
    }

    public async ValueTask DisposeAsync()
    {
        await Admin.DisposeAsync();
        await _backend.DisposeAsync();
        await _listener!.DisposeAsync();
        _directory.Dispose();
    }

    private void Link(string path, string target)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.CreateSymbolicLink(At(path), target);
    }

    private async Task AnswerAsync(FakeCall call)
    {
        IMessage? answer = call.Path switch
        {
            Service + "Version" => Version,
            Service + "ListPodSandbox" => Pods,
            Service + "Status" => Status,
            _ => null,
        };
        if (answer is null)
        {
            await call.TrailersOnlyAsync(GrpcWire.Unimplemented);
            return;
        }

        _ = await call.ReadMessageAsync();
        await call.SendHeadersAsync();
        await call.SendAsync(GrpcWire.Message(answer.ToByteArray()));
        await call.EndAsync();
    }
}
