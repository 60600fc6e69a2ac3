using System.Runtime.InteropServices;
using FastMail.Server.Accounts;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>Whose mail waits for its release.</content>
internal sealed partial class DeliveryEngine
{
    /// <summary>The same for all who log in to one account, however they write its name.</summary>
    public static uint SubmitterOf(ReadOnlySpan<byte> identity)
    {
        Span<char> key = stackalloc char[AddressKey.MaxLength];
        int length = AddressKey.Write(identity, key);
        return SenderOf(length < 0 ? identity : MemoryMarshal.AsBytes(key[..length]));
    }

    /// <summary>Recipients whose mail a submitter has held back.</summary>
    public int HeldOf(uint submitter) => _schedule.HeldOf(submitter);

    /// <summary>Who has submitted a message; as nobody where its record cannot be read.</summary>
    private uint ReadSubmitter(ulong seq)
    {
        MetaReader reader = new(Log.TryReadQueuedMeta(seq, ref _meta, out int length) ? _meta.AsSpan(0, length) : []);
        while (reader.Read())
        {
            if (reader.Type == MetaType.AuthIdentity)
            {
                return SubmitterOf(reader.Value);
            }
        }

        return SubmitterOf(default);
    }
}
