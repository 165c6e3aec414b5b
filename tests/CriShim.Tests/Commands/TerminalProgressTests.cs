using CriShim.Commands.Drain;
using CriShim.Protocol.Admin.V1;
using Google.Protobuf.WellKnownTypes;

namespace CriShim.Tests.Commands;

public sealed class TerminalProgressTests
{
    private static readonly DateTimeOffset Began = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    [Fact]
    public void Show_Again_DrawsInTheSamePlace()
    {
        using var terminal = new StringWriter();
        var progress = new TerminalProgress(terminal, () => (80, 24), isColoured: false);
        progress.Show(Drain(Pod("a"), Pod("bcd")), TimeSpan.FromSeconds(30));
        terminal.GetStringBuilder().Clear();

        progress.Show(Drain(Pod("a", PodEndPhase.Done), Pod("bcd")), TimeSpan.FromSeconds(27.5));

        Assert.Equal(
            "\e[3F1 of 2 pods ended, 27.5s left\e[K\n"
            + "  ✓ ns/a    ended after 2.5s\e[K\n"
            + "  … ns/bcd  main containers: app, worker\e[K\n\e[J",
            terminal.ToString());
    }

    [Fact]
    public void Show_MorePodsThanRows_LeavesOutThoseThatHaveEndedFirst()
    {
        using var terminal = new StringWriter();
        var progress = new TerminalProgress(terminal, () => (80, 6), isColoured: false);

        progress.Show(Drain(Pod("a", PodEndPhase.Done), Pod("b", PodEndPhase.Done), Pod("c"), Pod("d"), Pod("e", PodEndPhase.Failed)), TimeSpan.Zero);

        string[] lines = terminal.ToString().Split('\n');
        Assert.Equal(6, lines.Length);
        Assert.Equal(["c", "d", "e"], lines[1..4].Select(line => line.Split('/')[1][..1]));
        Assert.StartsWith("  and 2 pods more", lines[4], StringComparison.Ordinal);
    }

    [Fact]
    public void Show_LongLine_IsCutToTheTerminal()
    {
        using var terminal = new StringWriter();
        var progress = new TerminalProgress(terminal, () => (20, 24), isColoured: false);

        progress.Show(Drain(Pod("a")), TimeSpan.Zero);

        Assert.Equal("  … ns/a  main con…\e[K", terminal.ToString().Split('\n')[1]);
    }

    [Fact]
    public void Show_EscapesInWhatPodsSay_DoNotReachTheTerminal()
    {
        using var terminal = new StringWriter();
        var progress = new TerminalProgress(terminal, () => (80, 24), isColoured: false);
        DrainedPod pod = Pod("a\e[2J");
        pod.Running[0] = "\u009b31m";

        progress.Show(Drain(pod), TimeSpan.Zero);

        Assert.Contains("ns/a?[2J  main containers: ?31m, worker", terminal.ToString(), StringComparison.Ordinal);
    }

    private static DrainState Drain(params DrainedPod[] pods) => new()
    {
        BeganAt = Timestamp.FromDateTimeOffset(Began), IsNodeKnown = true, Pods = { pods },
    };

    private static DrainedPod Pod(string name, PodEndPhase phase = PodEndPhase.Ending) => new()
    {
        SandboxId = name,
        Namespace = "ns",
        Name = name,
        Phase = phase,
        Stage = "main containers",
        Running = { phase == PodEndPhase.Done ? [] : new[] { "app", "worker" } },
        EndedAt = phase == PodEndPhase.Done ? Timestamp.FromDateTimeOffset(Began + TimeSpan.FromSeconds(2.5)) : null,
    };
}
