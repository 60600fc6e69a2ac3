using System.Buffers;
using System.Buffers.Text;
using System.Text;
using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Notifications;

/// <summary>
/// Writes the part of a notification that programs read: <c>message/delivery-status</c> (RFC 3464 2), or
/// <c>message/global-delivery-status</c> (RFC 6533 4) where UTF-8 may stand for itself. Lives on the stack for one
/// part.
/// </summary>
/// <param name="output">Where to.</param>
/// <param name="takesUtf8">The notification travels with SMTPUTF8.</param>
internal readonly ref struct DeliveryStatus(WireOutput output, bool takesUtf8)
{
    private const int DateOctets = 40;
    private const int MostDiagnosticOctets = 2048; // a reply has 512 a line

    private readonly WireOutput _output = output;
    private readonly bool _takesUtf8 = takesUtf8;

    /// <summary>The fields about the message.</summary>
    public void WriteMessage(in NotificationArguments arguments)
    {
        Span<byte> envelopeId = stackalloc byte[Limits.EnvelopeIdBytes];
        if (!arguments.EnvelopeId.IsEmpty && Xtext.TryDecode(arguments.EnvelopeId, envelopeId, out var length))
        {
            _output.Write("Original-Envelope-Id: "u8);
            WriteClean(envelopeId[..length]);
            _output.WriteLine();
        }
        _output.Write("Reporting-MTA: dns; "u8);
        _output.WriteLine(arguments.Hostname);
        WriteDate("Arrival-Date: "u8, arguments.ArrivedAt);
        if (arguments.DeliverBy is { } deadline)
        {
            WriteDate("Deliver-By-Date: "u8, deadline); // RFC 2852 5
        }
        WriteRelease(arguments.Release, arguments.ReleaseText);
    }

    /// <summary>
    /// How the sender had it held back: the very value of MAIL, and no space behind the semicolon (RFC 4865 5.1.2).
    /// </summary>
    private void WriteRelease(FutureRelease? given, scoped ReadOnlySpan<byte> text)
    {
        if (given is not { } release)
        {
            return;
        }
        _output.Write(release.IsUntil ? "Future-Release-Request: until;"u8 : "Future-Release-Request: for;"u8);
        Span<byte> value = stackalloc byte[InternetDateTime.MaxBytes];
        if (text.IsEmpty)
        {
            var length = 0;
            if (release.IsUntil)
            {
                length = InternetDateTime.Write(value, DateTimeOffset.FromUnixTimeSeconds(release.Seconds));
            }
            else
            {
                _ = Utf8Formatter.TryFormat(release.Seconds, value, out length);
            }
            text = value[..length];
        }
        _output.WriteLine(text);
    }

    /// <summary>An empty line, and the fields about one recipient.</summary>
    public void WriteRecipient(in NotifiedRecipient recipient, ReadOnlySpan<byte> logId)
    {
        _output.WriteLine();
        WriteOriginalRecipient(recipient.OriginalRecipient.Span);
        var address = recipient.Address.Span;
        var isAscii = Ascii.IsValid(address);
        _output.Write(isAscii ? "Final-Recipient: rfc822; "u8 : "Final-Recipient: utf-8; "u8);
        if (isAscii || _takesUtf8)
        {
            _output.Write(address);
        }
        else
        {
            WriteEscaped(address, isPlainAddress: true);
        }
        _output.WriteLine();
        _output.Write("Action: "u8);
        _output.WriteLine(NameOf(recipient.Action));
        _output.Write("Status: "u8);
        _output.WriteLine(StatusOf(recipient));
        WriteRemote(recipient.RemoteHost.Span);
        WriteDiagnostic(recipient);
        if (recipient.LastAttempt is { } last)
        {
            WriteDate("Last-Attempt-Date: "u8, last);
        }
        if (!logId.IsEmpty)
        {
            _output.Write("Final-Log-ID: "u8);
            _output.WriteLine(logId);
        }
        if (recipient is { WillRetryUntil: { } until, Action: DeliveryAction.Delayed })
        {
            WriteDate("Will-Retry-Until: "u8, until);
        }
    }

    private static ReadOnlySpan<byte> NameOf(DeliveryAction action) => action switch
    {
        DeliveryAction.Failed => "failed"u8,
        DeliveryAction.Delayed => "delayed"u8,
        DeliveryAction.Delivered => "delivered"u8,
        DeliveryAction.Relayed => "relayed"u8,
        _ => "expanded"u8,
    };

    /// <summary><c>class "." subject "." detail</c> (RFC 3463 2), of a class that goes with the action.</summary>
    private static ReadOnlySpan<byte> StatusOf(in NotifiedRecipient recipient)
    {
        var status = recipient.Status.Span;
        var otherwise = recipient.Action switch
        {
            DeliveryAction.Failed => "5.0.0"u8,
            DeliveryAction.Delayed => "4.0.0"u8,
            _ => "2.0.0"u8,
        };
        // A failure of class 4 is one that lasted too long.
        var isRightClass = !status.IsEmpty
            && (status[0] == otherwise[0] || (recipient.Action == DeliveryAction.Failed && status[0] == '4'));
        return isRightClass && IsStatus(status) ? status : otherwise;
    }

    private static bool IsStatus(ReadOnlySpan<byte> status)
    {
        if (status.Length < 5 || status[1] != '.')
        {
            return false;
        }
        var rest = status[2..];
        var dot = rest.IndexOf((byte)'.');
        return dot >= 0 && IsNumber(rest[..dot]) && IsNumber(rest[(dot + 1)..]);

        static bool IsNumber(ReadOnlySpan<byte> text) =>
            text.Length is >= 1 and <= 3 && text.IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0;
    }

    /// <summary>RFC 3464 2.3.1: what ORCPT said, decoded; addresses in UTF-8 by RFC 6533 3.</summary>
    private void WriteOriginalRecipient(ReadOnlySpan<byte> given)
    {
        var semicolon = given.IndexOf((byte)';');
        if (semicolon <= 0)
        {
            return;
        }
        var type = given[..semicolon];
        var address = given[(semicolon + 1)..];
        Span<byte> decoded = stackalloc byte[Limits.OriginalRecipientBytes];
        var isUtf8 = AsciiWord.Is(type, "utf-8"u8);
        var length = 0;
        if (!isUtf8 && !Xtext.TryDecode(address, decoded, out length))
        {
            return;
        }
        _output.Write("Original-Recipient: "u8);
        _output.Write(type);
        _output.Write("; "u8);
        if (!isUtf8)
        {
            _output.Write(decoded[..length]);
        }
        else if (_takesUtf8)
        {
            _output.Write(address);
        }
        else
        {
            WriteEscaped(address, isPlainAddress: false);
        }
        _output.WriteLine();
    }

    /// <summary>
    /// <c>utf-8-addr-xtext</c>: ASCII that stands for the characters (RFC 6533 3). In a plain address the characters
    /// that mark escapes are themselves escaped; in one that came in this form they mark some already.
    /// </summary>
    private void WriteEscaped(ReadOnlySpan<byte> address, bool isPlainAddress)
    {
        Span<byte> digits = stackalloc byte[8];
        while (!address.IsEmpty)
        {
            var status = Rune.DecodeFromUtf8(address, out var rune, out var length);
            var isSpecial = isPlainAddress && rune.Value is '+' or '=' or '\\';
            if (status != OperationStatus.Done)
            {
                _output.Write((byte)'?');
            }
            else if (rune.IsAscii && !isSpecial && rune.Value is > ' ' and < 127)
            {
                _output.Write((byte)rune.Value);
            }
            else
            {
                _output.Write(@"\x{"u8);
                _ = Utf8Formatter.TryFormat(rune.Value, digits, out var written, new StandardFormat('X', 2));
                _output.Write(digits[..written]);
                _output.Write((byte)'}');
            }
            address = address[length..];
        }
    }

    /// <summary>The name alone: port and address that the relay puts behind it are for people.</summary>
    private void WriteRemote(ReadOnlySpan<byte> host)
    {
        if (host.IsEmpty)
        {
            return;
        }
        var isPath = host.IndexOf((byte)'/') >= 0;
        var bracket = host.IndexOf((byte)'[');
        var name = isPath || bracket <= 0 ? host : host[..bracket];
        var isAddress = !isPath && name.IndexOfAnyExceptInRange((byte)'.', (byte)'9') < 0;
        _output.Write(isPath ? "Remote-MTA: x-unix; "u8 : "Remote-MTA: dns; "u8);
        if (isAddress)
        {
            _output.Write((byte)'[');
        }
        WriteClean(name);
        if (isAddress)
        {
            _output.Write((byte)']');
        }
        _output.WriteLine();
    }

    private void WriteDiagnostic(in NotifiedRecipient recipient)
    {
        var text = recipient.Diagnostic.Span;
        text = text.Length > MostDiagnosticOctets ? text[..MostDiagnosticOctets] : text;
        Span<byte> clean = stackalloc byte[text.Length];
        clean = clean[..CleanText.Write(text, _takesUtf8, clean)];
        if (clean.IsEmpty)
        {
            return;
        }
        var start = recipient.IsSmtpReply ? "Diagnostic-Code: smtp; "u8 : "Diagnostic-Code: x-fastmail; "u8;
        _output.Write(start);
        FoldedText.WriteLine(_output, start.Length, clean, " "u8);
    }

    private void WriteDate(ReadOnlySpan<byte> name, DateTimeOffset time)
    {
        Span<byte> date = stackalloc byte[DateOctets];
        _output.Write(name);
        _output.WriteLine(date[..TraceFields.WriteDate(date, time)]);
    }

    private void WriteClean(ReadOnlySpan<byte> text)
    {
        text = text.Length > MostDiagnosticOctets ? text[..MostDiagnosticOctets] : text;
        Span<byte> clean = stackalloc byte[text.Length];
        _output.Write(clean[..CleanText.Write(text, _takesUtf8, clean)]);
    }
}
