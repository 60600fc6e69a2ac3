using System.Security.Cryptography;
using System.Text;
using FastMail.Protocol.Dkim;

namespace FastMail.Tests.Protocol.Dkim;

/// <summary>Signs messages with a key of the tests. Texts are Latin-1, one character an octet.</summary>
internal static class DkimRig
{
    public static DateTimeOffset Now { get; } = new(2026, 11, 2, 4, 5, 6, TimeSpan.Zero);

    public static DkimKey Key { get; } = MakeKey(2048);

    public static DkimKey MakeKey(int bits)
    {
        using var rsa = RSA.Create(bits);
        return DkimKey.Load("local.test", "s1", rsa.ExportPkcs8PrivateKeyPem());
    }

    /// <summary>The field, or null when the message cannot be signed.</summary>
    /// <param name="message">As its author wrote it.</param>
    /// <param name="header">How the header is canonicalized.</param>
    /// <param name="body">How the body is canonicalized.</param>
    /// <param name="run">Octets of each run in which it is given.</param>
    /// <param name="signer">One that has been used before, or none.</param>
    public static string? Sign(
        string message,
        DkimCanonicalization header = DkimCanonicalization.Relaxed,
        DkimCanonicalization body = DkimCanonicalization.Relaxed,
        int run = int.MaxValue,
        DkimSigner? signer = null)
    {
        using var own = signer is null ? new DkimSigner(header, body) : null;
        signer ??= own!;
        var stuffed = message.Replace("\r\n.", "\r\n..", StringComparison.Ordinal);
        var wire = Encoding.Latin1.GetBytes((stuffed.StartsWith('.') ? "." : "") + stuffed + ".\r\n");
        signer.Begin();
        for (var at = 0; at < wire.Length; at += Math.Min(run, wire.Length - at))
        {
            signer.Take(wire.AsSpan(at, Math.Min(run, wire.Length - at)));
        }
        signer.Finish();
        var room = new byte[DkimSigner.MaxFieldBytes];
        return signer.TrySign(Key, Now, room, out var written) ? Encoding.ASCII.GetString(room, 0, written) : null;
    }

    public static string FromOf(string value)
    {
        using var signer = new DkimSigner();
        signer.Begin();
        signer.Take(Encoding.Latin1.GetBytes($"From:{value}\r\n\r\n.\r\n"));
        signer.Finish();
        return Encoding.Latin1.GetString(signer.From);
    }
}
