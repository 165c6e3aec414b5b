namespace CriShim.Node;

/// <summary>Failures of what is tried again and again: the same one of the same thing says nothing new, and is told once. Not thread-safe.</summary>
internal sealed class ToldFailures
{
    private readonly Dictionary<string, string> _told = new(StringComparer.Ordinal);

    /// <summary>Forgets all others.</summary>
    /// <param name="things">Ids of those that are there.</param>
    public void Keep(IEnumerable<string> things)
    {
        foreach (string gone in _told.Keys.Except(things, StringComparer.Ordinal).ToArray())
        {
            _ = _told.Remove(gone);
        }
    }

    /// <summary>Whether this is to be told.</summary>
    /// <param name="thing">Its id.</param>
    /// <param name="failure">What went wrong this time; null: nothing.</param>
    public bool IsNews(string thing, string? failure)
    {
        if (failure is null)
        {
            _ = _told.Remove(thing);
            return false;
        }

        bool isNews = !_told.TryGetValue(thing, out string? told) || told != failure;
        _told[thing] = failure;
        return isNews;
    }
}
