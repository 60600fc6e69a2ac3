using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace FastMail.Tests.Server.Relay.Sts;

/// <summary>
/// An authority and an HTTPS server on 127.0.0.1 with a certificate from it, which answers every request alike. Its own
/// task serves; everything else is for any thread.
/// </summary>
internal sealed class PolicyHost : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly X509Certificate2 _certificate;
    private readonly ECDsa _authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public PolicyHost(params string[] names)
    {
        var request = new CertificateRequest("CN=authority", _authorityKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        Authority = request.CreateSelfSigned(Now.AddDays(-1), Now.AddDays(1));
        _certificate = Issue(names);
        _listener.Start();
        _ = ServeAsync();
    }

    public X509Certificate2 Authority { get; }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>The whole response from the status line on.</summary>
    public string Response { get; set; } = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

    /// <summary>Until then it accepts connections and says nothing.</summary>
    public Task MayAnswer { get; set; } = Task.CompletedTask;

    /// <summary>Requests seen.</summary>
    public int Requests { get; private set; }

    public string Policy
    {
        set => Response = $"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {value.Length}\r\n\r\n{value}";
    }

    private static DateTimeOffset Now => TimeProvider.System.GetUtcNow();

    /// <summary>A certificate for names, from the authority, with its key.</summary>
    public X509Certificate2 Issue(params string[] names)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={names[0]}", key, HashAlgorithmName.SHA256);
        var alternatives = new SubjectAlternativeNameBuilder();
        Array.ForEach(names, alternatives.AddDnsName);
        request.CertificateExtensions.Add(alternatives.Build());
        X509Certificate2 issued = request.Create(
            Authority, Now.AddHours(-1), Now.AddHours(1), RandomNumberGenerator.GetBytes(8));
        return X509CertificateLoader.LoadPkcs12(issued.CopyWithPrivateKey(key).Export(X509ContentType.Pkcs12), null);
    }

    public void Dispose()
    {
        _listener.Dispose();
        _authorityKey.Dispose();
    }

    private async Task ServeAsync()
    {
        while (true)
        {
            try
            {
                using TcpClient client = await _listener.AcceptTcpClientAsync();
                await MayAnswer;
                await using var tls = new SslStream(client.GetStream());
                await tls.AuthenticateAsServerAsync(_certificate);
                byte[] buffer = new byte[4096];
                if (await tls.ReadAsync(buffer) == 0)
                {
                    continue; // it did not like the certificate, and has not asked for anything
                }

                Requests++;
                await tls.WriteAsync(Encoding.ASCII.GetBytes(Response));
                await tls.ShutdownAsync();
            }
            catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
            {
                // A client that does not like the certificate.
            }
            catch (Exception e) when (e is ObjectDisposedException or SocketException)
            {
                return; // disposed: the test is over
            }
        }
    }
}
