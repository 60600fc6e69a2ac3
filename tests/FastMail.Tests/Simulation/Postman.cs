using System.Globalization;
using System.Text;

namespace FastMail.Tests.Simulation;

/// <summary>
/// The clients of one turn: some send mail, one may read and empty a maildrop; what they are answered goes into the
/// ledger. Owned by the run, used for one turn.
/// </summary>
internal sealed class Postman(SimulatedServer server, Ledger ledger, Random random)
{
    private static readonly string Noise = MakeNoise();

    private readonly List<(SmtpClient Client, SentMessage Message)> _sending = [];
    private readonly StringBuilder _story = new("turn:");
    private (Pop3Client Client, string Address, SentMessage[] Messages)? _emptying;
    private int _oneInBodies = 15;

    /// <summary>Reads every maildrop and lets the ledger judge; false when the process ended meanwhile.</summary>
    public bool TryInspect()
    {
        Dictionary<string, SentMessage[]> maildrops = new(StringComparer.Ordinal);
        foreach (string address in SimulatedAccounts.Addresses)
        {
            Pop3Client client = new(server, random);
            if (!client.LogIn(address))
            {
                if (server.Port.IsDown || server.Port.Plan.HasFired)
                {
                    return false; // its checkpoint could not be read: an honest answer
                }

                throw new BrokenPromiseException($"{address} cannot log in");
            }

            if (!TryRead(client, address, out SentMessage[] messages))
            {
                return false;
            }

            maildrops.Add(address, messages);
            _ = client.Say("QUIT\r\n");
        }

        ledger.Judge(maildrops);
        return true;
    }

    /// <summary>Says all up to the point where the log has the word; answers how many wait for it.</summary>
    /// <param name="messages">So many begin.</param>
    /// <param name="longestText">Of most.</param>
    /// <param name="mayEmpty">Somebody may empty a maildrop meanwhile.</param>
    /// <param name="oneInBodies">One in so many is longer than a record may be, and has a body file.</param>
    public int Send(int messages, int longestText, bool mayEmpty, int oneInBodies = 15)
    {
        _oneInBodies = oneInBodies;
        if (mayEmpty && random.Next(3) == 0)
        {
            BeginEmptying();
        }

        for (int i = 0; i < messages; i++)
        {
            BeginSending(longestText);
        }

        return _sending.Count + (_emptying is null ? 0 : 1);
    }

    /// <summary>Hears the answers; returns the story of the turn.</summary>
    public string Collect()
    {
        foreach ((SmtpClient client, SentMessage message) in _sending)
        {
            string reply = client.Hear();
            message.Promise = reply[..3] switch
            {
                "250" => Promise.Kept,
                "452" => Promise.Absent, // nothing of it was written
                "451" => Promise.InDoubt,
                _ => throw new BrokenPromiseException($"message {message.Key} was answered {reply}"),
            };
            _ = _story.Append(CultureInfo.InvariantCulture, $" {message.Key}:{reply[..3]}");
        }

        if (_emptying is var (pop3, address, messages))
        {
            string reply = pop3.Hear();
            ledger.Remove(address, messages, isInDoubt: !reply.StartsWith("+OK", StringComparison.Ordinal));
            string keys = string.Join(',', messages.Select(m => m.Key));
            _ = _story.Append(CultureInfo.InvariantCulture, $" {address} -{keys}:{reply[..3]}");
        }

        return _story.ToString();
    }

    private void BeginSending(int longestText)
    {
        string[] recipients = [.. SimulatedAccounts.Addresses.Where(_ => random.Next(3) == 0)];
        recipients = recipients.Length > 0 ? recipients : [SimulatedAccounts.Addresses[0]];
        int length = random.Next(_oneInBodies) == 0 ? 150_000 : random.Next(longestText);
        SentMessage message = ledger.Write(Text(length), recipients);
        SmtpClient client = new(server, random);
        _ = client.Say("EHLO client.sim.test\r\n");
        string reply = client.Say("MAIL FROM:<sender@sim.test>\r\n");
        if (!reply.StartsWith("250", StringComparison.Ordinal))
        {
            _ = _story.Append(CultureInfo.InvariantCulture, $" {message.Key}:MAIL {reply[..3]}");
            client.Break();
            return;
        }

        foreach (string recipient in recipients)
        {
            _ = client.Say($"RCPT TO:<{recipient}>\r\n");
        }

        bool isBroken = random.Next(12) == 0;
        SayContent(client, message.Content, isBroken);
        if (isBroken)
        {
            _ = _story.Append(CultureInfo.InvariantCulture, $" {message.Key}:broken off");
            client.Break();
            return;
        }

        _sending.Add((client, message));
    }

    private void SayContent(SmtpClient client, string content, bool isBroken)
    {
        if (random.Next(2) == 0)
        {
            string stuffed = ("\r\n" + content).Replace("\r\n.", "\r\n..", StringComparison.Ordinal)[2..];
            _ = client.Say("DATA\r\n");
            _ = client.Say(isBroken ? stuffed[..(stuffed.Length / 2)] : stuffed + ".\r\n");
            return;
        }

        int first = random.Next(content.Length);
        _ = client.Say(string.Create(CultureInfo.InvariantCulture, $"BDAT {first}\r\n") + content[..first]);
        if (!isBroken)
        {
            string last = content[first..];
            _ = client.Say(string.Create(CultureInfo.InvariantCulture, $"BDAT {last.Length} LAST\r\n") + last);
        }
    }

    private void BeginEmptying()
    {
        string address = SimulatedAccounts.Addresses[random.Next(SimulatedAccounts.Addresses.Count)];
        Pop3Client client = new(server, random);
        if (!client.LogIn(address) || !TryRead(client, address, out SentMessage[] messages))
        {
            client.Break();
            return;
        }

        List<SentMessage> marked = [];
        for (int i = 0; i < messages.Length; i++)
        {
            if (random.Next(2) == 0)
            {
                _ = client.Say(string.Create(CultureInfo.InvariantCulture, $"DELE {i + 1}\r\n"));
                marked.Add(messages[i]);
            }
        }

        if (marked.Count == 0 || random.Next(8) == 0)
        {
            client.Break(); // nothing may be removed by a connection that breaks
            return;
        }

        _ = client.Say("QUIT\r\n");
        _emptying = (client, address, [.. marked]);
    }

    /// <summary>LIST, UIDL and RETR of all; false when the process has ended meanwhile.</summary>
    private bool TryRead(Pop3Client client, string address, out SentMessage[] messages)
    {
        messages = [];
        string[] octets = Lines(client.Say("LIST\r\n"));
        string[] uniqueIds = Lines(client.Say("UIDL\r\n"));
        SentMessage[] found = new SentMessage[uniqueIds.Length];
        ulong previous = 0;
        for (int i = 0; i < found.Length; i++)
        {
            string reply = client.Say(string.Create(CultureInfo.InvariantCulture, $"RETR {i + 1}\r\n"));
            if (server.Port.IsDown)
            {
                return false;
            }

            string uniqueId = uniqueIds[i].Split(' ')[1];
            int size = int.Parse(octets[i].Split(' ')[1], CultureInfo.InvariantCulture);
            if (Recognise(address, uniqueId, size, reply) is not { } message)
            {
                return false;
            }

            found[i] = message;
            ulong uid = ulong.Parse(uniqueId.Split('.')[1], CultureInfo.InvariantCulture);
            if (uid <= previous)
            {
                throw new BrokenPromiseException($"{address}: unique-id {uid} stands behind {previous}");
            }

            previous = uid;
        }

        messages = found;
        return true;
    }

    /// <summary>Null when the disk cannot read just now and the client was told so.</summary>
    private SentMessage? Recognise(string address, string uniqueId, int size, string reply)
    {
        if (reply.StartsWith("+OK", StringComparison.Ordinal))
        {
            string wire = reply[(reply.IndexOf('\n', StringComparison.Ordinal) + 1)..];
            return ledger.Recognise(address, new ShownMessage(uniqueId, size, wire));
        }

        if (reply.StartsWith("-ERR [SYS/PERM]", StringComparison.Ordinal))
        {
            return ledger.RecogniseDamaged(address, uniqueId);
        }

        return server.Port.Plan.HasFired
            ? null
            : throw new BrokenPromiseException($"{address} {uniqueId}: {reply}");
    }

    private static string[] Lines(string multiLine)
    {
        return multiLine.Split("\r\n")[1..^2];
    }

    /// <summary>A piece of <see cref="Noise"/> behind a short header section; made by slicing, which is cheap.</summary>
    private string Text(int length)
    {
        int start = random.Next(Noise.Length - length);
        string text = Noise.Substring(start, length).TrimStart('\n').TrimEnd('\r'); // never half of a CRLF
        return $"Subject: simulation\r\n\r\n{text}\r\n";
    }

    /// <summary>Lines of every octet but NUL, CR and LF, many of them with dots in front.</summary>
    private static string MakeNoise()
    {
        Random random = new(1);
        StringBuilder text = new();
        while (text.Length < 1 << 19)
        {
            text.Append('.', random.Next(3));
            int line = random.Next(200);
            for (int i = 0; i < line; i++)
            {
                char c = (char)random.Next(1, 256);
                text.Append(c is '\r' or '\n' ? ' ' : c);
            }

            text.Append("\r\n");
        }

        return text.ToString();
    }
}
