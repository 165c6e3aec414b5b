using System.ComponentModel;
using System.Diagnostics;

namespace CriShim.Benchmarks;

/// <summary>Runs a tool to its end and reads what it prints.</summary>
internal static class ToolOutput
{
    /// <exception cref="MeasurementException">The tool is not there, or ended with a code other than 0.</exception>
    public static async Task<string> ReadAsync(string program, IEnumerable<string> arguments, CancellationToken cancellation)
    {
        using var process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true },
        };
        try
        {
            process.Start();
        }
        catch (Win32Exception failure)
        {
            throw new MeasurementException($"{program} can't be run: {failure.Message}", failure);
        }

        try
        {
            // nginx prints its version to the standard error stream.
            var errors = process.StandardError.ReadToEndAsync(cancellation);
            var output = await process.StandardOutput.ReadToEndAsync(cancellation) + await errors;
            await process.WaitForExitAsync(cancellation);
            return process.ExitCode == 0
                ? output
                : throw new MeasurementException($"{program} ended with code {process.ExitCode}: {output}");
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }
}
