using System.CommandLine;
using CriShim.Admin;
using CriShim.Configuration;
using CriShim.Node.Draining;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision;
using Grpc.Core;
using DrainedPod = CriShim.Protocol.Admin.V1.DrainedPod;
using Duration = Google.Protobuf.WellKnownTypes.Duration;
using DrainState = CriShim.Protocol.Admin.V1.DrainState;
using PodEndPhase = CriShim.Protocol.Admin.V1.PodEndPhase;

namespace CriShim.Commands.Drain;

/// <summary>"crishim drain": asks the serving crishim to end every pod of the node, and shows how it gets on.</summary>
/// <remarks>The drain is the daemon's: it goes on when this command is interrupted, and after a crash of the daemon itself.</remarks>
internal sealed class DrainCommand
{
    private const string DefaultGrace = "30s";

    /// <summary>Beyond the grace: killing, and stopping sandboxes (network plugins take their time).</summary>
    private static readonly TimeSpan Margin = TimeSpan.FromSeconds(20);

    /// <summary>A crishim that is being restarted is there again within this.</summary>
    private static readonly TimeSpan RestartPatience = TimeSpan.FromSeconds(3);

    /// <summary>How long another crishim may take to serve.</summary>
    private static readonly TimeSpan SubstitutePatience = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(200);

    private readonly Option<string> _grace = new("--grace")
    {
        HelpName = "DURATION",
        Description = "The most that all of it may take; pods with a shorter grace period keep to theirs. While a drain is on, a shorter one "
            + "shortens it.",
        DefaultValueFactory = _ => DefaultGrace,
    };

    private readonly Option<bool> _force = new("--force")
    {
        Description = "Also while a kubelet is alive. It can start nothing meanwhile, but does so once the drain is cancelled.",
    };

    private readonly Option<bool> _onlyAtShutdown = new("--only-at-shutdown")
    {
        Description = "Do nothing unless systemd is shutting the node down; then a kubelet is no obstacle. For crishim-drain.service.",
    };

    private readonly Option<bool> _cancel = new("--cancel")
    {
        Description = "End the drain: pods are let in again. Pods whose end has begun are ended all the same.",
    };

    private readonly AdminSocketOption _socket = new();

    private readonly OutputOption _output = new("one object, at the end");

    private readonly KubeletEvidence _kubelets;
    private readonly QueuedShutdown _shutdown;
    private readonly IReadOnlyList<string> _crishim;
    private readonly TimeProvider _time;

    /// <param name="kubelets">Tells whether one is alive.</param>
    /// <param name="shutdown">Tells whether the node is shutting down.</param>
    /// <param name="crishim">How this program is started, for a shutdown that outlives the crishim that serves.</param>
    /// <param name="time">The clock.</param>
    public DrainCommand(KubeletEvidence kubelets, QueuedShutdown shutdown, IReadOnlyList<string> crishim, TimeProvider time)
    {
        _crishim = crishim;
        _kubelets = kubelets;
        _shutdown = shutdown;
        _time = time;
        Command = new Command(
            "drain",
            "Ends every pod of the node in order, in parallel across pods, and keeps new ones from starting. This lasts until "
            + "'crishim drain --cancel' or a reboot, over restarts of crishim. Exit codes: 0 all pods ended, 1 some did not, 2 wrong usage.")
        {
            _grace, _force, _onlyAtShutdown, _cancel, _socket.Admin, _socket.Config, _output,
        };
        Command.Validators.Add(result =>
        {
            Option[] others = [_grace, _force, _onlyAtShutdown];
            if (result.GetResult(_cancel) is { Implicit: false }
                && others.FirstOrDefault(option => result.GetResult(option) is { Implicit: false }) is { } other)
            {
                result.AddError($"--cancel and {other.Name} exclude each other");
            }
        });
        Command.SetAction(RunAsync);
    }

    public Command Command { get; }

    private async Task<int> RunAsync(ParseResult parse, CancellationToken cancellationToken)
    {
        TextWriter output = parse.InvocationConfiguration.Output;
        TextWriter error = parse.InvocationConfiguration.Error;
        bool json = _output.IsJson(parse);
        var faults = new List<ConfigurationError>();
        TimeSpan grace = Read(_grace.Name, parse.GetValue(_grace)!, SettingRules.Duration(TimeSpan.Zero, NodeDrain.MaxGrace), faults);
        if (!_socket.TryFind(parse, faults, out string socket, out int exitCode))
        {
            return exitCode;
        }

        bool atShutdown = parse.GetValue(_onlyAtShutdown);
        try
        {
            if (atShutdown && !await _shutdown.IsQueuedAsync())
            {
                output.WriteLine(
                    json ? """{"skipped":"the node is not shutting down"}""" : "The node is not shutting down: no pod is ended.");
                return ExitCode.Success;
            }

            bool force = atShutdown || parse.GetValue(_force);
            if (!force && !parse.GetValue(_cancel) && _kubelets.FindProcess() is { } alive)
            {
                error.WriteLine($"crishim: {alive}");
                return ExitCode.Failure;
            }

            using var channel = new UnixChannel(socket);
            var supervisor = new Supervisor.SupervisorClient(channel.Invoker);
            if (parse.GetValue(_cancel))
            {
                CancelDrainResponse cancelled =
                    await supervisor.CancelDrainAsync(new CancelDrainRequest(), cancellationToken: cancellationToken);
                output.WriteLine(
                    json ? $$"""{"wasDraining":{{(cancelled.WasDraining ? "true" : "false")}}}"""
                    : cancelled.WasDraining ? "The drain is cancelled: pods are let in again." : "The node was not being drained.");
                return ExitCode.Success;
            }

            await using SubstituteCrishim? substitute =
                atShutdown ? new SubstituteCrishim(_crishim, parse.GetValue(_socket.Config), socket) : null;
            var request = new DrainRequest { Grace = Duration.FromTimeSpan(grace), Force = force };
            DrainResponse begun = await BeginAsync(supervisor, request, substitute, cancellationToken);
            return await WatchAsync(supervisor, begun.Drain, substitute, json, output, error, cancellationToken);
        }
        catch (RpcException failure)
        {
            error.WriteLine($"crishim: {AdminSocketOption.Describe(failure, socket)}");
        }
        catch (InvalidOperationException failure)
        {
            error.WriteLine($"crishim: {failure.Message}");
        }

        return ExitCode.Failure;
    }

    private async Task<int> WatchAsync(
        Supervisor.SupervisorClient supervisor, DrainState drain, SubstituteCrishim? substitute, bool json, TextWriter output,
        TextWriter error, CancellationToken cancellationToken)
    {
        IDrainProgress progress = json ? new NoProgress() : ProgressOn(output);
        DateTimeOffset began = _time.GetUtcNow();
        DateTimeOffset? awaySince = null;
        using var timer = new PeriodicTimer(PollInterval, _time);
        while (true)
        {
            DateTimeOffset now = _time.GetUtcNow();
            DateTimeOffset deadline = drain.Deadline.ToDateTimeOffset();
            progress.Show(drain, deadline > now ? deadline - now : TimeSpan.Zero);
            DateTimeOffset last = (deadline > began ? deadline : began) + Margin;
            if (drain.IsSettled || now >= last)
            {
                break;
            }

            _ = await timer.WaitForNextTickAsync(cancellationToken);
            try
            {
                GetDrainResponse answer = await supervisor.GetDrainAsync(new GetDrainRequest(), cancellationToken: cancellationToken);
                awaySince = null;
                if (answer.Drain is null)
                {
                    error.WriteLine("crishim: the drain was cancelled");
                    return ExitCode.Failure;
                }

                drain = Merge(drain, answer.Drain);
            }
            catch (RpcException failure) when (failure.StatusCode != StatusCode.Unimplemented && !cancellationToken.IsCancellationRequested)
            {
                // A connection that breaks in the middle of a call is Unavailable or Internal, as the moment will have it.
                if (awaySince is null)
                {
                    awaySince = now;
                    progress.Say("crishim is away; it goes on with the drain as soon as it is back");
                }
                else if (substitute is { IsStarted: false } && now - awaySince >= RestartPatience)
                {
                    progress.Say("crishim does not come back; another one goes on with the drain");
                    substitute.Start();
                }
            }
        }

        output.WriteLine(json ? DrainText.ToJson(drain) : DrainText.Summary(drain, _time.GetUtcNow() - drain.BeganAt.ToDateTimeOffset()));
        return drain.IsComplete ? ExitCode.Success : ExitCode.Failure;
    }

    /// <summary>A crishim that has started meanwhile knows no more of the pods that had ended: they are part of this drain still.</summary>
    private static DrainState Merge(DrainState before, DrainState now)
    {
        var known = now.Pods.Select(pod => pod.SandboxId).ToHashSet(StringComparer.Ordinal);
        foreach (DrainedPod pod in before.Pods.Where(pod => !known.Contains(pod.SandboxId)))
        {
            if (now.IsNodeKnown && pod.Phase != PodEndPhase.Done)
            {
                pod.Phase = PodEndPhase.Done;
                pod.Stage = "ended";
                pod.Running.Clear();
            }

            now.Pods.Add(pod);
        }

        return now;
    }

    /// <summary>
    /// Where no crishim serves, a person is told at once. At a shutdown nobody tries again: one that is being restarted is waited for, and
    /// then another one takes its place.
    /// </summary>
    private async Task<DrainResponse> BeginAsync(
        Supervisor.SupervisorClient supervisor, DrainRequest request, SubstituteCrishim? substitute, CancellationToken cancellationToken)
    {
        long began = _time.GetTimestamp();
        while (true)
        {
            try
            {
                return await supervisor.DrainAsync(request, cancellationToken: cancellationToken);
            }
            catch (RpcException failure) when (failure.StatusCode is StatusCode.Unavailable or StatusCode.Internal
                && substitute is not null && _time.GetElapsedTime(began) < RestartPatience + SubstitutePatience)
            {
                if (!substitute.IsStarted && _time.GetElapsedTime(began) >= RestartPatience)
                {
                    substitute.Start();
                }

                await Task.Delay(PollInterval, _time, cancellationToken);
            }
        }
    }

    private static IDrainProgress ProgressOn(TextWriter output)
    {
        // A writer of a test or of another caller is no terminal, whatever the process's own output is.
        if (!ReferenceEquals(output, Console.Out) || Console.IsOutputRedirected
            || Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb")
        {
            return new LineProgress(output);
        }

        bool coloured = Environment.GetEnvironmentVariable("NO_COLOR") is not { Length: > 0 };
        return new TerminalProgress(output, () => (Console.WindowWidth, Console.WindowHeight), coloured);
    }

    private static T Read<T>(string flag, string text, SettingRules.Rule<T> rule, List<ConfigurationError> faults)
    {
        if (!rule(text, out T value, out string fault))
        {
            faults.Add(new ConfigurationError(flag, null, text, fault));
        }

        return value;
    }
}
