using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;
using Microsoft.Extensions.Options;

namespace FastMail.Server.Cli;

/// <summary>
/// What a running server has to say, a line each on standard error. Put together by hand: the logging builder's service
/// container has some 100 methods compiled at each start.
/// </summary>
internal static class ServerLog
{
    /// <summary>The caller disposes it, which writes what waits.</summary>
    public static ILoggerFactory Open(TimeProvider clock)
    {
        var options = new ConsoleLoggerOptions
        {
            FormatterName = LineFormatter.FormatterName,
            LogToStandardErrorThreshold = LogLevel.Trace, // standard output is for the ready line
            QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite, // a stuck terminal must not stop mail
        };
        var console = new ConsoleLoggerProvider(new Unchanging(options), [new LineFormatter(clock)]);
        return new LoggerFactory([console], new LoggerFilterOptions { MinLevel = LogLevel.Information });
    }

    private sealed class Unchanging(ConsoleLoggerOptions options) : IOptionsMonitor<ConsoleLoggerOptions>
    {
        public ConsoleLoggerOptions CurrentValue => options;

        public ConsoleLoggerOptions Get(string? name) => options;

        public IDisposable? OnChange(Action<ConsoleLoggerOptions, string?> listener) => null;
    }

    /// <summary>When, how bad, what; an exception with its stack on the same line. Stateless.</summary>
    private sealed class LineFormatter(TimeProvider clock) : ConsoleFormatter(FormatterName)
    {
        public const string FormatterName = "line";

        public override void Write<TState>(
            in LogEntry<TState> logEntry, IExternalScopeProvider? scopeProvider, TextWriter textWriter)
        {
            string said = logEntry.Formatter(logEntry.State, logEntry.Exception);
            string text = logEntry.Exception is { } exception ? $"{said} {exception}" : said;
            textWriter.Write($"{clock.GetUtcNow():yyyy-MM-ddTHH:mm:ss.fff}Z {Word(logEntry.LogLevel)}: ");
            textWriter.WriteLine(text.ReplaceLineEndings(" "));
        }

        private static string Word(LogLevel level) => level switch
        {
            LogLevel.Trace => "trce",
            LogLevel.Debug => "dbug",
            LogLevel.Information => "info",
            LogLevel.Warning => "warn",
            LogLevel.Error => "fail",
            _ => "crit",
        };
    }
}
