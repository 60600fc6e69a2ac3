using FastMail.Net;
using FastMail.Protocol.Dkim;

namespace FastMail.Server.Dkim;

/// <summary>
/// A message to be signed. Owned by whoever asks, from <see cref="DkimWorkers.Sign"/> until it is posted back to the loop
/// by the worker that has it. Used again and again.
/// </summary>
internal abstract class SigningJob : ILoopWork
{
    private readonly byte[] _room = new byte[DkimSigner.MaxFieldBytes];
    private int _length;

    /// <summary>
    /// Who submitted the message: it is signed only when this account may send as its author. Empty for a peer that is
    /// trusted, and for mail of this host's own.
    /// </summary>
    public ReadOnlyMemory<byte> AuthIdentity { get; set; }

    /// <summary>
    /// The field to be sent in front of the trace fields, CRLF included; empty when the message goes unsigned. Valid until
    /// the job is given away again.
    /// </summary>
    public ReadOnlyMemory<byte> Field => _room.AsMemory(0, _length);

    /// <summary>The loop: it is done.</summary>
    public abstract void Run();

    /// <summary>A worker: gives the signer the message as it will be sent, to its end. False when it cannot be read.</summary>
    protected abstract bool TryRead(DkimSigner signer);

    /// <summary>A worker: makes the field.</summary>
    /// <param name="signer">The worker's.</param>
    /// <param name="choose">The key for an author; null when there is none, or the author is not the submitter's.</param>
    /// <param name="now">Of the signature.</param>
    internal void Sign(DkimSigner signer, KeyChoice choose, DateTimeOffset now)
    {
        _length = 0;
        signer.Begin();
        if (TryRead(signer))
        {
            signer.Finish();
            if (choose(signer.From, AuthIdentity.Span) is { } key && !signer.TrySign(key, now, _room, out _length))
            {
                _length = 0;
            }
        }
    }

    /// <summary>It goes unsigned.</summary>
    internal void Fail() => _length = 0;
}

/// <summary>Whose key signs for an author.</summary>
/// <param name="author">The mailbox of From; may be empty.</param>
/// <param name="authIdentity">Who submitted; empty for whoever is trusted.</param>
internal delegate DkimKey? KeyChoice(ReadOnlySpan<byte> author, ReadOnlySpan<byte> authIdentity);
