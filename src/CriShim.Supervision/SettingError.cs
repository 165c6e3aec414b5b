namespace CriShim.Supervision;

/// <summary>One fault in an option or an annotation, for an operator's eyes.</summary>
/// <param name="Place">Path of the setting, such as <c>restart.maxDelay</c> or <c>crishim.io/sidecars[2].kind</c>.</param>
/// <param name="Value">What was given; null when that means nothing.</param>
/// <param name="Allowed">What is allowed, as the end of a sentence: "must be ...".</param>
public sealed record SettingError(string Place, string? Value, string Allowed)
{
    public override string ToString() => Value is null ? $"{Place}: {Allowed}" : $"{Place}: {UntrustedText.Quote(Value)}: {Allowed}";
}
