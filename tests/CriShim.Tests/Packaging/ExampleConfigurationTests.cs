using CriShim.Configuration;
using CriShim.TestSupport.Lab;

namespace CriShim.Tests.Packaging;

/// <summary>systemd/config.yaml, which is installed as /etc/crishim/config.yaml.</summary>
public sealed class ExampleConfigurationTests : IDisposable
{
    private static readonly string Example = Path.Combine(Repository.Root, "systemd", "config.yaml");

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Load_AsInstalled_ChangesNothing()
    {
        LoadedConfiguration installed = ConfigurationLoader.Load(new ServeFlags { Config = Example });
        LoadedConfiguration without = ConfigurationLoader.Load(new ServeFlags(), _directory.File("absent.yaml"));

        Assert.Empty(installed.Errors);
        Assert.Equal(Texts(without), Texts(installed));
        Assert.Equal(
            ["apiVersion", "kind"], installed.Effective.Where(setting => !setting.IsDefault).Select(setting => setting.Path));
    }

    [Fact]
    public void Load_WithEveryOptionUncommented_HasAllOptionsAtTheirDefaults()
    {
        string file = _directory.File("config.yaml");
        File.WriteAllLines(file, File.ReadLines(Example).Select(
            line => line.StartsWith('#') && !line.StartsWith("##", StringComparison.Ordinal) ? line[1..] : line));

        LoadedConfiguration all = ConfigurationLoader.Load(new ServeFlags { Config = file });
        LoadedConfiguration without = ConfigurationLoader.Load(new ServeFlags(), _directory.File("absent.yaml"));

        Assert.Empty(all.Errors);
        Assert.Equal(Texts(without), Texts(all));
        Assert.Empty(all.Effective.Where(setting => setting.IsDefault).Select(setting => setting.Path));
    }

    private static IEnumerable<string> Texts(LoadedConfiguration loaded) => loaded.Effective
        // Its default is whoever runs this.
        .Where(setting => setting.Path != "listen.group")
        .Select(setting => $"{setting.Path}: {setting.Text}");
}
