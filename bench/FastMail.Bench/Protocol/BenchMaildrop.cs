using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;
using FastMail.Protocol.Sasl;

namespace FastMail.Bench.Protocol;

/// <summary>Messages of 1 KiB in memory, all with the same content; what is removed stays. Any thread.</summary>
internal sealed class BenchMaildrop : IMaildrop
{
    private readonly byte[] _wire;
    private readonly int _headerBytes;

    public BenchMaildrop(int count)
    {
        Count = count;
        StringBuilder wire = new("Subject: x\r\n\r\n");
        _headerBytes = wire.Length;
        while (wire.Length < 1024)
        {
            wire.Append('x', 72).Append("\r\n");
        }

        _wire = Encoding.ASCII.GetBytes(wire.Append(".\r\n").ToString());
    }

    public int? ExpireDays => null;

    public int Count { get; }

    /// <summary>What RETR sends, with the terminator.</summary>
    public ReadOnlySpan<byte> Wire => _wire;

    public int Octets(int index) => _wire.Length - 3;

    public bool TryWriteUniqueId(int index, Span<byte> destination, out int length)
    {
        "0123456789abcdef"u8.CopyTo(destination);
        length = 16;
        return true;
    }

    public ContentStatus TryOpen(int index, out MessageContent content)
    {
        content = new MessageContent(_wire, _headerBytes);
        return ContentStatus.Ok;
    }

    public void ReadOn() => throw new InvalidOperationException("No message comes in parts here.");

    public void CloseContent()
    {
    }

    public void Remove(ReadOnlySpan<ulong> marks)
    {
    }

    public void Close()
    {
    }

    /// <summary>A session that has logged in to it, its greeting and login answered.</summary>
    public Pop3Session LogIn(byte[] replies)
    {
        Pop3Session session = new(
            new Pop3SessionOptions { Hostname = "mx.test"u8.ToArray(), AllowsCleartext = true }, new Anybody());
        session.Receive("USER u@local.test\r\n"u8, replies, out _, out _);
        session.Receive("PASS x\r\n"u8, replies, out _, out _);
        session.LoggedIn(LoginVerdict.Accepted, this);
        session.Receive(default, replies, out _, out _);
        return session.IsAuthenticated ? session : throw new InvalidOperationException("The login has failed.");
    }

    /// <summary>Begins the check of every password; the verdict is the benchmark's to give.</summary>
    private sealed class Anybody : IAuthenticator
    {
        public bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password) => true;

        public ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity) => null;

        public bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight) => false;

        public bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token) => false;
    }
}
