using System.Net;
using FastMail.Server.Cli;

namespace FastMail.Server.Configuration;

/// <summary>Who the server is and where it listens.</summary>
internal static class ServeKeys
{
    private const string Address = "ADDR:PORT, none";

    public static readonly Key<string> Hostname = new(
        "server.hostname", DefaultHostname(), "NAME", "This host's name in greetings and Received fields.", Arguments.Hostname);

    public static readonly Key<IReadOnlyList<IPEndPoint>> Mx = new(
        "listen.mx", "127.0.0.1:2525", Address, "Receive mail for hosted recipients here.", Values.EndPoints);

    public static readonly Key<IReadOnlyList<IPEndPoint>> Submission = new(
        "listen.submission", "127.0.0.1:2587", Address, "Take mail from authenticated users here.", Values.EndPoints);

    public static readonly Key<IReadOnlyList<IPEndPoint>> Pop3 = new(
        "listen.pop3", "127.0.0.1:2110", Address, "Serve POP3 here.", Values.EndPoints);

    public static readonly Key<IReadOnlyList<IPEndPoint>> Submissions = new(
        "listen.submissions", "127.0.0.1:2465", Address, "As submission, over TLS from the first octet.", Values.EndPoints);

    public static readonly Key<IReadOnlyList<IPEndPoint>> Pop3s = new(
        "listen.pop3s", "127.0.0.1:2995", Address, "Serve POP3 here, over TLS from the first octet.", Values.EndPoints);

    public static IEnumerable<Key> All => [Hostname, Mx, Submission, Pop3, Submissions, Pop3s];

    private static string DefaultHostname()
    {
        try
        {
            return Arguments.Hostname(Environment.MachineName);
        }
        catch (FormatException)
        {
            return "localhost"; // a machine whose own name is no host name
        }
    }
}
