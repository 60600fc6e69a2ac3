using System.Net.Sockets;
using System.Text;
using FastMail.Protocol.Sasl;
using FastMail.Server.Accounts;
using Xunit;

namespace FastMail.Tests.Server.Pop3;

/// <summary>Clients that prove who they are by SCRAM and then turn away before they take the server's proof.</summary>
public sealed class AbandonedLoginTests
{
    private const int Iterations = 4096;

    private readonly byte[] _buffer = new byte[4096];

    [Theory]
    [InlineData("*", 1)]
    [InlineData("AAAA", 1)]
    [InlineData("A", 20_000)]
    public async Task A_client_that_turns_from_SCRAM_to_PLAIN_holds_no_segment_after_its_end(string answer, int times)
    {
        ServerFixture fixture = await ServerFixture.StartAsync($"auth.hash_iterations={Iterations}");
        await using (fixture)
        {
            await GiveVerifierAsync(fixture);
            Deliver(fixture);
            using Socket pop3 = fixture.Connect("pop3");
            Say(pop3, "");
            Prove(pop3);
            Assert.Contains(fixture.Directory, await File.ReadAllTextAsync("/proc/self/maps"), StringComparison.Ordinal);

            Assert.StartsWith("-ERR", Say(pop3, string.Concat(Enumerable.Repeat(answer, times))), StringComparison.Ordinal);
            string plain = Convert.ToBase64String(Encoding.ASCII.GetBytes("\0u@local.test\0" + ServerFixture.Password));
            Assert.StartsWith("+OK maildrop has 1 ", Say(pop3, $"AUTH PLAIN {plain}"), StringComparison.Ordinal);
            Assert.StartsWith("+OK ", Say(pop3, "QUIT"), StringComparison.Ordinal);
        }

        // A segment is unmapped when the log and the last lease on it have let go.
        Assert.DoesNotContain(fixture.Directory, await File.ReadAllTextAsync("/proc/self/maps"), StringComparison.Ordinal);
    }

    private static async Task GiveVerifierAsync(ServerFixture fixture)
    {
        byte[] password = Encoding.ASCII.GetBytes(ServerFixture.Password);
        using (AccountStore store = AccountStore.Open(fixture.Directory))
        {
            Credentials credentials = Credentials.Create(password, Iterations);
            Assert.True(store.TrySetPassword("u@local.test", credentials.Password, credentials.Scram));
        }

        await fixture.RestartAsync();
    }

    private void Deliver(ServerFixture fixture)
    {
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "");
        foreach (string line in new[] { "HELO c.test", "MAIL FROM:<a@b.test>", "RCPT TO:<u@local.test>", "DATA" })
        {
            Say(smtp, line);
        }

        Assert.StartsWith("250 2.0.0", Say(smtp, "Subject: x\r\n\r\nx\r\n."), StringComparison.Ordinal);
    }

    /// <summary>SCRAM up to the server's proof, which the client has not answered then.</summary>
    private void Prove(Socket pop3)
    {
        var credentials = new ClientCredentials("u@local.test"u8, Encoding.ASCII.GetBytes(ServerFixture.Password));
        var scram = new ScramClient(credentials, SaslExchange.RandomNonce);
        string challenge = Say(pop3, "AUTH SCRAM-SHA-256 " + Convert.ToBase64String(scram.First));
        Assert.True(scram.TryTakeFirst(Convert.FromBase64String(challenge[2..])), challenge);
        scram.Needs()?.Run();
        string proof = Say(pop3, Convert.ToBase64String(scram.Final()));
        Assert.True(scram.IsProven(Convert.FromBase64String(proof[2..])), proof);
    }

    /// <summary>Says a line, or nothing, and hears one.</summary>
    private string Say(Socket socket, string line) => Encoding.ASCII.GetString(
        _buffer,
        0,
        Dialog.Say(socket, Encoding.ASCII.GetBytes(line.Length == 0 ? "" : line + "\r\n"), "\r\n"u8, _buffer)).TrimEnd();
}
