using FastMail.Protocol.Dkim;
using FastMail.Server.Dkim;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>DKIM signatures, made by other threads before mail goes out.</content>
internal sealed partial class DeliveryEngine
{
    private const int MostSigning = 64; // messages; they are signed as fast as those threads can anyway
    private const int KeptSignatures = 4096;

    private readonly Dictionary<ulong, ReadOnlyMemory<byte>> _signatures = []; // by message, for its other destinations
    private readonly Queue<ulong> _signed = new(); // in the order in which they are forgotten
    private readonly Stack<DeliverySignature> _idleSignatures = new();
    private int _signing;

    private bool SignsMail => _parts.Signing is { HasKeys: true };

    /// <summary>One more could be signed, if it had to be.</summary>
    private bool MaySign => !SignsMail || _signing < MostSigning;

    /// <summary>
    /// True when the delivery can go out. Else it is being signed, and its consignment comes back to where it was taken
    /// from.
    /// </summary>
    private bool TrySign(Delivery delivery, Destination destination)
    {
        if (!SignsMail)
        {
            return true;
        }

        if (_signatures.TryGetValue(delivery.Consignment.Seq, out ReadOnlyMemory<byte> signature))
        {
            delivery.Signature = signature;
            return true;
        }

        DeliverySignature job = _idleSignatures.TryPop(out DeliverySignature? idle) ? idle : new DeliverySignature(this);
        job.Begin(delivery, destination);
        _signing++;
        _parts.Signing!.Sign(job);
        return false;
    }

    private void Signed(DeliverySignature job, Delivery delivery, Destination destination)
    {
        _signing--;
        Consignment consignment = delivery.Consignment;
        if (_signatures.TryAdd(consignment.Seq, job.Field.ToArray())) // copied: the job serves others
        {
            _signed.Enqueue(consignment.Seq);
        }

        if (_signed.Count > KeptSignatures)
        {
            _signatures.Remove(_signed.Dequeue());
        }

        _idleSignatures.Push(job);
        ReturnDelivery(delivery);
        if (destination.IsClosed)
        {
            Park(consignment, destination);
        }
        else
        {
            _schedule.PutBack(consignment, destination);
            _fresh.Add(destination);
        }

        Pump();
    }

    /// <summary>A delivery on its way to its signature. Owned and reused by the engine; read by a worker in between.</summary>
    private sealed class DeliverySignature(DeliveryEngine engine) : SigningJob
    {
        private Delivery? _delivery;
        private Destination? _destination;

        public void Begin(Delivery delivery, Destination destination)
        {
            _delivery = delivery;
            _destination = destination;
            AuthIdentity = delivery.AuthIdentity;
        }

        public override void Run()
        {
            Delivery delivery = _delivery!;
            _delivery = null;
            AuthIdentity = default;
            engine.Signed(this, delivery, _destination!);
        }

        protected override bool TryRead(DkimSigner signer) =>
            StoredContent.CopyTo(engine.Log, _delivery!.Message, signer.Take) == ReadStatus.Ok;
    }
}
