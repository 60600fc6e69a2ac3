using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

/// <summary>How much of a transaction goes out before replies are awaited (RFC 2920).</summary>
internal enum Pipelining
{
    /// <summary>One command per round trip.</summary>
    None,

    /// <summary>MAIL, every RCPT and DATA together; then the content, behind BDAT if that is said.</summary>
    Envelope,

    /// <summary>
    /// The content of a message together with the envelope of the next; with BDAT the whole transaction, from MAIL to the
    /// last octet.
    /// </summary>
    Full,
}

/// <summary>What a run is asked to do. Immutable; any thread.</summary>
internal sealed record SmtpPlan
{
    internal required TargetAddress Target { get; init; }

    /// <summary>What a report calls this run.</summary>
    internal string Label { get; init; } = "";

    /// <summary>File that takes the intervals of the run; null for none.</summary>
    internal string? CsvPath { get; init; }

    /// <summary>Null: in the clear.</summary>
    internal TlsPlan? Tls { get; init; }

    internal required int Connections { get; init; }

    /// <summary>Messages to send, or null when <see cref="Duration"/> ends the run.</summary>
    internal long? Messages { get; init; }

    internal TimeSpan? Duration { get; init; }

    internal TimeSpan WarmUp { get; init; }

    /// <summary>
    /// Messages a second by the clock, whatever the server does (open loop); 0: the next when the one before is
    /// answered.
    /// </summary>
    internal double Rate { get; init; }

    internal OctetRange Size { get; init; }

    internal required MailboxPattern Recipients { get; init; }

    /// <summary>Reverse-path without angle brackets; empty is the null reverse-path.</summary>
    internal required string From { get; init; }

    /// <summary>Messages after which a connection says QUIT and another takes its place; 0: never.</summary>
    internal int MessagesPerConnection { get; init; }

    internal Pipelining Pipelining { get; init; }

    /// <summary>Content goes in one chunk, behind BDAT instead of DATA (RFC 3030).</summary>
    internal bool IsChunking { get; init; }

    internal bool IsEightBit { get; init; }

    internal string? AuthUser { get; init; }

    internal string? Password { get; init; }

    internal ulong Seed { get; init; }

    internal string? LedgerPath { get; init; }

    internal bool Reconnect { get; init; }

    /// <summary>Silence of every connection after which the run is given up.</summary>
    internal TimeSpan GiveUp { get; init; }

    internal bool IsQuiet { get; init; }

    /// <summary>AUTH PLAIN with its initial response (RFC 4954), pinned; null when no user is to log in.</summary>
    internal byte[]? AuthLine()
    {
        if (AuthUser is null)
        {
            return null;
        }

        string response = Convert.ToBase64String(Encoding.UTF8.GetBytes($"\0{AuthUser}\0{Password}"));
        byte[] line = Encoding.ASCII.GetBytes($"AUTH PLAIN {response}\r\n");
        byte[] pinned = GC.AllocateUninitializedArray<byte>(line.Length, pinned: true);
        line.CopyTo(pinned, 0);
        return pinned;
    }
}
