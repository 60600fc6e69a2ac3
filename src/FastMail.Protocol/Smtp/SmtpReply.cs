using System.Text;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// A reply with its enhanced status code (RFC 5321 4.2, RFC 3463), encoded once. Instances are compared by reference;
/// any thread.
/// </summary>
public sealed class SmtpReply
{
    private readonly byte[] _wire;

    internal SmtpReply(int code, string text)
    {
        Code = code;
        _wire = Encoding.ASCII.GetBytes($"{code} {text}\r\n");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_wire.Length, Limits.ReplyBytes);
    }

    /// <summary>Reply code, 200 to 599.</summary>
    public int Code { get; }

    /// <summary>The whole line with its CRLF.</summary>
    public ReadOnlySpan<byte> Wire => _wire;

    /// <summary>The command succeeded.</summary>
    public bool IsPositive => Code < 400;

    /// <summary>A DNS blocklist names the client.</summary>
    /// <param name="zone">ASCII, at most 80 octets: it must fit a reply.</param>
    public static SmtpReply ListedBy(string zone) => new(554, $"5.7.1 Client host is listed by {zone}");

    public override string ToString() => Encoding.ASCII.GetString(_wire).TrimEnd();

    /// <summary>The message is durable. The session sends it with the name of the transaction behind it.</summary>
    public static readonly SmtpReply Accepted = new(250, "2.0.0 Ok: queued");

    public static readonly SmtpReply ReversePathOk = new(250, "2.1.0 Sender ok");
    public static readonly SmtpReply ForwardPathOk = new(250, "2.1.5 Recipient ok");

    /// <summary>What waits for a domain is due now (RFC 1985 5.3).</summary>
    public static readonly SmtpReply QueueRunStarted = new(250, "2.0.0 Queuing for that node started");

    public static readonly SmtpReply NothingQueued = new(251, "2.0.0 No messages wait for that node");
    public static readonly SmtpReply QueueRunTooSoon = new(458, "4.3.2 Unable to queue messages for that node so soon again");
    public static readonly SmtpReply QueueRunRefused = new(459, "5.7.1 Node not allowed");

    public static readonly SmtpReply StartMailInput = new(354, "End data with <CR><LF>.<CR><LF>");
    public static readonly SmtpReply LocalError = new(451, "4.3.0 Local error, try again later");
    public static readonly SmtpReply SystemSlow = new(451, "4.3.2 The system is too slow now, try again later");
    public static readonly SmtpReply CommitTimedOut = new(451, "4.4.5 The system was too slow, try again later");

    /// <summary>Overload: no new transaction now. The session closes with it.</summary>
    public static readonly SmtpReply Overloaded = new(421, "4.3.2 Overloaded, try again later");

    public static readonly SmtpReply InsufficientStorage = new(452, "4.3.1 Insufficient system storage");
    public static readonly SmtpReply MailboxFull = new(452, "4.2.2 Mailbox full");
    public static readonly SmtpReply ExceedsMailbox = new(552, "5.2.2 Message is larger than the mailbox may be");
    public static readonly SmtpReply TooManyRecipients = new(452, "4.5.3 Too many recipients");
    public static readonly SmtpReply NoSuchMailbox = new(550, "5.1.1 No such mailbox here");

    /// <summary>For now: whoever runs the server can mend the alias (RFC 3463 3.3).</summary>
    public static readonly SmtpReply AliasTooLarge = new(451, "4.2.4 The alias reaches too many mailboxes");

    /// <summary>The account is gone or has another password. The session closes with it: to log in anew is no harm.</summary>
    public static readonly SmtpReply LoginRevoked = new(421, "4.7.0 Your login is not valid any more, log in again");

    public static readonly SmtpReply SenderNotOwned = new(553, "5.7.1 This sender address is not yours");
    public static readonly SmtpReply HeldTooLong = new(501, "5.5.4 May not be held so long: see FUTURERELEASE of EHLO");
    public static readonly SmtpReply TooMuchHeld = new(552, "5.7.16 So much of your mail is held already that no more can be"); // RFC 4865 6
    public static readonly SmtpReply HeldUntilThePast = new(501, "5.5.4 May not be held until a time that is over");
    public static readonly SmtpReply HeldPastDeadline = new(501, "5.5.4 May not be held for longer than BY= gives it");
    public static readonly SmtpReply RelayDenied = new(550, "5.7.1 Relaying denied");
    public static readonly SmtpReply RouteRefused = new(550, "5.7.1 Mail there is refused");
}
