using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using BenchmarkDotNet.Attributes;
using FastMail.Bench.Protocol;
using FastMail.Net;
using FastMail.Protocol.Smtp.Client;

namespace FastMail.Bench.Net;

/// <summary>
/// Messages of 1 KiB, one transaction each, from one loop over one connection and over 20 to the ceiling of bench/peers,
/// which keeps nothing: what sending costs by itself. Prints the processor time of a message on our side beside the
/// time that has passed. Run from the root of the repository; needs cc.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 2, iterationCount: 9, invocationCount: 1)]
public class SendBench : IDisposable
{
    private const int Messages = 40_000;

    // By DATA although the ceiling takes BDAT: the figures in the README are of that.
    private readonly SmtpClientOptions _options = new()
    {
        Hostname = "relay.test"u8.ToArray(),
        Tls = TlsPolicy.None,
        UsesChunking = false,
        MaxTransactions = int.MaxValue,
    };

    private readonly List<double> _cpu = [];
    private BenchFolder? _folder;
    private Process? _host;
    private EventLoop? _loop;
    private Sender[] _senders = [];

    [Params(1, 20)]
    public int Connections { get; set; }

    [GlobalSetup]
    public void Start()
    {
        EventLoop.PrepareRuntime();
        try
        {
            Connect();
        }
        catch
        {
            Dispose(); // who throws here is not cleaned up after, and there may be a process
            throw;
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _cpu.Sort();
        if (_cpu.Count > 0)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"processor time a message: median {_cpu[_cpu.Count / 2]:F2} us, least {_cpu[0]:F2} us"));
        }

        _loop?.Dispose();
        _host?.Kill();
        _host?.Dispose();
        _folder?.Dispose();
        GC.SuppressFinalize(this);
    }

    [Benchmark(OperationsPerInvoke = Messages)]
    public void Send()
    {
        TimeSpan before = Environment.CpuUsage.TotalTime;
        Send(Messages);
        _cpu.Add((Environment.CpuUsage.TotalTime - before).TotalMicroseconds / Messages);
    }

    private void Connect()
    {
        _folder = new BenchFolder("ceiling");
        string host = Path.Join(_folder.Path, "ceiling");
        Compile(Path.Join(Environment.GetEnvironmentVariable("FASTMAIL_BENCH_ROOT") ?? FindRoot(), "bench", "peers", "ceiling.c"), host);
        _host = Process.Start(new ProcessStartInfo(host, ["0"]) { RedirectStandardOutput = true, UseShellExecute = false })!;
        string ready = _host.StandardOutput.ReadLine() ?? throw new InvalidOperationException("The host does not start.");
        int port = int.Parse(ready.Split(' ', ':')[^1], CultureInfo.InvariantCulture);
        _loop = EventLoop.Start(
            new EventLoopOptions { Failed = static (_, exception) => Environment.FailFast("send", exception) }, TimeProvider.System);
        Console.WriteLine($"loop thread: {_loop.Thread}");
        _senders = [.. Enumerable.Range(0, Connections).Select(_ => new Sender(_options))];
        foreach (Sender sender in _senders)
        {
            sender.Connect(_loop, new IPEndPoint(IPAddress.Loopback, port));
        }

        Send(1000);
    }

    private void Send(int messages)
    {
        using CountdownEvent done = new(_senders.Length);
        foreach (Sender sender in _senders)
        {
            sender.Send(messages / _senders.Length, done);
        }

        done.Wait();
    }

    private static void Compile(string source, string program)
    {
        using Process compiler = Process.Start(
            new ProcessStartInfo("cc", ["-O2", "-o", program, source]) { RedirectStandardError = true, UseShellExecute = false })!;
        string errors = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        if (compiler.ExitCode != 0)
        {
            throw new InvalidOperationException($"cc ended with {compiler.ExitCode}: {errors}");
        }
    }

    private static string FindRoot()
    {
        DirectoryInfo? directory = new(AppContext.BaseDirectory);
        while (directory is not null && !Directory.Exists(Path.Join(directory.FullName, "bench", "peers")))
        {
            directory = directory.Parent;
        }

        return directory?.FullName ?? throw new InvalidOperationException("Run it from the repository.");
    }

    /// <summary>One connection that sends so many messages when it is told to. Loop thread, but for the two calls from outside.</summary>
    private sealed class Sender(SmtpClientOptions options) : IOutgoingHandler, ILoopWork
    {
        private readonly SmtpClientSession _session = new();
        private readonly BenchMail _mail = new();
        private readonly TaskCompletionSource _isReady = new();
        private Connection? _connection;
        private CountdownEvent? _done;
        private int _left;
        private long _goal;

        public bool IsBusy => _session.IsBusy;

        public void Connect(EventLoop loop, IPEndPoint host)
        {
            loop.Post(new Call(() => loop.Connect(new ConnectTarget(host, TimeSpan.FromSeconds(10)), this)));
            _isReady.Task.Wait();
        }

        public void Send(int messages, CountdownEvent done)
        {
            _done = done;
            _left = messages;
            _goal = _mail.Delivered + messages;
            _connection!.Loop.Post(this);
        }

        public void Run() => _connection!.Speak();

        public void Opened(Connection connection)
        {
            _connection = connection;
            _session.Reset(options);
        }

        public void ConnectFailed(Connection connection, System.Net.Sockets.SocketError error) =>
            throw new InvalidOperationException(error.ToString());

        public void Secured(TlsParameters tls) => throw new InvalidOperationException("There is no TLS here.");

        public int LastWords(CloseReason reason, Span<byte> replies) => _session.LastWords(replies);

        public void Closed() => _session.Lost(ClientLoss.Closed);

        public Turn Receive(
            ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
        {
            if (_left > 0 && _session.CanBegin)
            {
                _left--;
                _session.Begin(_mail);
            }

            OperationStatus status = _session.Receive(received, replies, out consumed, out written);
            body = _session.Body;
            if (_session.TryTakeDeadline(out TimeSpan patience))
            {
                _connection!.SetDeadline(patience);
            }

            if (_session.IsReady)
            {
                _isReady.TrySetResult();
            }

            if (_done is not null && _mail.Delivered == _goal)
            {
                CountdownEvent done = _done;
                _done = null; // first: whoever waits may begin anew at once
                done.Signal();
            }

            bool goesOn = _left > 0 && _session.CanBegin && consumed + written + body.Length > 0;
            return status == OperationStatus.InvalidData ? Turn.Close
                : status == OperationStatus.DestinationTooSmall || goesOn ? Turn.Continue
                : Turn.Receive;
        }
    }

    private sealed class Call(Action action) : ILoopWork
    {
        public void Run() => action();
    }
}
