using System.Buffers.Text;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Pop3;

namespace FastMail.LoadTest.Sink;

/// <summary>
/// The server's side of one SMTP connection. Replies of a turn leave in one write. Owned by the <see cref="SinkServer"/>,
/// entered by its loop thread only; opened again for the next session.
/// </summary>
internal sealed unsafe class SinkConnection(SinkServer server, Epoll epoll, int token) : IDisposable
{
    private const int ReceiveOctets = 16 * 1024;
    private const int LongestCommand = 4096;
    private const int EndOctets = 5; // CRLF.CRLF

    private readonly byte[] _received = GC.AllocateUninitializedArray<byte>(ReceiveOctets, pinned: true);
    private readonly List<string> _recipients = [];
    private readonly OwnPart? _own = server.IsRecording ? new OwnPart() : null;
    private byte[] _replies = GC.AllocateUninitializedArray<byte>(2048, pinned: true);
    private int _descriptor = -1;
    private int _filled;
    private int _repliesEnd;
    private Phase _phase = Phase.Closed;
    private bool _hasMail;
    private int _acceptedRecipients;
    private long _contentOctets;
    private bool _isContentStart;
    private long _chunkLeft;
    private bool _isLastChunk;
    private bool _isInChunks;
    private bool _awaitsWritable;
    private bool _isQuitting;

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
        room = server.Plan.ReadRate > 0 ? (int)Math.Clamp(server.Plan.ReadRate / 10, 1, room) : room;
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
        if (server.Plan.ReadRate > 0)
        {
            Pause(TimeSpan.FromSeconds((double)read / server.Plan.ReadRate));
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

    private int TakeCommand(ReadOnlySpan<byte> rest)
    {
        int end = rest.IndexOf((byte)'\n');
        if (end < 0)
        {
            if (rest.Length > LongestCommand)
            {
                Bad("500 5.5.6 line too long\r\n"u8);
                Quit();
            }

            return 0;
        }

        ReadOnlySpan<byte> line = rest[..end].TrimEnd((byte)'\r');
        switch (line.Length < 4 ? 0 : Verb(line))
        {
            case 0x4548_4C4F: // EHLO
            case 0x4C48_4C4F: // LHLO
                Reset();
                Reply(server.EhloReply);
                break;
            case 0x4845_4C4F: // HELO
            case 0x5253_4554: // RSET
                Reset();
                Reply("250 2.0.0 ok\r\n"u8);
                break;
            case 0x4E4F_4F50: // NOOP
                Reply("250 2.0.0 ok\r\n"u8);
                break;
            case 0x4D41_494C when !_hasMail: // MAIL
                _hasMail = true;
                Reply("250 2.1.0 ok\r\n"u8);
                break;
            case 0x5243_5054 when _hasMail: // RCPT
                TakeRecipient(line);
                break;
            case 0x4441_5441 when _acceptedRecipients > 0: // DATA
                BeginContent(Phase.Content);
                Reply("354 go\r\n"u8);
                break;
            case 0x4441_5441 when _hasMail:
                Reply("554 5.5.1 no valid recipients\r\n"u8);
                break;
            case 0x4244_4154: // BDAT
                BeginChunk(line);
                break;
            case 0x5155_4954: // QUIT
                Reply("221 2.0.0 bye\r\n"u8);
                Quit();
                break;
            default:
                Bad("503 5.5.1 not now\r\n"u8);
                break;
        }

        return end + 1;
    }

    private void TakeRecipient(ReadOnlySpan<byte> line)
    {
        if (server.Happens(server.Plan.DeferShare))
        {
            server.Tally.Deferred++;
            Reply("450 4.2.1 come again\r\n"u8);
        }
        else if (server.Happens(server.Plan.RejectShare))
        {
            server.Tally.Rejected++;
            Reply("550 5.1.1 nobody of that name\r\n"u8);
        }
        else
        {
            _acceptedRecipients++;
            if (_own is not null)
            {
                int start = line.IndexOf((byte)'<') + 1;
                int length = line[start..].LastIndexOf((byte)'>');
                _recipients.Add(Encoding.UTF8.GetString(line.Slice(start, Math.Max(0, length))));
            }

            Reply("250 2.1.5 ok\r\n"u8);
        }
    }

    private void BeginContent(Phase phase)
    {
        _phase = phase;
        _contentOctets = 0;
        _isContentStart = true;
    }

    private void BeginChunk(ReadOnlySpan<byte> line)
    {
        ReadOnlySpan<byte> words = line[4..].TrimStart((byte)' ');
        if (!Utf8Parser.TryParse(words, out long octets, out int digits) || digits == 0 || octets < 0
            || _acceptedRecipients == 0)
        {
            Bad("503 5.5.1 not now\r\n"u8);
            Quit(); // where the chunk ends is not known
            return;
        }

        if (!_isInChunks)
        {
            BeginContent(Phase.Chunk);
            _isInChunks = true;
        }

        _phase = Phase.Chunk;
        _chunkLeft = octets;
        _isLastChunk = !words[digits..].IsEmpty;
        if (octets == 0)
        {
            EndChunk();
        }
    }

    private int TakeChunk(ReadOnlySpan<byte> rest)
    {
        if (_own is null)
        {
            int all = (int)Math.Min(rest.Length, _chunkLeft);
            CountChunk(all);
            return all;
        }

        int end = rest.IndexOf((byte)'\n');
        int taken = (int)Math.Min(end < 0 ? rest.Length : end + 1, _chunkLeft);
        if (end < 0 && taken < _chunkLeft && rest.Length < ReceiveOctets)
        {
            return 0; // the rest of the line first
        }

        if (taken > 0)
        {
            _own.Append(rest[..taken]);
            CountChunk(taken);
        }

        return taken;
    }

    private void CountChunk(int octets)
    {
        _contentOctets += octets;
        _chunkLeft -= octets;
        if (_chunkLeft == 0 && octets > 0)
        {
            EndChunk();
        }
    }

    private void EndChunk()
    {
        if (_isLastChunk)
        {
            EndContent();
        }
        else
        {
            _phase = Phase.Command;
            Reply("250 2.0.0 chunk\r\n"u8);
        }
    }

    /// <summary>Content in wire form: line by line when it is recorded, else only its end is looked for.</summary>
    private int TakeContent(ReadOnlySpan<byte> rest)
    {
        if (_own is not null)
        {
            return TakeLine(rest);
        }

        if (_isContentStart && rest.StartsWith(".\r\n"u8))
        {
            EndContent();
            return 3;
        }

        int end = rest.IndexOf("\r\n.\r\n"u8);
        int taken = end < 0 ? Math.Max(0, rest.Length - (EndOctets - 1)) : end + EndOctets;
        _isContentStart &= taken == 0;
        _contentOctets += taken;
        if (end >= 0)
        {
            EndContent();
        }

        return taken;
    }

    private int TakeLine(ReadOnlySpan<byte> rest)
    {
        int end = rest.IndexOf((byte)'\n');
        if (end < 0 && rest.Length < ReceiveOctets)
        {
            return 0;
        }

        ReadOnlySpan<byte> line = end < 0 ? rest : rest[..(end + 1)];
        _contentOctets += line.Length;
        if (_isContentStart && line.SequenceEqual(".\r\n"u8))
        {
            EndContent();
            return line.Length;
        }

        _own!.Append(_isContentStart && line[0] == (byte)'.' ? line[1..] : line);
        _isContentStart = end >= 0; // here: at the start of a line
        return line.Length;
    }

    private void EndContent()
    {
        _phase = Phase.Command;
        LoadId id = default;
        string hash = "";
        bool isKnown = _own is not null && _own.TryFinish(out id, out hash);
        if (server.Happens(server.Plan.DropShare))
        {
            server.Tally.Dropped++;
            Close();
            return;
        }

        if (server.Happens(server.Plan.DeferContentShare))
        {
            server.Tally.DeferredContents++;
            Reply("451 4.3.0 come again\r\n"u8);
        }
        else
        {
            server.Tally.Accepted++;
            server.Tally.AcceptedRecipients += _acceptedRecipients;
            server.Tally.Octets += _contentOctets;
            server.Tally.Unknown += _own is not null && !isKnown ? 1 : 0;
            if (isKnown)
            {
                server.Arrived(id, hash, _recipients);
            }

            Reply("250 2.0.0 accepted\r\n"u8);
        }

        Reset();
        if (server.Plan.Delay > TimeSpan.Zero)
        {
            Pause(server.Plan.Delay); // replies of the pause leave at its end
        }
    }

    private void Reset()
    {
        _hasMail = false;
        _acceptedRecipients = 0;
        _contentOctets = 0;
        _isInChunks = false;
        _recipients.Clear();
    }

    private void Bad(ReadOnlySpan<byte> reply)
    {
        server.Tally.BadCommands++;
        Reply(reply);
    }

    private void Quit()
    {
        _isQuitting = true;
        Send();
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

    /// <summary>The first four letters in upper case, as one number.</summary>
    private static int Verb(ReadOnlySpan<byte> line) =>
        ((line[0] & 0xDF) << 24) | ((line[1] & 0xDF) << 16) | ((line[2] & 0xDF) << 8) | (line[3] & 0xDF);
}
