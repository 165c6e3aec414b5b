using CriShim.Node.Journal;

namespace CriShim.StatusPage;

/// <summary>One instance's life, as far as it was seen.</summary>
/// <param name="Attempt">Which attempt of its container.</param>
/// <param name="From">When it was started, or created.</param>
/// <param name="To">When it ended; null: it runs.</param>
/// <param name="ExitCode">How it ended; null while it runs.</param>
internal sealed record Life(int Attempt, DateTimeOffset From, DateTimeOffset? To, int? ExitCode);

/// <summary>A moment in a container's life.</summary>
/// <param name="At">When.</param>
/// <param name="Words">What.</param>
/// <param name="IsWarning">Somebody should look at it.</param>
internal sealed record Mark(DateTimeOffset At, string Words, bool IsWarning);

/// <param name="Container">Its name.</param>
/// <param name="Lives">In the order of their starts.</param>
/// <param name="Marks">Oldest first.</param>
internal sealed record ContainerLives(string Container, IReadOnlyList<Life> Lives, IReadOnlyList<Mark> Marks)
{
    /// <summary>What a sandbox's happenings tell of its containers, in the order in which they were first heard of.</summary>
    public static IReadOnlyList<ContainerLives> Read(IReadOnlyList<Happening> happenings)
    {
        var all = new OrderedDictionary<string, (OrderedDictionary<string, Life> Lives, List<Mark> Marks)>(StringComparer.Ordinal);
        foreach (Happening happening in happenings)
        {
            if (happening.Container is not { } name)
            {
                continue;
            }

            if (!all.TryGetValue(name, out (OrderedDictionary<string, Life> Lives, List<Mark> Marks) one))
            {
                all.Add(name, one = ([], []));
            }

            string id = happening.ContainerId ?? "";
            switch (happening)
            {
                case ContainerFound found:
                    _ = one.Lives.TryAdd(id, new Life(found.Attempt, found.CreatedAt, found.IsRunning ? null : found.CreatedAt, null));
                    break;
                case ContainerStarted started:
                    one.Lives[id] = new Life(started.Attempt, started.At, null, null);
                    break;
                case ContainerEnded ended:
                    // Its start may be older than what is kept.
                    DateTimeOffset from = one.Lives.TryGetValue(id, out Life? life) ? life.From : ended.FinishedAt;
                    one.Lives[id] = new Life(ended.Attempt, from, ended.FinishedAt > from ? ended.FinishedAt : from, ended.ExitCode);
                    break;
                default:
                    one.Marks.Add(new Mark(happening.At, happening.Words, happening.IsWarning));
                    break;
            }
        }

        return [.. all.Select(one => new ContainerLives(one.Key, [.. one.Value.Lives.Values], one.Value.Marks))];
    }
}
