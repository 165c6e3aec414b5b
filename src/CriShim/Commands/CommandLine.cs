using System.CommandLine;
using System.CommandLine.Parsing;
using CriShim.Admin;
using CriShim.Commands.Doctor;
using CriShim.Commands.Drain;
using CriShim.Commands.Pods;
using CriShim.Commands.Timelines;
using CriShim.Configuration;

namespace CriShim.Commands;

/// <summary>The commands and what goes for all of them: exit codes, and errors on the standard error stream.</summary>
internal static class CommandLine
{
    // "@file" would be replaced by the file's content by default: nothing that an operator expects.
    private static readonly ParserConfiguration Parsing = new() { ResponseFileTokenReplacer = null };

    public static async Task<int> RunAsync(string[] args, TextWriter output, TextWriter error)
    {
        var serve = new ServeCommand();
        ParseResult parse = Create(serve).Parse(args, Parsing);
        try
        {
            if (parse.Errors.Count > 0)
            {
                // What a help or version option asks for is done even if the rest is nonsense.
                return ReportUsage(parse, serve, error);
            }

            return await parse.InvokeAsync(new InvocationConfiguration
            {
                Output = output,
                Error = error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null, // Signals are serve's affair.
            });
        }
        catch (Exception e)
        {
            await error.WriteLineAsync($"crishim: {e}");
            return ExitCode.Failure;
        }
    }

    /// <summary>All commands.</summary>
    internal static RootCommand Create(ServeCommand serve)
    {
        var root = new RootCommand("Stands between the kubelet and containerd: forwards CRI calls and looks after sidecars.");
        root.Add(serve.Command);
        root.Add(new DrainCommand(new KubeletEvidence(), new QueuedShutdown(), [Environment.ProcessPath!], TimeProvider.System).Command);
        root.Add(new PodsCommand(TimeProvider.System).Command);
        root.Add(new ExplainCommand().Command);
        root.Add(new EventsCommand(TimeProvider.System).Command);
        root.Add(new TimelineCommand().Command);
        root.Add(new DoctorCommand("", TimeProvider.System).Command);
        root.Add(VersionCommand.Create());
        root.Add(CompletionCommand.Create());
        root.Add(ManualCommand.Create(root));
        return root;
    }

    private static int ReportUsage(ParseResult parse, ServeCommand serve, TextWriter error)
    {
        foreach (ParseError fault in parse.Errors)
        {
            error.WriteLine($"crishim: {fault.Message}");
        }

        // Values that could be read are checked as well, so that one look shows all there is to mend.
        if (parse.CommandResult.Command == serve.Command)
        {
            _ = ConfigurationError.Report(serve.Load(parse).Errors, error);
        }

        string command = parse.CommandResult.Command is RootCommand ? "" : parse.CommandResult.Command.Name + " ";
        error.WriteLine($"Run 'crishim {command}--help' for what is possible.");
        return ExitCode.Usage;
    }
}
