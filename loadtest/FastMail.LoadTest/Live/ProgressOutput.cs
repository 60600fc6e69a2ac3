using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using System.Text;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace FastMail.LoadTest.Live;

/// <summary>
/// Where progress goes, which is standard error: lines as they come or, on a terminal, above a display that a thread of
/// its own draws anew a few times a second, so that the loops which measure do nothing for it. Owned by the main thread.
/// </summary>
internal sealed class ProgressOutput : IDisposable
{
    private static readonly TimeSpan BetweenDrawings = TimeSpan.FromMilliseconds(250);

    private readonly IAnsiConsole? _console;
    private readonly QueuedLines _queue = new();
    private readonly ManualResetEventSlim _hasBegun = new();
    private readonly ManualResetEventSlim _isOver = new();
    private Thread? _drawing;
    private ExceptionDispatchInfo? _failure;

    private ProgressOutput(IAnsiConsole? console) => _console = console;

    /// <summary>Whether there is a display: then nobody need write a line each second.</summary>
    internal bool IsLive => _console is not null;

    /// <summary>Takes lines from any thread.</summary>
    internal TextWriter Lines => IsLive ? _queue : Console.Error;

    /// <param name="mayBeLive">Nobody has asked for less: no progress, or a result for programs.</param>
    internal static ProgressOutput Open(bool mayBeLive)
    {
        if (!mayBeLive || Console.IsErrorRedirected)
        {
            return new ProgressOutput(console: null);
        }

        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return new ProgressOutput(console.Profile.Capabilities.Ansi ? console : null);
    }

    /// <summary>
    /// From now on the display shows this; nothing without one. It has been drawn once on return, because the code for
    /// that takes a fifth of a second to compile, and the run is to have that behind it.
    /// </summary>
    internal void Begin(Func<Standing> look)
    {
        if (_console is not null)
        {
            _drawing = new Thread(() => Draw(_console, look)) { Name = "progress" };
            _drawing.Start();
            _hasBegun.Wait();
        }
    }

    /// <summary>Takes the display away. What was said meanwhile stays.</summary>
    /// <exception cref="IOException">The terminal has failed.</exception>
    internal void End()
    {
        _isOver.Set();
        _drawing?.Join();
        _drawing = null;
        _queue.MoveTo(Console.Error);
        _failure?.Throw();
    }

    public void Dispose()
    {
        _isOver.Set();
        _drawing?.Join();
        _queue.MoveTo(Console.Error); // what was said since the end
        _queue.Dispose();
        _hasBegun.Dispose();
        _isOver.Dispose();
    }

    private void Draw(IAnsiConsole console, Func<Standing> look)
    {
        var picture = new StandingPicture();
        try
        {
            console.Live(picture.Of(look())).AutoClear(true).Start(display =>
            {
                display.Refresh();
                _hasBegun.Set();
                while (!_isOver.Wait(BetweenDrawings))
                {
                    while (_queue.TryTake(out string? line))
                    {
                        console.Write(new LineAbove(line));
                    }

                    display.UpdateTarget(picture.Of(look()));
                }
            });
        }
        catch (IOException failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure); // the run is not the display's: it goes on to its end
            _hasBegun.Set();
        }
    }

    /// <summary>A line where the display began; what is left of the old display goes, or its end would stand behind the line.</summary>
    private sealed class LineAbove(string line) : Renderable
    {
        private const string EraseBelow = "\u001b[J";

        protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
            [Segment.Control(EraseBelow), new Segment(line), Segment.LineBreak];
    }

    /// <summary>Whole lines, until somebody takes them. Any thread.</summary>
    private sealed class QueuedLines : TextWriter
    {
        private readonly ConcurrentQueue<string> _lines = new();

        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value) => throw new NotSupportedException("whole lines only");

        public override void WriteLine(string? value) => _lines.Enqueue(value ?? "");

        internal bool TryTake(out string line) => _lines.TryDequeue(out line!);

        internal void MoveTo(TextWriter output)
        {
            while (TryTake(out string line))
            {
                output.WriteLine(line);
            }
        }
    }
}
