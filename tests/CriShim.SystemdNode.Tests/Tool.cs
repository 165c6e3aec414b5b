using System.Diagnostics;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>Programs of this machine, run to their end.</summary>
internal static class Tool
{
    /// <summary>What it printed on its standard output; a <see cref="LabException"/> with all that it printed when it fails.</summary>
    public static async Task<string> RunAsync(string program, params string[] arguments)
    {
        (int code, string output, string errors) = await TryAsync(program, arguments);
        return code == 0 ? output : throw new LabException($"{program} {string.Join(' ', arguments)} ended with {code}:\n{output}{errors}");
    }

    public static async Task<(int Code, string Output, string Errors)> TryAsync(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        string[] printed = await Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return (process.ExitCode, printed[0], printed[1]);
    }
}
