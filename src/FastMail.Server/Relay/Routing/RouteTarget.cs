using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Server.Cli;

namespace FastMail.Server.Relay.Routing;

/// <summary>How a route finds its next hop.</summary>
internal enum RouteVia
{
    /// <summary>The mail exchangers of the recipient's domain.</summary>
    Mx,

    /// <summary>A host that is named, or an address.</summary>
    Host,

    /// <summary>A unix socket.</summary>
    Unix,

    /// <summary>Mail that way is refused.</summary>
    Refuse,
}

/// <summary>Where a line of the route table sends mail, as it was written. Immutable.</summary>
internal sealed record RouteTarget
{
    private const int LongestUserOctets = 255; // RFC 4616 2

    private const int SmtpPort = 25;
    private const int SubmissionPort = 587;
    private const int SmtpsPort = 465;
    private const int LmtpPort = 24; // "any private mail system": LMTP has none of its own, and must not have 25

    /// <summary>Mail of a domain goes to its mail exchangers: what holds when nothing is said.</summary>
    public static RouteTarget ByMx { get; } = new() { Via = RouteVia.Mx, Port = SmtpPort, Text = "" };

    public required RouteVia Via { get; init; }

    /// <summary>
    /// What was written, with its port and without the name of a password file: tells destinations apart.
    /// </summary>
    public required string Text { get; init; }

    /// <summary>Name or address; empty unless <see cref="RouteVia.Host"/>.</summary>
    public string Host { get; init; } = "";

    /// <summary>Null when <see cref="Host"/> is a name that is looked up.</summary>
    public IPAddress? Address { get; init; }

    public int Port { get; init; }

    public UnixDomainSocketEndPoint? Socket { get; init; }

    public bool IsLmtp { get; init; }

    /// <summary>TLS from the first octet.</summary>
    public bool IsImplicitTls { get; init; }

    /// <summary>Who we are there; null for nobody.</summary>
    public string? User { get; init; }

    public string? PasswordFile { get; init; }

    /// <summary>Null when the line does not say.</summary>
    public TlsLevel? Tls { get; init; }

    /// <summary>The name in the certificate, where it is another than the host's.</summary>
    public string? CertificateName { get; init; }

    /// <summary>Address of ours to connect from.</summary>
    public IPAddress? Source { get; init; }

    /// <summary>DNS may lead to addresses that nobody else could mean: loopback, private networks.</summary>
    public bool AllowsPrivate { get; init; }

    /// <summary>
    /// <c>NEXTHOP [tls=none|may|encrypt|verify] [source=ADDR] [user=NAME] [password_file=FILE] [name=NAME] [private]</c>,
    /// where NEXTHOP is <c>host[:port]</c>, <c>[address]:port</c>, <c>mx[:port]</c>, <c>smtp[s]://[user@]host[:port]</c>,
    /// <c>lmtp:host:port</c>, <c>lmtp:unix:path</c> or <c>refuse</c>.
    /// </summary>
    /// <exception cref="FormatException">With a text for the user.</exception>
    public static RouteTarget Parse(string text)
    {
        string[] words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0)
        {
            throw new FormatException("a next hop is missing, e.g. 127.0.0.1:2525 or mx.");
        }

        RouteTarget target = NextHopOf(words[0]);
        foreach (string word in words[1..])
        {
            int equals = word.IndexOf('=', StringComparison.Ordinal);
            target = target.With(equals < 0 ? word : word[..equals], equals < 0 ? "" : word[(equals + 1)..], word);
        }

        IEnumerable<string> kept = words[1..].Where(word => !word.StartsWith("password_file=", StringComparison.Ordinal));
        return (target with { Text = string.Join(' ', kept.Prepend(target.Text)) }).Checked();
    }

    /// <summary>What mail of a domain is grouped by when it goes this way.</summary>
    public string DestinationOf(string domain)
    {
        if (Via != RouteVia.Mx)
        {
            return Text;
        }

        string port = Port == SmtpPort ? "" : $":{Port}";
        string tls = Tls is { } level ? $" tls={level.ToString().ToLowerInvariant()}" : "";
        string source = Source is null ? "" : $" source={Source}";
        return domain + port + tls + source;
    }

    private RouteTarget With(string name, string value, string word) => name switch
    {
        "tls" => this with { Tls = LevelOf(value) },
        "source" => this with
        {
            Source = IPAddress.TryParse(value, out IPAddress? address) && address.ToString() == value
                ? address
                : throw new FormatException($"'{value}' is not an IP address to connect from."),
        },
        "user" when value.Length > 0 => this with { User = value },
        "password_file" when value.Length > 0 => this with { PasswordFile = value },
        "name" => this with { CertificateName = Arguments.Hostname(value).ToLowerInvariant() },
        "private" when word == name => this with { AllowsPrivate = true },
        _ => throw new FormatException(
            $"'{word}' is none of tls=LEVEL, source=ADDR, user=NAME, password_file=FILE, name=NAME, private."),
    };

    /// <summary>The level of a setting or option; DANE is not demanded but found.</summary>
    public static TlsLevel LevelOf(string text) => text switch
    {
        "none" => TlsLevel.None,
        "may" => TlsLevel.May,
        "encrypt" => TlsLevel.Encrypt,
        "verify" => TlsLevel.Verify,
        _ => throw new FormatException($"'{text}' is none of none, may, encrypt, verify."),
    };

    private RouteTarget Checked()
    {
        if (User is { Length: > 63 } && Encoding.UTF8.GetByteCount(User) > LongestUserOctets)
        {
            throw new FormatException($"a user has at most {LongestUserOctets} octets.");
        }

        if (Via == RouteVia.Mx && User is not null)
        {
            throw new FormatException("a user needs one host to log in at, not mx.");
        }

        if (User is not null && Tls == TlsLevel.May)
        {
            throw new FormatException(
                "with a user, tls=may would send the password to whoever hides STARTTLS; say tls=verify, encrypt or none.");
        }

        if (IsImplicitTls && Tls is (TlsLevel.None or TlsLevel.May))
        {
            throw new FormatException("smtps begins with TLS; say tls=encrypt or verify.");
        }

        return User is null && PasswordFile is not null
            ? throw new FormatException("password_file needs a user.")
            : this;
    }

    private static RouteTarget NextHopOf(string word)
    {
        if (word == "refuse")
        {
            return new RouteTarget { Via = RouteVia.Refuse, Text = word };
        }

        if (word == "mx" || word.StartsWith("mx:", StringComparison.Ordinal))
        {
            int port = word == "mx" ? SmtpPort : PortOf(word[3..], word);
            return new RouteTarget { Via = RouteVia.Mx, Port = port, Text = word };
        }

        if (word.StartsWith("lmtp:", StringComparison.Ordinal))
        {
            return LmtpOf(word["lmtp:".Length..]);
        }

        if (word.StartsWith("smtps://", StringComparison.Ordinal))
        {
            RouteTarget target = HostOf(word["smtps://".Length..], SmtpsPort, SmtpsPort);
            return target with { IsImplicitTls = true, Text = "smtps://" + target.Text };
        }

        return word.StartsWith("smtp://", StringComparison.Ordinal)
            ? HostOf(word["smtp://".Length..], SmtpPort, SubmissionPort)
            : HostOf(word, SmtpPort, SmtpPort);
    }

    private static RouteTarget LmtpOf(string text)
    {
        if (text.StartsWith("unix:", StringComparison.Ordinal))
        {
            var socket = (UnixDomainSocketEndPoint)Arguments.EndPointsOrPaths([text])[0];
            return new RouteTarget { Via = RouteVia.Unix, Socket = socket, IsLmtp = true, Text = "lmtp:" + text };
        }

        RouteTarget target = HostOf(text, LmtpPort, LmtpPort);
        return target with { IsLmtp = true, Text = "lmtp:" + target.Text };
    }

    /// <summary><c>[user@]host[:port]</c>; a host in brackets is an address or a name.</summary>
    private static RouteTarget HostOf(string text, int port, int portWithUser)
    {
        int at = text.LastIndexOf('@');
        string? user = at < 0 ? null : Uri.UnescapeDataString(text[..at]);
        string rest = text[(at + 1)..].TrimEnd('/');
        if (user is "" || user?.Contains(':', StringComparison.Ordinal) == true)
        {
            throw new FormatException($"'{text}': a password does not belong here but into a file (password_file=FILE).");
        }

        (string host, string? portText) = Split(rest);
        port = portText is null ? (user is null ? port : portWithUser) : PortOf(portText, text);
        IPAddress? address = AddressOf(host);
        string name = address?.ToString() ?? Arguments.Hostname(host).ToLowerInvariant();
        string end = address is null ? $"{name}:{port}" : new IPEndPoint(address, port).ToString();
        return new RouteTarget
        {
            Via = RouteVia.Host,
            Host = name,
            Address = address,
            Port = port,
            User = user,
            Text = user is null ? end : $"{user}@{end}",
        };
    }

    private static (string Host, string? Port) Split(string text)
    {
        if (text.StartsWith('['))
        {
            int end = text.IndexOf(']', StringComparison.Ordinal);
            string behind = end < 0 ? "?" : text[(end + 1)..];
            return behind.Length == 0 ? (text[1..end], null)
                : behind.StartsWith(':') ? (text[1..end], behind[1..])
                : throw new FormatException($"'{text}' is not [address]:port.");
        }

        int colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon < 0 ? (text, null)
            : text.IndexOf(':', colon + 1) < 0 ? (text[..colon], text[(colon + 1)..])
            : throw new FormatException($"'{text}': an IPv6 address stands in brackets, e.g. [2001:db8::1]:25.");
    }

    /// <summary>Null for a name. 127.1 and 0177.0.0.1 are slips, and no names either: their last label is a number.</summary>
    private static IPAddress? AddressOf(string host)
    {
        string bare = host.StartsWith("IPv6:", StringComparison.OrdinalIgnoreCase) ? host[5..] : host;
        if (IPAddress.TryParse(bare, out IPAddress? address)
            && (address.AddressFamily == AddressFamily.InterNetworkV6 || address.ToString() == bare))
        {
            return address;
        }

        return bare.Split('.')[^1].All(char.IsAsciiDigit)
            ? throw new FormatException($"'{host}' is neither an IP address nor a host name.")
            : null;
    }

    private static int PortOf(string text, string whole) =>
        ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ushort port) && port > 0
            ? port
            : throw new FormatException($"'{whole}': '{text}' is not a port from 1 to 65535.");
}
