namespace CriShim.TestSupport.Lab;

/// <summary>Where the checkout is that these tests were built from.</summary>
public static class Repository
{
    /// <summary>The folder that holds CriShim.sln.</summary>
    public static string Root { get; } = Find();

    /// <summary>What the lab keeps between runs: unpacked containerd versions and images.</summary>
    public static string Lab { get; } = Path.Combine(Root, "out", "lab");

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "CriShim.sln")))
            {
                return folder.FullName;
            }
        }

        throw new LabException($"No CriShim.sln above {AppContext.BaseDirectory}: run the tests from a checkout.");
    }
}
