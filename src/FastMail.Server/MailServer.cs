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

    private static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(30);

    private readonly ILogger _log;
    private readonly LogEvents _events;
    private readonly TaskCompletionSource _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Stack<IDisposable> _parts = new();
    private readonly string _directory;
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

    /// <summary>Where it listens.</summary>
    public Listeners Listeners { get; private set; } = null!;

    /// <summary>Where the control channel answers over TCP; null when it does not.</summary>
    internal IPEndPoint? AdminEndPoint => _control?.RemoteEndPoint;

    /// <summary>The account that the very first start made, with its password; null at every other start.</summary>
    public (string Address, string Password)? FirstAccount { get; private set; }

    public EventLoop Loop => _loop!;

    internal MailLog MailLog { get; private set; } = null!;

    internal DeliveryEngine Engine => _engine!;

    internal OpenQueue Queue => _openQueue!;

    /// <summary>Loop thread only.</summary>
    internal UnreadableMessages Unreadable { get; private set; } = null!;

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
        Spares = settings.Get(StoreKeys.Spares),
        ReusesSegments = settings.Get(StoreKeys.ReusesSegments),
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
            _loop!.Post(new Renewal(_router, _engine!, rules));
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
        MailLog mailLog = OpenLog(settings, clock, disk);
        InHand inHand = Own(InHand.Open(_directory, _log));
        Unreadable = new UnreadableMessages(inHand);
        LiveAccounts accounts = OpenAccounts(settings, clock);
        _tls = Own(ServerTls.Start(_directory, settings, clock, _log));
        var exemptions = new Exemptions(settings.Get(LimitKeys.Exempt));
        EventLoop loop = StartLoop(settings, exemptions, clock);
        var intake = new Intake(clock, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 8);
        var locks = new MaildropLocks();
        Allowance allowance = AllowanceOf(settings);
        var quotas = new Quotas(mailLog, accounts, allowance);
        _stress = new Stress(
            LimitKeys.Stress(settings),
            intake,
            () => (double)loop.ConnectionCount / loop.ConnectionCap,
            () => DiskStrain.Of(mailLog),
            _log);
        _policy = new SessionPolicy
        {
            Times = LimitKeys.Times(settings),
            Exemptions = exemptions,
            Stress = _stress,
            Failed = exception => OnFailure(connection: null, exception),
        };
        Listeners = new Listeners(
            loop, _stress, new Exemptions(settings.Get(ProxyKeys.Peers)), settings.Get(ProxyKeys.Listeners));
        Logins logins = MakeLogins(settings, accounts, exemptions, clock);
        DeliveryEngine engine = StartRelay(settings, accounts, intake, quotas, inHand, clock);
        OpenDoors(settings, accounts, allowance, intake, clock);
        Expunger = Own(new Expunger(_directory, mailLog, accounts, allowance, locks, loop, clock, _log));
        new SessionRoles
        {
            Settings = settings,
            Clock = clock,
            Logger = _log,
            Loop = loop,
            Log = mailLog,
            Tls = _tls,
            Accounts = accounts,
            Logins = logins,
            Intake = intake,
            Quotas = quotas,
            Locks = locks,
            Policy = _policy,
            Commits = WatchCommits(clock, settings.Get(StoreKeys.CommitDeadline)),
            Retention = new RetentionPolicy(accounts, allowance),
            Unreadable = Unreadable,
            Blocklists = MakeBlocklists(settings),
            Relay = new RelayIntake(
                engine, new Exemptions(settings.Get(RelayKeys.From)), new QueueRuns(_router!, engine, clock))
            {
                Routes = _router!.Rules.Table,
                MostHeld = settings.Get(RelayKeys.MostHeld),
            },
        }.Open(Listeners);
        inHand.IsServing = true;
    }

    private MailLog OpenLog(Settings settings, TimeProvider clock, IDisk disk)
    {
        AccountStore.MakeDirectory(_directory);
        // The seed is secret: the salts that the log draws from it keep stale bytes from passing for records.
        MailLog = Own(MailLog.Open(_directory, OptionsOf(settings), disk, clock, NewRandom(), _events));
        return MailLog;
    }

    private LiveAccounts OpenAccounts(Settings settings, TimeProvider clock)
    {
        AccountStore store = AccountStore.Open(_directory);
        if (store.IsPristine)
        {
            FirstAccount = ("demo@localhost", Cli.Passwords.MakeRandom());
            Credentials credentials = Credentials.Create(Encoding.ASCII.GetBytes(FirstAccount.Value.Password));
            store.TryAdd(FirstAccount.Value.Address, credentials.Password, clock.GetUtcNow(), credentials.Scram);
        }

        return Own(new LiveAccounts(store, _log, AddressKeys.Rules(settings)));
    }

    private EventLoop StartLoop(Settings settings, Exemptions exemptions, TimeProvider clock)
    {
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

        return _loop;
    }

    private Logins MakeLogins(Settings settings, LiveAccounts accounts, Exemptions exemptions, TimeProvider clock)
    {
        TokenRules tokenRules = AuthKeys.Tokens(settings);
        return new Logins
        {
            Tokens = tokenRules.IsAny ? Own(new TokenValidator(tokenRules, clock, _log)) : null,
            Loop = _loop!,
            Accounts = accounts,
            Passwords = Own(new PasswordChecker(
                accounts, clock, settings.Get(AuthKeys.HashIterations), settings.Get(AuthKeys.CacheTime))),
            Guard = new LoginGuard(AuthKeys.Limits(settings), clock),
            Exemptions = exemptions,
        };
    }

    private DeliveryEngine StartRelay(
        Settings settings, LiveAccounts accounts, Intake intake, Quotas quotas, InHand inHand, TimeProvider clock)
    {
        TlsClient tls = Own(new TlsClient(
            Math.Max(1, Environment.ProcessorCount / 2), settings.Get(TlsKeys.HandshakeTimeout)));
        _settings = settings;
        _router = MakeRouter(settings, accounts, clock);
        _relayDrainTime = settings.Get(RelayKeys.DrainTime);
        DkimWorkers signing = Own(new DkimWorkers(
            new DkimKeyring(new DkimFiles(_directory), clock, _log), accounts, settings.Get(DkimKeys.Canonicalization), _loop!.Post, clock, _log));
        _engine = new DeliveryEngine(new DeliveryParts
        {
            Loop = _loop,
            Log = MailLog,
            Router = _router,
            Tls = tls,
            Accounts = accounts,
            Signing = signing,
            Intake = intake,
            Quotas = quotas,
            Clock = clock,
            Random = NewRandom(),
            Logger = _log,
            Hostname = SessionRoles.HostnameOf(settings),
            Schedule = RelayKeys.Schedule(settings),
            Options = RelayKeys.Delivery(settings) with { MostReturnedBytes = settings.Get(NotifyKeys.FullSize) },
            InHand = inHand,
        });
        _engine.Start();
        return _engine;
    }

    /// <summary>What the operator's verbs reach.</summary>
    private void OpenDoors(Settings settings, LiveAccounts accounts, Allowance allowance, Intake intake, TimeProvider clock)
    {
        _openStore = Own(new OpenStore(MailLog, () => accounts.Current, ReadRemoved, allowance));
        _door = AdminDoor.Open(_directory, settings.Get(AdminKeys.Listen), settings.Get(AdminKeys.Hosts));
        _openQueue = new OpenQueue(MailLog, _engine!, clock);
        _submission = new LocalSubmission(
            MailLog, () => accounts.Current, _router!.Rules.Table, _engine!, intake, clock,
            settings.Get(ServeKeys.Hostname), settings.Get(LimitKeys.MessageBytes));
    }

    private List<RemovedMailbox> ReadRemoved()
    {
        using AccountStore store = AccountStore.Open(_directory);
        return store.ReadRemoved();
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
            () => Listeners.OfMail,
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

    private void OnFailure(Connection? connection, Exception exception) =>
        _log.LogError(exception, "a session failed and was closed; the others go on");

    private sealed class Renewal(Router router, DeliveryEngine engine, RoutingRules rules) : ILoopWork
    {
        public void Run()
        {
            router.Renew(rules);
            engine.RenewRoutes();
        }
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
