using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FastMail.Tests.Server.Relay;

/// <summary>One message as a <see cref="ScriptedHost"/> has taken it.</summary>
internal sealed record TakenMail(string ReversePath, IReadOnlyList<string> Recipients, string Content);

/// <summary>
/// A next hop on loopback that answers as the test says: for each command, and for the end of the content, a reply, null
/// for the usual one, or the empty text to say nothing more and wait for the client to go. A thread for each connection.
/// </summary>
internal sealed class ScriptedHost : IDisposable
{
    private readonly TcpListener _listener;
    private readonly Func<string, string?> _script;
    private readonly string[] _extensions;
    private readonly ConcurrentBag<Socket> _sockets = [];
    private int _connections;

    /// <param name="script">Gets each command line, and <c>.</c> for the end of the content.</param>
    /// <param name="extensions">What EHLO offers.</param>
    public ScriptedHost(Func<string, string?>? script = null, params string[] extensions)
    {
        _script = script ?? (static _ => null);
        _extensions = extensions;
        _listener = new TcpListener(IPAddress.Loopback, 0);
        _listener.Start(200);
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        new Thread(Accept) { IsBackground = true, Name = "host" }.Start();
    }

    public int Port { get; }

    public int Connections => Volatile.Read(ref _connections);

    public BlockingCollection<TakenMail> Taken { get; } = [];

    /// <summary>Every command of every connection, in the order of arrival.</summary>
    public ConcurrentQueue<string> Commands { get; } = new();

    /// <summary>The next message; fails after 20 s.</summary>
    public TakenMail Next() =>
        Taken.TryTake(out TakenMail? mail, TimeSpan.FromSeconds(20))
            ? mail
            : throw new TimeoutException("no mail after 20 s; commands so far: " + string.Join(" | ", Commands));

    public void Dispose()
    {
        _listener.Stop();
        foreach (Socket socket in _sockets)
        {
            socket.Dispose();
        }

        Taken.Dispose();
    }

    private void Accept()
    {
        try
        {
            while (true)
            {
                Socket socket = _listener.AcceptSocket();
                _sockets.Add(socket);
                Interlocked.Increment(ref _connections);
                new Thread(() => Serve(socket)) { IsBackground = true, Name = "host session" }.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // Disposed.
        }
    }

    private void Serve(Socket socket)
    {
        try
        {
            using var stream = new NetworkStream(socket, ownsSocket: true);
            using var reader = new StreamReader(stream, Encoding.Latin1);
            using var writer = new StreamWriter(stream, Encoding.Latin1) { NewLine = "\r\n", AutoFlush = true };
            string greeting = _script("greeting") ?? "220 host.test ESMTP";
            if (greeting.Length == 0)
            {
                Mute(reader);
                return;
            }

            writer.WriteLine(greeting);
            Converse(reader, writer);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // The client or the test is gone.
        }
    }

    private void Converse(StreamReader reader, StreamWriter writer)
    {
        string from = "";
        List<string> to = [];
        while (reader.ReadLine() is { } line)
        {
            Commands.Enqueue(line);
            string verb = line.Split(' ', ':')[0].ToUpperInvariant();
            string? said = _script(line);
            if (said is { Length: 0 })
            {
                Mute(reader);
                return;
            }

            string reply = said ?? (verb switch
            {
                "EHLO" or "LHLO" => string.Join("\r\n", _extensions.Prepend("host.test").Select((e, i) =>
                    $"250{(i == _extensions.Length ? ' ' : '-')}{e}")),
                "DATA" => "354 go on",
                "QUIT" => "221 2.0.0 bye",
                _ => "250 2.0.0 ok",
            });
            bool isGood = reply[0] is '2' or '3';
            writer.WriteLine(reply);
            if (reply.StartsWith("421", StringComparison.Ordinal) || verb == "QUIT")
            {
                return;
            }

            if (verb == "MAIL" && isGood)
            {
                from = line.Split('<', '>')[1];
                to = [];
            }
            else if (verb == "RCPT" && isGood)
            {
                to.Add(line.Split('<', '>')[1]);
            }
            else if (verb == "DATA" && reply[0] == '3' && !TakeContent(reader, writer, from, to))
            {
                return;
            }
        }
    }

    private bool TakeContent(StreamReader reader, StreamWriter writer, string from, List<string> to)
    {
        var content = new StringBuilder();
        while (reader.ReadLine() is { } line)
        {
            if (line == ".")
            {
                string? said = _script(".");
                if (said is { Length: 0 })
                {
                    Mute(reader);
                    return false;
                }

                if (said is null || said[0] == '2')
                {
                    Taken.Add(new TakenMail(from, [.. to], content.ToString()));
                }

                writer.WriteLine(said ?? "250 2.0.0 taken");
                return said is null || !said.StartsWith("421", StringComparison.Ordinal);
            }

            content.Append(line.StartsWith('.') ? line[1..] : line).Append("\r\n");
        }

        return false;
    }

    private static void Mute(StreamReader reader)
    {
        while (reader.ReadLine() is not null)
        {
            // It hears and says nothing.
        }
    }
}
