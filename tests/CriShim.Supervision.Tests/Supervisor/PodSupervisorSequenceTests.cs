using System.Globalization;
using CriShim.TestSupport.Proofs;
using CsCheck;

namespace CriShim.Supervision.Tests.Supervisor;

public sealed class PodSupervisorSequenceTests
{
    private const int MaxSteps = 70;

    private static readonly Gen<(int Seed, (int Kind, int Argument)[] Steps)> Sequences =
        Gen.Select(Gen.Int[0, 1000], Gen.Select(Gen.Int[0, 36], Gen.Int[0, 99]).Array[1, MaxSteps]);

    private static readonly Gen<(int Seed, (int Kind, int Argument)[] Steps)> EmulatedSequences =
        Gen.Select(Gen.Int[0, 1000], Gen.Select(Gen.Int[0, 37], Gen.Int[0, 99]).Array[1, MaxSteps]);

    /// <summary>How many; <c>CRISHIM_SEQUENCES=N</c> takes others than the usual ones.</summary>
    private static int Count { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("CRISHIM_SEQUENCES"), CultureInfo.InvariantCulture, out int wanted) ? wanted : 5_000;

    [Fact]
    public void AnySequence_OfEventsCallsAndCrashes_KeepsTheRules() =>
        Sequences.CheckFixed(sequence => Run(sequence), Count, Shown);

    [Fact]
    public void AnySequence_WithAnEmulatedSidecar_KeepsTheRules() =>
        EmulatedSequences.CheckFixed(sequence => Run(sequence, isEmulated: true), Count, Shown);

    [Fact]
    public void EmulatedSequences_AsGenerated_ReachWhatIsHidden()
    {
        int completions = 0;
        int restarts = 0;
        int held = 0;
        EmulatedSequences.CheckFixed(
            sequence =>
            {
                World world = Run(sequence, isEmulated: true);
                _ = Interlocked.Add(ref completions, world.Completions);
                _ = Interlocked.Add(ref restarts, world.HiddenRestarts);
                _ = Interlocked.Add(ref held, world.HeldRemovals);
            },
            500);

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
        Sequences.CheckFixed(
            sequence =>
            {
                World world = Run(sequence);
                _ = Interlocked.Add(ref deaths, world.Deaths);
                _ = Interlocked.Add(ref restarts, world.Restarts);
                _ = Interlocked.Add(ref held, world.HeldStops);
                _ = Interlocked.Add(ref ends, world.OrderedEnds);
            },
            500);

        // A model that never gets anywhere keeps every rule.
        Assert.True(deaths > 500, $"{deaths} deaths");
        Assert.True(restarts > 300, $"{restarts} restarts");
        Assert.True(held > 50, $"{held} held stops");
        Assert.True(ends > 20, $"{ends} ends in order");
    }

    private static World Run((int Seed, (int Kind, int Argument)[] Steps) sequence, bool isEmulated = false)
    {
        var world = new World(sequence.Seed, isEmulated);
        foreach ((int kind, int argument) in sequence.Steps)
        {
            world.Step(kind, argument);
        }

        world.SettleAndCheck();
        return world;
    }

    private static string Shown((int Seed, (int Kind, int Argument)[] Steps) sequence) =>
        $"seed {sequence.Seed}: {string.Join(' ', sequence.Steps.Select(step => $"{step.Kind}/{step.Argument}"))}";
}
