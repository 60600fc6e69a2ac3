using System.Runtime.InteropServices;
using FastMail.Server.Accounts;
using FastMail.Server.Queue;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>Whose mail waits for its release.</content>
internal sealed partial class DeliveryEngine
{
    private const long MostHeldMicros = 3_600_000_000; // then the wall clock is looked at again: it may have been set

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

    /// <summary>When to look at what its sender holds back for so long by the wall clock.</summary>
    private long HeldUntil(long micros) => _schedule.Now + Math.Min(micros, MostHeldMicros);

    /// <summary>True when its time by the wall clock is still to come: it waits on.</summary>
    private bool IsStillHeld(Consignment consignment)
    {
        long wall = Receive.Intake.Micros(Now);
        _ = Log.Queue.TryFind(consignment.Seq, out _, _known);
        QueuedRecipient known = _known.Find(k => k.Recipient == consignment[0]);
        _known.Clear();
        bool isHeld = known.IsHeldBySender(wall);
        if (isHeld)
        {
            _schedule.Wait(consignment, HeldUntil(known.DueMicros - wall), isHeld: true);
        }

        return isHeld;
    }
}
