using CriShim.Configuration;

namespace CriShim.Commands.Doctor;

/// <summary>What the checks look at, and what they have found so far.</summary>
/// <param name="configuration">What crishim is configured to do.</param>
/// <param name="root">The folder that is "/" to the checks.</param>
internal sealed class Diagnosis(CriShimConfiguration configuration, string root)
{
    /// <summary>How long one question may take on this node.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private readonly List<Finding> _findings = [];
    private IReadOnlyList<KubeletSettings>? _kubelets;

    public CriShimConfiguration Configuration => configuration;

    public IReadOnlyList<Finding> Findings => _findings;

    /// <summary>Names of the pods that the backend has, "namespace/name" by sandbox id; null while they are not known.</summary>
    public IReadOnlyDictionary<string, string>? Pods { get; set; }

    /// <summary>The kubelets that run on this node, and what they were told.</summary>
    public IReadOnlyList<KubeletSettings> Kubelets => _kubelets ??= [.. KubeletSettings.FindAll(At)];

    /// <summary>"on", "observe" or "off", as the serving crishim says; null while it is not known.</summary>
    public string? ServedMode { get; set; }

    /// <summary>Of a call that is made now.</summary>
    public static DateTime Deadline(TimeProvider time) => (time.GetUtcNow() + Patience).UtcDateTime;

    /// <summary>Where a file of the node is.</summary>
    public string At(string path) => root + path;

    public void Good(string area, string text) => _findings.Add(new Finding(Severity.Good, area, text));

    public void Note(string area, string text, string? remedy = null) => _findings.Add(new Finding(Severity.Note, area, text, remedy));

    public void Warn(string area, string text, string remedy) => _findings.Add(new Finding(Severity.Warning, area, text, remedy));

    public void Blame(string area, string text, string remedy) => _findings.Add(new Finding(Severity.Problem, area, text, remedy));
}

/// <summary>Looks at one thing.</summary>
internal interface ICheck
{
    /// <summary>One word for what is looked at.</summary>
    string Area { get; }

    Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken);
}
