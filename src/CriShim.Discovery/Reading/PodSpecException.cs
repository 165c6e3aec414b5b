namespace CriShim.Discovery.Reading;

/// <summary>What was read is no pod, or no list of pods. The message holds nothing of the text but names of fields.</summary>
/// <param name="reason">What is wrong with it.</param>
/// <param name="offset">Where, in bytes from the start of the JSON text.</param>
internal sealed class PodSpecException(string reason, long offset = 0) : Exception(reason)
{
    public long Offset => offset;
}
