using System.Net.Sockets;
using FastMail.Server.Queue;
using FastMail.Server.Relay;
using FastMail.Tests.Server.Defence;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>NOTIFY=SUCCESS (RFC 3461) of recipients who live here, on a whole server whose clock the test sets.</summary>
public sealed class DeliveredWordTests
{
    [Fact]
    public async Task Who_asks_hears_that_it_is_in_the_maildrop()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "ENVID=QQ+2B1 RET=FULL BODY=8BITMIME", ["v+tag@local.test"], " NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;V+40Far.test");
        Assert.Equal(1, Mails(fixture, "v@local.test")); // when it is acknowledged, as without the wish
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("Return-Path: <>\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nSubject: Your mail was delivered\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nOriginal-Envelope-Id: QQ+1\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nArrival-Date: Sat, 7 Jun 2025 08:09:10 ", notice, StringComparison.Ordinal);
        Assert.Contains(
            "\r\n\r\nOriginal-Recipient: rfc822; V@Far.test\r\nFinal-Recipient: rfc822; v+tag@local.test\r\n"
            + "Action: delivered\r\nStatus: 2.1.5\r\n",
            notice,
            StringComparison.Ordinal);
        Assert.Contains("Content-Type: text/rfc822-headers\r\n", notice, StringComparison.Ordinal); // RFC 3461 4.3
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((1, 1), (Mails(fixture), Mails(fixture, "v@local.test")));
        Assert.Equal(0, host.Connections);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" NOTIFY=NEVER")]
    [InlineData(" NOTIFY=FAILURE")]
    [InlineData(" NOTIFY=DELAY,FAILURE")]
    public async Task Who_does_not_ask_hears_nothing_and_the_queue_has_nothing_of_it(string notify)
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        fixture.Server.Engine.Fault = (_, _) => throw new InvalidOperationException("nothing of this is for the engine");
        Submit(fixture, "RET=FULL", ["v@local.test"], notify);
        Assert.Equal(0, fixture.Log.Queue.Recipients); // what the engine cannot route would be waiting
        Assert.Equal((0, 1), (Mails(fixture), Mails(fixture, "v@local.test")));
    }

    [Fact]
    public async Task Nobody_is_told_of_mail_without_a_sender_and_a_sender_elsewhere_is()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        using Socket client = fixture.Connect("mx");
        Talk.ReadLine(client);
        SayAll(client, "EHLO c.test");
        HandIn(client, "", "RCPT TO:<v@local.test> NOTIFY=SUCCESS");
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        HandIn(client, "a@relay.test", "RCPT TO:<v@local.test> NOTIFY=SUCCESS");
        TakenMail notice = host.Next();
        Assert.Equal(("", "a@relay.test"), (notice.ReversePath, Assert.Single(notice.Recipients)));
        Assert.Contains("\r\nAction: delivered\r\n", notice.Content, StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Single(host.Commands, c => c.StartsWith("RCPT", StringComparison.Ordinal));
        Assert.Equal(2, Mails(fixture, "v@local.test"));
    }

    [Fact]
    public async Task Over_LMTP_the_reply_is_all_the_word_there_is()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host, "listen.lmtp=127.0.0.1:0");
        using Socket client = fixture.Connect("lmtp");
        Talk.ReadLine(client);
        SayAll(client, "LHLO c.test");
        Assert.StartsWith("250", Say(client, "MAIL FROM:<u@local.test>"), StringComparison.Ordinal);
        Assert.StartsWith("555 5.5.4", Say(client, "RCPT TO:<v@local.test> NOTIFY=SUCCESS"), StringComparison.Ordinal);
        Assert.StartsWith("250", Say(client, "RSET"), StringComparison.Ordinal);
        HandIn(client, "u@local.test", "RCPT TO:<v@local.test>");
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        Assert.Equal((0, 1), (Mails(fixture), Mails(fixture, "v@local.test")));
    }

    [Fact]
    public async Task Others_of_the_message_are_not_spoken_of_and_nobody_gets_it_twice()
    {
        using var host = new ScriptedHost(null, "DSN");
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        using (Socket client = Login(fixture, out _))
        {
            HandIn(
                client, "u@local.test", "RCPT TO:<v@local.test>", "RCPT TO:<v+a@local.test> NOTIFY=SUCCESS",
                "RCPT TO:<v+a@local.test> NOTIFY=SUCCESS", "RCPT TO:<postmaster@[127.0.0.1]> NOTIFY=SUCCESS",
                "RCPT TO:<postmaster> NOTIFY=NEVER", "RCPT TO:<b@relay.test> NOTIFY=SUCCESS");
        }

        host.Next();
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(1, Mails(fixture, "v@local.test"));
        Assert.Equal(3, Mails(fixture)); // u is the postmaster, and hears of two addresses
        string[] mails = [.. Enumerable.Range(1, 3).Select(number => Retrieve(fixture, number))];
        Assert.Single(mails, mail => mail.Contains("Final-Recipient: rfc822; v+a@local.test\r\n", StringComparison.Ordinal));
        Assert.Single(mails, mail => mail.Contains("Final-Recipient: rfc822; postmaster@[127.0.0.1]\r\n", StringComparison.Ordinal));
        Assert.DoesNotContain(mails, mail => mail.Contains("Action: relayed", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_is_cut_off_before_the_word_is_written_is_told_after_the_start_and_delivered_once()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        fixture.Server.Engine.Fault = (_, _) => throw new InvalidOperationException("a mistake of the test");
        Submit(fixture, "RET=HDRS", ["v@local.test"], " NOTIFY=SUCCESS");
        Assert.Equal((1, 0, 1), (fixture.Log.Queue.Recipients, Mails(fixture), Mails(fixture, "v@local.test")));
        await fixture.RestartAsync();
        Assert.Contains("\r\nAction: delivered\r\n", RelayTests.Fetch(fixture, "u@local.test"), StringComparison.Ordinal);
        await fixture.RestartAsync();
        Assert.Equal((0, 1, 1), (fixture.Log.Queue.Recipients, Mails(fixture), Mails(fixture, "v@local.test")));
    }

    [Fact]
    public async Task An_operator_may_still_send_it_elsewhere()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        fixture.Server.Engine.Fault = (_, _) => throw new InvalidOperationException("a mistake of the test");
        Submit(fixture, "RET=HDRS", ["v@local.test"], " NOTIFY=SUCCESS");
        fixture.Server.Engine.Fault = null;
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Redirect, "c@relay.test")).Changed);
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal("c@relay.test", Assert.Single(host.Next().Recipients));
        Assert.Contains(
            "\r\nFinal-Recipient: rfc822; v@local.test\r\nAction: relayed\r\n",
            RelayTests.Fetch(fixture, "u@local.test"),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_an_operator_has_sent_to_somebody_here_is_told_of_by_the_name_that_the_sender_knows(bool isCutOff)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["B@Relay.test"], " NOTIFY=SUCCESS");
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Redirect, "v@local.test")).Changed);
        int routed = 0;
        fixture.Server.Engine.Fault = (step, _) =>
        {
            if (step == DeliveryStep.Routing && Interlocked.Increment(ref routed) > 1 && isCutOff)
            {
                throw new InvalidOperationException("a mistake of the test");
            }
        };
        clock.Advance(TimeSpan.FromHours(1));
        await RelayTests.Until(() => Volatile.Read(ref routed) > 1);
        if (isCutOff)
        {
            Assert.Equal((1, 0, 1), (fixture.Log.Queue.Recipients, Mails(fixture), Mails(fixture, "v@local.test")));
            await fixture.RestartAsync();
        }

        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("\r\n\r\nFinal-Recipient: rfc822; B@Relay.test\r\nAction: delivered\r\n", notice, StringComparison.Ordinal);
        Assert.DoesNotContain("v@local.test", notice, StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((1, 1, 0), (Mails(fixture), Mails(fixture, "v@local.test"), host.Connections));
    }

    [Theory]
    [InlineData("", "")]
    [InlineData(" ORCPT=rfc822;Bob@far.test", "Original-Recipient: rfc822; Bob@far.test\r\n")]
    public async Task A_failure_of_what_an_operator_has_sent_elsewhere_is_told_by_that_name_too(string given, string original)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "550 5.1.1 not here" : null);
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test"], given);
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Redirect, "c@relay.test")).Changed);
        clock.Advance(TimeSpan.FromHours(1));
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains(host.Commands, c => c.StartsWith("RCPT TO:<c@relay.test>", StringComparison.Ordinal));
        Assert.Contains($"\r\n\r\n{original}Final-Recipient: rfc822; b@relay.test\r\nAction: failed\r\n", notice, StringComparison.Ordinal);
        Assert.DoesNotContain("c@relay.test", notice, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Of_held_mail_word_comes_when_it_has_been_delivered(bool isCutOff)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600 BY=7200;R ENVID=E1", ["v@local.test"], " NOTIFY=SUCCESS ORCPT=rfc822;w@far.test");
        await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(59));
        Assert.Equal((1, 0, 0), (fixture.Log.Queue.Recipients, Mails(fixture), Mails(fixture, "v@local.test")));
        if (isCutOff)
        {
            int routed = 0; // the second is the copy, which is in the maildrop by then
            fixture.Server.Engine.Fault = (step, _) =>
            {
                if (step == DeliveryStep.Routing && Interlocked.Increment(ref routed) > 1)
                {
                    throw new InvalidOperationException("a mistake of the test");
                }
            };
            clock.Advance(TimeSpan.FromMinutes(2));
            await RelayTests.Until(() => Volatile.Read(ref routed) > 1);
            Assert.Equal((1, 0, 1), (fixture.Log.Queue.Recipients, Mails(fixture), Mails(fixture, "v@local.test")));
            await fixture.RestartAsync();
        }
        else
        {
            clock.Advance(TimeSpan.FromMinutes(2));
        }

        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("\r\nOriginal-Envelope-Id: E1\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nArrival-Date: Sat, 7 Jun 2025 08:09:10 ", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nDeliver-By-Date: Sat, 7 Jun 2025 10:09:10 ", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nFuture-Release-Request: for;3600\r\n", notice, StringComparison.Ordinal);
        Assert.Contains(
            "\r\nOriginal-Recipient: rfc822; w@far.test\r\nFinal-Recipient: rfc822; v@local.test\r\nAction: delivered\r\n",
            notice,
            StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((1, 1), (Mails(fixture), Mails(fixture, "v@local.test")));
    }

    [Fact]
    public async Task A_full_maildrop_is_refused_at_once()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host, "quota.messages=1");
        Submit(fixture, "RET=HDRS", ["v@local.test"]);
        using Socket client = Login(fixture, out _);
        Assert.StartsWith("250", Say(client, "MAIL FROM:<u@local.test>"), StringComparison.Ordinal);
        Assert.StartsWith("452 4.2.2", Say(client, "RCPT TO:<v@local.test> NOTIFY=SUCCESS"), StringComparison.Ordinal);
    }

    private static void HandIn(Socket client, string from, params string[] recipients)
    {
        foreach (string command in (string[])[$"MAIL FROM:<{from}>", .. recipients, "DATA", "Subject: hello\r\n\r\nx\r\n."])
        {
            string reply = Say(client, command);
            Assert.True(reply[0] is '2' or '3', $"{command}: {reply}");
        }
    }
}
