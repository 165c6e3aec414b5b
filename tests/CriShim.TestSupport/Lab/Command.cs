using System.Diagnostics;

namespace CriShim.TestSupport.Lab;

/// <summary>Runs a program to its end.</summary>
public static class Command
{
    /// <summary>Standard output; a <see cref="LabException"/> with all it printed when it fails.</summary>
    public static async Task<string> RunAsync(string file, IEnumerable<string> arguments, CancellationToken cancellationToken = default)
    {
        var start = new ProcessStartInfo(file, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Exception failure)
        {
            throw new LabException($"Could not start {file}: {failure.Message}", failure);
        }

        using (process)
        {
            process.StandardInput.Close();
            var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
            var errors = process.StandardError.ReadToEndAsync(cancellationToken);
            try
            {
                await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                throw;
            }

            var text = await output.ConfigureAwait(false);
            return process.ExitCode == 0
                ? text
                : throw new LabException(
                    $"{file} {string.Join(' ', start.ArgumentList)} exited with {process.ExitCode}:\n{text}{await errors.ConfigureAwait(false)}");
        }
    }
}
