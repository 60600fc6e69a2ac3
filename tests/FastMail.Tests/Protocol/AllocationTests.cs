using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>After construction the sessions allocate nothing, whatever they do. Needs an optimised build.</summary>
[Collection(nameof(Allocations))]
public sealed class AllocationTests
{
    private const int Rounds = 200;

    [ReleaseFact]
    public void A_reset_SMTP_session_with_its_transactions_allocates_nothing()
    {
        var sink = new SilentSink();
        var options = new SmtpSessionOptions
        {
            Hostname = "mx.test"u8.ToArray(),
            Role = SmtpRole.Submission,
            OffersAuth = true,
            Extensions = SmtpExtensions.FutureRelease,
        };
        var authenticator = new SilentAuthenticator();
        var session = new SmtpSession(options, sink, authenticator);
        var replies = new byte[4096];
        var dialog = ("EHLO [192.0.2.1]\r\nAUTH PLAIN AGRlbW9AbG9jYWwudGVzdABzZWNyZXQ=\r\n"
            + "MAIL FROM:<a@b.test> SIZE=9 HOLDUNTIL=2027-01-31T08:00:00.25+01:00\r\n"
            + "RCPT TO:<u@local.test>\r\nRCPT TO:<\"q\"@[192.0.2.1]>\r\nDATA\r\n"
            + "A: b\r\n\r\n..x\r\n" + new string('x', 500)
            + "\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<u@local.test>\r\nBDAT 5\r\n\r\n.\r\nBDAT 1 LAST\r\nxFOO\r\n"
            + "MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<u@local.test>\r\nBDAT 555\r\nMIME-Version: 1.0\r\n"
            + "Content-Transfer-Encoding: binary\r\n\r\n" + new string('\n', 499) + "BDAT 2 LAST\r\n\0\0QUIT\r\n");
        var text = System.Text.Encoding.ASCII.GetBytes(dialog);
        Measure(() =>
        {
            session.Reset();
            var at = 0;
            while (session.Receive(text.AsSpan(at), replies, out var consumed, out _)
                   != System.Buffers.OperationStatus.Done)
            {
                at += consumed;
                if (session.IsInTransaction)
                {
                    session.Committed(SmtpReply.Accepted);
                }
                else
                {
                    session.Authenticated(AuthVerdict.Accepted);
                }
            }
        });
        Assert.Equal(3, sink.Commits / authenticator.Checks);
    }

    [ReleaseFact]
    public void A_reset_POP3_session_allocates_nothing()
    {
        var maildrop = new SilentMaildrop();
        var session = new Pop3Session(
            new Pop3SessionOptions { Hostname = "h"u8.ToArray(), AllowsCleartext = true }, new SilentSource());
        var replies = new byte[4096];
        var text = System.Text.Encoding.ASCII.GetBytes("CAPA\r\nUSER u\r\nPASS p\r\nSTAT\r\nLIST\r\nUIDL\r\nRETR 1\r\n"
            + "TOP 2 1\r\nDELE 1\r\nDELE 1\r\nQUIT\r\n");
        Measure(() =>
        {
            session.Reset();
            var at = 0;
            while (session.Receive(text.AsSpan(at), replies, out var consumed, out _)
                   != System.Buffers.OperationStatus.Done)
            {
                at += consumed;
                if (session.IsWaiting && session.IsAuthenticated)
                {
                    session.Removed(isDurable: true);
                }
                else if (session.IsWaiting)
                {
                    session.LoggedIn(LoginVerdict.Accepted, maildrop);
                }
            }
        });
        Assert.True(maildrop.Removals > 0);
    }

    private void Measure(Action round)
    {
        for (var i = 0; i < Rounds; i++)
        {
            round();
        }
        var allocated = Allocations.Least(5, GC.GetAllocatedBytesForCurrentThread, () =>
        {
            for (var i = 0; i < Rounds; i++)
            {
                round();
            }
        });
        Assert.Equal(0, allocated);
    }

    private sealed class SilentSink : IMailSink
    {
        public int Commits { get; private set; }

        public bool IsJudgingClient => false;

        public SmtpReply Begin(in MailArguments mail) => SmtpReply.ReversePathOk;

        public SmtpReply AddRecipient(in RcptArguments rcpt) => SmtpReply.ForwardPathOk;

        public SmtpReply? BeginContent(in TransactionFacts facts) => null;

        public void Append(ReadOnlySpan<byte> wire)
        {
        }

        public bool MustWait => false;

        public void Commit(in ContentFacts content) => Commits++;

        public SmtpReply OutcomeOf(int recipient, SmtpReply commit) => commit;

        public SmtpReply StartQueueRun(ReadOnlySpan<byte> domain, bool isWithSubdomains) => SmtpReply.QueueRunRefused;

        public void Abandon() => throw new InvalidOperationException("Nothing was to be abandoned.");

        public int WriteTransactionId(Span<byte> destination)
        {
            destination[0] = (byte)'T';
            return 1;
        }
    }

    private sealed class SilentAuthenticator : IAuthenticator
    {
        public int Checks { get; private set; }

        public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password)
        {
            Checks++;
            return true;
        }

        public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

        public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

        public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
    }

    private sealed class SilentSource : IAuthenticator
    {
        public bool TryBegin(ReadOnlySpan<byte> user, ReadOnlySpan<byte> password) => true;

        public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

        public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

        public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
    }

    private sealed class SilentMaildrop : IMaildrop
    {
        private readonly ReadOnlyMemory<byte> _wire = "A: b\r\n\r\none\r\ntwo\r\n.\r\n"u8.ToArray();

        public int Removals { get; private set; }

        public int? ExpireDays => null;

        public int Count => 100;

        public int Octets(int index) => _wire.Length - 3;

        public bool TryWriteUniqueId(int index, Span<byte> destination, out int length)
        {
            destination[0] = (byte)'U';
            length = 1;
            return true;
        }

        public ContentStatus TryOpen(int index, out MessageContent content)
        {
            content = new MessageContent(_wire, 8);
            return ContentStatus.Ok;
        }

        public void ReadOn() => throw new InvalidOperationException("Nothing comes in parts.");

        public void CloseContent() => throw new InvalidOperationException("Nothing comes in parts.");

        public void Remove(ReadOnlySpan<ulong> marks) => Removals++;

        public void Close()
        {
        }
    }
}
