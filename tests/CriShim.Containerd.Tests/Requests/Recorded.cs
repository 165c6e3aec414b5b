using System.Reflection;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.Containerd.Tests.Requests;

/// <summary>CreateContainer requests as kubelets sent them for a sidecar that dies every few seconds.</summary>
internal static class Recorded
{
    /// <summary>Attempt 0 or 1 of the sidecar, by kubelet 1.28 or 1.36.</summary>
    public static CreateContainerRequest Proxy(int attempt, string kubelet)
    {
        string name = $"proxy-{attempt}-kubelet-{kubelet}";
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name) ?? throw new FileNotFoundException(name);
        using var reader = new StreamReader(stream);
        return JsonParser.Default.Parse<CreateContainerRequest>(reader);
    }
}
