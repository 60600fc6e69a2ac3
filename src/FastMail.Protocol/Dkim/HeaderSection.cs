namespace FastMail.Protocol.Dkim;

/// <summary>
/// The header section of one message at a time, cut into its fields. Owner of one buffer, which grows up to a bound and is
/// kept. Belongs to a <see cref="DkimSigner"/>, entered by its thread.
/// </summary>
internal sealed class HeaderSection
{
    /// <summary>A longer header section is not signed, octets.</summary>
    public const int MostOctets = 1 << 20;

    private readonly List<Field> _fields = [];
    private byte[] _octets = new byte[8 * 1024];
    private int _length;
    private int _lineStart;

    /// <summary>The empty line has been seen: what follows is body.</summary>
    public bool HasEnded { get; private set; }

    public bool IsTooLong { get; private set; }

    public int Count => _fields.Count;

    public void Begin()
    {
        _fields.Clear();
        _length = 0;
        _lineStart = 0;
        HasEnded = false;
        IsTooLong = false;
    }

    /// <summary>Takes what belongs to the header section off the front of a run without dot-stuffing.</summary>
    public void Take(ref ReadOnlySpan<byte> text)
    {
        while (!text.IsEmpty && !HasEnded)
        {
            var end = text.IndexOf((byte)'\n') + 1;
            var part = end > 0 ? text[..end] : text;
            text = text[part.Length..];
            if (_length + part.Length > MostOctets)
            {
                IsTooLong = true;
                HasEnded = true; // what follows is not looked at
                return;
            }
            Add(part);
            if (end > 0)
            {
                EndLine();
            }
        }
    }

    /// <summary>A message may end in its header section, without a line end even.</summary>
    public void End()
    {
        if (!HasEnded && _lineStart < _length)
        {
            Add("\r\n"u8);
            EndLine();
        }
        HasEnded = true;
    }

    /// <summary>Name of a field, from the top.</summary>
    public ReadOnlySpan<byte> Name(int index) => _octets.AsSpan(_fields[index].Start, _fields[index].NameLength);

    /// <summary>What stands behind the colon, with its line ends.</summary>
    public ReadOnlySpan<byte> Value(int index)
    {
        var field = Whole(index);
        return field[(field.IndexOf((byte)':') + 1)..];
    }

    /// <summary>The field as it stands there.</summary>
    public ReadOnlySpan<byte> Whole(int index) => _octets.AsSpan(_fields[index].Start, _fields[index].Length);

    private void Add(ReadOnlySpan<byte> part)
    {
        if (_length + part.Length > _octets.Length)
        {
            Array.Resize(ref _octets, Math.Max(_octets.Length * 2, _length + part.Length));
        }
        part.CopyTo(_octets.AsSpan(_length)); // copied: the fields are signed in another order
        _length += part.Length;
    }

    private void EndLine()
    {
        var line = _octets.AsSpan(_lineStart, _length - _lineStart);
        if (line.SequenceEqual("\r\n"u8))
        {
            HasEnded = true;
        }
        else if (line[0] is (byte)' ' or (byte)'\t')
        {
            if (_fields.Count > 0 && _fields[^1].Start + _fields[^1].Length == _lineStart)
            {
                _fields[^1] = _fields[^1] with { Length = _length - _fields[^1].Start };
            }
        }
        else if (line.IndexOf((byte)':') is var colon and > 0)
        {
            _fields.Add(new Field(_lineStart, _length - _lineStart, line[..colon].TrimEnd(" \t"u8).Length));
        }
        _lineStart = _length;
    }

    /// <param name="Start">Of the name.</param>
    /// <param name="Length">To the end of its last line.</param>
    /// <param name="NameLength">Without blanks before the colon.</param>
    private readonly record struct Field(int Start, int Length, int NameLength);
}
