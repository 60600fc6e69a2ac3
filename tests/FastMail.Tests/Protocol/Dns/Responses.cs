using System.Buffers.Binary;
using FastMail.Protocol.Dns;

namespace FastMail.Tests.Protocol.Dns;

/// <summary>Builds DNS messages octet by octet, honest and other ones. Belongs to one test.</summary>
internal sealed class Responses
{
    private readonly List<byte> _octets = [];

    /// <param name="id">Of the question.</param>
    /// <param name="flags">0x8180 is an honest NOERROR; the low four bits are the code.</param>
    /// <param name="answers">Records of the first section.</param>
    /// <param name="authorities">Records of the second section.</param>
    public Responses(ushort id, ushort flags = 0x8180, ushort answers = 0, ushort authorities = 0)
    {
        foreach (ushort field in new ushort[] { id, flags, 1, answers, authorities, 0 })
        {
            Number(field);
        }
    }

    public byte[] Octets => [.. _octets];

    public static byte[] Name(string text)
    {
        Span<byte> name = stackalloc byte[DnsName.MaxBytes];
        return DnsName.TryWrite(text, name, out int length)
            ? name[..length].ToArray()
            : throw new ArgumentException($"no name: {text}", nameof(text));
    }

    public Responses Question(string name, DnsType type) => Add(Name(name)).Number((ushort)type).Number(1);

    /// <param name="owner">As it stands in the message; 0xc00c points to the question.</param>
    /// <param name="type">Type of the record.</param>
    /// <param name="seconds">How long it may be remembered.</param>
    /// <param name="data">Its data.</param>
    public Responses Record(byte[] owner, DnsType type, uint seconds, params byte[] data) =>
        Add(owner).Number((ushort)type).Number(1)
            .Number((ushort)(seconds >> 16)).Number((ushort)seconds).Number((ushort)data.Length)
            .Add(data);

    public Responses Add(params byte[] octets)
    {
        _octets.AddRange(octets);
        return this;
    }

    private Responses Number(ushort value)
    {
        byte[] octets = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(octets, value);
        return Add(octets);
    }
}
