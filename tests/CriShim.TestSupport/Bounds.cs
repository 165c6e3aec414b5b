using System.Runtime.CompilerServices;
using Xunit.Sdk;

namespace CriShim.TestSupport;

/// <summary>How long a test waits for something that should happen at once. Only failing tests ever reach it.</summary>
public static class Bounds
{
    public static readonly TimeSpan Failure = TimeSpan.FromSeconds(60);

    public static async Task Bounded(this Task task, [CallerArgumentExpression(nameof(task))] string what = "")
    {
        try
        {
            await task.WaitAsync(Failure);
        }
        catch (TimeoutException) when (!task.IsCompleted)
        {
            throw new XunitException($"still waiting after {Failure.TotalSeconds:0} s: {what}");
        }
    }

    public static async Task<T> Bounded<T>(this Task<T> task, [CallerArgumentExpression(nameof(task))] string what = "")
    {
        await ((Task)task).Bounded(what);
        return await task;
    }
}
