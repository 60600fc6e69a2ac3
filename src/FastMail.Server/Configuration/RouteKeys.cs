using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Tls;

namespace FastMail.Server.Configuration;

/// <summary>Where mail for others is sent, and how much TLS it must have on the way.</summary>
internal static class RouteKeys
{
    private const int LongestPassword = 255; // octets, RFC 4616 2

    private const string TargetUnit = "NEXTHOP [tls=LEVEL] [source=ADDR] [user=NAME] [password_file=FILE] [name=NAME] [private]";

    public static readonly Key<IReadOnlyList<RouteLine>> Table = new(
        "route.table", "", $"PATTERN={TargetUnit}, ...",
        "Ways for mail of an address, a domain, .domain or *; a next hop is host[:port], mx[:port], smtp[s]://[user@]host[:port], "
        + "lmtp:host:port, lmtp:unix:PATH or refuse.",
        text => [.. Values.List(text).Select(RouteLine.Parse)]);

    public static readonly Key<IReadOnlyList<RouteTarget>> Smarthost = new(
        "relay.smarthost", "", TargetUnit, "Takes all mail for others that no route sends elsewhere; empty to go by MX.",
        text => text.Trim().Length == 0 ? [] : [RouteTarget.Parse(text)]);

    public static readonly Key<string> SmarthostPasswordFile = new(
        "relay.smarthost_password_file", "", "FILE", "Its first line is the password of the smarthost's user; read at the start.",
        text => text);

    public static readonly Key<TlsLevel> Tls = new(
        "relay.tls", "may", "none, may, encrypt, verify",
        "What a next hop must have: none of it, TLS where offered, TLS, or TLS with a certificate for its name.",
        RouteTarget.LevelOf);

    public static readonly Key<bool> Dane = new(
        "relay.dane", "on", "on, off", "TLSA records of mail exchangers bind (RFC 7672); only with dns.trust_ad.", Values.Switch);

    public static readonly Key<bool> Sts = new(
        "relay.mta_sts", "on", "on, off", "Policies of domains about TLS bind (RFC 8461).", Values.Switch);

    public static readonly Key<IReadOnlyList<IPAddress>> Sources = new(
        "relay.source", "", "ADDR, ...", "Connect from here; one address of a family. Empty: the system chooses.",
        text => Values.List(text).Select(Address).ToArray() is var addresses
            && addresses.DistinctBy(a => a.AddressFamily).Count() == addresses.Length
                ? addresses
                : throw new FormatException("there may be one IPv4 and one IPv6 address."));

    public static readonly Key<IReadOnlyList<AddressFamily>> Families = new(
        "relay.ip", "both", "both, ipv4, ipv6", "Addresses of next hops that are looked up.", text => text switch
        {
            "both" => [AddressFamily.InterNetworkV6, AddressFamily.InterNetwork],
            "ipv4" => [AddressFamily.InterNetwork],
            "ipv6" => [AddressFamily.InterNetworkV6],
            _ => throw new FormatException($"'{text}' is none of both, ipv4, ipv6."),
        });

    public static readonly Key<string> TrustAnchors = new(
        "relay.tls_ca", "", "FILE", "Authorities whose certificates are believed, PEM; empty for those of this machine.",
        text => text);

    public static readonly Key<string> Certificate = new(
        "relay.tls_cert", "", "FILE", "Certificate with its chain, PEM, for next hops that ask who we are; empty for none.",
        text => text);

    public static readonly Key<string> PrivateKey = new(
        "relay.tls_key", "", "FILE", "Its private key, PEM; empty when it is in the same file.", text => text);

    public static IEnumerable<Key> All =>
    [
        Table, Smarthost, SmarthostPasswordFile, Tls, Dane, Sts, Sources, Families, TrustAnchors, Certificate, PrivateKey,
    ];

    /// <exception cref="SettingException">Keys do not fit together, or a file they name cannot be used.</exception>
    public static RoutingRules Rules(Settings settings)
    {
        RouteTarget? smarthost = settings.Get(Smarthost) is [RouteTarget target] ? target : null;
        string passwordFile = settings.Get(SmarthostPasswordFile);
        if (passwordFile.Length > 0)
        {
            smarthost = smarthost is { User: not null }
                ? smarthost with { PasswordFile = smarthost.PasswordFile ?? passwordFile }
                : throw new SettingException("relay.smarthost_password_file: relay.smarthost names no user, e.g. smtp://me@host");
        }

        foreach (RouteTarget each in settings.Get(Table).Select(line => line.Target).Append(smarthost).OfType<RouteTarget>())
        {
            if (each is { User: not null, PasswordFile: null })
            {
                throw new SettingException($"'{each.Text}': the user {each.User} needs a password, say password_file=FILE"
                    + (ReferenceEquals(each, smarthost) ? " or relay.smarthost_password_file" : ""));
            }
        }

        return new RoutingRules
        {
            Table = new RouteTable(settings.Get(Table)),
            Smarthost = smarthost,
            Tls = settings.Get(Tls),
            UsesDane = settings.Get(Dane),
            UsesSts = settings.Get(Sts),
            Sources = settings.Get(Sources),
            Families = settings.Get(Families),
            TrustAnchors = AnchorsIn(settings.Get(TrustAnchors)),
            ClientCertificate = CertificateOf(settings.Get(Certificate), settings.Get(PrivateKey)),
            ReadPassword = PasswordIn,
        };
    }

    /// <summary>
    /// The rules with what stands in files read once more: passwords, certificates. Everything else is as it was.
    /// </summary>
    /// <exception cref="SettingException">A file cannot be used.</exception>
    public static RoutingRules Reread(RoutingRules rules, Settings settings)
    {
        var passwords = rules.Table.Lines.Select(line => line.Target).Append(rules.Smarthost)
            .Select(target => target?.PasswordFile).OfType<string>().Distinct(StringComparer.Ordinal)
            .ToDictionary(file => file, PasswordIn, StringComparer.Ordinal);
        return rules with
        {
            TrustAnchors = AnchorsIn(settings.Get(TrustAnchors)),
            ClientCertificate = CertificateOf(settings.Get(Certificate), settings.Get(PrivateKey)),
            ReadPassword = file => passwords[file],
        };
    }

    private static IPAddress Address(string text) =>
        IPAddress.TryParse(text, out IPAddress? address) && address.ToString() == text
            ? address
            : throw new FormatException($"'{text}' is not an IP address.");

    private static X509Certificate2Collection? AnchorsIn(string file)
    {
        if (file.Length == 0)
        {
            return null;
        }

        try
        {
            var anchors = new X509Certificate2Collection();
            anchors.ImportFromPemFile(file);
            return anchors.Count > 0 ? anchors : throw new SettingException($"relay.tls_ca: there is no certificate in {file}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new SettingException($"relay.tls_ca: {e.Message}", e);
        }
    }

    private static SslStreamCertificateContext? CertificateOf(string certificate, string key)
    {
        if (certificate.Length == 0)
        {
            return key.Length == 0 ? null : throw new SettingException("relay.tls_key: relay.tls_cert is missing");
        }

        try
        {
            return LoadedCertificate.Load(new CertificateFiles(certificate, key.Length > 0 ? key : certificate)).Context;
        }
        catch (CertificateException e)
        {
            throw new SettingException($"relay.tls_cert: {e.Message}", e);
        }
    }

    private static string PasswordIn(string file)
    {
        try
        {
            string password = File.ReadLines(file).FirstOrDefault("");
            int octets = Encoding.UTF8.GetByteCount(password);
            return octets is > 0 and <= LongestPassword && !password.Contains('\0', StringComparison.Ordinal)
                ? password
                : throw new SettingException(
                    $"password_file: the first line of {file} is no password of 1 to {LongestPassword} octets");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SettingException($"password_file: {e.Message}", e);
        }
    }
}
