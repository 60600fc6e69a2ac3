using System.Runtime.InteropServices;
using FastMail.Storage;

namespace FastMail.Server;

/// <summary>Small files of the data directory that nobody else may read. Stateless; any thread.</summary>
internal static class DurableFile
{
    /// <summary>Ending of what is not finished.</summary>
    public const string HalfSuffix = ".new";

    /// <summary>
    /// Writes a file for its owner alone, under another name first: neither a crash nor a power loss leaves half a file
    /// that looks whole. On return it is durable.
    /// </summary>
    /// <param name="path">Absolute; replaced when it is there.</param>
    /// <param name="octets">What it will hold.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static unsafe void Write(string path, ReadOnlySpan<byte> octets)
    {
        LinuxDisk disk = LinuxDisk.Instance;
        string half = path + HalfSuffix;
        Demand(disk.Remove(half), half); // its mode may be another than ours
        Demand(disk.Open(half, FileUse.CreateEmpty, out IDiskFile? file), half);
        using (file)
        {
            fixed (byte* start = octets)
            {
                for (long at = 0; at < octets.Length;)
                {
                    Demand(file!.Write([new IoVector((nint)(start + at), (nint)(octets.Length - at))], at, out long written), half);
                    at += written;
                }
            }

            Demand(file!.Flush(), half);
        }

        Demand(disk.Rename(half, path), path);
        Demand(disk.SyncDirectory(Path.GetDirectoryName(path)!), path);
    }

    /// <summary>Removes a file; on return that is durable.</summary>
    /// <exception cref="IOException">It cannot be removed.</exception>
    public static void Remove(string path)
    {
        Demand(LinuxDisk.Instance.Remove(path), path);
        Demand(LinuxDisk.Instance.SyncDirectory(Path.GetDirectoryName(path)!), path);
    }

    private static void Demand(int errno, string path)
    {
        if (errno != 0)
        {
            throw new IOException($"{path}: {Marshal.GetPInvokeErrorMessage(errno)}");
        }
    }
}
