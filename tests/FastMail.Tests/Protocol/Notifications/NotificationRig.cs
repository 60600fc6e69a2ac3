using System.Text;
using FastMail.Protocol.Notifications;
using FastMail.Protocol.Smtp;

namespace FastMail.Tests.Protocol.Notifications;

/// <summary>What a test says of a message, and the notification that comes of it. Texts are UTF-8.</summary>
internal sealed record NotificationRig
{
    public static DateTimeOffset Now { get; } = new(2026, 11, 2, 4, 5, 6, TimeSpan.Zero);

    public string Sender { get; init; } = "a@b.test";

    public string EnvelopeId { get; init; } = "";

    public DsnReturn Return { get; init; }

    /// <summary>The message as its author wrote it; Latin-1, one character an octet.</summary>
    public string Original { get; init; } = "Subject: hello\r\n\r\nHello.\r\n";

    public long MaxFullBytes { get; init; } = 1 << 20;

    public bool IsSmtpUtf8 { get; init; }

    public bool LeavesHere { get; init; }

    public DateTimeOffset? DeliverBy { get; init; }

    public FutureRelease? Release { get; init; }

    public NotifiedRecipient[] Recipients { get; init; } = [Failed("u@far.test")];

    /// <summary>Octets of each run in which the original is given.</summary>
    public int Run { get; init; } = int.MaxValue;

    public static NotifiedRecipient Failed(string address, string diagnostic = "550 5.1.1 no such user") => new()
    {
        Address = Encoding.UTF8.GetBytes(address),
        Action = DeliveryAction.Failed,
        Status = "5.1.1"u8.ToArray(),
        RemoteHost = "mx1.far.test[192.0.2.1]:25"u8.ToArray(),
        Diagnostic = Encoding.UTF8.GetBytes(diagnostic),
        IsSmtpReply = true,
        LastAttempt = Now,
    };

    /// <summary>The notification without dot-stuffing and final dot, one character an octet.</summary>
    public string Write(out NotificationFacts facts, NotificationWriter? writer = null)
    {
        var wire = new StringBuilder();
        var original = Encoding.Latin1.GetBytes(Stuff(Original) + ".\r\n");
        writer ??= new NotificationWriter();
        writer.Begin(run => wire.Append(Encoding.Latin1.GetString(run)), Arguments(original), Recipients);
        for (var at = 0; at < original.Length && writer.WantsOriginal; at += Math.Min(Run, original.Length - at))
        {
            writer.AppendOriginal(original.AsSpan(at, Math.Min(Run, original.Length - at)));
        }
        facts = writer.End();
        return Unstuff(wire.ToString());
    }

    public string Write() => Write(out _);

    private NotificationArguments Arguments(byte[] original) => new()
    {
        Sender = Encoding.UTF8.GetBytes(Sender),
        Hostname = "mx.test"u8,
        TransactionId = "4F2K"u8,
        OriginalTransactionId = "3ZZZ"u8,
        EnvelopeId = Encoding.ASCII.GetBytes(EnvelopeId),
        Now = Now,
        ArrivedAt = Now.AddHours(-2),
        Random = 0xABCDEF,
        Return = Return,
        OriginalWireBytes = original.Length,
        MaxFullBytes = MaxFullBytes,
        OriginalHas8Bit = original.AsSpan().IndexOfAnyExceptInRange((byte)0, (byte)127) >= 0,
        OriginalHasNul = original.Contains((byte)0),
        OriginalIsSmtpUtf8 = IsSmtpUtf8,
        LeavesHere = LeavesHere,
        DeliverBy = DeliverBy,
        Release = Release,
    };

    private static string Stuff(string text)
    {
        var stuffed = text.Replace("\r\n.", "\r\n..", StringComparison.Ordinal);
        return stuffed.StartsWith('.') ? "." + stuffed : stuffed;
    }

    /// <summary>By the rule of RFC 5321 4.5.2, and nothing may come after the end.</summary>
    private static string Unstuff(string wire)
    {
        var lines = wire.Split("\r\n");
        var end = Array.IndexOf(lines, ".");
        if (end != lines.Length - 2 || lines[^1].Length > 0)
        {
            throw new InvalidOperationException("the notification does not end with its only lone dot");
        }
        return string.Concat(lines.Take(end).Select(line => (line.StartsWith('.') ? line[1..] : line) + "\r\n"));
    }
}
