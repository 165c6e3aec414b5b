using System.Globalization;
using CsCheck;
using Xunit.Sdk;

namespace CriShim.TestSupport.Proofs;

/// <summary>
/// Generated inputs, the same ones in every run: what fails does so on every machine, and for whoever has changed something. The long
/// form of the proofs looks for new ones, and makes the first that fails as small as it can.
/// </summary>
public static class FixedInputs
{
    /// <summary>Takes one of the fixed inputs again, alone: its number is in the failure's message.</summary>
    private static readonly int? s_only =
        int.TryParse(Environment.GetEnvironmentVariable("CRISHIM_PROOF_INPUT"), CultureInfo.InvariantCulture, out int number) ? number : null;

    /// <summary>Checks <paramref name="count"/> of them, on all cores.</summary>
    public static void CheckFixed<T>(this Gen<T> inputs, Action<T> check, int count = 1000, Func<T, string>? print = null)
    {
        if (Proof.IsLong)
        {
            inputs.Sample(check, iter: 10L * count, print: print);
            return;
        }

        Exception? failed = null;
        _ = Parallel.ForEach(Numbers(count), (number, all) =>
        {
            T input = Input(inputs, number);
            try
            {
                check(input);
            }
            catch (Exception failure)
            {
                _ = Interlocked.CompareExchange(ref failed, Failed(number, input, print, failure), null);
                all.Stop();
            }
        });
        if (failed is not null)
        {
            throw failed;
        }
    }

    /// <inheritdoc cref="CheckFixed"/>
    /// <remarks>One after the other.</remarks>
    public static async Task CheckFixedAsync<T>(this Gen<T> inputs, Func<T, Task> check, int count, Func<T, string>? print = null)
    {
        if (Proof.IsLong)
        {
            await inputs.SampleAsync(check, iter: 10L * count, threads: 1, print: print);
            return;
        }

        foreach (int number in Numbers(count))
        {
            T input = Input(inputs, number);
            try
            {
                await check(input);
            }
            catch (Exception failure)
            {
                throw Failed(number, input, print, failure);
            }
        }
    }

    private static IEnumerable<int> Numbers(int count) => s_only is { } number ? [number] : Enumerable.Range(0, count);

    private static T Input<T>(Gen<T> inputs, int number) => inputs.Generate(new PCG((uint)number, 1), null, out _);

    private static XunitException Failed<T>(int number, T input, Func<T, string>? print, Exception failure) =>
        new($"CRISHIM_PROOF_INPUT={number} takes this again: {print?.Invoke(input) ?? $"{input}"}\n{failure.Message}", failure);
}
