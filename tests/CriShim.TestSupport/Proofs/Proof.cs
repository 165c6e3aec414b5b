using System.Globalization;
using CriShim.TestSupport.Lab;

namespace CriShim.TestSupport.Proofs;

/// <summary>
/// Tests of what a node component must stand. Each has a short form, which every run of the tests takes, and a long one, which
/// <c>make proof</c> takes and whose figures stand in tests/README.md.
/// </summary>
public static class Proof
{
    /// <summary>The trait of these tests: <c>[Trait(Proof.Category, Proof.Name)]</c>.</summary>
    public const string Category = "Category";

    /// <summary>See <see cref="Category"/>.</summary>
    public const string Name = "Proof";

    /// <summary>Instead of <see cref="Name"/>: <c>make test</c> leaves it out.</summary>
    public const string LongName = "LongProof";

    private static readonly Lock Gate = new();

    /// <summary><c>CRISHIM_PROOF=long</c>.</summary>
    public static bool IsLong { get; } = Environment.GetEnvironmentVariable("CRISHIM_PROOF") == "long";

    /// <summary>How much of something this run does.</summary>
    public static T Pick<T>(T shortForm, T longForm) => IsLong ? longForm : shortForm;

    /// <summary>
    /// The same seed each time in the short form, so that what fails does so on every machine; a new one in the long form, told in the
    /// failure's message. <c>CRISHIM_PROOF_SEED</c> takes one again.
    /// </summary>
    public static int Seed { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("CRISHIM_PROOF_SEED"), CultureInfo.InvariantCulture, out int seed) ? seed
        : IsLong ? Random.Shared.Next() : 20_261_124;

    /// <summary>A line of the table in tests/README.md; only the long form's figures are kept.</summary>
    /// <param name="subject">What is proven: "Wire fuzzing".</param>
    /// <param name="measure">What was counted or measured: "inputs from callers".</param>
    /// <param name="figure">With its unit.</param>
    public static void Record(string subject, string measure, FormattableString figure)
    {
        if (!IsLong)
        {
            return;
        }

        string folder = Path.Combine(Repository.Root, "out", "proof");
        lock (Gate)
        {
            Directory.CreateDirectory(folder);
            File.AppendAllText(Path.Combine(folder, "figures.tsv"), $"{subject}\t{measure}\t{FormattableString.Invariant(figure)}\n");
        }
    }
}
