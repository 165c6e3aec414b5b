using System.Diagnostics;
using System.Globalization;
using Spectre.Console;

namespace CriShim.Demo;

/// <summary>Where the story is told: one line for each thing that happens, when it has happened.</summary>
internal sealed class Stage(IAnsiConsole console)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    public IAnsiConsole Console => console;

    public void Chapter(string title)
    {
        console.WriteLine();
        console.Write(new Rule($"[bold]{Markup.Escape(title)}[/]").LeftJustified());
    }

    public void Say(string text) => console.MarkupLine(Markup.Escape(text));

    public void Note(string text) => console.MarkupLine($"[yellow]note[/]  {Markup.Escape(text)}");

    /// <summary>Makes one call and tells it: when, which, what came of it, how long it took.</summary>
    public async Task<T> CallAsync<T>(string name, Func<Task<T>> call, Func<T, string> told)
    {
        var began = _clock.Elapsed;
        T result;
        try
        {
            result = await call();
        }
        catch
        {
            Line(began, name, "[red]failed[/]", _clock.Elapsed - began);
            throw;
        }

        var took = _clock.Elapsed - began;
        Line(began, name, Markup.Escape(told(result)), took);
        return result;
    }

    private void Line(TimeSpan at, string name, string told, TimeSpan took)
    {
        // A grid of one row and not a table: each line is there as soon as it has happened, and is plain text in a pipe.
        var grid = new Grid().AddColumns(
            new GridColumn().Width(7).RightAligned().NoWrap(),
            new GridColumn().Width(18).NoWrap(),
            new GridColumn().Width(Math.Max(30, console.Profile.Width - 48)),
            new GridColumn().Width(9).RightAligned().NoWrap());
        grid.AddRow(
            new Markup($"[grey]{at.TotalSeconds.ToString("0.00", CultureInfo.InvariantCulture)} s[/]"),
            new Markup($"[bold teal]{Markup.Escape(name)}[/]"),
            new Markup(told),
            new Markup($"[grey]{Duration(took)}[/]"));
        console.Write(grid);
    }

    public static string Duration(TimeSpan time) => time.TotalMilliseconds switch
    {
        < 1 => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0.00} ms"),
        < 10 => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0.0} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0} ms"),
    };
}
