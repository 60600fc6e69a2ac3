using System.Buffers;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>
/// What servers in the field got wrong and their clients choked on, one test each, and what those clients rely on.
/// </summary>
public sealed class Pop3FieldDefectTests
{
    private const string Login = "USER u\r\nPASS p w\r\n";

    [Fact]
    public void STAT_LIST_and_UIDL_do_not_count_what_is_marked_deleted()
    {
        Assert.Equal(
            "+OK 2 21\r\n+OK 2 messages (21 octets)\r\n2 8\r\n3 13\r\n.\r\n+OK\r\n2 uid-2\r\n3 uid-3\r\n.\r\n",
            After("DELE 1\r\n", "STAT\r\nLIST\r\nUIDL\r\n"));
    }

    [Fact]
    public void A_message_whose_unique_id_cannot_be_read_now_has_no_other_meanwhile()
    {
        var maildrop = Three();
        maildrop.IndexesWithoutId.Add(1);
        Assert.Equal(
            "-ERR [SYS/TEMP] the message cannot be read now\r\n+OK 3 uid-3\r\n+OK\r\n1 uid-1\r\n3 uid-3\r\n.\r\n+OK 2 8\r\n",
            After("", "UIDL 2\r\nUIDL 3\r\nUIDL\r\nLIST 2\r\n", maildrop));
    }

    [Theory]
    [InlineData("RETR 1")]
    [InlineData("TOP 1 0")]
    [InlineData("DELE 1")]
    [InlineData("LIST 1")]
    [InlineData("UIDL 1")]
    public void A_message_that_is_marked_deleted_is_there_for_no_command(string command)
    {
        Assert.Equal("-ERR message 1 already deleted\r\n", After("DELE 1\r\n", command + "\r\n"));
        Assert.StartsWith("+OK", After("DELE 1\r\nRSET\r\n", command + "\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public void TOP_n_0_is_the_header_section_with_the_empty_line_and_nothing_of_the_body()
    {
        Assert.Equal("+OK top of message follows\r\nA: 1\r\n\r\n.\r\n", After("", "TOP 1 0\r\n"));
        Assert.Equal("+OK top of message follows\r\nB: 2\r\n\r\n.\r\n", After("", "TOP 2 0\r\n"));
        Assert.Equal("+OK top of message follows\r\njust text\r\n\r\n.\r\n", After("", "TOP 3 0\r\n"));
    }

    [Theory]
    [InlineData("3")]
    [InlineData("99999999")]
    [InlineData("99999999999999999999999")]
    public void TOP_with_more_lines_than_there_are_equals_RETR(string lines)
    {
        for (var number = 1; number <= 3; number++)
        {
            Assert.Equal(Behind(After("", $"RETR {number}\r\n")), Behind(After("", $"TOP {number} {lines}\r\n")));
        }
    }

    [Theory]
    [InlineData("..\r\n\r\n")]
    [InlineData("..hidden: 1\r\n\r\n..\r\n")]
    public void A_message_whose_first_octet_is_a_dot_is_sent_stuffed(string wire)
    {
        var rig = Pop3Rig.Create(new FakeMaildrop(wire));
        rig.Feed(Encoding.ASCII.GetBytes(Login + "RETR 1\r\nTOP 1 9\r\n"));
        var octets = wire.Length - wire.Split("\r\n").Count(line => line.StartsWith('.'));
        Assert.EndsWith(
            $"+OK {octets} octets\r\n{wire}.\r\n+OK top of message follows\r\n{wire}.\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void The_size_that_LIST_tells_is_the_number_of_octets_that_RETR_sends()
    {
        for (var number = 1; number <= 3; number++)
        {
            var announced = After("", $"LIST {number}\r\n").Trim().Split(' ')[2];
            var lines = Behind(After("", $"RETR {number}\r\n"))[..^3].Split("\r\n");
            var received = string.Join("\r\n", lines.Select(line => line.StartsWith('.') ? line[1..] : line));
            Assert.Equal(announced, received.Length.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    [Fact]
    public void The_last_octets_of_a_message_and_its_terminator_leave_in_one_write()
    {
        var maildrop = new FakeMaildrop("A: 1\r\n\r\none\r\n");
        var session = new Pop3Session(
            new Pop3SessionOptions { Hostname = "h"u8.ToArray(), AllowsCleartext = true }, new FakeMaildropSource(maildrop));
        var replies = new byte[1024];
        session.Receive(Encoding.ASCII.GetBytes(Login), replies, out _, out _);
        session.LoggedIn(LoginVerdict.Accepted, maildrop);
        session.Receive([], replies, out _, out _);
        foreach (var command in new[] { "RETR 1\r\n", "TOP 1 1\r\n" })
        {
            session.Receive(Encoding.ASCII.GetBytes(command), replies, out _, out _);
            Assert.Equal("A: 1\r\n\r\none\r\n.\r\n", Encoding.ASCII.GetString(session.Body.Span));
            Assert.Equal(OperationStatus.NeedMoreData, session.Receive([], replies, out _, out var written));
            Assert.Equal(0, written);
        }
    }

    [Fact]
    public void QUIT_is_not_acknowledged_before_the_removal_is_durable()
    {
        var maildrop = new FakeMaildrop("A: 1\r\n\r\n");
        var session = new Pop3Session(
            new Pop3SessionOptions { Hostname = "h"u8.ToArray(), AllowsCleartext = true }, new FakeMaildropSource(maildrop));
        var replies = new byte[1024];
        session.Receive(Encoding.ASCII.GetBytes(Login), replies, out _, out _);
        session.LoggedIn(LoginVerdict.Accepted, maildrop);
        session.Receive("DELE 1\r\n"u8, replies, out _, out _);
        session.Receive("QUIT\r\n"u8, replies, out _, out var written);
        Assert.Equal((0, true), (written, session.IsWaiting));
        session.Removed(isDurable: false);
        session.Receive([], replies, out _, out written);
        Assert.Equal(
            "-ERR [SYS/TEMP] some deleted messages not removed\r\n", Encoding.ASCII.GetString(replies, 0, written));
    }

    [Fact]
    public void UIDL_and_TOP_are_among_the_capabilities_before_login_and_after_it()
    {
        var rig = Pop3Rig.Create(Three());
        rig.Feed(Encoding.ASCII.GetBytes("CAPA\r\n" + Login + "CAPA\r\n"));
        Assert.Equal(2, rig.Sent.Split("\r\nUIDL\r\n").Length - 1);
        Assert.Equal(2, rig.Sent.Split("\r\nTOP\r\n").Length - 1);
    }

    [Theory]
    [InlineData("AUTH\r\n")]
    [InlineData("AUTH \r\n")]
    public void AUTH_alone_lists_the_mechanisms(string command)
    {
        var rig = Pop3Rig.Create(Three());
        rig.Feed(Encoding.ASCII.GetBytes(command));
        Assert.EndsWith(
            "+OK\r\nPLAIN\r\nLOGIN\r\nSCRAM-SHA-256\r\nOAUTHBEARER\r\nXOAUTH2\r\n.\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void AUTH_without_an_initial_response_is_answered_by_a_plus_and_a_blank()
    {
        var rig = Pop3Rig.Create(Three());
        rig.Feed("AUTH PLAIN\r\n"u8);
        Assert.EndsWith("ready\r\n+ \r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wrong_password_leaves_the_connection_open()
    {
        var rig = Pop3Rig.Create(Three());
        rig.Feed(Encoding.ASCII.GetBytes("USER u\r\nPASS wrong\r\nAUTH PLAIN AHUAYg==\r\n" + Login));
        Assert.False(rig.IsClosed);
        Assert.EndsWith("+OK maildrop has 3 messages (45 octets)\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void NOOP_every_few_seconds_costs_nothing()
    {
        Assert.Equal(
            string.Concat(Enumerable.Repeat("+OK\r\n", 5000)), After("", string.Concat(Enumerable.Repeat("NOOP\r\n", 5000))));
    }

    [Fact]
    public void A_message_without_an_empty_line_gets_one_for_clients_that_hang_without()
    {
        Assert.Equal("+OK 13 octets\r\njust text\r\n\r\n.\r\n", After("", "RETR 3\r\n"));
    }

    [Fact]
    public void A_name_is_answered_alike_whether_there_is_such_a_user_or_not()
    {
        static string Guess(string name)
        {
            var rig = Pop3Rig.Create(Three());
            rig.Feed(Encoding.ASCII.GetBytes($"USER {name}\r\nPASS wrong\r\n"));
            return rig.Sent;
        }

        Assert.Equal(Guess("u"), Guess("nobody"));
    }

    [Theory]
    [InlineData(false, "", "+OK ")]
    [InlineData(true, "", "-ERR [UTF8] ")]
    [InlineData(true, "UTF8\r\n", "+OK ")]
    public void A_message_in_UTF8_is_served_as_it_is_unless_the_operator_is_strict(
        bool isStrict, string before, string expected)
    {
        var rig = Pop3Rig.Create(new FakeMaildrop("A: \xC3\xA9\r\n\r\n"), isStrictUtf8: isStrict);
        rig.Feed(Encoding.ASCII.GetBytes(before + Login));
        var start = rig.Sent.Length;
        rig.Feed("RETR 1\r\n"u8);
        Assert.StartsWith(expected, rig.Sent[start..], StringComparison.Ordinal);
    }

    [Fact]
    public void Every_reply_begins_with_OK_ERR_or_a_plus_and_a_blank_and_nothing_else()
    {
        string[] words =
        [
            "USER u", "PASS p w", "PASS x", "STAT", "STAT 1", "NOOP", "RSET", "DELE 1", "DELE 9", "DELE x", "LANG", "LANG xx",
            "UTF8", "STLS", "AUTH PLAIN", "AUTH X", "AHUAcCB3", "*", "LIST 1", "UIDL 2", "LIST 0", "UIDL -1", "TOP 1", "TOP 1 x",
            "QUIT x", "FOO", "", " ", "APOP a b", "\0", "XTND XMIT", "RETR 7", "CAPA 1", new string('A', 300),
        ];
        Prop.ForAll(Gen.Elements(words).ListOf().ToArbitrary(), commands =>
        {
            var rig = Pop3Rig.Create(Three());
            rig.Feed(Encoding.ASCII.GetBytes(string.Concat(commands.Select(command => command + "\r\n"))));
            var isList = false;
            foreach (var line in rig.Sent.Split("\r\n")[..^1])
            {
                if (isList)
                {
                    isList = line != ".";
                    continue;
                }
                Assert.Matches(@"^(\+OK( .*)?|-ERR .+|\+ .*)$", line);
                isList = line == "+OK languages:";
            }
            return !isList;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(300));
    }

    /// <summary>What is said to the second commands when the first ones went before them.</summary>
    private static string After(string before, string commands, FakeMaildrop? maildrop = null)
    {
        var rig = Pop3Rig.Create(maildrop ?? Three());
        rig.Feed(Encoding.ASCII.GetBytes(Login + before));
        var start = rig.Sent.Length;
        rig.Feed(Encoding.ASCII.GetBytes(commands));
        return rig.Sent[start..];
    }

    /// <summary>A multi-line reply without its first line.</summary>
    private static string Behind(string reply)
    {
        Assert.StartsWith("+OK", reply, StringComparison.Ordinal);
        return reply[(reply.IndexOf("\r\n", StringComparison.Ordinal) + 2)..];
    }

    private static FakeMaildrop Three() => new("A: 1\r\n\r\none\r\n..dot\r\ntwo\r\n", "B: 2\r\n\r\n", "just text\r\n");
}
