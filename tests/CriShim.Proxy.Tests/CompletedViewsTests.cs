using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;

namespace CriShim.Proxy.Tests;

/// <summary>Statuses and lists of a container whose end is shown as completion, whatever its true exit code.</summary>
public sealed class CompletedViewsTests
{
    [Theory]
    [InlineData(143, "Error")]
    [InlineData(137, "OOMKilled")]
    [InlineData(0, "OOMKilled")]
    public void Status_Ended_IsCompletedAtItsOwnTimeAndTellsTheTrueCode(int code, string reason)
    {
        ContainerStatus status = Status(ContainerState.ContainerExited, code, reason);

        ContainerStatus shown = Apply(status);

        Assert.Equal((ContainerState.ContainerExited, 0, "Completed", 3), (shown.State, shown.ExitCode, shown.Reason, shown.FinishedAt));
        Assert.StartsWith($"ended with exit code {code} ", shown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ContainerState.ContainerExited, "Completed")]
    [InlineData(ContainerState.ContainerRunning, "")]
    public void Status_CompletedAnyhowOrBehindTheEnd_GoesOnAsItCame(ContainerState state, string reason)
    {
        ContainerStatus status = Status(state, 0, reason);

        Assert.Same(status, Apply(status));
    }

    [Fact]
    public void List_BehindTheEnd_GoesOnAsItCame()
    {
        var list = new ListContainersResponse { Containers = { new Container { Id = "c0", State = ContainerState.ContainerRunning } } };

        Assert.Same(list, new ListViews(null, Completed()).Apply(list));
    }

    private static ContainerStatus Apply(ContainerStatus status) =>
        ContainerViews.Apply(new ContainerStatusResponse { Status = status }, Completed())!.Status;

    private static ShownContainers Completed()
    {
        var supervision = new ShownContainers();
        supervision.Complete("c0");
        return supervision;
    }

    private static ContainerStatus Status(ContainerState state, int code, string reason) => new()
    {
        Id = "c0",
        State = state,
        StartedAt = 2,
        FinishedAt = state == ContainerState.ContainerExited ? 3 : 0,
        ExitCode = code,
        Reason = reason,
    };
}
