using System.Text;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;

namespace FastMail.Tests.Protocol.Client;

/// <summary>A transaction of a test, with what it was told. Owned by the test and its thread.</summary>
internal sealed class TestMail : IOutgoingMail
{
    private readonly byte[][] _recipients;
    private readonly byte[] _from;
    private int _given;

    public TestMail(string from, params string[] to)
    {
        _from = Encoding.UTF8.GetBytes(from);
        _recipients = [.. to.Select(Encoding.UTF8.GetBytes)];
        Told = new string?[to.Length];
    }

    /// <summary>In wire form; each in a TryRead of its own.</summary>
    public byte[][] Pieces { get; init; } = ["Subject: x\r\n\r\nhi\r\n.\r\n"u8.ToArray()];

    /// <summary>How long it is without stuffed dots is not said.</summary>
    public bool IsOfUnknownOctets { get; init; }

    public bool Is8Bit { get; init; }

    public bool HasUtf8Header { get; init; }

    public bool RequiresTls { get; init; }

    public byte[] EnvelopeId { get; init; } = [];

    public byte[] AuthMailbox { get; init; } = [];

    public byte[] OriginalRecipient { get; init; } = [];

    public DsnNotify Notify { get; init; }

    public DsnReturn Return { get; init; }

    public DeliverBy? DeliverBy { get; init; }

    public int? Priority { get; init; }

    /// <summary>What is announced when it is not the truth.</summary>
    public long? WireBytes { get; init; }

    /// <summary>Likewise, without stuffed dots and the end.</summary>
    public long? Octets { get; init; }

    /// <summary>Before each piece TryRead says once that it is not there.</summary>
    public bool IsSlow { get; init; }

    /// <summary>What each recipient was told, in words; null as long as nothing was.</summary>
    public string?[] Told { get; }

    /// <summary>Ended was called.</summary>
    public bool HasEnded { get; private set; }

    private bool _isThere;

    public MailArguments Mail => new()
    {
        ReversePath = _from,
        Is8BitMime = Is8Bit,
        IsSmtpUtf8 = HasUtf8Header,
        RequiresTls = RequiresTls,
        EnvelopeId = EnvelopeId,
        AuthMailbox = AuthMailbox,
        Return = Return,
        DeliverBy = DeliverBy,
        Priority = Priority,
    };

    public int Recipients => _recipients.Length;

    public OutgoingContent Content
    {
        get
        {
            var wire = WireBytes ?? Pieces.Sum(piece => (long)piece.Length);
            var lines = "\r\n" + Encoding.Latin1.GetString([.. Pieces.SelectMany(piece => piece)]);
            var dots = lines.Split("\r\n.").Length - 1; // the final one too, whose line end is not the author's either
            return new OutgoingContent(wire, IsOfUnknownOctets ? -1 : Octets ?? Math.Max(0, wire - dots - 2));
        }
    }

    public RcptArguments Recipient(int number) => new()
    {
        ForwardPath = _recipients[number],
        Notify = Notify,
        OriginalRecipient = OriginalRecipient,
    };

    public bool TryRead(out ReadOnlyMemory<byte> piece)
    {
        if (IsSlow && !_isThere)
        {
            _isThere = true;
            piece = default;
            return false;
        }
        _isThere = false;
        piece = _given < Pieces.Length ? Pieces[_given] : default;
        _given++;
        return true;
    }

    public void Answered(int recipient, in DeliveryReply reply)
    {
        if (Told[recipient] is not null || HasEnded)
        {
            throw new InvalidOperationException($"Recipient {recipient} is told once more.");
        }
        var text = new byte[512];
        var doubt = reply.IsInDoubt ? " in doubt" : "";
        Told[recipient] = $"{reply.Outcome} {reply.Phase} {(reply.IsRemote ? "host" : "own")}{doubt} {reply.Status}: "
            + Encoding.ASCII.GetString(text, 0, reply.WriteText(text));
    }

    public void Ended()
    {
        if (HasEnded || Told.Contains(null))
        {
            throw new InvalidOperationException("Ended before everybody was told, or twice.");
        }
        HasEnded = true;
    }
}
