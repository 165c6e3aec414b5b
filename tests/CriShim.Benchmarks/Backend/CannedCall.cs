using System.Buffers.Binary;
using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.Benchmarks.Backend;

/// <summary>
/// One call with its request and response, both as gRPC frames them. The fake backend tells calls apart by the bytes of
/// the request, so that it need not decode a header block.
/// </summary>
internal sealed class CannedCall
{
    public static readonly CannedCall Version = new(
        "Version",
        new VersionRequest { Version = "0.1.0" },
        () => new VersionResponse
        {
            Version = "0.1.0",
            RuntimeName = "containerd",
            RuntimeVersion = "v2.1.4",
            RuntimeApiVersion = "v1",
        });

    public static readonly CannedCall List500 = List(500, marshalled: false);

    public static readonly CannedCall List5000 = List(5000, marshalled: false);

    /// <summary>Marshalled anew for each call, as a real runtime has to; the others are bytes that lie ready.</summary>
    public static readonly CannedCall List5000Marshalled = List(5000, marshalled: true);

    /// <summary>A list as the kubelet asks for it; answered by a real runtime only.</summary>
    public static readonly CannedCall ListAll = new("ListContainers", new ListContainersRequest(), () => null);

    /// <summary>
    /// What crishim itself lists to supervise: all sandboxes, all containers. Both requests are empty, and so is the answer: a node
    /// without pods. The lists that are measured bear a label.
    /// </summary>
    public static readonly CannedCall NothingAsked = new("ListPodSandbox", new ListPodSandboxRequest(), () => new ListPodSandboxResponse());

    private readonly Lazy<IMessage?> _message;
    private readonly Lazy<byte[]?> _framed;
    private readonly bool _marshalled;

    private CannedCall(string method, IMessage request, Func<IMessage?> response, bool marshalled = false)
    {
        Path = $"/runtime.v1.RuntimeService/{method}";
        Request = Frame(request);
        _message = new Lazy<IMessage?>(response);
        _framed = new Lazy<byte[]?>(() => _message.Value is { } message ? Frame(message) : null);
        _marshalled = marshalled;
    }

    public string Path { get; }

    public byte[] Request { get; }

    /// <summary>What every route has to return; null where only a real runtime knows it.</summary>
    public byte[]? Response => _framed.Value;

    /// <summary>Builds what can be built before the first call.</summary>
    public void Prepare() => Answer();

    /// <summary>The response for one call.</summary>
    public byte[] Answer() => _marshalled ? Frame(_message.Value!) : _framed.Value!;

    private static CannedCall List(int count, bool marshalled) => new(
        "ListContainers",
        new ListContainersRequest
        {
            Filter = new ContainerFilter
            {
                LabelSelector =
                {
                    ["bench/containers"] = count.ToString(CultureInfo.InvariantCulture),
                    ["bench/marshalled"] = marshalled ? "true" : "false",
                },
            },
        },
        () => ContainerList.Build(count),
        marshalled);

    public static byte[] Frame(IMessage message)
    {
        var size = message.CalculateSize();
        var framed = GC.AllocateUninitializedArray<byte>(5 + size);
        framed[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(framed.AsSpan(1), (uint)size);
        message.WriteTo(framed.AsSpan(5));
        return framed;
    }
}
