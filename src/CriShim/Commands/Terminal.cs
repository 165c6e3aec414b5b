using System.Globalization;
using CriShim.Supervision;

namespace CriShim.Commands;

/// <summary>Where a command prints: a terminal, or a pipe or file, which gets neither colours nor anything drawn anew.</summary>
/// <param name="output">Where to.</param>
/// <param name="isTerminal">It is a terminal that understands escape sequences.</param>
/// <param name="isColoured">Colours are wanted.</param>
/// <param name="size">Its columns and rows now.</param>
internal sealed class Terminal(TextWriter output, bool isTerminal, bool isColoured, Func<(int Columns, int Rows)> size)
{
    private const int PipeColumns = 110;

    public TextWriter Output => output;

    public bool IsTerminal => isTerminal;

    // A terminal that does not tell its size says 0.
    public int Columns => isTerminal && size().Columns is var columns and > 0 ? Math.Max(40, columns) : PipeColumns;

    public int Rows => isTerminal && size().Rows is var rows and > 0 ? Math.Max(5, rows) : int.MaxValue;

    /// <summary>A writer of a test or of another caller is no terminal, whatever the process's own output is.</summary>
    public static Terminal Of(TextWriter output)
    {
        bool isTerminal = ReferenceEquals(output, Console.Out) && !Console.IsOutputRedirected
            && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb");
        bool isColoured = isTerminal && Environment.GetEnvironmentVariable("NO_COLOR") is not { Length: > 0 };
        return new Terminal(output, isTerminal, isColoured, static () => (Console.WindowWidth, Console.WindowHeight));
    }

    public string Paint(Colour colour, string text) =>
        isColoured && colour != Colour.None && text.Length > 0 ? string.Create(CultureInfo.InvariantCulture, $"\e[{(int)colour}m{text}\e[0m") : text;

    /// <summary>Draws lines in place of what is on the screen; what does not fit is left out.</summary>
    /// <param name="lines">Painted or not.</param>
    public void Redraw(IReadOnlyList<string> lines)
    {
        int room = Rows - 1;
        IEnumerable<string> shown = lines.Count <= room ? lines : lines.Take(room - 1).Append($"and {lines.Count - room + 1} lines more");
        output.Write("\e[H" + string.Concat(shown.Select(line => $"{line}\e[K\n")) + "\e[J");
        output.Flush();
    }

    /// <summary>
    /// Names and reasons come from pods, which may hold anything: what moves a cursor, changes a colour, or turns the direction of writing
    /// is shown as an escape.
    /// </summary>
    public static string Clean(string text) => UntrustedText.Escape(text);

    /// <summary>What fits into so many columns.</summary>
    public static string Cut(string text, int columns) => columns > 1 && text.Length > columns ? text[..(columns - 1)] + '…' : text;
}

/// <summary>SGR codes (ECMA-48) of the colours that are used.</summary>
internal enum Colour
{
    None = 0,
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Cyan = 36,
}
