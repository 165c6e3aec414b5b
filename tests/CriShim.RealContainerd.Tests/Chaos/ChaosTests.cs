using System.Globalization;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>
/// Faults of all kinds, one after another and together, on pods with native, emulated and adopted sidecars: after each round every sidecar runs exactly once,
/// and at the end nothing is left. <c>CRISHIM_CHAOS_FAULTS=N</c> has it do N on each version.
/// </summary>
[Trait(Proof.Category, Proof.LongName)]
public abstract class ChaosTests(SidecarLab lab)
{
    [Fact]
    public async Task Faults_OfAllKinds_EverySidecarRunsOnceAndNothingIsLeft()
    {
        int pods = Proof.Pick(8, 30);
        int faults = int.TryParse(Environment.GetEnvironmentVariable("CRISHIM_CHAOS_FAULTS"), CultureInfo.InvariantCulture, out int wanted) ? wanted : Proof.Pick(18, 335);
        await using ChaosRun run = await ChaosRun.StartAsync(lab, pods);
        using var chaos = new ChaosFaults(run, new Random(Proof.Seed), TimeSpan.FromSeconds(Proof.Pick(4, 60)));
        int rounds = 0;
        while (chaos.Total < faults)
        {
            rounds++;
            run.Trail($"round {rounds}, after {chaos.Total} faults");
            await chaos.RoundAsync();
            await run.SettlesAsync();
        }

        await run.EndAsync();
        _ = run.Keep();
        Proof.Record(
            "Chaos", $"faults on containerd {lab.Version}",
            $"{chaos.Total} in {rounds} rounds, {pods} pods ({run.Kubelet.Pods.Count} in all), 0 violations; {string.Join(", ", chaos.Counts.OrderBy(one => one.Key).Select(one => $"{one.Value} {one.Key}"))}; containerd's own lost exits: {run.Mended}");
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class ChaosOn16Tests(Sidecars16 lab) : ChaosTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class ChaosOn17Tests(Sidecars17 lab) : ChaosTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class ChaosOn21Tests(Sidecars21 lab) : ChaosTests(lab);
