using System.Buffers;
using System.Globalization;
using System.Text;

namespace FastMail.Server.Maildrops;

/// <summary>
/// One file of many messages in the mboxrd form: a line <c>From sender date</c> before and an empty line behind each;
/// lines of the message that would look like the former have a <c>&gt;</c> in front. An <c>X-UIDL</c> line, the first of
/// each message, keeps its unique-id. Owned by the verb; one thread.
/// </summary>
internal sealed class MboxWriter : IMessageWriter
{
    private const int BlockBytes = 1 << 20;

    private readonly string _path;
    private readonly FileStream _file;
    private readonly byte[] _lineEnd;
    private readonly ArrayBufferWriter<byte> _text = new(1 << 16);

    /// <param name="path">Where it will be when it is complete; nothing is there yet.</param>
    /// <param name="keepsCrlf">Lines end with CRLF, not LF.</param>
    public MboxWriter(string path, bool keepsCrlf)
    {
        _path = path;
        _lineEnd = keepsCrlf ? [(byte)'\r', (byte)'\n'] : [(byte)'\n'];
        _file = new FileStream(path + Backup.BackupFiles.PartSuffix, new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            BufferSize = 0,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
    }

    public void Add(ExportedMessage message, ReadOnlySpan<byte> text)
    {
        _text.ResetWrittenCount();
        bool isPlain = message.ReversePath.Length > 0 && !message.ReversePath.AsSpan().ContainsAnyExceptInRange('!', '~');
        string sender = isPlain ? message.ReversePath : "MAILER-DAEMON";
        string date = DateTimeOffset.FromUnixTimeSeconds(message.ArrivalSeconds)
            .ToString("ddd MMM d HH:mm:ss yyyy", CultureInfo.InvariantCulture);
        WriteLine(Encoding.ASCII.GetBytes($"From {sender} {date}"));
        WriteLine(Encoding.ASCII.GetBytes($"X-UIDL: {message.UniqueId}"));
        while (!text.IsEmpty)
        {
            int end = text.IndexOf("\r\n"u8);
            ReadOnlySpan<byte> line = text[..end];
            if (Mbox.LooksLikeFrom(line.TrimStart((byte)'>')))
            {
                _text.Write(">"u8);
            }

            WriteLine(line);
            text = text[(end + 2)..];
            if (_text.WrittenCount >= BlockBytes)
            {
                _file.Write(_text.WrittenSpan); // with its quotes a message may be longer than any array
                _text.ResetWrittenCount();
            }
        }

        WriteLine(default);
        _file.Write(_text.WrittenSpan);
    }

    public void Complete()
    {
        _file.Dispose();
        Backup.BackupFiles.Flush(_path + Backup.BackupFiles.PartSuffix);
        Backup.BackupFiles.Reveal(_path);
    }

    public void Dispose()
    {
        _file.Dispose();
        File.Delete(_path + Backup.BackupFiles.PartSuffix);
    }

    private void WriteLine(ReadOnlySpan<byte> line)
    {
        _text.Write(line);
        _text.Write(_lineEnd);
    }
}

/// <summary>
/// Reads an mbox, as other programs write them too. A line beginning with <c>From </c> begins a message when it stands
/// first or behind an empty line; one <c>&gt;</c> of quoting is taken away. Owned by the verb; one thread.
/// </summary>
internal static class Mbox
{
    private const string DateForm = "MMM d HH:mm:ss yyyy"; // behind the day of the week, which is sometimes wrong

    public static bool LooksLikeFrom(ReadOnlySpan<byte> line) => line.StartsWith("From "u8);

    /// <summary>The messages in order; what is none comes with the reason.</summary>
    public static IEnumerable<SourceMessage> Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
        var lines = new LineReader(file);
        var text = new MemoryStream();
        string? from = null;
        long start = 1;
        bool isAfterEmpty = true;
        while (lines.TryRead(out ReadOnlySpan<byte> line, out ReadOnlySpan<byte> lineEnd))
        {
            if (isAfterEmpty && LooksLikeFrom(line))
            {
                if (text.Length > 0 || from is not null)
                {
                    yield return Make(path, start, from, text);
                }

                from = Encoding.UTF8.GetString(lines.Line);
                start = lines.Number;
                text = new MemoryStream();
                isAfterEmpty = false;
                continue;
            }

            isAfterEmpty = line.IsEmpty;
            ReadOnlySpan<byte> unquoted = line.StartsWith(">"u8) && LooksLikeFrom(line.TrimStart((byte)'>')) ? line[1..] : line;
            if (text.Length + unquoted.Length < Frames.LongestText)
            {
                text.Write(unquoted);
                text.Write(lineEnd);
            }
        }

        if (text.Length > 0 || from is not null)
        {
            yield return Make(path, start, from, text);
        }
    }

    private static SourceMessage Make(string path, long line, string? from, MemoryStream text)
    {
        string place = $"{path}:{line}";
        ReadOnlyMemory<byte> content = text.GetBuffer().AsMemory(0, (int)text.Length);
        if (from is null)
        {
            return SourceMessage.Damaged(place, "text in front of the first From line");
        }

        // The empty line between two messages is not the message's.
        content = content.Span.EndsWith("\n\r\n"u8) ? content[..^2] : content.Span.EndsWith("\n\n"u8) ? content[..^1] : content;
        if (content.Span.TrimStart("\r\n"u8).IsEmpty && !content.Span.IsEmpty)
        {
            content = ReadOnlyMemory<byte>.Empty;
        }

        if (text.Length >= Frames.LongestText)
        {
            return SourceMessage.Damaged(place, "larger than a message can be");
        }

        string[] words = from.Split(' ', 3);
        string sender = words.Length == 3 && words[1] != "MAILER-DAEMON" ? words[1] : "";
        string? id = HeaderFields.TakeUniqueId(ref content);
        return new SourceMessage(place, id, DateOf(from), sender, content);
    }

    /// <summary>The date at the end of a From line, taken for UTC.</summary>
    private static long? DateOf(string from)
    {
        string text = from.TrimEnd();
        string[] words = text.Split(' ', 4, StringSplitOptions.RemoveEmptyEntries); // From, sender, day of the week, rest
        return words.Length == 4 && DateTimeOffset.TryParseExact(
            words[3], DateForm, CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AllowInnerWhite, out DateTimeOffset date)
            && date >= DateTimeOffset.UnixEpoch
            ? date.ToUnixTimeSeconds()
            : null;
    }
}
