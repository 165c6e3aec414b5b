using System.Text.Json;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Docs;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>
/// A node on which the documents' commands are run, as somebody would who reads them: its kubelet goes to containerd, a pod "shop" runs on
/// it, and the package and the source tree lie where the commands look for them.
/// </summary>
/// <remarks>
/// Stand-ins, beside the kubelet's: crictl, which looks its socket up as the real one does and has the test make its calls there; and curl.
/// </remarks>
internal sealed class DocumentedNode : IAsyncDisposable
{
    private const string Containerd = "/run/containerd/containerd.sock";

    private readonly TestSupport.Lab.SystemdNode _node;
    private string _running = "";

    private DocumentedNode(TestSupport.Lab.SystemdNode node)
    {
        _node = node;
    }

    public TestSupport.Lab.SystemdNode Node => _node;

    /// <summary>Where commands are run.</summary>
    public string Folder => Path.Combine(_node.Shared, "here");

    private string Lines => Path.Combine(_node.Shared, "lines");

    private string CrictlCalls => Path.Combine(_node.Shared, "crictl");

    public static async Task<DocumentedNode> BootAsync()
    {
        var documented = new DocumentedNode(await TestSupport.Lab.SystemdNode.CreateAsync());
        try
        {
            await documented.PrepareAsync();
            return documented;
        }
        catch
        {
            await documented.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a block, and sees that no pod noticed, nothing failed, and the kubelet was never refused.</summary>
    public async Task RunAsync(DocumentBlock block)
    {
        const string prelude = """
            set -euo pipefail
            # What never ends of itself is interrupted; and that a node in a container has its warnings is no failure of a document.
            crishim() {
                local code=0
                case " $* " in
                *" --watch "* | *" --follow "*) timeout --signal=INT 3 crishim "$@" || code=$?; [ "$code" != 124 ] || code=0 ;;
                *) command crishim "$@" || code=$? ;;
                esac
                if [ "$code" = 1 ] && [ "$1" = doctor ] && [[ $* != *--before-removal* ]]; then code=0; fi
                return "$code"
            }
            cd "$0"

            """;
        try
        {
            await _node.RunAsync("bash", "-c", prelude + block.Content, Folder);
            await MakeCrictlCallsAsync();
        }
        catch (LabException failure)
        {
            throw new LabException($"{block}:\n{block.Content}\n{failure.Message}\n{await _node.TryRunAsync("systemctl", "--no-pager", "status", "crishim*")}", failure);
        }

        string after = await RunningAsync();
        // A drain is there to end pods: from then on there are none.
        _running = block.Content.Contains("crishim drain --grace", StringComparison.Ordinal) ? "" : _running;
        Assert.True(_running == after, $"{block}: \"{_running}\" ran before, and \"{after}\" after it");
        Assert.Equal("", await _node.RunAsync("systemctl", "--failed", "--no-legend"));
        Assert.DoesNotContain("kubelet-refused", KubeletLines());
    }

    /// <summary>How the kubelet's starts went, since the boot.</summary>
    public string[] KubeletLines() => File.Exists(Lines) ? [.. File.ReadAllLines(Lines).Select(line => line.Split(' ')[0])] : [];

    /// <summary>Whether crishim is the one that answers at its socket.</summary>
    public async Task<bool> ServesAsync()
    {
        if (!File.Exists(_node.At("/run/crishim/crishim.sock")))
        {
            return false;
        }

        using var caller = new CriCaller(_node.At("/run/crishim/crishim.sock"));
        return (await caller.Runtime.VersionAsync(new VersionRequest())).RuntimeName == "containerd";
    }

    public async ValueTask DisposeAsync() => await _node.DisposeAsync();

    private async Task PrepareAsync()
    {
        Directory.CreateDirectory(Folder);
        string flags = "/var/lib/kubelet/kubeadm-flags.env";
        await File.WriteAllTextAsync(_node.Root + flags, $"KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix://{Containerd}\"\n");
        await WriteProgramAsync("crictl", $$"""
            #!/bin/sh
            # Stands in for crictl.
            if [ "$1" = --runtime-endpoint ]; then endpoint=$2; shift 2; else endpoint=$(sed -n 's/^runtime-endpoint: *//p' /etc/crictl.yaml); fi
            [ -S "${endpoint#unix://}" ] || { echo "crictl: there is no socket '$endpoint'" >&2; exit 1; }
            echo "${endpoint#unix://} $*" >> {{CrictlCalls}}
            """);
        await WriteProgramAsync("curl", """
            #!/usr/bin/perl
            # Stands in for curl: one GET, and a failure for what is not 200.
            use strict;
            use IO::Socket::INET;
            my ($host, $path) = $ARGV[-1] =~ m{^http://([^/]+)(/.*)$} or die "curl: $ARGV[-1]?\n";
            my $socket = IO::Socket::INET->new(PeerAddr => $host) or die "curl: $host: $!\n";
            print $socket "GET $path HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n";
            my @answer = <$socket>;
            print @answer;
            exit($answer[0] =~ m{^HTTP/1\.1 200 } ? 0 : 22);
            """);

        // The package by the name that the documents have, whatever this machine's architecture is.
        string name = $"crishim_{VersionOfTheTree()}_amd64.deb";
        string deb = await InstalledNode.BuildDebAsync(Folder, VersionOfTheTree());
        if (Path.GetFileName(deb) != name)
        {
            File.Move(deb, Path.Combine(Folder, name));
        }

        // What make install takes of the source tree, and make itself, which a node does not have.
        foreach (string file in new[] { "Makefile", "Directory.Build.props", "systemd" })
        {
            await Tool.RunAsync("cp", "-a", Path.Combine(Repository.Root, file), Folder);
        }

        Directory.CreateDirectory(Path.Combine(Folder, "out"));
        File.Copy(InstalledNode.Executable, Path.Combine(Folder, "out", "crishim"));
        await Tool.RunAsync("sh", "-c", "cp \"$(command -v make)\" \"$0\"", _node.Root + "/usr/local/bin/make");

        await _node.BootAsync();
        await _node.LoadImagesAsync();
        using var bare = new CriCaller(_node.At(Containerd));
        var recipe = new PodRecipe("shop", Path.Combine(_node.Shared, "logs"), _node.CgroupParent) { HostNetwork = true };
        recipe.Annotations["crishim.io/sidecars"] = JsonSerializer.Serialize(new[] { new { name = "proxy", kind = "native" } });
        RunningPod pod = await RunningPod.StartAsync(bare, recipe);
        foreach (string container in new[] { "proxy", "app" })
        {
            await pod.RunAsync(recipe.Container(container, "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"));
        }

        _running = await RunningAsync();
        Assert.StartsWith("app ", _running, StringComparison.Ordinal);
        await Condition.BecomesTrueAsync("the kubelet has come to containerd", TimeSpan.FromSeconds(60), () => KubeletLines().Contains("kubelet-connected"));
        // At the boot it may have been there first.
        File.Delete(Lines);
    }

    public static string VersionOfTheTree() =>
        System.Text.RegularExpressions.Regex.Match(
            File.ReadAllText(Path.Combine(Repository.Root, "Directory.Build.props")), "<Version>(.*)</Version>").Groups[1].Value;

    private async Task WriteProgramAsync(string name, string text)
    {
        string path = $"{_node.Root}/usr/local/bin/{name}";
        await File.WriteAllTextAsync(path, text);
        await Tool.RunAsync("chmod", "0755", path);
    }

    /// <summary>What crictl would have called, by the socket that it was told.</summary>
    private async Task MakeCrictlCallsAsync()
    {
        string[] calls = File.Exists(CrictlCalls) ? await File.ReadAllLinesAsync(CrictlCalls) : [];
        File.Delete(CrictlCalls);
        foreach (string call in calls)
        {
            string[] words = call.Split(' ');
            using var caller = new CriCaller(_node.At(words[0]));
            switch (words[1])
            {
                case "version":
                    Assert.Equal("containerd", (await caller.Runtime.VersionAsync(new VersionRequest())).RuntimeName);
                    break;
                case "ps":
                    Assert.NotEmpty((await caller.Runtime.ListContainersAsync(new ListContainersRequest())).Containers);
                    break;
                default:
                    throw new LabException($"crictl {words[1]}: this stand-in does not know it");
            }
        }
    }

    /// <summary>Names and processes of the containers that run, by containerd's own word.</summary>
    private async Task<string> RunningAsync()
    {
        using var bare = new CriCaller(_node.At(Containerd));
        ListContainersResponse list = await bare.Runtime.ListContainersAsync(new ListContainersRequest
        {
            Filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
        });
        var running = new List<string>();
        foreach (Container container in list.Containers)
        {
            ContainerStatusResponse status = await bare.Runtime.ContainerStatusAsync(
                new ContainerStatusRequest { ContainerId = container.Id, Verbose = true });
            using var info = JsonDocument.Parse(status.Info["info"]);
            running.Add($"{container.Metadata.Name} {info.RootElement.GetProperty("pid").GetInt32()}");
        }

        return string.Join(", ", running.Order(StringComparer.Ordinal));
    }
}
