using System.Buffers.Binary;
using System.Net.Sockets;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>A connection is woken between the end of its share of a turn and its next one.</summary>
public sealed class WakeTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Who_is_woken_while_its_turn_is_still_to_come_says_everything_once(bool waits)
    {
        using LoopFixture fixture = new();
        using Socket door = ConnectTests.Door();
        Speaker speaker = new(waits);
        fixture.OnLoop(() => fixture.Loop.Connect(new ConnectTarget(door.LocalEndPoint!, LoopFixture.Patience), speaker));
        using Socket peer = door.Accept();
        Assert.True(speaker.IsOpened.Wait(LoopFixture.Patience), "not opened");
        peer.ReceiveTimeout = (int)LoopFixture.Patience.TotalMilliseconds;
        fixture.OnLoop(() =>
        {
            Connection connection = speaker.Connection!;
            speaker.IsToSpeak = true;
            connection.Speak(); // its share of calls is used up: the rest is posted
            Assert.Equal(EventLoopOptions.CallsPerTurn, speaker.Calls);
            Wake(connection, waits);
            return 0;
        });
        peer.Send("x"u8);

        Assert.Equal(Speaker.Everything, ReadAll(peer));
        Assert.True(speaker.Heard.Wait(LoopFixture.Patience), "the wake-up was lost");
        peer.Shutdown(SocketShutdown.Both);
        ConnectTests.AssertAllIsReturned(fixture);
        Assert.Empty(fixture.Failures);
    }

    /// <summary>By the end of what it waits for, or as the completion of the receive does it.</summary>
    private static void Wake(Connection connection, bool waits)
    {
        if (waits)
        {
            connection.Resume();
        }
        else
        {
            connection.Readable();
        }
    }

    private static byte[] ReadAll(Socket peer)
    {
        byte[] all = new byte[Speaker.Everything.Length];
        using NetworkStream stream = new(peer, ownsSocket: false);
        stream.ReadExactly(all);
        return all;
    }

    /// <summary>
    /// Says little in each call of its first turn, and afterwards more in all than sockets hold. Loop thread, except what
    /// says otherwise.
    /// </summary>
    private sealed class Speaker(bool waits) : IOutgoingHandler
    {
        private const int SmallBytes = 8;
        private const int LargeBytes = 128 * 1024;
        private const int LargeCount = 128; // 16 MiB

        private int _said;

        /// <summary>Any thread.</summary>
        public static byte[] Everything { get; } = Numbers();

        public Connection? Connection { get; private set; }

        public bool IsToSpeak { get; set; }

        public int Calls { get; private set; }

        /// <summary>Any thread.</summary>
        public SemaphoreSlim IsOpened { get; } = new(0);

        /// <summary>The peer's octet has come. Any thread.</summary>
        public SemaphoreSlim Heard { get; } = new(0);

        public bool IsBusy => false;

        public void Opened(Connection connection)
        {
            Connection = connection;
            IsOpened.Release();
        }

        public void Secured(TlsParameters tls)
        {
            // Not in this test.
        }

        public void ConnectFailed(Connection connection, SocketError error) => throw new SocketException((int)error);

        public void Closed() => Connection = null;

        public int LastWords(CloseReason reason, Span<byte> replies) => 0;

        public Turn Receive(
            ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
        {
            consumed = received.Length;
            written = 0;
            body = default;
            if (consumed > 0)
            {
                Heard.Release();
            }

            if (!IsToSpeak || _said == Everything.Length)
            {
                return Turn.Receive;
            }

            Calls++;
            body = Everything.AsMemory(_said, Calls <= EventLoopOptions.CallsPerTurn ? SmallBytes : LargeBytes);
            _said += body.Length;
            if (!waits || _said == Everything.Length)
            {
                return Turn.Continue;
            }

            Connection!.Resume();
            return Turn.Wait;
        }

        private static byte[] Numbers()
        {
            byte[] numbers = new byte[(EventLoopOptions.CallsPerTurn * SmallBytes) + (LargeCount * LargeBytes)];
            for (int at = 0; at < numbers.Length; at += sizeof(int))
            {
                BinaryPrimitives.WriteInt32BigEndian(numbers.AsSpan(at), at);
            }

            return numbers;
        }
    }
}
