using FastMail.Protocol;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>Accepts everything and keeps nothing: what is measured is the session alone. Any thread.</summary>
internal sealed class NullSink : IMailSink
{
    public bool IsJudgingClient => false;

    public SmtpReply Begin(in MailArguments mail) => SmtpReply.ReversePathOk;

    public SmtpReply AddRecipient(in RcptArguments rcpt) => SmtpReply.ForwardPathOk;

    public SmtpReply? BeginContent(in TransactionFacts facts) => null;

    public void Append(ReadOnlySpan<byte> wire)
    {
    }

    public bool MustWait => false;

    public void Commit(in ContentFacts content)
    {
    }

    public SmtpReply OutcomeOf(int recipient, SmtpReply commit) => commit;

    public SmtpReply StartQueueRun(ReadOnlySpan<byte> domain, bool isWithSubdomains) => SmtpReply.QueueRunRefused;

    public void Abandon()
    {
    }

    public int WriteTransactionId(Span<byte> destination)
    {
        destination[0] = (byte)'T';
        return 1;
    }
}

/// <summary>Knows nobody.</summary>
internal sealed class Nobody : IAuthenticator
{
    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password) => false;

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
}
