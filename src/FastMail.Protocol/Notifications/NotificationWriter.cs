using System.Buffers.Text;
using System.Text;
using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Notifications;

/// <summary>
/// Writes a notification in wire form: <c>multipart/report</c> of RFC 6522 with a text for people, a report for
/// programs (RFC 3464, RFC 6533), and what it returns of the message. The trace fields are not part of it
/// (<see cref="TraceFields.WriteOwn"/>). What it holds in memory does not grow with the message. Owned by whoever made
/// it, used again and again, by one thread at a time.
/// </summary>
/// <remarks>
/// The order is <see cref="Begin"/>, <see cref="AppendOriginal"/> as long as <see cref="WantsOriginal"/>, then
/// <see cref="End"/>. What is not ASCII is encoded unless the sender's own address is in UTF-8, so that the notification
/// can be delivered. Only the whole of an 8-bit message cannot be encoded (RFC 2046 5.2.1): a sender here gets it as it
/// is, one elsewhere gets its header section, for a notification that a host refuses for its octets is lost.
/// </remarks>
public sealed class NotificationWriter
{
    private const int BoundaryRoom = 64;

    private readonly WireOutput _output = new();
    private readonly byte[] _boundaryOctets = new byte[BoundaryRoom];
    private ReturnedContent _content;
    private int _boundaryLength;
    private long _headerWireBytes;
    private bool _takesUtf8;
    private bool _isBegun;

    /// <summary>False as soon as the rest of the message would not be returned.</summary>
    public bool WantsOriginal => _isBegun && !_content.IsOver;

    private ReadOnlySpan<byte> Boundary => _boundaryOctets.AsSpan(0, _boundaryLength);

    /// <summary>Writes all that stands before the returned message.</summary>
    /// <param name="sink">Gets the notification, run by run, until <see cref="End"/> has returned.</param>
    /// <param name="arguments">What to tell; not kept.</param>
    /// <param name="recipients">At least one; not kept.</param>
    public void Begin(WireSink sink, in NotificationArguments arguments, ReadOnlySpan<NotifiedRecipient> recipients)
    {
        if (recipients.IsEmpty || arguments.Sender.IsEmpty)
        {
            throw new ArgumentException("A notification is about somebody, and goes to somebody.", nameof(recipients));
        }
        _isBegun = true;
        _takesUtf8 = !Ascii.IsValid(arguments.Sender);
        MakeBoundary(arguments);
        _output.Begin(sink);
        var isFull = ReturnsAll(arguments, recipients) && !(arguments.LeavesHere && !_takesUtf8 && IsRaw(arguments, isFull: true));
        WriteHeader(arguments, PlainReport.SubjectOf(recipients), _takesUtf8 || IsRaw(arguments, isFull));
        _headerWireBytes = _output.Octets;
        WriteText(arguments, recipients, isFull);
        WriteStatus(arguments, recipients);
        BeginContent(arguments, isFull);
    }

    /// <summary>
    /// The next run of the message in wire form, from behind its Return-Path field; cut anywhere. Its final dot may be
    /// in it, and what comes after it is wanted is passed over.
    /// </summary>
    public void AppendOriginal(ReadOnlySpan<byte> wire)
    {
        RequireBegun();
        _content.Take(wire);
    }

    /// <summary>Ends the notification; the sink has all of it.</summary>
    public NotificationFacts End()
    {
        RequireBegun();
        _isBegun = false;
        _content.End();
        _output.EndEncoding();
        _output.Write("\r\n--"u8);
        _output.Write(Boundary);
        _output.WriteLine("--"u8);
        _output.End();
        return new NotificationFacts(
            _output.Octets, _headerWireBytes, _output.Has8Bit, _output.HasLongLine, NeedsSmtpUtf8: _takesUtf8);
    }

    /// <summary>
    /// RFC 3461 4.3: all is returned only with a failure, and then unless the sender wants less; a message that is long,
    /// or holds what no host could be given, not even then.
    /// </summary>
    private static bool ReturnsAll(in NotificationArguments arguments, ReadOnlySpan<NotifiedRecipient> recipients)
    {
        var isFailure = false;
        foreach (var recipient in recipients)
        {
            isFailure |= recipient.Action == DeliveryAction.Failed;
        }
        return isFailure && arguments.Return != DsnReturn.Headers && !arguments.OriginalHasNul
            && arguments.OriginalWireBytes <= arguments.MaxFullBytes;
    }

    /// <summary>The message is one of RFC 6532.</summary>
    private static bool IsGlobal(in NotificationArguments arguments) =>
        arguments is { OriginalIsSmtpUtf8: true, OriginalHas8Bit: true };

    /// <summary>Octets above 127 are returned as they are: <c>message/rfc822</c> may have no encoding.</summary>
    private static bool IsRaw(in NotificationArguments arguments, bool isFull) =>
        isFull && arguments.OriginalHas8Bit && !IsGlobal(arguments);

    /// <summary>With <c>=_</c> in it no quoted-printable line can be one, and nobody can guess the rest.</summary>
    private void MakeBoundary(in NotificationArguments arguments)
    {
        var writer = new ReplyWriter(_boundaryOctets);
        writer.Write("=_"u8);
        writer.Write(arguments.TransactionId[..Math.Min(arguments.TransactionId.Length, Limits.TransactionIdBytes)]);
        writer.Write((byte)'.');
        _ = Utf8Formatter.TryFormat(arguments.Random, writer.Rest, out var length, 'x');
        writer.Advance(length);
        _boundaryLength = writer.Written;
    }

    private void WriteHeader(in NotificationArguments arguments, ReadOnlySpan<byte> subject, bool has8Bit)
    {
        Span<byte> date = stackalloc byte[40];
        _output.Write("Date: "u8);
        _output.WriteLine(date[..TraceFields.WriteDate(date, arguments.Now)]);
        _output.Write("From: Mail Delivery System <postmaster@"u8);
        _output.Write(arguments.Hostname);
        _output.Write(">\r\nTo: <"u8);
        _output.Write(arguments.Sender);
        _output.Write(">\r\nSubject: "u8);
        _output.WriteLine(subject);
        _output.Write("Message-ID: <"u8);
        _output.Write(arguments.TransactionId);
        _output.Write((byte)'@');
        _output.Write(arguments.Hostname);
        // RFC 3834 3.1.8: nobody's vacation program is to answer.
        _output.Write(">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"u8);
        _output.Write("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\""u8);
        _output.Write(Boundary);
        _output.WriteLine("\""u8);
        if (has8Bit)
        {
            _output.WriteLine("Content-Transfer-Encoding: 8bit"u8); // what holds an 8-bit part says so (RFC 2045 6.4)
        }
        _output.WriteLine();
    }

    private void WriteText(in NotificationArguments arguments, ReadOnlySpan<NotifiedRecipient> recipients, bool isFull)
    {
        var isAscii = true;
        foreach (var recipient in recipients)
        {
            isAscii &= Ascii.IsValid(recipient.Address.Span) && Ascii.IsValid(recipient.Diagnostic.Span)
                && Ascii.IsValid(recipient.RemoteHost.Span);
        }
        BeginPart();
        _output.Write("Content-Type: text/plain; charset="u8);
        _output.WriteLine(isAscii ? "us-ascii"u8 : "utf-8"u8);
        BeginPartBody(isAscii, mustEncode: !_takesUtf8);
        new PlainReport(_output, !isAscii).Write(arguments, recipients, isFull);
        _output.EndEncoding();
    }

    private void WriteStatus(in NotificationArguments arguments, ReadOnlySpan<NotifiedRecipient> recipients)
    {
        BeginPart();
        _output.Write("Content-Type: "u8);
        _output.WriteLine(_takesUtf8 ? "message/global-delivery-status"u8 : "message/delivery-status"u8);
        if (_takesUtf8)
        {
            _output.WriteLine("Content-Transfer-Encoding: 8bit"u8);
        }
        _output.WriteLine();
        var status = new DeliveryStatus(_output, _takesUtf8);
        status.WriteMessage(arguments);
        foreach (var recipient in recipients)
        {
            status.WriteRecipient(recipient, arguments.OriginalTransactionId);
        }
    }

    private void BeginContent(in NotificationArguments arguments, bool isFull)
    {
        BeginPart();
        var isGlobal = IsGlobal(arguments);
        _output.Write("Content-Type: "u8);
        _output.WriteLine(
            isFull ? (isGlobal ? "message/global"u8 : "message/rfc822"u8)
            : isGlobal ? "message/global-headers"u8
            : "text/rfc822-headers"u8);
        if (IsRaw(arguments, isFull))
        {
            _output.Write("Content-Transfer-Encoding: 8bit\r\n\r\n"u8);
        }
        else
        {
            var hasNul = arguments.OriginalHasNul;
            BeginPartBody(!arguments.OriginalHas8Bit && !hasNul, mustEncode: !_takesUtf8 || hasNul);
        }
        _content.Begin(_output, isHeaderOnly: !isFull);
    }

    private void BeginPart()
    {
        _output.Write("\r\n--"u8);
        _output.WriteLine(Boundary);
    }

    /// <summary>Says how the part is encoded, when it is, and ends its header.</summary>
    private void BeginPartBody(bool isPlain7Bit, bool mustEncode)
    {
        if (!isPlain7Bit)
        {
            _output.WriteLine(
                mustEncode ? "Content-Transfer-Encoding: quoted-printable"u8 : "Content-Transfer-Encoding: 8bit"u8);
        }
        _output.WriteLine();
        if (!isPlain7Bit && mustEncode)
        {
            _output.BeginEncoding();
        }
    }

    private void RequireBegun()
    {
        if (!_isBegun)
        {
            throw new InvalidOperationException("There is no notification under way; Begin comes first.");
        }
    }
}
