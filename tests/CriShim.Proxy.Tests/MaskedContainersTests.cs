using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using static CriShim.Protocol.Runtime.V1.ContainerState;

namespace CriShim.Proxy.Tests;

/// <summary>A container that runs, shown completed, and what runs in its place: in lists, statuses and statistics.</summary>
public sealed class MaskedContainersTests
{
    private static readonly DateTimeOffset At = DateTimeOffset.UnixEpoch.AddSeconds(77);

    [Theory]
    [InlineData(null, "shown main")]
    [InlineData(ContainerRunning, "main")]
    [InlineData(ContainerExited, "shown")]
    public void List_HasOneOfIt_Exited(ContainerState? filter, string expected)
    {
        // In every order, and with what is dead behind it and not removed yet.
        foreach (string[] order in new[] { ["shown", "dead", "behind"], ["behind", "dead", "shown"], (string[])["dead", "behind", "shown"] })
        {
            var list = new ListContainersResponse();
            foreach (string id in order)
            {
                list.Containers.Add(Of(id));
            }

            list.Containers.Add(Of("main"));

            ListContainersResponse shown = new ListViews(filter, Supervision()).Apply(list);

            Assert.Equal(expected, string.Join(' ', shown.Containers.Select(one => one.Id)));
            Assert.All(shown.Containers, one => Assert.Equal(one.Id == "shown" ? ContainerExited : ContainerRunning, one.State));
        }
    }

    [Theory]
    [InlineData(ContainerRunning, 0)]
    [InlineData(ContainerExited, 137)]
    public void Status_SaysCompletedAtItsTimeWithTheLogOfWhatRuns(ContainerState state, int exitCode)
    {
        var response = new ContainerStatusResponse
        {
            Status = new ContainerStatus
            {
                Id = "shown",
                Metadata = new ContainerMetadata { Name = "sidecar", Attempt = 0 },
                State = state,
                CreatedAt = 1,
                StartedAt = 2,
                FinishedAt = exitCode,
                ExitCode = exitCode,
                Reason = exitCode == 0 ? "" : "OOMKilled",
                Message = "something",
                LogPath = "/var/log/pods/a/sidecar/0.log",
            },
        };

        ContainerStatus shown = ContainerViews.Apply(response, Supervision())!.Status;

        Assert.Equal((ContainerExited, 0, "Completed", ""), (shown.State, shown.ExitCode, shown.Reason, shown.Message));
        Assert.Equal((1, 2, 77_000_000_000), (shown.CreatedAt, shown.StartedAt, shown.FinishedAt));
        Assert.Equal("/var/log/pods/a/sidecar/3.log", shown.LogPath);
        Assert.Equal(state, response.Status.State);
    }

    [Fact]
    public void Status_OfWhatRunsBehindIt_IsNotThere()
    {
        var response = new ContainerStatusResponse { Status = new ContainerStatus { Id = "behind", State = ContainerRunning } };
        Assert.Null(ContainerViews.Apply(response, Supervision()));
    }

    [Fact]
    public void PodSandboxStatus_HasOneOfIt_Completed()
    {
        var response = new PodSandboxStatusResponse { Status = new PodSandboxStatus { Id = "pod" } };
        response.ContainersStatuses.Add(new ContainerStatus { Id = "shown", State = ContainerRunning });
        response.ContainersStatuses.Add(new ContainerStatus { Id = "behind", State = ContainerRunning });

        ContainerStatus shown = Assert.Single(ContainerViews.Apply(response, Supervision()).ContainersStatuses);

        Assert.Equal(("shown", ContainerExited, "Completed"), (shown.Id, shown.State, shown.Reason));
    }

    [Theory]
    [InlineData(ContainerExited, 0, "Completed", 1, "Error")]
    [InlineData(ContainerExited, 3, "Error", 3, "Error")]
    [InlineData(ContainerExited, 0, "OOMKilled", 1, "OOMKilled")]
    [InlineData(ContainerRunning, 0, "", 0, "")]
    public void Status_OfOneThatEndedBeforeItHadStarted_IsNoSuccess(ContainerState state, int exitCode, string reason, int shownCode, string shownReason)
    {
        var response = new ContainerStatusResponse
        {
            Status = new ContainerStatus { Id = "failed", State = state, ExitCode = exitCode, Reason = reason },
        };

        ContainerStatus shown = ContainerViews.Apply(response, Supervision())!.Status;

        Assert.Equal((state, shownCode, shownReason), (shown.State, shown.ExitCode, shown.Reason));
    }

    [Fact]
    public void Statistics_HaveNothingOfIt()
    {
        var list = new ListContainerStatsResponse();
        foreach (string id in new[] { "shown", "behind", "main" })
        {
            list.Stats.Add(new ContainerStats { Attributes = new ContainerAttributes { Id = id } });
        }

        Assert.Equal(["main"], StatsViews.Apply(list, Supervision()).Stats.Select(one => one.Attributes.Id));
    }

    private static Container Of(string id) => new()
    {
        Id = id,
        PodSandboxId = "pod",
        Metadata = new ContainerMetadata
        {
            Name = id == "main" ? id : "sidecar",
            Attempt = id switch
            {
                "dead" => 1u,
                "behind" => 2,
                _ => 0,
            },
        },
        State = id == "dead" ? ContainerExited : ContainerRunning,
    };

    private static ShownContainers Supervision()
    {
        var supervision = new ShownContainers();
        supervision.Complete("shown", At, 3);
        supervision.HideForGood("dead", behind: "shown");
        supervision.HideForGood("behind", behind: "dead");
        supervision.HideForGood("behind", behind: "shown");
        supervision.Fail("failed");
        return supervision;
    }
}
