using System.Net.Sockets;
using System.Text;
using FastMail.Protocol.Smtp;
using FastMail.Tests.Protocol;
using FastMail.Tests.Server;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Server.Relay.Routing;
using Xunit;

namespace FastMail.Tests.HostileInput;

/// <summary>Rows of badinputs.tsv that need a scene of their own.</summary>
public sealed class ScriptedInputTests
{
    [Fact]
    public async Task A_flood_of_commands_whose_replies_nobody_reads_is_closed()
    {
        string row = Row("DATA-never-read").Replace("<NOREAD>", "", StringComparison.Ordinal);
        Assert.True(row.Length > 500_000);
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        using Socket client = fixture.Connect("mx");
        client.SendTimeout = 30_000;
        byte[] octets = Encoding.ASCII.GetBytes("EHLO c.test\r\n" + row);
        try
        {
            for (int at = 0; at < octets.Length; at += 1000)
            {
                client.Send(octets.AsSpan(at, Math.Min(1000, octets.Length - at)));
            }
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown)
        {
            // Cut in the midst of it.
        }

        Assert.True(SpinWait.SpinUntil(() => fixture.Server.Loop.ConnectionCount == 0, TimeSpan.FromSeconds(30)));
        int replies = Talk.ReadToEnd(client).Split("\r\n").Length;
        Assert.InRange(replies, 1, 150);
    }

    [Fact]
    public void AUTH_in_the_clear_where_TLS_is_to_come_is_refused()
    {
        SmtpRig rig = SmtpRig.Create(SmtpRole.Submission, tls: new FakeTlsOffer());
        rig.Feed("EHLO c.test\r\n"u8);
        int before = rig.Sent.Length;
        rig.Feed(Encoding.ASCII.GetBytes(Row("AUTH-clear")));
        Assert.StartsWith("538 5.7.11 ", rig.Sent[before..], StringComparison.Ordinal);
        Assert.Null(rig.Authenticator.Verdict);
    }

    [Fact]
    public void A_mail_exchanger_that_is_an_alias_is_reached_at_its_address()
    {
        using var scene = new RoutingScene(["a.test MX 10 mx.a.test", "mx.a.test CNAME real.test", "real.test A 192.0.2.7"]);
        Assert.Equal(["mx.a.test[192.0.2.7]:25"], scene.Hops(scene.Find("x@a.test")));
    }

    private static string Row(string id) =>
        Encoding.Latin1.GetString(Script.Octets(HostileRow.All.Single(row => row.Id == id).Octets));
}
