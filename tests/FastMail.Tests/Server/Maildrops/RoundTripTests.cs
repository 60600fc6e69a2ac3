using System.Buffers;
using System.Text;
using FastMail.Server.Control;
using FastMail.Server.Maildrops;
using FastMail.Storage;
using FastMail.Tests.Storage;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Server.Maildrops;

/// <summary>
/// A message is the same after any way through wire form, mbox and Maildir and back. A failure prints the seed that
/// replays it.
/// </summary>
public sealed class RoundTripTests : IDisposable
{
    private static readonly byte[][] Lines =
    [
        .. new[] { "", ".", "..", ".x", "From me Mon", ">From me", ">>From me", "From", " From", "X-UIDL: theirs", "a" }
            .Select(Encoding.Latin1.GetBytes),
        [0xFF, 0x80, 0x01, (byte)'\t', (byte)' '],
        [.. Enumerable.Repeat((byte)'l', 1200)],
    ];

    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-round-trip-").FullName;

    /// <summary>Each message a field and up to 12 lines behind it, every line ending with CRLF.</summary>
    private static Arbitrary<byte[][]> Messages => (
        from count in Gen.Choose(1, 5)
        from messages in (
            from lines in Gen.Elements(Lines).ArrayOf()
            select "Subject: s\r\n"u8.ToArray()
                .Concat(lines.Take(12).SelectMany(line => (byte[])[.. line, (byte)'\r', (byte)'\n'])).ToArray()).ArrayOf(count)
        select messages).ToArbitrary();

    public void Dispose()
    {
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public void Wire_form_gives_back_the_text_however_both_are_cut()
    {
        using LogScene scene = new(options: LogScene.Roomy);
        scene.Open();
        Prop.ForAll(Messages, Gen.Choose(1, 40).ToArbitrary(), (messages, cut) =>
            messages.All(text => ThroughLog(scene, text, cut).SequenceEqual(text)
                && ThroughLog(scene, WithLineFeeds(text), cut).SequenceEqual(text))).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void An_mbox_gives_back_what_was_put_into_it()
    {
        Prop.ForAll(Messages, ArbMap.Default.ArbFor<bool>(), (messages, keepsCrlf) =>
        {
            string path = Path.Join(_directory, Path.GetRandomFileName());
            using (MboxWriter writer = new(path, keepsCrlf))
            {
                Write(writer, messages);
            }

            SourceMessage[] read = [.. Mbox.Read(path)];
            return AreSame(read, messages, keepsCrlf)
                && read.Select((m, i) => m.ReversePath == Sender(i)).All(isSame => isSame);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_Maildir_gives_back_what_was_put_into_it()
    {
        Prop.ForAll(Messages, ArbMap.Default.ArbFor<bool>(), (messages, keepsCrlf) =>
        {
            string path = Path.Join(_directory, Path.GetRandomFileName());
            using (MaildirWriter writer = new(path, keepsCrlf, uidValidity: 7))
            {
                Write(writer, messages);
            }

            return AreSame([.. Maildir.Read(path)], messages, keepsCrlf);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(30)); // each flushes the file system twice
    }

    [Theory]
    [InlineData(0, "4 Pid.1 :")]
    [InlineData(1UL << 32, "2 Pid.1 :")] // as behind a restore
    public void The_numbers_in_the_list_of_a_Maildir_have_32_bits_and_unique_ids_stay(ulong beyond, string second)
    {
        string path = Path.Join(_directory, Path.GetRandomFileName());
        byte[][] messages = [.. Enumerable.Repeat("Subject: s\r\n\r\nx\r\n"u8.ToArray(), 12)];
        using (MaildirWriter writer = new(path, keepsCrlf: true, uidValidity: 7))
        {
            Write(writer, messages, beyond);
        }

        string[] list = File.ReadAllLines(Path.Join(path, Maildir.UidListName));
        Assert.Equal(beyond == 0 ? "3 V7 N35" : "3 V7 N13", list[0]);
        Assert.StartsWith(second, list[2], StringComparison.Ordinal);
        Assert.True(AreSame([.. Maildir.Read(path)], messages, keepsCrlf: true));
        Assert.Equal(messages.Sum(text => text.Length), Maildir.BytesIn(path));
    }

    private static void Write(IMessageWriter writer, byte[][] messages, ulong beyond = 0)
    {
        for (int i = 0; i < messages.Length; i++)
        {
            // The numbers are not those of the place, and the times not in their order.
            writer.Add(new ExportedMessage(beyond + (ulong)(i * 3) + 1, $"id.{i}", Arrival(i), Sender(i), IsDamaged: false), messages[i]);
        }

        writer.Complete();
    }

    private static bool AreSame(SourceMessage[] read, byte[][] written, bool keepsCrlf)
    {
        return read.Length == written.Length && read.Select((message, i) =>
            message.Damage is null
            && message.UniqueId == $"id.{i}"
            && message.ArrivalSeconds == Arrival(i)
            && message.Text.Span.SequenceEqual(keepsCrlf ? written[i] : WithLineFeeds(written[i]))).All(isSame => isSame);
    }

    private static long Arrival(int message) => 1_700_000_000 - (message * 86_401);

    private static string Sender(int message) => message % 2 == 0 ? "a@b.test" : "";

    private static byte[] WithLineFeeds(byte[] text) => [.. text.Where(octet => octet != '\r')];

    /// <summary>Written in pieces of that length, and read in other ones.</summary>
    private static byte[] ThroughLog(LogScene scene, byte[] text, int cut)
    {
        PendingMessage message = scene.Log!.RentMessage();
        message.SetReversePath("a@b.test"u8);
        _ = message.TryAddLocalRecipient(1, "u@local.test"u8);
        message.SetTrace(default, 0);
        WireWriter writer = new(message);
        foreach (byte[] piece in text.Chunk(cut))
        {
            writer.Write(piece);
        }

        BodyFacts facts = writer.End();
        message.Seal(facts);
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));
        Assert.Equal(ReadStatus.Ok, scene.Log.TryRead(message.Lsn, out StoredMessage stored));
        scene.Log.Return(message);
        ArrayBufferWriter<byte> back = new();
        var reader = default(WireReader);
        foreach (byte[] piece in stored.Wire.Span[..^WireReader.EndBytes].ToArray().Chunk(cut + 3))
        {
            reader.Copy(piece, back);
        }

        Assert.Equal(facts.Octets, back.WrittenCount);
        return back.WrittenSpan.ToArray();
    }
}
