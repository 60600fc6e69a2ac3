using System.Buffers.Binary;

namespace FastMail.Protocol.Dns;

/// <summary>Writes questions (RFC 1035 4.1). Static; any thread.</summary>
public static class DnsQuery
{
    /// <summary>Room for any question, octets.</summary>
    public const int MaxBytes = DnsMessage.HeaderBytes + DnsName.MaxBytes + 4 + OptBytes;

    private const int OptBytes = 11; // the root's name, type, class, lifetime, length
    private const ushort RecursionDesired = 0x0100;
    private const ushort AuthenticData = 0x0020; // RFC 6840 5.7: in a question it asks for the bit in the response
    private const ushort Internet = 1;

    /// <summary>One question for a recursive resolver; returns its length in octets.</summary>
    /// <param name="destination">At least <see cref="MaxBytes"/>.</param>
    /// <param name="id">Random: what a forger has to guess, together with the port.</param>
    /// <param name="name">As <see cref="DnsName"/> writes it.</param>
    /// <param name="type">The records wanted.</param>
    /// <param name="datagramBytes">
    /// Octets of the longest datagram that may come back (EDNS0, RFC 6891); 0 for a server that does not know EDNS0.
    /// </param>
    public static int Write(
        Span<byte> destination, ushort id, ReadOnlySpan<byte> name, DnsType type, ushort datagramBytes = 0)
    {
        destination[..DnsMessage.HeaderBytes].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(destination, id);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], RecursionDesired | AuthenticData);
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], 1);
        name.CopyTo(destination[DnsMessage.HeaderBytes..]);
        var rest = destination[(DnsMessage.HeaderBytes + name.Length)..];
        BinaryPrimitives.WriteUInt16BigEndian(rest, (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(rest[2..], Internet);
        if (datagramBytes == 0)
        {
            return DnsMessage.HeaderBytes + name.Length + 4;
        }
        BinaryPrimitives.WriteUInt16BigEndian(destination[10..], 1); // one additional record, of the root's name
        rest = rest[4..];
        rest[..OptBytes].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(rest[1..], (ushort)DnsType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(rest[3..], datagramBytes);
        return DnsMessage.HeaderBytes + name.Length + 4 + OptBytes;
    }
}
