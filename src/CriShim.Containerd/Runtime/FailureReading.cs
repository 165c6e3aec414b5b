using Grpc.Core;

namespace CriShim.Containerd.Runtime;

/// <summary>
/// Reads a meaning out of containerd's status. Most errors of its CRI have the code UNKNOWN, so their texts have to do: the phrases
/// below are the same in 1.6, 1.7 and 2.x.
/// </summary>
internal static class FailureReading
{
    private const string ReservedFor = "is reserved for \"";

    public static CallFailure Read(Status status)
    {
        string detail = status.Detail ?? "";
        FailureKind kind = Classify(status.StatusCode, detail);
        return new CallFailure(kind, status.StatusCode, detail, kind == FailureKind.NameReserved ? Holder(detail) : null);
    }

    private static FailureKind Classify(StatusCode code, string detail)
    {
        switch (code)
        {
            case StatusCode.Unavailable:
                return FailureKind.Unavailable;
            case StatusCode.DeadlineExceeded:
                return FailureKind.TimedOut;
        }

        // containerd's socket is there before its CRI is: first nobody serves it, then it is not ready yet.
        if ((code == StatusCode.Unimplemented && Says(detail, "unknown service")) || Says(detail, "server is not initialized yet"))
        {
            return FailureKind.Unavailable;
        }

        if (Says(detail, "failed to reserve container name"))
        {
            return FailureKind.NameReserved;
        }

        // A stopped sandbox: the first is CreateContainer's up to 1.7, where the pause container's task is gone (with NOT_FOUND,
        // so this comes before that), the second StartContainer's, and CreateContainer's in 2.x.
        if (Says(detail, "failed to get sandbox container task") || (Says(detail, "sandbox container \"") && Says(detail, "is not running")))
        {
            return FailureKind.SandboxNotReady;
        }

        if (Says(detail, "is already in removing state"))
        {
            return FailureKind.BeingRemoved;
        }

        // The first is StartContainer's, the second RemoveContainer's.
        if (Says(detail, "is already in starting state") || Says(detail, "is in starting state"))
        {
            return FailureKind.BeingStarted;
        }

        if (Says(detail, "cannot delete running task"))
        {
            return FailureKind.TaskLeftBehind;
        }

        if (code == StatusCode.NotFound)
        {
            return Says(detail, "failed to resolve image") || Says(detail, "failed to get image from containerd")
                ? FailureKind.ImageNotFound
                : FailureKind.NotFound;
        }

        return FailureKind.Other;
    }

    private static string? Holder(string detail)
    {
        int start = detail.IndexOf(ReservedFor, StringComparison.Ordinal);
        if (start < 0)
        {
            return null;
        }

        start += ReservedFor.Length;
        int end = detail.IndexOf('"', start);
        return end < 0 ? null : detail[start..end];
    }

    private static bool Says(string detail, string phrase) => detail.Contains(phrase, StringComparison.Ordinal);
}
