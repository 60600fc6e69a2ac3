using System.Net.Sockets;
using System.Text;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>A whole server takes mail for others and brings it to hosts that are scripts.</summary>
public sealed class RelayTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    private const string Content = "From: u@local.test\r\nSubject: hello\r\n\r\nfirst line\r\n..stuffed\r\n";

    [Fact]
    public async Task Mail_of_a_listed_peer_reaches_the_next_hop_of_its_route()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(host, Trusted);
        Assert.StartsWith("250", Send(fixture, "mx", "a@elsewhere.test", "b@relay.test"), StringComparison.Ordinal);
        TakenMail mail = host.Next();
        Assert.Equal("a@elsewhere.test", mail.ReversePath);
        Assert.Equal("b@relay.test", Assert.Single(mail.Recipients));
        Assert.StartsWith("Received: from ", mail.Content, StringComparison.Ordinal); // and no Return-Path
        Assert.EndsWith(Content.Replace("..stuffed", ".stuffed", StringComparison.Ordinal), mail.Content, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("x", true)]
    [InlineData("\u00e9", false)]
    public async Task Large_mail_without_8bit_octets_needs_no_SMTPUTF8_at_its_host(string letter, bool goes)
    {
        using var host = new ScriptedHost(null, "8BITMIME");
        await using ServerFixture fixture = await StartAsync(host, "store.jumbo_size=256KiB");
        string content = "Subject: hello\r\n\r\n" + string.Concat(Enumerable.Repeat(new string('x', 70) + letter + "\r\n", 4500));
        using Socket client = ClockedRelay.Login(fixture, out _);
        foreach (string command in (string[])["MAIL FROM:<u@local.test> SMTPUTF8 BODY=8BITMIME", "RCPT TO:<b@relay.test>", "DATA", content + "."])
        {
            Assert.Matches("^[23]", ClockedRelay.Say(client, command));
        }

        if (goes)
        {
            Assert.EndsWith(content, host.Next().Content, StringComparison.Ordinal);
        }
        else
        {
            Assert.Contains("5.6.7", Fetch(fixture, "u@local.test"), StringComparison.Ordinal); // its header may have some
        }
    }

    [Fact]
    public async Task Strangers_hear_that_relaying_is_denied()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(host, "relay.from=192.0.2.0/24");
        Assert.StartsWith("550 5.7.1", Send(fixture, "mx", "a@elsewhere.test", "b@relay.test"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("b@bad.test", true)]
    [InlineData("b@BAD.test", true)]
    [InlineData("b@deep.worse.test", true)]
    [InlineData("ann@relay.test", true)]
    [InlineData("b@relay.test", false)]
    public async Task What_the_route_table_refuses_is_not_taken(string to, bool isRefused)
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(
            host, Trusted, "route.table=relay.test=127.0.0.1:{port},bad.test=refuse,.worse.test=refuse,ann@relay.test=refuse");
        Assert.StartsWith(
            isRefused ? "550 5.7.1 Mail there is refused" : "250", Send(fixture, "mx", "a@elsewhere.test", to), StringComparison.Ordinal);
        Assert.Equal(isRefused ? 0 : 1, host.Taken.TryTake(out _, TimeSpan.FromSeconds(isRefused ? 0 : 20)) ? 1 : 0);
        Assert.Equal(0, isRefused ? fixture.Log.Queue.Recipients : 0);
    }

    [Fact]
    public async Task Who_has_logged_in_may_send_elsewhere_in_an_own_name()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(host);
        string login = "AUTH PLAIN " + Convert.ToBase64String(Encoding.ASCII.GetBytes("\0u@local.test\0secret"));
        Assert.StartsWith("250", Send(fixture, "submission", "u@local.test", "b@relay.test", login), StringComparison.Ordinal);
        Assert.Equal("u@local.test", host.Next().ReversePath);
        Assert.StartsWith("553 5.7.1", Send(fixture, "submission", "x@elsewhere.test", "b@relay.test", login), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Recipients_here_and_there_each_get_it()
    {
        using var host = new ScriptedHost(null, "PIPELINING");
        await using ServerFixture fixture = await StartAsync(host, Trusted);
        Assert.StartsWith(
            "250", Send(fixture, "mx", "a@elsewhere.test", ["u@local.test", "b@relay.test", "c@relay.test", "b@relay.test"]),
            StringComparison.Ordinal);
        Assert.Equal(["b@relay.test", "c@relay.test"], host.Next().Recipients); // together, and nobody twice
        Assert.Contains("first line", Fetch(fixture, "u@local.test"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_refused_for_now_is_tried_again_and_only_for_whom_it_was_refused()
    {
        int tries = 0;
        using var host = new ScriptedHost(
            line => line.Contains("later@", StringComparison.Ordinal) && Interlocked.Increment(ref tries) < 3 ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(host, Trusted);
        Send(fixture, "mx", "a@elsewhere.test", ["now@relay.test", "later@relay.test"]);
        Assert.Equal("now@relay.test", Assert.Single(host.Next().Recipients));
        Assert.Equal("later@relay.test", Assert.Single(host.Next().Recipients));
        Assert.Equal(3, tries);
    }

    [Fact]
    public async Task What_is_refused_for_good_comes_back_to_a_sender_here()
    {
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT TO:<nobody@", StringComparison.Ordinal) ? "550 5.1.1 no such user" : null);
        await using ServerFixture fixture = await StartAsync(host, Trusted);
        Send(fixture, "mx", "u@local.test", ["nobody@relay.test", "b@relay.test"]);
        Assert.Equal("b@relay.test", Assert.Single(host.Next().Recipients));
        string notice = Fetch(fixture, "u@local.test");
        Assert.Contains("Final-Recipient: rfc822; nobody@relay.test", notice, StringComparison.Ordinal);
        Assert.Contains("Status: 5.1.1", notice, StringComparison.Ordinal);
        Assert.Contains("Return-Path: <>", notice, StringComparison.Ordinal);
        Assert.DoesNotContain("b@relay.test\r\nAction", notice, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_notification_goes_to_a_sender_elsewhere_and_is_never_bounced_itself()
    {
        using var host = new ScriptedHost(line =>
            line.StartsWith("RCPT", StringComparison.Ordinal) && !line.Contains("a@", StringComparison.Ordinal) ? "550 5.1.1 no"
            : line == "." ? "554 5.7.1 not even that" : null);
        await using ServerFixture fixture = await StartAsync(host, Trusted, "route.table=*=127.0.0.1:{port}");
        Send(fixture, "mx", "a@elsewhere.test", "nobody@relay.test");
        await Until(() => host.Commands.Contains("MAIL FROM:<>", StringComparer.Ordinal) && fixture.Log.Queue.Recipients == 0);
        Assert.Single(host.Commands, "MAIL FROM:<>");
    }

    [Fact]
    public async Task A_restart_forgets_nothing_that_waits()
    {
        bool isOpen = false;
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isOpen) ? "451 4.3.0 not now" : null);
        await using ServerFixture fixture = await StartAsync(host, Trusted);
        for (int i = 0; i < 20; i++)
        {
            Send(fixture, "mx", "a@elsewhere.test", $"b{i}@relay.test");
        }

        await fixture.RestartAsync();
        Volatile.Write(ref isOpen, true);
        var taken = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < 20; i++)
        {
            Assert.True(taken.Add(host.Next().Recipients[0]));
        }

        await Until(() => fixture.Log.Queue.Recipients == 0);
    }

    [Fact]
    public async Task A_host_that_does_not_answer_delays_no_other()
    {
        using var good = new ScriptedHost(null, "PIPELINING");
        using var mute = new ScriptedHost(line => line == "." ? "" : null, "PIPELINING");
        await using ServerFixture fixture = await StartAsync(
            good, Trusted, $"route.table=relay.test=127.0.0.1:{{port}},mute.test=127.0.0.1:{mute.Port},dead.test=127.0.0.1:1");
        for (int i = 0; i < 30; i++)
        {
            Send(fixture, "mx", "a@elsewhere.test", ["b@mute.test", "b@dead.test", "b@relay.test"]);
        }

        for (int i = 0; i < 30; i++)
        {
            Assert.Equal("b@relay.test", Assert.Single(good.Next().Recipients));
        }

        Assert.InRange(mute.Connections, 1, 5); // one host that is silent does not get all connections there are
        await Until(() => fixture.Log.Queue.Recipients == 60);
    }

    [Theory]
    [InlineData("250 2.0.0 ok\r\n250 and more than was asked for")]
    [InlineData("garbage")]
    [InlineData("999 what")]
    [InlineData("25")]
    public async Task A_host_that_talks_nonsense_gets_the_mail_again_later(string nonsense)
    {
        int lies = 0;
        using var host = new ScriptedHost(
            line => line.StartsWith("MAIL", StringComparison.Ordinal) && Interlocked.Increment(ref lies) == 1 ? nonsense : null);
        await using ServerFixture fixture = await StartAsync(host, Trusted);
        Send(fixture, "mx", "a@elsewhere.test", "b@relay.test");
        Assert.Equal("b@relay.test", Assert.Single(host.Next().Recipients));
    }

    internal static Task<ServerFixture> StartAsync(ScriptedHost host, params string[] more) => ServerFixture.StartAsync(
        [
            $"route.table=relay.test=127.0.0.1:{host.Port}",
            "relay.retry_min=1s",
            .. more.Select(setting => setting.Replace("{port}", $"{host.Port}", StringComparison.Ordinal)),
        ]);

    /// <summary>The reply that decides: that to the content, or the first refusal.</summary>
    internal static string Send(ServerFixture fixture, string role, string from, string to, string? login = null) =>
        Send(fixture, role, from, [to], login);

    internal static string Send(
        ServerFixture fixture, string role, string from, string[] to, string? login = null, string content = Content)
    {
        using Socket client = fixture.Connect(role);
        Talk.ReadLine(client);
        List<string> commands =
        [
            "EHLO c.test", .. login is null ? Array.Empty<string>() : [login], $"MAIL FROM:<{from}>",
            .. to.Select(t => $"RCPT TO:<{t}>"), "DATA", content + ".",
        ];
        string last = "";
        foreach (string command in commands)
        {
            Talk.Send(client, command + "\r\n");
            do
            {
                last = Talk.ReadLine(client);
            }
            while (last.Length > 3 && last[3] == '-');

            if (last.Length == 0 || last[0] is '4' or '5')
            {
                return last;
            }
        }

        return last;
    }

    /// <summary>The first message of a maildrop, waited for.</summary>
    internal static string Fetch(ServerFixture fixture, string user)
    {
        for (int i = 0; i < 200; i++)
        {
            using Socket client = fixture.Connect("pop3");
            Talk.Send(client, $"USER {user}\r\nPASS {ServerFixture.Password}\r\nRETR 1\r\nQUIT\r\n");
            string dialog = Talk.ReadToEnd(client);
            if (dialog.Contains("Subject:", StringComparison.Ordinal))
            {
                return dialog;
            }

            Task.Delay(50).GetAwaiter().GetResult();
        }

        throw new TimeoutException("no mail in the maildrop after 10 s");
    }

    internal static async Task Until(Func<bool> isSo)
    {
        bool was = isSo(); // looked at once a time: what was so may pass
        for (int i = 0; i < 400 && !was; i++)
        {
            await Task.Delay(50);
            was = isSo();
        }

        Assert.True(was);
    }
}
