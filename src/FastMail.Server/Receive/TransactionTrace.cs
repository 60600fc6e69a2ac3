using System.Net;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>
/// What the server itself says of one transaction: the facts in the record's meta, and the trace fields in front of the
/// content. Owned and reused by its <see cref="MailReceiver"/>; loop thread only.
/// </summary>
internal sealed class TransactionTrace
{
    private readonly ReadOnlyMemory<byte> _hostname;
    private readonly TimeProvider _clock;
    private readonly byte[] _clientAddress = new byte[16];
    private readonly byte[] _clientText = new byte[65]; // the longest text of an IPv6 address with its scope
    private OctetCopy _reversePath;
    private int _clientAddressLength;
    private int _clientTextLength;
    private bool _isSmtpUtf8;
    private bool _isSubmission;
    private long _id;

    /// <param name="hostname">This host's name, ASCII.</param>
    /// <param name="clock">Dates the fields.</param>
    public TransactionTrace(ReadOnlyMemory<byte> hostname, TimeProvider clock)
    {
        _hostname = hostname;
        _clock = clock;
    }

    /// <summary>A new connection.</summary>
    /// <param name="client">Its address; null for a process of this machine that came through a unix socket.</param>
    public void Connect(IPAddress? client)
    {
        if (client is null)
        {
            _clientAddressLength = 0;
            _clientTextLength = Encoding.ASCII.GetBytes("local", _clientText);
            return;
        }

        IPAddress plain = client.IsIPv4MappedToIPv6 ? client.MapToIPv4() : client;
        if (!plain.TryWriteBytes(_clientAddress, out _clientAddressLength)
            || !plain.TryFormat(_clientText, out _clientTextLength))
        {
            throw new ArgumentException("No address of a client.", nameof(client));
        }
    }

    /// <summary>MAIL.</summary>
    public void Begin(ReadOnlySpan<byte> reversePath) =>
        _reversePath.Set(reversePath); // copied: the receive buffer is reused after this call

    /// <summary>The content begins: who has sent it, and how.</summary>
    /// <param name="message">Begun, with its recipients.</param>
    /// <param name="facts">What the session knows.</param>
    /// <param name="transactionId">The number by which replies, trace and log name it.</param>
    public void AddFacts(PendingMessage message, in TransactionFacts facts, long transactionId)
    {
        _id = transactionId;
        Span<byte> id = stackalloc byte[32];
        id = id[..WriteId(id)];
        message.AddMeta(MetaType.TransactionId, id);
        message.AddMeta(MetaType.ClientAddress, _clientText.AsSpan(0, _clientTextLength));
        message.AddMeta(MetaType.Helo, facts.Helo);
        if (!facts.AuthIdentity.IsEmpty)
        {
            message.AddMeta(MetaType.AuthIdentity, facts.AuthIdentity);
        }

        if (!facts.Tls.IsEmpty)
        {
            message.AddMeta(MetaType.Tls, facts.Tls);
        }
    }

    /// <summary>The fields, behind everything else that stands in front of the content.</summary>
    /// <param name="message">With all of its meta.</param>
    /// <param name="facts">What the session knows.</param>
    /// <param name="onlyRecipient">To be named; empty when there are several.</param>
    public void WriteFields(PendingMessage message, in TransactionFacts facts, ReadOnlySpan<byte> onlyRecipient)
    {
        _isSmtpUtf8 = facts.IsSmtpUtf8;
        _isSubmission = facts.IsSubmission;
        Span<byte> id = stackalloc byte[32];
        Span<byte> trace = stackalloc byte[TraceFields.MaxBytes];
        int length = TraceFields.Write(
            trace,
            new TraceArguments
            {
                ReversePath = _reversePath.Span,
                Helo = facts.Helo,
                ClientAddress = _clientAddress.AsSpan(0, _clientAddressLength),
                Hostname = _hostname.Span,
                TransactionId = id[..WriteId(id)],
                OnlyRecipient = onlyRecipient,
                Tls = facts.Tls,
                IsExtended = facts.IsExtended,
                IsAuthenticated = !facts.AuthIdentity.IsEmpty,
                IsSmtpUtf8 = facts.IsSmtpUtf8,
                IsLmtp = facts.IsLmtp,
                ReceivedAt = _clock.GetUtcNow(),
            },
            out int returnPathBytes);
        message.SetTrace(trace[..length], returnPathBytes, _isSubmission ? TraceFields.MaxMissingBytes : 0);
    }

    /// <summary>The content is there: our own users need not write all of its fields (RFC 6409 8).</summary>
    public void AddMissing(PendingMessage message, in ContentFacts content)
    {
        if (!_isSubmission)
        {
            return;
        }

        Span<byte> id = stackalloc byte[32];
        Span<byte> fields = stackalloc byte[TraceFields.MaxMissingBytes];
        int length = TraceFields.WriteMissing(fields, content, _clock.GetUtcNow(), id[..WriteId(id)], _hostname.Span);
        message.ExtendTrace(fields[..length]);
    }

    public int WriteId(Span<byte> destination) => Intake.WriteId(_id, destination);

    public MessageFlags FlagsOf(in ContentFacts content) =>
        (content.Has8Bit ? MessageFlags.Has8Bit : MessageFlags.None)
        | (content.HasLongLine ? MessageFlags.LongLine : MessageFlags.None)
        | (content.HasEndOfHeader ? MessageFlags.None : MessageFlags.NoEndOfHeader)
        | (_isSmtpUtf8 ? MessageFlags.SmtpUtf8 : MessageFlags.None);
}
