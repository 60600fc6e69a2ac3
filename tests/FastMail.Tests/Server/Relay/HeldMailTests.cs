using System.Globalization;
using System.Net.Sockets;
using System.Text;
using FastMail.Server.Accounts;
using FastMail.Server.Queue;
using FastMail.Tests.Server.Defence;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>FUTURERELEASE (RFC 4865) on a whole server whose clock the test sets.</summary>
public sealed class HeldMailTests
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Fact]
    public async Task Mail_for_elsewhere_and_for_here_goes_at_its_time_and_not_before()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test", "v@local.test", "V@local.test"]);
        await AdvanceAsync(fixture, clock, Hour - TimeSpan.FromSeconds(1));
        Assert.Equal(2, fixture.Log.Queue.Recipients); // v once
        Assert.Equal(0, host.Connections);
        clock.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("b@relay.test", Assert.Single(host.Next().Recipients));
        Assert.Contains("Subject: hello", RelayTests.Fetch(fixture, "v@local.test"), StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.DoesNotContain(host.Commands, c => c.Contains("HOLD", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_date_in_its_own_zone_is_kept_over_a_restart()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        DateTimeOffset until = clock.GetUtcNow() + Hour;
        string date = until.ToOffset(TimeSpan.FromHours(-8)).ToString("yyyy-MM-dd'T'HH:mm:sszzz", CultureInfo.InvariantCulture);
        Submit(fixture, $"HOLDUNTIL={date}", ["b@relay.test", "v@local.test"]);
        await AdvanceAsync(fixture, clock, Hour / 2);
        await fixture.RestartAsync();
        QueueMessage message = await ExplainAsync(fixture);
        Assert.Equal(until, message.ReleaseAt);
        Assert.All(message.Recipients, r => Assert.Equal((until, 0), (r.Due!.Value, r.Attempts)));
        Assert.All(message.Recipients, r => Assert.Equal("is held back by its sender", r.Place!.Doing));
        await AdvanceAsync(fixture, clock, (Hour / 2) - TimeSpan.FromSeconds(1));
        Assert.Equal(0, host.Connections);
        await fixture.RestartAsync();
        clock.Advance(TimeSpan.FromSeconds(2));
        host.Next();
        RelayTests.Fetch(fixture, "v@local.test");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task It_goes_by_the_wall_clock_also_when_that_is_set_meanwhile(bool isRestarted)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=86400", ["b@relay.test"]);
        if (isRestarted)
        {
            await fixture.RestartAsync();
        }

        await AdvanceAsync(fixture, clock, Hour * 2); // looked at, and held on
        Assert.Equal(0, host.Connections);
        clock.Jump(Hour * 23);
        clock.Advance(Hour);
        host.Next();
    }

    [Fact]
    public async Task Its_deadline_counts_from_MAIL_and_not_from_the_release()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(null, "DELIVERBY");
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600 BY=7200;R", ["b@relay.test"]);
        await AdvanceAsync(fixture, clock, Hour);
        host.Next();
        Assert.Contains(host.Commands, c => c.Contains(" BY=3600;R", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("HOLDUNTIL=1999-12-31T23:59:59Z", "501 5.5.4")]
    [InlineData("HOLDUNTIL=2025-06-07T08:09:09Z", "501 5.5.4")]
    [InlineData("HOLDUNTIL=2025-06-07T08:09:10Z", "250")]
    [InlineData("HOLDFOR=3601 BY=3600;R", "501 5.5.4")]
    [InlineData("BY=3600;N HOLDFOR=3601", "501 5.5.4")]
    [InlineData("HOLDFOR=1 BY=-1;N", "501 5.5.4")]
    [InlineData("HOLDUNTIL=2025-06-07T09:09:11Z BY=3600;R", "501 5.5.4")]
    [InlineData("HOLDUNTIL=2025-06-07T09:09:10Z BY=3600;R", "250")]
    [InlineData("HOLDFOR=3600 BY=3600;NT", "250")]
    [InlineData("HOLDFOR=86401", "501 5.5.4")]
    [InlineData("HOLDUNTIL=2025-06-08T08:09:11Z", "501 5.5.4")]
    [InlineData("HOLDFOR=86400", "250")]
    [InlineData("HOLDUNTIL=2025-06-08T08:09:10Z", "250")]
    [InlineData("HOLDFOR=1 HOLDUNTIL=2025-06-08T08:09:10Z", "501 5.5.4")]
    public async Task Longer_than_the_operator_or_the_deadline_allows_is_refused_and_so_is_a_date_that_is_over(string parameter, string reply)
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host, "relay.longest_hold=1d");
        using Socket client = Login(fixture, out string keywords);
        Assert.Contains("250-FUTURERELEASE 86400 2025-06-08T08:09:10Z\r\n", keywords, StringComparison.Ordinal);
        Assert.StartsWith(reply, Say(client, $"MAIL FROM:<u@local.test> {parameter}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_is_offered_to_nobody_else()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host, "relay.from=127.0.0.0/8");
        using Socket client = fixture.Connect("mx");
        Talk.ReadLine(client);
        Assert.DoesNotContain("FUTURERELEASE", SayAll(client, "EHLO c.test"), StringComparison.Ordinal);
        Assert.StartsWith("555 5.5.4", Say(client, "MAIL FROM:<a@elsewhere.test> HOLDFOR=60"), StringComparison.Ordinal);
        await using ServerFixture without = await StartAsync(new HandClock(), host, "relay.longest_hold=0s");
        using Socket other = Login(without, out string keywords);
        Assert.DoesNotContain("FUTURERELEASE", keywords, StringComparison.Ordinal);
        Assert.StartsWith("555 5.5.4", Say(other, "MAIL FROM:<u@local.test> HOLDFOR=60"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_operator_may_release_it_early_and_a_retry_does_not()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test", "v@local.test"]);
        Assert.Equal(new QueueActionResult(0, 0, 0, 2), await ApplyAsync(fixture, QueueAction.Retry));
        Assert.Equal(new QueueActionResult(2, 0, 0, 0), await ApplyAsync(fixture, QueueAction.Release));
        host.Next();
        RelayTests.Fetch(fixture, "v@local.test");
    }

    [Fact]
    public async Task An_operator_s_hold_does_not_end_the_sender_s()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test"]);
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Hold)).Changed);
        await fixture.RestartAsync();
        Assert.Equal("held", Assert.Single((await ExplainAsync(fixture)).Recipients).State);
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Release)).Changed);
        await AdvanceAsync(fixture, clock, Hour / 2);
        Assert.Equal("deferred", Assert.Single((await ExplainAsync(fixture)).Recipients).State);
        Assert.Equal(0, host.Connections);
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Redirect, "c@relay.test")).Changed);
        await AdvanceAsync(fixture, clock, TimeSpan.FromSeconds(1));
        Assert.Equal(0, host.Connections);
        clock.Advance(Hour / 2);
        Assert.Equal("c@relay.test", Assert.Single(host.Next().Recipients));
    }

    [Fact]
    public async Task Held_mail_can_be_cancelled()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test", "v@local.test"]);
        Assert.Equal(2, (await ApplyAsync(fixture, QueueAction.Cancel)).Changed);
        Assert.Equal(0, fixture.Log.Queue.Recipients);
    }

    [Fact]
    public async Task Who_hears_that_held_mail_was_cancelled_hears_of_no_attempt()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test"]);
        QueueActionResult result = await QueueOf(fixture).ApplyAsync(
            QueueAction.Cancel, new QueueSelector(), new QueueActionOptions(Notifies: true), CancellationToken.None);
        Assert.Equal(1, result.Changed);
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("Action: failed\r\nStatus: 5.7.0\r\n", notice, StringComparison.Ordinal);
        Assert.DoesNotContain("Last-Attempt-Date:", notice, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ETRN_and_a_host_that_is_back_do_not_release_it()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test"]);
        using Socket client = fixture.Connect("mx");
        Talk.ReadLine(client);
        SayAll(client, "EHLO c.test");
        Assert.StartsWith("25", Say(client, "ETRN relay.test"), StringComparison.Ordinal);
        Submit(fixture, "BODY=7BIT", ["c@relay.test"]);
        Assert.Equal("c@relay.test", Assert.Single(host.Next().Recipients));
        await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(10));
        Assert.Equal(1, fixture.Log.Queue.Recipients);
    }

    [Fact]
    public async Task Its_lifetime_and_its_delay_notice_count_from_the_release()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.lifetime=4h", "relay.delay_notice=1h", "relay.retry_min=30min");
        Submit(fixture, "HOLDFOR=259200 RET=HDRS", ["b@relay.test"]); // three days
        await AdvanceAsync(fixture, clock, TimeSpan.FromDays(3) + TimeSpan.FromSeconds(1));
        await SettleAsync(fixture, clock);
        Assert.Equal(1, Tries(host));
        Assert.Equal(0, Mails(fixture));
        string notice = await AdvanceUntilAsync(fixture, clock, "Action: delayed");
        Assert.Contains("Future-Release-Request: for;259200\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("Will-Retry-Until: Tue, 10 Jun 2025 12:09:10", notice, StringComparison.Ordinal);
        await AdvanceUntilAsync(fixture, clock, "Action: failed");
        Assert.Equal(0, fixture.Log.Queue.Recipients);
    }

    [Fact]
    public async Task What_an_operator_released_early_is_given_up_in_time_too()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.lifetime=2h", "relay.delay_notice=0s", "relay.retry_min=30min");
        Submit(fixture, "HOLDFOR=2592000", ["b@relay.test"]);
        await AdvanceAsync(fixture, clock, TimeSpan.FromDays(3));
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Release)).Changed);
        await SettleAsync(fixture, clock);
        Assert.Equal(1, Tries(host));
        await AdvanceUntilAsync(fixture, clock, "Action: failed");
        Assert.InRange(Tries(host), 2, 5);
    }

    [Fact]
    public async Task What_an_operator_released_early_is_not_said_to_be_tried_for_longer_than_it_is()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.lifetime=4h", "relay.delay_notice=1h", "relay.retry_min=30min");
        Submit(fixture, "HOLDFOR=2592000", ["b@relay.test"]); // until 7 July
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Release)).Changed);
        await SettleAsync(fixture, clock);
        string notice = await AdvanceUntilAsync(fixture, clock, "Action: delayed");
        Assert.Contains("\r\nWill-Retry-Until: Sat, 7 Jun 2025 ", notice, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_maildrop_that_is_full_by_then_is_tried_again()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host, "quota.messages=1");
        Submit(fixture, "HOLDFOR=3600", ["v@local.test"]);
        Assert.StartsWith("250", RelayTests.Send(fixture, "mx", "a@elsewhere.test", "v@local.test"), StringComparison.Ordinal);
        await AdvanceAsync(fixture, clock, Hour + TimeSpan.FromSeconds(1));
        await RelayTests.Until(() => ExplainAsync(fixture).GetAwaiter().GetResult().Recipients[0].Attempts == 1);
        using (Socket pop = fixture.Connect("pop3"))
        {
            Talk.Send(pop, $"USER v@local.test\r\nPASS {ServerFixture.Password}\r\nDELE 1\r\nQUIT\r\n");
            Talk.ReadToEnd(pop);
        }

        clock.Advance(Hour);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        RelayTests.Fetch(fixture, "v@local.test");
    }

    [Theory]
    [InlineData("", "Action: delayed\r\nStatus: 4.4.7\r\n")]
    [InlineData(" NOTIFY=SUCCESS,DELAY", "Action: delivered\r\nStatus: 2.1.5\r\n")]
    [InlineData(" NOTIFY=FAILURE", null)]
    public async Task That_it_came_into_its_maildrop_late_is_told_to_who_was_to_hear_of_it(string notify, string? told)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host, "quota.messages=1", "relay.retry_min=30min");
        Submit(fixture, "HOLDFOR=3600 BY=3660;N", ["v@local.test"], notify);
        Assert.StartsWith("250", RelayTests.Send(fixture, "mx", "a@elsewhere.test", "v@local.test"), StringComparison.Ordinal);
        await AdvanceAsync(fixture, clock, Hour);
        Pop(fixture, "v@local.test", "DELE 1");
        clock.Advance(Hour);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((told is null ? 0 : 1, 1), (Mails(fixture), Mails(fixture, "v@local.test")));
        if (told is not null)
        {
            Assert.Contains($"Final-Recipient: rfc822; v@local.test\r\n{told}", Retrieve(fixture, 1), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Postmaster_and_literals_mean_later_what_they_meant_when_they_were_said()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "HOLDFOR=60", ["postmaster@[127.0.0.1]", "postmaster", "v+tag@local.test", "v@local.test"]);
        await AdvanceAsync(fixture, clock, TimeSpan.FromSeconds(61));
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(1, Mails(fixture, "u@local.test"));
        Assert.Equal(1, Mails(fixture, "v@local.test"));
    }

    [Theory]
    [InlineData("HOLDFOR=3600", "for;3600")]
    [InlineData("HOLDUNTIL=2025-06-07T09:09:10Z", "until;2025-06-07T09:09:10Z")]
    [InlineData("HOLDUNTIL=2025-06-07t10:09:09.50+01:00", "until;2025-06-07t10:09:09.50+01:00")]
    [InlineData("HOLDUNTIL=2025-06-07T09:09:09.500000000000000000000000000000000000000000000000000000000Z", "until;2025-06-07T09:09:10Z")]
    public async Task How_it_was_held_is_told_as_it_was_said(string parameter, string told)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, parameter, ["b@relay.test", "v@local.test"], " NOTIFY=SUCCESS");
        await fixture.RestartAsync();
        clock.Advance(Hour);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(2, Mails(fixture));
        Assert.All([1, 2], number => Assert.Contains($"\r\nFuture-Release-Request: {told}\r\n", Retrieve(fixture, number), StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_alias_is_one_recipient_a_copy_for_each_behind_it_and_one_word()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        await AddAliasAsync(fixture);
        Submit(fixture, "HOLDFOR=3600", ["Both@local.test", "v@local.test"], " NOTIFY=SUCCESS");
        Assert.Equal(1, fixture.Log.Queue.Recipients); // and v is one of them
        clock.Advance(Hour);
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("\r\n\r\nFinal-Recipient: rfc822; Both@local.test\r\nAction: delivered\r\n", notice, StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((1, 1, 1), (Mails(fixture), Mails(fixture, "v@local.test"), Mails(fixture, "w@local.test")));
    }

    [Fact]
    public async Task An_alias_means_later_what_it_meant_but_for_who_gets_it_by_his_own_name()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        await AddAliasAsync(fixture);
        Submit(fixture, "HOLDFOR=3600", ["v@local.test", "both@local.test"], " NOTIFY=SUCCESS");
        Assert.Equal(2, fixture.Log.Queue.Recipients);
        using (AccountStore store = AccountStore.Open(fixture.Directory))
        {
            Assert.True(store.TryRemoveAlias("both@local.test", null));
        }

        await fixture.RestartAsync();
        clock.Advance(Hour);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((2, 1, 1), (Mails(fixture), Mails(fixture, "v@local.test"), Mails(fixture, "w@local.test")));
        Assert.Equal(
            ["Final-Recipient: rfc822; both@local.test", "Final-Recipient: rfc822; v@local.test"],
            Enumerable.Range(1, 2).Select(number => Retrieve(fixture, number).Split("\r\n")
                .Single(line => line.StartsWith("Final-Recipient:", StringComparison.Ordinal))).Order(StringComparer.Ordinal),
            StringComparer.Ordinal);
    }

    [Fact]
    public async Task An_alias_that_an_operator_sends_elsewhere_goes_there_and_to_nobody_here()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host);
        await AddAliasAsync(fixture);
        Submit(fixture, "HOLDFOR=3600", ["both@local.test"], " NOTIFY=SUCCESS");
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Redirect, "c@relay.test")).Changed);
        clock.Advance(Hour);
        Assert.Equal("c@relay.test", Assert.Single(host.Next().Recipients));
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("Final-Recipient: rfc822; both@local.test\r\nAction: relayed\r\n", notice, StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal((0, 0), (Mails(fixture, "v@local.test"), Mails(fixture, "w@local.test")));
    }

    [Fact]
    public async Task All_behind_an_alias_get_it_or_none()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host, "quota.messages=1");
        await AddAliasAsync(fixture);
        Submit(fixture, "HOLDFOR=3600", ["both@local.test"]);
        Assert.StartsWith("250", RelayTests.Send(fixture, "mx", "a@elsewhere.test", "w@local.test"), StringComparison.Ordinal);
        await AdvanceAsync(fixture, clock, Hour);
        Assert.Equal((1, 0, 1), (fixture.Log.Queue.Recipients, Mails(fixture, "v@local.test"), Mails(fixture, "w@local.test")));
    }

    [Fact]
    public async Task A_submitter_may_have_so_much_held_and_no_more()
    {
        var clock = new HandClock();
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.most_held=4");
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test", "v@local.test"]);
        using (Socket client = Login(fixture, out _))
        {
            Assert.StartsWith("250", Say(client, "MAIL FROM:<u@local.test> HOLDFOR=7200"), StringComparison.Ordinal);
            Assert.StartsWith("250", Say(client, "RCPT TO:<c@relay.test>"), StringComparison.Ordinal);
            Assert.StartsWith("250", Say(client, "RCPT TO:<d@relay.test>"), StringComparison.Ordinal);
            Assert.StartsWith("452 4.5.3", Say(client, "RCPT TO:<e@relay.test>"), StringComparison.Ordinal);
            Assert.StartsWith("354", Say(client, "DATA"), StringComparison.Ordinal);
            Assert.StartsWith("250", Say(client, "x\r\n."), StringComparison.Ordinal);
        }

        AssertHolds(fixture, "552 5.7.16");
        await fixture.RestartAsync();
        AssertHolds(fixture, "552 5.7.16");
        AssertHolds(fixture, "552 5.7.16", "U@Local.TEST");
        AssertHolds(fixture, "250", "v@local.test");
        Assert.Equal(4, (await ApplyAsync(fixture, QueueAction.Hold)).Changed);
        AssertHolds(fixture, "250");
        Assert.Equal(4, (await ApplyAsync(fixture, QueueAction.Release)).Changed);
        AssertHolds(fixture, "552 5.7.16");
        Assert.Equal(4, (await ApplyAsync(fixture, QueueAction.Redirect, "e@relay.test")).Changed);
        AssertHolds(fixture, "552 5.7.16");
        await AdvanceAsync(fixture, clock, Hour + TimeSpan.FromSeconds(1));
        AssertHolds(fixture, "250");
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test", "c@relay.test"]);
        AssertHolds(fixture, "552 5.7.16");
        Assert.Equal(4, (await ApplyAsync(fixture, QueueAction.Cancel)).Changed);
        AssertHolds(fixture, "250");
    }

    private static void AssertHolds(ServerFixture fixture, string reply, string user = "u@local.test")
    {
        using Socket client = LoginAs(fixture, user);
        Assert.StartsWith("250", Say(client, $"MAIL FROM:<{user}>"), StringComparison.Ordinal);
        Assert.StartsWith("250", Say(client, "RSET"), StringComparison.Ordinal);
        Assert.StartsWith(reply, Say(client, $"MAIL FROM:<{user}> HOLDFOR=60"), StringComparison.Ordinal);
    }

    private static Socket LoginAs(ServerFixture fixture, string user)
    {
        Socket client = fixture.Connect("submission");
        Talk.ReadLine(client);
        SayAll(client, "EHLO c.test");
        string login = Convert.ToBase64String(Encoding.ASCII.GetBytes($"\0{user}\0{ServerFixture.Password}"));
        Assert.StartsWith("235", Say(client, "AUTH PLAIN " + login), StringComparison.Ordinal);
        return client;
    }

    /// <summary>both@local.test is v and w.</summary>
    private static async Task AddAliasAsync(ServerFixture fixture)
    {
        using (AccountStore store = AccountStore.Open(fixture.Directory))
        {
            PasswordHash password = PasswordHash.Create(Encoding.ASCII.GetBytes(ServerFixture.Password), iterations: 10);
            store.TryAdd("w@local.test", password, DateTimeOffset.UnixEpoch);
            Assert.True(store.TryAddAlias("both@local.test", "v@local.test") && store.TryAddAlias("both@local.test", "w@local.test"));
        }

        await fixture.RestartAsync();
    }
}
