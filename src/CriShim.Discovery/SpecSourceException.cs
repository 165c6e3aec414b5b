namespace CriShim.Discovery;

/// <summary>A try of a source has failed, for a reason fit for operators' eyes: no credentials, no parts of specs.</summary>
internal sealed class SpecSourceException(string reason, SpecSourceFailure failure = SpecSourceFailure.Other, TimeSpan? retryAfter = null)
    : Exception(reason)
{
    public SpecSourceFailure Failure => failure;

    /// <summary>What the other side asked for.</summary>
    public TimeSpan? RetryAfter => retryAfter;
}

internal enum SpecSourceFailure
{
    Other,

    /// <summary>401: the credentials may have been replaced since they were read.</summary>
    Unauthorized,

    /// <summary>403.</summary>
    Forbidden,

    /// <summary>The version that was asked for is no longer, or not yet, known over there: list again.</summary>
    VersionUnknown,

    /// <summary>410: as above, and to be expected after a long disconnect.</summary>
    Gone,
}
