using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace FastMail.Server.Control;

/// <summary>
/// The control channel over TCP: who may come in. Behind a port there is anybody, so a request must bring the token of the
/// data directory's file and name a host that is ours: a web page that has made its own name point here names another
/// (DNS rebinding). Immutable; any thread.
/// </summary>
internal sealed class AdminDoor
{
    public const string FileName = "admin.token";

    private const int TokenBytes = 32;
    private const string Scheme = "Bearer ";

    private readonly byte[] _token;
    private readonly HashSet<string> _hosts;

    private AdminDoor(IReadOnlyList<IPEndPoint> endPoints, byte[] token, IEnumerable<string> hosts)
    {
        EndPoints = endPoints;
        _token = token;
        _hosts = new HashSet<string>(hosts, StringComparer.OrdinalIgnoreCase);
    }

    /// <summary>Where it is; empty for nowhere.</summary>
    public IReadOnlyList<IPEndPoint> EndPoints { get; }

    /// <summary>Makes the token when there is none yet.</summary>
    /// <param name="dataDirectory">Holds the token's file, for its owner alone.</param>
    /// <param name="endPoints">Where to listen.</param>
    /// <param name="hosts">Names that a request may be for, beside the addresses and localhost.</param>
    /// <exception cref="IOException">The file cannot be read or written, or others may read it.</exception>
    public static AdminDoor Open(string dataDirectory, IReadOnlyList<IPEndPoint> endPoints, IReadOnlyList<string> hosts)
    {
        if (endPoints.Count == 0)
        {
            return new AdminDoor([], [], []);
        }

        string path = Path.Join(Path.GetFullPath(dataDirectory), FileName);
        if (!File.Exists(path))
        {
            DurableFile.Write(path, Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(TokenBytes)) + "\n"));
        }

        const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        if ((File.GetUnixFileMode(path) & Others) != 0)
        {
            throw new IOException($"{path}: others may read or write this token; remove it, and the next start makes a new one");
        }

        string token = File.ReadAllText(path).Trim();
        return token.Length >= TokenBytes
            ? new AdminDoor(endPoints, Encoding.UTF8.GetBytes(token), [.. hosts, "localhost", .. endPoints.Select(e => HostOf(e.Address))])
            : throw new IOException($"{path}: the token is too short; remove the file, and the next start makes a new one");
    }

    /// <summary>Null when the request may go on, else the status and what to say.</summary>
    public (int Status, string Why)? Refusal(HttpRequest request)
    {
        // Kestrel goes by the first and keeps the second under another name; a proxy in between may go by the second.
        if (request.Headers.TransferEncoding.Count > 0
            && (request.Headers.ContentLength is not null || request.Headers.ContainsKey("X-Content-Length")))
        {
            return (StatusCodes.Status400BadRequest, "Transfer-Encoding and Content-Length exclude each other");
        }

        if (!_hosts.Contains(request.Host.Host))
        {
            return (StatusCodes.Status421MisdirectedRequest, "no host of this name is here; admin.hosts names more");
        }

        if (request.Headers.Origin.Count > 0)
        {
            return (StatusCodes.Status403Forbidden, "this is not for web pages");
        }

        string given = request.Headers.Authorization.Count == 1 ? request.Headers.Authorization.ToString() : "";
        bool isRight = given.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
            && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(given[Scheme.Length..].Trim()), _token);
        return isRight ? null : (StatusCodes.Status401Unauthorized, $"the token of {FileName} is missing or wrong");
    }

    private static string HostOf(IPAddress address) =>
        address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? $"[{address}]" : address.ToString();
}
