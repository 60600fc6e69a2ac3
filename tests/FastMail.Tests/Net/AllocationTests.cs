using System.Net;
using FastMail.Net;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Net;

/// <summary>What the loop thread allocates once it is warm. Optimised builds only: others allocate where those do not.</summary>
[Collection(nameof(Allocations))]
public sealed class AllocationTests(ITestOutputHelper output)
{
    [ReleaseFact]
    public void A_warm_turn_allocates_nothing_on_the_loop_thread()
    {
        EventLoopOptions options = new()
        {
            Failed = (_, exception) => output.WriteLine(exception.ToString()),
            Thread = Enum.Parse<LoopThread>(Environment.GetEnvironmentVariable(LoopFixture.ThreadVariable) ?? "Own"),
        };
        using EventLoop loop = EventLoop.Start(options, TimeProvider.System);
        Listener listener = loop.Listen(new IPEndPoint(IPAddress.Loopback, 0), new OneEcho());
        using LineClient client = new(listener.LocalEndPoint);
        using AllocatedBytes allocated = new();
        Exchange(client, 2000);
        Assert.Equal(0, Allocations.Least(20, () => allocated.Ask(loop), () => Exchange(client, 500)));
    }

    /// <summary>A turn each; every hundredth line comes in two halves, so a slab is kept and compacted too.</summary>
    private static void Exchange(LineClient client, int turns)
    {
        byte[] answer = new byte[64];
        for (int i = 0; i < turns; i++)
        {
            if (i % 100 == 0)
            {
                client.Send("hal"u8);
                client.Send("f\n"u8);
            }
            else
            {
                client.Send("line\n"u8);
            }

            for (int read = 0; read == 0 || answer[read - 1] != (byte)'\n';)
            {
                int more = client.Read(answer.AsSpan(read));
                Assert.NotEqual(0, more);
                read += more;
            }
        }
    }

    private sealed class AllocatedBytes : ILoopWork, IDisposable
    {
        private readonly ManualResetEventSlim _answered = new();
        private long _bytes;

        public void Dispose() => _answered.Dispose();

        public long Ask(EventLoop loop)
        {
            _answered.Reset();
            loop.Post(this);
            Assert.True(_answered.Wait(LoopFixture.Patience));
            return _bytes;
        }

        public void Run()
        {
            _bytes = GC.GetAllocatedBytesForCurrentThread();
            _answered.Set();
        }
    }

    /// <summary>Echoes lines without allocating, waiting once a line, and renews its deadline as a session does.</summary>
    private sealed class OneEcho : IHandlerFactory, IConnectionHandler, ILoopWork
    {
        private static readonly byte[] Tail = "\n"u8.ToArray();
        private Connection? _connection;
        private bool _isWaiting;

        public ReadOnlyMemory<byte> Refusal => default;

        public ReadOnlyMemory<byte> ClientRefusal => default;

        public bool DeclaresClients => false;

        public IConnectionHandler Rent() => this;

        public void Return(IConnectionHandler handler) => _isWaiting = false;

        public void Opened(Connection connection) => _connection = connection;

        public void Secured(TlsParameters tls) => throw new InvalidOperationException("There is no TLS here.");

        public void Closed() => _connection = null;

        public void Run() => _connection?.Resume();

        public int LastWords(CloseReason reason, Span<byte> replies) => 0;

        public Turn Receive(
            ReadOnlySpan<byte> received,
            Span<byte> replies,
            out int consumed,
            out int written,
            out ReadOnlyMemory<byte> body)
        {
            consumed = 0;
            written = 0;
            body = default;
            int end = received.IndexOf((byte)'\n');
            if (end < 0)
            {
                return Turn.Receive;
            }

            _connection!.SetDeadline(TimeSpan.FromSeconds(300));
            if (!_isWaiting)
            {
                _isWaiting = true;
                _connection.Loop.Post(this);
                return Turn.Wait;
            }

            _isWaiting = false;
            received[..end].CopyTo(replies);
            consumed = end + 1;
            written = end;
            body = Tail;
            return Turn.Continue;
        }
    }
}
