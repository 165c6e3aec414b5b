using System.Text.Encodings.Web;
using System.Text.Json;
using CriShim.Configuration;
using CriShim.Linux;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace CriShim.Serving;

/// <summary>Log lines on the standard error stream, as everything around the kubelet does it.</summary>
internal static class LogOutput
{
    private const string Timestamp = "yyyy-MM-ddTHH:mm:ss.fffZ";

    public static ILoggerFactory Create(LogConfiguration configuration) => new OneLineLoggers(LoggerFactory.Create(builder =>
    {
        _ = builder.SetMinimumLevel(configuration.Level);
        _ = configuration.Format == LogFormat.Json ? builder.AddJsonConsole(Json)
            : Journal.IsStandardError() ? builder.AddSystemdConsole() // The journal has its own timestamps.
            : builder.AddSimpleConsole(Lines);
        _ = builder.Services.Configure<ConsoleLoggerOptions>(options =>
        {
            options.LogToStandardErrorThreshold = LogLevel.Trace;
            // A reader of the log that stands still must never hold up a call: lines beyond the queue are dropped, and their number is
            // logged when the reader goes on.
            options.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite;
        });
    }));

    private static void Lines(SimpleConsoleFormatterOptions options)
    {
        options.SingleLine = true;
        options.UseUtcTimestamp = true;
        options.TimestampFormat = Timestamp + " ";
        options.ColorBehavior = Console.IsErrorRedirected || Environment.GetEnvironmentVariable("NO_COLOR") is { Length: > 0 }
            ? LoggerColorBehavior.Disabled
            : LoggerColorBehavior.Enabled;
    }

    private static void Json(JsonConsoleFormatterOptions options)
    {
        options.UseUtcTimestamp = true;
        options.TimestampFormat = Timestamp;
        options.JsonWriterOptions = new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    }
}
