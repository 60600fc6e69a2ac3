using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Dkim;

/// <summary>
/// Signs a message as it passes (RFC 6376, RSA-SHA256): takes it in wire form and makes the DKIM-Signature field to be
/// sent in front of it. What it holds does not grow with the body. Owned by whoever made it, used again and again, by one
/// thread at a time; a signature costs a quarter of a millisecond (RSA-2048), so that thread is not the loop.
/// </summary>
/// <remarks>
/// The order is <see cref="Begin"/>, <see cref="Take"/> to the end of the message, then <see cref="Finish"/>,
/// <see cref="From"/> and any number of <see cref="TrySign"/>.
/// </remarks>
public sealed class DkimSigner : IDisposable
{
    /// <summary>Room that is always enough for the field, octets.</summary>
    public const int MaxFieldBytes = 8 * 1024;

    private const int MostNames = 200; // a message with more fields that count is nobody's mail
    private const int FoldAt = 70;
    private const int MostOpenKeys = 64;

    /// <summary>
    /// What is signed: each field of these names and, when marked, one more than there are, so that none can be added
    /// (RFC 6376 8.15). Fields of lists are not marked: a mailing list adds its own.
    /// </summary>
    private static readonly SignedName[] Names =
    [
        new("From", Extra.Always), new("Reply-To", Extra.Always), new("Subject", Extra.Always),
        new("To", Extra.Always), new("Cc", Extra.Always), new("Date", Extra.IfPresent),
        new("Message-ID", Extra.IfPresent), new("Sender", Extra.IfPresent), new("In-Reply-To", Extra.IfPresent),
        new("References", Extra.IfPresent), new("MIME-Version", Extra.IfPresent),
        new("Content-Type", Extra.IfPresent), new("Content-Transfer-Encoding", Extra.IfPresent),
        new("Auto-Submitted", Extra.Never), new("List-Id", Extra.Never), new("List-Unsubscribe", Extra.Never),
        new("List-Unsubscribe-Post", Extra.Never), new("List-Post", Extra.Never), new("List-Help", Extra.Never),
    ];

    private readonly DkimCanonicalization _headerForm;
    private readonly DkimCanonicalization _bodyForm;
    private readonly HeaderSection _header = new();
    private readonly BodyHash _body;
    private readonly IncrementalHash _headerHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly List<(SignedName Name, int Field)> _signed = []; // field -1: there is none left
    private readonly Dictionary<DkimKey, RSA> _open = []; // opening a key costs half of a signature
    private readonly byte[] _bodyDigest = new byte[SHA256.HashSizeInBytes];
    private DotUnstuffer _unstuffer;

    public DkimSigner(
        DkimCanonicalization header = DkimCanonicalization.Relaxed, DkimCanonicalization body = DkimCanonicalization.Relaxed)
    {
        _headerForm = header;
        _bodyForm = body;
        _body = new BodyHash(body);
    }

    private enum Extra
    {
        Never,
        IfPresent,
        Always,
    }

    /// <summary>
    /// The address of the author, once the message is finished; empty when there is not exactly one From field with
    /// exactly one mailbox. A view that dies with the next <see cref="Begin"/>.
    /// </summary>
    public ReadOnlySpan<byte> From
    {
        get
        {
            var found = -1;
            for (var i = 0; i < _header.Count; i++)
            {
                if (!AsciiWord.Is(_header.Name(i), "From"u8))
                {
                    continue;
                }
                if (found >= 0)
                {
                    return default;
                }
                found = i;
            }
            return found < 0 ? default : FromField.AddressOf(_header.Value(found));
        }
    }

    /// <summary>A new message.</summary>
    public void Begin()
    {
        _header.Begin();
        _body.Begin();
        _unstuffer = default;
    }

    /// <summary>
    /// The next run of the message in wire form as it will be sent, trace fields included; runs may end anywhere. What
    /// comes behind the final dot is passed over.
    /// </summary>
    public void Take(ReadOnlySpan<byte> wire)
    {
        while (_unstuffer.TryTake(ref wire, out var run, out _))
        {
            _header.Take(ref run);
            if (!_header.IsTooLong)
            {
                _body.Take(run);
            }
        }
    }

    /// <summary>The message is complete.</summary>
    public void Finish()
    {
        _header.End();
        _body.End(_bodyDigest);
    }

    /// <summary>Makes the field, CRLF included. False when the message is not one that can be signed.</summary>
    /// <param name="key">Whose signature it is.</param>
    /// <param name="now">For <c>t=</c>.</param>
    /// <param name="destination">At least <see cref="MaxFieldBytes"/> octets.</param>
    /// <param name="written">Octets written; no line begins with a dot.</param>
    public bool TrySign(DkimKey key, DateTimeOffset now, Span<byte> destination, out int written)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, MaxFieldBytes);
        written = 0;
        if (_header.IsTooLong || !TryChoose())
        {
            return false;
        }
        var writer = new ReplyWriter(destination);
        WriteUnsigned(key, now, ref writer);
        HashFields();
        HashField(destination[..writer.Written], isLast: true);
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        _headerHash.GetHashAndReset(digest);
        Span<byte> signature = stackalloc byte[DkimKey.MostBits / 8];
        signature = signature[..Open(key).SignHash(digest, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)];
        Span<byte> base64 = stackalloc byte[Base64.GetMaxEncodedToUtf8Length(DkimKey.MostBits / 8)];
        _ = Base64.EncodeToUtf8(signature, base64, out _, out var length);
        WriteFolded(base64[..length], ref writer);
        writer.WriteLineEnd();
        written = writer.Written;
        return true;
    }

    public void Dispose()
    {
        CloseKeys();
        _body.Dispose();
        _headerHash.Dispose();
    }

    private RSA Open(DkimKey key)
    {
        if (!_open.TryGetValue(key, out var rsa))
        {
            if (_open.Count == MostOpenKeys)
            {
                CloseKeys(); // among them those that have been replaced
            }
            rsa = key.Open();
            _open.Add(key, rsa);
        }
        return rsa;
    }

    private void CloseKeys()
    {
        foreach (var rsa in _open.Values)
        {
            rsa.Dispose();
        }
        _open.Clear();
    }

    /// <summary>Which fields are signed, of each name the lowest first (RFC 6376 5.4.2).</summary>
    private bool TryChoose()
    {
        _signed.Clear();
        foreach (var name in Names)
        {
            var count = 0;
            for (var i = _header.Count - 1; i >= 0; i--)
            {
                if (AsciiWord.Is(_header.Name(i), name.Ascii))
                {
                    _signed.Add((name, i));
                    count++;
                }
            }
            if (name.Extra == Extra.Always || (name.Extra == Extra.IfPresent && count > 0))
            {
                _signed.Add((name, -1));
            }
            if (_signed.Count > MostNames)
            {
                return false;
            }
        }
        return _signed[0].Field >= 0; // From must be signed (RFC 6376 5.4)
    }

    private void WriteUnsigned(DkimKey key, DateTimeOffset now, ref ReplyWriter writer)
    {
        writer.Write("DKIM-Signature: v=1; a=rsa-sha256; c="u8);
        writer.Write(NameOf(_headerForm));
        writer.Write((byte)'/');
        writer.Write(NameOf(_bodyForm));
        writer.Write(";\r\n\td="u8);
        writer.Advance(Encoding.ASCII.GetBytes(key.Domain, writer.Rest));
        writer.Write("; s="u8);
        writer.Advance(Encoding.ASCII.GetBytes(key.Selector, writer.Rest));
        writer.Write("; t="u8);
        writer.WriteNumber(now.ToUnixTimeSeconds());
        writer.Write(";\r\n\tbh="u8);
        Span<byte> base64 = stackalloc byte[Base64.GetMaxEncodedToUtf8Length(SHA256.HashSizeInBytes)];
        _ = Base64.EncodeToUtf8(_bodyDigest, base64, out _, out var length);
        writer.Write(base64[..length]);
        writer.Write(";\r\n\th="u8);
        var column = 3;
        for (var i = 0; i < _signed.Count; i++)
        {
            var name = _signed[i].Name.Ascii;
            if (i > 0)
            {
                writer.Write((byte)':');
            }
            if (column + name.Length > FoldAt)
            {
                writer.Write("\r\n\t "u8);
                column = 2;
            }
            writer.Write(name);
            column += name.Length + 1;
        }
        writer.Write(";\r\n\tb="u8);
    }

    private static void WriteFolded(scoped ReadOnlySpan<byte> base64, ref ReplyWriter writer)
    {
        for (; base64.Length > FoldAt; base64 = base64[FoldAt..])
        {
            writer.Write(base64[..FoldAt]);
            writer.Write("\r\n\t "u8);
        }
        writer.Write(base64);
    }

    private void HashFields()
    {
        foreach (var (_, field) in _signed)
        {
            if (field >= 0)
            {
                HashField(_header.Whole(field), isLast: false);
            }
        }
    }

    /// <summary>RFC 6376 3.4.1 and 3.4.2; the signature field itself is the last, without its line end.</summary>
    private void HashField(ReadOnlySpan<byte> field, bool isLast)
    {
        if (_headerForm == DkimCanonicalization.Simple)
        {
            _headerHash.AppendData(field);
            return;
        }
        var colon = field.IndexOf((byte)':');
        Span<byte> part = stackalloc byte[256];
        var filled = 0;
        var hasBlank = false;
        foreach (var octet in field[..colon].TrimEnd(" \t"u8))
        {
            PutOctet(octet is >= (byte)'A' and <= (byte)'Z' ? (byte)(octet | 0x20) : octet, part, ref filled);
        }
        PutOctet((byte)':', part, ref filled);
        foreach (var octet in field[(colon + 1)..].Trim(" \t\r\n"u8))
        {
            if (octet is (byte)' ' or (byte)'\t')
            {
                hasBlank = true;
            }
            else if (octet is not ((byte)'\r' or (byte)'\n'))
            {
                if (hasBlank)
                {
                    PutOctet((byte)' ', part, ref filled);
                    hasBlank = false;
                }
                PutOctet(octet, part, ref filled);
            }
        }
        _headerHash.AppendData(part[..filled]);
        if (!isLast)
        {
            _headerHash.AppendData("\r\n"u8);
        }
    }

    private void PutOctet(byte octet, Span<byte> part, ref int filled)
    {
        if (filled == part.Length)
        {
            _headerHash.AppendData(part);
            filled = 0;
        }
        part[filled++] = octet;
    }

    private static ReadOnlySpan<byte> NameOf(DkimCanonicalization form) =>
        form == DkimCanonicalization.Relaxed ? "relaxed"u8 : "simple"u8;

    /// <param name="name">As it stands in <c>h=</c>.</param>
    /// <param name="extra">Whether one more than there are is signed.</param>
    private sealed class SignedName(string name, Extra extra)
    {
        private readonly byte[] _ascii = Encoding.ASCII.GetBytes(name);

        public ReadOnlySpan<byte> Ascii => _ascii;

        public Extra Extra { get; } = extra;
    }
}
