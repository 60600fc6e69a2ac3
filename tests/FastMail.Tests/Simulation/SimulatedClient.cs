using System.Buffers;
using System.Net;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Pop3;
using FastMail.Server.Receive;
using FastMail.Storage;

namespace FastMail.Tests.Simulation;

/// <summary>
/// One connection without a network: what the client says is cut into segments by chance. Owned by the run; its thread
/// only.
/// </summary>
internal abstract class SimulatedClient(Random random) : ILoopWork
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly byte[] _replies = new byte[2048];
    private readonly object _gate = new();
    private bool _isStirred;
    private byte[] _pending = [];

    /// <summary>The session has closed.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>A commit, a removal or a login is under way.</summary>
    public bool IsWaiting => Session.IsWaiting;

    protected abstract ISession Session { get; }

    /// <summary>The session waits for the disk, which needs no turn of the log: it goes on in the middle of one.</summary>
    protected abstract bool IsAwaitingDisk { get; }

    public abstract void Run();

    /// <summary>Says it and returns the answer so far, as Latin-1.</summary>
    public string Say(ReadOnlySpan<byte> input)
    {
        StringBuilder answer = new();
        int segment = random.Next(4) == 0 ? 1 + (input.Length / 24) : Math.Max(input.Length, 1);
        do
        {
            int part = Math.Min(segment, input.Length);
            _pending = [.. _pending, .. input[..part]];
            input = input[part..];
            Take(answer);
        }
        while (!input.IsEmpty && !IsClosed);
        return answer.ToString();
    }

    public string Say(string input)
    {
        return Say(Encoding.Latin1.GetBytes(input));
    }

    /// <summary>The answer that was waited for.</summary>
    public string Hear()
    {
        return Say([]);
    }

    /// <summary>Called by a thread of the log.</summary>
    protected void Stir()
    {
        lock (_gate)
        {
            _isStirred = true;
            Monitor.Pulse(_gate);
        }
    }

    private void AwaitStir()
    {
        lock (_gate)
        {
            if (!_isStirred && !Monitor.Wait(_gate, Patience))
            {
                throw new TimeoutException("the log never said that it is ready for more");
            }

            _isStirred = false;
        }
    }

    private void Take(StringBuilder answer)
    {
        while (!IsClosed)
        {
            OperationStatus status = Session.Receive(_pending, _replies, out int consumed, out int written);
            _ = answer.Append(Encoding.Latin1.GetString(_replies.AsSpan(0, written)));
            _ = answer.Append(Encoding.Latin1.GetString(Session.Body.Span));
            _pending = _pending[consumed..];
            IsClosed = status == OperationStatus.Done;
            if (IsAwaitingDisk)
            {
                AwaitStir();
                Run();
            }
            else if (status == OperationStatus.NeedMoreData)
            {
                return;
            }
        }
    }
}

/// <summary>Sends one message.</summary>
internal sealed class SmtpClient : SimulatedClient, IAuthenticator
{
    private static readonly SmtpSessionOptions Options = new()
    {
        Hostname = "mx.sim.test"u8.ToArray(),
        Role = SmtpRole.Mx,
        MaxMessageBytes = 1 << 20,
    };

    private readonly MailReceiver _receiver;
    private readonly SmtpSession _session;

    public SmtpClient(SimulatedServer server, Random random)
        : base(random)
    {
        _receiver = new MailReceiver(
            server.Log, server.Accounts, server.Intake, server.Quotas, server.Stress, Options.Hostname, server.Clock,
            server.Post, this, Stir);
        _receiver.Connect(IPAddress.Loopback);
        _session = new SmtpSession(Options, _receiver, this);
    }

    protected override ISession Session => _session;

    protected override bool IsAwaitingDisk => _receiver.IsHeld;

    public override void Run()
    {
        if (_receiver.IsHeld)
        {
            _receiver.EndHold();
            _session.GoOn();
        }
        else
        {
            _session.Committed(_receiver.EndCommit());
        }
    }

    /// <summary>The connection breaks.</summary>
    public void Break()
    {
        _session.Abandon();
    }

    public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password)
    {
        return false;
    }

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
}

/// <summary>Reads and empties one maildrop.</summary>
internal sealed class Pop3Client : SimulatedClient, IAuthenticator
{
    private static readonly Pop3SessionOptions Options = new()
    {
        Hostname = "pop.sim.test"u8.ToArray(),
        AllowsCleartext = true,
    };

    private readonly SimulatedServer _server;
    private readonly Pop3Session _session;
    private LockedMaildrop? _maildrop;
    private Account? _account;

    public Pop3Client(SimulatedServer server, Random random)
        : base(random)
    {
        _server = server;
        _session = new Pop3Session(Options, this);
    }

    protected override ISession Session => _session;

    /// <summary>True when the maildrop is open now.</summary>
    public bool LogIn(string address)
    {
        _ = Say($"USER {address}\r\nPASS secret\r\n");
        MaildropLocks.Token? token = _account is null ? null : _server.Locks.TryAcquire(_account.MailboxId);
        if (token is null)
        {
            _session.LoggedIn(LoginVerdict.InUse, null);
            _ = Hear();
            return false;
        }

        _maildrop = LockedMaildrop.TryOpen(_server.Log, _account!.MailboxId, token, this, Stir, new UnreadableMessages());
        _session.LoggedIn(_maildrop is null ? LoginVerdict.Unavailable : LoginVerdict.Accepted, _maildrop);
        return Hear().StartsWith("+OK", StringComparison.Ordinal);
    }

    protected override bool IsAwaitingDisk => _maildrop is { IsReading: true };

    public override void Run()
    {
        if (_maildrop!.IsReading)
        {
            ContentStatus status = _maildrop.EndReading(out MessageContent part);
            _session.ContentRead(status, part);
        }
        else
        {
            _session.Removed(_maildrop.EndRemoval());
        }
    }

    /// <summary>The connection breaks: nothing is removed.</summary>
    public void Break()
    {
        _session.Abandon();
    }

    public bool TryBegin(ReadOnlySpan<byte> user, ReadOnlySpan<byte> password)
    {
        _account = _server.Accounts.Current.Find(user);
        return true;
    }

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
}
