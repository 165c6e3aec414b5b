namespace CriShim.Linux.Tests;

public sealed class ProgramRunTests
{
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task Run_EndsWell_GivesWhatItPrinted()
    {
        ProgramRun run = await ProgramRun.RunAsync("sh", ["-c", "echo \"$LC_ALL $0\"; echo aside >&2; cat", "a b"], Long, CancellationToken.None);

        Assert.Equal(("C a b\n", null), (run.Output, run.Failure));
    }

    [Fact]
    public async Task Run_Fails_SaysWhichProgramAndWhyInOneLine()
    {
        ProgramRun run = await ProgramRun.RunAsync("sh", ["-c", "echo no >&2; echo way >&2; exit 3"], Long, CancellationToken.None);

        Assert.Equal("sh ended with 3: no way", run.Failure);
    }

    [Fact]
    public async Task Run_NoSuchProgram_SaysSo()
    {
        ProgramRun run = await ProgramRun.RunAsync("/nowhere/systemctl", [], Long, CancellationToken.None);

        Assert.StartsWith("/nowhere/systemctl can't be run: ", run.Failure, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_TakesTooLong_IsKilled()
    {
        ProgramRun run = await ProgramRun.RunAsync("sleep", ["86400"], TimeSpan.FromMilliseconds(50), CancellationToken.None);

        Assert.Equal("sleep took longer than 0.05 s", run.Failure);
    }

    [Fact]
    public async Task Run_Cancelled_IsKilledAndThrows()
    {
        using var cancelled = new CancellationTokenSource(TimeSpan.FromMilliseconds(50));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ProgramRun.RunAsync("sleep", ["86400"], Long, cancelled.Token));
    }
}
