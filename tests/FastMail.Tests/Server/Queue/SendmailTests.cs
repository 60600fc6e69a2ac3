using System.CommandLine;
using System.CommandLine.Help;
using System.Text;
using FastMail.Protocol.Smtp;
using FastMail.Server.Cli;
using Xunit;

namespace FastMail.Tests.Server.Queue;

/// <summary>What sendmail understands of its arguments and of the message it is given.</summary>
public sealed class SendmailTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 2, 4, 5, 6, TimeSpan.Zero);

    [Theory]
    [InlineData("-t -i", true, true, null, "")]
    [InlineData("-ti", true, true, null, "")]
    [InlineData("-oi -oee -bm -v a@x b@y", false, true, null, "a@x b@y")]
    [InlineData("-f me@x -- -odd@y", false, false, "me@x", "-odd@y")]
    [InlineData("-fme@x -om a@x,b@y", false, false, "me@x", "a@x b@y")]
    [InlineData("-f <> a@x", false, false, "", "a@x")]
    [InlineData("-r me@x -B 8BITMIME -h 17 -L tag a@x", false, false, "me@x", "a@x")]
    public void Arguments_are_those_of_every_sendmail(string words, bool readsRecipients, bool ignoresDots, string? sender, string recipients)
    {
        SendmailArguments arguments = SendmailArguments.Parse(words.Split(' '));
        Assert.Equal(
            (readsRecipients, ignoresDots, sender, recipients),
            (arguments.ReadsRecipients, arguments.IgnoresDots, arguments.Sender, string.Join(' ', arguments.Recipients)));
    }

    [Theory]
    [InlineData("/usr/sbin/sendmail", "-h 17 a@x", "-h 17 a@x")]
    [InlineData("/usr/sbin/sendmail", "-t -- -odd@y", "-t -- -odd@y")]
    [InlineData("/usr/sbin/sendmail", "--data", "--data")]
    [InlineData("fastmail", "sendmail -h 17 a@x", "-h 17 a@x")]
    [InlineData("fastmail", "sendmail -- -odd@y", "-- -odd@y")]
    [InlineData("fastmail", "sendmail --data /d -t -h 17", "-t -h 17")]
    [InlineData("fastmail", "--data /d sendmail -?", "-?")]
    public void What_is_sendmails_is_not_taken_for_ours(string calledAs, string words, string arguments)
    {
        ParseResult parsed = CommandTree.Build().Parse(SendmailVerbs.Hide(calledAs, words.Split(' ')));
        Assert.Empty(parsed.Errors);
        Assert.Equal("sendmail", parsed.CommandResult.Command.Name);
        Assert.IsNotType<HelpAction>(parsed.Action);
        Assert.Equal(arguments, string.Join(' ', parsed.GetValue<string[]>("ARGUMENT") ?? []));
        Assert.Equal(words.Contains("--data /d", StringComparison.Ordinal), parsed.GetValue<string>("--data") == "/d");
    }

    [Theory]
    [InlineData("fastmail", "sendmail --help")]
    [InlineData("fastmail", "queue -h")]
    public void What_is_ours_is_ours(string calledAs, string words)
    {
        ParseResult parsed = CommandTree.Build().Parse(SendmailVerbs.Hide(calledAs, words.Split(' ')));
        Assert.IsType<HelpAction>(parsed.Action);
    }

    [Fact]
    public void Wishes_about_notifications_are_read()
    {
        SendmailArguments arguments = SendmailArguments.Parse(["-N", "success,DELAY", "-Rhdrs", "-V", "id 1", "-F", "A B", "a@x"]);
        Assert.Equal(
            (DsnNotify.Success | DsnNotify.Delay, DsnReturn.Headers, "id 1", "A B"),
            (arguments.Notify, arguments.Return, arguments.EnvelopeId, arguments.FullName));
        Assert.True(SendmailArguments.Parse(["-bp"]).ListsQueue);
        Assert.True(SendmailArguments.Parse(["-q30m"]).IsForNothing);
    }

    [Theory]
    [InlineData("-bs")]
    [InlineData("-x")]
    [InlineData("-f")]
    [InlineData("-N sometimes")]
    [InlineData("-R half")]
    public void What_is_not_offered_is_told(string words)
    {
        Assert.Throws<FormatException>(() => SendmailArguments.Parse(words.Split(' ')));
    }

    [Fact]
    public void What_is_missing_is_added_and_Bcc_is_taken_out()
    {
        string text = Complete("To: a@x\nbcc: secret@y,\n\tmore@y\nSubject: s\n\nbody\n", out SubmittedMessage message);
        Assert.Equal(["a@x", "secret@y", "more@y"], message.Recipients(), StringComparer.Ordinal);
        Assert.Matches(
            "^To: a@x\r\nSubject: s\r\nFrom: me@mx.test\r\nDate: Mon, 2 Nov 2026 04:05:06 \\+0000\r\n"
            + "Message-ID: <[0-9a-f]{32}@mx.test>\r\n\r\nbody\n$", text);
    }

    [Fact]
    public void What_is_there_stays()
    {
        const string Text = "From: x@y\r\nDate: today\r\nMessage-ID: <1@y>\r\nX-\u00fc: \u00e4\r\n\r\n.\r\nbody";
        Assert.Equal(Text.Replace("X-\u00fc: \u00e4\r\n", "", StringComparison.Ordinal), Complete(Text.Replace("X-\u00fc: \u00e4\r\n", "", StringComparison.Ordinal), out _, ignoresDots: true));
        Assert.EndsWith("\r\n\r\nX-\u00fc: \u00e4\n\nbody\n", Complete("X-\u00fc: \u00e4\n\nbody\n", out _), StringComparison.Ordinal); // no field: body
    }

    [Theory]
    [InlineData("Subject: s\n\none\n.\ntwo\n", false, "one\n")]
    [InlineData("Subject: s\n\none\n.\r\ntwo\n", false, "one\n")]
    [InlineData("Subject: s\n\none\n.\ntwo\n", true, "one\n.\ntwo\n")]
    [InlineData("no header at all\n", false, "no header at all\n")]
    [InlineData("From me@x Mon Nov  2 04:05:06 2026\nSubject: s\n\nbody", false, "body")]
    [InlineData("\nbody", false, "body")]
    [InlineData("", false, "")]
    public void The_body_is_what_comes_behind_the_header(string text, bool ignoresDots, string body)
    {
        string complete = Complete(text, out _, ignoresDots);
        Assert.Equal(body, complete[(complete.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..]);
    }

    [Theory]
    [InlineData("a@x, B <b@y>,\"C, D\" <c@z> (at, home)", "a@x b@y c@z")]
    [InlineData("Friends: a@x, b@y; c@z", "a@x b@y c@z")]
    [InlineData("undisclosed-recipients:;", "")]
    [InlineData("\"a b\"@x", "\"a b\"@x")]
    [InlineData("<\"a>b\"@x>", "\"a>b\"@x")]
    [InlineData("root, postmaster", "root postmaster")]
    [InlineData("(a (nested \\) one)) a@x", "a@x")]
    public void Addresses_are_found_in_fields(string field, string addresses)
    {
        Assert.Equal(addresses, string.Join(' ', AddressList.Parse(field)));
    }

    [Theory]
    [InlineData("\"a@x")]
    [InlineData("<a@x")]
    [InlineData("(a@x")]
    public void A_field_without_its_end_is_told(string field)
    {
        Assert.Throws<FormatException>(() => AddressList.Parse(field));
    }

    [Fact]
    public void A_message_that_goes_in_circles_is_seen()
    {
        string text = string.Concat(Enumerable.Repeat("Received: by x\n", 101)) + "\nx";
        Assert.True(SubmittedMessage.Read(Encoding.Latin1.GetBytes(text), ignoresDots: true).IsLooping);
        Assert.False(SubmittedMessage.Read(Encoding.Latin1.GetBytes(text[15..]), ignoresDots: true).IsLooping);
    }

    private static string Complete(string text, out SubmittedMessage message, bool ignoresDots = false)
    {
        message = SubmittedMessage.Read(Encoding.Latin1.GetBytes(text), ignoresDots);
        return Encoding.Latin1.GetString(message.Complete("me@mx.test", "mx.test", Now));
    }
}
