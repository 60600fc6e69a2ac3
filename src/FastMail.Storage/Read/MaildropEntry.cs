using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// One message of a maildrop: 32 octets, the layout of the index. A value.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
public readonly record struct MaildropEntry
{
    internal MaildropEntry(ulong uid, in RecordHeader header)
    {
        Uid = uid;
        Lsn = header.Lsn;
        WireBytes = header.TraceBytes + header.BodyBytes;
        Octets = header.Octets;
        ArrivalSeconds = (uint)(header.TimestampMicros / TimeSpan.MicrosecondsPerSecond);
        Flags = (MessageFlags)header.Flags;
        _envelopeUnits = EnvelopeUnits(header);
        Check = (ushort)header.HeaderCrc;
    }

    private MaildropEntry(in MaildropEntry entry, ulong lsn, uint headerCrc)
    {
        this = entry;
        Lsn = lsn;
        Check = (ushort)headerCrc;
    }

    /// <summary>Number in the maildrop: ascending by arrival, never used twice.</summary>
    public ulong Uid { get; }

    /// <summary>Where the record is: the argument of <see cref="MailLog.TryRead"/>.</summary>
    public ulong Lsn { get; }

    /// <summary>Octets of trace and body in wire form.</summary>
    public uint WireBytes { get; }

    /// <summary>Size as POP3 tells it (RFC 1939 11).</summary>
    public uint Octets { get; }

    /// <summary>Seconds since 1970 UTC.</summary>
    public uint ArrivalSeconds { get; }

    /// <summary>Flags of the message.</summary>
    public MessageFlags Flags { get; }

    // What the envelope adds to the length of the record, in units of its alignment; 255 stands for all that is longer.
    private readonly byte _envelopeUnits;

    /// <summary>Low half of the record's header CRC: ties the entry to its record.</summary>
    public ushort Check { get; }

    /// <summary>
    /// About the length of a record whose body is a file of its own: header, envelope and trace fields, which nothing
    /// keeps apart from the body.
    /// </summary>
    internal const long BodilessBytes = 512;

    /// <summary>
    /// What the record takes of its segment, a little less when its envelope is longer than 8 KiB.
    /// </summary>
    internal long RecordBytes => (Flags & MessageFlags.ExternalBody) != 0
        ? BodilessBytes
        : RecordHeader.TotalFor(WireBytes) + (_envelopeUnits * (long)RecordHeader.Alignment);

    /// <summary><see cref="RecordBytes"/> of the entries of that record.</summary>
    internal static long RecordBytesOf(in RecordHeader header)
    {
        return header.HasExternalBody
            ? BodilessBytes
            : RecordHeader.TotalFor((long)header.TraceBytes + header.BodyBytes)
                + (EnvelopeUnits(header) * (long)RecordHeader.Alignment);
    }

    /// <summary>The same message, copied to another place.</summary>
    internal MaildropEntry At(ulong lsn, uint headerCrc)
    {
        return new MaildropEntry(this, lsn, headerCrc);
    }

    private static byte EnvelopeUnits(in RecordHeader header)
    {
        long wire = RecordHeader.TotalFor((long)header.TraceBytes + header.BodyBytes);
        return (byte)Math.Min(byte.MaxValue, (header.TotalBytes - wire) / RecordHeader.Alignment);
    }
}
