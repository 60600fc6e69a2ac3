using System.Text;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Sink;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Each way mail can go wrong is found, and told apart from the others.</summary>
public sealed class LedgerAuditTests
{
    private static readonly string Hash = new('a', 64);

    [Fact]
    public void Mail_that_is_all_there_is_clean()
    {
        LedgerAudit audit = Audit(["1 sent a@x", "1 acked 250 ok", "2 sent a@x", "3 refused 452 full"], "a@x");
        audit.Found("a@x", Id(1), Hash);
        audit.Finish();
        Assert.True(audit.IsClean);
        Assert.Equal((1, 0, 1), (audit.AckedAndStored, audit.InDoubtStored, audit.InDoubtAbsent));
    }

    [Fact]
    public void An_acknowledged_message_that_is_missing_for_one_recipient_is_lost()
    {
        LedgerAudit audit = Audit(["1 sent a@x,b@x,c@x", "1 acked 250 ok"], "a@x", "B");
        audit.Found("a@x", Id(1), Hash);
        audit.Finish();
        Assert.Equal((1, 1, 1), (audit.Lost, audit.AckedAndStored, audit.NotCollected));
        Assert.False(audit.IsClean);
    }

    [Fact]
    public void Whatever_case_of_letters_a_server_gives_a_mailbox_it_is_the_same()
    {
        LedgerAudit audit = Audit(["1 sent a@X", "1 acked 250 ok"], "a@X");
        audit.Found("A@x", Id(1), Hash);
        audit.Found("a@x", Id(1), Hash);
        audit.Finish();
        Assert.Equal((0, 1, 0, 1), (audit.Foreign, audit.Doubled, audit.Lost, audit.AckedAndStored));
    }

    [Fact]
    public void A_second_copy_is_doubled_even_of_a_message_in_doubt()
    {
        LedgerAudit audit = Audit(["1 sent a@x"], "a@x");
        audit.Found("a@x", Id(1), Hash);
        audit.Found("a@x", Id(1), Hash);
        audit.Finish();
        Assert.Equal((1, 1), (audit.Doubled, audit.InDoubtStored));
        Assert.False(audit.IsClean);
    }

    [Fact]
    public void Other_octets_are_damage_and_not_loss()
    {
        LedgerAudit audit = Audit(["1 sent a@x", "1 acked 250 ok"], "a@x");
        audit.Found("a@x", Id(1), new string('b', 64));
        audit.Finish();
        Assert.Equal((1, 0), (audit.Damaged, audit.Lost));
        Assert.False(audit.IsClean);
    }

    [Fact]
    public void Unknown_unmarked_and_misdelivered_mail_is_foreign()
    {
        LedgerAudit audit = Audit(["1 sent a@x", "1 acked 250 ok"], "a@x", "b@x");
        audit.Found("a@x", Id(1), Hash);
        audit.Found("b@x", Id(1), Hash);
        audit.Found("a@x", Id(77), Hash);
        audit.FoundUnknown("a@x", 3);
        audit.Finish();
        Assert.Equal((3, 0, 4), (audit.Foreign, audit.Lost, audit.Stored));
        Assert.False(audit.IsClean);
    }

    [Fact]
    public void A_refused_message_must_not_be_there()
    {
        LedgerAudit audit = Audit(["1 sent a@x", "1 refused 552 no"], "a@x");
        audit.Found("a@x", Id(1), Hash);
        audit.Finish();
        Assert.Equal(1, audit.RefusedYetStored);
        Assert.False(audit.IsClean);
    }

    [Theory]
    [InlineData("", false, false)]
    [InlineData("1 sent b@x|1 acked 250 ok", false, false)]
    [InlineData("1 sent b@x|1 acked 250 ok", true, false)] // nobody at all
    [InlineData("1 sent a@x,b@x", false, false)]
    [InlineData("1 sent a@x,b@x", true, true)]
    [InlineData("1 sent a@x|1 refused 552 no", false, true)] // it is not there, as it should be
    [InlineData("1 refused 550 who", false, false)]
    public void What_was_not_looked_at_is_not_clean(string changes, bool isPartial, bool isClean)
    {
        LedgerAudit audit = Audit(changes.Split('|', StringSplitOptions.RemoveEmptyEntries), isPartial, "a@x");
        audit.Finish();
        Assert.Equal(isClean, audit.IsClean);
        Assert.Equal(isClean ? 0 : 1, audit.Findings.Count);
    }

    [Fact]
    public void A_record_need_not_fit_into_memory()
    {
        const int lines = 20_000;
        LedgerAudit audit = Audit(["1 sent a@x", "1 acked 250 ok"], "a@x");
        byte[] record = Encoding.ASCII.GetBytes(
            string.Concat(Enumerable.Repeat($"{Id(1)} {Hash} a@x\n", lines)) + "torn");
        List<long> told = [];
        using var file = new WatchedStream(record, () => told.Add(audit.Stored));
        SinkRecord.Replay(file, "record", audit);
        Assert.Equal(lines, audit.Stored);
        Assert.InRange(told[^2], lines * 9 / 10, lines); // what was read is forgotten before the next is
    }

    [Fact]
    public void The_own_part_begins_at_the_marker_and_nothing_before_it_counts()
    {
        using var generator = new MessageGenerator(4, new OctetRange(3000, 3000), eightBit: true);
        using var own = new OwnPart();
        for (long sequence = 0; sequence < 3; sequence++)
        {
            LoadMessage message = generator.Describe(sequence);
            byte[] content = GeneratedText.Unstuff(GeneratedText.WireOf(generator, message));
            AppendLines(own, [.. "Return-Path: <>\r\nReceived: by x\r\n\tfrom y\r\n"u8, .. content]);
            Assert.True(own.TryFinish(out LoadId id, out string hash));
            Assert.Equal(new LoadId(4, sequence), id);
            Assert.Equal(GeneratedText.HashOf(generator, message), hash);
        }
    }

    [Fact]
    public void A_marker_in_a_body_is_none()
    {
        using var own = new OwnPart();
        AppendLines(own, Encoding.ASCII.GetBytes($"Subject: x\r\n\r\n{LoadId.FieldName}: {Id(1)}\r\n"));
        Assert.False(own.TryFinish(out _, out _));
    }

    private static void AppendLines(OwnPart own, byte[] content)
    {
        for (int start = 0; start < content.Length;)
        {
            int end = content.AsSpan(start).IndexOf((byte)'\n') + start + 1;
            own.Append(content.AsSpan(start, end - start));
            start = end;
        }
    }

    /// <summary>Tells of each time that it is read from.</summary>
    private sealed class WatchedStream(byte[] octets, Action onRead) : MemoryStream(octets)
    {
        public override int Read(byte[] buffer, int offset, int count)
        {
            onRead();
            return base.Read(buffer, offset, count);
        }
    }

    private static LoadId Id(long sequence) => new(9, sequence);

    private static LedgerAudit Audit(string[] changes, params string[] maildrops) => Audit(changes, false, maildrops);

    private static LedgerAudit Audit(string[] changes, bool isPartial, params string[] maildrops)
    {
        string text = string.Concat(changes.Select(change =>
            $"{Id(change[0] - '0')} {Hash} {change[2..]}\n"));
        using var stream = new MemoryStream(Encoding.ASCII.GetBytes(text));
        return new LedgerAudit(Ledger.Read(stream, "ledger"), maildrops) { IsPartial = isPartial };
    }
}
