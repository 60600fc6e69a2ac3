using System.Text;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;

namespace FastMail.Bench.Protocol;

/// <summary>A message of 1 KiB to one recipient, the same each time; counts those that were taken. Any one thread.</summary>
internal sealed class BenchMail : IOutgoingMail
{
    private readonly byte[] _content;

    public BenchMail()
    {
        StringBuilder content = new("Subject: x\r\n\r\n");
        while (content.Length < 1024)
        {
            content.Append('x', 72).Append("\r\n");
        }

        _content = GC.AllocateUninitializedArray<byte>(content.Append(".\r\n").Length, pinned: true);
        Encoding.ASCII.GetBytes(content.ToString(), _content);
    }

    public long Delivered { get; private set; }

    public MailArguments Mail => new() { ReversePath = "bounce-123@lists.example.com"u8 };

    public int Recipients => 1;

    public OutgoingContent Content => new(_content.Length, _content.Length - 3);

    public RcptArguments Recipient(int number) => new() { ForwardPath = "u@local.test"u8 };

    public bool TryRead(out ReadOnlyMemory<byte> piece)
    {
        piece = _content;
        return true;
    }

    public void Answered(int recipient, in DeliveryReply reply)
    {
        if (reply.Outcome != DeliveryOutcome.Delivered)
        {
            throw new InvalidOperationException(Encoding.Latin1.GetString(reply.Wire));
        }

        Delivered++;
    }

    public void Ended()
    {
    }
}
