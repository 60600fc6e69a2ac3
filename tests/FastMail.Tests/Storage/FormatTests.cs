using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>
/// The bytes on disk. A change here is a change of the format: it needs a new version, not a new golden.
/// </summary>
public sealed class FormatTests
{
    [Theory]
    [InlineData("", 0x00000000)]
    [InlineData("123456789", 0xE3069283)]
    [InlineData("The quick brown fox jumps over the lazy dog", 0x22620404)]
    public void The_checksum_is_CRC_32C(string text, uint crc)
    {
        byte[] octets = Encoding.ASCII.GetBytes(text);
        Assert.Equal(crc, Crc32C.Extend(0, octets));
        for (int i = 0; i <= octets.Length; i++)
        {
            Assert.Equal(crc, Crc32C.Extend(Crc32C.Extend(0, octets.AsSpan(0, i)), octets.AsSpan(i)));
        }
    }

    [Fact]
    public void Each_record_type_has_its_golden_bytes()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        PendingMessage message = scene.Log!.RentMessage();
        message.SetReversePath("a@b"u8);
        Assert.True(message.TryAddLocalRecipient(0x0102, "c@d"u8));
        message.AddRelayRecipient("e@f"u8);
        message.AddMeta(MetaType.TransactionId, "T"u8);
        message.SetTrace("Return-Path: <a@b>\r\n"u8, 20);
        message.AppendBody("S: x\r\n\r\nhi\r\n.\r\n"u8);
        message.Seal(new BodyFacts { Octets = 12, HeaderWireBytes = 8, Flags = MessageFlags.SmtpUtf8 });
        PendingExpunge expunge = new(0x0102, [9, 1, 2, 3, 2], ExpungeReason.Pop3Quit);
        using LogScene image = scene.CrashAfterGroup(message, expunge);
        image.Open();
        image.Close();

        byte[] segment = File.ReadAllBytes(image.FirstSegment);
        Assert.Equal(GoldenSegmentHeader, Hex(segment.AsSpan(0, 96)));
        Assert.Equal(GoldenGroup, Hex(segment.AsSpan((int)message.Lsn - 128, 128)));
        Assert.Equal(GoldenMessage, Hex(segment.AsSpan((int)message.Lsn, (int)message.Bytes)));
        Assert.Equal(GoldenExpunge, Hex(segment.AsSpan((int)expunge.Lsn, (int)expunge.Bytes)));
        Assert.Equal(GoldenFormat, Hex(File.ReadAllBytes(Path.Join(image.Directory, "FORMAT"))));
    }

    [Fact]
    public void A_seal_has_its_golden_bytes()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        ulong last = 0;
        long bytes = 0;
        while (scene.Log!.Statistics.Segments == 1)
        {
            PendingMessage message = scene.Build(new string('s', 20_000), 1);
            Assert.Equal(AppendOutcome.Durable, scene.Append(message));
            if (message.Lsn < (ulong)LogScene.Tiny.SegmentBytes)
            {
                last = message.Lsn;
                bytes = message.Bytes;
            }
        }

        scene.Close();
        byte[] segment = File.ReadAllBytes(scene.FirstSegment);
        int offset = (int)last + (int)bytes;
        Assert.True(RecordHeader.TryRead(
            segment.AsSpan(offset), 0x5EED5A17, (ulong)offset, segment.Length - offset, out RecordHeader header));
        if (header.Type == RecordType.Group)
        {
            offset += (int)header.TotalBytes; // an idle moment in between
        }

        ReadOnlySpan<byte> seal = segment.AsSpan(offset, SealMeta.TotalBytes);
        Assert.Equal(0x09, seal[4]);
        Assert.Equal((uint)SealMeta.Bytes, BitConverter.ToUInt32(seal[40..]));
        Assert.Equal((ulong)offset - SegmentHeader.Bytes, BitConverter.ToUInt64(seal[68..])); // bytes
        Assert.Equal(1UL, BitConverter.ToUInt64(seal[76..])); // first seq
        Assert.Equal(BitConverter.ToUInt64(seal[24..]) - 1, BitConverter.ToUInt64(seal[84..])); // last seq
        Assert.Equal(BitConverter.ToUInt64(seal[84..]), BitConverter.ToUInt32(seal[64..])); // count
        Assert.False(segment.AsSpan(offset + SealMeta.TotalBytes).ContainsAnyExcept((byte)0));
    }

    private static string Hex(ReadOnlySpan<byte> octets)
    {
        StringBuilder text = new();
        for (; octets.Length > 0; octets = octets[Math.Min(32, octets.Length)..])
        {
            text.Append(Convert.ToHexString(octets[..Math.Min(32, octets.Length)])).Append('\n');
        }

        return text.ToString();
    }

    private const string GoldenSegmentHeader = """
        464D53454700000101000000001000000102030405060708090A0B0C0D0E0F10
        00000000175AED5E0000000000000000000000000000000040D34DC0ED0D0600
        0000040000000000770066C40000000000000000000000000000000000000000

        """;

    private const string GoldenGroup = """
        464D523108000100800000007BA2FB8500120000000000000400000000000000
        40D34DC0ED0D060024000000000000000000000000000000821269D100000000
        0300000000000000801200000000000002000000400100000000000000120000
        0000000000000000000000000000000000000000000000000000000000000000

        """;

    private const string GoldenMessage = """
        464D523101020100C000000082D3F37D80120000000000000500000000000000
        40D34DC0ED0D06003E000000140000000F00000020000000F159565DF6F68E3A
        0100030061406202001300020100000000000001000000000000006340640300
        07000000000065406606000100540400040014000000050004001C0000005265
        7475726E2D506174683A203C6140623E0D0A533A20780D0A0D0A68690D0A2E0D
        0A00000000000000000000000000000000000000000000000000000000000000

        """;

    private const string GoldenExpunge = """
        464D52310300010080000000D5D50A9740130000000000000600000000000000
        40D34DC0ED0D0600320000000000000000000000000000000724EDD800000000
        0A000A00020100000000000001000B0020000100000000000000030000000000
        0000090000000000000001000000000000000000000000000000000000000000

        """;

    private const string GoldenFormat = """
        666173746D61696C2D73746F72650A0000000000000000000000000000000000
        00000000000000000102030405060708090A0B0C0D0E0F104B7CD948

        """;
}
