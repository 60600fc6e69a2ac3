using System.Net;
using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>
/// Turns socket readiness into calls of handlers, all on one thread: nothing here needs a lock, and nothing may block.
/// Owned by whoever starts it. <see cref="Post"/>, <see cref="Listen"/>, <see cref="StopAsync"/>, Dispose and the
/// counters are for any thread, everything else for the loop thread.
/// </summary>
public sealed partial class EventLoop : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(100);

    private readonly TimeProvider _clock;
    private readonly long _started;
    private readonly ReadyList _ready = new();
    private readonly Stack<Connection> _free = new();
    private readonly List<Connection> _live = [];
    private readonly List<Listener> _listeners = [];
    private readonly int _connectionCap;

    private readonly TimingWheel _wheel = new();
    private readonly ITimer _ticker;
    private readonly Ticked _ticked;
    private bool _isTicking;

    // One of these wakes the loop, by the kind of its thread.
    private readonly Doorbell? _doorbell;
    private readonly AutoResetEvent? _wake;
    private readonly Thread? _ownThread;
    private int _threadId;
    private volatile bool _isThreadEnding;

    private volatile int _connectionCount;

    private EventLoop(EventLoopOptions options, TimeProvider clock, int pollThread)
    {
        Options = options;
        _clock = clock;
        _started = clock.GetTimestamp();
        long descriptors = DescriptorsForConnections();
        _outgoingCap = (int)Math.Clamp(descriptors / 4, 1, options.OutgoingCap);
        _connectionCap = (int)Math.Clamp(descriptors - _outgoingCap, 1, options.ConnectionCap);
        Slabs = new SlabPool(options.SlabBytes, options.SlabsKept);
        Outgoings = new OutgoingPool(this, options.SlabBytes, options.SlabsKept);
        _ticked = new Ticked(this);
        _ticker = clock.CreateTimer(
            static ticked => ((Ticked)ticked!).Post(),
            _ticked,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);
        if (pollThread != 0)
        {
            Thread = LoopThread.Inline;
            _threadId = pollThread;
            _doorbell = new Doorbell(RunReady);
            _doorbell.Listen();
        }
        else
        {
            Thread = LoopThread.Own;
            _wake = new AutoResetEvent(initialState: false);
            _ownThread = new Thread(RunOwnThread) { IsBackground = true, Name = "fastmail loop" };
            _threadId = _ownThread.ManagedThreadId;
            _ownThread.Start();
        }
    }

    /// <summary>The thread that runs this loop.</summary>
    public LoopThread Thread { get; }

    public bool IsLoopThread => Environment.CurrentManagedThreadId == _threadId;

    /// <summary>Accepted connections until their socket is closed, lingering ones included.</summary>
    public int ConnectionCount => _connectionCount;

    /// <summary>Accepted connections that may be open at a time: the cap, lowered to what descriptors there are.</summary>
    public int ConnectionCap => _connectionCap;

    internal EventLoopOptions Options { get; }

    internal SlabPool Slabs { get; }

    internal OutgoingPool Outgoings { get; }

    internal bool IsFull => _connectionCount >= _connectionCap;

    /// <summary>Since the loop started, monotonic.</summary>
    public TimeSpan Elapsed => _clock.GetElapsedTime(_started);

    /// <summary>
    /// Asks the runtime for inline completions on one poll thread, unless the environment says otherwise. Counts only
    /// before the process's first socket; and it counts for all its sockets, so whoever else uses one must leave the
    /// thread it is called back on at once.
    /// </summary>
    public static void PrepareRuntime() => InlineProbe.SetSwitches();

    /// <exception cref="InvalidOperationException">
    /// <see cref="LoopThread.Inline"/> was demanded and the runtime does not complete inline on one thread.
    /// </exception>
    public static EventLoop Start(EventLoopOptions options, TimeProvider clock)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.SlabBytes, EventLoopOptions.LeastReplyBytes, nameof(options));
        int pollThread = options.Thread == LoopThread.Own ? 0 : InlineProbe.PollThreadId();
        if (options.Thread == LoopThread.Inline && pollThread == 0)
        {
            throw new InvalidOperationException(
                "The runtime does not complete socket calls inline on one poll thread: PrepareRuntime must run before "
                + "the first socket of the process, and the environment must not ask for more poll threads.");
        }

        return new EventLoop(options, clock, pollThread);
    }

    /// <summary>
    /// Runs the work on the loop thread, in the order of posting. Any thread, never blocks, allocates nothing. Work that
    /// comes after Dispose is never run: there is nothing left it could be about.
    /// </summary>
    public void Post(ILoopWork work)
    {
        if (_ready.Add(work))
        {
            Wake();
        }
    }

    /// <summary>Accepts connections until the loop stops. Any thread.</summary>
    /// <exception cref="SocketException">The address is in use or not ours.</exception>
    public Listener Listen(IPEndPoint endPoint, IHandlerFactory handlers, ListenerTls? tls = null)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isDisposed) != 0, this);
        return Begin(new Listener(this, endPoint, handlers, tls));
    }

    /// <summary>
    /// The same at a path, for processes of this machine: owner and group may open it. A file that a killed process left
    /// there is replaced, and the listener's own removed when the loop stops.
    /// </summary>
    /// <exception cref="SocketException">Somebody listens there, or the path is none of ours.</exception>
    /// <exception cref="IOException">Something else than a socket is there.</exception>
    public Listener ListenLocally(UnixDomainSocketEndPoint endPoint, IHandlerFactory handlers, ListenerTls? tls = null)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _isDisposed) != 0, this);
        return Begin(new Listener(this, endPoint, handlers, tls));
    }

    /// <summary>Runs the timer's work once after this long, never early; arming it again moves it.</summary>
    public void Arm(LoopTimer timer, TimeSpan due)
    {
        DemandLoopThread();
        TimeSpan now = Elapsed;
        _wheel.SkipTo(now.Ticks / Tick.Ticks);
        _wheel.Arm(timer, TickOf(now + due));
        if (!_isTicking)
        {
            _isTicking = true;
            _ticker.Change(Tick, Tick);
        }
    }

    public void Disarm(LoopTimer timer)
    {
        DemandLoopThread();
        _wheel.Disarm(timer); // the ticker finds an empty wheel and rests
    }

    /// <summary>The first tick at which that time is over, so that nothing fires early.</summary>
    internal long TickOf(TimeSpan elapsed) => (elapsed.Ticks + Tick.Ticks - 1) / Tick.Ticks;

    internal void DemandLoopThread()
    {
        if (!IsLoopThread)
        {
            throw new InvalidOperationException("Only on the loop thread: post it.");
        }
    }

    internal void Report(Connection? connection, Exception exception) => Options.Failed(connection, exception);

    internal void Run(ILoopWork work)
    {
        try
        {
            work.Run();
        }
        catch (Exception exception)
        {
            Report(connection: null, exception);
        }
    }

    private Listener Begin(Listener listener)
    {
        Post(new Call(() => Open(listener)));
        return listener;
    }

    /// <summary>A new connection; <paramref name="client"/> is who entered, null when nobody counts them.</summary>
    internal void Begin(Socket socket, IHandlerFactory handlers, ListenerTls? tls, IPAddress? client)
    {
        _connectionCount++;
        Rent().Begin(socket, handlers, tls, client);
    }

    internal void Release(Connection connection, bool isOutgoing)
    {
        if (isOutgoing)
        {
            _outgoingCount--;
        }
        else
        {
            _connectionCount--;
        }

        Connection last = _live[^1];
        _live[connection.Index] = last;
        last.Index = connection.Index;
        _live.RemoveAt(_live.Count - 1);
        _free.Push(connection);
        FinishStopWhenEmpty();
    }

    private Connection Rent()
    {
        Connection connection = _free.TryPop(out Connection? pooled) ? pooled : new Connection(this);
        connection.Index = _live.Count;
        _live.Add(connection);
        return connection;
    }

    /// <summary>
    /// Of the descriptors that the process may have, 80 %, and never those that are in use already or that files and
    /// listeners will want: the cap must be reached before an accept, or worse a write of the log, fails for want of one.
    /// </summary>
    private static long DescriptorsForConnections()
    {
        long limit = Native.OpenFilesLimit();
        long used = Directory.EnumerateFileSystemEntries("/proc/self/fd").LongCount();
        return Math.Min(limit / 5 * 4, limit - used - EventLoopOptions.ReservedDescriptors);
    }

    private void Open(Listener listener)
    {
        _listeners.Add(listener);
        if (IsStopping)
        {
            listener.Close();
        }
        else
        {
            Run(listener);
        }
    }

    private void Wake()
    {
        try
        {
            if (_doorbell is not null)
            {
                _doorbell.Ring();
            }
            else
            {
                _wake!.Set();
            }
        }
        catch (ObjectDisposedException)
        {
            // The loop has ended between the entry in its list and this ring: the work is dropped, as Post says.
        }
    }

    /// <summary>The doorbell rang: one round of what is ready.</summary>
    private void RunReady()
    {
        DrainOnce();
        if (_isThreadEnding)
        {
            _doorbell!.Close();
            _ended.SetResult();
            return;
        }

        _doorbell!.Listen();
        if (_ready.EndDrain())
        {
            _doorbell.Ring();
        }
    }

    private void RunOwnThread()
    {
        while (!_isThreadEnding)
        {
            _wake!.WaitOne();
            do
            {
                DrainOnce();
            }
            while (!_isThreadEnding && _ready.EndDrain());
        }

        _ended.SetResult();
    }

    private void DrainOnce()
    {
        foreach (ILoopWork? work in _ready.BeginDrain())
        {
            Run(work!);
        }
    }

    private void AdvanceWheel()
    {
        _wheel.Advance(Elapsed.Ticks / Tick.Ticks);
        while (_wheel.TakeDue() is { } timer)
        {
            Run(timer.Due);
        }

        if (_wheel.Count == 0)
        {
            _isTicking = false;
            _ticker.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>A tick of the clock's timer; however late the loop is, at most one waits in the ready list.</summary>
    private sealed class Ticked(EventLoop loop) : ILoopWork
    {
        private int _isPosted;

        public void Post()
        {
            if (Interlocked.Exchange(ref _isPosted, 1) == 0)
            {
                loop.Post(this);
            }
        }

        public void Run()
        {
            Volatile.Write(ref _isPosted, 0);
            loop.AdvanceWheel();
        }
    }

    /// <summary>For the rare calls of start and stop, where an allocation does not matter.</summary>
    private sealed class Call(Action action) : ILoopWork
    {
        public void Run() => action();
    }
}
