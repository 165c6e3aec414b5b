using System.CommandLine;
using System.Text;
using CriShim.Configuration;

namespace CriShim.Commands;

/// <summary>"crishim manual": crishim(8), from the commands themselves. Hidden: it is run where the package is made.</summary>
internal static class ManualCommand
{
    public static Command Create(RootCommand root)
    {
        var command = new Command("manual", "Prints the manual page crishim(8), in troff's man macros.") { Hidden = true };
        command.SetAction(parse =>
        {
            parse.InvocationConfiguration.Output.Write(ToMan(root));
            return ExitCode.Success;
        });
        return command;
    }

    private static string ToMan(RootCommand root)
    {
        var page = new StringBuilder();
        _ = page.Append($".TH CRISHIM 8 \"\" \"crishim {Escape(VersionCommand.Version.Split('+')[0])}\" \"System administration\"\n")
            .Append(".SH NAME\ncrishim \\- stands between the kubelet and containerd, and looks after sidecars\n")
            .Append(".SH SYNOPSIS\n.B crishim\n.I COMMAND\n[\\fIOPTIONS\\fR]\n")
            .Append(".SH DESCRIPTION\n")
            .Append(Text(root.Description)).Append(".PP\n")
            .Append("Commands that show or end pods ask the crishim that serves, over its admin socket, and are for root.\n")
            .Append(".SH COMMANDS\n");
        foreach (Command command in root.Subcommands.Where(command => !command.Hidden))
        {
            _ = page.Append($".SS \"crishim {Escape(command.Name)}");
            foreach (Argument argument in command.Arguments)
            {
                string name = Escape(argument.HelpName ?? argument.Name);
                _ = page.Append(argument.Arity.MinimumNumberOfValues == 0 ? $" [{name}]" : $" {name}");
            }

            _ = page.Append("\"\n").Append(Text(command.Description));
            foreach (Argument argument in command.Arguments)
            {
                _ = page.Append($".TP\n\\fI{Escape(argument.HelpName ?? argument.Name)}\\fR\n").Append(Text(argument.Description));
            }

            foreach (Option option in command.Options.Where(option => !option.Hidden))
            {
                string names = string.Join(
                    ", ", option.Aliases.Prepend(option.Name).Order(StringComparer.Ordinal).Select(name => $"\\fB{Escape(name)}\\fR"));
                string value = option.HelpName is { } help ? $" \\fI{Escape(help)}\\fR" : "";
                _ = page.Append($".TP\n{names}{value}\n").Append(Text(option.Description));
            }
        }

        _ = page.Append(".SH \"EXIT STATUS\"\n")
            .Append(".TP\n.B 0\nIt was done.\n.TP\n.B 1\nIt failed, and the standard error says why; or \\fBdoctor\\fR found something, or \\fBdrain\\fR did not end all pods.\n.TP\n.B 2\nFlags or configuration are wrong.\n")
            .Append(".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nSet to anything: no colours. There are none in pipes and files in any case.\n")
            .Append(".SH FILES\n")
            .Append($".TP\n.I {Escape(CriShimConfiguration.DefaultFile)}\nThe configuration; \\fBcrishim serve \\-\\-check\\-config\\fR prints all of it.\n")
            .Append(".TP\n.I /run/crishim/admin.sock\nThe admin socket.\n")
            .Append(".SH \"SEE ALSO\"\n.BR kubelet (8),\n.BR containerd (8),\n.BR crictl (1)\n");
        return page.ToString();
    }

    private static string Text(string? text) => string.IsNullOrEmpty(text) ? "" : Line(text) + "\n";

    // A period or an apostrophe at the beginning of a line would be a request.
    private static string Line(string text) => text[0] is '.' or '\'' ? "\\&" + Escape(text) : Escape(text);

    private static string Escape(string text) => text.Replace("\\", "\\e", StringComparison.Ordinal).Replace("-", "\\-", StringComparison.Ordinal)
        .Replace("'", "\\(aq", StringComparison.Ordinal).Replace("\"", "\\(dq", StringComparison.Ordinal);
}
