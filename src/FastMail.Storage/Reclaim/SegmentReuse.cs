namespace FastMail.Storage;

/// <summary>
/// Makes spares of retired segments instead of removing them, so that the log need not write zeros for what it has
/// written once already. Owned by the <see cref="Retirement"/>, used on the reclaimer's thread.
/// </summary>
/// <remarks>
/// The order is what makes it safe to stop anywhere. The record that retires the segment is durable before; the file
/// loses its name, which is flushed; only then its header goes, so no file with the name of a segment is ever without;
/// only then it gets the name of a spare, so a spare with a live header is still what somebody renamed by mistake.
/// What has the name in between is removed by the next start. Old records in it are no danger: they tell addresses of
/// before, and no address is used twice.
/// </remarks>
internal sealed class SegmentReuse(ReclaimScene scene, SegmentFiles files, SpareMaker spares)
{
    private readonly List<Taken> _taken = [];

    /// <summary>
    /// Takes the name from a retired segment that is suited and wanted; false when it is to be removed. The caller
    /// holds the gate of the holds, and nobody else holds the segment or ever will.
    /// </summary>
    /// <param name="segment">Closed.</param>
    /// <param name="usage">Of its file.</param>
    public bool TryTake(Segment segment, in FileUsage usage)
    {
        // A hole would have to be filled at each flush; what a backup has linked must stay as it is.
        if (segment.IsCold || segment.IsCut || usage.Names > 1 || usage.AllocatedBytes < segment.Length
            || !spares.TryPromise(segment.Length, out string name))
        {
            return false;
        }

        if (files.TakeName(segment.Path, name) != 0)
        {
            spares.Withdraw(name);
            return false;
        }

        _taken.Add(new Taken(name, segment.Length));
        return true;
    }

    /// <summary>The names of what was taken are gone for certain, or (false) may come back.</summary>
    public void Finish(bool isDurable)
    {
        foreach (Taken taken in _taken)
        {
            PreparedFile file = default;
            int errno = isDurable ? files.Reuse(taken.Name, taken.Bytes, out file) : Errno.InputOutput;
            if (errno == 0)
            {
                spares.Keep(file);
                continue;
            }

            spares.Withdraw(taken.Name);
            if (isDurable)
            {
                scene.Notice($"a segment could not be used again: {Errno.Text(errno)}");
            }
        }

        _taken.Clear();
    }

    private readonly record struct Taken(string Name, long Bytes);
}
