namespace CriShim.Linux;

/// <summary>A listening socket could not be had. The message names the path and the reason, and is fit for an operator.</summary>
public sealed class UnixListenerException : IOException
{
    public UnixListenerException(string message)
        : base(message)
    {
    }

    public UnixListenerException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
