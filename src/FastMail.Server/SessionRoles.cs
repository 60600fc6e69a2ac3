using System.Text;
using FastMail.Net;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Configuration;
using FastMail.Server.Defence;
using FastMail.Server.Pop3;
using FastMail.Server.Receive;
using FastMail.Server.Relay;
using FastMail.Server.Retention;
using FastMail.Server.Tls;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server;

/// <summary>
/// What the sessions of each role are made of, and so what each listener allows. Made by the <see cref="MailServer"/> when
/// it starts, on its thread; immutable.
/// </summary>
internal sealed class SessionRoles
{
    public required Settings Settings { get; init; }

    public required TimeProvider Clock { get; init; }

    public required ILogger Logger { get; init; }

    public required EventLoop Loop { get; init; }

    public required MailLog Log { get; init; }

    public required ServerTls Tls { get; init; }

    public required LiveAccounts Accounts { get; init; }

    public required Logins Logins { get; init; }

    public required Intake Intake { get; init; }

    public required Quotas Quotas { get; init; }

    public required MaildropLocks Locks { get; init; }

    public required SessionPolicy Policy { get; init; }

    public required CommitWatch Commits { get; init; }

    public required RetentionPolicy Retention { get; init; }

    public required UnreadableMessages Unreadable { get; init; }

    /// <summary>Null where clients are not looked up.</summary>
    public required Blocklists? Blocklists { get; init; }

    public required RelayIntake Relay { get; init; }

    /// <summary>Without a token validator nobody's token could be judged.</summary>
    private SaslMechanisms Mechanisms => Settings.Get(AuthKeys.Mechanisms)
        & (Logins.Tokens is null ? ~(SaslMechanisms.OAuthBearer | SaslMechanisms.XOAuth2) : ~SaslMechanisms.None);

    /// <summary>This host's name in greetings and trace fields.</summary>
    public static byte[] HostnameOf(Settings settings) => Encoding.ASCII.GetBytes(settings.Get(ServeKeys.Hostname));

    /// <summary>Listens wherever the settings say; passwords in the clear are for private listeners only.</summary>
    /// <exception cref="ListenException">An address cannot be had.</exception>
    public void Open(Listeners listeners)
    {
        var delays = new LoginDelays(Settings.Get(Pop3Keys.LoginDelay), Clock); // of an account, wherever it logs in
        var xclient = new Exemptions(Settings.Get(XclientKeys.Peers));
        listeners.Open(Listeners.Mx, Settings.Get(ServeKeys.Mx), Tls.OnDemand, _ => Smtp(SmtpRole.Mx, xclient, offersAuth: false));
        listeners.Open(
            Listeners.Submission, Settings.Get(ServeKeys.Submission), Tls.OnDemand,
            isPrivate => Smtp(SmtpRole.Submission, xclient, offersAuth: isPrivate));
        listeners.Open(
            Listeners.Submissions, Settings.Get(ServeKeys.Submissions), Tls.Implicit,
            _ => Smtp(SmtpRole.Submission, xclient, offersAuth: false));
        listeners.Open(
            Listeners.Lmtp, Settings.Get(LmtpKeys.Listen), Tls.OnDemand, _ => Smtp(SmtpRole.Lmtp, xclient, offersAuth: false));
        listeners.Open(
            Listeners.Pop3, Settings.Get(ServeKeys.Pop3), Tls.OnDemand, isPrivate => Pop3(delays, allowsCleartext: isPrivate));
        listeners.Open(
            Listeners.Pop3s, Settings.Get(ServeKeys.Pop3s), Tls.Implicit, _ => Pop3(delays, allowsCleartext: false));
    }

    private Pop3Handlers Pop3(LoginDelays delays, bool allowsCleartext) => new()
    {
        Loop = Loop,
        Log = Log,
        Commits = Commits,
        Logins = Logins,
        Locks = Locks,
        Policy = Policy,
        Retention = Retention,
        Unreadable = Unreadable,
        Logger = Logger,
        Delays = delays,
        LockWait = Settings.Get(Pop3Keys.LockWait),
        SessionsPerUser = Settings.Get(Pop3Keys.SessionsPerUser),
        Options = new Pop3SessionOptions
        {
            Hostname = HostnameOf(Settings),
            Limits = LimitKeys.Session(Settings),
            AllowsCleartext = allowsCleartext,
            Mechanisms = Mechanisms,
            MaxLoginFailures = Settings.Get(AuthKeys.SessionFailures),
            IsStrictUtf8 = Settings.Get(Pop3Keys.StrictUtf8),
            LoginDelaySeconds = (int)Math.Ceiling(Settings.Get(Pop3Keys.LoginDelay).TotalSeconds),
            Expiry = () => Retention.OfAnybody,
            Tls = Tls,
        },
    };

    private SmtpHandlers Smtp(SmtpRole role, Exemptions xclient, bool offersAuth) => new()
    {
        Loop = Loop,
        Log = Log,
        Commits = Commits,
        Accounts = Accounts,
        Logins = Logins,
        Intake = Intake,
        Quotas = Quotas,
        Policy = Policy,
        Xclient = xclient,
        Clock = Clock,
        Blocklists = role == SmtpRole.Mx ? Blocklists : null,
        Relay = role == SmtpRole.Lmtp ? null : Relay, // RFC 2033: LMTP has no queue
        Options = new SmtpSessionOptions
        {
            Hostname = HostnameOf(Settings),
            Role = role,
            Limits = LimitKeys.Session(Settings),
            MaxRecipients = Settings.Get(LimitKeys.Recipients),
            MaxMessageBytes = Settings.Get(LimitKeys.MessageBytes),
            Extensions = ExtensionsOf(role),
            LongestHold = LongestHold,
            Clock = Clock,
            OffersAuth = offersAuth,
            Mechanisms = Mechanisms,
            MaxLoginFailures = Settings.Get(AuthKeys.SessionFailures),
            RequiresAuth = role == SmtpRole.Submission,
            Tls = Tls,
        },
    };

    private TimeSpan LongestHold => TimeSpan.FromSeconds(Math.Floor(Settings.Get(RelayKeys.LongestHold).TotalSeconds));

    private SmtpExtensions ExtensionsOf(SmtpRole role)
    {
        SmtpExtensions ofRole = role switch
        {
            SmtpRole.Submission when LongestHold > TimeSpan.Zero => SmtpExtensions.MtPriority | SmtpExtensions.FutureRelease,
            SmtpRole.Submission => SmtpExtensions.MtPriority,
            SmtpRole.Mx when Settings.Get(RouteKeys.Table).Count > 0 => SmtpExtensions.Etrn,
            _ => SmtpExtensions.None,
        };
        // LMTP has no queue to send a word from, so it promises none: whoever hands mail in tells the sender.
        SmtpExtensions words = role == SmtpRole.Lmtp ? SmtpExtensions.None : SmtpExtensions.Dsn | SmtpExtensions.DeliverBy;
        return words | SmtpExtensions.RequireTls | ofRole;
    }
}
