using FastMail.Protocol.Smtp;

namespace FastMail.Protocol.Notifications;

/// <summary>
/// Cuts out of a message in wire form, as it passes, what a notification returns of it: everything before the final
/// dot, or the header section. A field of its <see cref="NotificationWriter"/>, entered by that one's thread.
/// </summary>
internal struct ReturnedContent
{
    private const int HeaderOctets = 64 * 1024; // more than that serves nobody
    private const int HeaderOctetsInOneLine = 2 * HeaderOctets;

    private WireOutput _output;
    private DotUnstuffer _unstuffer;
    private bool _isHeaderOnly;
    private bool _isAfterText; // what was returned does not end with a line end
    private long _lineOctets;
    private long _octets;

    /// <summary>Nothing more is wanted.</summary>
    public bool IsOver { get; private set; }

    public void Begin(WireOutput output, bool isHeaderOnly)
    {
        this = default;
        _output = output;
        _isHeaderOnly = isHeaderOnly;
    }

    /// <summary>The next run; runs may end anywhere.</summary>
    public void Take(ReadOnlySpan<byte> wire)
    {
        while (!IsOver && _unstuffer.TryTake(ref wire, out var run, out var isStuffed))
        {
            if (isStuffed)
            {
                _output.Stuff();
            }
            if (_isHeaderOnly)
            {
                TakeHeader(run);
            }
            else
            {
                _output.Write(run);
                _isAfterText = run[^1] != '\n';
            }
        }
        IsOver |= _unstuffer.HasEnded;
    }

    /// <summary>What was returned ends with a line end.</summary>
    public void End()
    {
        if (_isAfterText)
        {
            _output.WriteLine(); // cut off in the midst of a line
        }
        IsOver = true;
    }

    /// <summary>Line by line up to the empty one, or to the end of a line when it is long enough.</summary>
    private void TakeHeader(ReadOnlySpan<byte> run)
    {
        while (!run.IsEmpty && !IsOver)
        {
            var length = (int)Math.Min(run.IndexOf((byte)'\n') + 1, HeaderOctetsInOneLine - _octets);
            length = length > 0 ? length : (int)Math.Min(run.Length, HeaderOctetsInOneLine - _octets);
            var part = run[..length];
            _output.Write(part);
            _octets += length;
            _lineOctets += length;
            _isAfterText = part[^1] != '\n';
            var isEnd = _lineOctets == 2 || _octets >= HeaderOctets;
            IsOver = (isEnd && !_isAfterText) || _octets == HeaderOctetsInOneLine;
            _lineOctets = _isAfterText ? _lineOctets : 0;
            run = run[length..];
        }
    }
}
