using CriShim.Protocol.Admin.V1;

namespace CriShim.Node.Reports;

/// <summary>A kind of bar, or of mark, of a timeline: what it is called in the message, and how it is drawn, in characters and as a picture.</summary>
/// <param name="Name">As <c>kind</c> has it in supervisor.proto.</param>
/// <param name="Meaning">For the legend.</param>
/// <param name="Letter">Drawn in characters: it tells the kind without any colour.</param>
/// <param name="Tone">Of its colour, where there are few.</param>
/// <param name="Fill">Its colour in a picture, by CSS.</param>
public sealed record TimelineKind(string Name, string Meaning, char Letter, TimelineTone Tone, string Fill)
{
    internal static readonly TimelineKind Ending = new("ending", "the pod ends", '=', TimelineTone.Ending, "#8aa4c8");
    internal static readonly TimelineKind Running = new("running", "runs", '█', TimelineTone.Good, "#4c9a5f");
    internal static readonly TimelineKind Held = new("held", "start is held", '░', TimelineTone.Waiting, "#e3b341");
    internal static readonly TimelineKind Down = new("down", "down", '-', TimelineTone.Bad, "#d9534f");
    internal static readonly TimelineKind BackingOff = new("backing off", "backs off", '~', TimelineTone.Bad, "#f0a8a5");
    internal static readonly TimelineKind Hook = new("hook", "preStop hook", '▒', TimelineTone.Ending, "#6f8fc0");

    internal static readonly TimelineKind Note = new("note", "note", '•', TimelineTone.None, "#777777");
    internal static readonly TimelineKind Gate = new("gate", "start gate opens", '◆', TimelineTone.Waiting, "#b8860b");
    internal static readonly TimelineKind Completed = new("completed", "is shown completed", '◇', TimelineTone.Good, "#1f7a7a");
    internal static readonly TimelineKind Stop = new("stop", "its turn to end", '▽', TimelineTone.Ending, "#2f5fa5");
    internal static readonly TimelineKind Kill = new("kill", "is killed", '▼', TimelineTone.Bad, "#7b1f1c");
    internal static readonly TimelineKind End = new("end", "ended", '■', TimelineTone.None, "#333333");
    internal static readonly TimelineKind Death = new("death", "died", '✗', TimelineTone.Bad, "#c9302c");

    /// <summary>What an older, or a newer, crishim tells.</summary>
    private static readonly TimelineKind Unknown = new("", "", '?', TimelineTone.None, "#999999");

    /// <summary>Those of bars.</summary>
    public static IReadOnlyList<TimelineKind> Bars { get; } = [Ending, Running, Held, Down, BackingOff, Hook];

    /// <summary>Those of marks; where two fall together, the later one is seen.</summary>
    public static IReadOnlyList<TimelineKind> Marks { get; } = [Note, Gate, Completed, Stop, Kill, End, Death];

    /// <summary>Of a bar; a kind that is not known here is drawn, too.</summary>
    public static TimelineKind Of(TimelineBar bar) => Bars.FirstOrDefault(kind => kind.Name == bar.Kind) ?? Unknown;

    /// <summary>Of a mark, in the same way.</summary>
    public static TimelineKind Of(TimelineMark mark) => Marks.FirstOrDefault(kind => kind.Name == mark.Kind) ?? Unknown;

    /// <summary>Bars in the order in which they are drawn: what is rarer goes over what is longer.</summary>
    public static IEnumerable<TimelineBar> InOrder(IEnumerable<TimelineBar> bars) => bars.OrderBy(bar => bar.Kind == Hook.Name ? 1 : 0);

    /// <summary>The same of marks.</summary>
    public static IEnumerable<TimelineMark> InOrder(IEnumerable<TimelineMark> marks) =>
        marks.OrderBy(mark => Marks.TakeWhile(kind => kind.Name != mark.Kind).Count());

    /// <summary>Those that a timeline has, for its legend: bars, then marks.</summary>
    public static IEnumerable<(TimelineKind Kind, bool IsMark)> Legend(GetTimelineResponse timeline)
    {
        var bars = timeline.Rows.SelectMany(row => row.Bars).Select(bar => bar.Kind).ToHashSet(StringComparer.Ordinal);
        var marks = timeline.Rows.SelectMany(row => row.Marks).Select(mark => mark.Kind).ToHashSet(StringComparer.Ordinal);
        return Bars.Where(kind => bars.Contains(kind.Name)).Select(kind => (kind, false))
            .Concat(Marks.Where(kind => marks.Contains(kind.Name)).Select(kind => (kind, true)));
    }

    /// <summary>What a row is called: not cleaned, names are pod authors'.</summary>
    public static string LabelOf(TimelineRow row) =>
        row.Container.Length == 0 ? "(pod)" : row.Role is "" or "unknown" ? row.Container : $"{row.Container} ({row.Role})";
}

/// <summary>What a colour says.</summary>
public enum TimelineTone
{
    None,
    Good,
    Waiting,
    Ending,
    Bad,
}
