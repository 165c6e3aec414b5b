namespace CriShim.Proxy;

/// <summary>One caller that is connected now, and what tells who it is.</summary>
/// <param name="ProcessId">The process that connected, in crishim's pid namespace; 0 where it is not visible from there.</param>
/// <param name="UserId">Its effective user id.</param>
/// <param name="HasRunPods">It has asked for a pod sandbox or a container on this connection.</param>
/// <param name="AsksForStatus">It asks for the runtime's Status again and again, as a kubelet does every five seconds.</param>
public sealed record CallerInfo(int ProcessId, uint UserId, bool HasRunPods, bool AsksForStatus);
