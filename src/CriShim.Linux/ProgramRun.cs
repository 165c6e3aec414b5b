using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace CriShim.Linux;

/// <summary>A program of the node that was run to its end.</summary>
/// <param name="Output">What it wrote to its standard output.</param>
/// <param name="Failure">What went wrong, in one line that names the program; null: it ended with 0.</param>
public sealed record ProgramRun(string Output, string? Failure)
{
    /// <summary>Runs it in the C locale, without an input. Nothing is thrown but what cancellation throws.</summary>
    /// <param name="program">Its path, or its name on the PATH.</param>
    /// <param name="arguments">No shell looks at them.</param>
    /// <param name="patience">It is killed when it takes longer.</param>
    /// <param name="cancellationToken">Kills it, too.</param>
    public static async Task<ProgramRun> RunAsync(
        string program, IEnumerable<string> arguments, TimeSpan patience, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true,
        };
        start.Environment["LC_ALL"] = "C";
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            return new ProgramRun("", $"{program} can't be run: {e.Message}");
        }

        using (process)
        {
            process.StandardInput.Close();
            Task<string> output = process.StandardOutput.ReadToEndAsync(limit.Token);
            Task<string> error = process.StandardError.ReadToEndAsync(limit.Token);
            try
            {
                await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
                string said = await error.ConfigureAwait(false);
                return new ProgramRun(
                    await output.ConfigureAwait(false),
                    process.ExitCode == 0 ? null : $"{program} ended with {process.ExitCode}: {said.Trim().ReplaceLineEndings(" ")}");
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                cancellationToken.ThrowIfCancellationRequested();
                return new ProgramRun("", $"{program} took longer than {patience.TotalSeconds.ToString(CultureInfo.InvariantCulture)} s");
            }
        }
    }
}
