using System.CommandLine;
using System.CommandLine.Completions;
using CriShim.Admin;
using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Commands;

/// <summary>A command that asks the crishim that serves, and prints the answer.</summary>
internal abstract class AskingCommand
{
    /// <summary>How long completion may keep a shell waiting.</summary>
    private static readonly TimeSpan CompletionPatience = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(1);

    private readonly OutputOption _output;

    protected AskingCommand(string name, string description, string jsonDescription)
    {
        _output = new OutputOption(jsonDescription);
        Command = new Command(name, description);
        Command.SetAction(RunAsync);
    }

    public Command Command { get; }

    /// <summary>Adds the options that all of them have, behind a command's own.</summary>
    protected void AddCommonOptions()
    {
        Command.Add(_output);
        Command.Add(Socket.Admin);
        Command.Add(Socket.Config);
    }

    protected AdminSocketOption Socket { get; } = new();

    /// <summary>Asks, and prints.</summary>
    protected abstract Task<int> RunAsync(Supervisor.SupervisorClient supervisor, Answer answer, ParseResult parse, CancellationToken cancellationToken);

    /// <summary>
    /// Asks a crishim that has answered before, as commands do that go on until they are interrupted: while it is away, as during an
    /// upgrade, it is waited for, which is said once. Whoever never answered is not waited for.
    /// </summary>
    /// <exception cref="RpcException">Any other failure.</exception>
    protected static async Task<T> AskAgainAsync<T>(Func<AsyncUnaryCall<T>> ask, Answer answer, TimeProvider time, CancellationToken cancellationToken)
    {
        bool isAway = false;
        while (true)
        {
            try
            {
                return await ask();
            }
            catch (RpcException failure) when (!cancellationToken.IsCancellationRequested
                && failure.StatusCode is StatusCode.Unavailable or StatusCode.Internal or StatusCode.NotFound)
            {
                if (!isAway)
                {
                    isAway = true;
                    answer.Error.WriteLine(failure.StatusCode == StatusCode.NotFound
                        ? "crishim: the pod is not known any more; waiting"
                        : $"crishim: crishim is away (unix://{answer.Socket}); waiting");
                }

                await Task.Delay(RetryDelay, time, cancellationToken);
            }
        }
    }

    /// <summary>An argument that names a pod, with the node's pods as completions.</summary>
    protected Argument<string> PodArgument(string helpName, string description)
    {
        var argument = new Argument<string>("pod") { HelpName = helpName, Description = description };
        argument.CompletionSources.Add(CompletePods);
        return argument;
    }

    /// <summary>Whether what was typed can be a subject at all; if not, that was said.</summary>
    protected static bool CheckSubject(string subject, Answer answer)
    {
        if (subject.Length is > 0 and <= 400 && !subject.Any(char.IsControl))
        {
            return true;
        }

        answer.Error.WriteLine($"crishim: \"{Terminal.Clean(subject)}\" {SubjectText.Allowed}");
        return false;
    }

    private IEnumerable<CompletionItem> CompletePods(CompletionContext context)
    {
        try
        {
            if (Socket.Find(context.ParseResult, []) is not { } socket)
            {
                return [];
            }

            using var channel = new UnixChannel(socket);
            using var limit = new CancellationTokenSource(CompletionPatience, TimeProvider.System);
            ListPodsResponse pods = new Supervisor.SupervisorClient(channel.Invoker).ListPods(new ListPodsRequest(), cancellationToken: limit.Token);

            // Into a shell's line goes nothing that means something to it: a pod that Kubernetes made has no other letters.
            return [.. pods.Pods.Select(pod => $"{pod.Namespace}/{pod.Name}").Distinct()
                .Where(name => name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '.' or '/'))
                .Select(name => new CompletionItem(name))];
        }
        catch (Exception exception) when (exception is RpcException or OperationCanceledException or InvalidOperationException)
        {
            // A shell that completes has no place for messages.
            return [];
        }
    }

    private async Task<int> RunAsync(ParseResult parse, CancellationToken cancellationToken)
    {
        TextWriter error = parse.InvocationConfiguration.Error;
        if (!Socket.TryFind(parse, [], out string socket, out int exitCode))
        {
            return exitCode;
        }

        try
        {
            using var channel = new UnixChannel(socket);
            var answer = new Answer(Terminal.Of(parse.InvocationConfiguration.Output), error, _output.IsJson(parse), socket);
            return await RunAsync(new Supervisor.SupervisorClient(channel.Invoker), answer, parse, cancellationToken);
        }
        catch (Exception interrupted) when (interrupted is RpcException or OperationCanceledException && cancellationToken.IsCancellationRequested)
        {
            // A command that goes on until it is interrupted has done what it was for.
            return ExitCode.Success;
        }
        catch (RpcException failure)
        {
            error.WriteLine($"crishim: {Terminal.Clean(AdminSocketOption.Describe(failure, socket))}");
            return ExitCode.Failure;
        }
    }
}

/// <summary>Where an answer goes.</summary>
/// <param name="Terminal">The output.</param>
/// <param name="Error">For what is no part of it.</param>
/// <param name="IsJson">As JSON.</param>
/// <param name="Socket">Path of the admin socket, for messages.</param>
internal sealed record Answer(Terminal Terminal, TextWriter Error, bool IsJson, string Socket);
