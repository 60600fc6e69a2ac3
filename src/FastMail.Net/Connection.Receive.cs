using System.Runtime.InteropServices;

namespace FastMail.Net;

/// <content>
/// Receiving: wait for readiness with a zero-byte receive, rent a slab, take what is there. That costs a steady
/// request-reply turn no more system calls than a receive posted with its slab, which also tries once before it waits.
/// </content>
public sealed partial class Connection
{
    private byte[]? _slab;
    private int _start; // received and not consumed: _slab[_start.._end]
    private int _end;
    private bool _isReceiving;
    private bool _isReadable; // more input may be there now: a readiness was told, or the last receive filled the slab
    private bool _hasPeerEnded;

    /// <summary>True with new input in the slab; false when there is none yet or the connection is over.</summary>
    private bool Fill(ref int octets)
    {
        while (true)
        {
            if (!_isReadable && !BecomesReadable())
            {
                return false;
            }

            MakeRoom();
            int received = _isSecure ? _tls!.Receive(_slab.AsMemory(_end)) : ReceiveInto(_slab.AsSpan(_end));
            if (received > 0)
            {
                if (_tls is not null)
                {
                    _tls.EmptyRecords = 0;
                }

                _end += received;
                octets -= received;
                _isReadable = _end == _slab!.Length && !_isSecure; // SslStream is asked first: it may hold a record
                return true;
            }

            ReturnEmptySlab();
            _isReadable = false;
            if (received == 0)
            {
                _hasPeerEnded = true; // half closed or gone: every command before was answered, the session is over
                _tls?.SayCloseNotify();
                Over(ConnectionEnd.ByPeer);
                return false;
            }

            if (received != -Native.WouldBlock)
            {
                Over(ConnectionEnd.Broken);
                return false;
            }
        }
    }

    private bool BecomesReadable()
    {
        if (!_isSecure)
        {
            return SocketBecomesReadable();
        }

        _isReadable = !_tls!.IsAwaitingInput && _tls.BecomesReadable();
        return _isReadable;
    }

    /// <summary>Posts the zero-byte receive. True when input (or the end) is there already.</summary>
    private bool SocketBecomesReadable()
    {
        if (_isReceiving)
        {
            return false;
        }

        _isReceiving = true;
        if (_socket!.ReceiveAsync(_receive))
        {
            return false;
        }

        _isReceiving = false;
        _isReadable = true;
        return true;
    }

    /// <summary>The wait for input has ended: input, the end, an error (which the real receive tells), or a close.</summary>
    internal void Readable()
    {
        _isReadable = true;
        switch (_phase)
        {
            case Phase.Open when IsGoingOn:
                break; // it reads when it comes to that, or finishes behind last words on their way
            case Phase.Open:
                Serve();
                break;
            case Phase.Securing:
                GoOnSecuring();
                break;
            case Phase.Lingering:
                Discard();
                break;
            default:
                ReleaseWhenQuiet();
                break;
        }
    }

    private void MakeRoom()
    {
        _slab ??= _loop.Slabs.Rent();
        if (_start > 0)
        {
            _slab.AsSpan(_start, _end - _start).CopyTo(_slab);
            _end -= _start;
            _start = 0;
        }
    }

    private void ReturnEmptySlab()
    {
        if (_slab is not null && _start == _end)
        {
            ReturnSlab();
        }
    }

    private void ReturnSlab()
    {
        if (_slab is not null)
        {
            _loop.Slabs.Return(_slab);
            _slab = null;
            _start = 0;
            _end = 0;
        }
    }

    /// <summary>Octets received, 0 at the peer's end, or the negated errno; never blocks.</summary>
    private unsafe int ReceiveInto(Span<byte> room)
    {
        fixed (byte* start = room)
        {
            while (true)
            {
                nint received = Native.Receive(_descriptor, start, (nuint)room.Length, Native.DontWait);
                if (received >= 0)
                {
                    return (int)received;
                }

                int error = Marshal.GetLastPInvokeError();
                if (error != Native.Interrupted)
                {
                    return -error;
                }
            }
        }
    }
}
