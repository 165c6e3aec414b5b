namespace CriShim.TestSupport.RawHttp2;

/// <summary>How one raw end of a connection behaves by itself; what is switched off is left to the test.</summary>
public sealed record RawConnectionOptions
{
    public const uint LargeWindow = 16 << 20;

    /// <summary>What the first SETTINGS frame says.</summary>
    public IReadOnlyList<(Setting Id, uint Value)> Settings { get; init; } = [(Setting.InitialWindowSize, LargeWindow)];

    /// <summary>Added to the connection's 65,535 octets at the start.</summary>
    public uint ExtraConnectionWindow { get; init; } = LargeWindow;

    /// <summary>Give the window back as DATA arrives.</summary>
    public bool GrantStreamWindows { get; init; } = true;

    public bool GrantConnectionWindow { get; init; } = true;

    public bool AnswerSettings { get; init; } = true;

    public bool AnswerPings { get; init; } = true;

    /// <summary>Send the preface (as a caller) and the first SETTINGS.</summary>
    public bool Greet { get; init; } = true;

    /// <summary>Read from the start; otherwise only from <see cref="RawConnection.StartReading"/> on.</summary>
    public bool Read { get; init; } = true;
}
