using System.Text;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using Google.Protobuf.Reflection;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// Finds the method of a path. Every path of package <c>runtime.*</c> is forwarded, whether this build knows it or not; all
/// others are refused. Where there is no backend, there are the methods of a service of our own, and no others. Belongs to the loop's
/// thread.
/// </summary>
internal sealed class MethodTable
{
    // Paths are the caller's to choose, so that only so many are remembered.
    private const int MaxLearned = 1024;
    private const int MaxPathLength = 256;

    private readonly CriMethod?[] _buckets = new CriMethod?[256];
    private readonly bool _learns;
    private int _learned;

    /// <summary>A service of our own.</summary>
    public MethodTable(IReadOnlyDictionary<string, TypedMethod> handlers)
    {
        foreach ((string path, TypedMethod handler) in handlers)
        {
            Add(new CriMethod(path, isForwarded: true) { Typed = handler });
        }
    }

    /// <summary>CRI.</summary>
    public MethodTable()
    {
        _learns = true;
        foreach (ServiceDescriptor service in ApiReflection.Descriptor.Services)
        {
            foreach (MethodDescriptor method in service.Methods)
            {
                Add(new CriMethod($"/{service.FullName}/{method.Name}", isForwarded: true)
                {
                    IsEndless = method.OutputType == ContainerEventResponse.Descriptor,
                    IsStream = method.IsServerStreaming || method.IsClientStreaming,
                    Label = new("method", method.Name),
                    Subject = SubjectOf(method.InputType),
                    Habit = HabitOf(method.InputType),
                    IsChange = !IsQuestion(method.Name),
                });
            }
        }
    }

    public CriMethod Find(ReadOnlySpan<byte> path)
    {
        for (CriMethod? method = _buckets[Bucket(path)]; method is not null; method = method.NextInBucket)
        {
            if (path.SequenceEqual(method.PathBytes))
            {
                return method;
            }
        }

        return Learn(path);
    }

    private static SubjectField SubjectOf(MessageDescriptor input)
    {
        FieldDescriptor? first = input.FindFieldByNumber(1);
        return first?.Name switch
        {
            "container_id" => SubjectField.ContainerId,
            "pod_sandbox_id" => SubjectField.PodSandboxId,
            "config" when first.MessageType == PodSandboxConfig.Descriptor => SubjectField.PodSandboxConfig,
            _ => SubjectField.None,
        };
    }

    private static KubeletHabit HabitOf(MessageDescriptor input) =>
        input == StatusRequest.Descriptor ? KubeletHabit.AsksForStatus
        : input == RunPodSandboxRequest.Descriptor || input == CreateContainerRequest.Descriptor ? KubeletHabit.RunsPods
        : KubeletHabit.None;

    private static bool IsQuestion(string name) =>
        name.StartsWith("List", StringComparison.Ordinal) || name.StartsWith("Stream", StringComparison.Ordinal)
        || name.EndsWith("Status", StringComparison.Ordinal) || name.EndsWith("Stats", StringComparison.Ordinal)
        || name is "Version" or "ImageFsInfo" or "GetContainerEvents" or "RuntimeConfig";

    private static int Bucket(ReadOnlySpan<byte> path)
    {
        if (path.Length < 8)
        {
            return path.Length;
        }

        return ((path.Length * 31) + path[^1] + (path[^2] * 7) + (path[^5] * 13) + (path[^7] * 17)) & 0xff;
    }

    private CriMethod Learn(ReadOnlySpan<byte> path)
    {
        bool forwarded = _learns && IsForwarded(path);
        bool isStream = path.IndexOf(".RuntimeService/Stream"u8) > 0;
        var method = new CriMethod(forwarded ? Encoding.ASCII.GetString(path) : Printable(path), forwarded)
        {
            IsUnknownStream = isStream,
            IsStream = isStream,
            IsChange = forwarded,
        };
        if (forwarded && _learned < MaxLearned && path.Length <= MaxPathLength)
        {
            _learned++;
            Add(method);
        }

        return method;
    }

    private void Add(CriMethod method)
    {
        int bucket = Bucket(method.PathBytes);
        method.NextInBucket = _buckets[bucket];
        _buckets[bucket] = method;
    }

    /// <summary>
    /// <c>/runtime.VERSION.SERVICE/METHOD</c>, of letters, digits, dots and underscores: what gRPC can name. Nothing that a
    /// backend could read as another path gets through.
    /// </summary>
    private static bool IsForwarded(ReadOnlySpan<byte> path)
    {
        if (!path.StartsWith("/runtime."u8))
        {
            return false;
        }

        int slash = path[1..].IndexOf((byte)'/') + 1;
        if (slash <= 0 || slash == path.Length - 1)
        {
            return false;
        }

        ReadOnlySpan<byte> service = path[1..slash];
        foreach (byte letter in service)
        {
            if (!IsIdentifier(letter) && letter != '.')
            {
                return false;
            }
        }

        if (service[^1] == '.' || service.IndexOf(".."u8) >= 0)
        {
            return false;
        }

        foreach (byte letter in path[(slash + 1)..])
        {
            if (!IsIdentifier(letter))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsIdentifier(byte letter) => char.IsAsciiLetterOrDigit((char)letter) || letter == '_';

    private static string Printable(ReadOnlySpan<byte> path)
    {
        path = path[..Math.Min(path.Length, MaxPathLength)];
        return string.Create(path.Length, path, static (text, bytes) =>
        {
            for (int i = 0; i < text.Length; i++)
            {
                text[i] = bytes[i] is > 0x20 and < 0x7f ? (char)bytes[i] : '?';
            }
        });
    }
}
