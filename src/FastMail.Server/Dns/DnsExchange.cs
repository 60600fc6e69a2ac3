using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using FastMail.Net;
using FastMail.Protocol.Dns;

namespace FastMail.Server.Dns;

/// <summary>
/// One question on its way: a datagram to each server in turn, over TCP where a datagram is too short. Owned by its
/// resolver; loop thread only.
/// </summary>
internal sealed class DnsExchange : ILoopWork, IDisposable
{
    private const int MostStrays = 32; // datagrams that are no answer to us, before an attempt is given up

    private readonly StubResolver _resolver;
    private readonly byte[] _name = new byte[DnsName.MaxBytes];
    private readonly LoopTimer _timer;
    private int _nameLength;
    private int _attempts;
    private int _strays;
    private ushort _id;
    private bool _isStream; // this attempt is over TCP
    private bool _isPlain; // without EDNS0, which this server does not know
    private DnsAttempt? _attempt;
    private DnsAnswer _best = DnsAnswer.Failed; // of the attempts so far: why it has failed

    private DnsExchange(StubResolver resolver, Question question)
    {
        _resolver = resolver;
        Question = question;
        _timer = new LoopTimer(this);
    }

    public Question Question { get; }

    /// <summary>Who hears the answer, with the numbers they gave.</summary>
    public List<(IDnsAsker Asker, int Number)> Askers { get; } = [];

    /// <summary>False when the name is none.</summary>
    public static bool TryMake(StubResolver resolver, Question question, [NotNullWhen(true)] out DnsExchange? exchange)
    {
        exchange = new DnsExchange(resolver, question);
        if (!DnsName.TryWrite(question.Name, exchange._name, out exchange._nameLength))
        {
            exchange = null;
        }

        return exchange is not null;
    }

    /// <summary>Begins the first attempt; its end, even at once, comes from the loop and not from inside this call.</summary>
    public void Begin() => Begin(_resolver.Options.Servers[0]);

    /// <summary>Ends one that has waited too long for its turn, from the loop and not from inside this call.</summary>
    public void GiveUp()
    {
        _attempts = _resolver.Options.Attempts;
        _resolver.Loop.Arm(_timer, TimeSpan.Zero);
    }

    /// <summary>Closes what is open and tells nobody. Any thread, once the loop, and with it the timer, has ended.</summary>
    public void Dispose()
    {
        _attempt?.Dispose();
        _attempt = null;
    }

    /// <summary>What an attempt has received.</summary>
    /// <param name="attempt">Whose; one that was given up is not heard.</param>
    /// <param name="message">A view, null when there will be none, as when nobody listens there.</param>
    public void Take(DnsAttempt attempt, ArraySegment<byte>? message)
    {
        if (!ReferenceEquals(attempt, _attempt))
        {
            return;
        }

        DnsAnswer? answer = message is null
            ? null
            : DnsAnswer.Read(message.Value, _id, _name.AsSpan(0, _nameLength), Question.Type);
        if (answer is not null)
        {
            Judge(answer);
        }
        else if (message is null || _isStream || ++_strays >= MostStrays)
        {
            GoOnSoon(); // with the next attempt, if there is one
        }
    }

    /// <summary>True while the attempt's datagrams are of interest.</summary>
    public bool IsCurrent(DnsAttempt attempt) => ReferenceEquals(attempt, _attempt);

    /// <summary>The time of this attempt is over, or it has failed.</summary>
    void ILoopWork.Run()
    {
        IReadOnlyList<IPEndPoint> servers = _resolver.Options.Servers;
        if (_attempts < _resolver.Options.Attempts)
        {
            _isStream = false;
            Begin(servers[_attempts % servers.Count]);
        }
        else
        {
            End(_best);
        }
    }

    private void Judge(DnsAnswer answer)
    {
        IReadOnlyList<IPEndPoint> servers = _resolver.Options.Servers;
        switch (answer.Failure)
        {
            case DnsFailure.Truncated when !_isStream:
                _isStream = true;
                _attempts--; // the same server; a stream cannot be truncated again, so this ends
                Begin(servers[_attempts % servers.Count]);
                break;
            case DnsFailure.NotUnderstood when !_isPlain:
                _isPlain = true;
                _attempts--;
                Begin(servers[_attempts % servers.Count]);
                break;
            case DnsFailure.Refused when _attempts < servers.Count && _attempts < _resolver.Options.Attempts:
                _best = answer;
                GoOnSoon();
                break;
            default:
                End(answer);
                break;
        }
    }

    private void Begin(IPEndPoint server)
    {
        EndAttempt();
        bool isSent = TrySend(server);
        _resolver.Loop.Arm(_timer, isSent ? _resolver.Options.Timeout / _resolver.Options.Attempts : TimeSpan.Zero);
    }

    private void GoOnSoon()
    {
        EndAttempt();
        _resolver.Loop.Arm(_timer, TimeSpan.Zero);
    }

    /// <summary>Sends the question; false when that cannot be done, as without a route.</summary>
    private bool TrySend(IPEndPoint server)
    {
        _strays = 0;
        _attempts++;
        _id = (ushort)RandomNumberGenerator.GetInt32(ushort.MaxValue + 1);
        Span<byte> query = stackalloc byte[DnsQuery.MaxBytes];
        int length = DnsQuery.Write(
            query, _id, _name.AsSpan(0, _nameLength), Question.Type, _isPlain ? (ushort)0 : DnsDatagram.MostBytes);
        try
        {
            _attempt = _isStream ? new DnsStream(this, _resolver.Loop, server) : new DnsDatagram(this, _resolver.Loop, server);
            _attempt.Begin(query[..length]);
            return true;
        }
        catch (SocketException)
        {
            EndAttempt();
            return false;
        }
    }

    private void End(DnsAnswer answer)
    {
        EndAttempt();
        _resolver.Ended(this, answer);
    }

    private void EndAttempt()
    {
        Dispose();
        _resolver.Loop.Disarm(_timer);
    }
}
