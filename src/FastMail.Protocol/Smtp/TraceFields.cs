using System.Buffers;

namespace FastMail.Protocol.Smtp;

/// <summary>What the trace fields tell; views that die with the call.</summary>
public readonly ref struct TraceArguments
{
    /// <summary>The mailbox of MAIL; empty for the null reverse-path.</summary>
    public ReadOnlySpan<byte> ReversePath { get; init; }

    /// <summary>The argument of EHLO or HELO, not to be trusted in any way.</summary>
    public ReadOnlySpan<byte> Helo { get; init; }

    /// <summary>
    /// The client's address as the socket says, 4 or 16 octets in network order; empty for a process of this machine.
    /// </summary>
    public ReadOnlySpan<byte> ClientAddress { get; init; }

    /// <summary>Our name.</summary>
    public ReadOnlySpan<byte> Hostname { get; init; }

    /// <summary>Name of the transaction, at most 32 octets.</summary>
    public ReadOnlySpan<byte> TransactionId { get; init; }

    /// <summary>
    /// The forward-path when the transaction has exactly one, else empty: others are nobody's business.
    /// </summary>
    public ReadOnlySpan<byte> OnlyRecipient { get; init; }

    /// <summary>EHLO was used.</summary>
    public bool IsExtended { get; init; }

    public bool IsSmtpUtf8 { get; init; }

    /// <summary>LMTP was spoken.</summary>
    public bool IsLmtp { get; init; }

    public bool IsAuthenticated { get; init; }

    /// <summary>
    /// Version and cipher suite of the TLS session (<see cref="TlsFacts.Description"/>); empty in the clear.
    /// </summary>
    public ReadOnlySpan<byte> Tls { get; init; }

    /// <summary>When the content began to arrive.</summary>
    public DateTimeOffset ReceivedAt { get; init; }
}

/// <summary>
/// Writes the trace fields of a final delivery (RFC 5321 4.4). Stateless; any thread. No line begins with a dot, so the
/// text is wire form already.
/// </summary>
public static class TraceFields
{
    /// <summary>Room that is always enough, octets.</summary>
    public const int MaxBytes = 2048;

    /// <summary>Room that is always enough for <see cref="WriteMissing"/>, octets.</summary>
    public const int MaxMissingBytes = 512;

    private static readonly SearchValues<byte> SafeInHelo = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]"u8);

    /// <summary>
    /// Writes <c>Return-Path</c>, then <c>Received</c> folded over four to six lines; none exceeds 998 octets, and
    /// with names of common length none exceeds 78.
    /// </summary>
    /// <param name="destination">At least <see cref="MaxBytes"/> octets.</param>
    /// <param name="arguments">What to tell.</param>
    /// <param name="returnPathBytes">Octets of the Return-Path field, which relay leaves out.</param>
    /// <returns>Octets written.</returns>
    public static int Write(Span<byte> destination, in TraceArguments arguments, out int returnPathBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, MaxBytes);
        var writer = new ReplyWriter(destination);
        writer.Write("Return-Path: <"u8);
        writer.Write(Shorten(arguments.ReversePath));
        writer.Write(">\r\n"u8);
        returnPathBytes = writer.Written;

        writer.Write("Received: from "u8);
        WriteHelo(arguments.Helo, ref writer);
        writer.Write(" ("u8);
        if (arguments.ClientAddress.IsEmpty)
        {
            writer.Write("local"u8);
        }
        else
        {
            writer.Advance(AddressLiteral.Write(arguments.ClientAddress, writer.Rest));
        }
        writer.Write(")\r\n\tby "u8);
        writer.Write(Shorten(arguments.Hostname));
        writer.Write(" with "u8);
        WriteProtocol(arguments, ref writer);
        writer.Write(" id "u8);
        writer.Write(Shorten(arguments.TransactionId));
        if (!arguments.Tls.IsEmpty)
        {
            writer.Write("\r\n\t("u8);
            writer.Write(Shorten(arguments.Tls));
            writer.Write((byte)')');
        }
        if (!arguments.OnlyRecipient.IsEmpty)
        {
            writer.Write("\r\n\tfor <"u8);
            writer.Write(Shorten(arguments.OnlyRecipient));
            writer.Write((byte)'>');
        }
        writer.Write(";\r\n\t"u8);
        WriteDate(arguments.ReceivedAt, ref writer);
        writer.WriteLineEnd();
        return writer.Written;
    }

    /// <summary>
    /// Writes the trace fields of a message that no client brought, a notification or one of a program of this machine:
    /// <c>Return-Path</c>, and a <c>Received</c> that names nobody.
    /// </summary>
    /// <param name="destination">At least <see cref="MaxBytes"/> octets.</param>
    /// <param name="hostname">Our name.</param>
    /// <param name="transactionId">Name of the message.</param>
    /// <param name="recipient">Its only recipient; empty when there are several.</param>
    /// <param name="time">Now.</param>
    /// <param name="returnPathBytes">Octets of the Return-Path field, which relay leaves out.</param>
    /// <param name="reversePath">Empty for the null reverse-path.</param>
    /// <returns>Octets written.</returns>
    public static int WriteOwn(
        Span<byte> destination,
        ReadOnlySpan<byte> hostname,
        ReadOnlySpan<byte> transactionId,
        ReadOnlySpan<byte> recipient,
        DateTimeOffset time,
        out int returnPathBytes,
        ReadOnlySpan<byte> reversePath = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, MaxBytes);
        var writer = new ReplyWriter(destination);
        writer.Write("Return-Path: <"u8);
        writer.Write(Shorten(reversePath));
        writer.Write(">\r\n"u8);
        returnPathBytes = writer.Written;
        writer.Write("Received: by "u8);
        writer.Write(Shorten(hostname));
        writer.Write(" id "u8);
        writer.Write(Shorten(transactionId));
        if (!recipient.IsEmpty)
        {
            writer.Write("\r\n\tfor <"u8);
            writer.Write(Shorten(recipient));
            writer.Write((byte)'>');
        }
        writer.Write(";\r\n\t"u8);
        WriteDate(time, ref writer);
        writer.WriteLineEnd();
        return writer.Written;
    }

    /// <summary>
    /// Writes <c>date-time</c> of RFC 5322 3.3, at most 31 octets; returns its length.
    /// </summary>
    internal static int WriteDate(Span<byte> destination, DateTimeOffset time)
    {
        var writer = new ReplyWriter(destination);
        WriteDate(time, ref writer);
        return writer.Written;
    }

    /// <summary>
    /// Writes the fields that a submitted message must have and has not (RFC 6409 8.1 and 8.2, RFC 5322 3.6).
    /// </summary>
    /// <param name="destination">At least <see cref="MaxMissingBytes"/> octets.</param>
    /// <param name="content">Says which are missing.</param>
    /// <param name="time">For Date.</param>
    /// <param name="transactionId">With the host name behind it, for Message-ID.</param>
    /// <param name="hostname">Our name.</param>
    /// <returns>Octets written; 0 when nothing is missing.</returns>
    public static int WriteMissing(
        Span<byte> destination,
        in ContentFacts content,
        DateTimeOffset time,
        ReadOnlySpan<byte> transactionId,
        ReadOnlySpan<byte> hostname)
    {
        var writer = new ReplyWriter(destination);
        if (content.LacksDate)
        {
            writer.Write("Date: "u8);
            WriteDate(time, ref writer);
            writer.WriteLineEnd();
        }
        if (content.LacksMessageId)
        {
            writer.Write("Message-ID: <"u8);
            writer.Write(Shorten(transactionId));
            writer.Write((byte)'@');
            writer.Write(Shorten(hostname));
            writer.Write(">\r\n"u8);
        }
        return writer.Written;
    }

    /// <summary><c>WITH</c> keywords of RFC 3848 and RFC 6531 4.3.</summary>
    private static void WriteProtocol(in TraceArguments arguments, ref ReplyWriter writer)
    {
        if (!arguments.IsExtended)
        {
            writer.Write("SMTP"u8);
            return;
        }
        writer.Write(arguments.IsLmtp ? (arguments.IsSmtpUtf8 ? "UTF8LMTP"u8 : "LMTP"u8)
            : arguments.IsSmtpUtf8 ? "UTF8SMTP"u8
            : "ESMTP"u8);
        if (!arguments.Tls.IsEmpty)
        {
            writer.Write((byte)'S');
        }
        if (arguments.IsAuthenticated)
        {
            writer.Write((byte)'A');
        }
    }

    /// <summary>Whatever could open a comment, a new line or a terminal sequence becomes a question mark.</summary>
    private static void WriteHelo(ReadOnlySpan<byte> helo, ref ReplyWriter writer)
    {
        helo = Shorten(helo);
        if (helo.IsEmpty)
        {
            writer.Write("unknown"u8);
            return;
        }
        foreach (var octet in helo)
        {
            writer.Write(SafeInHelo.Contains(octet) ? octet : (byte)'?');
        }
    }

    /// <summary><c>date-time</c> of RFC 5322 3.3: <c>Sun, 22 Nov 2026 04:00:00 +0000</c>.</summary>
    private static void WriteDate(DateTimeOffset time, ref ReplyWriter writer)
    {
        writer.Write("SunMonTueWedThuFriSat"u8.Slice(3 * (int)time.DayOfWeek, 3));
        writer.Write(", "u8);
        writer.WriteNumber(time.Day);
        writer.Write((byte)' ');
        writer.Write("JanFebMarAprMayJunJulAugSepOctNovDec"u8.Slice(3 * (time.Month - 1), 3));
        writer.Write((byte)' ');
        WriteTwoDigits(time.Year / 100, ref writer);
        WriteTwoDigits(time.Year % 100, ref writer);
        writer.Write((byte)' ');
        WriteTwoDigits(time.Hour, ref writer);
        writer.Write((byte)':');
        WriteTwoDigits(time.Minute, ref writer);
        writer.Write((byte)':');
        WriteTwoDigits(time.Second, ref writer);
        var offset = (int)time.Offset.TotalMinutes;
        writer.Write(offset < 0 ? " -"u8 : " +"u8);
        WriteTwoDigits(Math.Abs(offset) / 60, ref writer);
        WriteTwoDigits(Math.Abs(offset) % 60, ref writer);
    }

    private static void WriteTwoDigits(int number, ref ReplyWriter writer)
    {
        writer.Write((byte)('0' + (number / 10)));
        writer.Write((byte)('0' + (number % 10)));
    }

    // A path is at most 256 octets and a domain 255, so this cuts only what no parser of ours has let through.
    private static ReadOnlySpan<byte> Shorten(ReadOnlySpan<byte> text) =>
        text.Length <= Limits.PathBytes ? text : text[..Limits.PathBytes];
}
