namespace FastMail.Server.Cli;

/// <summary>
/// How far long work has come, on standard error: one line that renews itself on a terminal, a line every ten seconds
/// elsewhere, nothing for what ends within a second. Owned by the verb that works; one thread.
/// </summary>
internal sealed class ProgressLine : IDisposable
{
    private readonly long _total;
    private readonly TimeProvider _clock;
    private readonly TimeSpan _interval = TimeSpan.FromSeconds(Console.IsErrorRedirected ? 10 : 1);
    private readonly long _start;
    private long _last;
    private bool _isShown;

    public ProgressLine(long totalBytes, TimeProvider clock)
    {
        _total = totalBytes;
        _clock = clock;
        _start = _last = clock.GetTimestamp();
    }

    public void Report(long bytes)
    {
        Show(() =>
        {
            double seconds = _clock.GetElapsedTime(_start).TotalSeconds;
            double percent = 100.0 * bytes / Math.Max(_total, 1);
            return $"{percent:F0} % of {_total >> 20} MiB, {(bytes >> 20) / seconds:F0} MiB/s";
        });
    }

    /// <summary>The same for work that cannot be told in percent.</summary>
    public void Show(Func<string> say)
    {
        if (_clock.GetElapsedTime(_last) < _interval)
        {
            return;
        }

        _last = _clock.GetTimestamp();
        string text = say();
        if (Console.IsErrorRedirected)
        {
            Console.Error.WriteLine(text);
        }
        else
        {
            Console.Error.Write($"\r{text,-60}");
            _isShown = true;
        }
    }

    /// <summary>Makes room for other output.</summary>
    public void Clear()
    {
        if (_isShown)
        {
            Console.Error.Write($"\r{string.Empty,-60}\r");
            _isShown = false;
        }
    }

    public void Dispose() => Clear();
}
