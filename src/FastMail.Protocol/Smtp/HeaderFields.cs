using System.Runtime.CompilerServices;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// Watches the header section go by and notes the few fields that decide something: how often it was relayed (RFC 5321
/// 6.3), and whether a submitted message lacks what RFC 5322 3.6 demands. Owned by one session and entered by its thread.
/// </summary>
/// <remarks>
/// Beside <see cref="ContentScanner"/> and not in it: names are looked at once a line, line ends once an octet, and only
/// in the header section.
/// </remarks>
internal struct HeaderFields
{
    private Name _name; // the line so far, while it may still be a name of interest
    private int _length;
    private bool _isBehindName;

    /// <summary>Received fields seen.</summary>
    public int Received { get; private set; }

    public bool HasDate { get; private set; }

    public bool HasMessageId { get; private set; }

    /// <summary>The next run of the header section; runs may end anywhere.</summary>
    public void Take(ReadOnlySpan<byte> header)
    {
        while (!header.IsEmpty)
        {
            if (_isBehindName)
            {
                var end = header.IndexOf((byte)'\n');
                if (end < 0)
                {
                    return;
                }
                header = header[(end + 1)..];
                _isBehindName = false;
                _length = 0;
                continue;
            }
            Span<byte> name = _name;
            var part = header[..Math.Min(header.Length, name.Length - _length)];
            var stop = part.IndexOfAny((byte)':', (byte)'\n');
            part = stop < 0 ? part : part[..(stop + 1)];
            part.CopyTo(name[_length..]); // copied: a name may be cut in two by a segment edge
            _length += part.Length;
            if (stop >= 0)
            {
                Note(name[.._length]);
            }
            _isBehindName = stop >= 0 || _length == name.Length;
            // A line end has to be seen once more, by the search for it.
            header = header[(stop >= 0 && part[^1] == '\n' ? part.Length - 1 : part.Length)..];
        }
    }

    private void Note(ReadOnlySpan<byte> name)
    {
        if (AsciiWord.Is(name, "Received:"u8))
        {
            Received++;
        }
        else if (AsciiWord.Is(name, "Date:"u8))
        {
            HasDate = true;
        }
        else if (AsciiWord.Is(name, "Message-ID:"u8))
        {
            HasMessageId = true;
        }
    }

    /// <summary>As long as the longest name of interest with its colon.</summary>
    [InlineArray(11)]
    private struct Name
    {
        private byte _first;
    }
}
