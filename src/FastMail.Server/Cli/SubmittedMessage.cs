using System.Globalization;
using System.Text;

namespace FastMail.Server.Cli;

/// <summary>
/// A message as a program wrote it to <c>sendmail</c>, made into one that can be sent: with From, Date and Message-ID, and
/// without Bcc. Octets above 127 pass as they are. Owned by the verb; one thread.
/// </summary>
internal sealed class SubmittedMessage
{
    private const int MostReceived = 100; // RFC 5321 6.3

    private readonly List<string> _fields = []; // Latin-1: one character an octet, with their line ends
    private readonly byte[] _octets;
    private readonly int _bodyStart;

    private SubmittedMessage(byte[] octets)
    {
        _octets = octets;
        _bodyStart = ReadHeader();
    }

    /// <summary>It has been relayed so often that it goes in circles.</summary>
    public bool IsLooping => _fields.Count(f => IsNamed(f, "Received")) > MostReceived;

    /// <param name="text">All of it.</param>
    /// <param name="ignoresDots">A line with a dot alone does not end it.</param>
    public static SubmittedMessage Read(byte[] text, bool ignoresDots)
    {
        int length = ignoresDots ? text.Length : EndOf(text);
        return new SubmittedMessage(text[..length]);
    }

    /// <summary>The addresses of To, Cc and Bcc.</summary>
    /// <exception cref="FormatException">One of these fields cannot be read.</exception>
    public IEnumerable<string> Recipients() => _fields
        .Where(f => IsNamed(f, "To") || IsNamed(f, "Cc") || IsNamed(f, "Bcc"))
        .SelectMany(f => AddressList.Parse(Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(f[(f.IndexOf(':', StringComparison.Ordinal) + 1)..]))));

    /// <summary>The message to be sent.</summary>
    /// <param name="from">The author when no From says who it is; with a full name in front where there is one.</param>
    /// <param name="hostname">For Message-ID.</param>
    /// <param name="now">For Date.</param>
    public byte[] Complete(string from, string hostname, DateTimeOffset now)
    {
        var header = new StringBuilder();
        foreach (string field in _fields.Where(f => !IsNamed(f, "Bcc")))
        {
            header.Append(field);
        }

        AddMissing("From", from);
        AddMissing("Date", now.ToString("ddd, d MMM yyyy HH:mm:ss '+0000'", CultureInfo.InvariantCulture));
        AddMissing("Message-ID", $"<{Guid.NewGuid():N}@{hostname}>");
        header.Append("\r\n");
        return [.. Encoding.Latin1.GetBytes(header.ToString()), .. _octets.AsSpan(_bodyStart)];

        void AddMissing(string name, string value)
        {
            if (!_fields.Exists(f => IsNamed(f, name)))
            {
                header.Append(name).Append(": ").Append(Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(value))).Append("\r\n");
            }
        }
    }

    /// <summary>Where the message ends: before a line that is a dot alone.</summary>
    private static int EndOf(ReadOnlySpan<byte> text)
    {
        for (int start = 0; start < text.Length;)
        {
            int feed = text[start..].IndexOf((byte)'\n');
            int end = feed < 0 ? text.Length : start + feed + 1;
            if (text[start..end].TrimEnd("\r\n"u8).SequenceEqual("."u8))
            {
                return start;
            }

            start = end;
        }

        return text.Length;
    }

    /// <summary>Splits the header section; answers where the body begins. A first line that is no field begins the body.</summary>
    private int ReadHeader()
    {
        int start = 0;
        while (start < _octets.Length)
        {
            int feed = _octets.AsSpan(start).IndexOf((byte)'\n');
            int end = feed < 0 ? _octets.Length : start + feed + 1;
            string line = Encoding.Latin1.GetString(_octets, start, end - start).TrimEnd('\r', '\n');
            if (line.Length == 0)
            {
                return end;
            }

            if (line[0] is ' ' or '\t' && _fields.Count > 0)
            {
                _fields[^1] += line + "\r\n";
            }
            else if (IsField(line))
            {
                _fields.Add(line + "\r\n");
            }
            else if (start > 0 || !line.StartsWith("From ", StringComparison.Ordinal)) // as mbox has it
            {
                return start;
            }

            start = end;
        }

        return start;
    }

    private static bool IsField(string line)
    {
        int colon = line.IndexOf(':', StringComparison.Ordinal);
        return colon > 0 && line.AsSpan(0, colon).TrimEnd(" \t").IndexOfAnyExceptInRange('!', '~') < 0;
    }

    private static bool IsNamed(string field, string name) =>
        field.AsSpan(0, field.IndexOf(':', StringComparison.Ordinal)).TrimEnd().Equals(name, StringComparison.OrdinalIgnoreCase);
}

/// <summary>Addresses in fields such as To (RFC 5322 3.4): mailboxes and groups. Stateless.</summary>
internal static class AddressList
{
    /// <summary>The addresses, without names, comments and angle brackets.</summary>
    /// <exception cref="FormatException">A quoted string, comment or angle bracket has no end.</exception>
    public static IEnumerable<string> Parse(string text)
    {
        List<string> found = [];
        var plain = new StringBuilder();
        string? angled = null;
        for (int i = 0; i < text.Length; i++)
        {
            switch (text[i])
            {
                case '"':
                    int end = EndOf(text, i, '"');
                    plain.Append(text, i, end - i + 1);
                    i = end;
                    break;
                case '(':
                    i = EndOf(text, i, ')');
                    break;
                case '<':
                    int close = EndOf(text, i, '>');
                    angled = text[(i + 1)..close];
                    i = close;
                    break;
                case ',' or ';':
                    Add();
                    break;
                case ':':
                    plain.Clear(); // the name of a group
                    break;
                default:
                    plain.Append(text[i]);
                    break;
            }
        }

        Add();
        return found;

        void Add()
        {
            string address = (angled ?? plain.ToString()).Trim();
            if (address.Length > 0)
            {
                found.Add(address);
            }

            plain.Clear();
            angled = null;
        }
    }

    private static int EndOf(string text, int start, char end)
    {
        int depth = 0;
        for (int i = start + 1; i < text.Length; i++)
        {
            if (text[i] == '\\')
            {
                i++;
            }
            else if (end == '>' && text[i] == '"')
            {
                i = EndOf(text, i, '"');
            }
            else if (end == ')' && text[i] == '(')
            {
                depth++;
            }
            else if (text[i] == end && depth-- == 0)
            {
                return i;
            }
        }

        throw new FormatException($"'{text.Trim()}' has a {text[start]} without its end");
    }
}
