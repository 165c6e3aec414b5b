using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using CriShim.Supervision.Pods;

namespace CriShim.Supervision.Sidecars;

/// <summary>
/// What a pod's annotations under <c>crishim.io/</c> ask for. A bad value costs no more than itself: it is an error to show, the valid
/// rest is kept, and the pod runs on.
/// </summary>
public sealed record SidecarAnnotation
{
    public const string SidecarsKey = "crishim.io/sidecars";

    public const string SuperviseKey = "crishim.io/supervise";

    public const string RestartPolicyKey = "crishim.io/restart-policy";

    /// <summary>Longer ones are refused whole, in bytes of UTF-8.</summary>
    public const int MaxBytes = 16 * 1024;

    /// <summary>Sidecars of one pod; the rest is refused.</summary>
    public const int MaxSidecars = 32;

    private const int MaxExitCodes = 32;

    private const int MaxShownNames = 16;

    private static readonly TimeSpan MaxDuration = TimeSpan.FromHours(1);

    private static readonly SearchValues<char> NameCharacters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-");

    private static readonly SearchValues<char> StructureCharacters = SearchValues.Create("[]{}:#\"'&*!|>%");

    private static readonly string[] ProbeActions = ["exec", "httpGet", "tcpSocket", "grpc"];

    private static readonly (string Name, int Least)[] ProbeNumbers =
    [
        ("initialDelaySeconds", 0), ("timeoutSeconds", 1), ("periodSeconds", 1), ("successThreshold", 1), ("failureThreshold", 1),
    ];

    /// <summary>A pod without annotations.</summary>
    public static SidecarAnnotation None { get; } = new();

    /// <summary>In the annotation's order; names are unique.</summary>
    public ImmutableArray<SidecarRequest> Sidecars { get; private init; } = [];

    /// <summary><c>crishim.io/supervise: "off"</c>.</summary>
    public bool IsSuperviseOff { get; private init; }

    /// <summary><c>crishim.io/restart-policy</c>; null when not given. A spec source's knowledge goes before it.</summary>
    public PodRestartPolicy? RestartPolicy { get; private init; }

    /// <summary>What was wrong; beyond <see cref="SettingErrors.Most"/> the last one says how many more there are.</summary>
    public ImmutableArray<SettingError> Errors { get; private init; } = [];

    /// <summary>What is asked for the container of that name; null when it is not named.</summary>
    public SidecarRequest? Find(string name) => Sidecars.FirstOrDefault(s => string.Equals(s.Name, name, StringComparison.Ordinal));

    /// <summary>
    /// What of the annotation does not fit the pod's spec, once that is known: names of no container, and kinds that are others. The spec
    /// goes before the annotation.
    /// </summary>
    public ImmutableArray<SettingError> ErrorsBy(PodFacts facts)
    {
        var errors = new SettingErrors(SidecarsKey);
        foreach (SidecarRequest sidecar in Sidecars)
        {
            string place = $"{SidecarsKey} of {sidecar.Name}";
            AnnotatedKind? kind = SidecarKinds.Find(sidecar.Name, facts)?.Role switch
            {
                ContainerRole.Init => AnnotatedKind.Init,
                ContainerRole.RestartableInit => AnnotatedKind.Native,
                ContainerRole.Plain => AnnotatedKind.Plain,
                _ => null,
            };
            if (kind is null)
            {
                string[] names = [.. facts.Containers.Where(c => c.Role != ContainerRole.Ephemeral).Take(MaxShownNames + 1).Select(c => c.Name)];
                string shown = string.Join(", ", names.Take(MaxShownNames)) + (names.Length > MaxShownNames ? ", ..." : "");
                errors.Add(new SettingError(SidecarsKey, sidecar.Name, $"must be the name of a container of the pod: {shown}"));
            }
            else if (sidecar.Kind is { } said && said != kind)
            {
                errors.Add(new SettingError($"{place}, kind", Word(said), $"must be {Word(kind.Value)}, or not be given: the pod's spec says so, and holds"));
            }
        }

        return errors.ToImmutable();
    }

    /// <summary>Never throws, whatever the text is.</summary>
    /// <param name="annotations">The sandbox's annotations; others than <c>crishim.io/</c> ones are not looked at.</param>
    public static SidecarAnnotation Parse(IReadOnlyDictionary<string, string> annotations)
    {
        var errors = new SettingErrors(SidecarsKey);
        var sidecars = new List<SidecarRequest>();
        bool off = false;
        PodRestartPolicy? policy = null;
        if (annotations.TryGetValue(SidecarsKey, out string? text))
        {
            ReadSidecars(text, sidecars, errors);
        }

        if (annotations.TryGetValue(SuperviseKey, out text))
        {
            off = text == "off";
            if (!off)
            {
                errors.Add(new SettingError(SuperviseKey, text, "must be off, or not be given"));
            }
        }

        if (annotations.TryGetValue(RestartPolicyKey, out text))
        {
            policy = text switch
            {
                "Always" => PodRestartPolicy.Always,
                "OnFailure" => PodRestartPolicy.OnFailure,
                "Never" => PodRestartPolicy.Never,
                _ => null,
            };
            if (policy is null)
            {
                errors.Add(new SettingError(RestartPolicyKey, text, "must be Always, OnFailure or Never"));
            }
        }

        return new SidecarAnnotation { Sidecars = [.. sidecars], IsSuperviseOff = off, RestartPolicy = policy, Errors = errors.ToImmutable() };
    }

    private static void ReadSidecars(string text, List<SidecarRequest> sidecars, SettingErrors errors)
    {
        int bytes = Encoding.UTF8.GetByteCount(text);
        if (bytes > MaxBytes)
        {
            errors.Add(new SettingError(SidecarsKey, null, $"must have at most {MaxBytes} bytes, and has {bytes}"));
            return;
        }

        if (IsCommaList(text))
        {
            ReadNames(text, sidecars, errors);
            return;
        }

        if (AnnotationReader.Read(text, out string fault) is not { } root)
        {
            // The text itself is not shown: nothing tells what of it is meant for nobody's eyes.
            errors.Add(new SettingError(SidecarsKey, null, fault));
            return;
        }

        if (root is not AnnotationList list)
        {
            errors.Add(new SettingError(SidecarsKey, null, "must be names with commas between, or a YAML or JSON list of objects with a name"));
            return;
        }

        for (int i = 0; i < list.Items.Count; i++)
        {
            if (ReadSidecar(list.Items[i], $"{SidecarsKey}[{i}]", errors) is { } sidecar)
            {
                Add(sidecar, $"{SidecarsKey}[{i}].name", sidecars, errors);
            }
        }
    }

    // No name can have what structured text starts with, or needs.
    private static bool IsCommaList(string text) =>
        !text.AsSpan().ContainsAny(StructureCharacters) && !text.AsSpan().TrimStart().StartsWith("-", StringComparison.Ordinal);

    private static void ReadNames(string text, List<SidecarRequest> sidecars, SettingErrors errors)
    {
        string[] names = text.Split(',');
        for (int i = 0; i < names.Length; i++)
        {
            string name = names[i].Trim();
            string place = $"{SidecarsKey}[{i}]";
            if (IsName(name))
            {
                Add(new SidecarRequest { Name = name }, place, sidecars, errors);
            }
            else
            {
                errors.Add(BadName(place, name));
            }
        }
    }

    private static void Add(SidecarRequest sidecar, string place, List<SidecarRequest> sidecars, SettingErrors errors)
    {
        if (sidecars.Any(s => s.Name == sidecar.Name))
        {
            errors.Add(new SettingError(place, sidecar.Name, "must be named once; the first one holds"));
        }
        else if (sidecars.Count < MaxSidecars)
        {
            sidecars.Add(sidecar);
        }
        else
        {
            errors.Add(new SettingError(place, sidecar.Name, $"must be one of at most {MaxSidecars}"));
        }
    }

    private static SidecarRequest? ReadSidecar(AnnotationNode node, string place, SettingErrors errors)
    {
        if (node is AnnotationScalar { Text: var bare } && IsName(bare))
        {
            return new SidecarRequest { Name = bare };
        }

        if (node is not AnnotationMap map)
        {
            errors.Add(new SettingError(place, (node as AnnotationScalar)?.Text, "must be an object with a name"));
            return null;
        }

        if (!map.Entries.TryGetValue("name", out AnnotationNode? given) || given is not AnnotationScalar { Text: var name } || !IsName(name))
        {
            errors.Add(BadName($"{place}.name", (given as AnnotationScalar)?.Text));
            return null;
        }

        var sidecar = new SidecarRequest { Name = name };
        foreach ((string key, AnnotationNode value) in map.Entries)
        {
            string inner = $"{place}.{Shown(key)}";
            sidecar = key switch
            {
                "name" => sidecar,
                "kind" => sidecar with { Kind = ReadKind(value, inner, errors) },
                "restart" => sidecar with { Restart = ReadRestart(value, inner, errors) },
                "teardownReserve" => sidecar with { TeardownReserve = ReadDuration(value, inner, errors) ?? TimeSpan.Zero },
                "successExitCodes" => sidecar with { SuccessExitCodes = ReadExitCodes(value, inner, errors) },
                "startupProbe" => sidecar with { StartupProbe = ReadProbe(value, inner, errors) },
                _ => Unknown(sidecar, inner, "name, kind, restart, teardownReserve, successExitCodes, startupProbe", errors),
            };
        }

        return sidecar;
    }

    private static AnnotatedKind? ReadKind(AnnotationNode node, string place, SettingErrors errors)
    {
        switch ((node as AnnotationScalar)?.Text)
        {
            case "native":
                return AnnotatedKind.Native;
            case "init":
                return AnnotatedKind.Init;
            case "plain":
                return AnnotatedKind.Plain;
            default:
                errors.Add(new SettingError(place, (node as AnnotationScalar)?.Text, "must be native, init or plain"));
                return null;
        }
    }

    private static RestartRequest? ReadRestart(AnnotationNode node, string place, SettingErrors errors)
    {
        if (node is not AnnotationMap map)
        {
            errors.Add(new SettingError(place, (node as AnnotationScalar)?.Text, "must be an object with initialDelay, maxDelay or resetAfter"));
            return null;
        }

        var restart = new RestartRequest();
        foreach ((string key, AnnotationNode value) in map.Entries)
        {
            string inner = $"{place}.{Shown(key)}";
            restart = key switch
            {
                "initialDelay" => restart with { InitialDelay = ReadDuration(value, inner, errors) },
                "maxDelay" => restart with { MaxDelay = ReadDuration(value, inner, errors) },
                "resetAfter" => restart with { ResetAfter = ReadDuration(value, inner, errors) },
                _ => Unknown(restart, inner, "initialDelay, maxDelay, resetAfter", errors),
            };
        }

        if (restart is { InitialDelay: { } initial, MaxDelay: { } most } && initial > most)
        {
            errors.Add(new SettingError($"{place}.initialDelay", GoDuration.Format(initial), $"must be at most maxDelay, {GoDuration.Format(most)}"));
            restart = restart with { InitialDelay = null };
        }

        return restart;
    }

    private static TimeSpan? ReadDuration(AnnotationNode node, string place, SettingErrors errors)
    {
        string? text = (node as AnnotationScalar)?.Text;
        if (text is not null && GoDuration.TryParse(text, out TimeSpan duration) && duration <= MaxDuration)
        {
            return duration;
        }

        errors.Add(new SettingError(place, text, $"must be a duration such as 10s, 500ms or 1m30s, from 0s to {GoDuration.Format(MaxDuration)}"));
        return null;
    }

    private static ImmutableArray<int> ReadExitCodes(AnnotationNode node, string place, SettingErrors errors)
    {
        if (node is not AnnotationList list || list.Items.Count > MaxExitCodes)
        {
            errors.Add(new SettingError(place, (node as AnnotationScalar)?.Text, $"must be a list of at most {MaxExitCodes} exit codes"));
            return [];
        }

        var codes = new List<int>();
        for (int i = 0; i < list.Items.Count; i++)
        {
            if (TryNumber(list.Items[i], 0, 255, out int code))
            {
                codes.Add(code);
            }
            else
            {
                errors.Add(new SettingError($"{place}[{i}]", (list.Items[i] as AnnotationScalar)?.Text, "must be an exit code from 0 to 255"));
            }
        }

        return [.. codes];
    }

    // Who runs the probe reads it once more; what it could not run is to be told at once.
    private static AnnotationMap? ReadProbe(AnnotationNode node, string place, SettingErrors errors)
    {
        if (node is not AnnotationMap map)
        {
            errors.Add(new SettingError(place, (node as AnnotationScalar)?.Text, "must be a probe object as in a pod's spec"));
            return null;
        }

        int before = errors.Count;
        string[] actions = [.. ProbeActions.Where(map.Entries.ContainsKey)];
        if (actions.Length != 1)
        {
            errors.Add(new SettingError(
                place, actions.Length == 0 ? null : string.Join(", ", actions), $"must have exactly one of {string.Join(", ", ProbeActions)}"));
        }

        foreach (string action in actions)
        {
            if (map.Entries[action] is not AnnotationMap body)
            {
                errors.Add(new SettingError($"{place}.{action}", null, "must be an object"));
            }
            else if (body.Entries.TryGetValue("host", out AnnotationNode? host))
            {
                // A pod could have the node's own shim reach any address.
                errors.Add(new SettingError($"{place}.{action}.host", (host as AnnotationScalar)?.Text, "must not be given: probes go to the pod's own IP"));
            }
        }

        foreach ((string name, int least) in ProbeNumbers)
        {
            if (map.Entries.TryGetValue(name, out AnnotationNode? number) && !TryNumber(number, least, 3600, out _))
            {
                errors.Add(new SettingError($"{place}.{name}", (number as AnnotationScalar)?.Text, $"must be a whole number from {least} to 3600"));
            }
        }

        if (errors.Count == before && StartupProbe.Read(map, out string fault) is null)
        {
            errors.Add(new SettingError(place, null, fault));
        }

        return errors.Count == before ? map : null;
    }

    private static string Word(AnnotatedKind kind) => kind switch
    {
        AnnotatedKind.Native => "native",
        AnnotatedKind.Init => "init",
        _ => "plain",
    };

    private static T Unknown<T>(T unchanged, string place, string allowed, SettingErrors errors)
    {
        errors.Add(new SettingError(place, null, $"is no setting; there are {allowed}"));
        return unchanged;
    }

    private static SettingError BadName(string place, string? name) =>
        new(place, name, "must be a container's name: at most 63 of a-z, 0-9 and -, with a letter or digit at both ends");

    private static bool IsName(string text) =>
        text.Length is >= 1 and <= 63
        && text[0] != '-'
        && text[^1] != '-'
        && !text.AsSpan().ContainsAnyExcept(NameCharacters);

    private static bool TryNumber(AnnotationNode node, int least, int most, out int number)
    {
        number = 0;
        return node is AnnotationScalar { IsQuoted: false, Text: var text }
            && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number)
            && number >= least
            && number <= most;
    }

    // A key is the author's text, too: only what can be a misspelt setting is repeated.
    private static string Shown(string key) => IsSimple(key) ? key : "(a key)";

    private static bool IsSimple(string key) => key.Length is >= 1 and <= 24 && key.All(char.IsAsciiLetter);
}
