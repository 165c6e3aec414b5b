using System.Collections.Concurrent;
using System.Threading.Channels;
using CriShim.Protocol.Containerd.Events;
using CriShim.Protocol.Containerd.Services.Events.V1;
using CriShim.Protocol.Containerd.Services.Tasks.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace CriShim.Node.Tests.Support;

/// <summary>As much of containerd as supervision calls: sandboxes and containers in memory, names reserved, exits as events.</summary>
internal sealed class FakeCri : IAsyncDisposable
{
    private readonly FakeContainerd _front;
    private readonly Lock _lock = new();
    private readonly List<RelayHold> _holds = [];
    private readonly Dictionary<string, Queue<RpcException>> _failures = new(StringComparer.Ordinal);
    private readonly Dictionary<string, PodSandbox> _sandboxes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FakeInstance> _instances = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<Guid, Channel<byte[]>> _subscribers = new();
    private readonly ConcurrentQueue<(string Method, IMessage Request)> _calls = new();
    private readonly TimeProvider _time;
    private readonly List<string> _ended = [];
    private int _created;

    private FakeCri(string socketPath, TimeProvider time)
    {
        _time = time;
        _front = FakeContainerd.Create(socketPath);
        _front.Otherwise = call => call.TrailersOnlyAsync(GrpcWire.Unimplemented);
        On("ListPodSandbox", ListPodSandboxRequest.Parser, List);
        On("ListContainers", ListContainersRequest.Parser, List);
        On("PodSandboxStatus", PodSandboxStatusRequest.Parser, request => new PodSandboxStatusResponse
        {
            Status = new PodSandboxStatus { Id = request.PodSandboxId, Network = new PodSandboxNetworkStatus { Ip = PodAddress } },
        });
        On("ContainerStatus", ContainerStatusRequest.Parser, Status);
        On("CreateContainer", CreateContainerRequest.Parser, request => new CreateContainerResponse { ContainerId = Create(request) });
        On("StartContainer", StartContainerRequest.Parser, Start);
        OnAsync("StopContainer", StopContainerRequest.Parser, async request => await StopAsync(request));
        On("StopPodSandbox", StopPodSandboxRequest.Parser, StopSandbox);
        On("ExecSync", ExecSyncRequest.Parser, _ => new ExecSyncResponse());
        On("RemoveContainer", RemoveContainerRequest.Parser, Remove);
        On("ListContainerStats", ListContainerStatsRequest.Parser, Stats);
        On("UpdateContainerResources", UpdateContainerResourcesRequest.Parser, _ => new UpdateContainerResourcesResponse());
        OnTask("Kill", KillRequest.Parser, request => KillTask(request.ContainerId));
        OnTask("Delete", DeleteTaskRequest.Parser, request => DeleteTask(request.ContainerId));
        _front.On("/containerd.services.events.v1.Events/Subscribe", SubscribeAsync);
        _front.On("/containerd.services.events.v1.Events/Publish", PublishAsync);
    }

    /// <summary>Names of the containers that ended, in order.</summary>
    public IReadOnlyList<string> Ended
    {
        get
        {
            lock (_lock)
            {
                return [.. _ended];
            }
        }
    }

    public bool IsSandboxReady(string id)
    {
        lock (_lock)
        {
            return _sandboxes[id].State == PodSandboxState.SandboxReady;
        }
    }

    /// <summary>Of all pods; empty as long as they are on the host's network.</summary>
    public string PodAddress { get; set; } = "";

    /// <summary>Names of containers that ignore their stop signal.</summary>
    public HashSet<string> Stubborn { get; } = [];

    public string SocketPath => _front.SocketPath;

    /// <summary>All calls so far but for the questions, in order.</summary>
    public IReadOnlyList<(string Method, IMessage Request)> Changes =>
        [.. _calls.Where(call => call.Method is not ("ListPodSandbox" or "PodSandboxStatus" or "ListContainers" or "ContainerStatus" or "ListContainerStats"))];

    public IReadOnlyList<FakeInstance> Instances
    {
        get
        {
            lock (_lock)
            {
                return [.. _instances.Values.OrderBy(instance => instance.CreatedAt)];
            }
        }
    }

    public static async Task<FakeCri> StartAsync(string socketPath, TimeProvider time)
    {
        var fake = new FakeCri(socketPath, time);
        await fake._front.AppearAsync();
        return fake;
    }

    public IReadOnlyList<T> Requests<T>()
        where T : IMessage => [.. _calls.Select(call => call.Request).OfType<T>()];

    public RelayHold Hold(string method, HoldPoint point)
    {
        var hold = new RelayHold(method, point);
        lock (_lock)
        {
            _holds.Add(hold);
        }

        return hold;
    }

    /// <summary>The next call of the method fails so, without being carried out.</summary>
    public void Fail(string method, StatusCode code, string detail)
    {
        lock (_lock)
        {
            if (!_failures.TryGetValue(method, out Queue<RpcException>? failures))
            {
                _failures.Add(method, failures = new Queue<RpcException>());
            }

            failures.Enqueue(new RpcException(new Status(code, detail)));
        }
    }

    public void AddSandbox(string id, PodSandboxConfig config)
    {
        var sandbox = new PodSandbox { Id = id, Metadata = config.Metadata, State = PodSandboxState.SandboxReady };
        sandbox.Annotations.Add(config.Annotations);
        lock (_lock)
        {
            _sandboxes.Add(id, sandbox);
        }
    }

    public void RemoveSandbox(string id)
    {
        lock (_lock)
        {
            _ = _sandboxes.Remove(id);
            foreach (FakeInstance instance in _instances.Values.Where(one => one.Request.PodSandboxId == id).ToArray())
            {
                _ = _instances.Remove(instance.Id);
            }
        }
    }

    public string Create(CreateContainerRequest request)
    {
        lock (_lock)
        {
            ContainerMetadata wanted = request.Config.Metadata;
            if (_instances.Values.FirstOrDefault(one => one.Request.PodSandboxId == request.PodSandboxId && one.Request.Config.Metadata.Equals(wanted)) is { } holder)
            {
                throw new RpcException(new Status(StatusCode.Unknown, $"failed to reserve container name \"x\": name \"x\" is reserved for \"{holder.Id}\""));
            }

            string id = $"c{_created++}";
            _instances.Add(id, new FakeInstance(id, request, _time.GetUtcNow().AddTicks(_created)));
            return id;
        }
    }

    public IMessage Start(StartContainerRequest request)
    {
        lock (_lock)
        {
            FakeInstance instance = Find(request.ContainerId);
            if (instance.State != ContainerState.ContainerCreated)
            {
                throw new RpcException(new Status(StatusCode.Unknown, $"container is in {instance.State} state"));
            }

            instance.State = ContainerState.ContainerRunning;
            return new StartContainerResponse();
        }
    }

    /// <summary>The process ends; the event comes after it, unless it is lost, and lists and statuses know it, unless they are late.</summary>
    public void Exit(string id, int code, bool isEventLost = false, bool isListedLate = false)
    {
        DateTimeOffset at = _time.GetUtcNow();
        lock (_lock)
        {
            FakeInstance instance = Find(id);
            instance.State = ContainerState.ContainerExited;
            instance.IsListedLate = isListedLate;
            instance.ExitCode = code;
            instance.FinishedAt = at;
            _ended.Add(instance.Request.Config.Metadata.Name);
            _ = instance.Ended.TrySetResult();
        }

        if (!isEventLost)
        {
            Send("/tasks/exit", new TaskExit { ContainerId = id, Id = id, ExitStatus = (uint)code, ExitedAt = Timestamp.FromDateTimeOffset(at) });
        }
    }

    /// <summary>Lists and statuses catch up.</summary>
    public void ListTheEnd(string id)
    {
        lock (_lock)
        {
            Find(id).IsListedLate = false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            _holds.ForEach(hold => hold.Drop());
        }

        await _front.DisposeAsync();
    }

    /// <summary>A start that lost its caller leaves a task behind, of which CRI knows nothing.</summary>
    public void LeaveTask(string id)
    {
        lock (_lock)
        {
            Find(id).LeftTask = LeftTask.Alive;
        }
    }

    private static long Nanoseconds(DateTimeOffset at) => (at - DateTimeOffset.UnixEpoch).Ticks * 100;

    private void On<T>(string method, MessageParser<T> parser, Func<T, IMessage> handle)
        where T : class, IMessage<T> => OnAsync(method, parser, request => Task.FromResult(handle(request)));

    private void OnAsync<T>(string method, MessageParser<T> parser, Func<T, Task<IMessage>> handle)
        where T : class, IMessage<T> => On("/runtime.v1.RuntimeService/", method, parser, handle);

    private void OnTask<T>(string method, MessageParser<T> parser, Func<T, IMessage> handle)
        where T : class, IMessage<T> =>
        On("/containerd.services.tasks.v1.Tasks/", method, parser, request => Task.FromResult(handle(request)));

    private void On<T>(string service, string method, MessageParser<T> parser, Func<T, Task<IMessage>> handle)
        where T : class, IMessage<T> =>
        _front.On(service + method, async call =>
        {
            byte[] body = await call.ReadBodyAsync();
            T request = parser.ParseFrom(body.AsSpan(5));
            _calls.Enqueue((method, request));
            if (Take(method, HoldPoint.Received) is { } held && !await held.ArriveAsync())
            {
                call.Context.Abort();
                return;
            }

            IMessage answer;
            try
            {
                lock (_lock)
                {
                    if (_failures.TryGetValue(method, out Queue<RpcException>? failures) && failures.TryDequeue(out RpcException? failure))
                    {
                        throw failure;
                    }
                }

                answer = await handle(request);
            }
            catch (RpcException failure)
            {
                await call.TrailersOnlyAsync((int)failure.StatusCode, new HeaderField("grpc-message", Uri.EscapeDataString(failure.Status.Detail)));
                return;
            }

            if (Take(method, HoldPoint.Answered) is { } kept && !await kept.ArriveAsync())
            {
                call.Context.Abort();
                return;
            }

            await call.SendAsync(GrpcWire.Message(answer.ToByteArray()));
            await call.EndAsync();
        });

    private RelayHold? Take(string method, HoldPoint point)
    {
        lock (_lock)
        {
            RelayHold? hold = _holds.Find(one => one.Method == method && one.Point == point);
            if (hold is not null)
            {
                _ = _holds.Remove(hold);
            }

            return hold;
        }
    }

    private FakeInstance Find(string id) => _instances.TryGetValue(id, out FakeInstance? instance)
        ? instance
        : throw new RpcException(new Status(StatusCode.NotFound, $"container \"{id}\": not found"));

    private ListPodSandboxResponse List(ListPodSandboxRequest request)
    {
        lock (_lock)
        {
            var response = new ListPodSandboxResponse();
            response.Items.Add(_sandboxes.Values.Where(sandbox => request.Filter is not { Id.Length: > 0 } filter || filter.Id == sandbox.Id));
            return response;
        }
    }

    private ListContainersResponse List(ListContainersRequest request)
    {
        lock (_lock)
        {
            var response = new ListContainersResponse();
            foreach (FakeInstance instance in _instances.Values)
            {
                if (request.Filter is { PodSandboxId.Length: > 0 } filter && filter.PodSandboxId != instance.Request.PodSandboxId)
                {
                    continue;
                }

                response.Containers.Add(new Container
                {
                    Id = instance.Id,
                    PodSandboxId = instance.Request.PodSandboxId,
                    Metadata = instance.Request.Config.Metadata,
                    State = instance.ListedState,
                    CreatedAt = Nanoseconds(instance.CreatedAt),
                });
            }

            return response;
        }
    }

    private ContainerStatusResponse Status(ContainerStatusRequest request)
    {
        lock (_lock)
        {
            FakeInstance instance = Find(request.ContainerId);
            return new ContainerStatusResponse
            {
                Status = new ContainerStatus
                {
                    Id = instance.Id,
                    Metadata = instance.Request.Config.Metadata,
                    State = instance.ListedState,
                    CreatedAt = Nanoseconds(instance.CreatedAt),
                    ExitCode = instance.IsListedLate ? 0 : instance.ExitCode,
                    FinishedAt = instance.ListedState == ContainerState.ContainerExited ? Nanoseconds(instance.FinishedAt) : 0,
                },
            };
        }
    }

    /// <summary>Each that runs uses 25 thousandths of a CPU and 3 MiB.</summary>
    private ListContainerStatsResponse Stats(ListContainerStatsRequest request)
    {
        lock (_lock)
        {
            return new ListContainerStatsResponse
            {
                Stats =
                {
                    _instances.Values.Where(instance => instance.State == ContainerState.ContainerRunning).Select(instance => new ContainerStats
                    {
                        Attributes = new ContainerAttributes { Id = instance.Id, Metadata = instance.Request.Config.Metadata },
                        Cpu = new CpuUsage { UsageNanoCores = new Protocol.Runtime.V1.UInt64Value { Value = 25_000_000 } },
                        Memory = new MemoryUsage { WorkingSetBytes = new Protocol.Runtime.V1.UInt64Value { Value = 3 << 20 } },
                    }),
                },
            };
        }
    }

    private IMessage Remove(RemoveContainerRequest request)
    {
        lock (_lock)
        {
            if (_instances.TryGetValue(request.ContainerId, out FakeInstance? instance) && instance.LeftTask is not null)
            {
                throw new RpcException(new Status(StatusCode.FailedPrecondition, $"cannot delete running task {request.ContainerId}: failed precondition"));
            }

            _ = _instances.Remove(request.ContainerId);
            return new RemoveContainerResponse();
        }
    }

    /// <summary>
    /// Whatever is stopped ends at once, but for <see cref="Stubborn"/> ones, which only SIGKILL ends: as the backend does, this waits
    /// for their end.
    /// </summary>
    public async Task<StopContainerResponse> StopAsync(StopContainerRequest request)
    {
        Task ended;
        lock (_lock)
        {
            FakeInstance instance = Find(request.ContainerId);
            if (instance.State == ContainerState.ContainerRunning && (request.Timeout == 0 || !Stubborn.Contains(instance.Request.Config.Metadata.Name)))
            {
                Exit(instance.Id, request.Timeout == 0 ? 137 : 143);
            }

            ended = instance.State == ContainerState.ContainerRunning ? instance.Ended.Task : Task.CompletedTask;
        }

        await ended;
        return new StopContainerResponse();
    }

    public IMessage StopSandbox(StopPodSandboxRequest request)
    {
        lock (_lock)
        {
            _sandboxes[request.PodSandboxId].State = PodSandboxState.SandboxNotready;
            return new StopPodSandboxResponse();
        }
    }

    private Empty KillTask(string id)
    {
        lock (_lock)
        {
            Find(id).LeftTask = LeftTask.Killed;
            return new Empty();
        }
    }

    private DeleteResponse DeleteTask(string id)
    {
        lock (_lock)
        {
            FakeInstance instance = Find(id);
            if (instance.LeftTask == LeftTask.Alive)
            {
                throw new RpcException(new Status(StatusCode.FailedPrecondition, "task must be stopped before deletion"));
            }

            instance.LeftTask = null;
            return new DeleteResponse();
        }
    }

    private void Send(string topic, IMessage message)
    {
        byte[] envelope = new Envelope
        {
            Timestamp = Timestamp.FromDateTimeOffset(_time.GetUtcNow()),
            Namespace = "k8s.io",
            Topic = topic,
            Event = new Any { TypeUrl = message.Descriptor.FullName, Value = message.ToByteString() },
        }.ToByteArray();
        foreach (Channel<byte[]> subscriber in _subscribers.Values)
        {
            subscriber.Writer.TryWrite(envelope);
        }
    }

    private async Task SubscribeAsync(FakeCall call)
    {
        _ = await call.ReadBodyAsync();
        var messages = Channel.CreateUnbounded<byte[]>();
        var key = Guid.NewGuid();
        _subscribers[key] = messages;
        _ = call.Cancelled.ContinueWith(_ => messages.Writer.TryComplete(), TaskScheduler.Default);
        await foreach (byte[] message in messages.Reader.ReadAllAsync())
        {
            await call.SendAsync(GrpcWire.Message(message));
        }

        _ = _subscribers.TryRemove(key, out _);
    }

    private async Task PublishAsync(FakeCall call)
    {
        PublishRequest request = PublishRequest.Parser.ParseFrom((await call.ReadBodyAsync()).AsSpan(5));
        byte[] envelope = new Envelope { Namespace = call.Header("containerd-namespace") ?? "", Topic = request.Topic, Event = request.Event }.ToByteArray();
        foreach (Channel<byte[]> subscriber in _subscribers.Values)
        {
            subscriber.Writer.TryWrite(envelope);
        }

        await call.SendAsync(GrpcWire.Message([]));
        await call.EndAsync();
    }
}

/// <summary>One container.</summary>
internal sealed class FakeInstance(string id, CreateContainerRequest request, DateTimeOffset createdAt)
{
    public string Id => id;

    public CreateContainerRequest Request => request;

    public DateTimeOffset CreatedAt => createdAt;

    public ContainerState State { get; set; }

    /// <summary>Its end is not in lists and statuses yet.</summary>
    public bool IsListedLate { get; set; }

    public ContainerState ListedState => IsListedLate ? ContainerState.ContainerRunning : State;

    public int ExitCode { get; set; }

    public DateTimeOffset FinishedAt { get; set; }

    public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public LeftTask? LeftTask { get; set; }
}

/// <summary>A task that a start has left behind.</summary>
internal enum LeftTask
{
    Alive,
    Killed,
}
