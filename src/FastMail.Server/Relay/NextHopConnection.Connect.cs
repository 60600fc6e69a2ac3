using System.Net.Sockets;
using System.Text;
using FastMail.Net;
using FastMail.Server.Relay.Routing;

namespace FastMail.Server.Relay;

/// <content>
/// The way to a connection: hosts one after the other, by preference (RFC 5321 5.1), and of one host the address that
/// answers first (RFC 8305, happy eyeballs): where IPv6 leads nowhere, that costs a moment and not the whole time to
/// connect.
/// </content>
internal sealed partial class NextHopConnection
{
    /// <summary>Attempts with one host at a time. With a good family and a bad one two would do.</summary>
    private const int MostAttempts = 3;

    /// <summary>
    /// The next address gets its turn when those before it have not answered for so long (RFC 8305 5). The loop counts in
    /// tenths of a second and fires none too early.
    /// </summary>
    private static readonly TimeSpan AttemptDelay = TimeSpan.FromMilliseconds(250);

    private static readonly byte[] InTheClear = [.. "in the clear"u8];
    private static readonly byte[] InTheClearForWant = [.. "in the clear, as TLS failed"u8];

    private readonly List<NextHop> _hops = []; // that are left, in the order to try them
    private readonly List<Attempt> _attempts = []; // under way with one host, oldest first
    private readonly LoopTimer _nextAttempt;
    private string _host = ""; // whose addresses are tried
    private string _failures = ""; // of that host
    private TimeSpan _attemptTime;
    private TimeSpan _connectEnd; // on the loop's clock

    /// <summary>At once, whatever is under way.</summary>
    public void Abort()
    {
        _connection?.Abort();
        foreach (Attempt attempt in _attempts.ToArray()) // the end of each takes it out
        {
            attempt.Connection.Abort();
        }
    }

    public void Opened(Connection connection)
    {
        _engine.Loop.Disarm(_nextAttempt);
        int winner = _attempts.FindIndex(attempt => ReferenceEquals(attempt.Connection, connection));
        _connection = connection;
        _hop = _attempts[winner].Hop;
        _hopText = Encoding.UTF8.GetBytes($"{_hop} ");
        _tlsText = _isInClear ? InTheClearForWant : InTheClear;
        _attempts.RemoveAt(winner);
        GiveUpOthers();
        _session.Reset(_engine.SessionOptionsOf(_route, _hop, _isInClear));
        TakeDeadline();
    }

    public void ConnectFailed(Connection connection, SocketError error)
    {
        int failed = _attempts.FindIndex(attempt => ReferenceEquals(attempt.Connection, connection));
        if (failed < 0)
        {
            return; // given up for another one
        }

        NextHop hop = _attempts[failed].Hop;
        _attempts.RemoveAt(failed);
        AddFailure(hop, error switch
        {
            SocketError.TimedOut or SocketError.OperationAborted => "connection timed out",
            SocketError.ConnectionRefused => "connection refused",
            SocketError.HostUnreachable or SocketError.HostDown => "host unreachable",
            SocketError.NetworkUnreachable or SocketError.NetworkDown => "network unreachable",
            SocketError.TooManyOpenSockets => "too many connections are open here",
            _ => $"connection failed ({error})",
        });
        if (_attempts.Count > 0)
        {
            TryOneMore();
        }
        else
        {
            TryNext();
        }
    }

    /// <summary>The addresses of the first host that is left, as one after the other gets its turn.</summary>
    private void ConnectToHost()
    {
        if (_hops[0].Host != _host)
        {
            _host = _hops[0].Host;
            _failures = "";
        }

        int addresses = _hops.FindIndex(hop => hop.Host != _host);
        addresses = addresses < 0 ? _hops.Count : addresses;
        _isInClear = false;
        // Those that have to wait for one of the first to end are to have their time too.
        _attemptTime = _engine.ConnectTime / ((addresses + MostAttempts - 1) / MostAttempts);
        _connectEnd = _engine.Loop.Elapsed + _engine.ConnectTime;
        BeginAttempt();
    }

    private void BeginAttempt()
    {
        NextHop hop = _hops[0];
        _hops.RemoveAt(0);
        TimeSpan left = _connectEnd - _engine.Loop.Elapsed;
        Connect(hop, left < _attemptTime ? left : _attemptTime);
        if (IsAnyOfHostLeft)
        {
            _engine.Loop.Arm(_nextAttempt, AttemptDelay);
        }
    }

    private bool IsAnyOfHostLeft => _hops.Count > 0 && _hops[0].Host == _host;

    /// <summary>
    /// The last descriptors are not for a second address: a connection more would be one less to somebody else.
    /// </summary>
    private bool IsRoomForMore =>
        _attempts.Count < MostAttempts
        && _engine.Loop.OutgoingCount < _engine.Loop.OutgoingCap - (_engine.Loop.OutgoingCap / 8);

    /// <summary>An address has had its moment, or has failed, while others are still under way.</summary>
    private void TryOneMore()
    {
        _engine.Loop.Disarm(_nextAttempt);
        if (!IsAnyOfHostLeft || _isInClear || _engine.IsStopping || _engine.Loop.Elapsed >= _connectEnd)
        {
            return;
        }

        if (IsRoomForMore)
        {
            BeginAttempt();
        }
        else
        {
            _engine.Loop.Arm(_nextAttempt, AttemptDelay);
        }
    }

    private void ConnectInClear(NextHop hop)
    {
        _isInClear = true;
        Connect(hop, _engine.ConnectTime);
    }

    private void Connect(NextHop hop, TimeSpan deadline)
    {
        AddressFamily family = hop.EndPoint.AddressFamily;
        Connection connection = _engine.Loop.Connect(
            new ConnectTarget(hop.EndPoint, deadline)
            {
                Source = family == AddressFamily.Unix ? null : _route.SourceFor(family),
                Tls = _isInClear ? null : hop.TlsOf(_engine.Tls),
            },
            this);
        _attempts.Add(new Attempt(connection, hop));
    }

    /// <summary>
    /// They have not failed, another one was quicker: should the host turn out not to work there, they get their turn.
    /// </summary>
    private void GiveUpOthers()
    {
        for (int i = _attempts.Count - 1; i >= 0; i--)
        {
            Attempt other = _attempts[i];
            _attempts.RemoveAt(i);
            _hops.Insert(0, other.Hop);
            other.Connection.Abort();
        }
    }

    private void AddFailure(NextHop hop, string words) =>
        _failures = _failures.Length == 0 ? $"{hop} {words}" : $"{_failures}; {hop} {words}";

    /// <summary>What is left of the host, the next one, or the end.</summary>
    private void TryNext()
    {
        _engine.Loop.Disarm(_nextAttempt);
        if (_hops.Count > 0 && !_engine.IsStopping)
        {
            ConnectToHost();
        }
        else
        {
            _engine.OpeningFailed(this, _failures, _session.Failure);
        }
    }

    private readonly record struct Attempt(Connection Connection, NextHop Hop);

    private sealed class NextAttempt(NextHopConnection owner) : ILoopWork
    {
        public void Run() => owner.TryOneMore();
    }
}
