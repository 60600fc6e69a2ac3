namespace FastMail.Protocol.Smtp;

/// <summary>
/// Cuts content in wire form into runs of what its author wrote: without stuffed dots and without the final
/// <c>.CRLF</c> (RFC 5321 4.5.2). Cuts of the input do not matter. A field of its one owner; entered by the owner's
/// thread.
/// </summary>
internal struct DotUnstuffer
{
    private bool _isAfterText; // negated, so that the start of content is a line start
    private bool _hasDot; // a line has begun with a dot, and what follows it has not been seen

    /// <summary>The final dot has been seen; what follows it is not content.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>The octets so far end in a line end, or there are none.</summary>
    public readonly bool IsAtLineStart => !_isAfterText;

    /// <summary>Takes the next run off the front; false when all is used up.</summary>
    /// <param name="wire">What is left of the input.</param>
    /// <param name="run">The run: not empty, and every dot that begins a line begins a run.</param>
    /// <param name="isStuffed">A dot stood in front of it that is not part of it.</param>
    public bool TryTake(ref ReadOnlySpan<byte> wire, out ReadOnlySpan<byte> run, out bool isStuffed)
    {
        run = default;
        isStuffed = false;
        if (!_isAfterText && !_hasDot && !wire.IsEmpty && wire[0] == '.')
        {
            _hasDot = true;
            wire = wire[1..];
        }
        if (wire.IsEmpty || HasEnded)
        {
            return false;
        }
        isStuffed = _hasDot;
        _hasDot = false;
        if (isStuffed && wire[0] == '\r')
        {
            HasEnded = true; // nothing else stands alone in a line
            return false;
        }
        var at = wire.IndexOf("\n."u8);
        run = at < 0 ? wire : wire[..(at + 1)];
        _isAfterText = run[^1] != '\n';
        wire = wire[run.Length..];
        return true;
    }
}
