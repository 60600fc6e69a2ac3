using System.Text;
using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Notifications;

/// <summary>
/// Writes the part of a notification that people read. Lives on the stack for one part. The text may hold UTF-8:
/// whoever asks for it encodes it where that cannot travel.
/// </summary>
/// <param name="output">Where to.</param>
/// <param name="takesUtf8">Whether replies of others keep what is not ASCII.</param>
internal readonly ref struct PlainReport(WireOutput output, bool takesUtf8)
{
    private const int MostRecipients = 100; // the part behind this one names them all
    private const int MostDiagnosticOctets = 2048;

    private readonly WireOutput _output = output;
    private readonly bool _takesUtf8 = takesUtf8;

    /// <summary>What it is all about, in three to five words.</summary>
    public static ReadOnlySpan<byte> SubjectOf(ReadOnlySpan<NotifiedRecipient> recipients)
    {
        var first = recipients[0].Action;
        foreach (var recipient in recipients)
        {
            if (recipient.Action != first)
            {
                return "What became of your mail"u8;
            }
        }
        return first switch
        {
            DeliveryAction.Failed => "Your mail could not be delivered"u8,
            DeliveryAction.Delayed => "Your mail is delayed"u8,
            DeliveryAction.Delivered => "Your mail was delivered"u8,
            _ => "Your mail was passed on"u8,
        };
    }

    public void Write(in NotificationArguments arguments, ReadOnlySpan<NotifiedRecipient> recipients, bool isFull)
    {
        _output.Write("This is the mail system at "u8);
        _output.Write(arguments.Hostname);
        _output.WriteLine("."u8);
        var shown = 0;
        for (var action = DeliveryAction.Failed; action <= DeliveryAction.Expanded; action++)
        {
            WriteGroup(action, recipients, ref shown);
        }
        if (recipients.Length > shown)
        {
            _output.WriteLine();
            _output.WriteLine("There are more recipients; the report behind this text names all of them."u8);
        }
        _output.WriteLine();
        _output.Write("Behind this text follow a report for programs and "u8);
        _output.WriteLine(isFull ? "your message."u8 : "the header of your message."u8);
    }

    private void WriteGroup(DeliveryAction action, ReadOnlySpan<NotifiedRecipient> recipients, ref int shown)
    {
        var isFirst = true;
        foreach (var recipient in recipients)
        {
            if (recipient.Action != action || shown == MostRecipients)
            {
                continue;
            }
            if (isFirst)
            {
                _output.WriteLine();
                _output.WriteLine(
                    action == DeliveryAction.Relayed ? OpeningOfRelayed(recipients)
                    : action == DeliveryAction.Delayed ? OpeningOfDelayed(recipients)
                    : OpeningOf(action));
                isFirst = false;
            }
            shown++;
            _output.WriteLine();
            WriteRecipient(recipient);
        }
    }

    private static ReadOnlySpan<byte> OpeningOf(DeliveryAction action) => action switch
    {
        DeliveryAction.Failed => "Your message could not be delivered, and will not be tried again, to:"u8,
        DeliveryAction.Delivered => "Your message was delivered to:"u8,
        _ => "Your message was passed on to several addresses behind:"u8,
    };

    /// <summary>That it is being tried again is said only where it is true of all of them.</summary>
    private static ReadOnlySpan<byte> OpeningOfDelayed(ReadOnlySpan<NotifiedRecipient> recipients)
    {
        foreach (var recipient in recipients)
        {
            if (recipient is { Action: DeliveryAction.Delayed, WillRetryUntil: null })
            {
                return "Your message was not delivered within the time that you gave it, to:"u8;
            }
        }
        return "Your message has not been delivered so far, and is being tried again, to:"u8;
    }

    /// <summary>That nothing more will be heard is said only where it is true of all of them.</summary>
    private static ReadOnlySpan<byte> OpeningOfRelayed(ReadOnlySpan<NotifiedRecipient> recipients)
    {
        foreach (var recipient in recipients)
        {
            if (recipient is { Action: DeliveryAction.Relayed, HostReports: true })
            {
                return "Your message was passed on to the next host on its way, for:"u8;
            }
        }
        return "Your message was passed on to a host that does not report deliveries, for:"u8;
    }

    private void WriteRecipient(in NotifiedRecipient recipient)
    {
        _output.Write("  <"u8);
        _output.Write(recipient.Address.Span);
        _output.WriteLine(">"u8);
        var host = Shorten(recipient.RemoteHost.Span);
        var text = Shorten(recipient.Diagnostic.Span);
        Span<byte> clean = stackalloc byte[host.Length + text.Length + 16];
        var length = CleanText.Write(host, _takesUtf8, clean);
        if (length > 0 && text.Length > 0)
        {
            var said = recipient.IsSmtpReply ? " said: "u8 : ": "u8;
            said.CopyTo(clean[length..]);
            length += said.Length;
        }
        length += CleanText.Write(text, _takesUtf8, clean[length..]);
        if (length > 0)
        {
            _output.Write("    "u8);
            FoldedText.WriteLine(_output, 4, clean[..length], "    "u8);
        }
        if (recipient is { Action: DeliveryAction.Delayed, WillRetryUntil: { } until })
        {
            Span<byte> date = stackalloc byte[40];
            _output.Write("    It will be tried until "u8);
            _output.Write(date[..TraceFields.WriteDate(date, until)]);
            _output.WriteLine("."u8);
        }
        else if (recipient.Action == DeliveryAction.Delayed)
        {
            _output.WriteLine("    It has gone on its way since."u8);
        }
    }

    private static ReadOnlySpan<byte> Shorten(ReadOnlySpan<byte> text) =>
        text.Length > MostDiagnosticOctets ? text[..MostDiagnosticOctets] : text;
}
