namespace FastMail.Protocol.Mime;

/// <summary>Why a message with binary parts cannot be made one of lines.</summary>
internal enum MimeFlaw
{
    None,

    /// <summary>A field that says what a body is stands there twice, or is longer than anybody reads.</summary>
    Header,

    /// <summary>Multiparts in each other without end.</summary>
    Depth,
}

/// <summary>
/// Turns a message that came as BINARYMIME (RFC 3030 3) into one that a log of lines can keep and every host and client
/// take, while it passes: a leaf labelled binary becomes base64, a multipart or message labelled binary 8bit, and all
/// else stays as it is, octet for octet. Owner of its buffers, which are bounded whatever comes; rented by one session
/// for one content and entered by its thread. Each thread has free ones of its own.
/// </summary>
/// <remarks>
/// What comes out depends on the octets alone and not on how they were cut. Structure is found by lines: a delimiter is a
/// whole line, and the CRLF in front of it belongs to it (RFC 2046 5.1.1). What is not labelled binary and holds octets
/// that are no lines passes too: whoever scans the result sees it.
/// </remarks>
internal sealed partial class BinaryConversion
{
    /// <summary>Longest line that can be a delimiter, and longest field that says what a body is, octets.</summary>
    internal const int MostFieldBytes = 4096;

    private const int Kept = 64;

    [ThreadStatic]
    private static Stack<BinaryConversion>? _free;

    private readonly MimeBoundaries _boundaries = new();
    private readonly byte[] _held = new byte[MostFieldBytes + 2]; // what may be a delimiter, or a line of a header
    private readonly byte[] _field = new byte[MostFieldBytes];
    private readonly byte[] _text = new byte[52 * 78]; // base64, before it is handed on
    private Base64Lines _base64;
    private Place _place;
    private int _heldLength;
    private int _matched; // octets of CRLF and two hyphens that stand in front of the next octet of a body

    private BinaryConversion()
    {
    }

    private enum Place
    {
        /// <summary>A header section.</summary>
        Header,

        /// <summary>Lines: preamble, epilogue, and leaves of any label but binary.</summary>
        Lines,

        /// <summary>A leaf that becomes base64.</summary>
        Binary,
    }

    private static ReadOnlySpan<byte> Opening => "\r\n--"u8;

    /// <summary>What stands against a conversion; once there is something, nothing more comes out.</summary>
    public MimeFlaw Flaw { get; private set; }

    public static BinaryConversion Rent()
    {
        var conversion = _free is { } free && free.TryPop(out var used) ? used : new BinaryConversion();
        conversion._boundaries.Clear();
        conversion._base64 = default;
        conversion._heldLength = 0;
        conversion._matched = 0;
        conversion.Flaw = MimeFlaw.None;
        conversion.BeginHeader(isMessage: true, isMessageByDefault: false);
        return conversion;
    }

    public static void Return(BinaryConversion conversion)
    {
        _free ??= new Stack<BinaryConversion>();
        if (_free.Count < Kept)
        {
            _free.Push(conversion);
        }
    }

    /// <summary>The next octets of the content; they may end anywhere.</summary>
    public void Take(ReadOnlySpan<byte> raw, IContentRuns output)
    {
        while (!raw.IsEmpty && Flaw == MimeFlaw.None)
        {
            if (_place == Place.Header)
            {
                TakeHeader(ref raw, output);
            }
            else
            {
                TakeBody(ref raw, output);
            }
        }
    }

    /// <summary>The content is over, which ends every part that is open.</summary>
    public void End(IContentRuns output)
    {
        if (Flaw != MimeFlaw.None)
        {
            return;
        }
        if (_place == Place.Header)
        {
            EndInHeader(output);
        }
        else if (_matched == Opening.Length && TryEnterDelimited(LineOf(_held.AsSpan(0, _heldLength)), output))
        {
            Release(output); // a delimiter may be the last line, without its CRLF
        }
        else
        {
            PutBody(_held.AsSpan(0, _heldLength), output);
        }
        _base64.End(_text, output);
    }

    private void TakeBody(ref ReadOnlySpan<byte> raw, IContentRuns output)
    {
        if (_boundaries.Depth == 0)
        {
            PutBody(raw, output);
            raw = default;
            return;
        }
        if (_matched == 0)
        {
            var at = raw.IndexOf(Opening);
            at = at < 0 ? raw.Length - OpeningAtEnd(raw) : at;
            PutBody(raw[..at], output);
            raw = raw[at..];
        }
        while (_matched < Opening.Length)
        {
            if (raw.IsEmpty)
            {
                return;
            }
            if (raw[0] != Opening[_matched])
            {
                EndCandidate(output);
                return; // this octet may begin the next one
            }
            _held[_heldLength++] = raw[0];
            _matched++;
            raw = raw[1..];
        }
        TakeCandidate(ref raw, output);
    }

    /// <summary>A line that begins with two hyphens.</summary>
    private void TakeCandidate(ref ReadOnlySpan<byte> raw, IContentRuns output)
    {
        switch (HoldLine(ref raw))
        {
            case Held.Part:
                return;
            case Held.TooLong:
                var isAfterCr = _held[_heldLength - 1] == '\r';
                _heldLength -= isAfterCr ? 1 : 0;
                EndCandidate(output);
                if (isAfterCr)
                {
                    HoldOpening(1); // and that CR may begin another
                }
                return;
            default:
                TakeHeldLine(output);
                return;
        }
    }

    private void TakeHeldLine(IContentRuns output)
    {
        var held = _held.AsSpan(0, _heldLength);
        if (!held.EndsWith("\r\n"u8))
        {
            EndCandidate(output); // a bare LF ends no line
        }
        else if (TryEnterDelimited(LineOf(held), output))
        {
            Release(output);
        }
        else
        {
            _heldLength -= 2;
            EndCandidate(output);
            HoldOpening(2);
        }
    }

    /// <summary>The line that is held, from its hyphens on and without its CRLF.</summary>
    private static ReadOnlySpan<byte> LineOf(ReadOnlySpan<byte> held)
    {
        var line = held.StartsWith("\r\n"u8) ? held[2..] : held;
        return line.EndsWith("\r\n"u8) ? line[..^2] : line;
    }

    /// <summary>If the line is a delimiter, ends what is before it and enters what is behind it.</summary>
    private bool TryEnterDelimited(ReadOnlySpan<byte> line, IContentRuns output)
    {
        if (!_boundaries.TryDelimit(line, out var isPart, out var isMessage))
        {
            return false;
        }
        _base64.End(_text, output);
        Enter(isPart, isMessage);
        return true;
    }

    /// <summary>Behind a delimiter: a part, or what follows the last one.</summary>
    private void Enter(bool isPart, bool isMessage)
    {
        if (isPart)
        {
            BeginHeader(isMessage: false, isMessage);
        }
        else
        {
            BeginBody(Place.Lines);
        }
    }

    /// <summary>A body begins at a line start: the CRLF in front of a delimiter may be that of the empty line.</summary>
    private void BeginBody(Place place)
    {
        _place = place;
        _matched = 2;
    }

    /// <summary>What is held is part of the body.</summary>
    private void EndCandidate(IContentRuns output)
    {
        PutBody(_held.AsSpan(0, _heldLength), output);
        _heldLength = 0;
        _matched = 0;
    }

    private void HoldOpening(int octets)
    {
        Opening[..octets].CopyTo(_held);
        _heldLength = octets;
        _matched = octets;
    }

    /// <summary>What is held passes as it is.</summary>
    private void Release(IContentRuns output)
    {
        output.Take(_held.AsSpan(0, _heldLength));
        _heldLength = 0;
    }

    private void PutBody(ReadOnlySpan<byte> octets, IContentRuns output)
    {
        if (octets.IsEmpty)
        {
            return;
        }
        if (_place == Place.Binary)
        {
            _base64.Take(octets, _text, output);
        }
        else
        {
            output.Take(octets);
        }
    }

    /// <summary>How many octets at the end may be the beginning of CRLF and two hyphens.</summary>
    private static int OpeningAtEnd(ReadOnlySpan<byte> raw)
    {
        var length = Opening.Length - 1;
        while (!raw.EndsWith(Opening[..length]))
        {
            length--;
        }
        return length;
    }

    private enum Held
    {
        Part,
        Line,
        TooLong,
    }

    /// <summary>Holds octets up to the next LF.</summary>
    private Held HoldLine(ref ReadOnlySpan<byte> raw)
    {
        var end = raw.IndexOf((byte)'\n') + 1;
        var part = end > 0 ? raw[..end] : raw;
        var fits = part.Length <= MostFieldBytes - _heldLength;
        part = fits ? part : part[..(MostFieldBytes - _heldLength)];
        part.CopyTo(_held.AsSpan(_heldLength)); // copied: the receive buffer is reused after this call
        _heldLength += part.Length;
        raw = raw[part.Length..];
        return !fits ? Held.TooLong : end > 0 ? Held.Line : Held.Part;
    }
}
