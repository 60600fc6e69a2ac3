using System.Buffers;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using Xunit;

namespace FastMail.Tests.Protocol.Client;

/// <summary>A warm client session allocates nothing for a transaction, nor for a dialog. Needs an optimised build.</summary>
[Collection(nameof(Allocations))]
public sealed class ClientAllocationTests
{
    private const int Rounds = 200;

    private readonly SmtpClientSession _session = new();
    private readonly SilentMail _mail = new();
    private readonly byte[] _output = new byte[16 * 1024];

    [ReleaseFact]
    public void A_reset_session_with_its_transactions_allocates_nothing()
    {
        var options = ClientRig.Options() with { UsesChunking = false };
        var opening = "220 mx.test ESMTP\r\n"u8.ToArray();
        var hello = "250-mx.test\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-DSN\r\n250 PIPELINING\r\n"u8.ToArray();
        var first = "250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n354 go\r\n"u8.ToArray();
        var next = "250 2.0.0 kept\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n354 go\r\n"u8.ToArray();
        var last = "250 2.0.0 kept\r\n"u8.ToArray();
        Action dialog = () =>
        {
            _session.Reset(options);
            Feed(default);
            Feed(opening);
            Feed(hello);
            Feed(first);
            for (var i = 0; i < 5; i++)
            {
                Feed(next);
            }
            _session.Quit();
            Feed(next);
            Feed(last);
            Assert.Null(_session.Failure);
        };
        Repeat(dialog);
        Assert.Equal(0, Allocations.Least(5, GC.GetAllocatedBytesForCurrentThread, () => Repeat(dialog)));
        Assert.Equal(0, _mail.Answers % 14);
        Assert.True(_mail.Answers >= Rounds * 14);
    }

    private static void Repeat(Action dialog)
    {
        for (var i = 0; i < Rounds; i++)
        {
            dialog();
        }
    }

    private void Feed(ReadOnlySpan<byte> received)
    {
        while (true)
        {
            if (_session.CanBegin)
            {
                _session.Begin(_mail);
            }
            var status = _session.Receive(received, _output, out var consumed, out _);
            received = received[consumed..];
            if (status != OperationStatus.DestinationTooSmall && !_session.CanBegin)
            {
                return;
            }
        }
    }

    private sealed class SilentMail : IOutgoingMail
    {
        private static readonly ReadOnlyMemory<byte> Wire = "Subject: x\r\n\r\n..hi\r\n.\r\n"u8.ToArray();

        public int Answers { get; private set; }

        public MailArguments Mail => new() { ReversePath = "a@b.test"u8, EnvelopeId = "id"u8, Is8BitMime = true };

        public int Recipients => 2;

        public OutgoingContent Content => new(Wire.Length, Wire.Length - 4);

        public RcptArguments Recipient(int number) =>
            new() { ForwardPath = number == 0 ? "u@c.test"u8 : "v@c.test"u8, Notify = DsnNotify.Failure | DsnNotify.Delay };

        public bool TryRead(out ReadOnlyMemory<byte> piece)
        {
            piece = Wire;
            return true;
        }

        public void Answered(int recipient, in DeliveryReply reply) => Answers++;

        public void Ended()
        {
        }
    }
}
