using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;
using FastMail.Tests.Protocol.Sasl;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>A maildrop in memory; message texts are wire form without the final dot. Belongs to one test.</summary>
internal sealed class FakeMaildrop : IMaildrop
{
    private readonly List<(ReadOnlyMemory<byte> Wire, int Header)> _messages = [];
    private int? _open; // the message that is read in parts
    private int _part;

    public FakeMaildrop(params string[] texts)
    {
        foreach (var text in texts)
        {
            var header = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            _messages.Add((Encoding.Latin1.GetBytes(text + ".\r\n"), header < 0 ? text.Length : header + 4));
        }
    }

    public int Count => _messages.Count;

    public int? ExpireDays { get; init; }

    public bool IsClosed { get; private set; }

    /// <summary>Locked again, after <see cref="Close"/>.</summary>
    public void Reopen() => IsClosed = false;

    public List<int> DamagedIndexes { get; } = [];

    /// <summary>Indexes of the messages removed; null as long as Remove was not called.</summary>
    public List<int>? Removed { get; private set; }

    /// <summary>How often a size was asked for.</summary>
    public int OctetsCalls { get; private set; }

    public int Octets(int index)
    {
        OctetsCalls++;
        var text = Encoding.Latin1.GetString(_messages[index].Wire.Span[..^3]);
        var dots = text.StartsWith('.') ? 1 : 0;
        var emptyLine = LacksEndOfHeader(index) ? 2 : 0;
        return text.Length + emptyLine - dots - (text.Split("\r\n.").Length - 1);
    }

    /// <summary>Messages whose unique-ids cannot be read.</summary>
    public List<int> IndexesWithoutId { get; } = [];

    public bool TryWriteUniqueId(int index, Span<byte> destination, out int length)
    {
        length = IndexesWithoutId.Contains(index) ? 0 : Encoding.ASCII.GetBytes($"uid-{index + 1}", destination);
        return length > 0;
    }

    /// <summary>All messages come in parts of this many octets; 0: whole.</summary>
    public int PartBytes { get; init; }

    /// <summary>A part was asked for and has not come.</summary>
    public bool IsReading { get; private set; }

    /// <summary>The part from which on reading fails; null when it does not.</summary>
    public int? FailingPart { get; set; }

    public ContentStatus TryOpen(int index, out MessageContent content)
    {
        if (PartBytes > 0)
        {
            Assert.Null(_open);
            content = default;
            _open = index;
            _part = -1;
            ReadOn();
            return ContentStatus.Pending;
        }
        content = Content(index, _messages[index].Wire, 0);
        return DamagedIndexes.Contains(index) ? ContentStatus.Damaged : ContentStatus.Ok;
    }

    public void ReadOn()
    {
        Assert.False(IsReading);
        Assert.NotNull(_open);
        IsReading = true;
        _part++;
    }

    /// <summary>What the session is to be told.</summary>
    public ContentStatus CompleteReading(out MessageContent part)
    {
        Assert.True(IsReading);
        IsReading = false;
        var wire = _messages[_open!.Value].Wire;
        var start = Math.Min(_part * PartBytes, wire.Length);
        var end = Math.Min(start + PartBytes, wire.Length);
        part = Content(_open.Value, wire[start..end], wire.Length - end);
        return _part >= FailingPart || DamagedIndexes.Contains(_open.Value) ? ContentStatus.Damaged : ContentStatus.Ok;
    }

    public void CloseContent()
    {
        Assert.False(IsReading);
        Assert.NotNull(_open);
        _open = null;
    }

    private MessageContent Content(int index, ReadOnlyMemory<byte> wire, int rest) =>
        new(wire, _messages[index].Header, rest)
        {
            LacksEndOfHeader = LacksEndOfHeader(index),
            IsUtf8 = _messages[index].Wire.Span.ContainsAnyInRange((byte)128, (byte)255),
        };

    private bool LacksEndOfHeader(int index) => _messages[index].Header == _messages[index].Wire.Length - 3
        && !_messages[index].Wire.Span[..^3].EndsWith("\r\n\r\n"u8);

    public void Remove(ReadOnlySpan<ulong> marks)
    {
        Assert.False(IsClosed);
        Removed = [];
        for (var i = 0; i < Count; i++)
        {
            if ((marks[i / 64] >> (i % 64) & 1) != 0)
            {
                Removed.Add(i);
            }
        }
    }

    public void Close()
    {
        Assert.False(IsClosed, "closed twice");
        IsClosed = true;
    }
}

/// <summary>Opens one maildrop for the user "u" with the password "p w". Belongs to one test.</summary>
internal sealed class FakeMaildropSource(FakeMaildrop maildrop) : IAuthenticator
{
    public LoginVerdict? Verdict { get; private set; }

    public FakeMaildrop Maildrop => maildrop;

    /// <summary>Given to a right password.</summary>
    public LoginVerdict Answer { get; set; } = LoginVerdict.Accepted;

    public bool IsFull { get; set; }

    public bool TryBegin(ReadOnlySpan<byte> user, ReadOnlySpan<byte> password)
    {
        if (IsFull)
        {
            return false;
        }
        Verdict = user.SequenceEqual("u"u8) && password.SequenceEqual("p w"u8) ? Answer : LoginVerdict.Rejected;
        return true;
    }

    public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) =>
        identity.SequenceEqual("user"u8) ? Rfc7677.Pencil : Rfc7677.Decoy;

    public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight)
    {
        Verdict = isRight ? Answer : LoginVerdict.Rejected;
        return true;
    }

    public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;

    public LoginVerdict Complete()
    {
        var verdict = Verdict!.Value;
        Verdict = null;
        return verdict;
    }
}
