using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace FastMail.Tests.LoadTest;

/// <summary>
/// An SMTP and POP3 server in memory, on loopback, that does what it is told wrong: the other side of the generator's
/// tests. A thread for each connection; the hooks run on those threads, under one lock.
/// </summary>
internal sealed class FakeMailServer : IDisposable
{
    private readonly TcpListener _smtp = new(IPAddress.Loopback, 0);
    private readonly TcpListener _pop3 = new(IPAddress.Loopback, 0);
    private readonly Lock _gate = new();
    private readonly List<Thread> _threads = [];
    private readonly List<TcpClient> _clients = [];
    private bool _isClosed;

    internal FakeMailServer()
    {
        _smtp.Start();
        _pop3.Start();
        Start(() => Accept(_smtp, ServeSmtp));
        Start(() => Accept(_pop3, ServePop3));
    }

    /// <summary>Says what follows the end of content: the reply, nothing, or null to hang up without one.</summary>
    internal Func<StoredMail, string?> OnContent { get; init; } = _ => "250 2.0.0 stored";

    /// <summary>Says the reply to a RCPT.</summary>
    internal Func<string, string> OnRecipient { get; init; } = _ => "250 2.1.5 ok";

    /// <summary>Says the reply to AUTH, or null to hang up without one.</summary>
    internal Func<string, string?> OnAuth { get; init; } =
        line => line == "AUTH PLAIN AGFsaWNlAHNlY3JldA==" ? "235 welcome" : "535 5.7.8 no";

    /// <summary>Called before the end of content is answered.</summary>
    internal Action<StoredMail> BeforeReply { get; init; } = _ => { };

    /// <summary>The unique-id of a message by its number in the listing and what is stored.</summary>
    internal Func<int, byte[], string> UniqueIdOf { get; init; } = (number, _) => Line($"uid{number}");

    /// <summary>With one, both protocols are spoken over TLS from the first octet.</summary>
    internal X509Certificate2? Certificate { get; init; }

    internal string? Greeting { get; init; } = "220 fake";

    internal int SmtpPort => ((IPEndPoint)_smtp.LocalEndpoint).Port;

    internal int Pop3Port => ((IPEndPoint)_pop3.LocalEndpoint).Port;

    /// <summary>Maildrops by mailbox. The test may change them while no session is open.</summary>
    internal Dictionary<string, List<byte[]>> Maildrops { get; } = new(StringComparer.Ordinal);

    /// <summary>Every command line received over SMTP.</summary>
    internal List<string> Commands { get; } = [];

    internal int Sessions { get; private set; }

    internal int ContentsReceived { get; private set; }

    public void Dispose()
    {
        lock (_gate)
        {
            _isClosed = true;
            // The socket alone: its thread may still be inside the stream, and disposes of that itself.
            _clients.ForEach(client => client.Client?.Close());
        }

        _smtp.Stop();
        _pop3.Stop();
        foreach (Thread thread in _threads.ToArray())
        {
            thread.Join();
        }
    }

    private void Start(Action run)
    {
        var thread = new Thread(() =>
        {
            try
            {
                run();
            }
            catch (Exception failure) when (failure is IOException or SocketException or InvalidOperationException
                or AuthenticationException)
            {
                // The peer or the test ended the connection or the listener: so does this thread.
            }
        });
        lock (_gate)
        {
            _threads.Add(thread);
        }

        thread.Start();
    }

    private void Accept(TcpListener listener, Action<Stream, Stream> serve)
    {
        while (true)
        {
            TcpClient client = listener.AcceptTcpClient();
            client.NoDelay = true;
            lock (_gate)
            {
                if (_isClosed)
                {
                    client.Dispose();
                    return;
                }

                _clients.Add(client);
            }

            Start(() =>
            {
                using (client)
                {
                    Stream stream = Secured(client.GetStream());
                    using var received = new BufferedStream(stream, 1 << 16);
                    serve(received, stream);
                }
            });
        }
    }

    private Stream Secured(Stream stream)
    {
        if (Certificate is null)
        {
            return stream;
        }

        var secured = new SslStream(stream);
        secured.AuthenticateAsServer(Certificate);
        return secured;
    }

    private void ServeSmtp(Stream received, Stream stream)
    {
        Write(stream, $"{Greeting}\r\n");
        var mail = new StoredMail();
        lock (_gate)
        {
            Sessions++;
        }

        while (ReadLine(received) is { } line)
        {
            lock (_gate)
            {
                Commands.Add(line);
            }

            string verb = line.Split(' ', ':')[0].ToUpperInvariant();
            if (verb == "DATA" && mail.Recipients.Count > 0)
            {
                Write(stream, "354 go ahead\r\n");
                mail.Content = ReadContent(received);
                string? reply = Deliver(mail);
                if (reply is null)
                {
                    return;
                }

                Write(stream, reply.Length > 0 ? $"{reply}\r\n" : "");
                mail = new StoredMail();
                continue;
            }

            string? said = ReplyTo(verb, line, mail);
            Write(stream, said is null ? "" : $"{said}\r\n");
            if (said is null || verb == "QUIT")
            {
                return;
            }
        }
    }

    private string? ReplyTo(string verb, string line, StoredMail mail)
    {
        switch (verb)
        {
            case "EHLO":
                return "250-fake\r\n250-PIPELINING\r\n250 8BITMIME";
            case "RCPT":
                string mailbox = line[(line.IndexOf('<', StringComparison.Ordinal) + 1)..^1];
                string reply = OnRecipient(mailbox);
                if (reply[0] == '2')
                {
                    mail.Recipients.Add(mailbox);
                }

                return reply;
            case "RSET":
                mail.Recipients.Clear();
                return "250 ok";
            case "AUTH":
                lock (_gate)
                {
                    return OnAuth(line);
                }

            case "DATA":
                return "503 5.5.1 no recipients";
            case "QUIT":
                return "221 bye";
            default:
                return "250 ok";
        }
    }

    private string? Deliver(StoredMail mail)
    {
        lock (_gate)
        {
            ContentsReceived++;
            BeforeReply(mail);
            string? reply = OnContent(mail);
            for (int copy = 0; copy < mail.Copies; copy++)
            {
                foreach (string recipient in mail.Recipients)
                {
                    if (!Maildrops.TryGetValue(recipient, out List<byte[]>? maildrop))
                    {
                        Maildrops[recipient] = maildrop = [];
                    }

                    maildrop.Add([.. "Received: from load by fake\r\n"u8, .. mail.Content]);
                }
            }

            return reply;
        }
    }

    private void ServePop3(Stream received, Stream stream)
    {
        Write(stream, "+OK fake\r\n");
        string user = "";
        List<byte[]> maildrop = []; // as it is when the session begins
        List<byte[]> deleted = [];
        while (ReadLine(received) is { } line)
        {
            string[] words = line.Split(' ');
            switch (words[0])
            {
                case "USER":
                    user = words[1];
                    lock (_gate)
                    {
                        maildrop = [.. Maildrops.GetValueOrDefault(user) ?? []];
                    }

                    Write(stream, "+OK\r\n");
                    break;
                case "PASS":
                    Write(stream, words[1] == "secret" ? "+OK\r\n" : "-ERR [AUTH] no\r\n");
                    break;
                case "STAT":
                    Write(stream, Line($"+OK {maildrop.Count} {maildrop.Sum(mail => mail.Length)}\r\n"));
                    break;
                case "LIST":
                    Write(stream, Listing(maildrop, (number, mail) => Line($"{number} {mail.Length}")));
                    break;
                case "UIDL":
                    Write(stream, Listing(maildrop, (number, mail) => $"{number} {UniqueIdOf(number, mail)}"));
                    break;
                case "RETR":
                    Write(stream, "+OK\r\n");
                    stream.Write(Stuff(maildrop[int.Parse(words[1], CultureInfo.InvariantCulture) - 1]));
                    Write(stream, ".\r\n");
                    break;
                case "DELE":
                    deleted.Add(maildrop[int.Parse(words[1], CultureInfo.InvariantCulture) - 1]);
                    Write(stream, "+OK\r\n");
                    break;
                default:
                    lock (_gate)
                    {
                        deleted.ForEach(mail => _ = Maildrops[user].Remove(mail));
                    }

                    Write(stream, "+OK bye\r\n");
                    return;
            }
        }
    }

    private static string Listing(List<byte[]> maildrop, Func<int, byte[], string> line) =>
        "+OK\r\n" + string.Concat(maildrop.Select((mail, index) => line(index + 1, mail) + "\r\n")) + ".\r\n";

    private static byte[] ReadContent(Stream stream)
    {
        List<byte> content = [];
        while (true)
        {
            byte[] line = ReadOctets(stream) ?? throw new IOException("cut off inside content");
            if (line.AsSpan().SequenceEqual(".\r\n"u8))
            {
                return [.. content];
            }

            content.AddRange(line[0] == (byte)'.' ? line.AsSpan(1) : line);
        }
    }

    private static byte[] Stuff(byte[] content)
    {
        List<byte> wire = [];
        bool isLineStart = true;
        foreach (byte octet in content)
        {
            if (isLineStart && octet == (byte)'.')
            {
                wire.Add(octet);
            }

            wire.Add(octet);
            isLineStart = octet == (byte)'\n';
        }

        return [.. wire];
    }

    private static string? ReadLine(Stream stream) =>
        ReadOctets(stream) is { } line ? Encoding.Latin1.GetString(line).TrimEnd('\r', '\n') : null;

    private static byte[]? ReadOctets(Stream stream)
    {
        List<byte> line = [];
        while (true)
        {
            int octet = stream.ReadByte();
            if (octet < 0)
            {
                return null;
            }

            line.Add((byte)octet);
            if (octet == '\n')
            {
                return [.. line];
            }
        }
    }

    private static void Write(Stream stream, string text) => stream.Write(Encoding.ASCII.GetBytes(text));

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>A message as the fake server got it; the hooks may change what is kept.</summary>
internal sealed class StoredMail
{
    internal List<string> Recipients { get; } = [];

    /// <summary>Content, dot-unstuffed.</summary>
    internal byte[] Content { get; set; } = [];

    /// <summary>How often it is stored for each recipient.</summary>
    internal int Copies { get; set; } = 1;
}
