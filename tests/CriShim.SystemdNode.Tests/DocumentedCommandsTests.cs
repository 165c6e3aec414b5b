using System.Diagnostics;
using CriShim.TestSupport.Docs;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>Every command of the documents is run, each where the comment before its block says.</summary>
public sealed class DocumentedCommandsTests
{
    private const string Readme = "README.md";

    public static TheoryData<string> SourceBlocks => [.. Blocks(DocumentBlock.Source).Select(block => $"{block}")];

    /// <summary>From a node with bare containerd to one with crishim, and back again.</summary>
    [Fact]
    public async Task Readme_OnANode_ComesAndLeavesAndNoPodNotices()
    {
        await using DocumentedNode node = await DocumentedNode.BootAsync();
        bool wasServing = false;
        foreach (DocumentBlock block in Blocks(DocumentBlock.Node).Where(block => block.Path == Readme))
        {
            await node.RunAsync(block);
            wasServing |= await node.ServesAsync();
        }

        Assert.True(wasServing, "crishim never served");
        Assert.False(await node.ServesAsync(), "crishim is still there");
        Assert.False(File.Exists(node.Node.At("/usr/bin/crishim")));
        Assert.DoesNotContain("crishim", await File.ReadAllTextAsync(node.Node.At("/var/lib/kubelet/kubeadm-flags.env")), StringComparison.Ordinal);
        // To crishim, and back.
        await Condition.BecomesTrueAsync(
            "the kubelet has come to containerd again", TimeSpan.FromSeconds(60),
            () => node.KubeletLines().Count(line => line == "kubelet-connected") >= 2);
    }

    [Fact]
    public async Task OtherDocuments_OnANodeWithThePackage_DoWhatTheySay()
    {
        await using DocumentedNode node = await DocumentedNode.BootAsync();
        await node.Node.RunAsync("dpkg", "-i", Path.Combine(node.Folder, $"crishim_{DocumentedNode.VersionOfTheTree()}_amd64.deb"));
        foreach (DocumentBlock block in Blocks(DocumentBlock.Node).Where(block => block.Path != Readme))
        {
            await node.RunAsync(block);
            Assert.True(await node.ServesAsync(), $"crishim does not serve any more, after {block}");
        }

        Assert.StartsWith("<svg", await File.ReadAllTextAsync(Path.Combine(node.Folder, "shop.svg")), StringComparison.Ordinal);
        Assert.Equal("2min 40s", await node.Node.PropertyAsync("crishim-drain.service", "TimeoutStopUSec"));
        Assert.Contains("k3s.service", await node.Node.PropertyAsync("crishim-drain.service", "Before"), StringComparison.Ordinal);
        Assert.Equal("no", await node.Node.PropertyAsync("crishim.service", "ProtectControlGroups"));

        foreach (DocumentBlock block in Blocks(DocumentBlock.NodeLast))
        {
            await node.RunAsync(block);
        }

        Assert.False(File.Exists(node.Node.At("/usr/bin/crishim")));
    }

    [Fact]
    public async Task Documents_OnANodeWithoutThePackage_InstallFromTheSourceTreeAndUninstall()
    {
        await using DocumentedNode node = await DocumentedNode.BootAsync();
        DocumentBlock[] blocks = [.. Blocks(DocumentBlock.BareNode)];
        Assert.NotEmpty(blocks);
        foreach (DocumentBlock block in blocks[..^1])
        {
            await node.RunAsync(block);
            Assert.True(await node.ServesAsync(), $"crishim does not serve, after {block}");
        }

        await node.RunAsync(blocks[^1]);

        Assert.False(await node.ServesAsync());
        Assert.Equal("", (await node.Node.RunAsync(
            "sh", "-c", "find /etc /usr /run /var/lib -xdev -name '*crishim*' -not -path '/run/systemd/*'")).Trim());
        Assert.Equal("", (await node.Node.RunAsync("systemctl", "list-units", "--all", "--no-legend", "crishim*")).Trim());
    }

    [Theory]
    [MemberData(nameof(SourceBlocks))]
    public async Task Documents_InTheSourceTree_DoWhatTheySay(string which)
    {
        DocumentBlock block = Blocks(DocumentBlock.Source).Single(block => $"{block}" == which);
        // Built it is already: this executable is tested here, and what demonstrates it was built with the tests. What runs all tests, or
        // measures for an hour, or takes away what others need is only looked at.
        const string prelude = """
            set -euo pipefail
            make() {
                case " $* " in
                *" test "* | *" test-node "* | *" bench "* | *" proof "* | *" clean "*) command make --dry-run "$@" ;;
                *) command make --old-file=build --old-file=deps CONFIGURATION=Debug "$@" ;;
                esac
            }

            """;
        var start = new ProcessStartInfo("/bin/bash", ["-c", prelude + block.Content])
        {
            WorkingDirectory = Repository.Root, RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true,
        };
        // A build within this one's tests is one of its own.
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["CRISHIM_BIN"] = InstalledNode.Executable;
        using Process bash = Process.Start(start)!;
        bash.StandardInput.Close();
        string[] printed = await Task.WhenAll(bash.StandardOutput.ReadToEndAsync(), bash.StandardError.ReadToEndAsync());
        await bash.WaitForExitAsync();

        Assert.True(bash.ExitCode == 0, $"{block}:\n{block.Content}\nended with {bash.ExitCode}:\n{printed[0]}{printed[1]}");
        foreach (string file in new[] { $"out/crishim_{DocumentedNode.VersionOfTheTree()}_amd64.deb", "out/crishim-kind.tar.gz" })
        {
            if (block.Content.Contains(file, StringComparison.Ordinal) && System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.X64)
            {
                Assert.True(File.Exists(Path.Combine(Repository.Root, file)), $"{block}: there is no {file}");
            }
        }
    }

    private static IEnumerable<DocumentBlock> Blocks(string place) =>
        Document.All.SelectMany(document => document.Blocks).Where(block => block.Place == place);
}
