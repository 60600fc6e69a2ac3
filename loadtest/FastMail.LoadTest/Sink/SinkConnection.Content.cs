using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Sink;

// Content after DATA or in the chunks of BDAT, and what becomes of it.
internal sealed unsafe partial class SinkConnection
{
    private readonly OwnPart? _own = server.IsRecording ? new OwnPart() : null; // when somebody wants to know
    private long _contentOctets;
    private WireContent _wire; // behind DATA
    private long _chunkLeft;
    private bool _isLastChunk;
    private bool _isInChunks;
    private bool _isChunkRefused; // nobody is to have it

    private void BeginContent(Phase phase)
    {
        _phase = phase;
        _contentOctets = 0;
        _wire.Begin();
    }

    private int TakeChunk(ReadOnlySpan<byte> rest)
    {
        int taken = (int)Math.Min(rest.Length, _chunkLeft);
        if (_isChunkRefused)
        {
            CountChunk(taken);
            return taken;
        }

        if (_own is { WantsLines: true })
        {
            int end = rest[..taken].IndexOf((byte)'\n');
            if (end < 0 && taken < _chunkLeft && rest.Length < ReceiveOctets)
            {
                return 0; // the rest of the line first
            }

            taken = end < 0 ? taken : end + 1;
        }

        if (taken > 0)
        {
            _own?.Append(rest[..taken]);
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
        if (_isChunkRefused)
        {
            _phase = Phase.Command;
            RefuseChunk();
        }
        else if (_isLastChunk)
        {
            EndContent();
        }
        else
        {
            _phase = Phase.Command;
            Reply("250 2.0.0 chunk\r\n"u8);
        }
    }

    /// <summary>Who pipelines said BDAT before knowing that no recipient was accepted: no fault then.</summary>
    private void RefuseChunk()
    {
        if (_hasMail)
        {
            Reply("503 5.5.1 no valid recipients\r\n"u8);
        }
        else
        {
            Bad("503 5.5.1 not now\r\n"u8);
        }
    }

    private int TakeContent(ReadOnlySpan<byte> rest)
    {
        int taken = _wire.Take(rest, ReceiveOctets, _own, out bool isEnded);
        if (isEnded)
        {
            _contentOctets = _wire.Octets;
            EndContent();
        }

        return taken;
    }

    private void EndContent()
    {
        _phase = Phase.Command;
        LoadId id = default;
        string hash = "";
        bool isKnown = _own is not null && _own.TryFinish(out id, out hash);
        double drawn = server.Draw();
        if (drawn < server.Plan.DropShare)
        {
            server.Tally.Dropped++;
            Close();
            return;
        }

        if (drawn < server.Plan.DropShare + server.Plan.DeferContentShare)
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
            if (_own is not null)
            {
                server.Arrived(isKnown ? id : null, hash, _recipients);
            }

            Reply("250 2.0.0 accepted\r\n"u8);
        }

        Reset();
        if (server.Plan.Delay > TimeSpan.Zero && server.Draw() < server.Plan.DelayShare)
        {
            Pause(server.Plan.Delay); // replies of the pause leave at its end
        }
    }
}
