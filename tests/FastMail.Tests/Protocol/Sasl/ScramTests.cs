using System.Security.Cryptography;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Sasl;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Sasl;

public sealed class ScramTests
{
    [Fact]
    public void A_verifier_reads_its_own_text_and_nothing_else()
    {
        var text = Rfc7677.Pencil.ToString();
        Assert.StartsWith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$", text, StringComparison.Ordinal);
        Assert.Equal(text, ScramVerifier.Parse(text).ToString());
        Assert.Throws<FormatException>(() => ScramVerifier.Parse(text.Replace("256", "1", StringComparison.Ordinal)));
        Assert.Throws<FormatException>(() => ScramVerifier.Parse(text.Replace("4096", "0", StringComparison.Ordinal)));
        Assert.Throws<FormatException>(() => ScramVerifier.Parse(text[..^8]));
        Assert.Throws<FormatException>(() => ScramVerifier.Parse(""));
    }

    [Theory]
    [InlineData(ChannelBinding.TlsExporter, "tls-exporter")]
    [InlineData(ChannelBinding.TlsServerEndPoint, "tls-server-end-point")]
    public void A_proof_over_the_channels_binding_is_right(ChannelBinding type, string name)
    {
        var exchange = Bound();
        var binding = new byte[FakeBindings.Octets];
        Array.Fill(binding, (byte)(type + 1));
        Assert.Equal(SaslStep.Accepted, Prove(exchange, $"p={name},,", binding));
    }

    [Fact]
    public void A_proof_over_another_channel_is_refused()
    {
        var exchange = Bound();
        Assert.Equal(SaslStep.Challenge, Prove(exchange, "p=tls-exporter,,", new byte[FakeBindings.Octets]));
        Assert.Equal("e=channel-bindings-dont-match", Challenge(exchange));
        Assert.Equal(SaslStep.Rejected, exchange.Take(default));
    }

    [Theory]
    [InlineData(SaslMechanisms.ScramSha256Plus, "p=tls-unique,,n=user,r=x", "e=unsupported-channel-binding-type")]
    [InlineData(SaslMechanisms.ScramSha256Plus, "n,,n=user,r=x", "e=channel-binding-not-supported")]
    [InlineData(SaslMechanisms.ScramSha256, "y,,n=user,r=x", "e=server-does-support-channel-binding")]
    [InlineData(SaslMechanisms.ScramSha256, "p=tls-exporter,,n=user,r=x", "e=channel-binding-not-supported")]
    public void A_client_and_a_server_that_disagree_on_binding_say_so(
        SaslMechanisms mechanism, string message, string error)
    {
        var exchange = Bound();
        Assert.Equal(SaslStep.Challenge, exchange.Begin(mechanism, hasInitial: true, Encode(message)));
        Assert.Equal(error, Challenge(exchange));
        Assert.Equal(SaslStep.Rejected, exchange.Take(default));
    }

    [Fact]
    public void Names_of_any_octets_come_through_their_escapes()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<NonEmptyString>(), name =>
        {
            var octets = Encoding.UTF8.GetBytes(name.Get);
            if (octets.Length > 255 || octets.Contains((byte)0))
            {
                return;
            }
            var escaped = Encoding.UTF8.GetString(octets)
                .Replace("=", "=3D", StringComparison.Ordinal).Replace(",", "=2C", StringComparison.Ordinal);
            var unescaped = new byte[255];
            Assert.True(ScramMessage.TryUnescape(Encoding.UTF8.GetBytes(escaped), unescaped, out var length));
            Assert.Equal(octets, unescaped[..length]);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Any_octets_at_any_step_end_in_a_step_and_never_in_an_exception()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<byte[][]>(), ArbMap.Default.ArbFor<PositiveInt>(), (responses, choice) =>
        {
            var exchange = Bound();
            var mechanism = (SaslMechanisms)(1 << (choice.Get % 6));
            var step = exchange.Begin(mechanism, hasInitial: false, default);
            foreach (var response in responses)
            {
                if (step == SaslStep.Challenge)
                {
                    _ = Challenge(exchange);
                    step = exchange.Take(choice.Get % 2 == 0 ? response : Encode(response));
                }
                else if (step == SaslStep.Waiting)
                {
                    step = exchange.Settle((AuthVerdict)(choice.Get % 3), default);
                }
            }
        }).QuickCheckThrowOnFailure();
    }

    private static SaslExchange Bound() =>
        new(new FakeAuthenticator(), Rfc7677.Nonce) { ChannelBindings = new FakeBindings() };

    /// <summary>Goes through the exchange as a client with the right password would.</summary>
    private static SaslStep Prove(SaslExchange exchange, string header, byte[] binding)
    {
        const string bare = "n=user,r=fyko";
        Assert.Equal(
            SaslStep.Challenge, exchange.Begin(SaslMechanisms.ScramSha256Plus, hasInitial: true, Encode(header + bare)));
        var first = Challenge(exchange);
        var bound = Convert.ToBase64String([.. Encoding.ASCII.GetBytes(header), .. binding]);
        var final = $"c={bound},{first[..first.IndexOf(',', StringComparison.Ordinal)]}";
        var message = Encoding.ASCII.GetBytes($"{bare},{first},{final}");
        var salted = Rfc2898DeriveBytes.Pbkdf2(
            "pencil"u8, Rfc7677.Pencil.Salt, 4096, HashAlgorithmName.SHA256, ScramVerifier.KeyBytes);
        var clientKey = HMACSHA256.HashData(salted, "Client Key"u8);
        var signature = HMACSHA256.HashData(SHA256.HashData(clientKey), message);
        var proof = clientKey.Zip(signature, (k, s) => (byte)(k ^ s)).ToArray();
        var step = exchange.Take(Encode($"{final},p={Convert.ToBase64String(proof)}"));
        if (step != SaslStep.Waiting)
        {
            return step;
        }
        Assert.Equal(SaslStep.Challenge, exchange.Settle(AuthVerdict.Accepted, default));
        var serverKey = HMACSHA256.HashData(salted, "Server Key"u8);
        Assert.Equal("v=" + Convert.ToBase64String(HMACSHA256.HashData(serverKey, message)), Challenge(exchange));
        return exchange.Take(default);
    }

    private static byte[] Encode(string text) => Encode(Encoding.UTF8.GetBytes(text));

    private static byte[] Encode(byte[] octets) => Encoding.ASCII.GetBytes(Convert.ToBase64String(octets));

    private static string Challenge(SaslExchange exchange)
    {
        var buffer = new byte[Limits.LongReplyBytes];
        var writer = new ReplyWriter(buffer);
        exchange.WriteChallenge(ref writer);
        return Encoding.UTF8.GetString(Convert.FromBase64String(Encoding.ASCII.GetString(buffer, 0, writer.Written)));
    }

    /// <summary>Octets that tell the two types apart.</summary>
    private sealed class FakeBindings : IChannelBindings
    {
        public const int Octets = 32;

        public int Write(ChannelBinding type, Span<byte> destination)
        {
            destination[..Octets].Fill((byte)(type + 1));
            return Octets;
        }
    }
}
