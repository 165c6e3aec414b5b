using System.Runtime.InteropServices;
using CriShim.Benchmarks;
using CriShim.Benchmarks.Backend;

// The benchmark's own child: the backend that all routes lead to.
if (args is ["--fake-backend", var socketPath])
{
    return FakeBackend.Run(socketPath);
}

if (args.Contains("--help"))
{
    Console.WriteLine(BenchmarkOptions.Usage);
    return 0;
}

BenchmarkOptions options;
try
{
    options = BenchmarkOptions.Parse(args);
}
catch (ArgumentException wrong)
{
    Console.Error.WriteLine($"{wrong.Message}\n\n{BenchmarkOptions.Usage}");
    return 2;
}

using var interrupted = new CancellationTokenSource();
void Interrupt(PosixSignalContext context)
{
    context.Cancel = true;
    interrupted.Cancel();
}

using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Interrupt);
try
{
    return await BenchmarkRun.RunAsync(options, interrupted.Token);
}
catch (Exception) when (interrupted.IsCancellationRequested)
{
    return 130;
}
catch (MeasurementException failure)
{
    Console.Error.WriteLine(failure.Message);
    return 1;
}
