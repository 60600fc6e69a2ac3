using System.Buffers.Text;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace FastMail.LoadTest.Messages;

/// <summary>
/// Makes message number n of a seed: always the same octets for the same seed, number and options. What a message
/// is hashed over starts with its <c>X-Load-Id:</c> line, because servers put trace fields before it, and runs to
/// the end of the content. Owned by one thread (it reuses a hash).
/// </summary>
internal sealed class MessageGenerator : IDisposable
{
    internal const int HashOctets = 32;

    private const int SequenceDigits = 12;
    private const int SeedDigits = 16;
    private const int SmallestText = 128 * 1024;
    private const int LargestText = 1024 * 1024; // longer bodies go round; this much stays in a CPU's cache

    private readonly ulong _seed;
    private readonly OctetRange _size;
    private readonly BodyText _text;
    private readonly byte[] _header;
    private readonly int[] _sequenceAt;
    private readonly BodyPiece[] _pieces;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    internal MessageGenerator(ulong seed, OctetRange size, bool eightBit)
    {
        _seed = seed;
        _size = size;
        _text = new BodyText(seed, (int)Math.Clamp(size.Most * 4, SmallestText, LargestText), eightBit);
        string id = seed.ToString("x16", CultureInfo.InvariantCulture) + "." + new string('0', SequenceDigits);
        string header =
            $"{LoadId.FieldName}: {id}\r\n"
            + "From: FastMail load <load@load.invalid>\r\n"
            + "To: undisclosed-recipients:;\r\n"
            + $"Subject: load {id}\r\n"
            + "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
            + $"Message-ID: <{id}@load.invalid>\r\n"
            + (eightBit ? "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
                + "Content-Transfer-Encoding: 8bit\r\n" : "")
            + "\r\n";
        _header = Encoding.ASCII.GetBytes(header);
        _sequenceAt = [.. PlacesOf(header, id)];
        _pieces = new BodyPiece[MostPieces];
    }

    internal int HeaderOctets => _header.Length;

    /// <summary>No message needs more body pieces than this.</summary>
    internal int MostPieces => _text.PiecesFor(_size.Most);

    internal LoadMessage Describe(long sequence)
    {
        ulong chance = Mix(_seed + ((ulong)sequence * 0x9E3779B97F4A7C15));
        long octets = Math.Max(_size.Least == _size.Most ? _size.Least : Draw(chance), _header.Length);
        if (octets == _header.Length + 1)
        {
            octets++; // no line is one octet long
        }

        int startLine = (int)((chance >> 32) % (ulong)_text.Lines);
        return new LoadMessage(sequence, octets, startLine);
    }

    internal LoadId IdOf(in LoadMessage message) => new(_seed, message.Sequence);

    /// <summary>Writes the header section, blank line included, of exactly <see cref="HeaderOctets"/>.</summary>
    internal void WriteHeader(in LoadMessage message, Span<byte> header)
    {
        _header.CopyTo(header);
        foreach (int place in _sequenceAt)
        {
            _ = Utf8Formatter.TryFormat(message.Sequence, header[place..], out _, new('D', SequenceDigits));
        }
    }

    /// <summary>The body, without a terminating dot; in pinned pieces. Returns their number.</summary>
    /// <param name="message">Whose.</param>
    /// <param name="isStuffed">With a dot before each at the start of a line, for DATA.</param>
    /// <param name="pieces">Takes them.</param>
    internal int CutBody(in LoadMessage message, bool isStuffed, Span<BodyPiece> pieces) =>
        _text.Cut(message.StartLine, message.Octets - _header.Length, isStuffed, pieces);

    /// <summary>SHA-256 over header section and body as content, that is not dot-stuffed.</summary>
    internal void Hash(in LoadMessage message, ReadOnlySpan<byte> header, Span<byte> hash)
    {
        _hash.AppendData(header);
        int count = _text.Cut(message.StartLine, message.Octets - _header.Length, wireForm: false, _pieces);
        foreach (BodyPiece piece in _pieces.AsSpan(0, count))
        {
            _hash.AppendData(piece.Octets);
        }

        _ = _hash.GetHashAndReset(hash);
    }

    public void Dispose() => _hash.Dispose();

    // Even on a logarithmic scale: as many messages of 1..2 KB as of 1..2 MB, like mail and unlike an even draw.
    private long Draw(ulong chance)
    {
        double least = Math.Log(Math.Max(1, _size.Least));
        double most = Math.Log(Math.Max(1, _size.Most) + 1.0);
        double share = (chance >> 11) * (1.0 / (1UL << 53));
        return Math.Clamp((long)Math.Exp(least + (share * (most - least))), _size.Least, _size.Most);
    }

    // SplitMix64's finisher: message n needs no state of message n-1.
    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }

    private static IEnumerable<int> PlacesOf(string header, string id)
    {
        for (int at = header.IndexOf(id, StringComparison.Ordinal); at >= 0;
            at = header.IndexOf(id, at + 1, StringComparison.Ordinal))
        {
            yield return at + SeedDigits + 1;
        }
    }
}

/// <summary>What makes one message: its number, the octets of its content, the line its body starts at.</summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct LoadMessage(long Sequence, long Octets, int StartLine);

/// <summary>Sizes from least to most octets, both included.</summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct OctetRange(long Least, long Most);
