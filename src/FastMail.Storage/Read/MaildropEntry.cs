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
        Check = (ushort)header.HeaderCrc;
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

    /// <summary>Low half of the record's header CRC: ties the entry to its record.</summary>
    public ushort Check { get; }
}
