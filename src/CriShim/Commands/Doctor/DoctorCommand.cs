using System.CommandLine;
using CriShim.Configuration;
using CriShim.Linux;

namespace CriShim.Commands.Doctor;

/// <summary>"crishim doctor": looks at the node, and says what is wrong and what to do about it.</summary>
internal sealed class DoctorCommand
{
    private readonly Option<string?> _config = new(ServeFlags.ConfigName)
    {
        HelpName = "FILE", Description = $"Configuration file. Without the flag {CriShimConfiguration.DefaultFile} is read, if it exists.",
    };

    private readonly OutputOption _output = new("one object");

    private readonly Option<bool> _beforeRemoval = new("--before-removal")
    {
        Description = "Look only at what would no longer work without crishim. The package asks this before it is removed.",
    };

    private readonly string _root;
    private readonly IReadOnlyList<ICheck> _checks;
    private readonly IReadOnlyList<ICheck> _removalChecks;

    /// <param name="root">The folder that is "/" to the checks; "" for the machine's own.</param>
    /// <param name="time">The clock.</param>
    /// <param name="isSynchronised">Whether the clock is, as far as the kernel says.</param>
    /// <param name="roomOf">Free and total bytes of a folder's file system.</param>
    public DoctorCommand(
        string root, TimeProvider time, Func<bool?>? isSynchronised = null, Func<string, (long Free, long Total)?>? roomOf = null)
    {
        _root = root;
        var backend = new BackendCheck(time);
        // Later ones use what earlier ones have learned: the supervision mode, and which pods there are.
        _checks =
        [
            new CallersSocketCheck(time), new ServingCheck(time), backend, new KubeletCheck(), new ApiRightsCheck(), new CgroupCheck(),
            new ClockCheck(isSynchronised ?? KernelClock.IsSynchronised), new LeftoverCheck(), new RoomCheck(roomOf ?? RoomCheck.Measure),
        ];
        _removalChecks = [backend, new RemovalCheck()];
        Command = new Command(
            "doctor",
            "Looks for what is wrong on this node, and says what to do. Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage.")
        {
            _config, _output, _beforeRemoval,
        };
        Command.SetAction(RunAsync);
    }

    public Command Command { get; }

    private async Task<int> RunAsync(ParseResult parse, CancellationToken cancellationToken)
    {
        TextWriter output = parse.InvocationConfiguration.Output;
        bool isRemoval = parse.GetValue(_beforeRemoval);
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = parse.GetValue(_config) });
        IReadOnlyList<Finding> findings = [];
        if (loaded.Configuration is { } configuration)
        {
            var diagnosis = new Diagnosis(configuration, _root);
            foreach (ICheck check in isRemoval ? _removalChecks : _checks)
            {
                await RunAsync(check, diagnosis, cancellationToken);
            }

            // A removal is not kept up by anything else that may be wrong.
            findings = isRemoval ? [.. diagnosis.Findings.Where(finding => finding.Area == RemovalCheck.Name)] : diagnosis.Findings;
        }
        else
        {
            findings = [.. loaded.Errors.Select(error => new Finding(
                Severity.Problem, "configuration", error.ToString(), "mend it; crishim serve --check-config tells whether it is right"))];
        }

        if (_output.IsJson(parse))
        {
            output.WriteLine(DoctorReport.ToJson(findings));
        }
        else
        {
            output.Write(DoctorReport.ToText(findings, Terminal.Of(output)));
        }

        return findings.Any(finding => finding.IsWrong) ? ExitCode.Failure : ExitCode.Success;
    }

    private static async Task RunAsync(ICheck check, Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        try
        {
            await check.RunAsync(diagnosis, cancellationToken);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            diagnosis.Warn(check.Area, $"could not be looked at: {failure.Message}", "run crishim doctor as root");
        }
    }
}
