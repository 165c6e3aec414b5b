using CsCheck;

namespace CriShim.Supervision.Tests.Supervisor;

public sealed class PodSupervisorSequenceTests
{
    private const int MaxSteps = 70;

    private static readonly Gen<(int Kind, int Argument)[]> Sequences =
        Gen.Select(Gen.Int[0, 36], Gen.Int[0, 99]).Array[1, MaxSteps];

    private static readonly Gen<(int Kind, int Argument)[]> EmulatedSequences =
        Gen.Select(Gen.Int[0, 37], Gen.Int[0, 99]).Array[1, MaxSteps];

    [Fact]
    public void AnySequence_OfEventsCallsAndCrashes_KeepsTheRules()
    {
        Gen.Select(Gen.Int[0, 1000], Sequences).Sample(
            (seed, steps) => RunSequence(seed, steps),
            iter: Iterations(5_000),
            print: c => $"seed {c.Item1}: {string.Join(' ', c.Item2.Select(s => $"{s.Kind}/{s.Argument}"))}");
    }

    [Fact]
    public void AnySequence_WithAnEmulatedSidecar_KeepsTheRules()
    {
        Gen.Select(Gen.Int[0, 1000], EmulatedSequences).Sample(
            (seed, steps) => RunSequence(seed, steps, isEmulated: true),
            iter: Iterations(5_000),
            print: c => $"seed {c.Item1}: {string.Join(' ', c.Item2.Select(s => $"{s.Kind}/{s.Argument}"))}");
    }

    [Fact]
    public void EmulatedSequences_AsGenerated_ReachWhatIsHidden()
    {
        int completions = 0;
        int restarts = 0;
        int held = 0;
        Gen.Select(Gen.Int[0, 1000], EmulatedSequences).Sample(
            (seed, steps) =>
            {
                World world = RunSequence(seed, steps, isEmulated: true);
                _ = Interlocked.Add(ref completions, world.Completions);
                _ = Interlocked.Add(ref restarts, world.HiddenRestarts);
                _ = Interlocked.Add(ref held, world.HeldRemovals);
            },
            iter: 500);

        Assert.True(completions > 150, $"{completions} completions");
        Assert.True(restarts > 100, $"{restarts} hidden restarts");
        Assert.True(held > 50, $"{held} held removals");
    }

    [Fact]
    public void Sequences_AsGenerated_ReachRestarts()
    {
        int deaths = 0;
        int restarts = 0;
        int held = 0;
        int ends = 0;
        Gen.Select(Gen.Int[0, 1000], Sequences).Sample(
            (seed, steps) =>
            {
                World world = RunSequence(seed, steps);
                _ = Interlocked.Add(ref deaths, world.Deaths);
                _ = Interlocked.Add(ref restarts, world.Restarts);
                _ = Interlocked.Add(ref held, world.HeldStops);
                _ = Interlocked.Add(ref ends, world.OrderedEnds);
            },
            iter: 500);

        // A model that never gets anywhere keeps every rule.
        Assert.True(deaths > 500, $"{deaths} deaths");
        Assert.True(restarts > 300, $"{restarts} restarts");
        Assert.True(held > 50, $"{held} held stops");
        Assert.True(ends > 20, $"{ends} ends in order");
    }

    private static World RunSequence(int seed, (int Kind, int Argument)[] steps, bool isEmulated = false)
    {
        var world = new World(seed, isEmulated);
        foreach ((int kind, int argument) in steps)
        {
            world.Step(kind, argument);
        }

        world.SettleAndCheck();
        return world;
    }

    private static long Iterations(long standard) =>
        long.TryParse(Environment.GetEnvironmentVariable("CRISHIM_SEQUENCES"), out long wanted) ? wanted : standard;
}
