using System.Diagnostics;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// The client's side of one POP3 connection (RFC 1939): what is said next, and what each reply means. RETR and DELE may be
/// sent ahead of their replies (RFC 2449 section 6.6). Owned by the <see cref="Pop3Loop"/>, entered by its thread only;
/// opened again for the next session. A session costs no allocation unless its maildrop is collected.
/// </summary>
internal sealed partial class Pop3Connection : IDisposable
{
    /// <summary>A reply's line, or a line of a message's header section, that is no longer than this is looked at whole.</summary>
    internal const int LongestLine = 64 * 1024;

    private const int FirstCarryOctets = 256;
    private const int LongestCommand = 32; // one that names a message

    private static readonly byte[] Quit = "QUIT\r\n"u8.ToArray();

    private readonly Pop3Loop _loop;
    private readonly GatherSocket _socket;
    private readonly byte[] _commands;
    private byte[] _carry = new byte[FirstCarryOctets]; // what was received and not yet understood
    private int _carried;
    private int _queued;
    private int _queuedFrom;

    private Phase _phase;
    private int _stepAt;
    private bool _isInReply; // the status line is read, what follows it is not
    private string _user = "";
    private long _openedAt;
    private long _askedAt;
    private long _heardAt;
    private long _handshakeFrom;

    internal Pop3Connection(Pop3Loop loop, Epoll epoll, int token)
    {
        _loop = loop;
        Number = token;
        _commands = GC.AllocateUninitializedArray<byte>(
            (2 * loop.Plan.Depth * LongestCommand) + loop.LongestLogin, pinned: true);
        _socket = new GatherSocket(epoll, token, loop.Plan.Depth + 2, receiveOctets: 0);
        _askedAtOf = new long[loop.Plan.Depth];
        _own = loop.Collected is null ? null : new OwnPart();
    }

    /// <summary>What the replies now awaited are replies to.</summary>
    private enum Phase
    {
        Closed,
        Handshake,
        Greeting,
        Stls,
        User,
        Pass,
        Step,
        Quit,
    }

    /// <summary>Which of the loop's connections it is.</summary>
    internal int Number { get; }

    internal void Open(string user)
    {
        _user = user;
        _carried = 0;
        _queued = 0;
        _queuedFrom = 0;
        _stepAt = -1;
        _isInReply = false;
        _count = -1;
        _sizes.Clear();
        _uniqueIds.Clear();
        _phase = Phase.Greeting;
        _openedAt = Stopwatch.GetTimestamp();
        _heardAt = _openedAt;
        int errno = _socket.Open(_loop.Plan.Target);
        if (errno != 0)
        {
            Fail($"connect: {Linux.ErrorText(errno)}");
        }
        else if (_loop.Plan.Tls is { Start: TlsStart.Implicit } tls)
        {
            Secure(tls);
        }
    }

    public void Dispose()
    {
        _socket.Dispose();
        _own?.Dispose();
    }

    internal void OnReady(uint events)
    {
        if (_phase == Phase.Closed)
        {
            return; // by an event of the same round
        }

        if ((events & Linux.PollOut) != 0)
        {
            _socket.Write();
        }

        if ((events & ~Linux.PollOut) != 0)
        {
            OnReadable();
        }
    }

    /// <summary>Gives the session up when the server has been silent for too long.</summary>
    internal void CheckSilence(long now)
    {
        if (_phase != Phase.Closed && Stopwatch.GetElapsedTime(_heardAt, now) >= _loop.Plan.Timeout)
        {
            Fail($"{Asked()}: nothing heard for {_loop.Plan.Timeout.TotalSeconds:0.###} s");
        }
    }

    private void Secure(TlsPlan tls)
    {
        _phase = Phase.Handshake;
        _handshakeFrom = Stopwatch.GetTimestamp();
        _socket.Secure(tls);
    }

    private void OnSecured()
    {
        _loop.Tally.Tls.Record(_handshakeFrom, _socket.IsResumed);
        if (_loop.Plan.Tls!.Start == TlsStart.Implicit)
        {
            _phase = Phase.Greeting;
        }
        else
        {
            LogIn();
        }
    }

    private void OnReadable()
    {
        while (TryRead() && _socket.IsSecured)
        {
            // A record may be left: only the kernel's octets are told by readiness.
        }
    }

    private bool TryRead()
    {
        Span<byte> buffer = _loop.Received;
        _carry.AsSpan(0, _carried).CopyTo(buffer);
        int read = _socket.Read(buffer[_carried..]);
        if (_phase == Phase.Handshake && _socket.IsSecured)
        {
            OnSecured();
            SendQueued();
        }

        if (read <= 0)
        {
            if (-read is not (Linux.AgainError or Linux.InterruptedError))
            {
                string why = read == 0 ? "the server closed the connection" : _socket.ErrorText(read);
                Fail($"{Asked()}: {why}");
            }

            return false;
        }

        _heardAt = _loop.Now;
        ReadOnlySpan<byte> rest = buffer[..(_carried + read)];
        for (int taken = 1; taken > 0 && !rest.IsEmpty && _phase > Phase.Handshake; rest = rest[taken..])
        {
            taken = Take(rest);
        }

        if (_phase == Phase.Handshake && !rest.IsEmpty)
        {
            Fail("STLS: octets in the clear after the reply");
        }

        if (_phase != Phase.Closed)
        {
            Carry(rest);
            AskOn();
            SendQueued();
        }

        return _phase != Phase.Closed;
    }

    /// <summary>The buffer is everybody's: what is not yet understood is copied until more comes.</summary>
    private void Carry(ReadOnlySpan<byte> rest)
    {
        if (rest.Length > _carry.Length)
        {
            _carry = new byte[Math.Max(rest.Length, 2 * _carry.Length)];
        }

        rest.CopyTo(_carry);
        _carried = rest.Length;
    }

    private int Take(ReadOnlySpan<byte> rest)
    {
        if (_isInReply)
        {
            return _loop.Steps[_stepAt] == Pop3Step.Retr ? TakeContent(rest) : TakeListing(rest);
        }

        int end = rest.IndexOf((byte)'\n');
        if (end < 0)
        {
            if (rest.Length >= LongestLine)
            {
                Fail($"{Asked()}: a line longer than {LongestLine} octets");
            }

            return 0;
        }

        ReadOnlySpan<byte> line = rest[..end].TrimEnd((byte)'\r');
        if (line.StartsWith("+OK"u8) && (line.Length == 3 || line[3] == (byte)' '))
        {
            OnStatus(line);
        }
        else
        {
            Fail($"{Asked()}: {Encoding.UTF8.GetString(line)}");
        }

        return end + 1;
    }

    private void OnStatus(ReadOnlySpan<byte> line)
    {
        switch (_phase)
        {
            case Phase.Greeting when _loop.Plan.Tls is { Start: TlsStart.StartTls }:
                QueueLine("STLS"u8, "", Phase.Stls);
                break;
            case Phase.Greeting:
                LogIn();
                break;
            case Phase.Stls:
                Secure(_loop.Plan.Tls!);
                break;
            case Phase.User:
                QueueLine("PASS "u8, _loop.Plan.Password, Phase.Pass);
                break;
            case Phase.Pass:
                _ = _loop.Tally.Record(Pop3Timed.Login, _openedAt);
                NextStep();
                break;
            case Phase.Step:
                OnStepStatus(line);
                break;
            default:
                EndSession();
                break;
        }
    }

    private void LogIn() => QueueLine("USER "u8, _user, Phase.User);

    private void EndSession()
    {
        _ = _loop.Tally.Record(Pop3Timed.Quit, _askedAt);
        long nanoseconds = _loop.Tally.Record(Pop3Timed.Session, _openedAt);
        _loop.Tally.Sessions++;
        if (!_loop.Plan.IsRetrieving)
        {
            _loop.Tally.Series.Record(0, nanoseconds);
        }

        if (_loop.Plan.IsDeleting)
        {
            _loop.Collected?.Emptied(_user);
        }

        Finish(isWell: true);
    }

    private void Fail(string why)
    {
        _loop.Tally.Faults++;
        _ = _own?.TryFinish(out _, out _); // what was read of a broken message is no part of the next
        _loop.Wrong($"{_user}: {why}");
        Finish(isWell: false);
    }

    private void Finish(bool isWell)
    {
        _phase = Phase.Closed;
        _socket.Close();
        _loop.Ended(this, isWell);
    }

    private string Asked() =>
        (_phase == Phase.Step ? _loop.Steps[_stepAt].ToString() : _phase.ToString()).ToUpperInvariant();

    private void QueueLine(ReadOnlySpan<byte> verb, string text, Phase phase)
    {
        Append(verb);
        _queued += Encoding.UTF8.GetBytes(text, _commands.AsSpan(_queued));
        Append("\r\n"u8);
        _phase = phase;
        _askedAt = Stopwatch.GetTimestamp();
    }

    private void Append(ReadOnlySpan<byte> text)
    {
        if (!_socket.IsSending && _queued == _queuedFrom)
        {
            _queued = 0; // all that was here has left
            _queuedFrom = 0;
        }

        text.CopyTo(_commands.AsSpan(_queued));
        _queued += text.Length;
    }

    private void SendQueued()
    {
        if (_queued > _queuedFrom)
        {
            _socket.Queue(_commands, _queuedFrom, _queued - _queuedFrom);
            _queuedFrom = _queued;
            _socket.Write();
        }
    }
}
