using System.Buffers;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using FastMail.Tests.Protocol.Sasl;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>A message as the fake log keeps it.</summary>
internal sealed record StoredMessage(string ReversePath, string[] Recipients, byte[] Wire, ContentFacts Facts)
{
    public override string ToString() =>
        $"{ReversePath} -> {string.Join(',', Recipients)}: {Encoding.Latin1.GetString(Wire)} {Facts}";
}

/// <summary>
/// A mail sink in memory that hosts u and v at local.test, relays nothing for strangers, and throws when the session
/// breaks the order of calls. Belongs to one test.
/// </summary>
internal sealed class FakeSink : IMailSink
{
    private enum Stage
    {
        Closed,
        Begun,
        InContent,
        Committing,
    }

    private readonly List<string> _recipients = [];
    private readonly ArrayBufferWriter<byte> _wire = new();
    private Stage _stage;
    private string _reversePath = "";
    private ContentFacts _facts;
    private int _transactions;

    public List<StoredMessage> Stored { get; } = [];

    public List<string> Seen { get; } = [];

    /// <summary>What MAIL and RCPT asked for by their extensions.</summary>
    public List<string> Wishes { get; } = [];

    /// <summary>Whose maildrop is full once the content is there, as a client of LMTP gets to hear.</summary>
    public string? FullMailbox { get; set; } = "v@local.test";

    /// <summary>Given to every Begin instead of going on.</summary>
    public SmtpReply? MailRefusal { get; set; }

    /// <summary>Given to the next BeginContent instead of going on.</summary>
    public SmtpReply? ContentRefusal { get; set; }

    /// <summary>What the commits end with.</summary>
    public SmtpReply CommitReply { get; set; } = SmtpReply.Accepted;

    public int Abandoned { get; private set; }

    /// <summary>The session has to wait after each run of content.</summary>
    public bool IsSlow { get; init; }

    /// <summary>The session was told to wait.</summary>
    public bool IsHolding { get; set; }

    public bool MustWait
    {
        get
        {
            Expect(Stage.InContent);
            Assert.False(IsHolding, "content came although the session was told to wait");
            return IsHolding = IsSlow;
        }
    }

    public bool IsCommitting => _stage == Stage.Committing;

    public SmtpReply Begin(in MailArguments mail)
    {
        Expect(Stage.Closed);
        _reversePath = Encoding.UTF8.GetString(mail.ReversePath);
        Seen.Add($"mail {_reversePath} {mail.DeclaredSize} {mail.Is8BitMime} {mail.IsSmtpUtf8} "
            + Encoding.UTF8.GetString(mail.AuthIdentity));
        Wishes.Add($"id={Encoding.UTF8.GetString(mail.EnvelopeId)} ret={mail.Return} by={mail.DeliverBy} "
            + $"priority={mail.Priority} auth={Encoding.UTF8.GetString(mail.AuthMailbox)}");
        if (mail.Release is { } release)
        {
            Wishes.Add($"release={release.Seconds} {release.IsUntil}");
        }
        if (MailRefusal is not null)
        {
            return MailRefusal;
        }
        if (_reversePath == "full@b.test")
        {
            return SmtpReply.InsufficientStorage;
        }
        _recipients.Clear();
        _wire.ResetWrittenCount();
        _stage = Stage.Begun;
        return SmtpReply.ReversePathOk;
    }

    public SmtpReply AddRecipient(in RcptArguments rcpt)
    {
        Expect(Stage.Begun);
        var path = Encoding.UTF8.GetString(rcpt.ForwardPath);
        var domain = rcpt.AtSign < 0
            ? "local.test"
            : Encoding.UTF8.GetString(rcpt.ForwardPath[(rcpt.AtSign + 1)..]).ToLowerInvariant();
        if (domain != "local.test" && rcpt.AuthIdentity.IsEmpty)
        {
            return SmtpReply.RelayDenied;
        }
        var local = rcpt.AtSign < 0 ? path : Encoding.UTF8.GetString(rcpt.ForwardPath[..rcpt.AtSign]);
        if (domain == "local.test" && local.ToLowerInvariant() is not ("u" or "v" or "postmaster"))
        {
            return SmtpReply.NoSuchMailbox;
        }
        _recipients.Add(path);
        Wishes.Add($"{path} notify={rcpt.Notify} orcpt={Encoding.UTF8.GetString(rcpt.OriginalRecipient)}");
        return SmtpReply.ForwardPathOk;
    }

    public SmtpReply? BeginContent(in TransactionFacts facts)
    {
        Expect(Stage.Begun);
        Assert.NotEmpty(_recipients);
        Seen.Add($"content {Encoding.UTF8.GetString(facts.Helo)} {facts.IsExtended} {facts.IsSmtpUtf8} "
            + Encoding.UTF8.GetString(facts.AuthIdentity));
        _transactions++;
        _stage = Stage.InContent;
        return ContentRefusal;
    }

    public void Append(ReadOnlySpan<byte> wire)
    {
        Expect(Stage.InContent);
        Assert.False(IsHolding, "content came although the session was told to wait");
        _wire.Write(wire);
    }

    public void Commit(in ContentFacts content)
    {
        Expect(Stage.InContent);
        _facts = content;
        _stage = Stage.Committing;
    }

    public bool IsJudgingClient => false;

    public SmtpReply OutcomeOf(int recipient, SmtpReply commit) =>
        _recipients[recipient] == FullMailbox ? SmtpReply.MailboxFull : commit;

    public void Abandon()
    {
        Assert.True(_stage is Stage.Begun or Stage.InContent, $"Abandon in {_stage}");
        Abandoned++;
        _stage = Stage.Closed;
    }

    public SmtpReply StartQueueRun(ReadOnlySpan<byte> domain, bool isWithSubdomains)
    {
        Expect(Stage.Closed);
        return domain.SequenceEqual("relay.test"u8) ? isWithSubdomains ? SmtpReply.NothingQueued : SmtpReply.QueueRunStarted
            : SmtpReply.QueueRunRefused;
    }

    public int WriteTransactionId(Span<byte> destination) =>
        Encoding.ASCII.GetBytes($"T{_transactions}", destination);

    /// <summary>Another dialog begins: as new, but for what is set from outside.</summary>
    public void Forget()
    {
        Expect(Stage.Closed);
        Stored.Clear();
        Seen.Clear();
        Wishes.Clear();
        _transactions = 0;
        IsHolding = false;
    }

    public SmtpReply CompleteCommit()
    {
        Expect(Stage.Committing);
        _stage = Stage.Closed;
        if (CommitReply.IsPositive)
        {
            Stored.Add(new StoredMessage(_reversePath, [.. _recipients], _wire.WrittenSpan.ToArray(), _facts));
        }
        return CommitReply;
    }

    private void Expect(Stage stage)
    {
        if (_stage != stage)
        {
            throw new InvalidOperationException($"Called in {_stage}, is for {stage}.");
        }
    }
}

/// <summary>Knows demo@local.test with the password "secret". Belongs to one test.</summary>
internal sealed class FakeAuthenticator : IAuthenticator
{
    public AuthVerdict? Verdict { get; private set; }

    /// <summary>The queue takes nothing.</summary>
    public bool IsFull { get; set; }

    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password)
    {
        if (IsFull)
        {
            return false;
        }
        Assert.Null(Verdict);
        Verdict = identity.SequenceEqual("down"u8) ? AuthVerdict.Unavailable
            : identity.SequenceEqual("demo@local.test"u8) && password.SequenceEqual("secret"u8) ? AuthVerdict.Accepted
            : AuthVerdict.Rejected;
        return true;
    }

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) =>
        identity.SequenceEqual("user"u8) ? Rfc7677.Pencil : Rfc7677.Decoy;

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight)
    {
        Assert.Null(Verdict);
        Verdict = isRight ? AuthVerdict.Accepted : AuthVerdict.Rejected;
        return true;
    }

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token)
    {
        Assert.Null(Verdict);
        var isTheirs = identity.IsEmpty || identity.SequenceEqual("user@example.com"u8);
        Verdict = isTheirs && Rfc7677.IsToken(token) ? AuthVerdict.Accepted : AuthVerdict.Rejected;
        return true;
    }

    public AuthVerdict Complete()
    {
        var verdict = Verdict!.Value;
        Verdict = null;
        return verdict;
    }
}
