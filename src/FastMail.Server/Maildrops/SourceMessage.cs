using System.Text;

namespace FastMail.Server.Maildrops;

/// <summary>A message in the file or directory it is imported from. Immutable.</summary>
/// <param name="Place">File and line, for people.</param>
/// <param name="UniqueId">The one it had, if the source tells.</param>
/// <param name="ArrivalSeconds">Since 1970 UTC, if the source tells.</param>
/// <param name="ReversePath">If the source tells.</param>
/// <param name="Text">The message with any kind of line ends.</param>
internal sealed record SourceMessage(
    string Place, string? UniqueId, long? ArrivalSeconds, string ReversePath, ReadOnlyMemory<byte> Text)
{
    /// <summary>Why it is no message; null when it is one.</summary>
    public string? Damage { get; private init; }

    public static SourceMessage Damaged(string place, string why) =>
        new(place, null, null, "", ReadOnlyMemory<byte>.Empty) { Damage = why };
}

/// <summary>Where exported messages go. Owned by the verb; one thread. Without <see cref="Complete"/> nothing stays.</summary>
internal interface IMessageWriter : IDisposable
{
    /// <param name="message">What is known of it.</param>
    /// <param name="text">The message, every line ending with CRLF.</param>
    void Add(ExportedMessage message, ReadOnlySpan<byte> text);

    void Complete();
}

/// <summary>The little that an import reads in header sections. Stateless.</summary>
internal static class HeaderFields
{
    /// <summary>
    /// The value of the X-UIDL field, and the message without it when it is the first field: there an export puts it.
    /// </summary>
    public static string? TakeUniqueId(ref ReadOnlyMemory<byte> message)
    {
        ReadOnlySpan<byte> rest = message.Span;
        bool isFirst = true;
        while (!rest.IsEmpty)
        {
            int feed = rest.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = (feed < 0 ? rest : rest[..feed]).TrimEnd((byte)'\r');
            if (line.IsEmpty)
            {
                return null; // the header section is over
            }

            if (line.Length > 7 && Ascii.EqualsIgnoreCase(line[..7], "X-UIDL:"u8))
            {
                if (isFirst)
                {
                    message = message[(feed < 0 ? message.Length : feed + 1)..];
                }

                return Encoding.UTF8.GetString(line[7..]).Trim();
            }

            isFirst = false;
            rest = feed < 0 ? default : rest[(feed + 1)..];
        }

        return null;
    }
}
