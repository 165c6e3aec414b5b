using System.Text;

namespace CriShim.RealContainerd.Tests;

/// <summary>One container of a static pod, as far as crishim reads its spec.</summary>
/// <param name="Name">Its name.</param>
/// <param name="IsInit">An init container.</param>
/// <param name="More">Further fields, each a line of YAML.</param>
internal sealed record ManifestContainer(string Name, bool IsInit, params string[] More);

/// <summary>Manifests of static pods, from which crishim knows their specs.</summary>
internal static class StaticManifest
{
    public static string Of(string name, string restartPolicy, int grace, IEnumerable<ManifestContainer> containers)
    {
        var yaml = new StringBuilder($"""
            apiVersion: v1
            kind: Pod
            metadata:
              name: {name}
              namespace: default
            spec:
              restartPolicy: {restartPolicy}
              terminationGracePeriodSeconds: {grace}

            """);
        foreach (IGrouping<bool, ManifestContainer> group in containers.ToLookup(container => container.IsInit).OrderByDescending(group => group.Key))
        {
            _ = yaml.Append(group.Key ? "  initContainers:\n" : "  containers:\n");
            foreach (ManifestContainer container in group)
            {
                _ = yaml.Append($"  - name: {container.Name}\n    image: busybox\n").AppendJoin("", container.More.Select(line => $"    {line}\n"));
            }
        }

        return yaml.ToString();
    }
}
