using System.Buffers.Binary;
using System.Text;

namespace FastMail.Protocol.Dns;

/// <summary>A mail exchanger (RFC 1035 3.3.9). Immutable value.</summary>
/// <param name="Preference">The lowest is tried first.</param>
/// <param name="Host">With dots, lower case; empty for the root (RFC 7505); null for octets that are no host name.</param>
public readonly record struct MxRecord(int Preference, string? Host)
{
    /// <summary>No mail is taken for this domain, when it is the only record (RFC 7505 3).</summary>
    public bool IsNull => Host is { Length: 0 };

    /// <summary>From <see cref="DnsAnswer.Data"/> of a question for MX.</summary>
    public static MxRecord Of(ReadOnlySpan<byte> data) =>
        new(BinaryPrimitives.ReadUInt16BigEndian(data), DnsName.TryGetHost(data[2..], out var host) ? host : null);
}

/// <summary>What a certificate must match (RFC 6698 2.1). Immutable.</summary>
/// <param name="Usage">2 for a trust anchor, 3 for the certificate of the host itself; others are not for SMTP.</param>
/// <param name="Selector">0 for the whole certificate, 1 for its public key.</param>
/// <param name="Matching">0 for the octets, 1 for their SHA-256, 2 for their SHA-512.</param>
/// <param name="Association">Those octets.</param>
public sealed record TlsaRecord(byte Usage, byte Selector, byte Matching, byte[] Association)
{
    /// <summary>From <see cref="DnsAnswer.Data"/> of a question for TLSA; null when it is too short.</summary>
    public static TlsaRecord? Of(ReadOnlySpan<byte> data) =>
        data.Length > 3 ? new TlsaRecord(data[0], data[1], data[2], data[3..].ToArray()) : null;
}

/// <summary>Text of TXT records. Static; any thread.</summary>
public static class TxtRecord
{
    /// <summary>
    /// The character-strings of one record (RFC 1035 3.3.14), joined without a gap; null when it is malformed or holds
    /// anything but ASCII.
    /// </summary>
    public static string? TextOf(ReadOnlySpan<byte> data)
    {
        var text = new StringBuilder(data.Length);
        while (!data.IsEmpty)
        {
            int length = data[0];
            if (length >= data.Length || !Ascii.IsValid(data.Slice(1, length)))
            {
                return null;
            }
            text.Append(Encoding.ASCII.GetString(data.Slice(1, length)));
            data = data[(length + 1)..];
        }
        return text.ToString();
    }
}
