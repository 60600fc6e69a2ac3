using System.Net.Security;
using System.Security.Authentication;

namespace FastMail.LoadTest.Kernel;

/// <summary>
/// The client's side of TLS between a <see cref="GatherSocket"/> and who uses it: an <see cref="SslStream"/> over memory.
/// What it waits for is fed to it, and it goes on at once on the thread that feeds: nothing blocks, and nothing leaves the
/// loop's thread, which owns it. A handshake costs that thread some hundred microseconds.
/// </summary>
internal sealed class TlsLayer : IDisposable
{
    internal const int RecordOctets = 16 * 1024;

    private readonly CipherStream _wire = new();
    private readonly SslStream _ssl;
    private readonly Task _handshake;
    private readonly byte[] _plain = new byte[RecordOctets];
    private Task<int>? _reading;
    private int _plainAt;
    private int _plainEnd;
    private long _handshakeOctets;

    /// <summary>Begins the handshake; its first flight is in <see cref="Outgoing"/>.</summary>
    internal TlsLayer(TlsPlan plan)
    {
        _ssl = new SslStream(_wire);
        _handshake = _ssl.AuthenticateAsClientAsync(plan.Options);
    }

    /// <summary>The handshake is over and went well.</summary>
    internal bool IsSecured => _handshake.IsCompletedSuccessfully;

    /// <summary>Why it did not, or why a record could not be read; null when nothing went wrong.</summary>
    internal string? Failure { get; private set; }

    /// <summary>
    /// Whether an earlier session was taken up. A full handshake sends the certificate, so one whose octets are fewer than
    /// the certificate's own was none.
    /// </summary>
    internal bool IsResumed =>
        _ssl.RemoteCertificate is { } certificate && _handshakeOctets < certificate.GetRawCertData().Length;

    internal ReadOnlySpan<byte> Outgoing => _wire.Outgoing;

    internal void Sent(int octets) => _wire.Sent(octets);

    /// <summary>Takes what the peer sent; false when the handshake failed by it.</summary>
    internal bool Feed(ReadOnlySpan<byte> cipher)
    {
        _handshakeOctets += _handshake.IsCompleted ? 0 : cipher.Length;
        SynchronizationContext? before = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null); // with one, what waits would go on somewhere else, later
        _wire.Feed(cipher);
        SynchronizationContext.SetSynchronizationContext(before);
        if (_handshake.IsFaulted)
        {
            Exception failure = _handshake.Exception.InnerException!;
            Failure = $"TLS: {failure.Message}"
                + (failure.InnerException is { } inner ? $" ({inner.Message})" : "")
                + (failure.Message.Contains("certificate", StringComparison.Ordinal)
                    ? "; see --tls-ca, --tls-name and --tls-insecure"
                    : "");
            return false;
        }

        return true;
    }

    /// <summary>Octets of plain text, 0 at the end of the stream, -1 when there are none yet, -2 for a failure.</summary>
    internal int Read(Span<byte> into)
    {
        if (_plainAt == _plainEnd)
        {
            _reading ??= _ssl.ReadAsync(_plain).AsTask();
            if (!_reading.IsCompleted)
            {
                return -1;
            }

            try
            {
                _plainEnd = _reading.GetAwaiter().GetResult();
                _plainAt = 0;
                _reading = null;
            }
            catch (Exception failure) when (failure is IOException or AuthenticationException)
            {
                Failure = $"TLS: {failure.Message}";
                return -2;
            }

            if (_plainEnd == 0)
            {
                return 0;
            }
        }

        int taken = Math.Min(into.Length, _plainEnd - _plainAt);
        _plain.AsSpan(_plainAt, taken).CopyTo(into);
        _plainAt += taken;
        return taken;
    }

    /// <summary>One record, into <see cref="Outgoing"/>.</summary>
    internal void Write(ReadOnlySpan<byte> plain) => _ssl.Write(plain);

    /// <summary>Says that nothing more will come; it is the caller's to send it.</summary>
    internal void SayEnd()
    {
        if (IsSecured && Failure is null)
        {
            _ = _ssl.ShutdownAsync(); // to memory: done when it returns
        }
    }

    public void Dispose()
    {
        _wire.End(); // whoever still waits for octets learns that none come
        _ssl.Dispose();
        _ = _handshake.Exception; // of one that was given up: nobody else looks
    }
}
