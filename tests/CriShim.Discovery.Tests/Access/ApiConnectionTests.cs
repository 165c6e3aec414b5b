using CriShim.Discovery.Access;

namespace CriShim.Discovery.Tests.Access;

public sealed class ApiConnectionTests
{
    [Fact]
    public void FindReason_ConnectTimedOut_IsAFaultOfTheOtherSide() =>
        Assert.Equal("cannot connect in time", ApiConnection.FindReason(new TaskCanceledException("", new TimeoutException())));

    [Fact]
    public void FindReason_Cancelled_IsNone() => Assert.Null(ApiConnection.FindReason(new TaskCanceledException()));
}
