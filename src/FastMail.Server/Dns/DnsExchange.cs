using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using FastMail.Net;
using FastMail.Protocol.Dns;

namespace FastMail.Server.Dns;

/// <summary>
/// One question on its way: a connected UDP socket for each attempt, so that the port is new and random and the kernel
/// drops what other hosts send, and an id of 16 random bits. Owned by its resolver; loop thread only, but for the ends
/// of socket calls, which post it.
/// </summary>
internal sealed class DnsExchange : ILoopWork, IDisposable
{
    private const int LargestAnswerBytes = 512; // RFC 1035 2.3.4: we announce no more
    private const int MostStrays = 32; // datagrams that are no answer to us, before an attempt is given up

    private readonly StubResolver _resolver;
    private readonly byte[] _name = new byte[DnsName.MaxBytes];
    private readonly byte[] _received = new byte[LargestAnswerBytes + 1]; // one more tells what is too long
    private readonly LoopTimer _timer;
    private int _nameLength;
    private int _attempts;
    private int _strays;
    private ushort _id;
    private Attempt? _attempt;

    private DnsExchange(StubResolver resolver, Question question)
    {
        _resolver = resolver;
        Question = question;
        _timer = new LoopTimer(this);
    }

    public Question Question { get; }

    /// <summary>Who hears the answer, with the numbers they gave.</summary>
    public List<(IDnsAsker Asker, int Number)> Askers { get; } = [];

    /// <summary>False when the name is none.</summary>
    public static bool TryMake(StubResolver resolver, Question question, [NotNullWhen(true)] out DnsExchange? exchange)
    {
        exchange = new DnsExchange(resolver, question);
        if (!DnsName.TryWrite(question.Name, exchange._name, out exchange._nameLength))
        {
            exchange = null;
        }

        return exchange is not null;
    }

    /// <summary>Begins the next attempt; its end, even at once, comes from the loop and not from inside this call.</summary>
    public void Begin()
    {
        Dispose();
        bool isSent = TrySend();
        _resolver.Loop.Arm(_timer, isSent ? _resolver.Options.Timeout / _resolver.Options.Attempts : TimeSpan.Zero);
    }

    public void Dispose()
    {
        _attempt?.Dispose();
        _attempt = null;
    }

    /// <summary>The time of this attempt is over.</summary>
    void ILoopWork.Run()
    {
        if (_attempts < _resolver.Options.Attempts)
        {
            Begin();
        }
        else
        {
            End(DnsAnswer.Failed);
        }
    }

    /// <summary>Sends the question to the next server; false when that cannot be done, as without a route.</summary>
    private bool TrySend()
    {
        _strays = 0;
        IReadOnlyList<IPEndPoint> servers = _resolver.Options.Servers;
        IPEndPoint server = servers[_attempts++ % servers.Count];
        _id = (ushort)RandomNumberGenerator.GetInt32(ushort.MaxValue + 1);
        Span<byte> query = stackalloc byte[DnsQuery.MaxBytes];
        int length = DnsQuery.Write(query, _id, _name.AsSpan(0, _nameLength), Question.Type);
        try
        {
            _attempt = new Attempt(this, server);
            _attempt.Send(query[..length]);
            _resolver.Loop.Post(_attempt); // which begins to receive
            return true;
        }
        catch (SocketException)
        {
            Dispose();
            return false;
        }
    }

    /// <summary>The first receive may begin, or one has ended.</summary>
    /// <param name="attempt">Whose.</param>
    /// <param name="length">As for <see cref="Take"/>; null before the first.</param>
    private void GoOn(Attempt attempt, int? length)
    {
        if (!ReferenceEquals(attempt, _attempt))
        {
            return;
        }

        if (length is not null)
        {
            Take(length.Value);
        }

        while (_attempt == attempt && attempt.TryReceive(_received, out int received))
        {
            Take(received);
        }
    }

    /// <param name="length">Octets received; negative when the receive failed, as when nobody listens there.</param>
    private void Take(int length)
    {
        DnsAnswer? answer = length is < 0 or > LargestAnswerBytes
            ? null
            : DnsAnswer.Read(_received.AsSpan(0, length), _id, _name.AsSpan(0, _nameLength), Question.Type);
        if (answer is not null)
        {
            End(answer);
        }
        else if (length < 0 || ++_strays >= MostStrays)
        {
            Dispose();
            _resolver.Loop.Arm(_timer, TimeSpan.Zero); // the next attempt, if there is one
        }
    }

    private void End(DnsAnswer answer)
    {
        Dispose();
        _resolver.Loop.Disarm(_timer);
        _resolver.Ended(this, answer);
    }

    /// <summary>The socket of one attempt. What ends after the attempt was given up is dropped.</summary>
    private sealed class Attempt : ILoopWork, IDisposable
    {
        private readonly DnsExchange _exchange;
        private readonly Socket _socket;
        private readonly SocketAsyncEventArgs _args = new();
        private bool _hasBegun;

        public Attempt(DnsExchange exchange, IPEndPoint server)
        {
            _exchange = exchange;
            _socket = new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            _args.Completed += (_, _) => _exchange._resolver.Loop.Post(this);
            try
            {
                _socket.Connect(server); // of UDP: only names the peer
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public void Send(ReadOnlySpan<byte> query) => _socket.Send(query);

        /// <summary>True when the receive has ended at once.</summary>
        public bool TryReceive(byte[] buffer, out int length)
        {
            _args.SetBuffer(buffer);
            bool isPending = _socket.ReceiveAsync(_args);
            length = isPending ? 0 : Length;
            return !isPending;
        }

        public void Run()
        {
            int? length = _hasBegun ? Length : null;
            _hasBegun = true;
            _exchange.GoOn(this, length);
        }

        public void Dispose()
        {
            _socket.Dispose();
            _args.Dispose(); // a receive under way is ended by the closed socket
        }

        private int Length => _args.SocketError == SocketError.Success ? _args.BytesTransferred : -1;
    }
}
