using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The wall between the mail log and the operating system: the handful of calls the log makes, so that faults and
/// power loss can be injected in-process. Every call answers an <c>errno</c> value, 0 for success; none throws for the
/// world's mistakes. Any thread may call; the caller orders its own calls.
/// </summary>
public interface IDisk
{
    /// <summary>Makes a directory (mode 0700); 0 also when it exists.</summary>
    int CreateDirectory(string path);

    /// <summary>Adds the names (not paths) of the files of a directory, in no order.</summary>
    int List(string directory, ICollection<string> names);

    /// <summary>Adds the names (not paths) of the directories in a directory, in no order.</summary>
    int ListDirectories(string directory, ICollection<string> names);

    /// <summary>Opens a file for reading and writing; <c>ENOENT</c> (2) when it is absent and not to be made.</summary>
    int Open(string path, FileUse use, out IDiskFile? file);

    /// <summary>Renames within one directory, replacing what has the new name.</summary>
    int Rename(string from, string to);

    /// <summary>Removes a file; 0 also when it was absent.</summary>
    int Remove(string path);

    /// <summary>Removes an empty directory; 0 also when it was absent.</summary>
    int RemoveDirectory(string path);

    /// <summary>Makes the names of a directory durable.</summary>
    int SyncDirectory(string path);

    /// <summary>
    /// Bytes an unprivileged process may still allocate on the file system of <paramref name="path"/>.
    /// </summary>
    int FreeBytes(string path, out long bytes);

    /// <summary>
    /// True when the flush call behind <see cref="IDiskFile.Flush"/> is seen to report an error. The platform's own
    /// flush swallows errors on Linux; a log that cannot learn of a failed flush must not start.
    /// </summary>
    bool FlushReportsErrors();
}

/// <summary>How a file is opened.</summary>
public enum FileUse
{
    /// <summary>It must exist.</summary>
    Existing,

    /// <summary>
    /// It must exist, for reading only. What is read comes from the disk and leaves the page cache as it is, where the
    /// file system can; memory, offsets and lengths of the reads are multiples of 4096.
    /// </summary>
    ExistingUncached,

    /// <summary>It is made when absent; its content stays.</summary>
    OpenOrCreate,

    /// <summary>It is made, or emptied when it exists.</summary>
    CreateEmpty,

    /// <summary>It is made; <c>EEXIST</c> (17) when it exists.</summary>
    CreateNew,
}

/// <summary>
/// One open file of an <see cref="IDisk"/>. Owned by whoever opened it; positioned calls may come from any thread,
/// <see cref="IDisposable.Dispose"/> closes it once the last call has returned. Results are <c>errno</c> values.
/// </summary>
public interface IDiskFile : IDisposable
{
    /// <summary>Length in bytes.</summary>
    int Length(out long bytes);

    /// <summary>
    /// Takes the exclusive lock of the file without waiting; <c>EAGAIN</c> (11) when another holds it.
    /// </summary>
    int TryLock();

    /// <summary>Sets the length to <paramref name="bytes"/>, with space allocated where the file system can.</summary>
    int Allocate(long bytes);

    /// <summary>
    /// Sets space aside for a range behind the end, which stays where it is; 0 also where the file system cannot.
    /// </summary>
    int Reserve(long offset, long length);

    /// <summary>Cuts the file at that length and gives back what was set aside behind it.</summary>
    int Truncate(long bytes);

    /// <summary>Reads at <paramref name="offset"/>; fewer bytes than asked only at the end of the file.</summary>
    int Read(Span<byte> destination, long offset, out int read);

    /// <summary>Writes the vectors in order at <paramref name="offset"/>; may write fewer bytes than given.</summary>
    int Write(ReadOnlySpan<IoVector> vectors, long offset, out long written);

    /// <summary>
    /// Gives the space of a range back, which reads as zeros afterwards; whole pages of 4 KiB only. The length stays.
    /// <c>EOPNOTSUPP</c> (95) where the file system cannot, <c>EBUSY</c> (16) when the file has another name: a backup's,
    /// which must stay as it is.
    /// </summary>
    int PunchHole(long offset, long length);

    /// <summary>How much of the disk the file takes, and how many names it has.</summary>
    int Usage(out FileUsage usage);

    /// <summary>
    /// Has the disk begin with what was written, and does not wait. Only a hint: many files that were begun are flushed
    /// sooner, but it takes <see cref="Flush"/> to make anything durable, or to learn that it failed.
    /// </summary>
    void BeginFlush();

    /// <summary>Makes everything written so far durable. A failure is final: the caller never asks twice.</summary>
    int Flush();

    /// <summary>Maps the first <paramref name="length"/> bytes for reading, shared with later writes.</summary>
    int Map(long length, out nint address);

    /// <summary>Undoes <see cref="Map"/>.</summary>
    int Unmap(nint address, long length);

    /// <summary>
    /// Brings a range of a mapping into memory. An error here is a number; touching the same range without asking
    /// would be a signal, and the end of the process.
    /// </summary>
    int Populate(nint address, long offset, long length);

    /// <summary>
    /// Undoes <see cref="Populate"/> of the first <paramref name="length"/> bytes: they stay in the page cache, and no
    /// longer count as memory of this process.
    /// </summary>
    int Depopulate(nint address, long length);
}

/// <summary>What a file is to its file system. A value.</summary>
/// <param name="AllocatedBytes">Space it takes: less than its length when it has holes.</param>
/// <param name="Names">Hard links: more than one when a backup has it too.</param>
[StructLayout(LayoutKind.Auto)]
public readonly record struct FileUsage(long AllocatedBytes, long Names);

/// <summary>
/// One piece of memory of a gathered write; has the layout of <c>struct iovec</c>. The memory is pinned.
/// </summary>
/// <param name="Address">First byte.</param>
/// <param name="Length">Bytes.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct IoVector(nint Address, nint Length);
