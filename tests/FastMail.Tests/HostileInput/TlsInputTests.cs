using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FastMail.Tests.Server;
using Xunit;

namespace FastMail.Tests.HostileInput;

/// <summary>Hellos that no library would send, and certificates that change while sessions live.</summary>
public sealed class TlsInputTests
{
    private const byte Alert = 21;
    private const byte Handshake = 22;

    [Fact]
    public async Task A_client_that_knows_TLS_1_0_only_is_refused()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        foreach (int minor in (int[])[0, 1, 2]) // SSL 3, TLS 1.0, TLS 1.1
        {
            Assert.NotEqual(Handshake, AnswerTo(fixture, Hello("mx.local.test"u8, minor)));
        }

        Assert.Equal(Handshake, AnswerTo(fixture, Hello("mx.local.test"u8, minor: 3)));
        using SslStream alive = await fixture.ConnectTlsAsync("submissions");
    }

    [Fact]
    public async Task A_name_that_is_none_fails_the_handshake_or_is_ignored()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        byte[][] names =
        [
            [(byte)'a', (byte)'\\', 0], [], [0], "."u8.ToArray(), "a..b"u8.ToArray(), "*"u8.ToArray(), [0xFF, 0xFE],
            "../../etc/passwd"u8.ToArray(), Encoding.ASCII.GetBytes(new string('a', 5000)), "\r\n"u8.ToArray(),
        ];
        foreach (byte[] name in names)
        {
            Assert.Contains(AnswerTo(fixture, Hello(name, minor: 3)), (byte?[])[null, Alert, Handshake]);
        }

        using SslStream alive = await fixture.ConnectTlsAsync("submissions");
    }

    [Fact]
    public async Task A_thousand_names_leave_nothing_behind()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        void Flood(int hellos)
        {
            for (int i = 0; i < hellos; i++)
            {
                Assert.Equal(Handshake, AnswerTo(fixture, Hello(Encoding.ASCII.GetBytes($"{Guid.NewGuid()}.test"), minor: 3)));
            }

            Assert.True(SpinWait.SpinUntil(() => fixture.Server.Loop.ConnectionCount == 0, TimeSpan.FromSeconds(30)));
        }

        Flood(100);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        Flood(1000);
        long grown = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.True(grown < 4 << 20, $"{grown} octets are kept of 1,000 handshakes");
    }

    [Fact]
    public async Task Certificates_are_replaced_under_live_sessions()
    {
        string directory = Directory.CreateTempSubdirectory("fastmail-swap-").FullName;
        try
        {
            Make(directory, "first.test");
            await using ServerFixture fixture = await ServerFixture.StartAsync(
                $"tls.cert={directory}/cert.pem", $"tls.key={directory}/key.pem");
            List<SslStream> live = [];
            for (int i = 0; i < 200; i++)
            {
                live.Add(await fixture.ConnectTlsAsync("submissions"));
            }

            Make(directory, "second.test");
            Assert.True(SpinWait.SpinUntil(() => Shown(fixture) == "CN=second.test", TimeSpan.FromSeconds(60)));
            await File.WriteAllTextAsync($"{directory}/cert.pem", "-----BEGIN CERTIFICATE-----\nhalf of");
            Assert.Equal("CN=second.test", Shown(fixture));

            byte[] buffer = new byte[512];
            foreach (SslStream session in live)
            {
                Assert.Equal("CN=first.test", session.RemoteCertificate!.Subject);
                int length = Dialog.Say(session, "NOOP\r\n"u8, "\r\n"u8, buffer);
                Assert.Equal("250 2.0.0 Ok\r\n", Encoding.ASCII.GetString(buffer, 0, length));
                await session.DisposeAsync();
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Shown(ServerFixture fixture)
    {
        using SslStream session = fixture.ConnectTlsAsync("submissions").GetAwaiter().GetResult();
        return session.RemoteCertificate!.Subject;
    }

    private static void Make(string directory, string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=" + name, key, HashAlgorithmName.SHA256);
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddYears(1));
        (string, string)[] files = [("key.pem", key.ExportPkcs8PrivateKeyPem()), ("cert.pem", certificate.ExportCertificatePem())];
        foreach ((string file, string text) in files)
        {
            File.WriteAllText($"{directory}/{file}.new", text);
            File.Move($"{directory}/{file}.new", $"{directory}/{file}", overwrite: true);
        }
    }

    /// <summary>Type of the first record that comes back; null when the server closes without any.</summary>
    private static byte? AnswerTo(ServerFixture fixture, byte[] hello)
    {
        using Socket socket = fixture.Connect("submissions");
        socket.Send(hello);
        byte[] first = new byte[1];
        try
        {
            return socket.Receive(first) == 1 ? first[0] : null;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            return null;
        }
    }

    /// <summary>A ClientHello (RFC 5246 7.4.1.2) that knows one version only.</summary>
    private static byte[] Hello(ReadOnlySpan<byte> serverName, int minor)
    {
        byte[] name = [0, .. Length(serverName.Length), .. serverName];
        byte[] names = [.. Length(name.Length), .. name];
        byte[] extensions =
        [
            0, 0, .. Length(names.Length), .. names,
            0, 10, 0, 6, 0, 4, 0, 29, 0, 23, // groups: X25519, P-256
            0, 11, 0, 2, 1, 0, // points, uncompressed
            .. minor == 3 ? (byte[])[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1] : [], // ECDSA, PSS and RSA with SHA-256
        ];
        byte[] hello =
        [
            3, (byte)minor, .. RandomNumberGenerator.GetBytes(32), 0,
            0, 12, 0xC0, 0x2B, 0xC0, 0x2F, 0xC0, 0x09, 0xC0, 0x13, 0x00, 0x9C, 0x00, 0x2F,
            1, 0, .. Length(extensions.Length), .. extensions,
        ];
        byte[] message = [1, 0, .. Length(hello.Length), .. hello];
        return [Handshake, 3, 1, .. Length(message.Length), .. message];
    }

    private static byte[] Length(int octets) => [(byte)(octets >> 8), (byte)octets];
}
