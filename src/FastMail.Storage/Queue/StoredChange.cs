using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// The value of a <see cref="MetaType.QueueChange"/> field, which stands in QSTATE records and in the records of
/// messages that were written together with a change. A view over the record's bytes; dies with them.
/// </summary>
/// <remarks>
/// seq u64, previous u64, cold lowest u64, cold highest u64, origin u64, time i64, due i64, recipient u32, attempts u16,
/// state u8, flags u8 (1: the delay is told; 2: there is a way), length of the forward-path u16, forward-path, the way, if
/// there is one: length of the route u8, route, length of the TLS u8, TLS; text.
/// </remarks>
internal ref struct StoredChange
{
    /// <summary>Octets in front of the forward-path.</summary>
    public const int FixedBytes = 66;

    /// <summary>The longest value.</summary>
    public const int MostBytes = FixedBytes + QueueChange.MaxForwardPathBytes
        + (2 * (1 + QueueChange.MaxWayBytes)) + QueueChange.MaxTextBytes;

    /// <summary>Octets from the start that <see cref="PatchLinks"/> fills in: all that only the appender knows.</summary>
    public const int LinkBytes = 32;

    private const int DelayTold = 1;
    private const int HasWay = 2;

    /// <summary>Which message.</summary>
    public ulong Seq;

    /// <summary>Address of the record with the change of this message before; 0 when there is none.</summary>
    public ulong Previous;

    /// <summary>
    /// Copies of the message lie in these cold segments: as long as one of them exists the change must be kept, or the
    /// copy would be found as it was before.
    /// </summary>
    public ColdRange Cold;

    /// <summary>Address of the record that said so first, when this one repeats it; 0 when it is this one.</summary>
    public ulong Origin;

    /// <summary>Time of that record, microseconds since 1970 UTC; 0 when it is this one.</summary>
    public long TimeMicros;

    public long DueMicros;
    public uint Recipient;
    public ushort Attempts;
    public QueueState State;
    public bool IsDelayTold;
    public ReadOnlySpan<byte> ForwardPath;
    public ReadOnlySpan<byte> Route;
    public ReadOnlySpan<byte> Tls;
    public ReadOnlySpan<byte> Text;

    /// <summary>Length of the value.</summary>
    public readonly int Bytes => FixedBytes + ForwardPath.Length + WayBytes + Text.Length;

    private readonly int WayBytes => Route.IsEmpty && Tls.IsEmpty ? 0 : 1 + Route.Length + 1 + Tls.Length;

    /// <summary>What a producer says; its links come when it is appended.</summary>
    public static StoredChange Of(in QueueChange change)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            change.ForwardPath.Length, QueueChange.MaxForwardPathBytes, nameof(change));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)change.Attempts, ushort.MaxValue, nameof(change));
        ArgumentOutOfRangeException.ThrowIfGreaterThan((byte)change.State, (byte)QueueState.Cancelled, nameof(change));
        return new StoredChange
        {
            Seq = change.Seq,
            DueMicros = change.DueMicros,
            Recipient = change.Recipient,
            Attempts = (ushort)change.Attempts,
            State = change.State,
            IsDelayTold = change.IsDelayTold,
            ForwardPath = change.ForwardPath.Span,
            Route = change.Route.Span[..Math.Min(change.Route.Length, QueueChange.MaxWayBytes)],
            Tls = change.Tls.Span[..Math.Min(change.Tls.Length, QueueChange.MaxWayBytes)],
            Text = change.Text.Span[..Math.Min(change.Text.Length, QueueChange.MaxTextBytes)],
        };
    }

    /// <summary>False when the value does not have its shape.</summary>
    public static bool TryRead(ReadOnlySpan<byte> value, out StoredChange change)
    {
        change = default;
        if (value.Length < FixedBytes)
        {
            return false;
        }

        int pathBytes = BinaryPrimitives.ReadUInt16LittleEndian(value[64..]);
        change.Seq = BinaryPrimitives.ReadUInt64LittleEndian(value);
        change.Previous = BinaryPrimitives.ReadUInt64LittleEndian(value[8..]);
        change.Cold = new ColdRange(
            BinaryPrimitives.ReadUInt64LittleEndian(value[16..]), BinaryPrimitives.ReadUInt64LittleEndian(value[24..]));
        change.Origin = BinaryPrimitives.ReadUInt64LittleEndian(value[32..]);
        change.TimeMicros = BinaryPrimitives.ReadInt64LittleEndian(value[40..]);
        change.DueMicros = BinaryPrimitives.ReadInt64LittleEndian(value[48..]);
        change.Recipient = BinaryPrimitives.ReadUInt32LittleEndian(value[56..]);
        change.Attempts = BinaryPrimitives.ReadUInt16LittleEndian(value[60..]);
        change.State = (QueueState)value[62];
        change.IsDelayTold = (value[63] & DelayTold) != 0;
        if (pathBytes > value.Length - FixedBytes || change.State > QueueState.Ended)
        {
            return false;
        }

        change.ForwardPath = value.Slice(FixedBytes, pathBytes);
        ReadOnlySpan<byte> rest = value[(FixedBytes + pathBytes)..];
        if ((value[63] & HasWay) != 0)
        {
            if (!TryTake(ref rest, out ReadOnlySpan<byte> route) || !TryTake(ref rest, out ReadOnlySpan<byte> tls))
            {
                return false;
            }

            change.Route = route;
            change.Tls = tls;
        }

        change.Text = rest;
        return true;
    }

    /// <summary>Takes what its length stands in front of.</summary>
    private static bool TryTake(scoped ref ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> taken)
    {
        taken = default;
        if (rest.IsEmpty || rest[0] >= rest.Length)
        {
            return false;
        }

        taken = rest.Slice(1, rest[0]);
        rest = rest[(1 + taken.Length)..];
        return true;
    }

    /// <summary>Fills in what comes before and where copies lie, in the first octets of a value that was written.</summary>
    public static void PatchLinks(Span<byte> value, ulong seq, ulong previous, in ColdRange cold)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(value, seq);
        BinaryPrimitives.WriteUInt64LittleEndian(value[8..], previous);
        BinaryPrimitives.WriteUInt64LittleEndian(value[16..], cold.Lowest);
        BinaryPrimitives.WriteUInt64LittleEndian(value[24..], cold.Highest);
    }

    /// <summary>Writes the value.</summary>
    public readonly void Write(Span<byte> value)
    {
        PatchLinks(value, Seq, Previous, Cold);
        BinaryPrimitives.WriteUInt64LittleEndian(value[32..], Origin);
        BinaryPrimitives.WriteInt64LittleEndian(value[40..], TimeMicros);
        BinaryPrimitives.WriteInt64LittleEndian(value[48..], DueMicros);
        BinaryPrimitives.WriteUInt32LittleEndian(value[56..], Recipient);
        BinaryPrimitives.WriteUInt16LittleEndian(value[60..], Attempts);
        value[62] = (byte)State;
        value[63] = (byte)((IsDelayTold ? DelayTold : 0) | (WayBytes > 0 ? HasWay : 0));
        BinaryPrimitives.WriteUInt16LittleEndian(value[64..], (ushort)ForwardPath.Length);
        ForwardPath.CopyTo(value[FixedBytes..]);
        Text.CopyTo(value[(FixedBytes + ForwardPath.Length + WayBytes)..]);
        if (WayBytes > 0)
        {
            Span<byte> way = value.Slice(FixedBytes + ForwardPath.Length, WayBytes);
            way[0] = (byte)Route.Length;
            Route.CopyTo(way[1..]);
            way[1 + Route.Length] = (byte)Tls.Length;
            Tls.CopyTo(way[(2 + Route.Length)..]);
        }
    }
}
