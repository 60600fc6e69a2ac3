using FastMail.Protocol.Dkim;

namespace FastMail.Server.Configuration;

/// <summary>How outgoing mail is signed.</summary>
internal static class DkimKeys
{
    public static readonly Key<(DkimCanonicalization Header, DkimCanonicalization Body)> Canonicalization = new(
        "dkim.canonicalization", "relaxed/relaxed", "relaxed, simple", "What may change on the way, of the header and of the body.",
        text => text.Split('/') is [var header, var body]
            ? (Form(header), Form(body))
            : throw new FormatException($"'{text}' is not HEADER/BODY, e.g. relaxed/simple."));

    public static IEnumerable<Key> All => [Canonicalization];

    private static DkimCanonicalization Form(string text) => text switch
    {
        "relaxed" => DkimCanonicalization.Relaxed,
        "simple" => DkimCanonicalization.Simple,
        _ => throw new FormatException($"'{text}' is neither relaxed nor simple."),
    };
}
