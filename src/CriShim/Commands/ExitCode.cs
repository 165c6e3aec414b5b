namespace CriShim.Commands;

/// <summary>Exit codes of every command.</summary>
internal static class ExitCode
{
    public const int Success = 0;

    /// <summary>It was told the right things and failed nevertheless.</summary>
    public const int Failure = 1;

    /// <summary>Flags or configuration are wrong; the same command will fail again.</summary>
    public const int Usage = 2;
}
