using System.Text.RegularExpressions;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>What is made for nodes, looked at without one.</summary>
public sealed class PackageTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("crishim-package-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Deb_Lintian_HasNothingToSay()
    {
        await Tool.RunAsync(Path.Combine(Repository.Root, "tests", "lab", "packages.sh"), "deb");
        string deb = await InstalledNode.BuildDebAsync(_folder, "0.1.0", "xz");

        (int code, string output, string errors) = await Tool.TryAsync("lintian", "--allow-root", "--fail-on", "error,warning", deb);

        Assert.Equal((0, "", ""), (code, output, errors));
    }

    [Fact]
    public async Task Install_BelowAFolder_PutsWhatANodeNeedsAndUninstallTakesItAway()
    {
        await RunAsync("install", "/opt/crishim");

        string prefix = Path.Combine(_folder, "opt/crishim");
        Assert.Superset(
            new HashSet<string>
            {
                "opt/crishim/bin/crishim", "opt/crishim/lib/systemd/system/crishim.socket", "opt/crishim/lib/systemd/system/crishim.service",
                "opt/crishim/lib/systemd/system/crishim-drain.service", "opt/crishim/lib/tmpfiles.d/crishim.conf",
                "opt/crishim/share/man/man8/crishim.8", "etc/crishim/config.yaml",
            },
            Files());
        foreach (string unit in new[] { "crishim.service", "crishim-drain.service" })
        {
            string text = await File.ReadAllTextAsync(Path.Combine(prefix, "lib/systemd/system", unit));
            Assert.Contains("=/opt/crishim/bin/crishim ", text, StringComparison.Ordinal);
            Assert.DoesNotContain("/usr/local", text, StringComparison.Ordinal);
        }

        await RunAsync("uninstall", "/opt/crishim");

        Assert.Empty(Files());
    }

    [Fact]
    public async Task Install_OverAChangedConfiguration_KeepsIt()
    {
        string config = Path.Combine(_folder, "etc/crishim/config.yaml");
        Directory.CreateDirectory(Path.GetDirectoryName(config)!);
        await File.WriteAllTextAsync(config, "log: {level: debug}\n");

        await RunAsync("install", "/usr/local");
        await RunAsync("uninstall", "/usr/local");

        Assert.Equal("log: {level: debug}\n", await File.ReadAllTextAsync(config));
    }

    [Fact]
    public async Task KindBundle_Dockerfile_FindsAllThatItCopiesAndRunsTheTestedStep()
    {
        string bundle = await InstalledNode.UnpackBundleAsync(_folder);

        string dockerfile = await File.ReadAllTextAsync(Path.Combine(bundle, "Dockerfile"));
        string[] copied = Regex.Match(dockerfile, "^COPY (.*) /tmp/$", RegexOptions.Multiline).Groups[1].Value.Split(' ');
        Assert.All(copied, file => Assert.True(File.Exists(Path.Combine(bundle, file)), file));
        Assert.Contains("RUN /tmp/install-node.sh /tmp/crishim.deb ", dockerfile, StringComparison.Ordinal);
        string cluster = await File.ReadAllTextAsync(Path.Combine(bundle, "cluster.yaml"));
        Assert.Equal(2, Regex.Count(cluster, "criSocket: unix:///run/crishim/crishim.sock$", RegexOptions.Multiline));
    }

    private HashSet<string> Files() =>
        [.. Directory.EnumerateFiles(_folder, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(_folder, file))];

    private Task<string> RunAsync(string action, string prefix) => Tool.RunAsync(
        "env", $"DESTDIR={_folder}", $"PREFIX={prefix}", InstalledNode.Packaging("install.sh"), action, InstalledNode.Executable);
}
