using CriShim.Supervision;

namespace CriShim.Configuration;

/// <summary>One fault, for an operator's eyes.</summary>
/// <param name="Place">Where to mend it: "file:line:column", "file", or a flag's name.</param>
/// <param name="Setting">Path within the file such as "listen.mode"; null when the fault is in no setting, or <paramref name="Place"/> says it.</param>
/// <param name="Value">What was given; null when that means nothing.</param>
/// <param name="Rule">What is allowed.</param>
internal sealed record ConfigurationError(string Place, string? Setting, string? Value, string Rule)
{
    /// <summary>Errors are shown in the order of the file, those of flags last.</summary>
    public (long Line, long Column) Position { get; private init; } = (long.MaxValue, 0);

    public static ConfigurationError At(FilePlace place, string? setting, string? value, string rule) =>
        new(place.ToString(), string.IsNullOrEmpty(setting) ? null : setting, value, rule) { Position = (place.Line, place.Column) };

    /// <returns>Whether there was any.</returns>
    public static bool Report(IReadOnlyList<ConfigurationError> faults, TextWriter error)
    {
        foreach (ConfigurationError fault in faults)
        {
            error.WriteLine($"crishim: {fault}");
        }

        return faults.Count > 0;
    }

    public override string ToString() =>
        $"{Place}: {(Setting is null ? "" : Setting + ": ")}{(Value is null ? "" : UntrustedText.Quote(Value) + ": ")}{Rule}";

    /// <summary>The path of a setting, for <see cref="Setting"/>. A key of a file can be any text, and is quoted where it is no plain one.</summary>
    internal static string PathOf(string section, string key)
    {
        string shown = key.Length is > 0 and <= 60 && key.All(c => c is > ' ' and <= '~') ? key : UntrustedText.Quote(key);
        return section.Length == 0 ? shown : $"{section}.{shown}";
    }
}

/// <summary>A place in a file; lines and columns count from one.</summary>
internal readonly record struct FilePlace(string File, long Line, long Column)
{
    public override string ToString() => $"{File}:{Line}:{Column}";
}
