using FastMail.Protocol.Mime;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// How far the content of one transaction has come. Owned by one session from DATA or the first BDAT to the end of the
/// content, and rented, because nearly all sessions of a server are between two contents. Entered by the thread of its
/// session; each thread has free ones of its own.
/// </summary>
internal sealed class ContentProgress
{
    private const int Kept = 1024; // as many as there are slabs for input, and so contents on their way

    [ThreadStatic]
    private static Stack<ContentProgress>? _free;

    // Fields, because these are structs that change.
    internal ContentScanner Scanner;
    internal HeaderFields Header;
    internal DotStuffer Stuffer;
    internal HeaderStart HeaderStart;

    private ContentProgress()
    {
    }

    public bool IsHeaderOver { get; set; }

    /// <summary>Octets of all chunks so far.</summary>
    public long RawBytes { get; set; }

    /// <summary>Makes lines of what came as BINARYMIME; null for all other content.</summary>
    public BinaryConversion? Conversion { get; private set; }

    public static ContentProgress Rent(bool isBinaryMime)
    {
        var progress = _free is { } free && free.TryPop(out var used) ? used : new ContentProgress();
        progress.Scanner.Start();
        progress.Header = default;
        progress.Stuffer = default;
        progress.HeaderStart = default;
        progress.IsHeaderOver = false;
        progress.RawBytes = 0;
        progress.Conversion = isBinaryMime ? BinaryConversion.Rent() : null;
        return progress;
    }

    public static void Return(ContentProgress progress)
    {
        if (progress.Conversion is { } conversion)
        {
            BinaryConversion.Return(conversion);
            progress.Conversion = null;
        }
        _free ??= new Stack<ContentProgress>();
        if (_free.Count < Kept)
        {
            _free.Push(progress);
        }
    }
}
