using System.Buffers.Binary;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace FastMail.Net;

/// <content>
/// Deadlines and the ways a connection ends: the handler closes, the peer ends, a deadline passes, the loop stops, or
/// something breaks.
/// </content>
public sealed partial class Connection
{
    private TimeSpan _span = Timeout.InfiniteTimeSpan;
    private TimeSpan _deadline = TimeSpan.MaxValue; // on the loop's clock
    private int _lingerLeft;

    private enum Entry
    {
        Opened,
        Secured,
        Closed,
    }

    /// <summary>
    /// The peer has this long from now, until the next call of this method; <see cref="Timeout.InfiniteTimeSpan"/> lifts
    /// it. Only stores: the wheel finds out later. Starts anew when a wait ends and when a slow reader takes output.
    /// Does not pass while the handler waits.
    /// </summary>
    public void SetDeadline(TimeSpan due)
    {
        _loop.DemandLoopThread();
        _span = due;
        RenewDeadline();
    }

    /// <summary>The loop stops: what is under way ends first, everything else is told and closed.</summary>
    internal void Stop()
    {
        if (_phase is Phase.Securing or Phase.Connecting)
        {
            Over(ConnectionEnd.Stopping); // there is nothing to say it with
            return;
        }

        bool isIdle = _phase == Phase.Open && _turn == Turn.Receive && !_isSending && !_isPosted && !_isEntered && !IsBusy;
        if (isIdle)
        {
            SayLastWords(CloseReason.Stopping);
        }
    }

    private void RenewDeadline()
    {
        if (_span == Timeout.InfiniteTimeSpan || _phase != Phase.Open)
        {
            _deadline = TimeSpan.MaxValue;
            return;
        }

        _deadline = _loop.Elapsed + _span;
        if (!_timer.IsArmed || _loop.TickOf(_deadline) < _timer.DueTick)
        {
            _loop.Arm(_timer, _span);
        }
    }

    /// <summary>The part in flight has to leave in the time it takes at the least rate, if that is the shorter one.</summary>
    private void BoundSend(int octets)
    {
        if (_sendRate.IsNone || _phase != Phase.Open)
        {
            return;
        }

        TimeSpan due = _sendRate.TimeFor(octets);
        if (_loop.Elapsed + due < _deadline)
        {
            _deadline = _loop.Elapsed + due;
            if (!_timer.IsArmed || _loop.TickOf(_deadline) < _timer.DueTick)
            {
                _loop.Arm(_timer, due);
            }
        }
    }

    private void DeadlineReached()
    {
        if (_phase is Phase.Lingering or Phase.Securing or Phase.Connecting)
        {
            _connectError = SocketError.TimedOut;
            Over(ConnectionEnd.TimedOut);
            return;
        }

        bool isWaiting = _turn == Turn.Wait && !_isSending && !_isPosted; // armed again when the wait ends
        if (_phase != Phase.Open || isWaiting || _deadline == TimeSpan.MaxValue)
        {
            return;
        }

        TimeSpan left = _deadline - _loop.Elapsed;
        if (left > TimeSpan.Zero || _isPosted)
        {
            _loop.Arm(_timer, left); // moved meanwhile, or its own turn is still to come
        }
        else if (_isSending)
        {
            Over(ConnectionEnd.TimedOut); // the peer reads nothing: words would only join the queue
        }
        else
        {
            SayLastWords(CloseReason.Timeout);
        }
    }

    private void SayLastWords(CloseReason reason)
    {
        End = reason == CloseReason.Timeout ? ConnectionEnd.TimedOut : ConnectionEnd.Stopping;
        _hasSaidLastWords = true;
        _isCallDue = false;
        _outgoing ??= _loop.Outgoings.Rent();
        Span<byte> room = _outgoing.Room;
        int written = 0;
        _isEntered = true;
        try
        {
            written = _handler!.LastWords(reason, room);
            ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)written, (uint)room.Length, nameof(written));
        }
        catch (Exception exception)
        {
            _isAborted = true;
            _loop.Report(this, exception);
        }
        finally
        {
            _isEntered = false;
        }

        if (_isAborted)
        {
            Over();
            return;
        }

        _outgoing.Add(written, default);
        if (Flush())
        {
            Finish();
        }
    }

    /// <summary>
    /// Everything is with the kernel. The session ends now; the socket lingers, because closing it with input unread
    /// would send a reset that may destroy the last reply before the peer has read it.
    /// </summary>
    private void Finish()
    {
        _phase = Phase.Lingering;
        End = End == ConnectionEnd.None ? ConnectionEnd.ByHandler : End;
        ReturnSlab();
        _tls?.SayCloseNotify();
        EndSession();
        if (_isAborted || _hasPeerEnded || Native.Shutdown(_descriptor, Native.ShutdownSend) != 0)
        {
            Over();
            return;
        }

        if (_loop.IsStopping && IsIdle())
        {
            Over();
            return;
        }

        _lingerLeft = EventLoopOptions.LingerBytes;
        _loop.Arm(_timer, EventLoopOptions.LingerTime);
        Discard();
    }

    /// <summary>
    /// The peer has sent nothing for a second and nothing is unread: closing now sends no reset, and the process need
    /// not wait for a client that sits between two commands.
    /// </summary>
    private bool IsIdle()
    {
        Span<byte> info = stackalloc byte[256];
        if (_socket!.AddressFamily == AddressFamily.Unix || _socket.Available > 0)
        {
            return false;
        }

        int length = _socket.GetRawSocketOption(Native.TcpLevel, Native.TcpInfo, info);
        return length >= Native.LastDataReceivedAt + sizeof(uint)
            && BinaryPrimitives.ReadUInt32LittleEndian(info[Native.LastDataReceivedAt..]) >= EventLoopOptions.IdleMilliseconds;
    }

    /// <summary>Throws away what still comes until the peer has ended too, in bounds of octets and time.</summary>
    private unsafe void Discard()
    {
        while (_isReadable || SocketBecomesReadable())
        {
            nint received = Native.Receive(
                _descriptor,
                null,
                EventLoopOptions.LingerBytes,
                Native.DontWait | Native.Truncate);
            int error = received < 0 ? Marshal.GetLastPInvokeError() : 0;
            if (error == Native.WouldBlock)
            {
                _isReadable = false;
                continue;
            }

            _lingerLeft -= (int)Math.Max(received, 0);
            if (received == 0 || _lingerLeft <= 0 || (error != 0 && error != Native.Interrupted))
            {
                Over();
                return;
            }
        }
    }

    private void Over(ConnectionEnd why)
    {
        End = End == ConnectionEnd.None ? why : End;
        Over();
    }

    /// <summary>
    /// Closes the socket. The session ends here, or, while a send is in flight, when that has come back: until then the
    /// kernel may read a body.
    /// </summary>
    private void Over()
    {
        if (_phase == Phase.Closed)
        {
            return;
        }

        bool isConnected = _phase != Phase.Connecting;
        _phase = Phase.Closed;
        End = End == ConnectionEnd.None ? ConnectionEnd.ByHandler : End;
        _loop.Disarm(_timer);
        if (!_isStepping)
        {
            ReturnSlab();
            _tls?.End();
        }

        _socket?.Dispose();
        _socket = null;
        _descriptor = -1;
        if (_client is not null)
        {
            _loop.Options.Admission!.Leave(_client);
            _client = null;
        }

        if (!isConnected)
        {
            TellFailure();
        }
        else if (!_isSending)
        {
            ReturnGather();
            ReturnOutgoing();
            EndSession();
        }

        ReleaseWhenQuiet();
    }

    private void EndSession()
    {
        if (_handler is not null)
        {
            Enter(Entry.Closed);
        }
    }

    /// <summary>The calls that open, secure and end a session; an exception aborts the connection, no more.</summary>
    private void Enter(Entry entry)
    {
        _isEntered = true;
        try
        {
            if (entry == Entry.Opened)
            {
                _handler = _caller ?? _factory!.Rent();
                _handler.Opened(this);
            }
            else if (entry == Entry.Secured)
            {
                _handler!.Secured(Tls!);
            }
            else
            {
                IConnectionHandler handler = _handler!;
                _handler = null;
                try
                {
                    handler.Closed();
                }
                finally
                {
                    _factory?.Return(handler);
                }
            }
        }
        catch (Exception exception)
        {
            _isAborted = true;
            _loop.Report(this, exception);
        }
        finally
        {
            _isEntered = false;
        }
    }

    /// <summary>Back to the pool once nothing that was started can come back any more.</summary>
    private void ReleaseWhenQuiet()
    {
        bool isInTls = _isStepping || _makesWay || _tls is { IsAwaitingInput: true };
        bool isInFlight = _isConnecting || _isReceiving || _isSending || _isPosted;
        if (_phase != Phase.Closed || isInFlight || _isEntered || isInTls)
        {
            return;
        }

        bool isOutgoing = IsOutgoing;
        _phase = Phase.Free;
        _factory = null;
        _caller = null;
        End = ConnectionEnd.None;
        _isSpeaking = false;
        _tls?.Close();
        _tls = null;
        _isSecure = false;
        _listenerTls = null;
        _outgoingTls = null;
        _span = Timeout.InfiniteTimeSpan;
        _sendRate = default;
        _deadline = TimeSpan.MaxValue;
        _isCallDue = false;
        _isResumed = false;
        _isAborted = false;
        _hasSaidLastWords = false;
        _isReadable = false;
        _hasPeerEnded = false;
        _loop.Release(this, isOutgoing);
    }
}
