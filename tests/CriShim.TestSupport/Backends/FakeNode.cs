using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Threading.Channels;
using CriShim.Protocol.Containerd.Events;
using CriShim.Protocol.Containerd.Services.Events.V1;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace CriShim.TestSupport.Backends;

/// <summary>
/// A backend with pods in it that run nothing: what supervision and a kubelet need of CRI, and containerd's event service. Within this
/// process, on a real socket; it need not be fast, because nothing is measured against it but crishim's own memory and time on the CPU.
/// </summary>
public sealed class FakeNode : IAsyncDisposable
{
    private const string RuntimeService = "/runtime.v1.RuntimeService/";
    private const string EventService = "/containerd.services.events.v1.Events/";
    private const string ContainersNamespace = "k8s.io";
    private const int Killed = 137;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, PodSandbox> _sandboxes = [];
    private readonly Dictionary<string, FakeContainer> _containers = [];
    private readonly List<Channel<byte[]>> _subscribers = [];
    private readonly List<Channel<byte[]>> _followers = [];
    private readonly ConcurrentQueue<string> _startedSandboxes = new();
    private readonly WebApplication _application;
    private int _started;
    private int _listed;

    private FakeNode(string socketPath)
    {
        SocketPath = socketPath;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options =>
        {
            // As containerd's: no limit on calls or their size.
            options.Limits.Http2.MaxStreamsPerConnection = int.MaxValue;
            options.Limits.MaxRequestBodySize = null;
            options.Limits.MinRequestBodyDataRate = null;
            options.Limits.MinResponseDataRate = null;
            options.ListenUnixSocket(socketPath, listen => listen.Protocols = HttpProtocols.Http2);
        });
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
        Serve("StopContainer", StopContainerRequest.Parser, Stop);
        Serve("PodSandboxStatus", PodSandboxStatusRequest.Parser, Status);
        Serve("StopPodSandbox", StopPodSandboxRequest.Parser, StopSandbox);
        Serve("RemovePodSandbox", RemovePodSandboxRequest.Parser, RemoveSandbox);
        Serve("ListContainerStats", ListContainerStatsRequest.Parser, _ => Stats());
        Serve("ListPodSandboxStats", ListPodSandboxStatsRequest.Parser, _ => new ListPodSandboxStatsResponse());
        Serve("ExecSync", ExecSyncRequest.Parser, _ => new ExecSyncResponse());
        Serve("UpdateContainerResources", UpdateContainerResourcesRequest.Parser, _ => new UpdateContainerResourcesResponse());
        Serve("Status", StatusRequest.Parser, _ => Ready());
        _application.MapPost(RuntimeService + "GetContainerEvents", FollowAsync);
        _application.MapPost(EventService + "Subscribe", SubscribeAsync);
        _application.MapPost(EventService + "Publish", PublishAsync);
    }

    public string SocketPath { get; }

    /// <summary>How many StartContainer calls it has answered.</summary>
    public int Started => Volatile.Read(ref _started);

    /// <summary>How many lists of all containers it has answered.</summary>
    public int Listed => Volatile.Read(ref _listed);

    /// <summary>The pod sandboxes in which containers were started, a line for each start, in order.</summary>
    public IReadOnlyCollection<string> StartedSandboxes => _startedSandboxes;

    /// <summary>Awaited before a call is carried out, with its method and request: for a backend that is slow. It may throw a status.</summary>
    public Func<string, IMessage, Task>? Before { get; set; }

    /// <summary>Awaited for each octet of a container event that is sent to a follower: for a backend that trickles.</summary>
    public Func<Task>? BeforeOctet { get; set; }

    /// <summary>Awaited before the body of a call of this path is read: for a backend that does not read.</summary>
    public Func<string, Task>? BeforeReading { get; set; }

    public int Sandboxes
    {
        get
        {
            lock (_lock)
            {
                return _sandboxes.Count;
            }
        }
    }

    public int Containers
    {
        get
        {
            lock (_lock)
            {
                return _containers.Count;
            }
        }
    }

    /// <summary>Streams of container events that are open.</summary>
    public int Followers
    {
        get
        {
            lock (_lock)
            {
                return _followers.Count;
            }
        }
    }

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

    /// <summary>The containers of one pod sandbox that run.</summary>
    public IReadOnlyList<string> RunningIn(string sandboxId)
    {
        lock (_lock)
        {
            return
            [
                .. _containers.Values
                    .Where(container => container.State == ContainerState.ContainerRunning && container.SandboxId == sandboxId)
                    .Select(container => container.Id),
            ];
        }
    }

    /// <summary>The pod sandbox of a container, if there is one.</summary>
    public string? SandboxOf(string containerId)
    {
        lock (_lock)
        {
            return _containers.GetValueOrDefault(containerId)?.SandboxId;
        }
    }

    /// <summary>Running containers in a sandbox that nobody supervises, made behind crishim's back.</summary>
    public void Fill(int containers)
    {
        var sandbox = SidecarPods.Sandbox(0xfffff);
        sandbox.Annotations.Clear();
        lock (_lock)
        {
            var id = Run(new RunPodSandboxRequest { Config = sandbox }).PodSandboxId;
            for (var index = 0; index < containers; index++)
            {
                var request = SidecarPods.Create(id, sandbox, string.Create(CultureInfo.InvariantCulture, $"filler-{index}"));
                _containers[Create(request).ContainerId].State = ContainerState.ContainerRunning;
            }
        }
    }

    /// <summary>Events that mean nothing to anybody: ends of exec processes, and of containers that nobody knows.</summary>
    public void Storm(int events)
    {
        lock (_lock)
        {
            var running = _containers.Keys.Take(64).ToArray();
            for (var index = 0; index < events; index++)
            {
                var container = running.Length == 0 || index % 2 == 0 ? NewId() : running[index % running.Length];
                var exit = new TaskExit
                {
                    ContainerId = container, Id = index % 2 == 0 ? container : NewId(), Pid = 4711, ExitStatus = 0,
                    ExitedAt = Timestamp.FromDateTimeOffset(TimeProvider.System.GetUtcNow()),
                };
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

    /// <summary>An event to each follower of container events.</summary>
    public void Tell(int events)
    {
        lock (_lock)
        {
            for (var index = 0; index < events; index++)
            {
                var framed = GrpcWire.Message(new ContainerEventResponse
                {
                    ContainerId = NewId(), ContainerEventType = ContainerEventType.ContainerStartedEvent, CreatedAt = index + 1,
                }.ToByteArray());
                _followers.ForEach(follower => follower.Writer.TryWrite(framed));
            }
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
            _followers.ForEach(follower => follower.Writer.TryComplete());
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
        if (!_sandboxes.TryGetValue(request.PodSandboxId, out var sandbox) || sandbox.State != PodSandboxState.SandboxReady)
        {
            throw new RpcException(new Status(StatusCode.NotFound, $"failed to find sandbox id \"{request.PodSandboxId}\": not found"));
        }

        var container = new FakeContainer(NewId(), request.PodSandboxId, request.Config, Nanoseconds(TimeProvider.System.GetUtcNow()));
        _containers.Add(container.Id, container);
        return new CreateContainerResponse { ContainerId = container.Id };
    }

    private StartContainerResponse Start(StartContainerRequest request)
    {
        var container = Find(request.ContainerId);
        container.State = ContainerState.ContainerRunning;
        container.StartedAt = Nanoseconds(TimeProvider.System.GetUtcNow());
        _ = Interlocked.Increment(ref _started);
        _startedSandboxes.Enqueue(container.SandboxId);
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
        new() { Status = Find(request.ContainerId).ToStatus() };

    private FakeContainer Find(string id) =>
        _containers.TryGetValue(id, out var container) ? container : throw new RpcException(new Status(StatusCode.NotFound, $"container \"{id}\": not found"));

    private StopContainerResponse Stop(StopContainerRequest request)
    {
        if (Find(request.ContainerId).State == ContainerState.ContainerRunning)
        {
            Kill([request.ContainerId]);
        }

        return new StopContainerResponse();
    }

    private PodSandboxStatusResponse Status(PodSandboxStatusRequest request)
    {
        var sandbox = _sandboxes.TryGetValue(request.PodSandboxId, out var known)
            ? known
            : throw new RpcException(new Status(StatusCode.NotFound, $"sandbox \"{request.PodSandboxId}\": not found"));
        return new PodSandboxStatusResponse
        {
            Status = new PodSandboxStatus
            {
                Id = sandbox.Id,
                Metadata = sandbox.Metadata,
                State = sandbox.State,
                CreatedAt = sandbox.CreatedAt,
                Network = new PodSandboxNetworkStatus { Ip = "10.88.0.7" },
                Labels = { sandbox.Labels },
                Annotations = { sandbox.Annotations },
            },
        };
    }

    private StopPodSandboxResponse StopSandbox(StopPodSandboxRequest request)
    {
        if (_sandboxes.TryGetValue(request.PodSandboxId, out var sandbox))
        {
            sandbox.State = PodSandboxState.SandboxNotready;
            Kill(RunningIn(sandbox.Id));
        }

        return new StopPodSandboxResponse();
    }

    private RemovePodSandboxResponse RemoveSandbox(RemovePodSandboxRequest request)
    {
        _ = _sandboxes.Remove(request.PodSandboxId);
        foreach (var container in _containers.Values.Where(container => container.SandboxId == request.PodSandboxId).ToArray())
        {
            _ = _containers.Remove(container.Id);
        }

        return new RemovePodSandboxResponse();
    }

    private ListContainerStatsResponse Stats()
    {
        var stats = new ListContainerStatsResponse();
        foreach (var container in _containers.Values.Where(container => container.State == ContainerState.ContainerRunning))
        {
            stats.Stats.Add(new ContainerStats
            {
                Attributes = new ContainerAttributes { Id = container.Id, Metadata = container.Config.Metadata, Labels = { container.Config.Labels } },
                Cpu = new CpuUsage { Timestamp = 1, UsageCoreNanoSeconds = new Protocol.Runtime.V1.UInt64Value { Value = 1 } },
                Memory = new MemoryUsage { Timestamp = 1, WorkingSetBytes = new Protocol.Runtime.V1.UInt64Value { Value = 1 } },
            });
        }

        return stats;
    }

    private static StatusResponse Ready() => new()
    {
        Status = new RuntimeStatus
        {
            Conditions =
            {
                new RuntimeCondition { Type = "RuntimeReady", Status = true },
                new RuntimeCondition { Type = "NetworkReady", Status = true },
            },
        },
    };

    private void Serve<TRequest, TResponse>(string method, MessageParser<TRequest> parser, Func<TRequest, TResponse> answer)
        where TRequest : IMessage<TRequest>
        where TResponse : IMessage<TResponse> =>
        _application.MapPost(RuntimeService + method, async context =>
        {
            var request = parser.ParseFrom(await ReadAsync(context));
            byte[] framed;
            try
            {
                if (Before is { } before)
                {
                    await before(method, request);
                }

                lock (_lock)
                {
                    // Framed under the lock too: what is answered is the node's own.
                    framed = GrpcWire.Message(answer(request).ToByteArray());
                }
            }
            catch (RpcException failure)
            {
                context.Response.ContentType = "application/grpc";
                context.Response.Headers["grpc-status"] = ((int)failure.StatusCode).ToString(CultureInfo.InvariantCulture);
                context.Response.Headers["grpc-message"] = Uri.EscapeDataString(failure.Status.Detail);
                return;
            }

            await AnswerAsync(context, framed);
        });

    private Task SubscribeAsync(HttpContext context) => StreamAsync(context, _subscribers, null);

    private Task FollowAsync(HttpContext context) => StreamAsync(context, _followers, BeforeOctet);

    private async Task StreamAsync(HttpContext context, List<Channel<byte[]>> readers, Func<Task>? beforeOctet)
    {
        _ = await ReadAsync(context);
        var envelopes = Channel.CreateUnbounded<byte[]>();
        lock (_lock)
        {
            readers.Add(envelopes);
        }

        context.Response.ContentType = "application/grpc";
        try
        {
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await foreach (var envelope in envelopes.Reader.ReadAllAsync(context.RequestAborted))
            {
                for (var octet = 0; beforeOctet is not null && octet < envelope.Length; octet++)
                {
                    await beforeOctet();
                    await context.Response.Body.WriteAsync(envelope.AsMemory(octet, 1), context.RequestAborted);
                    await context.Response.Body.FlushAsync(context.RequestAborted);
                }

                if (beforeOctet is null)
                {
                    await context.Response.Body.WriteAsync(envelope, context.RequestAborted);
                }
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
                _ = readers.Remove(envelopes);
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

        await AnswerAsync(context, GrpcWire.Message(new Empty().ToByteArray()));
    }

    /// <summary>Under the lock. Filters are not looked at: crishim's cover all that is sent here.</summary>
    private void Send(Envelope envelope)
    {
        var framed = GrpcWire.Message(envelope.ToByteArray());
        foreach (var subscriber in _subscribers)
        {
            _ = subscriber.Writer.TryWrite(framed);
        }
    }

    private async Task<byte[]> ReadAsync(HttpContext context)
    {
        if (BeforeReading is { } before)
        {
            await before(context.Request.Path.Value!);
        }

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
