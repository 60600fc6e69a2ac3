using FastMail.Server.Queue;
using FastMail.Tests.Server.Defence;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>What senders hear of mail that takes long, and of mail that was to arrive in time (RFC 2852).</summary>
public sealed class DelayTests
{
    private static readonly string[] Slow = ["relay.delay_notice=1h", "relay.lifetime=1d", "relay.retry_min=30min"];

    [Theory]
    [InlineData("", true)]
    [InlineData(" NOTIFY=DELAY", true)]
    [InlineData(" NOTIFY=FAILURE,DELAY", true)]
    [InlineData(" NOTIFY=FAILURE", false)]
    [InlineData(" NOTIFY=SUCCESS", false)]
    [InlineData(" NOTIFY=NEVER", false)]
    public async Task A_delay_is_told_once_and_to_who_wants_to_know(string notify, bool isTold)
    {
        var clock = new HandClock();
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(clock, host, Slow);
        Submit(fixture, "RET=HDRS", ["b@relay.test", "c@relay.test"], notify);
        await SettleAsync(fixture, clock);
        for (int i = 0; i < 20; i++) // ten hours
        {
            await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(30));
            if (i == 10)
            {
                await fixture.RestartAsync(); // and nothing is told again
            }
        }

        Assert.Equal(2, fixture.Log.Queue.Recipients);
        string[] told = [.. Enumerable.Range(1, Mails(fixture)).Select(number => Retrieve(fixture, number))];
        Assert.True(told.Length == (isTold ? 1 : 0), string.Join("\n----\n", told)); // one for both
        if (isTold)
        {
            string notice = told[0];
            Assert.Equal(2, notice.Split("\r\nAction: delayed\r\nStatus: 4.2.0\r\n").Length - 1);
            Assert.Equal(2, notice.Split("\r\nWill-Retry-Until: Sun, 8 Jun 2025 08:09:").Length - 1);
        }
    }

    [Fact]
    public async Task Recipients_that_were_parted_meet_again_in_another_order_and_none_is_lost()
    {
        var clock = new HandClock();
        bool isOpen = false;
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isOpen) ? "450 4.2.0 later" : null);
        int[] numbers = [.. Enumerable.Range(0, 8)];
        string routes = string.Join(',', numbers.Select(n => $"d{n}.test=127.0.0.1:{host.Port}"));
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock, $"route.table={routes}", "relay.retry_min=10min");
        Submit(fixture, "", [.. numbers.Select(n => $"r@d{n}.test")]);
        await SettleAsync(fixture, clock);
        foreach (int number in numbers.Reverse()) // each for itself, and each has a time of its own from then on
        {
            QueueActionResult result = await fixture.Server.Queue.ApplyAsync(
                QueueAction.Retry, new QueueSelector { ToDomains = [$"d{number}.test"] }, new QueueActionOptions(), CancellationToken.None);
            Assert.Equal(1, result.Changed);
            await SettleAsync(fixture, clock);
        }

        Volatile.Write(ref isOpen, true);
        await AdvanceAsync(fixture, clock, TimeSpan.FromHours(4)); // all are due
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        Assert.Equal(0, Mails(fixture));
        List<string> arrived = [];
        while (arrived.Count < numbers.Length)
        {
            arrived.AddRange(host.Next().Recipients);
        }

        arrived.Sort(StringComparer.Ordinal);
        Assert.Equal(string.Join(' ', numbers.Select(n => $"r@d{n}.test")), string.Join(' ', arrived));
    }

    [Fact]
    public async Task Another_attempt_does_not_wait_for_an_idle_connection_to_end()
    {
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            TimeProvider.System, [$"route.table=relay.test=127.0.0.1:{host.Port}", "relay.retry_min=1s", "relay.idle_time=5min"]);
        Submit(fixture, "", ["b@relay.test"]);
        await RelayTests.Until(() => Tries(host) >= 2);
        Assert.Equal(1, host.Connections); // which is idle in between
    }

    [Fact]
    public async Task Nobody_hears_of_a_notification_that_is_late_or_goes_nowhere()
    {
        var clock = new HandClock();
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(clock, host, ["relay.from=127.0.0.0/8", .. Slow]);
        Assert.StartsWith("250", RelayTests.Send(fixture, "mx", "", "b@relay.test"), StringComparison.Ordinal);
        for (int i = 0; i < 10 && fixture.Log.Queue.Recipients > 0; i++)
        {
            await AdvanceAsync(fixture, clock, TimeSpan.FromHours(5));
        }

        Assert.Equal(0, fixture.Log.Queue.Recipients); // it has ended, and nothing came of that
        Assert.Equal(0, Mails(fixture));
    }

    [Fact]
    public async Task The_time_that_is_left_is_passed_on_and_so_is_the_trace()
    {
        var clock = new HandClock();
        bool isOpen = false;
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isOpen) ? "450 4.2.0 later" : null,
            "DELIVERBY", "DSN");
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.retry_min=10min", "relay.retry_max=10min");
        Submit(fixture, "BY=7200;RT", ["b@relay.test"]);
        await SettleAsync(fixture, clock);
        Assert.Equal(1, Tries(host));
        Assert.Contains(host.Commands, c => c.Contains(" BY=7200;RT", StringComparison.Ordinal));
        Volatile.Write(ref isOpen, true);
        await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(30));
        host.Next();
        Assert.Contains(host.Commands, c => c.Contains(" BY=5400;RT", StringComparison.Ordinal));
        string traced = RelayTests.Fetch(fixture, "u@local.test"); // although the host reports by itself
        Assert.Contains("Action: relayed", traced, StringComparison.Ordinal);
        Assert.DoesNotContain("does not report", traced, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_must_not_be_late_comes_back_at_its_deadline()
    {
        var clock = new HandClock();
        using ScriptedHost host = Busy("DELIVERBY");
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.retry_min=10min", "relay.retry_max=4h");
        Submit(fixture, "BY=3600;R", ["b@relay.test"]);
        await SettleAsync(fixture, clock);
        Assert.Equal(1, Tries(host));
        await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(59));
        Assert.Equal(1, fixture.Log.Queue.Recipients);
        int tries = Tries(host);
        await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(1.1));
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("Action: failed\r\nStatus: 5.4.7", notice, StringComparison.Ordinal);
        Assert.DoesNotContain("Last-Attempt-Date:", notice, StringComparison.Ordinal); // there was none
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        Assert.Equal(tries, Tries(host)); // what is too late is not even offered
    }

    [Theory]
    [InlineData(9.5, false)]
    [InlineData(9.0, true)]
    public async Task Less_than_a_second_is_too_late_to_be_passed_on(double seconds, bool isOffered)
    {
        var clock = new HandClock();
        using ScriptedHost host = Busy("DELIVERBY");
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "BY=10;R", ["b@relay.test"]);
        await SettleAsync(fixture, clock);
        await AdvanceAsync(fixture, clock, TimeSpan.FromSeconds(seconds));
        Assert.Equal(isOffered ? 2 : 1, Tries(host));
        Assert.Equal(isOffered, host.Commands.Any(c => c.Contains(" BY=1;R", StringComparison.Ordinal)));
        Assert.DoesNotContain(host.Commands, c => c.Contains(" BY=0;R", StringComparison.Ordinal));
        await AdvanceAsync(fixture, clock, TimeSpan.FromSeconds(10));
        Assert.Contains(
            "Action: failed\r\nStatus: 5.4.7", RelayTests.Fetch(fixture, "u@local.test"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("450 4.2.2 full", "5.2.2")]
    [InlineData("450 4.3.0 later", "5.3.0")]
    [InlineData("450 later", "5.4.7")]
    [InlineData("450 4.0.0 later", "5.4.7")]
    public async Task What_is_given_up_fails_for_what_the_host_said(string reply, string status)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? reply : null);
        await using ServerFixture fixture = await StartAsync(
            clock, host, "relay.lifetime=2h", "relay.delay_notice=0s", "relay.retry_min=30min");
        Submit(fixture, "RET=HDRS", ["b@relay.test"]);
        string notice = await AdvanceUntilAsync(fixture, clock, "Action: failed");
        Assert.Contains($"Action: failed\r\nStatus: {status}\r\n", notice, StringComparison.Ordinal);
        Assert.Contains($"\r\nDiagnostic-Code: smtp; {reply}\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nLast-Attempt-Date: Sat, 7 Jun 2025 ", notice, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_must_not_be_late_is_not_said_to_be_tried_for_longer()
    {
        var clock = new HandClock();
        using ScriptedHost host = Busy("DELIVERBY");
        await using ServerFixture fixture = await StartAsync(clock, host, [.. Slow, "relay.retry_max=30min"]);
        Submit(fixture, "BY=7200;R", ["b@relay.test"]);
        string notice = await AdvanceUntilAsync(fixture, clock, "Action: delayed");
        Assert.Contains("\r\nStatus: 4.2.0\r\n", notice, StringComparison.Ordinal); // nothing is over yet
        Assert.Contains("\r\nWill-Retry-Until: Sat, 7 Jun 2025 10:09:10 ", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nDeliver-By-Date: Sat, 7 Jun 2025 10:09:10 ", notice, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(7200, "7 Jun 2025 10:", "4.4.7")]
    [InlineData(-5, "7 Jun 2025 08:", "4.4.7")]
    [InlineData(864000, "7 Jun 2025 ", "4.2.0")] // later than it is given up
    public async Task The_deadline_of_what_may_be_late_is_told_and_no_delay_before_it(int seconds, string time, string status)
    {
        var clock = new HandClock();
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(clock, host, Slow);
        Submit(fixture, $"BY={seconds};N", ["b@relay.test"]);
        await SettleAsync(fixture, clock);
        string notice = await AdvanceUntilAsync(fixture, clock, "Action: delayed");
        Assert.Contains($"Action: delayed\r\nStatus: {status}\r\n", notice, StringComparison.Ordinal);
        Assert.Contains("\r\nDiagnostic-Code: smtp; 450 4.2.0 later\r\n", notice, StringComparison.Ordinal);
        Assert.Contains($"\r\nLast-Attempt-Date: Sat, {time}", notice, StringComparison.Ordinal);
        for (int i = 0; i < 6; i++)
        {
            await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(30));
        }

        Assert.Equal(1, Mails(fixture)); // once
    }

    [Fact]
    public async Task What_may_be_late_goes_on_and_its_sender_is_told()
    {
        var clock = new HandClock();
        bool isOpen = false;
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isOpen) ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(clock, host, "relay.retry_min=10min", "relay.delay_notice=0s");
        Submit(fixture, "BY=3600;N", ["b@relay.test"]);
        await AdvanceUntilAsync(fixture, clock, "Action: delayed");
        Assert.Equal(1, fixture.Log.Queue.Recipients);
        Volatile.Write(ref isOpen, true);
        await AdvanceAsync(fixture, clock, TimeSpan.FromHours(5));
        Assert.Equal("b@relay.test", Assert.Single(host.Next().Recipients));
        Assert.Equal(1, Mails(fixture));
    }

    [Theory]
    [InlineData("", "", "delayed", "4.4.7")]
    [InlineData("", "DSN", "delayed", "4.4.7")]
    [InlineData("", "DELIVERBY", "delayed", "4.4.7")]
    [InlineData(" NOTIFY=DELAY", "DSN", "delayed", "4.4.7")]
    [InlineData(" NOTIFY=FAILURE", "", "relayed", "2.0.0")] // RFC 2852 4.1.4.2
    [InlineData(" NOTIFY=FAILURE", "DELIVERBY", null, "")]
    [InlineData(" NOTIFY=DELAY,SUCCESS", "", "relayed", "2.0.0")]
    [InlineData(" NOTIFY=NEVER", "", null, "")]
    public async Task That_it_was_late_is_told_also_when_the_attempt_over_the_deadline_succeeds(
        string notify, string extension, string? action, string status)
    {
        var clock = new HandClock();
        using var host = new ScriptedHost(
            line =>
            {
                clock.Advance(line == "." ? TimeSpan.FromSeconds(61) : TimeSpan.Zero);
                return null;
            },
            extension);
        await using ServerFixture fixture = await StartAsync(clock, host);
        Submit(fixture, "BY=60;N", ["b@relay.test"], notify);
        host.Next();
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(action is null ? 0 : 1, Mails(fixture));
        if (action is not null)
        {
            string notice = Retrieve(fixture, 1);
            Assert.Contains($"\r\nAction: {action}\r\nStatus: {status}\r\n", notice, StringComparison.Ordinal);
            Assert.DoesNotContain("Will-Retry-Until:", notice, StringComparison.Ordinal);
            Assert.DoesNotContain("is being tried again", notice, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task That_it_was_late_is_told_when_the_first_attempt_after_the_deadline_succeeds()
    {
        var clock = new HandClock();
        bool isOpen = false;
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isOpen) ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(clock, host, Slow);
        Submit(fixture, "BY=7200;N", ["b@relay.test"]);
        await SettleAsync(fixture, clock);
        Assert.Equal(0, Mails(fixture));
        Volatile.Write(ref isOpen, true);
        clock.Advance(TimeSpan.FromHours(2));
        host.Next();
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("\r\nAction: delayed\r\nStatus: 4.4.7\r\n", notice, StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(1, Mails(fixture));
    }

    [Fact]
    public async Task A_host_that_does_not_keep_times_gets_nothing_that_must_not_be_late()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        Submit(fixture, "BY=3600;R", ["b@relay.test"]);
        string notice = RelayTests.Fetch(fixture, "u@local.test");
        Assert.Contains("Action: failed\r\nStatus: 5.3.3", notice, StringComparison.Ordinal);
        Submit(fixture, "BY=3600;N", ["c@relay.test"]);
        Assert.Equal("c@relay.test", Assert.Single(host.Next().Recipients));
        Assert.DoesNotContain(host.Commands, c => c.Contains(" BY=", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("BY=3600;N", "", "", true)]
    [InlineData("BY=3600;N", "", "DSN", true)]
    [InlineData("BY=3600;N", " NOTIFY=FAILURE", "DSN", true)]
    [InlineData("BY=3600;N", " NOTIFY=NEVER", "DSN", false)]
    [InlineData("BY=3600;N", "", "DELIVERBY", false)]
    [InlineData("BY=-1;N", "", "DSN", false)]
    [InlineData("BY=3600;NT", "", "DELIVERBY", true)]
    [InlineData("RET=HDRS", "", "DSN", false)]
    public async Task Who_will_not_hear_of_the_deadline_from_the_next_host_hears_that_it_has_it(
        string parameters, string notify, string extension, bool isTold)
    {
        using var host = new ScriptedHost(null, extension);
        await using ServerFixture fixture = await StartAsync(new HandClock(), host);
        Submit(fixture, parameters, ["b@relay.test", "c@relay.test"], notify);
        Assert.Equal(2, host.Next().Recipients.Count);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(isTold ? 1 : 0, Mails(fixture));
        if (isTold)
        {
            string notice = Retrieve(fixture, 1);
            Assert.Equal(2, notice.Split("\r\nAction: relayed\r\nStatus: 2.0.0\r\n").Length - 1);
            Assert.Equal(extension != "DSN", notice.Contains("does not report deliveries", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("BY=3600;R")]
    [InlineData("BY=3600;RT")]
    [InlineData("BY=3600;N")]
    [InlineData("BY=3600;NT")]
    public async Task What_goes_by_LMTP_is_delivered_and_not_passed_on(string parameters)
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await StartAsync(
            new HandClock(), host, $"route.table=relay.test=lmtp:127.0.0.1:{host.Port}");
        Submit(fixture, parameters, ["b@relay.test"]);
        Assert.Equal("b@relay.test", Assert.Single(host.Next().Recipients));
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(0, Mails(fixture));
    }

    [Fact]
    public async Task A_notification_to_a_sender_elsewhere_passes_a_host_without_8BITMIME()
    {
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT TO:<nobody@", StringComparison.Ordinal) ? "550 5.1.1 no such user" : null);
        using var wide = new ScriptedHost(
            line => line.StartsWith("RCPT TO:<nobody@", StringComparison.Ordinal) ? "550 5.1.1 no such user" : null, "8BITMIME");
        await using ServerFixture fixture = await StartAsync(
            new HandClock(), wide, "relay.from=127.0.0.0/8", $"route.table=relay.test=127.0.0.1:{wide.Port},elsewhere.test=127.0.0.1:{host.Port}");
        Assert.StartsWith(
            "250", RelayTests.Send(fixture, "mx", "a@elsewhere.test", ["nobody@relay.test"], content: "Subject: x\r\n\r\n\u00fc\r\n"),
            StringComparison.Ordinal);
        TakenMail notice = host.Next();
        Assert.Equal("a@elsewhere.test", Assert.Single(notice.Recipients));
        Assert.Contains("Content-Type: text/rfc822-headers", notice.Content, StringComparison.Ordinal);
        Assert.DoesNotContain(notice.Content, c => c > 127);
    }

    private static ScriptedHost Busy(params string[] extensions) => new(
        line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "450 4.2.0 later" : null, extensions);
}
