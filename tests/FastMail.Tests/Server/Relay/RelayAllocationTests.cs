using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Net;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>The way of mail for others in steady state: accepted, queued, sent on, and its end written down.</summary>
[Collection(nameof(Allocations))]
public sealed class RelayAllocationTests
{
    private const int Messages = 500; // of a window

    private readonly byte[] _buffer = new byte[1 << 16];

    [ReleaseFact]
    public Task Relaying_allocates_nothing_per_message_on_the_loop_and_on_the_appender() => RelayWithoutGarbageAsync(false);

    [ReleaseFact]
    public Task Nor_does_it_to_a_host_that_takes_several_commands_at_once() => RelayWithoutGarbageAsync(true);

    private async Task RelayWithoutGarbageAsync(bool isPipelining)
    {
        var disk = new ScriptedDisk();
        long onAppender = 0;
        disk.Script = (call, _) =>
        {
            if (call == "flush" && Thread.CurrentThread.Name == "fastmail appender")
            {
                Volatile.Write(ref onAppender, GC.GetAllocatedBytesForCurrentThread());
            }

            return 0;
        };
        using var host = new QuietHost(isPipelining);
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            TimeProvider.System, disk, "relay.from=127.0.0.0/8", $"route.table=relay.test=127.0.0.1:{host.Port}",
            "relay.transactions=1000000", "relay.idle_time=5min", "store.checkpoint_interval=1h");
        using Socket smtp = fixture.Connect("mx");
        Dialog.Say(smtp, default, "\r\n"u8, _buffer);
        Dialog.Say(smtp, "HELO c.test\r\n"u8, "\r\n"u8, _buffer);
        byte[] envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@relay.test>\r\nDATA\r\n"u8.ToArray();
        byte[] content = Encoding.ASCII.GetBytes("Subject: x\r\n\r\n" + new string('x', 900) + "\r\n.\r\n");
        void Relay(int messages)
        {
            for (int i = 0; i < messages; i++)
            {
                Dialog.Say(smtp, envelope, "<CR><LF>.<CR><LF>\r\n"u8, _buffer);
                int length = Dialog.Say(smtp, content, "\r\n"u8, _buffer);
                Assert.True(_buffer.AsSpan(0, length).StartsWith("250 "u8));
            }

            SpinWait.SpinUntil(() => fixture.Log.Queue.Recipients == 0, TimeSpan.FromSeconds(30));
            Assert.Equal(0, fixture.Log.Queue.Recipients);
        }

        Relay(6000); // past tiering, and the pools are filled
        long loop = Allocations.Least(5, () => LoopAllocations.Read(fixture.Server.Loop), () => Relay(Messages));
        long appender = Allocations.Least(5, () => Volatile.Read(ref onAppender), () => Relay(Messages));

        Assert.NotEqual(0, onAppender);
        Assert.Equal((0L, 0L), (loop, appender));
    }

    /// <summary>
    /// A next hop that takes everything and keeps nothing: it allocates nothing itself, so that
    /// no collection disturbs the counts. A thread for each connection.
    /// </summary>
    private sealed class QuietHost : IDisposable
    {
        private readonly Socket _listener = new(SocketType.Stream, ProtocolType.Tcp);
        private readonly byte[] _hello;

        public QuietHost(bool isPipelining)
        {
            _hello = isPipelining ? "250-host.test\r\n250 PIPELINING\r\n"u8.ToArray() : "250 host.test\r\n"u8.ToArray();
            _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            _listener.Listen(100);
            Port = ((IPEndPoint)_listener.LocalEndPoint!).Port;
            new Thread(Accept) { IsBackground = true, Name = "quiet host" }.Start();
        }

        public int Port { get; }

        public void Dispose() => _listener.Dispose();

        private void Accept()
        {
            try
            {
                while (true)
                {
                    Socket socket = _listener.Accept();
                    new Thread(() => Serve(socket)) { IsBackground = true, Name = "quiet host session" }.Start();
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The test is over.
            }
        }

        private void Serve(Socket socket)
        {
            using Socket owned = socket;
            byte[] buffer = new byte[1 << 16];
            int length = 0;
            bool isContent = false;
            try
            {
                owned.Send("220 host.test\r\n"u8);
                while (true)
                {
                    ReadOnlySpan<byte> end = isContent ? "\r\n.\r\n"u8 : "\r\n"u8;
                    int at = buffer.AsSpan(0, length).IndexOf(end);
                    if (at < 0)
                    {
                        int received = owned.Receive(buffer.AsSpan(length));
                        if (received == 0)
                        {
                            return;
                        }

                        length += received;
                        continue;
                    }

                    bool isData = !isContent && buffer.AsSpan(0, at).SequenceEqual("DATA"u8);
                    bool isHello = !isContent && buffer.AsSpan(0, at).StartsWith("EHLO"u8);
                    owned.Send(isHello ? _hello : isData ? "354 go on\r\n"u8 : "250 2.0.0 ok\r\n"u8);
                    isContent = isData;
                    int used = at + end.Length;
                    buffer.AsSpan(used, length - used).CopyTo(buffer);
                    length -= used;
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The relay or the test is gone.
            }
        }
    }
}
