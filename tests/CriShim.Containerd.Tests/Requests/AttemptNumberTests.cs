using CriShim.Containerd.Requests;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.Containerd.Tests.Requests;

public sealed class AttemptNumberTests
{
    [Fact]
    public void Next_NoneKnown_IsZero() => Assert.Equal(0u, AttemptNumber.Next([]));

    [Fact]
    public void Next_SeveralKnown_IsAfterTheHighest() => Assert.Equal(8u, AttemptNumber.Next([0, 7, 3]));

    [Fact]
    public void Next_Highest_DoesNotWrap() => Assert.Equal(uint.MaxValue, AttemptNumber.Next([uint.MaxValue]));

    [Theory]
    [InlineData(2u, "5", "proxy/3.log", 5u)]
    [InlineData(2u, "1", "proxy/9.log", 9u)]
    [InlineData(6u, "many", "proxy/messages", 6u)]
    [InlineData(6u, "-1", "", 6u)]
    public void Of_PlacesDiffer_IsTheHighest(uint attempt, string restartCount, string logPath, uint expected)
    {
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = "proxy", Attempt = attempt },
            Annotations = { { "io.kubernetes.container.restartCount", restartCount } },
            LogPath = logPath,
        };

        Assert.Equal(expected, AttemptNumber.Of(config));
        Assert.Equal(expected, AttemptNumber.Of(new ContainerStatus { Metadata = config.Metadata, Annotations = { config.Annotations }, LogPath = "/var/log/pods/x/" + logPath }));
    }
}
