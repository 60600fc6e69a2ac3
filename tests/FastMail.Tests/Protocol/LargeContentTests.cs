using System.Text;
using FastMail.Protocol.Pop3;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Content that comes in parts, and content that must wait.</summary>
public sealed class LargeContentTests
{
    private const string Login = "USER u\r\nPASS p w\r\n";
    private const string Text = "A: b\r\nC: d\r\n\r\none\r\n..two\r\n\r\nfour\r\n";

    private static readonly string[] Commands =
    [
        "RETR 1", "TOP 1 0", "TOP 1 1", "TOP 1 2", "TOP 1 3", "TOP 1 4", "TOP 1 5", "TOP 1 99999999",
    ];

    [Fact]
    public void A_message_in_parts_of_any_length_reads_like_a_whole_one()
    {
        string[] texts = [Text, "A: b\r\n\r\n", "no header\r\n", "A: b\r\n"];
        foreach (string text in texts)
        {
            string dialog = Login + string.Concat(Commands.Select(c => c + "\r\n")) + "NOOP\r\nQUIT\r\n";
            string expected = Say(new FakeMaildrop(text), dialog);
            Assert.EndsWith("+OK FastMail POP3 signing off\r\n", expected, StringComparison.Ordinal);
            for (int part = 1; part <= text.Length + 4; part++)
            {
                Assert.Equal(expected, Say(new FakeMaildrop(text) { PartBytes = part }, dialog));
            }
        }
    }

    [Fact]
    public void A_damaged_message_is_refused_and_the_session_goes_on()
    {
        FakeMaildrop maildrop = new(Text, Text) { PartBytes = 7 };
        maildrop.DamagedIndexes.Add(0);
        string said = Say(maildrop, Login + "RETR 1\r\nTOP 1 1\r\nSTAT\r\n");
        Assert.Equal(2, said.Split("-ERR [SYS/PERM] the message is damaged\r\n").Length - 1);
        Assert.EndsWith(" 2 " + (2 * maildrop.Octets(0)) + "\r\n", said, StringComparison.Ordinal);
    }

    [Fact]
    public void When_a_later_part_cannot_be_read_the_session_ends_without_the_terminator()
    {
        FakeMaildrop maildrop = new(Text) { PartBytes = 7, FailingPart = 2 };
        Pop3Rig rig = Pop3Rig.Create(maildrop);
        string said = Feed(rig, Login + "RETR 1\r\nNOOP\r\n");
        Assert.EndsWith(" octets\r\n" + Text[..14], said, StringComparison.Ordinal);
        Assert.True(maildrop.IsClosed);
        Assert.True(rig.IsClosed);
    }

    [Fact]
    public void A_sink_that_must_wait_gets_the_same_content_by_DATA_and_by_BDAT()
    {
        const string Dialog = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"
            + "A: b\r\n\r\n..x\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nBDAT 10\r\nA: b\r\n\r\n.x"
            + "BDAT 0\r\nBDAT 5 LAST\r\n\r\n.y\nQUIT\r\n";
        SmtpRig quick = SmtpRig.Create();
        string expected = Feed(quick, Dialog);
        for (int segment = 1; segment < Dialog.Length; segment += 3)
        {
            SmtpRig slow = SmtpRig.Create(hasSlowSink: true);
            slow.FeedSplit(Encoding.Latin1.GetBytes(Dialog), segment);
            Assert.Equal(expected, slow.Sent);
            Assert.Equal(quick.Sink.Stored.Select(s => s.ToString()), slow.Sink.Stored.Select(s => s.ToString()), StringComparer.Ordinal);
        }
    }

    private static string Say(FakeMaildrop maildrop, string dialog)
    {
        return Feed(Pop3Rig.Create(maildrop), dialog);
    }

    private static string Feed(Rig rig, string dialog)
    {
        rig.Feed(Encoding.Latin1.GetBytes(dialog));
        return rig.Sent;
    }
}
