using System.Net;

namespace FastMail.Server;

/// <summary>What <c>fastmail serve</c> was asked to do.</summary>
internal sealed record ServeOptions
{
    /// <summary>Holds the mail log and the accounts; made when it is missing.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>This host's name in greetings and trace fields.</summary>
    public required string Hostname { get; init; }

    /// <summary>Listeners that receive mail for hosted recipients; empty turns the role off.</summary>
    public required IReadOnlyList<IPEndPoint> Mx { get; init; }

    /// <summary>Listeners for mail submission (RFC 6409); empty turns the role off.</summary>
    public required IReadOnlyList<IPEndPoint> Submission { get; init; }

    /// <summary>POP3 listeners; empty turns the role off.</summary>
    public required IReadOnlyList<IPEndPoint> Pop3 { get; init; }

    /// <summary>Size of a full-grown segment of the mail log, octets.</summary>
    public required long SegmentBytes { get; init; }

    /// <summary>Largest message accepted, octets; told by EHLO's SIZE.</summary>
    public required long MaxMessageBytes { get; init; }
}
