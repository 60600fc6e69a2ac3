using System.CommandLine;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.LoadTest.Kernel;

namespace FastMail.LoadTest.Cli;

/// <summary>The options that secure connections, for every verb that opens some. Used by the main thread.</summary>
internal sealed class TlsOptions
{
    private readonly Option<string> _tls = new("--tls")
    {
        Description = "none; starttls: as the server offers it (STARTTLS, STLS); implicit: from the first octet.",
        DefaultValueFactory = _ => "none",
    };

    private readonly Option<string?> _authorities = new("--tls-ca")
    {
        Description = "Trust only certificates that those in this PEM file vouch for [default: whom the system trusts].",
        HelpName = "FILE",
    };

    private readonly Option<bool> _insecure = new("--tls-insecure")
    {
        Description = "Take any certificate, whoever's it is.",
    };

    private readonly Option<string?> _name = new("--tls-name")
    {
        Description = "Name the certificate must bear, also told to the server [default: the host of --target; localhost "
            + "for an address]. Sessions are resumed by it.",
        HelpName = "HOST",
    };

    private readonly Option<bool> _noResume = new("--tls-no-resume")
    {
        Description = "Shake hands in full for every connection instead of taking up the session of an earlier one.",
    };

    internal TlsOptions() => _ = _tls.AcceptOnlyFromAmong("none", "starttls", "implicit");

    internal Option[] All => [_tls, _authorities, _insecure, _name, _noResume];

    internal IEnumerable<string> ContradictionsIn(ParseResult line)
    {
        bool isNone = line.GetValue(_tls) == "none";
        string? path = line.GetValue(_authorities);
        if (isNone && (path is not null || line.GetValue(_insecure) || line.GetValue(_name) is not null
            || line.GetValue(_noResume)))
        {
            yield return "--tls-ca, --tls-insecure, --tls-name and --tls-no-resume need --tls starttls or --tls implicit";
        }

        if (path is not null && line.GetValue(_insecure))
        {
            yield return "--tls-ca and --tls-insecure exclude each other";
        }

        if (path is not null && Read(path) is null)
        {
            yield return $"--tls-ca: {path} is no readable PEM file with a certificate";
        }
    }

    /// <summary>Null for none.</summary>
    internal TlsPlan? PlanOf(ParseResult line, TargetAddress target)
    {
        if (line.GetValue(_tls) == "none")
        {
            return null;
        }

        string name = line.GetValue(_name) ?? (IPAddress.TryParse(target.Host, out _) ? "localhost" : target.Host);
        return new TlsPlan(
            line.GetValue(_tls) == "implicit" ? TlsStart.Implicit : TlsStart.StartTls,
            name,
            line.GetValue(_authorities) is { } path ? Read(path) : null,
            line.GetValue(_insecure),
            mayResume: !line.GetValue(_noResume));
    }

    private static X509Certificate2Collection? Read(string path)
    {
        try
        {
            var found = new X509Certificate2Collection();
            found.ImportFromPemFile(path);
            return found.Count > 0 ? found : null;
        }
        catch (Exception unreadable) when (unreadable is IOException or UnauthorizedAccessException
            or CryptographicException)
        {
            return null;
        }
    }
}
