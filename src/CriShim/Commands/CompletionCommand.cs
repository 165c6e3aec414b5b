using System.CommandLine;

namespace CriShim.Commands;

/// <summary>"crishim completion": scripts that have a shell ask this program for completions.</summary>
internal static class CompletionCommand
{
    // The [suggest] directive of System.CommandLine answers with one completion a line, for the word at that place of the command line.
    private const string Bash = """
        # bash completion of crishim: source <(crishim completion bash)
        _crishim() {
            local word="${COMP_WORDS[COMP_CWORD]}" found
            COMPREPLY=()
            while IFS= read -r found; do
                [[ $found == "$word"* ]] && COMPREPLY+=("$found")
            done < <("${COMP_WORDS[0]}" "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)
        }
        complete -o default -F _crishim crishim

        """;

    private const string Zsh = """
        #compdef crishim
        # zsh completion of crishim: source <(crishim completion zsh), or as _crishim in a folder of $fpath
        _crishim() {
            local -a found
            found=("${(@f)$("${words[1]}" "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
            compadd -- "${(@)found:#}" || _files
        }
        compdef _crishim crishim
        # As a file of $fpath this is the function's own first call.
        if [ "${funcstack[1]}" = _crishim ]; then _crishim; fi

        """;

    private const string Fish = """
        # fish completion of crishim: crishim completion fish | source
        function __crishim_complete
            set -l line (commandline -cp)
            crishim "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
        end
        complete -c crishim -f -a '(__crishim_complete)'
        complete -c crishim -r -l config -l svg -l kubeconfig -F

        """;

    public static Command Create()
    {
        var shell = new Argument<string>("shell") { HelpName = "bash|zsh|fish", Description = "The shell." };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command(
            "completion", "Prints a script that completes crishim's commands, options and pods: source <(crishim completion bash).") { shell };
        command.SetAction(parse =>
        {
            parse.InvocationConfiguration.Output.Write(parse.GetValue(shell) switch { "zsh" => Zsh, "fish" => Fish, _ => Bash });
            return ExitCode.Success;
        });
        return command;
    }
}
