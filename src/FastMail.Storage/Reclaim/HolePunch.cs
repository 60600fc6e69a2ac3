namespace FastMail.Storage;

/// <summary>
/// Gives back the space of large bodies that nobody needs any more, long before their segment can go. Only whole pages
/// of the body: the header stays valid, so the records around it are found as before. Owned by the
/// <see cref="Reclaimer"/>, used on its thread.
/// </summary>
internal sealed class HolePunch(ReclaimScene scene)
{
    private const long PageBytes = 4096;

    private readonly List<ulong> _waiting = [];
    private bool _isUnsupported;

    /// <summary>Octets given back.</summary>
    public long PunchedBytes { get; private set; }

    /// <summary>Punches what was removed since, and what had to wait.</summary>
    /// <param name="neededLsn">Records at or above are left alone: recovery may still want to look at them.</param>
    public void Run(ulong neededLsn)
    {
        lock (scene.Maildrops.Gate)
        {
            scene.Maildrops.Liveness.TakeHoles(_waiting);
        }

        if (_waiting.Count == 0)
        {
            return;
        }

        if (_isUnsupported)
        {
            _waiting.Clear();
            return;
        }

        // A snapshot taken before this may have the message; it sees this number change, or is seen by the count of
        // the segment's references.
        _ = Interlocked.Increment(ref scene.Maildrops.Punches);
        Segment current = scene.Segments.Hot[^1];
        lock (scene.Holds.Gate)
        {
            if (!scene.Holds.IsHeld)
            {
                PunchAll(neededLsn, current);
            }
        }
    }

    private void PunchAll(ulong neededLsn, Segment current)
    {
        _ = _waiting.RemoveAll(lsn =>
        {
            Segment? segment = scene.Segments.Find(lsn);
            if (segment == current || (segment is { IsCold: false } && lsn >= neededLsn)
                || segment is { HasReaders: true })
            {
                return false;
            }

            if (segment is not null)
            {
                Punch(segment, lsn);
            }

            return true;
        });
    }

    private void Punch(Segment segment, ulong lsn)
    {
        long offset = (long)(lsn - segment.BaseLsn);
        if (_isUnsupported || segment.Populate(offset, RecordHeader.Bytes) != 0
            || !RecordHeader.TryRead(
                segment.Span(offset, RecordHeader.Bytes), segment.Header.Salt, lsn, segment.Length - offset,
                out RecordHeader header)
            || header.Type != RecordType.Message
            || header.HasExternalBody) // its length is that of the file: behind the record stands other mail
        {
            return;
        }

        (long start, long end) = PagesOf(offset, header);
        if (start >= end)
        {
            return;
        }

        int errno = segment.File.PunchHole(start, end - start);
        if (errno == 0)
        {
            PunchedBytes += end - start;
        }
        else if (errno != Errno.Busy)
        {
            _isUnsupported = errno == Errno.NotSupported;
            scene.Notice(_isUnsupported
                ? $"the file system of {scene.LogPath} cannot punch holes: large removed messages keep their space until "
                    + "their segment is reclaimed"
                : $"{segment.Path}: a hole could not be punched: {Errno.Text(errno)}");
        }
    }

    /// <summary>The whole pages of a body that is in its record, as offsets in the file.</summary>
    public static (long Start, long End) PagesOf(long offset, in RecordHeader header)
    {
        long body = offset + RecordHeader.Bytes + header.MetaBytes + header.TraceBytes;
        return ((body + PageBytes - 1) & -PageBytes, (body + header.BodyBytes) & -PageBytes);
    }
}
