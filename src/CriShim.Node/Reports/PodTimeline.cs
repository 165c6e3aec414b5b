using System.Globalization;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;
using Google.Protobuf.WellKnownTypes;
using ContainerEnded = CriShim.Node.Journal.ContainerEnded;
using ContainerStarted = CriShim.Node.Journal.ContainerStarted;

namespace CriShim.Node.Reports;

/// <summary>One pod's life as bars: what is kept of what happened, and the attempts that are known.</summary>
internal static class PodTimeline
{
    private const int MaxBars = 400;

    /// <param name="pod">The pod as it is now; null: its sandbox is gone.</param>
    /// <param name="name">Which pod.</param>
    /// <param name="trail">What happened, oldest first.</param>
    /// <param name="now">The time: bars that go on end there.</param>
    public static GetTimelineResponse Build(Pod? pod, PodName name, IReadOnlyList<Happening> trail, DateTimeOffset now)
    {
        var answer = new GetTimelineResponse { Namespace = name.Namespace, Name = name.Name, SandboxId = name.SandboxId };
        TimelineRow own = PodRow(trail, now);
        if (own.Bars.Count + own.Marks.Count > 0)
        {
            answer.Rows.Add(own);
        }

        IEnumerable<string> containers = (pod?.Containers.Select(container => container.Name) ?? [])
            .Concat(trail.Where(one => one.Container is not null).Select(one => one.Container!)).Distinct(StringComparer.Ordinal);
        foreach (string container in containers)
        {
            Container? known = pod?.Containers.FirstOrDefault(one => one.Name == container);
            TimelineRow row = ContainerRow(container, known, [.. trail.Where(one => one.Container == container)], now);
            if (row.Bars.Count + row.Marks.Count > 0)
            {
                answer.Rows.Add(row);
            }
        }

        // A bar that has ended ends the picture, where nothing goes on.
        DateTimeOffset[] froms = [.. answer.Rows.SelectMany(row => row.Bars.Select(bar => bar.From).Concat(row.Marks.Select(mark => mark.At)))
            .Select(at => at.ToDateTimeOffset())];
        DateTimeOffset[] tos = [.. answer.Rows.SelectMany(row => row.Bars.Select(bar => bar.To).Concat(row.Marks.Select(mark => mark.At)))
            .Select(at => at.ToDateTimeOffset())];
        answer.From = Timestamp.FromDateTimeOffset(froms.DefaultIfEmpty(now).Min());
        answer.To = Timestamp.FromDateTimeOffset(tos.DefaultIfEmpty(now).Max());
        return answer;
    }

    private static TimelineRow PodRow(IReadOnlyList<Happening> trail, DateTimeOffset now)
    {
        var row = new TimelineRow { Role = "pod" };
        DateTimeOffset? began = null;
        string text = "";
        foreach (Happening one in trail)
        {
            switch (one)
            {
                case TeardownBegan:
                    began = one.At;
                    text = one.Words;
                    break;
                case TeardownEnded when began is { } at:
                    Add(row, TimelineKind.Ending, at, one.At, text);
                    Mark(row, TimelineKind.End, one.At, one.Words);
                    began = null;
                    break;
                case MainsCompleted or SandboxStopHeld or AnnotationWrong or SandboxStopFailed:
                    Mark(row, TimelineKind.Note, one.At, one.Words);
                    break;
            }
        }

        if (began is { } open)
        {
            Add(row, TimelineKind.Ending, open, now, text, isOpen: true);
        }

        return row;
    }

    private static TimelineRow ContainerRow(string name, Container? known, Happening[] trail, DateTimeOffset now)
    {
        var row = new TimelineRow { Container = name, Role = known?.Role ?? "" };
        var lives = Lives(known, trail);
        foreach (Life life in lives.OrderBy(life => life.From))
        {
            string attempt = string.Create(CultureInfo.InvariantCulture, $"attempt {life.Attempt}");
            Add(row, TimelineKind.Running, life.From, life.To ?? now, attempt, isOpen: life.To is null);
            if (life.To is { } ended)
            {
                Mark(row, life.IsDeath ? TimelineKind.Death : TimelineKind.End, ended, life.Text ?? $"{attempt} ended");
            }
        }

        Gaps(row, [.. lives.OrderBy(life => life.From)], known, trail, now);
        Marks(row, trail, now);
        if (known?.ShownCompletedAt is { } completed && !trail.Any(one => one is CompletionShown))
        {
            // From before this crishim: it is recorded.
            Mark(row, TimelineKind.Completed, completed.ToDateTimeOffset(), "is shown completed, and runs on");
        }

        return row;
    }

    private static List<Life> Lives(Container? known, Happening[] trail)
    {
        var lives = new Dictionary<string, Life>(StringComparer.Ordinal);
        foreach (Attempt attempt in known?.Attempts ?? [])
        {
            if (attempt.StartedAt is not null)
            {
                lives[attempt.ContainerId] = new Life(attempt.Attempt_, attempt.StartedAt.ToDateTimeOffset())
                {
                    To = attempt.FinishedAt?.ToDateTimeOffset(),
                    Text = attempt.HasExitCode
                        ? string.Create(CultureInfo.InvariantCulture, $"attempt {attempt.Attempt_} ended with exit code {attempt.ExitCode}")
                        : null,
                };
            }
        }

        foreach (Happening one in trail)
        {
            if (one.ContainerId is not { } id)
            {
                continue;
            }

            switch (one)
            {
                case ContainerStarted started when !lives.ContainsKey(id):
                    lives[id] = new Life(started.Attempt, one.At);
                    break;
                case ContainerFound { IsRunning: true } found when !lives.ContainsKey(id):
                    lives[id] = new Life(found.Attempt, found.CreatedAt);
                    break;
                case ContainerEnded ended when lives.TryGetValue(id, out Life? life):
                    life.To = ended.FinishedAt < life.From ? life.From : ended.FinishedAt;
                    life.Text = ended.Words;
                    break;
                case RestartDecided or SidecarGivenUp when lives.TryGetValue(id, out Life? life):
                    life.IsDeath = true;
                    life.Text = one.Words;
                    break;
            }
        }

        return [.. lives.Values];
    }

    /// <summary>Between lives: it is down, or backs off; and while it is down now.</summary>
    private static void Gaps(TimelineRow row, Life[] lives, Container? known, Happening[] trail, DateTimeOffset now)
    {
        for (int i = 0; i < lives.Length; i++)
        {
            if (lives[i].To is not { } from)
            {
                continue;
            }

            bool isLast = i + 1 == lives.Length;
            bool comesBack = known?.State is "backing off" or "restarting";
            if (isLast && !comesBack)
            {
                continue;
            }

            DateTimeOffset to = isLast ? now : lives[i + 1].From;
            SidecarBackOff? backOff = trail.OfType<SidecarBackOff>().FirstOrDefault(one => one.Attempt == lives[i].Attempt);
            Add(row, backOff is null ? TimelineKind.Down : TimelineKind.BackingOff, from, to, backOff?.Words ?? "between two attempts", isOpen: isLast);
        }
    }

    private static void Marks(TimelineRow row, Happening[] trail, DateTimeOffset now)
    {
        DateTimeOffset? held = null;
        DateTimeOffset? hook = null;
        foreach (Happening one in trail)
        {
            switch (one)
            {
                case StartHeld:
                    held = one.At;
                    break;
                case ContainerStarted when held is { } from:
                    Add(row, TimelineKind.Held, from, one.At, "its start waited for a sidecar's startup probe");
                    held = null;
                    break;
                case HookBegan:
                    hook = one.At;
                    break;
                case HookEnded when hook is { } from:
                    Add(row, TimelineKind.Hook, from, one.At, one.Words);
                    hook = null;
                    break;
                case GateOpened:
                    Mark(row, TimelineKind.Gate, one.At, one.Words);
                    break;
                case CompletionShown:
                    Mark(row, TimelineKind.Completed, one.At, one.Words);
                    break;
                case StopSent sent:
                    Mark(row, sent.Grace > TimeSpan.Zero ? TimelineKind.Stop : TimelineKind.Kill, one.At, one.Words);
                    break;
                case StopHeld or RemovalHeld or RemovalRefused:
                case ReplacementFailed or StopFailed or HookFailed or RestartCancelled or ProbeNotRun or CompletionNotRecorded or StartupFailed:
                    Mark(row, TimelineKind.Note, one.At, one.Words);
                    break;
            }
        }

        if (held is { } since)
        {
            Add(row, TimelineKind.Held, since, now, "its start waits for a sidecar's startup probe", isOpen: true);
        }
    }

    private static void Add(TimelineRow row, TimelineKind kind, DateTimeOffset from, DateTimeOffset to, string text, bool isOpen = false)
    {
        if (row.Bars.Count < MaxBars)
        {
            row.Bars.Add(new TimelineBar
            {
                Kind = kind.Name,
                From = Timestamp.FromDateTimeOffset(from),
                To = Timestamp.FromDateTimeOffset(to > from ? to : from),
                IsOpen = isOpen,
                Text = text,
            });
        }
    }

    private static void Mark(TimelineRow row, TimelineKind kind, DateTimeOffset at, string text)
    {
        if (row.Marks.Count < MaxBars)
        {
            row.Marks.Add(new TimelineMark { Kind = kind.Name, At = Timestamp.FromDateTimeOffset(at), Text = text });
        }
    }

    private sealed class Life(int attempt, DateTimeOffset from)
    {
        public int Attempt => attempt;

        public DateTimeOffset From => from;

        public DateTimeOffset? To { get; set; }

        public bool IsDeath { get; set; }

        public string? Text { get; set; }
    }
}
