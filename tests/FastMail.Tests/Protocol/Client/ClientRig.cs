using System.Buffers;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp.Client;

namespace FastMail.Tests.Protocol.Client;

/// <summary>
/// A client session in place of its connection: what it says is collected, mail is begun whenever it may. Owned by one
/// test and its thread.
/// </summary>
internal sealed class ClientRig(SmtpClientOptions options, int room = 2048)
{
    private readonly List<byte> _said = [];
    private readonly byte[] _output = new byte[room];
    private byte[] _unread = [];

    public static readonly TlsFacts Facts = new("TLSv1.3 TLS_AES_128_GCM_SHA256"u8.ToArray(), default);

    public SmtpClientSession Session { get; } = Begun(options);

    public Queue<TestMail> Queue { get; } = new();

    /// <summary>The session ended by Done; then what it said has left.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>The session ended by InvalidData: what it said in that turn has not left.</summary>
    public bool IsCut { get; private set; }

    /// <summary>QUIT follows the last of the queue.</summary>
    public bool Quits { get; set; }

    public string Said => Encoding.Latin1.GetString([.. _said]);

    public static SmtpClientOptions Options(bool isLmtp = false, TlsPolicy tls = TlsPolicy.None) =>
        new() { Hostname = "me.test"u8.ToArray(), IsLmtp = isLmtp, Tls = tls, Nonce = Nonce };

    private static int Nonce(Span<byte> destination) => Encoding.ASCII.GetBytes("rOprNGfwEbeRWgbNEkqO", destination);

    public void Feed(string octets) => Feed(Encoding.Latin1.GetBytes(octets));

    /// <summary>Octets of the host in one segment, in a turn of their own.</summary>
    public void Feed(ReadOnlySpan<byte> octets)
    {
        _unread = [.. _unread, .. octets];
        var turn = new List<byte>();
        var isWaiting = true;
        while (isWaiting && !IsClosed && !IsCut)
        {
            isWaiting = Turn(turn);
            if (!IsCut)
            {
                _said.AddRange(turn); // what the turn has said has left
            }
            turn.Clear();
            if (isWaiting)
            {
                Session.Derivation?.Run();
                Session.GoOn();
            }
        }
    }

    public void FeedSplit(string octets, int piece)
    {
        for (var at = 0; at < octets.Length; at += piece)
        {
            Feed(octets.Substring(at, Math.Min(piece, octets.Length - at)));
        }
    }

    public void Secure(bool isVerified = true)
    {
        if (_unread.Length > 0)
        {
            throw new InvalidOperationException("Octets in the clear are left.");
        }
        Session.Secured(Facts, isVerified);
        Feed("");
    }

    public void Lose(ClientLoss loss) => Session.Lost(loss);

    private static SmtpClientSession Begun(SmtpClientOptions options)
    {
        var session = new SmtpClientSession();
        session.Reset(options);
        return session;
    }

    /// <summary>Calls until the session wants input; true when it waits for content instead.</summary>
    private bool Turn(List<byte> turn)
    {
        while (true)
        {
            if (Session.CanBegin && Queue.TryDequeue(out var mail))
            {
                Session.Begin(mail);
            }
            if (Quits && Queue.Count == 0 && Session.IsReady)
            {
                Session.Quit();
            }
            var status = Session.Receive(_unread, _output, out var consumed, out var written);
            _unread = _unread[consumed..];
            turn.AddRange(_output.AsSpan(0, written));
            turn.AddRange(Session.Body.Span);
            switch (status)
            {
                case OperationStatus.DestinationTooSmall:
                    continue;
                case OperationStatus.Done:
                    IsClosed = true;
                    return false;
                case OperationStatus.InvalidData:
                    IsCut = true;
                    return false;
                default:
                    if (Session.CanBegin && Queue.Count > 0)
                    {
                        continue;
                    }
                    return Session.IsWaiting;
            }
        }
    }
}
