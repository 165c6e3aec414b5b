namespace CriShim.TestSupport.Lab;

/// <summary>The lab itself failed (not what is tested in it). The message says what to do, with the log's tail where there is one.</summary>
public sealed class LabException : Exception
{
    public LabException(string message)
        : base(message)
    {
    }

    public LabException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
