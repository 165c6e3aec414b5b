using System.Collections.Concurrent;
using System.Threading.Channels;
using CriShim.Protocol.Containerd.Events;
using CriShim.Protocol.Containerd.Services.Events.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace CriShim.Containerd.Tests.Events;

/// <summary>
/// containerd's event service on a real socket, at the level of bytes: what it sends may be malformed, and it can hang, end streams
/// or go away.
/// </summary>
internal sealed class FakeEventService : IAsyncDisposable
{
    private readonly string _socketPath;
    private readonly ConcurrentDictionary<Guid, Channel<byte[]>> _subscribers = [];
    private WebApplication? _application;

    public FakeEventService(string socketPath) => _socketPath = socketPath;

    /// <summary>Events that are published come back, as they do from containerd.</summary>
    public bool Echoes { get; set; } = true;

    /// <summary>What Publish answers.</summary>
    public StatusCode PublishAnswer { get; set; }

    /// <summary>Filters of each subscription, in order.</summary>
    public Channel<SubscribeRequest> Subscriptions { get; } = Channel.CreateUnbounded<SubscribeRequest>();

    /// <summary>Metadata containerd-namespace of each subscription.</summary>
    public ConcurrentQueue<string> Namespaces { get; } = [];

    public async Task StartAsync()
    {
        File.Delete(_socketPath);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.Zero);
        builder.WebHost.ConfigureKestrel(options => options.ListenUnixSocket(_socketPath, listen => listen.Protocols = HttpProtocols.Http2));
        _application = builder.Build();
        _application.MapPost("/containerd.services.events.v1.Events/Subscribe", SubscribeAsync);
        _application.MapPost("/containerd.services.events.v1.Events/Publish", PublishAsync);
        await _application.StartAsync();
    }

    public async Task StopAsync()
    {
        EndStreams();
        if (_application is { } application)
        {
            _application = null;
            await application.StopAsync();
            await application.DisposeAsync();
        }
    }

    /// <summary>Ends all subscriptions with OK; the service goes on.</summary>
    public void EndStreams()
    {
        foreach (Channel<byte[]> subscriber in _subscribers.Values)
        {
            subscriber.Writer.TryComplete();
        }
    }

    /// <summary>Sends these bytes as one message to all that subscribe.</summary>
    public void SendRaw(byte[] message)
    {
        foreach (Channel<byte[]> subscriber in _subscribers.Values)
        {
            subscriber.Writer.TryWrite(message);
        }
    }

    public void Send(string topic, IMessage message, string @namespace = "k8s.io", string? typeUrl = null) =>
        SendRaw(new Envelope
        {
            Timestamp = Timestamp.FromDateTimeOffset(DateTimeOffset.UnixEpoch.AddYears(56)),
            Namespace = @namespace,
            Topic = topic,
            Event = new Any { TypeUrl = typeUrl ?? message.Descriptor.FullName, Value = message.ToByteString() },
        }.ToByteArray());

    public void SendExit(string containerId, uint status = 0, string? id = null, DateTimeOffset? at = null) =>
        Send("/tasks/exit", new TaskExit
        {
            ContainerId = containerId,
            Id = id ?? containerId,
            Pid = 4711,
            ExitStatus = status,
            ExitedAt = Timestamp.FromDateTimeOffset(at ?? DateTimeOffset.UnixEpoch.AddYears(55)),
        });

    public void SendOom(string containerId) => Send("/tasks/oom", new TaskOOM { ContainerId = containerId });

    public async ValueTask DisposeAsync() => await StopAsync();

    private async Task SubscribeAsync(HttpContext context)
    {
        var request = SubscribeRequest.Parser.ParseFrom(await ReadAsync(context));
        var messages = Channel.CreateUnbounded<byte[]>();
        var key = Guid.NewGuid();
        _subscribers[key] = messages;
        Namespaces.Enqueue(context.Request.Headers["containerd-namespace"].ToString());
        Subscriptions.Writer.TryWrite(request);
        context.Response.ContentType = "application/grpc";
        try
        {
            // Like grpc-go: not even headers before the first message.
            await foreach (byte[] message in messages.Reader.ReadAllAsync(context.RequestAborted))
            {
                await WriteAsync(context, message);
            }

            context.Response.AppendTrailer("grpc-status", "0");
        }
        catch (OperationCanceledException)
        {
        }
        finally
        {
            _subscribers.TryRemove(key, out _);
        }
    }

    private async Task PublishAsync(HttpContext context)
    {
        var request = PublishRequest.Parser.ParseFrom(await ReadAsync(context));
        string @namespace = context.Request.Headers["containerd-namespace"].ToString();
        context.Response.ContentType = "application/grpc";
        if (PublishAnswer != StatusCode.OK)
        {
            context.Response.Headers["grpc-status"] = ((int)PublishAnswer).ToString(System.Globalization.CultureInfo.InvariantCulture);
            return;
        }

        if (Echoes)
        {
            SendRaw(new Envelope { Namespace = @namespace, Topic = request.Topic, Event = request.Event }.ToByteArray());
        }

        await WriteAsync(context, []);
        context.Response.AppendTrailer("grpc-status", "0");
    }

    private static async Task<byte[]> ReadAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        return body.ToArray()[5..];
    }

    private static async Task WriteAsync(HttpContext context, byte[] message)
    {
        byte[] frame = new byte[5 + message.Length];
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), message.Length);
        message.CopyTo(frame, 5);
        await context.Response.Body.WriteAsync(frame);
        await context.Response.Body.FlushAsync();
    }
}
