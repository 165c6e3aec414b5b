namespace CriShim.Commands.Doctor;

/// <summary>How much a finding matters.</summary>
internal enum Severity
{
    /// <summary>As it should be.</summary>
    Good,

    /// <summary>Worth knowing; nothing is wrong.</summary>
    Note,

    /// <summary>Something does not work as well as it could, or will not for long.</summary>
    Warning,

    /// <summary>Something does not work.</summary>
    Problem,
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Severity">How much it matters.</param>
/// <param name="Area">What was looked at: one word.</param>
/// <param name="Text">What was found.</param>
/// <param name="Remedy">What to do; null where nothing is to be done.</param>
internal sealed record Finding(Severity Severity, string Area, string Text, string? Remedy = null)
{
    public bool IsWrong => Severity is Severity.Warning or Severity.Problem;
}
