using System.Security.Cryptography;
using System.Threading.Channels;
using CriShim.Protocol.Containerd.Events;
using CriShim.Protocol.Containerd.Services.Events.V1;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace CriShim.Benchmarks.Backend;

/// <summary>
/// A backend with pods in it that run nothing: what supervision needs of CRI, and containerd's event service. Within this process,
/// on a real socket; it need not be fast, because nothing is measured against it but crishim's own memory and time on the CPU.
/// </summary>
internal sealed class FakeNode : IAsyncDisposable
{
    private const string RuntimeService = "/runtime.v1.RuntimeService/";
    private const string EventService = "/containerd.services.events.v1.Events/";
    private const string ContainersNamespace = "k8s.io";
    private const int Killed = 137;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, PodSandbox> _sandboxes = [];
    private readonly Dictionary<string, FakeContainer> _containers = [];
    private readonly List<Channel<byte[]>> _subscribers = [];
    private readonly WebApplication _application;
    private int _started;
    private int _listed;

    private FakeNode(string socketPath)
    {
        SocketPath = socketPath;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options => options.ListenUnixSocket(socketPath, listen => listen.Protocols = HttpProtocols.Http2));
        _application = builder.Build();
        Serve("Version", VersionRequest.Parser, _ => new VersionResponse
        {
            Version = "0.1.0", RuntimeName = "containerd", RuntimeVersion = "v2.1.4", RuntimeApiVersion = "v1",
        });
        Serve("RunPodSandbox", RunPodSandboxRequest.Parser, Run);
        Serve("ListPodSandbox", ListPodSandboxRequest.Parser, List);
        Serve("CreateContainer", CreateContainerRequest.Parser, Create);
        Serve("StartContainer", StartContainerRequest.Parser, Start);
        Serve("RemoveContainer", RemoveContainerRequest.Parser, Remove);
        Serve("ListContainers", ListContainersRequest.Parser, List);
        Serve("ContainerStatus", ContainerStatusRequest.Parser, Status);
        _application.MapPost(EventService + "Subscribe", SubscribeAsync);
        _application.MapPost(EventService + "Publish", PublishAsync);
    }

    public string SocketPath { get; }

    /// <summary>How many StartContainer calls it has answered.</summary>
    public int Started => Volatile.Read(ref _started);

    /// <summary>How many lists of all containers it has answered.</summary>
    public int Listed => Volatile.Read(ref _listed);

    public static async Task<FakeNode> StartAsync(string socketPath)
    {
        var node = new FakeNode(socketPath);
        await node._application.StartAsync();
        return node;
    }

    /// <summary>Running containers of this name, a pod each.</summary>
    public IReadOnlyList<string> Running(string name)
    {
        lock (_lock)
        {
            return
            [
                .. _containers.Values
                    .Where(container => container.State == ContainerState.ContainerRunning && container.Config.Metadata.Name == name)
                    .Select(container => container.Id),
            ];
        }
    }

    /// <summary>Ends containers all at the same moment, as far as their states go; the events of it go out one after another.</summary>
    public void Kill(IReadOnlyList<string> containerIds)
    {
        var at = TimeProvider.System.GetUtcNow();
        lock (_lock)
        {
            foreach (var id in containerIds)
            {
                _containers[id].State = ContainerState.ContainerExited;
                _containers[id].FinishedAt = Nanoseconds(at);
            }

            foreach (var id in containerIds)
            {
                var exit = new TaskExit { ContainerId = id, Id = id, Pid = 4711, ExitStatus = Killed, ExitedAt = Timestamp.FromDateTimeOffset(at) };
                Send(new Envelope
                {
                    Timestamp = exit.ExitedAt,
                    Namespace = ContainersNamespace,
                    Topic = "/tasks/exit",
                    Event = new Any { TypeUrl = TaskExit.Descriptor.FullName, Value = exit.ToByteString() },
                });
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            _subscribers.ForEach(subscriber => subscriber.Writer.TryComplete());
        }

        using var atOnce = new CancellationTokenSource(TimeSpan.Zero);
        await _application.StopAsync(atOnce.Token);
        await _application.DisposeAsync();
    }

    private RunPodSandboxResponse Run(RunPodSandboxRequest request)
    {
        var sandbox = new PodSandbox
        {
            Id = NewId(),
            Metadata = request.Config.Metadata,
            State = PodSandboxState.SandboxReady,
            CreatedAt = Nanoseconds(TimeProvider.System.GetUtcNow()),
            Labels = { request.Config.Labels },
            Annotations = { request.Config.Annotations },
        };
        _sandboxes.Add(sandbox.Id, sandbox);
        return new RunPodSandboxResponse { PodSandboxId = sandbox.Id };
    }

    private ListPodSandboxResponse List(ListPodSandboxRequest request)
    {
        var wanted = request.Filter?.Id ?? "";
        return new ListPodSandboxResponse { Items = { _sandboxes.Values.Where(sandbox => wanted.Length == 0 || sandbox.Id == wanted) } };
    }

    private CreateContainerResponse Create(CreateContainerRequest request)
    {
        var container = new FakeContainer(NewId(), request.PodSandboxId, request.Config, Nanoseconds(TimeProvider.System.GetUtcNow()));
        _containers.Add(container.Id, container);
        return new CreateContainerResponse { ContainerId = container.Id };
    }

    private StartContainerResponse Start(StartContainerRequest request)
    {
        var container = _containers[request.ContainerId];
        container.State = ContainerState.ContainerRunning;
        container.StartedAt = Nanoseconds(TimeProvider.System.GetUtcNow());
        _ = Interlocked.Increment(ref _started);
        return new StartContainerResponse();
    }

    private RemoveContainerResponse Remove(RemoveContainerRequest request)
    {
        _ = _containers.Remove(request.ContainerId);
        return new RemoveContainerResponse();
    }

    private ListContainersResponse List(ListContainersRequest request)
    {
        var wanted = request.Filter?.PodSandboxId ?? "";
        if (wanted.Length == 0)
        {
            _ = Interlocked.Increment(ref _listed);
        }

        return new ListContainersResponse
        {
            Containers =
            {
                _containers.Values.Where(container => wanted.Length == 0 || container.SandboxId == wanted).Select(container => container.ToListed()),
            },
        };
    }

    private ContainerStatusResponse Status(ContainerStatusRequest request) =>
        new() { Status = _containers[request.ContainerId].ToStatus() };

    private void Serve<TRequest, TResponse>(string method, MessageParser<TRequest> parser, Func<TRequest, TResponse> answer)
        where TRequest : IMessage<TRequest>
        where TResponse : IMessage<TResponse> =>
        _application.MapPost(RuntimeService + method, async context =>
        {
            var request = parser.ParseFrom(await ReadAsync(context));
            byte[] framed;
            lock (_lock)
            {
                // Framed under the lock too: what is answered is the node's own.
                framed = CannedCall.Frame(answer(request));
            }

            await AnswerAsync(context, framed);
        });

    private async Task SubscribeAsync(HttpContext context)
    {
        _ = await ReadAsync(context);
        var envelopes = Channel.CreateUnbounded<byte[]>();
        lock (_lock)
        {
            _subscribers.Add(envelopes);
        }

        context.Response.ContentType = "application/grpc";
        try
        {
            await foreach (var envelope in envelopes.Reader.ReadAllAsync(context.RequestAborted))
            {
                await context.Response.Body.WriteAsync(envelope, context.RequestAborted);
            }

            context.Response.AppendTrailer("grpc-status", "0");
        }
        catch (OperationCanceledException)
        {
            // The subscriber is gone.
        }
        finally
        {
            lock (_lock)
            {
                _ = _subscribers.Remove(envelopes);
            }
        }
    }

    private async Task PublishAsync(HttpContext context)
    {
        var request = PublishRequest.Parser.ParseFrom(await ReadAsync(context));
        lock (_lock)
        {
            Send(new Envelope
            {
                Namespace = context.Request.Headers["containerd-namespace"].ToString(), Topic = request.Topic, Event = request.Event,
            });
        }

        await AnswerAsync(context, CannedCall.Frame(new Empty()));
    }

    /// <summary>Under the lock. Filters are not looked at: crishim's cover all that is sent here.</summary>
    private void Send(Envelope envelope)
    {
        var framed = CannedCall.Frame(envelope);
        foreach (var subscriber in _subscribers)
        {
            _ = subscriber.Writer.TryWrite(framed);
        }
    }

    private static async Task<byte[]> ReadAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        return body.ToArray()[5..];
    }

    private static async Task AnswerAsync(HttpContext context, byte[] framed)
    {
        context.Response.ContentType = "application/grpc";
        await context.Response.Body.WriteAsync(framed, context.RequestAborted);
        context.Response.AppendTrailer("grpc-status", "0");
    }

    private static string NewId() => RandomNumberGenerator.GetHexString(64, lowercase: true);

    private static long Nanoseconds(DateTimeOffset time) => (time - DateTimeOffset.UnixEpoch).Ticks * 100;

    private sealed class FakeContainer(string id, string sandboxId, ContainerConfig config, long createdAt)
    {
        public string Id => id;

        public string SandboxId => sandboxId;

        public ContainerConfig Config => config;

        public ContainerState State { get; set; } = ContainerState.ContainerCreated;

        public long StartedAt { get; set; }

        public long FinishedAt { get; set; }

        public Container ToListed() => new()
        {
            Id = id,
            PodSandboxId = sandboxId,
            Metadata = config.Metadata,
            Image = config.Image,
            ImageRef = config.Image.Image,
            State = State,
            CreatedAt = createdAt,
            Labels = { config.Labels },
            Annotations = { config.Annotations },
        };

        public ContainerStatus ToStatus() => new()
        {
            Id = id,
            Metadata = config.Metadata,
            Image = config.Image,
            ImageRef = config.Image.Image,
            State = State,
            CreatedAt = createdAt,
            StartedAt = StartedAt,
            FinishedAt = FinishedAt,
            ExitCode = State == ContainerState.ContainerExited ? Killed : 0,
            Reason = State == ContainerState.ContainerExited ? "Error" : "",
            LogPath = config.LogPath,
            Labels = { config.Labels },
            Annotations = { config.Annotations },
            Mounts = { config.Mounts },
        };
    }
}
