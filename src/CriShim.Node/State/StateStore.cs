using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;
using CriShim.Node.Draining;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Supervisor;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.State;

/// <summary>What was found of one sandbox when crishim started.</summary>
/// <param name="SandboxId">The pod sandbox's id.</param>
/// <param name="Pod">Its record, if one was written.</param>
/// <param name="Lineages">The records of its lineages.</param>
public sealed record StoredSandbox(string SandboxId, PodRecord? Pod, IReadOnlyList<LineageRecord> Lineages);

/// <summary>
/// What must survive a crash of crishim, as files on a tmpfs: a folder for each sandbox, in it <c>sandbox.pod.json</c>,
/// <c>sandbox.facts.json</c> and, for each lineage, <c>NAME.json</c> (the record), <c>NAME.create</c> (the last CreateContainerRequest, as bytes) and
/// <c>NAME.resources</c> (the last UpdateContainerResourcesRequest). Beside the folders: <c>node.drain.json</c>, while the node is drained.
/// </summary>
/// <remarks>
/// The requests hold the secrets of pod specs: folders are 0700, files 0600, and the folder belongs on a tmpfs, never on disk.
/// A file is replaced as a whole, by rename. What a file may take is bounded; a request that is too large is not kept, and a
/// replacement is then built from the backend's verbose ContainerStatus. Safe from any thread.
/// </remarks>
public sealed partial class StateStore
{
    /// <summary>The most that one lineage's request may take, in bytes.</summary>
    public const int MaxRequestBytes = 256 * 1024;

    /// <summary>The most that all requests may take, in bytes.</summary>
    public const long MaxTotalBytes = 64L * 1024 * 1024;

    // No container can be called so: names have no dots.
    private const string PodFile = "sandbox.pod.json";
    private const string FactsFile = "sandbox.facts.json";
    private const string DrainFile = "node.drain.json";
    private const UnixFileMode PrivateFolder = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode PrivateFile = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly string _root;
    private readonly ILogger _logger;
    private readonly Lock _sizes = new();
    private readonly Dictionary<string, long> _requestBytes = [];
    private readonly ConcurrentDictionary<string, bool> _left = new(StringComparer.Ordinal);
    private long _totalBytes;
    private long _failures;

    /// <summary>Opens, and if need be makes, the folder.</summary>
    /// <exception cref="IOException">The folder can't be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It can't be made for lack of rights.</exception>
    public StateStore(string root, ILogger logger)
    {
        _root = root;
        _logger = logger;
        _ = Directory.CreateDirectory(root, PrivateFolder);
        try
        {
            File.SetUnixFileMode(root, PrivateFolder);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // On what has become read-only nothing will be written; what is there can be read, and calls can be forwarded.
            StateLog.WriteFailed(_logger, root, exception.Message);
            _failures++;
        }
    }

    /// <summary>What the requests take that are kept, in bytes.</summary>
    public long RequestBytes
    {
        get
        {
            lock (_sizes)
            {
                return _totalBytes;
            }
        }
    }

    /// <summary>How many records could not be written or read since the start.</summary>
    public long Failures => Interlocked.Read(ref _failures);

    /// <summary>Reads everything; a file that can't be read is set aside (renamed) with a log line, and the rest goes on.</summary>
    public IReadOnlyList<StoredSandbox> Load()
    {
        var sandboxes = new List<StoredSandbox>();
        foreach (string folder in Directory.EnumerateDirectories(_root))
        {
            string sandboxId = Path.GetFileName(folder);
            if (!IsId(sandboxId))
            {
                continue;
            }

            PodRecord? pod = null;
            var lineages = new List<LineageRecord>();
            foreach (string file in Directory.EnumerateFiles(folder))
            {
                string name = Path.GetFileName(file);
                if (name == PodFile)
                {
                    pod = Read(file, StateJson.Default.PodRecord, record => Fault(record, sandboxId));
                }
                else if (name != FactsFile && name.EndsWith(".json", StringComparison.Ordinal))
                {
                    if (Read(file, StateJson.Default.LineageRecord, record => Fault(record, sandboxId, name)) is { } lineage)
                    {
                        lineages.Add(lineage);
                    }
                }
                else if (name.EndsWith(".create", StringComparison.Ordinal) || name.EndsWith(".resources", StringComparison.Ordinal))
                {
                    Account(file, new FileInfo(file).Length);
                }
                else if (name.EndsWith(".new", StringComparison.Ordinal))
                {
                    // Half written when crishim ended: the file it was to replace still holds.
                    Delete(file);
                }
            }

            sandboxes.Add(new StoredSandbox(sandboxId, pod, lineages));
        }

        return sandboxes;
    }

    /// <summary>Writes a record; when this returns true it outlasts this process.</summary>
    public bool Write(StateRecord record) => record switch
    {
        PodRecord pod => TryWrite(PathOf(pod.SandboxId, PodFile), JsonSerializer.SerializeToUtf8Bytes(pod, StateJson.Default.PodRecord)),
        LineageRecord lineage => TryWrite(
            PathOf(lineage.SandboxId, LineageFile(lineage.Name) + ".json"),
            JsonSerializer.SerializeToUtf8Bytes(lineage, StateJson.Default.LineageRecord)),
        _ => throw new ArgumentException($"{record.GetType().Name} is no record", nameof(record)),
    };

    /// <summary>Keeps what is known of the sandbox's pod.</summary>
    public bool WriteFacts(string sandboxId, PodFacts facts) =>
        TryWrite(PathOf(sandboxId, FactsFile), JsonSerializer.SerializeToUtf8Bytes(facts, StateJson.Default.PodFacts));

    /// <summary>What was known of the sandbox's pod, or null.</summary>
    public PodFacts? ReadFacts(string sandboxId)
    {
        string? path = PathOf(sandboxId, FactsFile);
        return File.Exists(path) ? Read(path, StateJson.Default.PodFacts, Fault) : null;
    }

    /// <summary>Keeps that the node is drained.</summary>
    public bool WriteDrain(DrainRecord record) =>
        TryWrite(Path.Combine(_root, DrainFile), JsonSerializer.SerializeToUtf8Bytes(record, StateJson.Default.DrainRecord));

    /// <summary>The drain that was begun and not cancelled, or null.</summary>
    public DrainRecord? ReadDrain()
    {
        string path = Path.Combine(_root, DrainFile);
        return File.Exists(path) ? Read(path, StateJson.Default.DrainRecord, Fault) : null;
    }

    /// <summary>The node is drained no longer.</summary>
    public void ForgetDrain() => Delete(Path.Combine(_root, DrainFile));

    /// <summary>Keeps the request that a lineage's next attempt is made from; false when it is too large or can't be written.</summary>
    public bool WriteCreateRequest(string sandboxId, string name, CreateContainerRequest request) =>
        WriteRequest(PathOf(sandboxId, LineageFile(name) + ".create"), request);

    /// <summary>The request kept for a lineage, or null.</summary>
    public CreateContainerRequest? ReadCreateRequest(string sandboxId, string name) =>
        ReadRequest(PathOf(sandboxId, LineageFile(name) + ".create"), CreateContainerRequest.Parser);

    /// <summary>Keeps the last resources that a caller gave a lineage.</summary>
    public bool WriteResources(string sandboxId, string name, UpdateContainerResourcesRequest request) =>
        WriteRequest(PathOf(sandboxId, LineageFile(name) + ".resources"), request);

    /// <summary>The last resources of a lineage, or null.</summary>
    public UpdateContainerResourcesRequest? ReadResources(string sandboxId, string name) =>
        ReadRequest(PathOf(sandboxId, LineageFile(name) + ".resources"), UpdateContainerResourcesRequest.Parser);

    /// <summary>There is no request to make a next attempt from.</summary>
    public void ForgetCreateRequest(string sandboxId, string name) => Delete(PathOf(sandboxId, LineageFile(name) + ".create"));

    /// <summary>A new create of the caller's own brings its own resources: older updates are void.</summary>
    public void ForgetResources(string sandboxId, string name) => Delete(PathOf(sandboxId, LineageFile(name) + ".resources"));

    /// <summary>The sandbox is gone, and so is what was kept of it.</summary>
    public void Forget(string sandboxId)
    {
        string? folder = PathOf(sandboxId, "");
        if (!Directory.Exists(folder))
        {
            _ = _left.TryRemove(sandboxId, out _);
            return;
        }

        try
        {
            foreach (string file in Directory.EnumerateFiles(folder).ToArray())
            {
                Delete(file);
            }

            // Whatever else somebody has put there goes, too; links are not followed.
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            if (_left.TryAdd(sandboxId, true))
            {
                StateLog.ForgetFailed(_logger, sandboxId, exception.Message);
            }

            return;
        }

        _ = _left.TryRemove(sandboxId, out _);
    }

    /// <summary>What could not be deleted when its sandbox went, as on a file system that was read-only then, is tried once more.</summary>
    public void ForgetLeft()
    {
        foreach (string sandboxId in _left.Keys)
        {
            Forget(sandboxId);
        }
    }

    /// <summary>Whether a sandbox's records can be kept: it comes from callers, and becomes a folder's name.</summary>
    public static bool IsId(string id) => Identifier().IsMatch(id);

    // Names of containers are DNS labels; anything else (from crictl) is written as its digest, which no name can make too long.
    private static string LineageFile(string name) =>
        DnsLabel().IsMatch(name) ? name : "x." + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)));

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\z", RegexOptions.CultureInvariant)]
    private static partial Regex DnsLabel();

    [GeneratedRegex(@"\A[A-Za-z0-9][-_A-Za-z0-9]{0,127}\z", RegexOptions.CultureInvariant)]
    private static partial Regex Identifier();

    // What makes a record of no use to a supervisor: JSON has nulls where the records have none.
    private static string? Fault(PodRecord record, string sandboxId) =>
        record.SandboxId != sandboxId ? "it belongs to another sandbox"
        : record.StartOrder?.All(name => name is not null) != true ? "a part of it is missing"
        : null;

    private static string? Fault(LineageRecord record, string sandboxId, string file) =>
        record.Name is null || record.Instances?.All(instance => instance?.Id is not null) != true
            || record.Deaths?.All(death => death is { Lineage: not null, ContainerId: not null }) != true ? "a part of it is missing"
        : record.SandboxId != sandboxId || LineageFile(record.Name) != file[..^".json".Length] ? "it belongs to another lineage"
        : null;

    private static string? Fault(PodFacts facts) =>
        facts.Uid is null || facts.Namespace is null || facts.Name is null || facts.Annotations is null
            || facts.Containers?.All(container => container?.Name is not null) != true ? "a part of it is missing"
        : null;

    // JSON that lacks a date has the year 1.
    private static string? Fault(DrainRecord record) =>
        record.BeganAt == default || record.Deadline == default ? "a part of it is missing" : null;

    private string? PathOf(string sandboxId, string file) => IsId(sandboxId) ? Path.Combine(_root, sandboxId, file) : null;

    private bool WriteRequest(string? path, IMessage request)
    {
        if (path is null)
        {
            return false;
        }

        int size = request.CalculateSize();
        lock (_sizes)
        {
            long others = _totalBytes - _requestBytes.GetValueOrDefault(path);
            if (size > MaxRequestBytes || others + size > MaxTotalBytes)
            {
                StateLog.RequestTooLarge(_logger, path, size);
                Delete(path);
                return false;
            }
        }

        if (!TryWrite(path, request.ToByteArray()))
        {
            Delete(path);
            return false;
        }

        Account(path, size);
        return true;
    }

    private T? ReadRequest<T>(string? path, MessageParser<T> parser)
        where T : class, IMessage<T>
    {
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            return parser.ParseFrom(File.ReadAllBytes(path));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or InvalidProtocolBufferException)
        {
            SetAside(path, exception.Message);
            return null;
        }
    }

    private T? Read<T>(string path, JsonTypeInfo<T> type, Func<T, string?> fault)
        where T : class
    {
        try
        {
            T? record = JsonSerializer.Deserialize(File.ReadAllBytes(path), type);
            if ((record is null ? "it is empty" : fault(record)) is not { } reason)
            {
                return record;
            }

            SetAside(path, reason);
            return null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException)
        {
            SetAside(path, exception.Message);
            return null;
        }
    }

    private bool TryWrite(string? path, byte[] content)
    {
        if (path is null)
        {
            return false;
        }

        string fresh = path + ".new";
        try
        {
            _ = Directory.CreateDirectory(Path.GetDirectoryName(path)!, PrivateFolder);
            var options = new FileStreamOptions
            {
                Mode = FileMode.Create,
                Access = FileAccess.Write,
                UnixCreateMode = PrivateFile,
                BufferSize = 0,
            };
            using (var stream = new FileStream(fresh, options))
            {
                stream.Write(content);
            }

            File.Move(fresh, path, overwrite: true);
            return true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            StateLog.WriteFailed(_logger, path, exception.Message);
            _ = Interlocked.Increment(ref _failures);

            // Where there is no room, half a file takes the last of it.
            Delete(fresh);
            return false;
        }
    }

    private void SetAside(string path, string reason)
    {
        StateLog.RecordSetAside(_logger, path, reason);
        _ = Interlocked.Increment(ref _failures);
        try
        {
            File.Move(path, path + ".bad", overwrite: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            StateLog.WriteFailed(_logger, path, exception.Message);
        }
    }

    private void Delete(string? path)
    {
        if (path is null)
        {
            return;
        }

        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            StateLog.WriteFailed(_logger, path, exception.Message);
        }

        Account(path, 0);
    }

    private void Account(string path, long size)
    {
        lock (_sizes)
        {
            _totalBytes += size - _requestBytes.GetValueOrDefault(path);
            if (size == 0)
            {
                _ = _requestBytes.Remove(path);
            }
            else
            {
                _requestBytes[path] = size;
            }
        }
    }
}
