using System.Net;

namespace FastMail.Server.Dns;

/// <summary>The name servers of this host, from <c>/etc/resolv.conf</c> (resolv.conf(5)). Static; any thread.</summary>
internal static class ResolverFile
{
    public const string Path = "/etc/resolv.conf";

    private const int Port = 53;

    /// <summary>In the order of the file; the one of this host when there is no file or it names none.</summary>
    public static IReadOnlyList<IPEndPoint> Servers(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            lines = []; // resolv.conf(5): then the name server on the local machine is asked
        }

        IPEndPoint[] servers =
        [
            .. lines.Select(line => line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries))
                .Where(words => words is ["nameserver", _, ..])
                .Select(words => IPAddress.TryParse(words[1], out IPAddress? address) ? address : null)
                .OfType<IPAddress>()
                .Select(address => new IPEndPoint(address, Port)),
        ];
        return servers.Length > 0 ? servers : [new IPEndPoint(IPAddress.Loopback, Port)];
    }
}
