using FastMail.Net;
using FastMail.Protocol;

namespace FastMail.Server.Defence;

/// <summary>
/// Watches the time of one connection: a command must be whole by its deadline, content must come at the least rate, a
/// pause ends by timer. Owned by the handler of the connection and reused with it; loop thread only.
/// </summary>
internal sealed class SessionPacing : ILoopWork
{
    private readonly SessionPolicy _policy;
    private readonly LineSession _session;
    private Connection? _connection;
    private LoopTimer? _pause; // most connections never pause
    private bool _isExempt;
    private bool _isInContent;
    private long _contentOctets;
    private TimeSpan _contentBegan;

    /// <param name="policy">The times.</param>
    /// <param name="session">Told when a pause is over.</param>
    public SessionPacing(SessionPolicy policy, LineSession session)
    {
        _policy = policy;
        _session = session;
    }

    /// <summary>A new connection, or a new client on it, which has so long for its first command.</summary>
    public void Begin(Connection connection, bool isExempt, TimeSpan due)
    {
        _connection = connection;
        _isExempt = isExempt;
        _isInContent = false;
        connection.SetSendRate(isExempt ? default : _policy.Times.Rate);
        connection.SetDeadline(due);
    }

    public void End()
    {
        if (_pause is { IsArmed: true })
        {
            _connection!.Loop.Disarm(_pause);
        }

        _connection = null;
    }

    /// <summary>
    /// A turn in which the session took commands. Only a reply moves the deadline: one octet now and then does not.
    /// </summary>
    public void TookCommands(int written, TimeSpan due)
    {
        if (written > 0 || _isInContent)
        {
            _isInContent = false;
            _connection!.SetDeadline(due);
        }
    }

    /// <summary>A turn at whose end content is expected.</summary>
    public void TookContent(int octets, TimeSpan due)
    {
        Connection connection = _connection!;
        MinimumRate rate = _policy.Times.Rate;
        if (_isExempt || rate.IsNone)
        {
            connection.SetDeadline(due);
            return;
        }

        TimeSpan now = connection.Loop.Elapsed;
        if (!_isInContent)
        {
            _isInContent = true;
            _contentOctets = 0;
            _contentBegan = now;
        }

        _contentOctets += octets;
        TimeSpan left = _contentBegan + rate.TimeFor(_contentOctets) - now;
        if (left > due)
        {
            _contentBegan -= left - due; // haste now buys no hours of nothing later
            left = due;
        }

        connection.SetDeadline(left);
    }

    /// <summary>The rate counts anew from the next content on.</summary>
    public void RestartContent() => _isInContent = false;

    /// <summary>Stress began: who is between commands gets no more time than those who come now.</summary>
    public void Hurry(TimeSpan due)
    {
        if (_connection is { } connection && !_isInContent)
        {
            connection.SetDeadline(due);
        }
    }

    public void Pause(TimeSpan time)
    {
        _pause ??= new LoopTimer(this);
        if (!_pause.IsArmed)
        {
            _connection!.Loop.Arm(_pause, time);
        }
    }

    void ILoopWork.Run()
    {
        if (_connection is { IsOpen: true } connection)
        {
            _session.EndPause(connection.HasInput);
            connection.Resume();
        }
    }
}
