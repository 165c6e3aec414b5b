using CriShim.Containerd.Runtime;
using Grpc.Core;

namespace CriShim.Containerd.Tests.Runtime;

public sealed class FailureReadingTests
{
    [Theory]
    [InlineData(StatusCode.NotFound, "an error occurred when try to find container \"x\": not found", FailureKind.NotFound)]
    [InlineData(StatusCode.NotFound, "failed to find sandbox id \"x\": not found", FailureKind.NotFound)]
    [InlineData(StatusCode.NotFound, "failed to resolve image \"sha256:1\": not found", FailureKind.ImageNotFound)]
    [InlineData(StatusCode.NotFound, "failed to get sandbox container task: no running task found: task x not found: not found", FailureKind.SandboxNotReady)]
    [InlineData(StatusCode.Unknown, "sandbox container \"x\" is not running", FailureKind.SandboxNotReady)]
    [InlineData(StatusCode.Unknown, "failed to set removing state for container \"x\": container is already in removing state", FailureKind.BeingRemoved)]
    [InlineData(StatusCode.Unknown, "failed to set starting state for container \"x\": container is already in starting state", FailureKind.BeingStarted)]
    [InlineData(StatusCode.Unknown, "failed to set removing state for container \"x\": container is in starting state, can't be removed", FailureKind.BeingStarted)]
    [InlineData(StatusCode.FailedPrecondition, "failed to delete containerd container \"x\": cannot delete running task x: failed precondition", FailureKind.TaskLeftBehind)]
    [InlineData(StatusCode.Unavailable, "error reading from server", FailureKind.Unavailable)]
    [InlineData(StatusCode.Unimplemented, "unknown service runtime.v1.RuntimeService", FailureKind.Unavailable)]
    [InlineData(StatusCode.Unimplemented, "unknown method RuntimeConfig for service runtime.v1.RuntimeService", FailureKind.Other)]
    [InlineData(StatusCode.Unknown, "server is not initialized yet", FailureKind.Unavailable)]
    [InlineData(StatusCode.DeadlineExceeded, "", FailureKind.TimedOut)]
    [InlineData(StatusCode.Unknown, "failed to create containerd task: failed to create shim task: OCI runtime create failed", FailureKind.Other)]
    [InlineData(StatusCode.ResourceExhausted, "", FailureKind.Other)]
    public void Read_TextsOfContainerd_HaveTheirMeaning(StatusCode code, string detail, FailureKind expected)
    {
        CallFailure failure = FailureReading.Read(new Status(code, detail));

        Assert.Equal(expected, failure.Kind);
        Assert.Equal(code, failure.Code);
        Assert.Null(failure.HolderId);
        Assert.Equal($"{expected} ({code})", failure.ToString());
    }

    [Theory]
    [InlineData("failed to reserve container name \"proxy_p_default_u_1\": name \"proxy_p_default_u_1\" is reserved for \"4331f9fe\"", "4331f9fe")]
    [InlineData("failed to reserve container name \"proxy_p_default_u_1\"; check if another CreateContainer request is in progress: name \"proxy_p_default_u_1\" is reserved for \"4331f9fe\"", "4331f9fe")]
    [InlineData("failed to reserve container name \"proxy_p_default_u_1\"", null)]
    public void Read_NameReserved_TellsWhoHoldsIt(string detail, string? holder)
    {
        CallFailure failure = FailureReading.Read(new Status(StatusCode.Unknown, detail));

        Assert.Equal(FailureKind.NameReserved, failure.Kind);
        Assert.Equal(holder, failure.HolderId);
    }
}
