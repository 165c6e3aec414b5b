using System.Text;
using CriShim.Configuration;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;

namespace CriShim.Tests.Configuration;

/// <summary>Whatever is in the file: a configuration, or errors that are fit to be printed. Never an exception.</summary>
[Trait(Proof.Category, Proof.Name)]
public sealed class ConfigurationFuzzTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Load_BrokenFiles_GiveErrorsAndNoException()
    {
        int inputs = Proof.Pick(2_000, 300_000);
        string[] seeds = Seeds();
        string file = _directory.File("c.yaml");
        int good = 0;
        for (int i = 0; i < inputs; i++)
        {
            int seed = unchecked(Proof.Seed + i);
            byte[] text = TextMutation.Apply(new Random(seed), seeds);
            File.WriteAllBytes(file, text);
            string told = $"CRISHIM_PROOF_SEED={seed}:\n{Encoding.UTF8.GetString(text)}";
            LoadedConfiguration loaded;
            try
            {
                loaded = ConfigurationLoader.Load(new ServeFlags { Config = file }, file);
            }
            catch (Exception exception)
            {
                throw new Xunit.Sdk.XunitException($"{exception}\n{told}");
            }

            Assert.True((loaded.Configuration is null) == (loaded.Errors.Count > 0), told);
            Assert.All(loaded.Errors, error => Assert.False(error.ToString().Any(c => char.IsControl(c)), $"{error}\n{told}"));
            Assert.True(loaded.Errors.Sum(error => error.ToString().Length) < 1_000_000, told);
            good += loaded.Configuration is null ? 0 : 1;
        }

        // It would prove nothing if all of it were refused at the first octet.
        Assert.True(good > 0);
        Proof.Record("Configuration fuzzing", "broken files", $"{inputs:n0} ({good:n0} of them still good)");
    }

    /// <summary>What is installed, with every option, and short ones.</summary>
    private static string[] Seeds()
    {
        IEnumerable<string> example = File.ReadLines(Path.Combine(Repository.Root, "systemd", "config.yaml"))
            .Where(line => !line.StartsWith("##", StringComparison.Ordinal)).Select(line => line.TrimStart('#'));
        return
        [
            string.Join('\n', example),
            "listen: {address: /run/a.sock, mode: \"0600\"}\nsupervision: {restart: {errorExit: {maxDelay: 10s}, nodeLimit: {perSecond: 1, burst: 2}}}\n",
            "log:\n  level: debug\n  format: json\nshutdown:\n  runningCallsGrace: 1m30s\n",
            "",
        ];
    }
}
