using System.Text;
using FastMail.Protocol.Pop3;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>
/// What a dialog in text cannot show: the lock, the removal, large maildrops, the end of connections.
/// </summary>
public sealed class Pop3SessionTests
{
    private const string Login = "USER u\r\nPASS p w\r\n";

    [Fact]
    public void QUIT_removes_what_is_marked_and_releases_the_lock()
    {
        var rig = Pop3Rig.Create(Three());
        Say(rig, Login + "DELE 1\r\nDELE 3\r\nQUIT\r\nNOOP\r\n");
        Assert.EndsWith("deleted\r\n+OK FastMail POP3 signing off\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.Equal([0, 2], rig.Source.Maildrop.Removed!);
        Assert.True(rig.Source.Maildrop.IsClosed);
        Assert.True(rig.IsClosed);
    }

    [Fact]
    public void A_removal_that_fails_is_not_acknowledged()
    {
        var rig = Pop3Rig.Create(Three());
        rig.IsRemovalDurable = false;
        Say(rig, Login + "DELE 1\r\nQUIT\r\n");
        Assert.EndsWith(
            "-ERR [SYS/TEMP] some deleted messages not removed\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.True(rig.IsClosed);
    }

    [Fact]
    public void QUIT_with_nothing_marked_writes_nothing()
    {
        var rig = Pop3Rig.Create(Three());
        Say(rig, Login + "DELE 1\r\nRSET\r\nQUIT\r\n");
        Assert.Null(rig.Source.Maildrop.Removed);
        Assert.True(rig.Source.Maildrop.IsClosed);
    }

    [Fact]
    public void RSET_does_not_measure_the_maildrop_again()
    {
        var maildrop = new FakeMaildrop([.. Enumerable.Repeat("A: b\r\n\r\nc\r\n", 300)]);
        var rig = Pop3Rig.Create(maildrop);
        Say(rig, Login + "RSET\r\n");
        var calls = maildrop.OctetsCalls;
        Say(rig, string.Concat(Enumerable.Repeat("RSET\r\nDELE 300\r\nRSET\r\n", 100)));
        Assert.EndsWith("+OK maildrop has 300 messages (3300 octets)\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.Equal(calls + 100, maildrop.OctetsCalls); // that of each DELE
    }

    [Theory]
    [InlineData("")]
    [InlineData("QUIT now\r\n")]
    [InlineData("QUI")]
    public void Any_other_end_removes_nothing(string said)
    {
        var rig = Pop3Rig.Create(Three());
        Say(rig, Login + "DELE 1\r\n" + said);
        rig.Session.Abandon();
        Assert.Null(rig.Source.Maildrop.Removed);
        Assert.True(rig.Source.Maildrop.IsClosed);
    }

    [Theory]
    [InlineData(true, "")]
    [InlineData(false, "-ERR [SYS/TEMP] shutting down, try again later\r\n")]
    public void The_last_words_remove_nothing(bool isTimeout, string expected)
    {
        var rig = Pop3Rig.Create(Three());
        Say(rig, Login + "DELE 1\r\n");
        var replies = new byte[1024];
        Assert.Equal(expected, Encoding.ASCII.GetString(replies, 0, rig.Session.LastWords(isTimeout, replies)));
        Assert.Null(rig.Source.Maildrop.Removed);
        Assert.True(rig.Source.Maildrop.IsClosed);
    }

    [Fact]
    public void A_maildrop_that_arrives_after_the_client_has_gone_is_closed_at_once()
    {
        var maildrop = Three();
        var session = new Pop3Session(
            new Pop3SessionOptions { Hostname = "h"u8.ToArray(), AllowsCleartext = true },
            new FakeMaildropSource(maildrop));
        session.Receive(Encoding.ASCII.GetBytes(Login), new byte[1024], out _, out _);
        Assert.True(session.IsWaiting);
        session.Abandon();
        session.LoggedIn(LoginVerdict.Accepted, maildrop);
        Assert.True(maildrop.IsClosed);
        Assert.False(session.IsAuthenticated);
    }

    [Theory]
    [InlineData(LoginVerdict.InUse, "-ERR [IN-USE] ")]
    [InlineData(LoginVerdict.Unavailable, "-ERR [SYS/TEMP] ")]
    [InlineData(LoginVerdict.Disabled, "-ERR [SYS/PERM] ")]
    public void A_refused_login_tells_why_and_keeps_the_connection(LoginVerdict verdict, string expected)
    {
        var rig = Pop3Rig.Create(Three());
        rig.Source.Answer = verdict;
        Say(rig, Login + Login + Login + Login + "CAPA\r\n");
        Assert.Contains("\r\n" + expected, rig.Sent, StringComparison.Ordinal);
        Assert.False(rig.IsClosed);
        Assert.False(rig.Session.IsAuthenticated);
    }

    [Fact]
    public void A_full_login_queue_is_a_temporary_failure()
    {
        var rig = Pop3Rig.Create(Three());
        rig.Source.IsFull = true;
        Say(rig, Login);
        Assert.EndsWith("-ERR [SYS/TEMP] too busy, try again later\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_cleartext_USER_is_neither_offered_nor_taken()
    {
        var rig = Pop3Rig.Create(Three(), allowsCleartext: false);
        Say(rig, "CAPA\r\nUSER u\r\n");
        Assert.DoesNotContain("\r\nUSER\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.EndsWith("-ERR cleartext login is not allowed here\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, false, null, "NEVER", "NEVER")]
    [InlineData(30, false, 30, "30", "30")]
    [InlineData(7, true, null, "7 USER", "NEVER")]
    [InlineData(null, true, 90, "NEVER USER", "90")]
    public void EXPIRE_tells_the_least_before_login_and_the_maildrops_own_after_it(
        int? least, bool isPerUser, int? own, string before, string after)
    {
        var rig = Pop3Rig.Create(new FakeMaildrop { ExpireDays = own }, expiry: new Expiry(least, isPerUser));
        Say(rig, "CAPA\r\n" + Login + "CAPA\r\n");
        Assert.Equal(
            [before, after],
            [.. rig.Sent.Split("\r\n").Where(line => line.StartsWith("EXPIRE ", StringComparison.Ordinal)).Select(line => line[7..])]);
    }

    [Fact]
    public void A_damaged_message_stays_listed_and_is_not_sent()
    {
        var rig = Pop3Rig.Create(Three());
        rig.Source.Maildrop.DamagedIndexes.Add(1);
        Say(rig, Login + "RETR 2\r\nTOP 2 0\r\nLIST 2\r\n");
        Assert.EndsWith(
            "-ERR [SYS/PERM] the message is damaged\r\n-ERR [SYS/PERM] the message is damaged\r\n+OK 2 8\r\n",
            rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void Listings_of_a_hundred_thousand_messages_go_through_a_small_buffer()
    {
        var maildrop = new FakeMaildrop([.. Enumerable.Repeat("a\r\n", 100_000)]);
        var rig = Pop3Rig.Create(maildrop, replyBytes: 1024);
        Say(rig, Login + "DELE 50000\r\nUIDL\r\nLIST\r\nSTAT\r\n");
        var expected = new StringBuilder("+OK\r\n");
        var live = Enumerable.Range(1, 100_000).Where(number => number != 50_000).ToArray();
        expected.AppendJoin("", live.Select(number => $"{number} uid-{number}\r\n")).Append(".\r\n");
        expected.Append("+OK 99999 messages (499995 octets)\r\n");
        expected.AppendJoin("", live.Select(number => $"{number} 5\r\n")).Append(".\r\n");
        Assert.EndsWith(expected.Append("+OK 99999 499995\r\n").ToString(), rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void Twenty_bad_commands_are_borne_and_no_more()
    {
        var rig = Pop3Rig.Create(Three());
        Say(rig, string.Concat(Enumerable.Repeat("FOO\r\n", 25)));
        Assert.EndsWith("unknown command\r\n-ERR too many errors\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.Equal(20, rig.Sent.Split("unknown command").Length - 1);
        Assert.True(rig.IsClosed);
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1)]
    [InlineData("US\0ER a\r\n", 1)]
    [InlineData("LANG ../en\r\n", 1)]
    [InlineData("UTF8\r\n", 0)]
    [InlineData("UTF9\r\n", 1)]
    [InlineData("CAPA x\r\n", 1)]
    public void Odd_commands_get_one_error(string said, int errors)
    {
        var rig = Pop3Rig.Create(Three());
        Say(rig, said);
        Assert.Equal(errors, rig.Sent.Split("-ERR").Length - 1);
        Assert.Equal(said.StartsWith("GET", StringComparison.Ordinal), rig.IsClosed);
    }

    [Fact]
    public void A_line_without_end_is_skipped_in_bounded_memory_and_then_cut_off()
    {
        var rig = Pop3Rig.Create(Three());
        for (var i = 0; i < 100 && !rig.IsClosed; i++)
        {
            Say(rig, new string('A', 1000));
        }
        Assert.True(rig.IsClosed);
        Assert.EndsWith("ready\r\n-ERR line too long\r\n", rig.Sent, StringComparison.Ordinal);
    }

    private static FakeMaildrop Three() => new("A: 1\r\n\r\n", "B: 2\r\n\r\n", "text\r\n");

    private static void Say(Pop3Rig rig, string text) => rig.Feed(Encoding.Latin1.GetBytes(text));
}
