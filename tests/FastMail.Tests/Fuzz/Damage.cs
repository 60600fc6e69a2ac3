using System.Globalization;
using System.Runtime.InteropServices;
using FastMail.Storage;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// One thing that happens to the files of a store, as a line of text: a verb and numbers, where a file is its number
/// modulo their count and a place is an octet of it. Lines that make no sense do nothing. A value.
/// </summary>
internal readonly record struct Damage(string Verb, long[] Numbers)
{
    /// <summary>Verbs whose record has its checksums right: it is wrong, and no decayed disk could have made it.</summary>
    private static readonly string[] Forgeries = ["header", "meta"];

    private static readonly string[] Verbs =
        ["flip", "zero", "fill", "noise", "copy", "cut", "grow", "remove", "swap", .. Forgeries];

    public bool IsForgery => Array.IndexOf(Forgeries, Verb) >= 0;

    public static Damage? Parse(string line)
    {
        var words = line.Trim().Split(' ');
        var numbers = words[1..].Select(w => long.TryParse(
            w, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1).ToArray();
        return Array.IndexOf(Verbs, words[0]) >= 0 && !numbers.Contains(-1) ? new Damage(words[0], numbers) : null;
    }

    /// <summary>A line that bites: mostly at the start of a record or page, or somewhat behind it.</summary>
    public static string Make(Random random, StoreImage image, bool mayForge)
    {
        var file = random.Next(image.Files.Count);
        var places = image.Places[file];
        var place = places[random.Next(places.Length)] + random.Next(4) switch
        {
            0 => 0,
            1 => random.Next(64),
            2 => random.Next(300),
            _ => random.Next(9000),
        };
        var length = 1 << random.Next(0, 16);
        var verb = Verbs[random.Next(mayForge ? Verbs.Length : Verbs.Length - Forgeries.Length)];
        var value = random.Next(4) switch
        {
            0 => random.Next(256),
            1 => 1L << random.Next(63),
            2 => (1L << random.Next(63)) - 1,
            _ => random.NextInt64(),
        };
        return verb switch
        {
            "flip" => $"flip {file} {place} {random.Next(8)}",
            "zero" => $"zero {file} {place} {length}",
            "fill" => $"fill {file} {place} {length} 255",
            "noise" => $"noise {file} {place} {length} {random.Next(1000)}",
            "copy" =>
                $"copy {file} {places[random.Next(places.Length)]} {length} {random.Next(image.Files.Count)} {place}",
            "header" =>
                $"header {file} {random.Next(places.Length)} {random.Next(8) * 8} {1 << random.Next(4)} {value}",
            "meta" => $"meta {file} {random.Next(places.Length)} {random.Next(80)} {1 << random.Next(4)} {value}",
            "cut" => $"cut {file} {place}",
            "grow" => $"grow {file} {length}",
            "swap" => $"swap {file} {random.Next(image.Files.Count)}",
            _ => $"remove {file}",
        };
    }

    /// <summary>Does it to the files, whose order is the image's; null is a file that is gone.</summary>
    public void ApplyTo(byte[]?[] files)
    {
        if (Numbers.Length < 1)
        {
            return;
        }
        ref var file = ref files[Numbers[0] % files.Length];
        var content = file;
        if (content is null || content.Length == 0)
        {
            return;
        }
        switch (Verb, Numbers.Length)
        {
            case ("flip", 3):
                content[Numbers[1] % content.Length] ^= (byte)(1 << (int)(Numbers[2] % 8));
                break;
            case ("zero", 3):
                Range(content, 1).Clear();
                break;
            case ("fill", 4):
                Range(content, 1).Fill((byte)Numbers[3]);
                break;
            case ("noise", 4):
                new Random((int)Numbers[3]).NextBytes(Range(content, 1));
                break;
            case ("copy", 5) when files[Numbers[3] % files.Length] is { Length: > 0 } other:
                var target = other.AsSpan((int)(Numbers[4] % other.Length));
                var source = Range(content, 1);
                source[..Math.Min(source.Length, target.Length)].ToArray().CopyTo(target);
                break;
            case ("cut", 2):
                file = content[..(int)(Numbers[1] % content.Length)];
                break;
            case ("grow", 2):
                file = [.. content, .. new byte[Numbers[1] % 200_000]];
                break;
            case ("remove", 1):
                file = null;
                break;
            case ("swap", 2):
                (file, files[Numbers[1] % files.Length]) = (files[Numbers[1] % files.Length], file);
                break;
            case ("header", 5):
                ForgeHeader(content);
                break;
            case ("meta", 5):
                ForgeMeta(content);
                break;
            default:
                break;
        }
    }

    private Span<byte> Range(byte[] content, int first)
    {
        var start = (int)(Numbers[first] % content.Length);
        return content.AsSpan(start, (int)Math.Min(Numbers[first + 1], content.Length - start));
    }

    /// <summary>Another value in one field of a record's header.</summary>
    private void ForgeHeader(byte[] segment)
    {
        if (FindRecord(segment) is { } record)
        {
            var header = segment.AsSpan(record, RecordHeader.Bytes);
            Put(header[(int)(Numbers[2] % RecordHeader.Bytes)..]);
            SealHeader(segment, record);
        }
    }

    /// <summary>Another value in the meta of a record.</summary>
    private void ForgeMeta(byte[] segment)
    {
        if (FindRecord(segment) is not { } record)
        {
            return;
        }
        var header = RecordHeader.Read(segment.AsSpan(record));
        if (header.MetaBytes == 0 || record + RecordHeader.Bytes + (long)header.MetaBytes > segment.Length)
        {
            return;
        }
        var meta = segment.AsSpan(record + RecordHeader.Bytes, (int)header.MetaBytes);
        Put(meta[(int)(Numbers[2] % meta.Length)..]);
        header.MetaCrc = Crc32C.Extend(0, meta);
        MemoryMarshal.Write(segment.AsSpan(record), in header);
        SealHeader(segment, record);
    }

    private int? FindRecord(byte[] segment)
    {
        var records = segment.Length > SegmentHeader.Bytes ? StoreImage.Records(segment).ToArray() : [];
        return records.Length == 0 ? null : records[Numbers[1] % records.Length];
    }

    private void Put(Span<byte> field)
    {
        Span<byte> value = stackalloc byte[sizeof(long)];
        MemoryMarshal.Write(value, Numbers[4]);
        value[..(int)Math.Min(Math.Min(Numbers[3], value.Length), field.Length)].CopyTo(field);
    }

    private static void SealHeader(byte[] segment, int record)
    {
        byte[] page = segment[..SegmentHeader.Bytes]; // its check changes it
        if (SegmentHeader.TryRead(page, out var of))
        {
            var crc = RecordHeader.ComputeCrc(segment.AsSpan(record), of.Salt);
            MemoryMarshal.Write(segment.AsSpan(record + RecordHeader.CrcOffset), in crc);
        }
    }
}
