using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using FastMail.Server.Configuration;
using FastMail.Server.Defence;
using FastMail.Server.Dns;
using FastMail.Tests.Protocol.Dns;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Dns;

/// <summary>
/// DNS blocklists before the whole server. Clients have any address because they come through a proxy.
/// </summary>
public sealed class BlocklistTests
{
    private const string Listed = "554 5.7.1 Client host is listed by bl.test\r\n";
    private const string Accepted = "250 2.1.5 Recipient ok\r\n";
    private const string Name4 = "9.2.0.192.bl.test";
    private const string Name6 = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test";

    [Theory]
    [InlineData(Name4, "TCP4 192.0.2.9 192.0.2.1", Listed)]
    [InlineData(Name4, "TCP6 ::ffff:192.0.2.9 2001:db8::1", Listed)]
    [InlineData(Name4, "TCP4 192.0.2.10 192.0.2.1", Accepted)]
    [InlineData(Name6, "TCP6 2001:db8::9 2001:db8::1", Listed)]
    [InlineData(Name6, "TCP6 2001:db8::a 2001:db8::1", Accepted)]
    public async Task A_listed_client_is_refused_at_RCPT_and_no_other(string name, string client, string reply)
    {
        using NameServer dns = new(NameServer.Only(name, 127, 0, 0, 2));
        await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal(reply, Rcpt(smtp, client));
    }

    [Theory]
    [InlineData("bl.test", new byte[] { 127, 0, 1, 255 }, Listed)]
    [InlineData("bl.test", new byte[] { 192, 0, 2, 1 }, Accepted)] // of a domain that was sold
    [InlineData("bl.test", new byte[] { 127, 255, 255, 254 }, Accepted)] // "you may not ask"
    [InlineData("bl.test=127.0.0.3", new byte[] { 127, 0, 0, 2 }, Accepted)]
    [InlineData("bl.test=127.0.0.2, bl.test=127.0.0.3", new byte[] { 127, 0, 0, 3 }, Listed)]
    [InlineData("other.test, bl.test", new byte[] { 127, 0, 0, 2 }, Listed)]
    public async Task Only_answers_that_mean_a_listing_count(string zones, byte[] address, string reply)
    {
        using NameServer dns = new(NameServer.Only(Name4, address));
        await using ServerFixture fixture = await StartAsync(dns, $"dnsbl.zones={zones}");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal(reply, Rcpt(smtp, "TCP4 192.0.2.9 192.0.2.1"));
    }

    [Fact]
    public async Task The_answer_is_remembered_and_questions_alike_are_asked_once()
    {
        using SemaphoreSlim mayAnswer = new(0);
        using NameServer dns = new((name, id) =>
        {
            mayAnswer.Wait();
            return [NameServer.Found(name, id, 127, 0, 0, 2)];
        });
        await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test", "dnsbl.timeout=60s");
        using Socket first = fixture.Connect("mx");
        using Socket second = fixture.Connect("mx");
        foreach (Socket smtp in (Socket[])[first, second])
        {
            Talk.Send(smtp, "PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\nEHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
            Assert.StartsWith("250 2.1.0", LineWith(smtp, "2.1.0"), StringComparison.Ordinal); // the dialog goes on
            Talk.Send(smtp, "RCPT TO:<u@local.test>\r\n");
        }

        mayAnswer.Release(10);
        Assert.Equal(Listed, Talk.ReadLine(first));
        Assert.Equal(Listed, Talk.ReadLine(second));
        using Socket third = fixture.Connect("mx");
        Assert.Equal(Listed, Rcpt(third, "TCP4 192.0.2.9 192.0.2.1"));
        Assert.Single(dns.Asked);
    }

    [Fact]
    public async Task Exempt_clients_are_not_looked_up()
    {
        using NameServer dns = new((name, id) => [NameServer.Found(name, id, 127, 0, 0, 2)]);
        await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test", "limits.exempt=192.0.2.0/24");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal(Accepted, Rcpt(smtp, "TCP4 192.0.2.9 192.0.2.1"));
        Assert.Empty(dns.Asked);
    }

    [Fact]
    public async Task The_client_that_XCLIENT_names_is_looked_up_and_its_go_between_is_not()
    {
        using NameServer dns = new(NameServer.Only(Name4, 127, 0, 0, 2));
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "xclient.peers=127.0.0.1", "limits.exempt=127.0.0.0/8", $"dnsbl.servers={dns.EndPoint}", "dnsbl.zones=bl.test");
        using Socket smtp = fixture.Connect("mx");
        const string Envelope = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n";
        foreach ((string client, string reply) in (ValueTuple<string, string>[])
            [("", Accepted), ("192.0.2.9", Listed), ("192.0.2.10", Accepted), ("IPV6:::ffff:192.0.2.9", Listed)])
        {
            Talk.Send(smtp, "RSET\r\n" + (client.Length == 0 ? "" : $"XCLIENT ADDR={client}\r\n") + Envelope);
            LineWith(smtp, "2.1.0");
            Assert.Equal(reply, Talk.ReadLine(smtp));
        }

        Assert.Equal($"{Name4} 10.2.0.192.bl.test", string.Join(" ", dns.Asked.Select(question => question.Name)));
    }

    [Theory]
    [InlineData("submission")]
    [InlineData("submissions")]
    public async Task A_listed_client_that_authenticates_sends_without_anybody_being_asked(string role)
    {
        using NameServer dns = new((name, id) => [NameServer.Found(name, id, 127, 0, 0, 2)]);
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            $"proxy.listeners={role}", "proxy.peers=127.0.0.1", "limits.exempt=", $"dnsbl.servers={dns.EndPoint}",
            "dnsbl.zones=bl.test");
        using Socket socket = fixture.Connect(role);
        Talk.Send(socket, "PROXY TCP4 192.0.2.9 192.0.2.1 1 587\r\n");
        if (role == "submission")
        {
            Talk.Send(socket, "EHLO c.test\r\nSTARTTLS\r\n");
            LineWith(socket, "220 2.0.0");
        }

        using SslStream tls = new(new NetworkStream(socket));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "mx.local.test",
            RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null, // self-signed
        });
        string plain = Convert.ToBase64String(Encoding.ASCII.GetBytes($"\0u@local.test\0{ServerFixture.Password}"));
        byte[] buffer = new byte[4096];
        string Say(string sent, string end) => Encoding.ASCII.GetString(
            buffer, 0, Dialog.Say(tls, Encoding.ASCII.GetBytes(sent), Encoding.ASCII.GetBytes(end), buffer));
        Say("EHLO c.test\r\n", "ENHANCEDSTATUSCODES\r\n");
        Assert.StartsWith("235", Say($"AUTH PLAIN {plain}\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("250", Say("MAIL FROM:<u@local.test>\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.Equal(Accepted, Say("RCPT TO:<v@local.test>\r\n", "\r\n"));
        Assert.StartsWith("354", Say("DATA\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("250", Say(".\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.Empty(dns.Asked);
    }

    [Fact]
    public async Task Without_an_answer_the_client_counts_as_not_listed()
    {
        using NameServer silent = new((_, _) => []);
        using NameServer failing = new((name, id) => [NameServer.Failed(name, id, 2)]);
        foreach (NameServer dns in (NameServer[])[silent, failing])
        {
            await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test", "dnsbl.timeout=400ms");
            using Socket smtp = fixture.Connect("mx");
            Assert.Equal(Accepted, Rcpt(smtp, "TCP4 192.0.2.9 192.0.2.1"));
        }

        Assert.Equal(2, silent.Asked.Count); // each attempt with a port of its own
        Assert.Equal(2, silent.Asked.Select(question => question.Port).Distinct().Count());
        Assert.Single(failing.Asked);
    }

    [Fact]
    public async Task A_dead_server_is_passed_over()
    {
        using var dead = new NameServer((_, _) => []);
        string nobody = dead.EndPoint;
        dead.Dispose();
        using NameServer dns = new(NameServer.Only(Name4, 127, 0, 0, 2));
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "proxy.listeners=mx", "proxy.peers=127.0.0.1", "limits.exempt=", "dnsbl.zones=bl.test",
            "dnsbl.timeout=60s", $"dnsbl.servers={nobody}, {dns.EndPoint}");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal(Listed, Rcpt(smtp, "TCP4 192.0.2.9 192.0.2.1"));
    }

    [Fact]
    public async Task Forged_and_broken_datagrams_in_front_of_the_answer_change_nothing()
    {
        using NameServer dns = new((name, id) =>
        [
            [],
            [1, 2, 3],
            NameServer.Failed(name, (ushort)(id + 1), 3), // another id
            NameServer.Failed("1." + name, id, 3), // another question
            new Responses(id).Add(0xc0, 0x0c).Octets, // a name that points to itself
            [.. NameServer.Failed(name, id, 3), .. new byte[1300]], // longer than any honest answer
            new byte[60_000],
            NameServer.Found(name, id, 127, 0, 0, 2),
        ]);
        await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test", "dnsbl.timeout=60s");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal(Listed, Rcpt(smtp, "TCP4 192.0.2.9 192.0.2.1"));
    }

    [Fact]
    public async Task A_flood_of_datagrams_that_are_no_answer_ends_the_attempt()
    {
        using NameServer dns = new((_, _) => Enumerable.Repeat(new byte[] { 1 }, 100));
        await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test", "dnsbl.timeout=60s");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal(Accepted, Rcpt(smtp, "TCP4 192.0.2.9 192.0.2.1"));
    }

    [Fact]
    public async Task A_client_that_goes_before_the_answer_leaves_nothing_behind()
    {
        using SemaphoreSlim mayAnswer = new(0);
        using NameServer dns = new((name, id) =>
        {
            mayAnswer.Wait();
            return [NameServer.Found(name, id, 127, 0, 0, 2)];
        });
        await using ServerFixture fixture = await StartAsync(dns, "dnsbl.zones=bl.test", "dnsbl.timeout=60s");
        using (Socket smtp = fixture.Connect("mx"))
        {
            Talk.Send(smtp, "PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\n");
            LineWith(smtp, "220");
        }

        await Talk.UntilAsync(() => fixture.Server.Loop.ConnectionCount == 0);
        using Socket other = fixture.Connect("mx"); // served by the handler that was just given back
        Talk.Send(other, "PROXY TCP4 192.0.2.10 192.0.2.1 1 25\r\nEHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
        LineWith(other, "2.1.0");
        mayAnswer.Release(10);
        Talk.Send(other, "RCPT TO:<u@local.test>\r\n");
        Assert.Equal(Listed, Talk.ReadLine(other));
    }

    [Theory]
    [InlineData("dnsbl.zones", "bl..test")]
    [InlineData("dnsbl.zones", "bl.test=128.0.0.1")]
    [InlineData("dnsbl.zones", "bl.test=yes")]
    [InlineData("dnsbl.servers", "dns.test")]
    [InlineData("dnsbl.timeout", "0")]
    public void What_cannot_be_a_blocklist_is_refused_by_its_key(string key, string value)
    {
        var e = Assert.Throws<SettingException>(() => Settings.Load(null, [new Assignment(key, value, "test")]));
        Assert.Contains(key, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_servers_of_the_host_are_read_from_its_file()
    {
        string file = Path.GetTempFileName();
        File.WriteAllText(file, "# x\nsearch a.test\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 \nnameserver nonsense\n");
        Assert.Equal(
            [IPEndPoint.Parse("192.0.2.1:53"), IPEndPoint.Parse("[2001:db8::1]:53")], ResolverFile.Servers(file));
        File.Delete(file);
        Assert.Equal([IPEndPoint.Parse("127.0.0.1:53")], ResolverFile.Servers(file));
    }

    private static Task<ServerFixture> StartAsync(NameServer dns, params string[] more) => ServerFixture.StartAsync(
    [
        "proxy.listeners=mx", "proxy.peers=127.0.0.1", "limits.exempt=", $"dnsbl.servers={dns.EndPoint}", .. more,
    ]);

    /// <summary>The reply to the first RCPT, everything sent at once.</summary>
    private static string Rcpt(Socket smtp, string client)
    {
        Talk.Send(smtp, $"PROXY {client} 1 25\r\nEHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n");
        LineWith(smtp, "2.1.0");
        return Talk.ReadLine(smtp);
    }

    private static string LineWith(Socket smtp, string text)
    {
        string line;
        do
        {
            line = Talk.ReadLine(smtp);
            Assert.NotEmpty(line);
        }
        while (!line.Contains(text, StringComparison.Ordinal));
        return line;
    }
}
