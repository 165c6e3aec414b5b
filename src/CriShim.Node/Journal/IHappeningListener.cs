namespace CriShim.Node.Journal;

/// <summary>Wants to know what supervision does, as it happens.</summary>
public interface IHappeningListener
{
    /// <summary>
    /// Called on the thread that made it, maybe under a pod's lock: it must not block, nor call supervision, nor throw. What it throws is
    /// logged and dropped.
    /// </summary>
    void Happened(Happening happening);
}
