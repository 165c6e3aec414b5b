using CriShim.Configuration;

namespace CriShim.Commands.Doctor;

/// <summary>What the checks look at, and what they have found so far.</summary>
/// <param name="configuration">What crishim is configured to do.</param>
/// <param name="root">The folder that is "/" to the checks.</param>
internal sealed class Diagnosis(CriShimConfiguration configuration, string root)
{
    private readonly List<Finding> _findings = [];

    public CriShimConfiguration Configuration => configuration;

    public IReadOnlyList<Finding> Findings => _findings;

    /// <summary>Names of the pods that the backend has, "namespace/name" by sandbox id; null while they are not known.</summary>
    public IReadOnlyDictionary<string, string>? Pods { get; set; }

    /// <summary>"on", "observe" or "off", as the serving crishim says; null while it is not known.</summary>
    public string? ServedMode { get; set; }

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
