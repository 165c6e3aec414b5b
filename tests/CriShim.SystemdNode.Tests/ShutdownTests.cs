using System.Text.Json;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>How pods end when the node is shut down, by what their processes wrote down themselves.</summary>
public sealed class ShutdownTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task PowerOff_TwoPodsWithSidecars_EndsThemInOrderAfterTheKubelet()
    {
        await using InstalledNode installed = await InstalledNode.BootAsync();
        string lines = Path.Combine(installed.Node.Shared, "lines");
        foreach (string pod in new[] { "one", "two" })
        {
            await StartAsync(installed, pod);
        }

        await Condition.BecomesTrueAsync("all have started", Patience, () => Lines(lines).Count(line => line.EndsWith(":up", StringComparison.Ordinal)) == 6);

        await installed.Node.PowerOffAsync();

        string[] order = [.. Lines(lines).SkipWhile(line => line != "kubelet-stopped")];
        Assert.Equal("kubelet-stopped", order.FirstOrDefault());
        foreach (string pod in new[] { "one", "two" })
        {
            Assert.Equal(
                ["app:TERM", "app:end", "proxy:TERM", "proxy:end", "log:TERM", "log:end"],
                order.Where(line => line.StartsWith($"{pod}/", StringComparison.Ordinal)).Select(line => line[(pod.Length + 1)..]));
        }

        // Pods end beside each other: the second does not wait for the first.
        Assert.True(
            Array.IndexOf(order, "two/app:TERM") < Array.IndexOf(order, "one/log:end")
            && Array.IndexOf(order, "one/app:TERM") < Array.IndexOf(order, "two/log:end"),
            string.Join('\n', order));
    }

    private static async Task StartAsync(InstalledNode installed, string pod)
    {
        PodRecipe recipe = installed.Recipe(pod);
        recipe.Annotations["crishim.io/sidecars"] = JsonSerializer.Serialize(
            new[] { "log", "proxy" }.Select(sidecar => new { name = sidecar, kind = "native" }));
        RunningPod running = await RunningPod.StartAsync(installed.Caller, recipe);
        foreach (string container in new[] { "log", "proxy", "app" })
        {
            Protocol.Runtime.V1.ContainerConfig config = recipe.Container(container, $$"""
                say() { read up idle < /proc/uptime; echo "{{pod}}/{{container}}:$1 $up" >> /record/lines; }
                trap 'say TERM; sleep 0.3; say end; exit 0' TERM
                say up
                while :; do sleep 60 & wait $!; done
                """);
            config.Mounts.Add(new Protocol.Runtime.V1.Mount { ContainerPath = "/record", HostPath = installed.Node.Shared });
            await running.RunAsync(config);
        }
    }

    /// <summary>In the order in which they were written, without their times.</summary>
    private static string[] Lines(string file) => File.Exists(file) ? [.. File.ReadAllLines(file).Select(line => line.Split(' ')[0])] : [];
}
