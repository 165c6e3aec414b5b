namespace CriShim.TestSupport;

/// <summary>A point in a script that the test opens when it is ready.</summary>
public sealed class Gate
{
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsOpen => _opened.Task.IsCompleted;

    /// <summary>Completes when the gate is open, however long that takes.</summary>
    public Task Opened => _opened.Task;

    public void Open() => _opened.TrySetResult();

    /// <summary>For the side that judges: fails when the gate does not open.</summary>
    public Task PassAsync(string what) => _opened.Task.Bounded(what);
}
