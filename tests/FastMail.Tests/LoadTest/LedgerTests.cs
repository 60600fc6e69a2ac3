using System.Text;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>The ledger is read as written, survives a torn end, and is not believed against itself.</summary>
public sealed class LedgerTests : IDisposable
{
    private static readonly byte[] Hash = [.. Enumerable.Range(0, 32).Select(n => (byte)n)];

    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void What_was_noted_is_read_back()
    {
        using (var writer = new LedgerWriter(_path))
        {
            Sent(writer, 1, "a@x", "b@x");
            Sent(writer, 2, "a@x");
            Sent(writer, 3, "a@x");
            writer.Acked(new LoadId(9, 1), Hash, "250 2.0.0 ok\r\n"u8);
            writer.Refused(new LoadId(9, 2), Hash, "452-4.3.1 full\r\n452 4.3.1 really\r\n"u8);
            writer.Refused(new LoadId(9, 4), Hash, "550 5.1.1 who\r\n"u8);
        }

        Ledger ledger = Ledger.Read(_path);
        Assert.Equal(LedgerState.Acked, ledger.Entries[new LoadId(9, 1)].State);
        Assert.Equal(["a@x", "b@x"], ledger.Entries[new LoadId(9, 1)].Recipients);
        Assert.Equal(Convert.ToHexStringLower(Hash), ledger.Entries[new LoadId(9, 1)].Hash.ToString());
        Assert.Equal(LedgerState.Refused, ledger.Entries[new LoadId(9, 2)].State);
        Assert.Equal(LedgerState.Sent, ledger.Entries[new LoadId(9, 3)].State);
        Assert.Equal(LedgerState.Refused, ledger.Entries[new LoadId(9, 4)].State);
        Assert.Equal(5, ledger.NextSequence(9));
        Assert.Equal(0, ledger.NextSequence(8));
        Assert.EndsWith("refused 550 5.1.1 who\n", File.ReadAllText(_path), StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_is_in_the_file_before_the_flush_and_everything_after()
    {
        using var writer = new LedgerWriter(_path);
        Sent(writer, 1, "a@x");
        Assert.Equal(0, new FileInfo(_path).Length);
        writer.Flush();
        Assert.Single(Ledger.Read(_path).Entries);
    }

    [Fact]
    public void A_torn_last_line_says_nothing_and_is_cut_off_before_more_is_written()
    {
        using (var writer = new LedgerWriter(_path))
        {
            Sent(writer, 1, "a@x");
            Sent(writer, 2, "a@x");
        }

        using (FileStream file = File.OpenWrite(_path))
        {
            file.SetLength(file.Length - 3);
        }

        Assert.Single(Ledger.Read(_path).Entries);
        using (var writer = new LedgerWriter(_path))
        {
            Sent(writer, 3, "a@x");
        }

        Assert.Equal([1L, 3L], Ledger.Read(_path).Entries.Keys.Select(id => id.Sequence).Order());
    }

    [Theory]
    [InlineData("acked 250 ok", "acked 250 ok")]
    [InlineData("sent a@x", "sent a@x")]
    [InlineData("sent a@x", "delivered yes")]
    [InlineData("sent a@x", "acked 250 ok", "refused 550 no")]
    [InlineData("sent a@x", "acked 250 ok", "without a@x")]
    public void A_ledger_that_contradicts_itself_is_not_believed(params string[] changes)
    {
        string hash = Convert.ToHexStringLower(Hash);
        string text = string.Concat(changes.Select(change => $"{new LoadId(9, 1)} {hash} {change}\n"));
        using var stream = new MemoryStream(Encoding.ASCII.GetBytes(text));
        InvalidDataException wrong = Assert.Throws<InvalidDataException>(() => Ledger.Read(stream, "name"));
        Assert.StartsWith("name:", wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_ledger_is_told_with_its_line()
    {
        using var stream = new MemoryStream("hello world\n"u8.ToArray());
        InvalidDataException wrong = Assert.Throws<InvalidDataException>(() => Ledger.Read(stream, "name"));
        Assert.StartsWith("name:1:", wrong.Message, StringComparison.Ordinal);
    }

    internal static void Sent(LedgerWriter writer, long sequence, params string[] recipients)
    {
        writer.Sent(new LoadId(9, sequence), Hash);
        for (int i = 0; i < recipients.Length; i++)
        {
            writer.Recipient(Encoding.ASCII.GetBytes(recipients[i]), i == 0);
        }

        writer.EndLine();
    }
}
