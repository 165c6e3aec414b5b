using System.Diagnostics.CodeAnalysis;

namespace CriShim.Discovery.Access;

/// <summary>A connection that is kept from call to call, and opened anew when how to connect has changed. Not thread-safe.</summary>
[SuppressMessage("Reliability", "CA2000", Justification = "The property owns the connection.")]
internal sealed class KeptConnection : IDisposable
{
    /// <summary>Null before the first use, and behind <see cref="Drop"/>.</summary>
    public ApiConnection? Current { get; private set; }

    /// <summary>Makes <see cref="Current"/> one for this access.</summary>
    /// <returns>Whether it was opened anew.</returns>
    /// <exception cref="SpecSourceException">A part of the access can't be used.</exception>
    public bool Use(ApiAccess access)
    {
        if (Current is not null && Current.Fingerprint == access.ConnectionFingerprint())
        {
            return false;
        }

        Drop();
        Current = ApiConnection.Open(access);
        return true;
    }

    /// <summary>The next use opens one, whatever has changed.</summary>
    public void Drop()
    {
        Current?.Dispose();
        Current = null;
    }

    public void Dispose() => Drop();
}
