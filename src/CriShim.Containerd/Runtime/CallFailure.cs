using Grpc.Core;

namespace CriShim.Containerd.Runtime;

/// <summary>What a failed call means to whoever made it.</summary>
public enum FailureKind
{
    /// <summary>The container or pod sandbox does not exist, or no more.</summary>
    NotFound,

    /// <summary>The image was removed from the node; only the kubelet pulls.</summary>
    ImageNotFound,

    /// <summary>Another container has this name and attempt in the pod, or is being created with it.</summary>
    NameReserved,

    /// <summary>The pod sandbox has stopped: nothing can be created or started in it any more.</summary>
    SandboxNotReady,

    /// <summary>Another call is removing the container.</summary>
    BeingRemoved,

    /// <summary>
    /// An earlier StartContainer is still under way, which may go on for seconds after its caller has left, and may succeed: until it has
    /// ended the container can neither be started nor removed.
    /// </summary>
    BeingStarted,

    /// <summary>
    /// RemoveContainer fails, and will for ever: a StartContainer that lost its caller has left a task that CRI knows nothing of.
    /// </summary>
    TaskLeftBehind,

    /// <summary>containerd is away. A call that is no mere question may have taken effect.</summary>
    Unavailable,

    /// <summary>No answer within the call's deadline. A call that is no mere question may have taken effect, or yet take it.</summary>
    TimedOut,

    /// <summary>Anything else: <see cref="CallFailure.Code"/> has the status.</summary>
    Other,
}

/// <summary>Why a call failed.</summary>
/// <param name="Kind">What it means.</param>
/// <param name="Code">The gRPC status.</param>
/// <param name="Detail">containerd's text. It can quote commands, mounts and variables: not for logs.</param>
/// <param name="HolderId">For <see cref="FailureKind.NameReserved"/>: the id that holds the name, where containerd tells.</param>
public sealed record CallFailure(FailureKind Kind, StatusCode Code, string Detail, string? HolderId = null)
{
    /// <summary>Kind and code, without the text.</summary>
    public override string ToString() => $"{Kind} ({Code})";
}

/// <summary>The answer of a call, or why there is none.</summary>
/// <typeparam name="T">The answer.</typeparam>
public readonly record struct CallResult<T>
    where T : class
{
    private CallResult(T? value, CallFailure? failure)
    {
        Value = value;
        Failure = failure;
    }

    /// <summary>The answer; null when the call failed.</summary>
    public T? Value { get; }

    /// <summary>Why it failed; null when it did not.</summary>
    public CallFailure? Failure { get; }

    /// <summary>There is an answer.</summary>
    [System.Diagnostics.CodeAnalysis.MemberNotNullWhen(true, nameof(Value))]
    [System.Diagnostics.CodeAnalysis.MemberNotNullWhen(false, nameof(Failure))]
    public bool IsOk => Failure is null;

    internal static CallResult<T> Ok(T value) => new(value, null);

    internal static CallResult<T> Failed(CallFailure failure) => new(null, failure);

    /// <summary>Neither answer nor text: both can hold secrets.</summary>
    public override string ToString() => Failure?.ToString() ?? "OK";
}
