using System.Net.Sockets;
using FastMail.Tests.Server;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.HostileInput;

/// <summary>
/// The classic probes for open relays: 27 ways to write a recipient somewhere else, from 7 kinds of senders, at every
/// door that takes mail from strangers.
/// </summary>
public sealed class OpenRelayTests
{
    private static readonly string[] Senders =
    [
        "x@relay.test", "u@local.test", "x@[127.0.0.1]", "spamtest", "spamtest@localhost", "postmaster@local.test", "",
    ];

    private static readonly string[] Recipients =
    [
        "<x@relay.test>", "<x%relay.test@local.test>", "<x%relay.test@[127.0.0.1]>", "<\"x@relay.test\">",
        "<\"x%relay.test\">", "<x@relay.test@local.test>", "<\"x@relay.test\"@local.test>", "<x@relay.test@[127.0.0.1]>",
        "<\"x@relay.test\"@[127.0.0.1]>", "<@local.test:x@relay.test>", "<@[127.0.0.1]:x@relay.test>",
        "<@local.test,@relay.test:x@relay.test>", "<relay.test!x>", "<relay.test!x@local.test>",
        "<relay.test!x@[127.0.0.1]>", "<relay.test!x%local.test>", "<x%relay.test%local.test@local.test>",
        "x@relay.test", "<x@relay.test;u@local.test>", "<u@local.test,x@relay.test>", "<x@RELAY.TEST>",
        "<x@relay.test.>", "<x@local.test.relay.test>", "<x@local.test relay.test>", "<x@relay.test>u@local.test",
        "<x@[192.0.2.1]>", "<x@localhost>",
    ];

    [Theory]
    [InlineData("mx", "EHLO c.test\r\n")]
    [InlineData("mx", "HELO c.test\r\n")]
    [InlineData("submission", "EHLO c.test\r\n")]
    [InlineData("lmtp", "LHLO c.test\r\n")]
    public async Task None_of_189_probes_gets_a_recipient_elsewhere(string role, string hello)
    {
        Assert.Equal(189, Senders.Length * Recipients.Length);
        await using ServerFixture fixture = await ServerFixture.StartAsync("listen.lmtp=127.0.0.1:0");
        foreach (string sender in Senders)
        {
            foreach (string recipient in Recipients)
            {
                using Socket client = fixture.Connect(role);
                Talk.Send(client, $"{hello}MAIL FROM:<{sender}>\r\nRCPT TO:{recipient}\r\nDATA\r\nQUIT\r\n");
                string[] replies =
                    [.. Talk.ReadToEnd(client).Split("\r\n").Where(line => line.Length > 3 && line[3] == ' ')];
                // Greeting, hello, MAIL, RCPT, DATA, QUIT, unless the session was ended before.
                Assert.InRange(replies.Length, 4, 6);
                Assert.True(replies[3][0] == '5', $"{sender} to {recipient}: {replies[3]}");
                Assert.DoesNotContain(replies, reply => reply.StartsWith("354", StringComparison.Ordinal));
            }
        }
    }
}
