using System.Text;
using CriShim.Supervision;

namespace CriShim.Configuration;

/// <summary>What loading gave: a configuration, or every reason why there is none.</summary>
internal sealed record LoadedConfiguration
{
    /// <summary>The file that was read; null when there is none.</summary>
    public required string? File { get; init; }

    /// <summary>Null when there are errors.</summary>
    public required CriShimConfiguration? Configuration { get; init; }

    public required IReadOnlyList<ConfigurationError> Errors { get; init; }

    public required IReadOnlyList<EffectiveSetting> Effective { get; init; }

    /// <summary>The whole configuration as a file that can be read again, with the origin of each value.</summary>
    public string ToYaml()
    {
        var text = new StringBuilder();
        string[] open = [];
        foreach (EffectiveSetting setting in InSections(Effective))
        {
            string[] path = setting.Path.Split('.');
            int shared = 0;
            while (shared < open.Length && shared < path.Length - 1 && open[shared] == path[shared])
            {
                shared++;
            }

            for (int depth = shared; depth < path.Length - 1; depth++)
            {
                _ = text.Append(' ', 2 * depth).Append(path[depth]).Append(":\n");
            }

            open = path[..^1];
            string value = path.Length == 1 ? setting.Text : UntrustedText.Quote(setting.Text, int.MaxValue);
            string line = $"{new string(' ', 2 * open.Length)}{path[^1]}: {value}";
            _ = text.Append(line.PadRight(60)).Append(" # ").Append(setting.Origin.ReplaceLineEndings(" ")).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>A key may stand only once in its map, so that what belongs to one section comes together.</summary>
    private static IEnumerable<EffectiveSetting> InSections(IReadOnlyList<EffectiveSetting> settings, int depth = 0)
    {
        foreach (IGrouping<string, EffectiveSetting> group in settings.GroupBy(s => Head(s.Path, depth)))
        {
            EffectiveSetting[] members = [.. group];
            foreach (EffectiveSetting setting in members.Length == 1 ? members : InSections(members, depth + 1))
            {
                yield return setting;
            }
        }
    }

    private static string Head(string path, int depth) => string.Join('.', path.Split('.').Take(depth + 1));
}

/// <param name="Path">Such as "listen.mode".</param>
/// <param name="Text">As it was written.</param>
/// <param name="Origin">"file:line:column", a flag's name, or "default".</param>
internal sealed record EffectiveSetting(string Path, string Text, string Origin)
{
    public bool IsDefault => Origin == "default";
}
