namespace FastMail.Protocol.Smtp.Client;

/// <summary>How a delivery to one recipient ended.</summary>
public enum DeliveryOutcome : byte
{
    /// <summary>The host has taken the message over.</summary>
    Delivered,

    /// <summary>Not now: to be tried again.</summary>
    Deferred,

    /// <summary>For good.</summary>
    Failed,
}

/// <summary>What was said of one recipient in the end: a view that dies with the call.</summary>
public readonly ref struct DeliveryReply
{
    internal DeliveryReply(DeliveryOutcome outcome, ClientPhase phase, in HostReply reply)
    {
        Outcome = outcome;
        Phase = phase;
        Code = reply.Code;
        Status = reply.Status;
        Wire = reply.Wire;
        IsRemote = true;
    }

    internal DeliveryReply(ClientPhase phase, SmtpReply words, bool isInDoubt = false)
    {
        Outcome = words.Code < 500 ? DeliveryOutcome.Deferred : DeliveryOutcome.Failed;
        Phase = phase;
        Code = words.Code;
        Status = EnhancedStatus.TryParse(words.Wire[4..], words.Code, out var status) ? status : EnhancedStatus.Of(Code);
        Wire = words.Wire;
        IsInDoubt = isInDoubt;
    }

    internal DeliveryReply(SessionFailure failure, bool isInDoubt)
    {
        Outcome = failure.Outcome;
        Phase = failure.Phase;
        Code = failure.Code;
        Status = failure.Status;
        Wire = failure.Wire.Span;
        IsRemote = failure.IsRemote;
        IsInDoubt = isInDoubt;
    }

    public DeliveryOutcome Outcome { get; }

    /// <summary>What it was said to.</summary>
    public ClientPhase Phase { get; }

    /// <summary>200 to 599, as the host said it; with words of ours the one that fits.</summary>
    public int Code { get; }

    /// <summary>x.0.0 when the host named none.</summary>
    public EnhancedStatus Status { get; }

    /// <summary>The words are the host's; otherwise ours, for a connection that was lost or an extension it lacks.</summary>
    public bool IsRemote { get; }

    /// <summary>
    /// The connection was lost after the end of the content had left and before it was answered: the message may have
    /// arrived, and a further attempt may make a second one (RFC 5321 4.2.5, RFC 1047).
    /// </summary>
    public bool IsInDoubt { get; }

    /// <summary>The whole reply, each line with its CRLF. Of a host it may hold any octets.</summary>
    public ReadOnlySpan<byte> Wire { get; }

    /// <summary>
    /// The reply on one line, for logs, reports and people: its lines are joined by blanks, whatever is not printable
    /// US-ASCII stands as <c>\xNN</c>, and what does not fit is left out.
    /// </summary>
    /// <returns>Octets written.</returns>
    public int WriteText(Span<byte> destination) => ReplyText.Write(Wire, destination);
}

/// <summary>Replies as text on one line. Stateless; any thread.</summary>
internal static class ReplyText
{
    private const int PrefixBytes = 4; // code and separator, which all lines share

    public static int Write(ReadOnlySpan<byte> wire, Span<byte> destination)
    {
        var written = 0;
        for (var isFirst = true; !wire.IsEmpty; isFirst = false)
        {
            var end = wire.IndexOf("\r\n"u8);
            var line = wire[..end];
            wire = wire[(end + 2)..];
            if (isFirst)
            {
                // The blank of the last line in place of the hyphen of the first.
                written = Escape(line[..Math.Min(3, line.Length)], destination, written);
                line = line.Length > PrefixBytes ? line[3..] : default;
                if (!line.IsEmpty)
                {
                    written = Escape(" "u8, destination, written);
                    line = line[1..];
                }
            }
            else
            {
                line = line.Length > PrefixBytes ? line[PrefixBytes..] : default;
                written = line.IsEmpty ? written : Escape(" "u8, destination, written);
            }
            written = Escape(line, destination, written);
        }
        return written;
    }

    private static int Escape(ReadOnlySpan<byte> text, Span<byte> destination, int at)
    {
        foreach (var octet in text)
        {
            var isPlain = octet is >= 32 and < 127;
            if (destination.Length - at < (isPlain ? 1 : 4))
            {
                return at;
            }
            if (isPlain)
            {
                destination[at++] = octet;
                continue;
            }
            destination[at++] = (byte)'\\';
            destination[at++] = (byte)'x';
            destination[at++] = (byte)"0123456789ABCDEF"[octet >> 4];
            destination[at++] = (byte)"0123456789ABCDEF"[octet & 15];
        }
        return at;
    }
}

/// <summary>Why a session with a host is over before we wanted it. Immutable; any thread.</summary>
public sealed class SessionFailure
{
    internal SessionFailure(ClientPhase phase, in HostReply reply)
    {
        // A host that does not know us any more is a matter between it and us, and no fault of the mail.
        Outcome = reply.Code >= 500 && phase != ClientPhase.Auth ? DeliveryOutcome.Failed : DeliveryOutcome.Deferred;
        Phase = phase;
        Code = reply.Code;
        Status = reply.Status;
        Wire = reply.Wire.ToArray();
        IsRemote = true;
    }

    internal SessionFailure(ClientPhase phase, SmtpReply words)
    {
        var reply = new DeliveryReply(phase, words);
        Outcome = reply.Outcome;
        Phase = phase;
        Code = reply.Code;
        Status = reply.Status;
        Wire = words.Wire.ToArray();
    }

    /// <summary>Deferred, or Failed where the host refuses everybody for good.</summary>
    public DeliveryOutcome Outcome { get; }

    public ClientPhase Phase { get; }

    /// <summary>200 to 599, as the host said it; with words of ours the one that fits.</summary>
    public int Code { get; }

    public EnhancedStatus Status { get; }

    /// <summary>The words are the host's.</summary>
    public bool IsRemote { get; }

    /// <summary>The whole reply, each line with its CRLF. Of a host it may hold any octets.</summary>
    public ReadOnlyMemory<byte> Wire { get; }

    /// <summary>As <see cref="DeliveryReply.WriteText"/>.</summary>
    public int WriteText(Span<byte> destination) => ReplyText.Write(Wire.Span, destination);
}
