namespace FastMail.Server.Configuration;

/// <summary>Certificates, and what a handshake may take.</summary>
internal static class TlsKeys
{
    public static readonly Key<IReadOnlyList<string>> Certificates = new(
        "tls.cert", "", "FILE, ...",
        "Certificates with their chains, PEM; chosen by the name the client asks for, else the first. Empty: self-signed.",
        Values.List);

    public static readonly Key<IReadOnlyList<string>> PrivateKeys = new(
        "tls.key", "", "FILE, ...", "Their private keys in the same order, PEM. Empty: the keys are in the certificate files.",
        Values.List);

    public static readonly Key<TimeSpan> HandshakeTimeout = new(
        "tls.handshake_timeout", "10s", "time", "From the go-ahead to the end of the handshake.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5)));

    public static readonly Key<int> Handshakes = new(
        "tls.handshakes", "1000", "handshakes", "Under way at a time; above that STARTTLS is answered 454 4.7.0.",
        Values.Count(1, 100_000));

    public static IEnumerable<Key> All => [Certificates, PrivateKeys, HandshakeTimeout, Handshakes];
}
