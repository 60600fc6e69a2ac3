using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Pop3;
using FastMail.LoadTest.Smtp;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Whole runs over TLS from the first octet. STARTTLS and STLS are tried against the server itself.</summary>
public sealed class TlsRunTests : IDisposable
{
    private const int Messages = 60;

    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
    private readonly X509Certificate2 _certificate = MakeCertificate();

    public void Dispose()
    {
        File.Delete(_path);
        _certificate.Dispose();
    }

    [Theory]
    [InlineData("None", 0)]
    [InlineData("Full", 7)]
    public void What_is_sent_over_TLS_is_collected_over_TLS_unchanged(string pipelining, int perConnection)
    {
        using var server = new FakeMailServer { Certificate = _certificate };
        using (var ledger = new LedgerWriter(_path))
        {
            using var run = new SmtpRun(
                PlanFor(server, Trusting(_certificate)) with
                {
                    Pipelining = Enum.Parse<Pipelining>(pipelining),
                    MessagesPerConnection = perConnection,
                }, ledger, 0, TextWriter.Null);
            run.Run();
            Assert.Equal(string.Empty, string.Join('\n', run.Tally.FirstErrors));
            Assert.True(SmtpReport.IsAllAcknowledged(run));
            Assert.Equal(run.Tally.ConnectionsOpened, run.Tally.Tls.Handshakes);
        }

        var plan = new Pop3Plan
        {
            Target = Target(server.Pop3Port),
            Users = ["u0@x"],
            Password = "secret",
            Tls = Trusting(_certificate),
            Depth = 4,
            Timeout = TimeSpan.FromSeconds(30),
            IsQuiet = true,
        };
        using var verified = new Pop3Run(plan, new LedgerAudit(Ledger.Read(_path), plan.Users), TextWriter.Null);
        verified.Run();
        Assert.Equal(string.Empty, string.Join('\n', verified.FirstErrors.Concat(verified.Audit!.Findings)));
        Assert.Equal(Messages, verified.Audit!.AckedAndStored);
        Assert.Equal(1, verified.Tally.Tls.Handshakes);
    }

    [Fact]
    public void Handshakes_of_the_warm_up_are_not_counted()
    {
        using var server = new FakeMailServer { Certificate = _certificate };
        SmtpRun run = Send(PlanFor(server, Trusting(_certificate)) with
        {
            WarmUp = TimeSpan.FromMilliseconds(500),
            MessagesPerConnection = 1,
        });
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
        // A connection may be opened in the warm-up and secured after it, and one more when it has just ended.
        Assert.InRange(run.Tally.Tls.Handshakes, Messages, Messages + (2 * run.Plan.Connections));
        Assert.Equal(run.Tally.Tls.Handshakes, run.Tally.Tls.Latency.Count);
    }

    [Fact]
    public void A_certificate_that_nobody_vouches_for_is_not_taken_unless_any_will_do()
    {
        using var server = new FakeMailServer { Certificate = _certificate };
        using X509Certificate2 other = MakeCertificate();
        SmtpRun run = Send(PlanFor(server, Trusting(other)));
        Assert.False(SmtpReport.IsAllAcknowledged(run));
        Assert.Contains("--tls-ca", run.Tally.FirstErrors[0], StringComparison.Ordinal);
        run = Send(PlanFor(server, new TlsPlan(TlsStart.Implicit, "other.test", null, isInsecure: true, mayResume: true)));
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
    }

    [Fact]
    public void A_server_that_speaks_in_the_clear_is_told()
    {
        using var server = new FakeMailServer();
        SmtpRun run = Send(PlanFor(server, Trusting(_certificate)) with { Connections = 1 });
        Assert.Equal(1, run.Tally.Faults);
        Assert.StartsWith("connection lost (Handshake): TLS: ", run.Tally.FirstErrors[0], StringComparison.Ordinal);
    }

    private static SmtpRun Send(SmtpPlan plan)
    {
        using var run = new SmtpRun(plan, ledger: null, 0, TextWriter.Null);
        run.Run(); // its counts outlive it
        return run;
    }

    private static SmtpPlan PlanFor(FakeMailServer server, TlsPlan tls) => new()
    {
        Target = Target(server.SmtpPort),
        Tls = tls,
        Connections = 3,
        Messages = Messages,
        Size = new OctetRange(0, 60_000),
        Recipients = new MailboxPattern("u0@x", 1, 1),
        From = "a@b",
        Seed = 5,
        GiveUp = TimeSpan.FromSeconds(30),
        IsQuiet = true,
    };

    private static TlsPlan Trusting(X509Certificate2 certificate) =>
        new(TlsStart.Implicit, "localhost", [certificate], isInsecure: false, mayResume: true);

    private static TargetAddress Target(int port)
    {
        Assert.True(TargetAddress.TryParse($"127.0.0.1:{port}", out TargetAddress? target, out _));
        return target!;
    }

    private static X509Certificate2 MakeCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        return request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
    }
}
