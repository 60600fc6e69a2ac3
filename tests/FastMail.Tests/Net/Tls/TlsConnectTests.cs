using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.Net;
using Xunit;
using OutgoingHandshakes = FastMail.Net.TlsClient;

namespace FastMail.Tests.Net.Tls;

/// <summary>TLS of connections that the loop begins, against a listener of the same loop or a server of the test's own.</summary>
public sealed class TlsConnectTests : IDisposable
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(20);

    private readonly OutgoingHandshakes _client = new(workers: 1, TimeSpan.FromSeconds(10));
    private readonly TlsServer _server = TestCertificates.Server();

    public void Dispose()
    {
        _client.Dispose();
        _server.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_caller_speaks_over_TLS(bool isImplicit)
    {
        using LoopFixture fixture = new(tls: new ListenerTls(_server, isImplicit));
        Caller caller = Call(fixture, fixture.Listener.LocalEndPoint, new OutgoingTls(_client, "test.example", isImplicit));
        Assert.Equal("opened", caller.Heard());
        if (!isImplicit)
        {
            Assert.Equal("hello", caller.Heard());
            caller.Say("ask secure");
            Assert.Equal("go ahead", caller.Heard());
            caller.Say("secure");
        }

        Assert.Equal("secured", caller.Heard());
        Assert.Equal("hello", caller.Heard());
        for (int i = 0; i < 100; i++)
        {
            caller.Say($"line {i}");
            Assert.Equal($"line {i}", caller.Heard());
        }

        Assert.Equal(SslProtocols.Tls13, caller.Tls!.Protocol);
        Assert.Null(caller.Tls.Certificate);
        caller.Say("close");
        Assert.Equal("ByHandler", caller.Ended());
        ConnectTests.AssertAllIsReturned(fixture);
        Assert.Equal((1L, 0L, 0), (_client.Completed, _client.Failed, _client.Handshakes));
    }

    [Theory]
    [InlineData("test.example", true, true)]
    [InlineData("other.example", true, false)]
    [InlineData("test.example", false, true)]
    public void What_the_host_has_shown_is_told(string name, bool isTrusted, bool isNameRight)
    {
        using X509Certificate2 authority = MakeAuthority();
        using X509Certificate2 leaf = MakeLeaf(authority, "test.example");
        using LoopFixture fixture = new();
        using TlsHost host = new(leaf, authority, SslProtocols.Tls12);
        IReadOnlyList<ReadOnlyMemory<byte>>? vouched = null;
        OutgoingTls tls = new(_client, name, isImplicit: true)
        {
            TrustAnchors = isTrusted ? [authority] : null,
            Vouch = shown =>
            {
                vouched = shown;
                return true;
            },
        };
        Caller caller = Call(fixture, host.EndPoint, tls);
        Assert.Equal("opened", caller.Heard());
        Assert.Equal("secured", caller.Heard());
        TlsPeer peer = caller.Tls!.Peer!;
        Assert.Equal((isTrusted, isNameRight, true), (peer.IsChainTrusted, peer.IsNameRight, peer.IsVouchedFor));
        Assert.Equal(leaf.RawData, peer.Certificates[0].ToArray());
        Assert.Same(vouched, peer.Certificates);
        Assert.Equal(SslProtocols.Tls12, caller.Tls.Protocol);
    }

    [Fact]
    public void A_client_certificate_is_shown_to_a_host_that_asks()
    {
        using X509Certificate2 authority = MakeAuthority();
        using X509Certificate2 leaf = MakeLeaf(authority, "test.example");
        using X509Certificate2 own = MakeLeaf(authority, "relay.example");
        using LoopFixture fixture = new();
        using TlsHost host = new(leaf, authority, SslProtocols.Tls13, asksClient: true);
        OutgoingTls tls = new(_client, "test.example", isImplicit: true)
        {
            ClientCertificate = SslStreamCertificateContext.Create(own, additionalCertificates: null, offline: true),
        };
        Caller caller = Call(fixture, host.EndPoint, tls);
        Assert.Equal("opened", caller.Heard());
        Assert.Equal("secured", caller.Heard());
        Assert.Equal("CN=relay.example", caller.Heard());
    }

    [Theory]
    [InlineData("250 injected\r\n")]
    [InlineData("\x15\x03\x01\x00\x02\x02\x28")] // an alert: handshake failure
    public void A_host_that_answers_with_anything_else_is_told_as_a_failed_handshake(string answer)
    {
        using LoopFixture fixture = new();
        using Socket door = ConnectTests.Door();
        Caller caller = Call(fixture, door.LocalEndPoint!, new OutgoingTls(_client, "test.example", isImplicit: true));
        using Socket peer = door.Accept();
        Assert.Equal("opened", caller.Heard());
        peer.Send(System.Text.Encoding.Latin1.GetBytes(answer));
        Assert.Equal("TlsFailed", caller.Ended());
        Assert.False(string.IsNullOrEmpty(caller.TlsFault));
        peer.Dispose();
        ConnectTests.AssertAllIsReturned(fixture);
        Assert.Equal((0L, 1L, 0), (_client.Completed, _client.Failed, _client.Handshakes));
        Assert.Empty(fixture.Failures);
    }

    [Fact]
    public void A_host_that_ends_in_the_midst_of_the_handshake_is_told_the_same()
    {
        using LoopFixture fixture = new();
        using Socket door = ConnectTests.Door();
        Caller caller = Call(fixture, door.LocalEndPoint!, new OutgoingTls(_client, "test.example", isImplicit: true));
        using (Socket peer = door.Accept())
        {
            Assert.Equal("opened", caller.Heard());
            Assert.NotEqual(0, peer.Receive(new byte[4096])); // a hello
        }

        Assert.Equal("TlsFailed", caller.Ended());
        ConnectTests.AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_handshake_has_a_deadline()
    {
        using OutgoingHandshakes hasty = new(workers: 1, TimeSpan.FromMilliseconds(300));
        using LoopFixture fixture = new();
        using Socket door = ConnectTests.Door();
        Caller caller = Call(fixture, door.LocalEndPoint!, new OutgoingTls(hasty, "test.example", isImplicit: true));
        using Socket peer = door.Accept();
        Assert.Equal("opened", caller.Heard());
        Assert.Equal("TimedOut", caller.Ended());
        Assert.Equal(1L, fixture.OnLoop(() => hasty.Failed));
    }

    [Fact]
    public void Octets_ahead_of_the_handshake_are_thrown_away()
    {
        using LoopFixture fixture = new();
        using Socket door = ConnectTests.Door();
        Caller caller = Call(fixture, door.LocalEndPoint!, new OutgoingTls(_client, "test.example", isImplicit: false));
        using Socket peer = door.Accept();
        peer.Send("220 ready\r\n250 half a li"u8); // an attacker's, behind what the caller reads
        Assert.Equal("opened", caller.Heard());
        Assert.Equal("220 ready", caller.Heard());
        caller.Say("secure");
        Assert.NotEqual(0, peer.Receive(new byte[4096]));
        peer.Send("250 injected\r\n"u8);
        Assert.Equal("TlsFailed", caller.Ended());
    }

    [Fact]
    public void TLS_without_any_to_be_had_is_a_mistake_of_the_caller()
    {
        using LoopFixture fixture = new();
        Caller caller = Call(fixture, fixture.Listener.LocalEndPoint, tls: null);
        caller.Heard();
        caller.Heard();
        caller.Say("secure");
        Assert.Equal("ByHandler", caller.Ended());
        Assert.True(SpinWait.SpinUntil(() => !fixture.Failures.IsEmpty, LoopFixture.Patience));
    }

    private static Caller Call(LoopFixture fixture, System.Net.EndPoint target, OutgoingTls? tls)
    {
        Caller caller = new();
        fixture.OnLoop(() => fixture.Loop.Connect(new ConnectTarget(target, Long) { Tls = tls }, caller));
        return caller;
    }

    private static X509Certificate2 MakeAuthority()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=authority", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
    }

    private static X509Certificate2 MakeLeaf(X509Certificate2 authority, string name)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=" + name, key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        using X509Certificate2 bare = request.Create(
            authority, DateTimeOffset.UnixEpoch.AddYears(1), DateTimeOffset.UnixEpoch.AddYears(190), [1, 2, 3]);
        return bare.CopyWithPrivateKey(key);
    }

    /// <summary>A server of the base library that says the name of its client, if it has one, and listens on.</summary>
    private sealed class TlsHost : IDisposable
    {
        private readonly Socket _door = ConnectTests.Door();
        private readonly Thread _thread;
        private Socket? _peer;

        public TlsHost(X509Certificate2 leaf, X509Certificate2 authority, SslProtocols protocol, bool asksClient = false)
        {
            _thread = new Thread(() => Serve(leaf, authority, protocol, asksClient)) { IsBackground = true };
            _thread.Start();
        }

        public System.Net.EndPoint EndPoint => _door.LocalEndPoint!;

        public void Dispose()
        {
            _door.Dispose();
            _peer?.Dispose();
            _thread.Join();
        }

        private void Serve(X509Certificate2 leaf, X509Certificate2 authority, SslProtocols protocol, bool asksClient)
        {
            _peer = _door.Accept();
            using SslStream stream = new(new NetworkStream(_peer));
            stream.AuthenticateAsServer(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = SslStreamCertificateContext.Create(leaf, [authority], offline: true),
                EnabledSslProtocols = protocol,
                ClientCertificateRequired = asksClient,
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null || !asksClient,
            });
            if (asksClient)
            {
                stream.Write(System.Text.Encoding.ASCII.GetBytes(stream.RemoteCertificate!.Subject + "\r\n"));
            }

            try
            {
                _ = stream.ReadByte();
            }
            catch (IOException)
            {
                // The test has ended and cut the connection.
            }
        }
    }
}
