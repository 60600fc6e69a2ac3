using System.Runtime.InteropServices;
using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Sink;

/// <summary>
/// The server's side of one SMTP connection. Replies of a turn leave in one write. Owned by the <see cref="SinkServer"/>,
/// entered by its loop thread only; opened again for the next session.
/// </summary>
internal sealed unsafe partial class SinkConnection(SinkServer server, Epoll epoll, int token) : IDisposable
{
    private const int ReceiveOctets = 16 * 1024;

    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(ReceiveOctets, pinned: true);
    private byte[] _replies = GC.AllocateUninitializedArray<byte>(2048, pinned: true);
    private int _descriptor = -1;
    private int _filled;
    private int _repliesEnd;
    private Phase _phase = Phase.Closed;
    private bool _awaitsWritable;
    private bool _isQuitting;
    private long _readRate; // octets a second; 0: as they come

    private enum Phase
    {
        Closed,
        Command,
        Content,
        Chunk,
    }

    /// <summary>When a pause ends, stopwatch ticks; 0 while there is none.</summary>
    internal long PausedUntil { get; set; }

    internal void Open(int descriptor)
    {
        _descriptor = descriptor;
        _filled = 0;
        _repliesEnd = 0;
        _isQuitting = false;
        _awaitsWritable = false;
        PausedUntil = 0;
        _phase = Phase.Command;
        Reset();
        epoll.Add(descriptor, Linux.PollIn, token);
        if (server.Draw() < server.Plan.RefuseConnectionShare)
        {
            server.Tally.RefusedConnections++;
            Reply("421 4.3.2 come again\r\n"u8);
            Quit();
            return;
        }

        _readRate = server.Draw() < server.Plan.ReadRateShare ? server.Plan.ReadRate : 0;
        Reply("220 sink.invalid ESMTP\r\n"u8);
        Send();
    }

    internal void OnReady(uint events)
    {
        if (_phase == Phase.Closed)
        {
            return; // by an event of the same round
        }

        if ((events & Linux.PollOut) != 0)
        {
            Send();
            return; // level-triggered: input is told again
        }

        byte* free = (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(_received, 0) + _filled;
        int room = ReceiveOctets - _filled;
        room = _readRate > 0 ? (int)Math.Clamp(_readRate / 10, 1, room) : room;
        nint read = Linux.Read(_descriptor, free, room);
        if (read <= 0)
        {
            if (read == 0 || Marshal.GetLastPInvokeError() is not (Linux.AgainError or Linux.InterruptedError))
            {
                Close();
            }

            return;
        }

        _filled += (int)read;
        if (_readRate > 0)
        {
            Pause(TimeSpan.FromSeconds((double)read / _readRate));
        }
        else
        {
            Process();
        }
    }

    internal void EndPause()
    {
        PausedUntil = 0;
        epoll.Modify(_descriptor, Linux.PollIn, token);
        Process();
    }

    internal void Close()
    {
        if (_phase != Phase.Closed)
        {
            _phase = Phase.Closed;
            PausedUntil = 0;
            _ = Linux.Close(_descriptor); // nothing is owed to a socket that is given up
            _ = _own?.TryFinish(out _, out _); // what was read of a broken message is no part of the next
            server.Ended(this);
        }
    }

    public void Dispose()
    {
        Close();
        _own?.Dispose();
    }

    private void Pause(TimeSpan pause)
    {
        epoll.Modify(_descriptor, 0, token);
        server.Pause(this, pause);
    }

    /// <summary>Takes what is there, as far as it goes.</summary>
    private void Process()
    {
        int at = 0;
        while (_phase != Phase.Closed && PausedUntil == 0)
        {
            ReadOnlySpan<byte> rest = _received.AsSpan(at, _filled - at);
            int taken = _phase switch
            {
                Phase.Content => TakeContent(rest),
                Phase.Chunk => TakeChunk(rest),
                _ => TakeCommand(rest),
            };
            if (taken == 0)
            {
                break;
            }

            at += taken;
        }

        if (_phase != Phase.Closed)
        {
            _filled -= at;
            if (_filled > 0 && at > 0)
            {
                _received.AsSpan(at, _filled).CopyTo(_received);
            }

            Send();
        }
    }

    private void Reply(ReadOnlySpan<byte> reply)
    {
        if (_replies.Length - _repliesEnd < reply.Length)
        {
            byte[] larger = GC.AllocateUninitializedArray<byte>(_replies.Length * 2, pinned: true);
            _replies.AsSpan(0, _repliesEnd).CopyTo(larger);
            _replies = larger;
        }

        reply.CopyTo(_replies.AsSpan(_repliesEnd));
        _repliesEnd += reply.Length;
    }

    private void Send()
    {
        if (PausedUntil != 0 || _phase == Phase.Closed)
        {
            return;
        }

        while (_repliesEnd > 0)
        {
            nint written = Linux.Write(
                _descriptor, (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(_replies, 0), _repliesEnd);
            if (written < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                if (errno == Linux.AgainError)
                {
                    AwaitWritable(true);
                    return;
                }

                if (errno != Linux.InterruptedError)
                {
                    Close();
                    return;
                }

                continue;
            }

            _repliesEnd -= (int)written;
            _replies.AsSpan((int)written, _repliesEnd).CopyTo(_replies);
        }

        if (_awaitsWritable)
        {
            AwaitWritable(false);
        }

        if (_isQuitting)
        {
            Close();
        }
    }

    /// <summary>Who does not read is not read from.</summary>
    private void AwaitWritable(bool isAwaited)
    {
        _awaitsWritable = isAwaited;
        epoll.Modify(_descriptor, isAwaited ? Linux.PollOut : Linux.PollIn, token);
    }
}
