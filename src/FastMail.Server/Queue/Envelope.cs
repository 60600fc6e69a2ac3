using System.Buffers.Binary;
using System.Text;
using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>What the meta of a record tells people. Immutable.</summary>
internal sealed class Envelope
{
    public static Envelope Unreadable { get; } = new();

    public string Id { get; private set; } = "?";

    public string From { get; private set; } = "";

    public string? Client { get; private set; }

    public string? Helo { get; private set; }

    public string? Authenticated { get; private set; }

    public string? Tls { get; private set; }

    public string? EnvelopeId { get; private set; }

    public int? Priority { get; private set; }

    public DateTimeOffset? ReleaseAt { get; private set; }

    public Dictionary<uint, (string Address, string? Notify)> Recipients { get; } = [];

    public static Envelope Read(ReadOnlySpan<byte> meta)
    {
        var envelope = new Envelope();
        uint? last = null;
        var reader = new MetaReader(meta);
        while (reader.Read())
        {
            ReadOnlySpan<byte> value = reader.Value;
            switch (reader.Type)
            {
                case MetaType.RelayRecipient when value.Length >= sizeof(uint):
                    last = BinaryPrimitives.ReadUInt32LittleEndian(value);
                    envelope.Recipients[last.Value] = (Encoding.UTF8.GetString(value[sizeof(uint)..]), null);
                    break;
                case MetaType.LocalRecipient:
                    last = null;
                    break;
                case MetaType.Notify when last is { } recipient && value.Length == 1:
                    envelope.Recipients[recipient] = (envelope.Recipients[recipient].Address, NotifyText(value[0]));
                    break;
                default:
                    envelope.Take(reader.Type, value);
                    break;
            }
        }

        return envelope;
    }

    private void Take(MetaType type, ReadOnlySpan<byte> value)
    {
        switch (type)
        {
            case MetaType.TransactionId:
                Id = Encoding.UTF8.GetString(value);
                break;
            case MetaType.ReversePath:
                From = Encoding.UTF8.GetString(value);
                break;
            case MetaType.ClientAddress:
                Client = Encoding.UTF8.GetString(value);
                break;
            case MetaType.Helo:
                Helo = Encoding.UTF8.GetString(value);
                break;
            case MetaType.AuthIdentity:
                Authenticated = Encoding.UTF8.GetString(value);
                break;
            case MetaType.Tls:
                Tls = Encoding.UTF8.GetString(value);
                break;
            case MetaType.EnvelopeId:
                EnvelopeId = Encoding.UTF8.GetString(value);
                break;
            case MetaType.Priority when value.Length == 1:
                Priority = (sbyte)value[0];
                break;
            case MetaType.FutureRelease when value.Length >= sizeof(long):
                ReleaseAt = DateTimeOffset.UnixEpoch.AddMicroseconds(BinaryPrimitives.ReadInt64LittleEndian(value));
                break;
            default:
                break; // nothing that people ask for here
        }
    }

    private static string NotifyText(byte wish) => (wish & 8) != 0 ? "NEVER" : string.Join(
        ',', new[] { (1, "SUCCESS"), (2, "FAILURE"), (4, "DELAY") }.Where(w => (wish & w.Item1) != 0).Select(w => w.Item2));
}
