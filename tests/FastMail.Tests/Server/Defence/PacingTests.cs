using System.Net.Sockets;
using System.Text;
using Xunit;

namespace FastMail.Tests.Server.Defence;

/// <summary>Slow, silent and rude clients of the whole server. Its times are short here; none is measured.</summary>
public sealed class PacingTests
{
    private const string Envelope = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n";

    [Fact]
    public async Task A_command_that_comes_octet_by_octet_has_no_more_time_than_any_other()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("limits.command_timeout=1s");
        using Socket client = fixture.Connect("mx");
        Talk.ReadLine(client);
        Talk.Send(client, "NOOP ");
        await Talk.DripAsync(client);
        Assert.Equal("421 4.4.2 Timeout, closing connection\r\n", Talk.ReadToEnd(client));
    }

    [Fact]
    public async Task A_POP3_login_that_comes_octet_by_octet_is_closed_without_a_word()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("limits.pop3_login_timeout=1s");
        using Socket client = fixture.Connect("pop3");
        Talk.ReadLine(client);
        await Talk.DripAsync(client);
        Assert.Equal("", Talk.ReadToEnd(client));
    }

    [Theory]
    [InlineData("DATA\r\n")]
    [InlineData("BDAT 100000 LAST\r\n")]
    public async Task Content_that_comes_too_slowly_is_not_waited_for(string command)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.exempt=", "limits.data_rate=100000", "limits.data_grace=1s");
        using Socket client = fixture.Connect("mx");
        Talk.Send(client, Envelope + command);
        while (!Talk.ReadLine(client).StartsWith(command[0] == 'D' ? "354" : "250 2.1.5", StringComparison.Ordinal))
        {
        }

        await Talk.DripAsync(client);
        Assert.Equal("421 4.4.2 Timeout, closing connection\r\n", Talk.ReadToEnd(client));
    }

    [Fact]
    public async Task An_exempt_client_may_send_content_as_slowly_as_it_likes()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.data_rate=100000", "limits.data_grace=0");
        using Socket client = fixture.Connect("mx");
        Talk.Send(client, Envelope + "DATA\r\n");
        while (!Talk.ReadLine(client).StartsWith("354", StringComparison.Ordinal))
        {
        }

        for (int i = 0; i < 20; i++)
        {
            Talk.Send(client, "x");
            await Task.Delay(20);
        }

        Talk.Send(client, "\r\n.\r\n");
        Assert.StartsWith("250 2.0.0", Talk.ReadLine(client), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_asks_for_a_message_and_does_not_read_it_is_closed()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.exempt=", "limits.data_rate=1000000", "limits.data_grace=1s");
        using (Socket sender = fixture.Connect("mx"))
        {
            Talk.Send(sender, Envelope + "DATA\r\n");
            string line = string.Concat(Enumerable.Repeat(new string('x', 78) + "\r\n", 1000));
            for (int i = 0; i < 100; i++)
            {
                Talk.Send(sender, line);
            }

            Talk.Send(sender, ".\r\nQUIT\r\n");
            Assert.Contains("\r\n250 2.0.0", Talk.ReadToEnd(sender), StringComparison.Ordinal);
        }

        using Socket reader = fixture.Connect("pop3");
        Talk.Send(reader, "USER u@local.test\r\nPASS secret\r\n" + string.Concat(Enumerable.Repeat("RETR 1\r\n", 20)));
        await Talk.UntilAsync(() => fixture.Server.Loop.ConnectionCount == 1);
        await Talk.UntilAsync(() => fixture.Server.Loop.ConnectionCount == 0);
    }

    [Fact]
    public async Task A_client_that_speaks_before_the_greeting_is_refused_and_one_that_waits_is_greeted()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("limits.exempt=", "limits.greet_delay=1s");
        using Socket polite = fixture.Connect("mx");
        using Socket rude = fixture.Connect("mx");
        Talk.Send(rude, "EHLO spam.test\r\n");
        Assert.Equal("554 5.5.1 Wait for the greeting, closing connection\r\n", Talk.ReadToEnd(rude));
        Assert.StartsWith("220", Talk.ReadLine(polite), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_leaves_during_its_pause_leaves_nothing_behind()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.exempt=", "limits.tarpit=1s", "limits.connections_per_address=1");
        for (int i = 0; i < 3; i++)
        {
            using (Socket client = fixture.Connect("mx"))
            {
                Talk.ReadLine(client);
                Talk.Send(client, "FOO\r\nFOO\r\n");
                Assert.StartsWith("500", Talk.ReadLine(client), StringComparison.Ordinal);
            }

            await Talk.UntilAsync(() => fixture.Server.Loop.ConnectionCount == 0);
        }
    }

    [Fact]
    public async Task A_mistake_of_ours_ends_one_session_with_a_word_and_no_other()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        using Socket other = fixture.Connect("mx");
        using Socket unlucky = fixture.Connect("mx");
        using Socket reader = fixture.Connect("pop3");
        Talk.ReadLine(other);
        Talk.ReadLine(unlucky);
        Talk.ReadLine(reader);
        Talk.Send(unlucky, Envelope);
        fixture.Server.Policy.Fault = received =>
        {
            if (received.IndexOf("BOOM"u8) >= 0)
            {
                throw new InvalidOperationException("a fault of the test");
            }
        };
        Talk.Send(unlucky, "BOOM\r\n");
        Assert.EndsWith("421 4.3.0 Internal error, closing connection\r\n", Talk.ReadToEnd(unlucky), StringComparison.Ordinal);
        Talk.Send(reader, "BOOM\r\n");
        Assert.StartsWith("-ERR [SYS/TEMP] internal error", Talk.ReadToEnd(reader), StringComparison.Ordinal);
        Talk.Send(other, "NOOP\r\n");
        Assert.StartsWith("250", Talk.ReadLine(other), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Under_stress_a_transaction_under_way_ends_and_no_other_begins()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.connections=10", "limits.stress_command_timeout=1h");
        using Socket busy = fixture.Connect("mx");
        Talk.Send(busy, Envelope + "DATA\r\n");
        while (!Talk.ReadLine(busy).StartsWith("354", StringComparison.Ordinal))
        {
        }

        List<Socket> crowd = [.. Enumerable.Range(0, 8).Select(_ => fixture.Connect("mx"))];
        crowd.ForEach(socket => Talk.ReadLine(socket));
        Talk.Send(crowd[0], "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
        Assert.EndsWith("421 4.3.2 Overloaded, try again later\r\n", Talk.ReadToEnd(crowd[0]), StringComparison.Ordinal);
        Talk.Send(busy, "x\r\n.\r\n");
        Assert.StartsWith("250 2.0.0", Talk.ReadLine(busy), StringComparison.Ordinal);

        crowd.ForEach(socket => socket.Dispose());
        await Talk.UntilAsync(() => fixture.Server.Loop.ConnectionCount == 1);
        Talk.Send(busy, "MAIL FROM:<a@b.test>\r\n");
        Assert.StartsWith("250 2.1.0", Talk.ReadLine(busy), StringComparison.Ordinal);
    }

    [Fact]
    public async Task When_stress_begins_those_who_dawdle_already_are_hurried_too()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.connections=10", "limits.stress_command_timeout=1s");
        List<Socket> crowd = [.. Enumerable.Range(0, 8).Select(_ => fixture.Connect("mx"))];
        foreach (Socket socket in crowd)
        {
            Assert.EndsWith("421 4.4.2 Timeout, closing connection\r\n", Talk.ReadToEnd(socket), StringComparison.Ordinal);
            socket.Dispose();
        }
    }
}
