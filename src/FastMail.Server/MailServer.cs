using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Accounts.Tokens;
using FastMail.Server.Configuration;
using FastMail.Server.Control;
using FastMail.Server.Defence;
using FastMail.Server.Dkim;
using FastMail.Server.Dns;
using FastMail.Server.Pop3;
using FastMail.Server.Proxy;
using FastMail.Server.Queue;
using FastMail.Server.Receive;
using FastMail.Server.Relay;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Sts;
using FastMail.Server.Retention;
using FastMail.Server.Tls;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server;

/// <summary>
/// The running server: one mail log, one event loop, the accounts, and a listener for each role and address. Started
/// once; <see cref="StopAsync"/> drains it.
/// </summary>
internal sealed class MailServer : IAsyncDisposable
{
    private const long FirstSegmentBytes = 16 << 20; // zeroed before the very first start is ready: 10 to 50 ms

    private static readonly string[] Roles = ["mx", "submission", "pop3", "submissions", "pop3s"]; // new ones at the end

    private static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(30);

    private readonly ILogger _log;
    private readonly LogEvents _events;
    private readonly TaskCompletionSource _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<(string Role, EndPoint EndPoint)> _listening = [];
    private readonly Stack<IDisposable> _parts = new();
    private readonly string _directory;
    private Exemptions _proxies = new([]);
    private IReadOnlyList<string> _proxied = [];
    private EventLoop? _loop;
    private OpenStore? _openStore;
    private OpenQueue? _openQueue;
    private LocalSubmission? _submission;
    private AdminDoor? _door;
    private ControlChannel? _control;
    private ServerTls? _tls;
    private Stress? _stress;
    private StubResolver? _blocklistResolver;
    private StubResolver? _resolver;
    private Router? _router;
    private DeliveryEngine? _engine;
    private Settings? _settings;
    private TimeSpan _relayDrainTime;
    private SessionPolicy? _policy;

    private MailServer(string directory, ILogger log)
    {
        _directory = directory;
        _log = log;
        _events = new LogEvents(log);
        _events.LogFailed += () => _failed.TrySetResult();
    }

    /// <summary>Completes when the mail log has failed and the process must be restarted.</summary>
    public Task Failed => _failed.Task;

    /// <summary>One line that tells scripts where to connect, e.g. <c>ready mx=127.0.0.1:2525 submission=none ...</c>.</summary>
    public string ReadyLine =>
        "ready " + string.Join(' ', Roles.Select(role => $"{role}={EndPointsOf(role)}"))
        + (_listening.Exists(l => l.Role == "lmtp") ? $" lmtp={EndPointsOf("lmtp")}" : "");

    /// <summary>The first TCP listener of a role, or null when it has none.</summary>
    public IPEndPoint? EndPointOf(string role) =>
        _listening.Where(l => l.Role == role).Select(l => l.EndPoint).OfType<IPEndPoint>().FirstOrDefault();

    /// <summary>The account that the very first start made, with its password; null at every other start.</summary>
    public (string Address, string Password)? FirstAccount { get; private set; }

    public EventLoop Loop => _loop!;

    internal MailLog MailLog { get; private set; } = null!;

    internal DeliveryEngine Engine => _engine!;

    internal OpenQueue Queue => _openQueue!;

    /// <summary>Loop thread only.</summary>
    internal UnreadableMessages Unreadable { get; } = new();

    /// <summary>Removes what has been kept long enough.</summary>
    public Expunger Expunger { get; private set; } = null!;

    /// <summary>Loop thread only.</summary>
    internal SessionPolicy Policy => _policy!;

    /// <summary>
    /// Opens the data directory, recovers the log, starts listening. Throws what those throw:
    /// <see cref="DataDirectoryInUseException"/>, <see cref="IncompatibleFormatException"/>,
    /// <see cref="DamagedLogException"/>, <see cref="IOException"/>, <see cref="ListenException"/>,
    /// <see cref="CertificateException"/>, <see cref="SettingException"/>, and SQLite's.
    /// </summary>
    public static async Task<MailServer> StartAsync(
        string directory, Settings settings, TimeProvider clock, ILogger log, IDisk disk)
    {
        var server = new MailServer(directory, log);
        try
        {
            server.Start(settings, clock, disk);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Opens the control channel. Without it the server still serves mail, so a failure is told and no more.
    /// </summary>
    public async Task OpenControlAsync()
    {
        try
        {
            var parts = new ControlParts { Store = _openStore!, Router = _router!, Queue = _openQueue!, Submission = _submission! };
            _control = await ControlChannel.OpenAsync(_directory, parts, _door!, _log);
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException)
        {
            _log.LogError("the control channel cannot be opened, the verbs will not reach this server: {Reason}", e.Message);
        }
    }

    /// <summary>How the settings say that the log lies on the disk.</summary>
    public static MailLogOptions OptionsOf(Settings settings) => new()
    {
        SegmentBytes = settings.Get(StoreKeys.SegmentBytes),
        FirstSegmentBytes = Math.Min(settings.Get(StoreKeys.SegmentBytes), FirstSegmentBytes),
        LargestRecordBytes = settings.Get(StoreKeys.JumboBytes),
        MaxBodiesInFlight = settings.Get(StoreKeys.JumbosInFlight),
        CheckpointBytes = settings.Get(StoreKeys.CheckpointBytes),
        CheckpointInterval = settings.Get(StoreKeys.CheckpointInterval),
        ScrubBytesPerSecond = settings.Get(ScrubKeys.Rate),
        ScrubInterval = settings.Get(ScrubKeys.Interval),
        ReserveBytes = settings.Get(StoreKeys.ReserveBytes),
        MinFreeBytes = StoreKeys.LeastFree(settings),
        ReclaimsByItself = settings.Get(StoreKeys.Reclaims),
        CompactDeadRatio = settings.Get(StoreKeys.ReclaimDeadPercent) / 100.0,
        CompactAfter = settings.Get(StoreKeys.ReclaimAfter),
        CompactBytesPerSecond = settings.Get(StoreKeys.ReclaimRate),
    };

    /// <summary>What an account may hold that has no allowance of its own.</summary>
    public static Allowance AllowanceOf(Settings settings) =>
        new(settings.Get(QuotaKeys.Messages), settings.Get(QuotaKeys.Octets), settings.Get(RetentionKeys.Days));

    /// <summary>
    /// Graceful stop: no new connections, commits under way are answered, everybody else hears that the server goes
    /// away. Returns when no connection is left, at the latest after 30 s.
    /// </summary>
    public Task StopAsync() => _loop is null
        ? Task.CompletedTask
        : Task.WhenAll(_engine?.DrainAsync(_relayDrainTime) ?? Task.CompletedTask, _loop.StopAsync(DrainTime));

    /// <summary>
    /// Reads certificates, and passwords for next hops, again; sessions keep what they began with, and what cannot be read
    /// stays as it was. Any thread.
    /// </summary>
    public void Reload()
    {
        _tls?.Reload();
        try
        {
            RoutingRules rules = RouteKeys.Reread(_router!.Rules, _settings!);
            _loop!.Post(new Renewal(_router, rules));
            _log.LogInformation("what next hops are shown, passwords and a certificate, has been read again");
        }
        catch (SettingException e)
        {
            _log.LogError("what next hops are shown stays as it was: {Reason}", e.Message);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_control is not null)
        {
            await _control.DisposeAsync(); // first: it reads the log and must be gone before the lock is
        }

        if (_loop is not null)
        {
            await _loop.StopAsync(TimeSpan.Zero);
        }

        while (_parts.TryPop(out IDisposable? part))
        {
            part.Dispose();
        }

        _blocklistResolver?.Dispose(); // the loop's, which has ended
        _resolver?.Dispose();
    }

    private void Start(Settings settings, TimeProvider clock, IDisk disk)
    {
        AccountStore.MakeDirectory(_directory);
        // The seed is secret: the salts that the log draws from it keep stale bytes from passing for records.
        Random random = NewRandom();
        MailLog mailLog = Own(MailLog.Open(
            _directory,
            OptionsOf(settings),
            disk,
            clock,
            random,
            _events));
        MailLog = mailLog;
        AccountStore store = AccountStore.Open(_directory);
        if (store.IsPristine)
        {
            FirstAccount = ("demo@localhost", Cli.Passwords.MakeRandom());
            Credentials credentials = Credentials.Create(Encoding.ASCII.GetBytes(FirstAccount.Value.Password));
            store.TryAdd(FirstAccount.Value.Address, credentials.Password, clock.GetUtcNow(), credentials.Scram);
        }

        LiveAccounts accounts = Own(new LiveAccounts(store, _log, AddressKeys.Rules(settings)));
        PasswordChecker passwords = Own(new PasswordChecker(
            accounts, clock, settings.Get(AuthKeys.HashIterations), settings.Get(AuthKeys.CacheTime)));
        _tls = Own(ServerTls.Start(_directory, settings, clock, _log));
        TlsClient outgoingTls = Own(new TlsClient(
            Math.Max(1, Environment.ProcessorCount / 2), settings.Get(TlsKeys.HandshakeTimeout)));
        var exemptions = new Exemptions(settings.Get(LimitKeys.Exempt));
        _loop = Own(EventLoop.Start(
            new EventLoopOptions
            {
                Failed = OnFailure,
                ConnectionCap = settings.Get(LimitKeys.Connections),
                PeerTimeout = settings.Get(LimitKeys.PeerTimeout),
                Admission = new ClientAdmission(LimitKeys.Clients(settings), exemptions, clock),
            },
            clock));
        _events.Serve(_loop);
        if (_loop.Thread != LoopThread.Inline)
        {
            _log.LogWarning("the runtime does not run socket completions inline: the loop has its own thread and is slower");
        }

        TokenRules tokenRules = AuthKeys.Tokens(settings);
        TokenValidator? tokens = tokenRules.IsAny ? Own(new TokenValidator(tokenRules, clock, _log)) : null;
        var logins = new Logins
        {
            Tokens = tokens,
            Loop = _loop,
            Accounts = accounts,
            Passwords = passwords,
            Guard = new LoginGuard(AuthKeys.Limits(settings), clock),
            Exemptions = exemptions,
        };
        // Without a token validator nobody's token could be judged.
        SaslMechanisms mechanisms = settings.Get(AuthKeys.Mechanisms)
            & (tokens is null ? ~(SaslMechanisms.OAuthBearer | SaslMechanisms.XOAuth2) : ~SaslMechanisms.None);
        byte[] hostname = Encoding.ASCII.GetBytes(settings.Get(ServeKeys.Hostname));
        var intake = new Intake(clock, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 8);
        CommitWatch commits = WatchCommits(clock, settings.Get(StoreKeys.CommitDeadline));
        var locks = new MaildropLocks();
        Allowance allowance = AllowanceOf(settings);
        var retention = new RetentionPolicy(accounts, allowance);
        var quotas = new Quotas(mailLog, accounts, allowance);
        _stress = new Stress(
            LimitKeys.Stress(settings),
            intake,
            () => (double)_loop.ConnectionCount / _loop.ConnectionCap,
            () => DiskStrain.Of(mailLog),
            _log);
        _policy = new SessionPolicy
        {
            Times = LimitKeys.Times(settings),
            Exemptions = exemptions,
            Stress = _stress,
            Failed = exception => OnFailure(connection: null, exception),
        };
        SessionLimits limits = LimitKeys.Session(settings);
        Blocklists? blocklists = MakeBlocklists(settings);
        _settings = settings;
        _router = MakeRouter(settings, accounts, clock);
        _relayDrainTime = settings.Get(RelayKeys.DrainTime);
        DkimWorkers signing = Own(new DkimWorkers(
            new DkimKeyring(new DkimFiles(_directory), clock, _log), accounts, settings.Get(DkimKeys.Canonicalization), _loop.Post, clock, _log));
        _engine = new DeliveryEngine(new DeliveryParts
        {
            Loop = _loop,
            Log = mailLog,
            Router = _router,
            Tls = outgoingTls,
            Accounts = accounts,
            Signing = signing,
            Intake = intake,
            Quotas = quotas,
            Clock = clock,
            Random = NewRandom(),
            Logger = _log,
            Hostname = hostname,
            Schedule = RelayKeys.Schedule(settings),
            Options = RelayKeys.Delivery(settings) with { MostReturnedBytes = settings.Get(NotifyKeys.FullSize) },
        });
        _engine.Start();
        var relay = new RelayIntake(
            _engine, new Exemptions(settings.Get(RelayKeys.From)), new QueueRuns(_router, _engine, clock));
        var delays = new LoginDelays(settings.Get(Pop3Keys.LoginDelay), clock);
        _openStore = Own(new OpenStore(mailLog, () => accounts.Current, allowance));
        _door = AdminDoor.Open(_directory, settings.Get(AdminKeys.Listen), settings.Get(AdminKeys.Hosts));
        _openQueue = new OpenQueue(mailLog, _engine, clock);
        _submission = new LocalSubmission(
            mailLog, () => accounts.Current, _engine, intake, clock,
            settings.Get(ServeKeys.Hostname), settings.Get(LimitKeys.MessageBytes));
        Expunger = Own(new Expunger(mailLog, accounts, allowance, locks, _loop, clock, _log));

        _proxies = new Exemptions(settings.Get(ProxyKeys.Peers));
        _proxied = settings.Get(ProxyKeys.Listeners);
        var xclient = new Exemptions(settings.Get(XclientKeys.Peers));
        var longestHold = TimeSpan.FromSeconds(Math.Floor(settings.Get(RelayKeys.LongestHold).TotalSeconds));
        SmtpExtensions futureRelease = longestHold > TimeSpan.Zero ? SmtpExtensions.FutureRelease : SmtpExtensions.None;

        foreach (IPEndPoint endPoint in settings.Get(ServeKeys.Mx))
        {
            Listen("mx", endPoint, Smtp(SmtpRole.Mx, offersAuth: false), _tls.OnDemand);
        }

        foreach (IPEndPoint endPoint in settings.Get(ServeKeys.Submission))
        {
            Listen("submission", endPoint, Smtp(SmtpRole.Submission, offersAuth: IsPrivate("submission", endPoint)), _tls.OnDemand);
        }

        foreach (IPEndPoint endPoint in settings.Get(ServeKeys.Submissions))
        {
            Listen("submissions", endPoint, Smtp(SmtpRole.Submission, offersAuth: false), _tls.Implicit);
        }

        foreach (EndPoint endPoint in settings.Get(LmtpKeys.Listen))
        {
            Listen("lmtp", endPoint, Smtp(SmtpRole.Lmtp, offersAuth: false), _tls.OnDemand);
        }

        foreach (IPEndPoint endPoint in settings.Get(ServeKeys.Pop3))
        {
            Listen("pop3", endPoint, Pop3(allowsCleartext: IsPrivate("pop3", endPoint)), _tls.OnDemand);
        }

        foreach (IPEndPoint endPoint in settings.Get(ServeKeys.Pop3s))
        {
            Listen("pop3s", endPoint, Pop3(allowsCleartext: false), _tls.Implicit);
        }

        Pop3Handlers Pop3(bool allowsCleartext) => new()
        {
            Loop = _loop,
            Log = mailLog,
            Commits = commits,
            Logins = logins,
            Locks = locks,
            Policy = _policy,
            Retention = retention,
            Unreadable = Unreadable,
            Logger = _log,
            Delays = delays,
            LockWait = settings.Get(Pop3Keys.LockWait),
            SessionsPerUser = settings.Get(Pop3Keys.SessionsPerUser),
            Options = new Pop3SessionOptions
            {
                Hostname = hostname,
                Limits = limits,
                AllowsCleartext = allowsCleartext,
                Mechanisms = mechanisms,
                MaxLoginFailures = settings.Get(AuthKeys.SessionFailures),
                IsStrictUtf8 = settings.Get(Pop3Keys.StrictUtf8),
                LoginDelaySeconds = (int)Math.Ceiling(settings.Get(Pop3Keys.LoginDelay).TotalSeconds),
                Expiry = () => retention.OfAnybody,
                Tls = _tls,
            },
        };

        SmtpHandlers Smtp(SmtpRole role, bool offersAuth) => new()
        {
            Loop = _loop,
            Log = mailLog,
            Commits = commits,
            Accounts = accounts,
            Logins = logins,
            Intake = intake,
            Quotas = quotas,
            Policy = _policy,
            Xclient = xclient,
            Clock = clock,
            Blocklists = role == SmtpRole.Mx ? blocklists : null,
            Relay = role == SmtpRole.Lmtp ? null : relay, // RFC 2033: LMTP has no queue
            Options = new SmtpSessionOptions
            {
                Hostname = hostname,
                Role = role,
                Limits = limits,
                MaxRecipients = settings.Get(LimitKeys.Recipients),
                MaxMessageBytes = settings.Get(LimitKeys.MessageBytes),
                Extensions = SmtpExtensions.Dsn | SmtpExtensions.DeliverBy | SmtpExtensions.RequireTls
                    | (role == SmtpRole.Submission ? SmtpExtensions.MtPriority | futureRelease : SmtpExtensions.None)
                    | (role == SmtpRole.Mx && settings.Get(RouteKeys.Table).Count > 0 ? SmtpExtensions.Etrn : SmtpExtensions.None),
                LongestHold = longestHold,
                Clock = clock,
                OffersAuth = offersAuth,
                Mechanisms = mechanisms,
                MaxLoginFailures = settings.Get(AuthKeys.SessionFailures),
                RequiresAuth = role == SmtpRole.Submission,
                Tls = _tls,
            },
        };
    }

    private Blocklists? MakeBlocklists(Settings settings)
    {
        if (settings.Get(DnsblKeys.Zones) is not { Count: > 0 } zones)
        {
            return null;
        }

        var options = new ResolverOptions
        {
            Servers = settings.Get(DnsblKeys.Servers) is { Count: > 0 } servers
                ? servers
                : DnsKeys.ServersOf(settings),
            Timeout = settings.Get(DnsblKeys.Timeout),
        };
        _blocklistResolver = new StubResolver(_loop!, options);
        return new Blocklists(zones, _blocklistResolver, _log);
    }

    private Router MakeRouter(Settings settings, LiveAccounts accounts, TimeProvider clock)
    {
        _resolver = new StubResolver(_loop!, DnsKeys.Options(settings));
        var own = new OwnAddresses(
            settings.Get(ServeKeys.Hostname),
            () => _listening.Where(l => l.Role is not ("pop3" or "pop3s")).Select(l => l.EndPoint).OfType<IPEndPoint>(),
            clock);
        RoutingRules rules = RouteKeys.Rules(settings);
        return new Router(rules, _resolver, () => accounts.Current, own, _loop!, NewRandom())
        {
            Policies = rules.UsesSts
                ? Own(StsPolicies.Open(
                    new StsFetcher(rules.TrustAnchors, rules.StsPort), _loop!, clock, _log, Path.Join(_directory, StsPolicies.FileName)))
                : null,
        };
    }

    private CommitWatch WatchCommits(TimeProvider clock, TimeSpan deadline)
    {
        LoopTimer? timer = null;
        return new CommitWatch(clock, deadline, (work, due) => _loop!.Arm(timer ??= new LoopTimer(work), due));
    }

    private void Listen<T>(string role, EndPoint endPoint, HandlerPool<T> pool, ListenerTls tls)
        where T : class, IPooledHandler
    {
        _stress!.Began += pool.Hurry;
        IHandlerFactory handlers = IsProxied(role) ? new ProxiedHandlers(pool, _proxies, tls.IsImplicit) : pool;
        try
        {
            if (endPoint is UnixDomainSocketEndPoint path)
            {
                _loop!.ListenLocally(path, handlers, tls);
                _listening.Add((role, path));
            }
            else
            {
                _listening.Add((role, _loop!.Listen((IPEndPoint)endPoint, handlers, tls).LocalEndPoint));
            }
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            throw new ListenException($"cannot listen on {Cli.Arguments.TextOf(endPoint)} for {role}: {e.Message}", e);
        }
    }

    private string EndPointsOf(string role) =>
        string.Join(',', _listening.Where(l => l.Role == role).Select(l => Cli.Arguments.TextOf(l.EndPoint)).DefaultIfEmpty("none"));

    /// <summary>
    /// Passwords in the clear never leave this machine: without TLS only a loopback listener takes them, and none that
    /// a proxy brings clients to from elsewhere.
    /// </summary>
    private bool IsPrivate(string role, IPEndPoint endPoint) =>
        IPAddress.IsLoopback(endPoint.Address) && !IsProxied(role);

    private bool IsProxied(string role) => _proxied.Contains(role, StringComparer.Ordinal);

    private void OnFailure(Connection? connection, Exception exception) =>
        _log.LogError(exception, "a session failed and was closed; the others go on");

    private sealed class Renewal(Router router, RoutingRules rules) : ILoopWork
    {
        public void Run() => router.Renew(rules);
    }

    /// <summary>For one thread; not to be guessed.</summary>
    private static Random NewRandom() => new(RandomNumberGenerator.GetInt32(int.MaxValue));

    private T Own<T>(T part)
        where T : IDisposable
    {
        _parts.Push(part);
        return part;
    }
}

/// <summary>An address cannot be listened on; the message says which and why.</summary>
internal sealed class ListenException : Exception
{
    public ListenException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
