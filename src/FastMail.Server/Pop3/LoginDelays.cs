using System.Runtime.InteropServices;

namespace FastMail.Server.Pop3;

/// <summary>
/// When each user logged in last, if the operator wants some time between two logins (LOGIN-DELAY of RFC 2449 6.5).
/// Holds the users of one delay and no more. Loop thread only.
/// </summary>
internal sealed class LoginDelays
{
    private readonly TimeSpan _delay;
    private readonly TimeProvider _clock;
    private readonly Dictionary<ulong, long> _last = [];
    private long _swept;

    /// <param name="delay">Least time between two logins; zero when it does not matter.</param>
    /// <param name="clock">Its monotonic side is used.</param>
    public LoginDelays(TimeSpan delay, TimeProvider clock)
    {
        _delay = delay;
        _clock = clock;
        _swept = clock.GetTimestamp();
    }

    /// <summary>False when the last login was too short a time ago; else this one counts as the last.</summary>
    public bool TryLogIn(ulong mailboxId)
    {
        if (_delay == TimeSpan.Zero)
        {
            return true;
        }

        long now = _clock.GetTimestamp();
        Sweep(now);
        ref long last = ref CollectionsMarshal.GetValueRefOrAddDefault(_last, mailboxId, out bool isKnown);
        if (isKnown && _clock.GetElapsedTime(last, now) < _delay)
        {
            return false;
        }

        last = now;
        return true;
    }

    private void Sweep(long now)
    {
        if (_clock.GetElapsedTime(_swept, now) < _delay)
        {
            return;
        }

        _swept = now;
        foreach ((ulong mailboxId, long last) in _last)
        {
            if (_clock.GetElapsedTime(last, now) >= _delay)
            {
                _last.Remove(mailboxId);
            }
        }
    }
}
