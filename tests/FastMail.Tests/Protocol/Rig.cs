using System.Buffers;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using FastMail.Tests.Protocol.Sasl;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>
/// Drives a session as a connection would: keeps what was not consumed, offers it again, sends replies then body, and
/// lets handed-out work end. Belongs to one test.
/// </summary>
internal abstract class Rig(ISession session, int replyBytes)
{
    public static readonly TlsFacts Facts = new(
        "TLSv1.2 TLS_SUITE"u8.ToArray(), "end point"u8.ToArray());

    private readonly ArrayBufferWriter<byte> _sent = new();
    private byte[] _pending = [];

    public bool IsClosed { get; private set; }

    /// <summary>The go-ahead for TLS was given.</summary>
    public bool IsStartingTls => session.IsStartingTls;

    /// <summary>Octets that the session has not used up, for which a connection needs a buffer.</summary>
    public int Unconsumed => _pending.Length;

    /// <summary>Everything sent to the client so far.</summary>
    public string Sent => Encoding.Latin1.GetString(_sent.WrittenSpan);

    public void Feed(ReadOnlySpan<byte> segment)
    {
        _pending = [.. _pending, .. segment];
        var replies = new byte[replyBytes];
        var idle = 0;
        while (!IsClosed)
        {
            var status = session.Receive(_pending, replies, out var consumed, out var written);
            _sent.Write(replies.AsSpan(0, written));
            _sent.Write(session.Body.Span);
            _pending = _pending[consumed..];
            idle = consumed + written + session.Body.Length > 0 ? 0 : idle + 1;
            Assert.True(idle < 3, "no progress");
            IsClosed = status == OperationStatus.Done;
            if (status == OperationStatus.NeedMoreData)
            {
                if (!session.IsWaiting)
                {
                    _pending = session.IsStartingTls ? [] : _pending;
                    return;
                }
                Resume();
            }
        }
    }

    /// <summary>
    /// Makes the handshake that the session waits for; what it has not consumed by then came in the clear and is lost.
    /// </summary>
    public void Secure()
    {
        Assert.True(session.IsStartingTls, "the session does not wait for TLS; it said: " + Sent);
        _pending = [];
        session.Secured(Facts);
        Feed([]);
    }

    /// <summary>Feeds the text in segments of the given length.</summary>
    public void FeedSplit(ReadOnlySpan<byte> text, int segmentBytes)
    {
        for (; !text.IsEmpty; text = text[Math.Min(segmentBytes, text.Length)..])
        {
            Feed(text[..Math.Min(segmentBytes, text.Length)]);
        }
    }

    /// <summary>The session has been reset: the next dialog begins, with nothing left of the one before.</summary>
    public void Restart()
    {
        _sent.ResetWrittenCount();
        _pending = [];
        IsClosed = false;
    }

    protected abstract void Resume();
}

/// <summary>TLS that can be had, or not for now.</summary>
internal sealed class FakeTlsOffer : ITlsOffer
{
    public bool IsAvailable { get; set; } = true;
}

/// <summary>An SMTP session with its fakes. Belongs to one test.</summary>
internal sealed class SmtpRig : Rig
{
    private SmtpRig(SmtpSession session, FakeSink sink, FakeAuthenticator authenticator, int replyBytes)
        : base(session, replyBytes)
    {
        Session = session;
        Sink = sink;
        Authenticator = authenticator;
    }

    public SmtpSession Session { get; }

    public FakeSink Sink { get; }

    public FakeAuthenticator Authenticator { get; }

    public static SmtpRig Create(
        SmtpRole role = SmtpRole.Mx,
        int replyBytes = 4096,
        long maxMessageBytes = 1_000_000,
        int maxRecipients = 1000,
        bool hasSlowSink = false,
        FakeTlsOffer? tls = null,
        SessionLimits? limits = null,
        SmtpExtensions more = SmtpExtensions.None)
    {
        var options = new SmtpSessionOptions
        {
            Hostname = "mx.test"u8.ToArray(),
            Role = role,
            MaxMessageBytes = maxMessageBytes,
            MaxRecipients = maxRecipients,
            Extensions = SmtpExtensions.Dsn | SmtpExtensions.DeliverBy | SmtpExtensions.RequireTls | more
                | (role == SmtpRole.Submission ? SmtpExtensions.MtPriority : SmtpExtensions.None),
            Limits = limits ?? SessionLimits.Default,
            OffersAuth = role == SmtpRole.Submission && tls is null,
            Tls = tls,
            RequiresAuth = role == SmtpRole.Submission,
            Mechanisms = (SaslMechanisms)0x3F,
            ServerNonce = Rfc7677.Nonce,
            Clock = new FastMail.Tests.Server.Defence.HandClock(),
        };
        var sink = new FakeSink { IsSlow = hasSlowSink };
        var authenticator = new FakeAuthenticator();
        return new SmtpRig(new SmtpSession(options, sink, authenticator), sink, authenticator, replyBytes);
    }

    /// <summary>Clients that XCLIENT has named.</summary>
    public List<string> Declared { get; } = [];

    /// <summary>The peer may say XCLIENT; 192.0.2.66 is a client that is not let in.</summary>
    public SmtpRig WithXclient()
    {
        Session.Declaration = (address, port) =>
        {
            Declared.Add($"{Convert.ToHexString(address)}:{port}");
            return Declared[^1] != "C0000242:0";
        };
        return this;
    }

    /// <summary>Pauses the session asked for so far.</summary>
    public List<TimeSpan> Pauses { get; } = [];

    /// <summary>The peer has spoken when a pause ends.</summary>
    public bool HasInputAfterPause { get; set; }

    protected override void Resume()
    {
        if (Session.Pause > TimeSpan.Zero)
        {
            Pauses.Add(Session.Pause);
            Session.EndPause(HasInputAfterPause);
        }
        else if (Sink.IsHolding)
        {
            Sink.IsHolding = false;
            Session.GoOn();
        }
        else if (Sink.IsCommitting)
        {
            Session.Committed(Sink.CompleteCommit());
        }
        else
        {
            Session.Authenticated(Authenticator.Complete());
        }
    }
}

/// <summary>A POP3 session with its fakes. Belongs to one test.</summary>
internal sealed class Pop3Rig : Rig
{
    private Pop3Rig(Pop3Session session, FakeMaildropSource source, int replyBytes)
        : base(session, replyBytes)
    {
        Session = session;
        Source = source;
    }

    public Pop3Session Session { get; }

    public FakeMaildropSource Source { get; }

    /// <summary>How the removal at QUIT ends.</summary>
    public bool IsRemovalDurable { get; set; } = true;

    public static Pop3Rig Create(
        FakeMaildrop maildrop,
        int replyBytes = 4096,
        bool allowsCleartext = true,
        int maxLoginFailures = 3,
        FakeTlsOffer? tls = null,
        Expiry expiry = default,
        bool isStrictUtf8 = false)
    {
        var options = new Pop3SessionOptions
        {
            Hostname = "pop.test"u8.ToArray(),
            ImplementationName = "FastMail-test"u8.ToArray(),
            AllowsCleartext = allowsCleartext,
            Mechanisms = (SaslMechanisms)0x3F,
            MaxLoginFailures = maxLoginFailures,
            ServerNonce = Rfc7677.Nonce,
            Tls = tls,
            Expiry = () => expiry,
            IsStrictUtf8 = isStrictUtf8,
        };
        var source = new FakeMaildropSource(maildrop);
        return new Pop3Rig(new Pop3Session(options, source), source, replyBytes);
    }

    protected override void Resume()
    {
        if (Source.Maildrop.IsReading)
        {
            var status = Source.Maildrop.CompleteReading(out var part);
            Session.ContentRead(status, part);
            return;
        }
        if (Source.Verdict is null)
        {
            Session.Removed(IsRemovalDurable);
            return;
        }
        var verdict = Source.Complete();
        if (verdict == LoginVerdict.Accepted)
        {
            Source.Maildrop.Reopen();
        }
        Session.LoggedIn(verdict, verdict == LoginVerdict.Accepted ? Source.Maildrop : null);
    }
}
