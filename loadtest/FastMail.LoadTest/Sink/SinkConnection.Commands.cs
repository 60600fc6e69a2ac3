using System.Buffers.Text;
using System.Text;

namespace FastMail.LoadTest.Sink;

// Command lines and what they are answered.
internal sealed unsafe partial class SinkConnection
{
    private const int LongestCommand = 4096;

    private readonly List<string> _recipients = [];
    private bool _hasMail;
    private int _acceptedRecipients;

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
        double drawn = server.Draw();
        if (drawn < server.Plan.DeferShare)
        {
            server.Tally.Deferred++;
            Reply("450 4.2.1 come again\r\n"u8);
        }
        else if (drawn < server.Plan.DeferShare + server.Plan.RejectShare)
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

    private void BeginChunk(ReadOnlySpan<byte> line)
    {
        ReadOnlySpan<byte> words = line[4..].TrimStart((byte)' ');
        if (!Utf8Parser.TryParse(words, out long octets, out int digits) || digits == 0 || octets < 0)
        {
            Bad("501 5.5.4 no chunk size\r\n"u8);
            Quit(); // where the chunk ends is not known
            return;
        }

        // RFC 3030 section 2: its octets come whatever the reply will be, and behind them the next command.
        _isChunkRefused = _acceptedRecipients == 0;
        if (!_isInChunks && !_isChunkRefused)
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

    /// <summary>The first four letters in upper case, as one number.</summary>
    private static int Verb(ReadOnlySpan<byte> line) =>
        ((line[0] & 0xDF) << 24) | ((line[1] & 0xDF) << 16) | ((line[2] & 0xDF) << 8) | (line[3] & 0xDF);
}
