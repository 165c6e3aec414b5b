using System.Text;
using CriShim.TestSupport.Lab;
using Google.Protobuf;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>Makes calls and writes down all that a caller can see of each answer: status, detail, headers, trailers, message.</summary>
internal sealed class Transcript(CriCaller caller)
{
    public const string Runtime = "runtime.v1.RuntimeService";
    public const string Images = "runtime.v1.ImageService";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private static readonly Marshaller<byte[]> s_bytes = Marshallers.Create(bytes => bytes, bytes => bytes);

    private readonly List<Entry> _entries = [];

    public CriCaller Caller => caller;

    public Normaliser Normaliser { get; } = new();

    public IReadOnlyList<Entry> Entries => _entries;

    /// <summary>A call that has to succeed.</summary>
    public async Task<TResponse> CallAsync<TResponse>(string method, IMessage request, string service = Runtime)
        where TResponse : class, IMessage<TResponse>, new()
    {
        var (response, status) = await TryAsync<TResponse>(method, request, service);
        return response ?? throw new Xunit.Sdk.XunitException($"{method} failed on {caller.SocketPath}: {status}");
    }

    /// <summary>A call that has to fail; gives the status.</summary>
    public async Task<Status> FailAsync<TResponse>(string method, IMessage request, string service = Runtime)
        where TResponse : class, IMessage<TResponse>, new()
    {
        var (response, status) = await TryAsync<TResponse>(method, request, service);
        return response is null ? status : throw new Xunit.Sdk.XunitException($"{method} succeeded on {caller.SocketPath}: {response}");
    }

    /// <summary>A call that may do either, depending on the version.</summary>
    public async Task<(TResponse? Response, Status Status)> TryAsync<TResponse>(string method, IMessage request, string service = Runtime)
        where TResponse : class, IMessage<TResponse>, new()
    {
        var raw = new Method<byte[], byte[]>(MethodType.Unary, service, method, s_bytes, s_bytes);
        var options = new CallOptions(deadline: TimeProvider.System.GetUtcNow().UtcDateTime + s_patience);
        var text = new StringBuilder();
        TResponse? response = null;
        Status status;
        using var call = caller.Invoker.AsyncUnaryCall(raw, null, options, request.ToByteArray());
        try
        {
            var bytes = await call.ResponseAsync;
            response = new MessageParser<TResponse>(() => new TResponse()).ParseFrom(bytes);
            WithoutOurs(response);
            status = call.GetStatus();
            Write(text, "header", await call.ResponseHeadersAsync);
            Write(text, "trailer", call.GetTrailers());
        }
        catch (RpcException failure)
        {
            status = failure.Status;
            Write(text, "trailer", failure.Trailers);
        }

        _entries.Add(new Entry(method, status, text.ToString(), response));
        return (response, status);
    }

    /// <summary>What crishim adds to verbose answers, an entry of their info map, is the one thing that the bare socket has not.</summary>
    private static void WithoutOurs(IMessage response)
    {
        if (response.Descriptor.FindFieldByName("info")?.Accessor.GetValue(response) is IDictionary<string, string> info)
        {
            _ = info.Remove("crishim");
        }
    }

    /// <summary>Something else that both runs have to see alike.</summary>
    public void Note(string what, string seen) => _entries.Add(new Entry(what, Status.DefaultSuccess, seen, null));

    /// <summary>Everything, with what differs by nature taken out. Only at the end all ids have names.</summary>
    public IReadOnlyList<string> Render() => [.. _entries.Select((entry, index) => Render(index, entry))];

    private string Render(int index, Entry entry)
    {
        var message = entry.Response is null ? "" : Normaliser.Message(entry.Response) + "\n";
        return $"{index}. {entry.Call}: {entry.Status.StatusCode} {Normaliser.Text(entry.Status.Detail)}\n"
            + Normaliser.Text(entry.Metadata) + message;
    }

    private static void Write(StringBuilder text, string kind, Metadata metadata)
    {
        foreach (var entry in metadata.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            var value = entry.Key switch
            {
                "date" => "(a date)",
                _ when entry.IsBinary => Convert.ToHexStringLower(entry.ValueBytes),
                _ => entry.Value,
            };
            text.Append(kind).Append(' ').Append(entry.Key).Append(": ").AppendLine(value);
        }
    }

    internal sealed record Entry(string Call, Status Status, string Metadata, IMessage? Response);
}
