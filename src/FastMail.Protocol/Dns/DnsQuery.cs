using System.Buffers.Binary;

namespace FastMail.Protocol.Dns;

/// <summary>Writes questions (RFC 1035 4.1). Static; any thread.</summary>
public static class DnsQuery
{
    /// <summary>Room for any question, octets.</summary>
    public const int MaxBytes = DnsMessage.HeaderBytes + DnsName.MaxBytes + 4;

    private const ushort RecursionDesired = 0x0100;
    private const ushort Internet = 1;

    /// <summary>One question for a recursive resolver; returns its length in octets.</summary>
    /// <param name="destination">At least <see cref="MaxBytes"/>.</param>
    /// <param name="id">Random: what a forger has to guess, together with the port.</param>
    /// <param name="name">As <see cref="DnsName"/> writes it.</param>
    /// <param name="type">The records wanted.</param>
    public static int Write(Span<byte> destination, ushort id, ReadOnlySpan<byte> name, DnsType type)
    {
        destination[..DnsMessage.HeaderBytes].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(destination, id);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], RecursionDesired);
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], 1);
        name.CopyTo(destination[DnsMessage.HeaderBytes..]);
        var rest = destination[(DnsMessage.HeaderBytes + name.Length)..];
        BinaryPrimitives.WriteUInt16BigEndian(rest, (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(rest[2..], Internet);
        return DnsMessage.HeaderBytes + name.Length + 4;
    }
}
