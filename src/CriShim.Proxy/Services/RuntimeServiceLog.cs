using CriShim.Protocol.Runtime.V1;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy.Services;

/// <summary>What the typed handlers saw: names, ids and states, never the contents of a config.</summary>
internal sealed partial class RuntimeServiceLog(ILogger logger)
{
    [LoggerMessage(101, LogLevel.Information, "Pod sandbox {SandboxId} runs: {Namespace}/{Pod}, uid {PodUid}, attempt {Attempt}")]
    public partial void PodSandboxRan(string sandboxId, string? @namespace, string? pod, string? podUid, uint attempt);

    [LoggerMessage(102, LogLevel.Information, "Pod sandbox {SandboxId} stopped")]
    public partial void PodSandboxStopped(string sandboxId);

    [LoggerMessage(103, LogLevel.Information, "Pod sandbox {SandboxId} removed")]
    public partial void PodSandboxRemoved(string sandboxId);

    [LoggerMessage(104, LogLevel.Information, "Container {ContainerId} created: {Container}, attempt {Attempt}, in pod sandbox {SandboxId}")]
    public partial void ContainerCreated(string containerId, string? container, uint attempt, string sandboxId);

    [LoggerMessage(117, LogLevel.Information, "Create of {Container} in pod sandbox {SandboxId} is answered with {ContainerId}, which runs already")]
    public partial void ContainerCreateAnswered(string containerId, string? container, string sandboxId);

    [LoggerMessage(105, LogLevel.Information, "Container {ContainerId} started")]
    public partial void ContainerStarted(string containerId);

    [LoggerMessage(106, LogLevel.Information, "Container {ContainerId} is asked to stop within {TimeoutSeconds} s")]
    public partial void ContainerStopRequested(string containerId, long timeoutSeconds);

    [LoggerMessage(107, LogLevel.Information, "Container {ContainerId} stopped")]
    public partial void ContainerStopped(string containerId);

    [LoggerMessage(108, LogLevel.Information, "Container {ContainerId} removed")]
    public partial void ContainerRemoved(string containerId);

    [LoggerMessage(109, LogLevel.Information, "Container {ContainerId} has other resources")]
    public partial void ContainerUpdated(string containerId);

    [LoggerMessage(110, LogLevel.Debug, "Pod sandboxes listed: {Count}, ready {Ready}")]
    public partial void PodSandboxesListed(int count, int ready);

    [LoggerMessage(111, LogLevel.Debug, "Pod sandbox {SandboxId} is {State}")]
    public partial void PodSandboxStatusRead(string sandboxId, PodSandboxState state);

    [LoggerMessage(112, LogLevel.Debug, "Containers listed: {Count}, running {Running}")]
    public partial void ContainersListed(int count, int running);

    [LoggerMessage(113, LogLevel.Debug, "Container {ContainerId} is {State}, exit code {ExitCode}")]
    public partial void ContainerStatusRead(string containerId, ContainerState state, int exitCode);

    [LoggerMessage(114, LogLevel.Debug, "Container stats read: {Count}")]
    public partial void ContainerStatsRead(int count);

    [LoggerMessage(115, LogLevel.Debug, "Backend status read, all conditions met: {Ready}")]
    public partial void StatusRead(bool ready);

    [LoggerMessage(116, LogLevel.Debug, "Container event {Type} of {ContainerId}")]
    public partial void ContainerEventPassed(ContainerEventType type, string containerId);

    [LoggerMessage(118, LogLevel.Warning, "What supervision knows could not be added to a verbose answer, which goes on as it came")]
    public partial void DescriptionFailed(Exception exception);
}
