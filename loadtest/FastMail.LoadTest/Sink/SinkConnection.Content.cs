using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Pop3;

namespace FastMail.LoadTest.Sink;

// Content after DATA or in the chunks of BDAT, and what becomes of it.
internal sealed unsafe partial class SinkConnection
{
    private const int EndOctets = 5; // CRLF.CRLF

    private readonly OwnPart? _own = server.IsRecording ? new OwnPart() : null; // when somebody wants to know
    private long _contentOctets;
    private bool _isContentStart;
    private long _chunkLeft;
    private bool _isLastChunk;
    private bool _isInChunks;

    private void BeginContent(Phase phase)
    {
        _phase = phase;
        _contentOctets = 0;
        _isContentStart = true;
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
}
