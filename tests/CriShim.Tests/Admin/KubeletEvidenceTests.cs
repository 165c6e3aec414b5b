using CriShim.Admin;
using CriShim.Proxy;

namespace CriShim.Tests.Admin;

public sealed class KubeletEvidenceTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public KubeletEvidenceTests() => Process("self", "crishim");

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("kubelet")]
    [InlineData("k3s-agent")]
    [InlineData("kubelite")]
    public void Find_CallerIsAKubeletByName_SaysWhich(string name)
    {
        Process("77", name);

        Assert.StartsWith(
            $"a kubelet is alive: process 77 ({name}) is connected to crishim. ", Evidence().Find([new CallerInfo(77, 0, false, false)]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, false, "has run pods")]
    [InlineData(false, true, "asks for the runtime's status every few seconds")]
    public void Find_ProcessesAreHidden_KnowsItByWhatItDoes(bool hasRunPods, bool asksForStatus, string habit)
    {
        string? found = Evidence().Find([new CallerInfo(77, 0, false, false), new CallerInfo(78, 0, hasRunPods, asksForStatus)]);

        Assert.StartsWith($"a kubelet is alive: process 78 is connected to crishim and {habit}. ", found, StringComparison.Ordinal);
    }

    [Fact]
    public void Find_OtherCallers_IsNull()
    {
        Process("77", "crictl");

        Assert.Null(Evidence().Find([new CallerInfo(77, 0, false, false), new CallerInfo(0, 0, false, false)]));
    }

    [Fact]
    public void FindProcess_KubeletThatIsNoCaller_SaysWhich()
    {
        Process("76", "systemd");
        Process("77", "kubelet");

        Assert.StartsWith("a kubelet is alive: process 77 (kubelet) runs on this node. ", Evidence().FindProcess(), StringComparison.Ordinal);
    }

    [Fact]
    public void FindProcess_KubeletOfAContainer_IsAnotherNodes()
    {
        Process("77", "kubelet", "pid:[2]");

        Assert.Null(Evidence().FindProcess());
    }

    [Fact]
    public void FindProcess_ThisMachine_ReadsItsProcesses() => _ = new KubeletEvidence().FindProcess();

    private KubeletEvidence Evidence() => new(_directory.File("proc"));

    private void Process(string id, string name, string pidNamespace = "pid:[1]")
    {
        string folder = Path.Combine(_directory.File("proc"), id);
        Directory.CreateDirectory(Path.Combine(folder, "ns"));
        File.WriteAllText(Path.Combine(folder, "comm"), name + "\n");
        File.CreateSymbolicLink(Path.Combine(folder, "ns", "pid"), pidNamespace);
    }
}
