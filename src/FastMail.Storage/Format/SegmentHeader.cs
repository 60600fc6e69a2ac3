using System.Buffers.Binary;
using System.Globalization;

namespace FastMail.Storage;

/// <summary>
/// The first 4 KiB of a segment file. Everything in it is fixed when the segment gets its name. A value.
/// </summary>
internal readonly record struct SegmentHeader(
    Guid StoreId, uint Generation, uint Salt, ulong BaseLsn, ulong PreviousBaseLsn, long CreatedMicros,
    long SegmentBytes)
{
    /// <summary>Length of the header page; the first record stands behind it.</summary>
    public const int Bytes = 4096;

    private const uint Version = 1;
    private const int CrcOffset = 72;
    private const int FlagsOffset = 76; // a program that does not know a flag steps over it
    private const uint ReusedFlag = 1;
    private const uint SkipsFlag = 2;
    private const string Suffix = ".seg";

    private static ReadOnlySpan<byte> Magic => "FMSEG\0\0\u0001"u8;

    /// <summary>
    /// The file was a segment before: what is behind its records is not zeros. A program that does not know this takes
    /// them for a torn tail and zeros them, which is as safe and only slower.
    /// </summary>
    public bool IsReused { get; init; }

    /// <summary>
    /// The number of the first record may be higher than it is due by <see cref="Restoration.Skipped"/>: nothing is
    /// missing in front of it. A program that does not know this takes the records between for missing, and goes on.
    /// </summary>
    public bool SkipsNumbers { get; init; }

    /// <summary>It was put together from what follows the page, so <see cref="SkipsNumbers"/> is not known.</summary>
    public bool IsRebuilt { get; init; }

    private static ReadOnlySpan<byte> RetiredMagic => "FMSPARE\u0001"u8;

    public string FileName => string.Create(CultureInfo.InvariantCulture, $"{Generation}-{BaseLsn:x16}{Suffix}");

    public static bool IsSegmentName(string name)
    {
        return name.EndsWith(Suffix, StringComparison.Ordinal);
    }

    /// <summary>Where the log begins, by the names of its files; 0 when there are none.</summary>
    public static ulong FirstLsnOf(IEnumerable<string> names)
    {
        ulong first = ulong.MaxValue;
        foreach (string name in names)
        {
            first = TryParseName(name, out _, out ulong baseLsn) ? Math.Min(first, baseLsn) : first;
        }

        return first == ulong.MaxValue ? 0 : first;
    }

    /// <summary>What the name of a segment file tells; false when it is not such a name.</summary>
    public static bool TryParseName(string name, out uint generation, out ulong baseLsn)
    {
        generation = 0;
        baseLsn = 0;
        int dash = name.IndexOf('-', StringComparison.Ordinal);
        return IsSegmentName(name) && dash > 0
            && uint.TryParse(name.AsSpan(0, dash), NumberStyles.None, CultureInfo.InvariantCulture, out generation)
            && ulong.TryParse(
                name.AsSpan(dash + 1, name.Length - dash - 1 - Suffix.Length), NumberStyles.AllowHexSpecifier,
                CultureInfo.InvariantCulture, out baseLsn);
    }

    /// <summary>
    /// Fills a header page that says: the mail of this segment is gone for good, the file may be used again.
    /// </summary>
    public static void WriteRetired(Span<byte> page)
    {
        page[..Bytes].Clear();
        RetiredMagic.CopyTo(page);
    }

    /// <summary>Fills the whole header page.</summary>
    public void Write(Span<byte> page)
    {
        page[..Bytes].Clear();
        Magic.CopyTo(page);
        BinaryPrimitives.WriteUInt32LittleEndian(page[8..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(page[12..], Bytes);
        _ = StoreId.TryWriteBytes(page[16..]);
        BinaryPrimitives.WriteUInt32LittleEndian(page[32..], Generation);
        BinaryPrimitives.WriteUInt32LittleEndian(page[36..], Salt);
        BinaryPrimitives.WriteUInt64LittleEndian(page[40..], BaseLsn);
        BinaryPrimitives.WriteUInt64LittleEndian(page[48..], PreviousBaseLsn);
        BinaryPrimitives.WriteInt64LittleEndian(page[56..], CreatedMicros);
        BinaryPrimitives.WriteInt64LittleEndian(page[64..], SegmentBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(
            page[FlagsOffset..], (IsReused ? ReusedFlag : 0) | (SkipsNumbers ? SkipsFlag : 0));
        BinaryPrimitives.WriteUInt32LittleEndian(page[CrcOffset..], Crc32C.Extend(0, page[..Bytes]));
    }

    /// <summary>
    /// False when the page is not the intact header of a segment; its content is changed by the check.
    /// </summary>
    /// <exception cref="IncompatibleFormatException">It is intact, and of a later version.</exception>
    public static bool TryRead(Span<byte> page, out SegmentHeader header)
    {
        header = default;
        uint crc = BinaryPrimitives.ReadUInt32LittleEndian(page[CrcOffset..]);
        page.Slice(CrcOffset, sizeof(uint)).Clear();
        if (!page.StartsWith(Magic) || Crc32C.Extend(0, page[..Bytes]) != crc)
        {
            return false;
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(page[8..]);
        if (version != Version)
        {
            throw new IncompatibleFormatException($"a segment has format version {version}; this program reads 1");
        }

        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(page[FlagsOffset..]);
        header = new(
            new Guid(page.Slice(16, 16)),
            BinaryPrimitives.ReadUInt32LittleEndian(page[32..]),
            BinaryPrimitives.ReadUInt32LittleEndian(page[36..]),
            BinaryPrimitives.ReadUInt64LittleEndian(page[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(page[48..]),
            BinaryPrimitives.ReadInt64LittleEndian(page[56..]),
            BinaryPrimitives.ReadInt64LittleEndian(page[64..]))
        {
            IsReused = (flags & ReusedFlag) != 0,
            SkipsNumbers = (flags & SkipsFlag) != 0,
        };
        return true;
    }
}
