using System.Diagnostics;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;

namespace CriShim.Tests.Proofs;

/// <summary>Pods come, crash, and go: what is left of them is nothing.</summary>
[Trait(Proof.Category, Proof.Name)]
public sealed class SoakTests
{
    private const string Subject = "Soak";
    private const int Workers = 4;

    /// <summary>Threads of the pool come and go by themselves.</summary>
    private const int SpareThreads = 8;

    private static readonly TimeSpan Length = Proof.Pick(TimeSpan.FromSeconds(12), TimeSpan.FromHours(1));

    private int _pods;

    [Fact]
    public async Task Churn_OfPodsThatComeCrashAndGo_LeavesNothingBehind()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync("supervision: {restart: {nodeLimit: {perSecond: 1000, burst: 1000}}}");
        int process = bed.Crishim.ProcessId;
        await ChurnAsync(bed, Proof.Pick(TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(30)));
        await NothingIsLeftAsync(bed, int.MaxValue);
        int descriptors = ProcessFigures.Descriptors(process);
        int threads = ProcessFigures.Threads(process);
        double begin = ProcessFigures.ResidentMegabytes(process);

        using var end = new CancellationTokenSource();
        Task<List<double>> sampling = SampleAsync(process, end.Token);
        int before = _pods;
        await ChurnAsync(bed, Length);
        await end.CancelAsync();
        List<double> samples = await sampling;

        await NothingIsLeftAsync(bed, descriptors);
        await bed.BecomesTrueAsync("threads are as few as they were", () => ProcessFigures.Threads(process) <= threads + SpareThreads);
        if (Proof.IsLong)
        {
            double first = samples.Take(samples.Count / 6).Average();
            double last = samples.Skip(samples.Count * 5 / 6).Average();
            Assert.True(last <= first * 1.05, $"{first:0.0} MB in the first ten minutes, {last:0.0} MB in the last");
            Proof.Record(Subject, $"memory in the first and the last ten minutes of {Length.TotalMinutes:0}", $"{first:0.0} MB, {last:0.0} MB");
            Proof.Record(Subject, "pods that came, crashed and went", $"{_pods - before:n0}");
            Proof.Record(
                Subject, "left when all were gone: descriptors, threads (before), state files",
                $"{ProcessFigures.Descriptors(process)} ({descriptors}), {ProcessFigures.Threads(process)} ({threads}), {Files(bed).Length}");
        }
        else
        {
            // So many pods more may not cost so much more that an hour of them would be felt.
            Assert.True(samples[^1] < begin + 64, $"{begin:0.0} MB, and {samples[^1]:0.0} MB after {_pods - before} pods");
        }
    }

    private static string[] Files(DaemonBed bed) => Directory.GetFileSystemEntries(bed.StateDirectory, "*", SearchOption.AllDirectories);

    private static async Task NothingIsLeftAsync(DaemonBed bed, int descriptors)
    {
        await bed.BecomesTrueAsync("pods are gone", () => bed.Node.Containers == 0);
        await bed.BecomesTrueAsync("state files are gone", () => Files(bed).Length == 0);
        try
        {
            await Condition.BecomesTrueAsync(
                $"descriptors are the {descriptors} of before", DaemonBed.Patience, () => ProcessFigures.Descriptors(bed.Crishim.ProcessId) <= descriptors);
        }
        catch (TimeoutException failure)
        {
            throw new Xunit.Sdk.XunitException($"{failure.Message}\n{string.Join('\n', ProcessFigures.Open(bed.Crishim.ProcessId))}");
        }
    }

    private static async Task<List<double>> SampleAsync(int process, CancellationToken end)
    {
        var samples = new List<double>();
        try
        {
            while (true)
            {
                samples.Add(ProcessFigures.ResidentMegabytes(process));
                await Task.Delay(TimeSpan.FromSeconds(1), end);
            }
        }
        catch (OperationCanceledException)
        {
            samples.Add(ProcessFigures.ResidentMegabytes(process));
            return samples;
        }
    }

    private Task ChurnAsync(DaemonBed bed, TimeSpan length) => Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(async () =>
    {
        var clock = Stopwatch.StartNew();
        do
        {
            int number = Interlocked.Increment(ref _pods);
            string sandbox = await bed.RunPodAsync(number);
            for (int deaths = number % 3; deaths > 0; deaths--)
            {
                await bed.RestartsADeadOneAsync(sandbox);
            }

            // Some go while one of them is dead, or on its way back.
            if (number % 4 == 0)
            {
                bed.Node.Kill([bed.Node.RunningIn(sandbox)[^1]]);
            }

            await bed.EndPodAsync(sandbox);
        }
        while (clock.Elapsed < length);
    })));
}
