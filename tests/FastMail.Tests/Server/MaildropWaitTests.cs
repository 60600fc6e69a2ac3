using System.Net.Sockets;
using System.Text;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Several sessions want the maildrop of one user.</summary>
public sealed class MaildropWaitTests
{
    private readonly byte[] _buffer = new byte[4096];

    [Fact]
    public async Task A_second_session_gets_the_maildrop_when_the_first_one_quits()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("pop3.lock_wait=60s");
        using Socket first = LogIn(fixture);
        Assert.StartsWith("+OK maildrop", Hear(first), StringComparison.Ordinal);
        using Socket second = LogIn(fixture);
        using Socket third = LogIn(fixture);

        Say(first, "QUIT\r\n");
        Assert.StartsWith("+OK maildrop", Hear(second), StringComparison.Ordinal);
        second.Dispose(); // gone without a word: its lock goes on
        Assert.StartsWith("+OK maildrop", Hear(third), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_session_that_waits_in_vain_hears_IN_USE_and_frees_nothing()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("pop3.lock_wait=100ms");
        using Socket first = LogIn(fixture);
        Hear(first);
        for (int i = 0; i < 2; i++)
        {
            using Socket loser = LogIn(fixture);
            Assert.StartsWith("-ERR [IN-USE]", Hear(loser), StringComparison.Ordinal);
            Say(loser, "QUIT\r\n");
            Hear(loser);
        }

        using Socket stranger = LogIn(fixture, "v@local.test");
        Assert.StartsWith("+OK maildrop", Hear(stranger), StringComparison.Ordinal);
        Say(first, "STAT\r\n");
        Assert.StartsWith("+OK 0 0", Hear(first), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_holder_that_says_nothing_for_too_long_loses_the_maildrop_and_deletes_nothing()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "pop3.lock_wait=60s", "limits.pop3_idle_timeout=1s");
        Deliver(fixture, "Subject: x\r\n\r\nx\r\n");
        using Socket first = LogIn(fixture);
        Hear(first);
        Say(first, "DELE 1\r\n");
        Hear(first);
        using Socket second = LogIn(fixture);
        Assert.StartsWith("+OK maildrop has 1 ", Hear(second), StringComparison.Ordinal);
        Assert.Equal(0, first.Receive(_buffer)); // without a word: RFC 1939 3
    }

    [Fact]
    public async Task A_holder_that_takes_nothing_of_what_it_asked_for_loses_the_maildrop()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "pop3.lock_wait=60s", "limits.exempt=", "limits.data_rate=1000000", "limits.data_grace=1s");
        Deliver(fixture, string.Concat(Enumerable.Repeat(new string('x', 78) + "\r\n", 100_000)));
        using Socket first = LogIn(fixture);
        Hear(first);
        Say(first, string.Concat(Enumerable.Repeat("RETR 1\r\n", 3))); // far more than sockets hold
        using Socket second = LogIn(fixture);
        Assert.StartsWith("+OK maildrop has 1 ", Hear(second), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_holder_whose_host_is_reset_loses_the_maildrop_at_once()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("pop3.lock_wait=60s");
        using Socket first = LogIn(fixture);
        Hear(first);
        using Socket second = LogIn(fixture);
        first.LingerState = new LingerOption(enable: true, seconds: 0);
        first.Dispose();
        Assert.StartsWith("+OK maildrop", Hear(second), StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_more_sessions_of_a_user_wait_than_the_limit_says()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "pop3.lock_wait=60s", "pop3.sessions_per_user=1");
        using Socket first = LogIn(fixture);
        Hear(first);
        using Socket second = LogIn(fixture);
        Assert.StartsWith("-ERR [IN-USE]", Hear(second), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_login_too_soon_after_the_last_one_is_told_so()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("pop3.login_delay=1h");
        using Socket first = LogIn(fixture);
        Hear(first);
        Say(first, "CAPA\r\n");
        Assert.Contains("\r\nLOGIN-DELAY 3600\r\n", Hear(first), StringComparison.Ordinal);
        Say(first, "QUIT\r\n");
        Hear(first);
        using Socket second = LogIn(fixture);
        Assert.StartsWith("-ERR [LOGIN-DELAY]", Hear(second), StringComparison.Ordinal);
        using Socket other = LogIn(fixture, "v@local.test");
        Assert.StartsWith("+OK", Hear(other), StringComparison.Ordinal);
    }

    private void Deliver(ServerFixture fixture, string content)
    {
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n");
        while (!Hear(smtp).EndsWith("<CR><LF>\r\n", StringComparison.Ordinal))
        {
        }

        Say(smtp, content + ".\r\n");
        Assert.StartsWith("250 2.0.0", Hear(smtp), StringComparison.Ordinal);
    }

    private Socket LogIn(ServerFixture fixture, string user = "u@local.test")
    {
        Socket socket = fixture.Connect("pop3");
        Hear(socket);
        Say(socket, $"USER {user}\r\n");
        Hear(socket);
        Say(socket, $"PASS {ServerFixture.Password}\r\n");
        return socket;
    }

    private static void Say(Socket socket, string text) => socket.Send(Encoding.ASCII.GetBytes(text));

    private string Hear(Socket socket) =>
        Encoding.ASCII.GetString(_buffer, 0, Dialog.Say(socket, default, "\r\n"u8, _buffer));
}
