using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.Server.Tls;
using Microsoft.Extensions.Logging;
using Xunit;

namespace FastMail.Tests.Server.Tls;

/// <summary>Certificates from their files: by name, with their chain, replaced, and near their end.</summary>
public sealed class CertificateSetTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 6, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-tls-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("", 0)]
    [InlineData("one.test", 0)]
    [InlineData("MAIL.two.test", 1)]
    [InlineData("two.test", 0)]
    [InlineData("deep.mail.two.test", 0)]
    [InlineData("exact.two.test", 2)]
    [InlineData("*.two.test", 1)]
    [InlineData(".two.test", 0)]
    [InlineData("three.test", 2)]
    public void A_name_finds_its_certificate_a_wildcard_covers_one_label_and_the_first_serves_the_rest(string name, int index)
    {
        LoadedCertificate[] loaded =
        [
            LoadedCertificate.Load(Make("a", Now.AddYears(1), "one.test")),
            LoadedCertificate.Load(Make("b", Now.AddYears(1), "*.two.test", "one.test")),
            LoadedCertificate.Load(Make("c", Now.AddYears(1), "exact.two.test", "three.test")),
        ];
        Assert.Same(loaded[index].Service, new CertificateSet([.. loaded]).Select(name));
    }

    [Fact]
    public void The_end_point_binding_is_the_hash_of_the_certificate()
    {
        CertificateFiles files = Make("a", Now.AddYears(1), "one.test");
        using X509Certificate2 certificate = X509Certificate2.CreateFromPem(File.ReadAllText(files.Certificate));
        Assert.Equal(SHA256.HashData(certificate.RawData), LoadedCertificate.Load(files).Service.EndPointHash.ToArray());
    }

    [Theory]
    [InlineData(400, null)]
    [InlineData(13, LogLevel.Warning)]
    [InlineData(-1, LogLevel.Error)]
    public void A_certificate_near_its_end_is_told(int days, LogLevel? told)
    {
        var log = new ListLogger();
        using var certificates = new Certificates([Make("a", Now.AddDays(days), "one.test")], new FixedClock(Now), log);
        Assert.Equal(told is null ? [] : [told.Value], log.Levels);
    }

    [Fact]
    public void Files_that_cannot_be_used_change_nothing_and_whole_ones_are_taken_over()
    {
        CertificateFiles files = Make("a", Now.AddYears(1), "one.test");
        var log = new ListLogger();
        using var certificates = new Certificates([files], new FixedClock(Now), log);
        FastMail.Net.TlsCertificate first = certificates.Select("one.test");
        CertificateFiles other = Make("b", Now.AddYears(1), "one.test");

        File.Copy(other.Certificate, files.Certificate, overwrite: true); // its key is still to come
        Assert.False(certificates.Reload());
        Assert.Same(first, certificates.Select("one.test"));
        Assert.Equal([LogLevel.Error], log.Levels);

        File.Copy(other.PrivateKey, files.PrivateKey, overwrite: true);
        Assert.True(certificates.Reload());
        Assert.NotSame(first, certificates.Select("one.test"));
    }

    [Fact]
    public void A_self_signed_certificate_is_made_once_and_names_this_host()
    {
        Assert.True(SelfSigned.Ensure(_directory, "mx.test", Now, out CertificateFiles files));
        Assert.False(SelfSigned.Ensure(_directory, "mx.test", Now, out CertificateFiles again));
        Assert.Equal(files, again);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(files.PrivateKey));
        Assert.Equal(["mx.test", "localhost"], LoadedCertificate.Load(files).Names);
        Assert.Equal([SelfSigned.FileName], Directory.GetFiles(_directory).Select(Path.GetFileName), StringComparer.Ordinal);
    }

    private CertificateFiles Make(string file, DateTimeOffset notAfter, params string[] names)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=" + file, key, HashAlgorithmName.SHA256);
        var alternatives = new SubjectAlternativeNameBuilder();
        foreach (string name in names)
        {
            alternatives.AddDnsName(name);
        }

        request.CertificateExtensions.Add(alternatives.Build());
        using X509Certificate2 certificate = request.CreateSelfSigned(Now.AddYears(-1), notAfter);
        var files = new CertificateFiles(Path.Join(_directory, file + ".pem"), Path.Join(_directory, file + ".key"));
        File.WriteAllText(files.Certificate, certificate.ExportCertificatePem());
        File.WriteAllText(files.PrivateKey, key.ExportPkcs8PrivateKeyPem());
        return files;
    }

    private sealed class FixedClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            base.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan); // tests call Reload
    }

    private sealed class ListLogger : ILogger
    {
        private readonly List<LogLevel> _levels = [];

        public IEnumerable<LogLevel> Levels => _levels.Where(l => l > LogLevel.Information);

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            _levels.Add(logLevel);
    }
}
