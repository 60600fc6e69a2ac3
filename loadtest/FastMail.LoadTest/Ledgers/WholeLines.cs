using System.Text;

namespace FastMail.LoadTest.Ledgers;

/// <summary>
/// The lines of a file that only grows, one at a time, however many there are; a last one without its end is a torn one
/// and is none. Stateless.
/// </summary>
internal static class WholeLines
{
    private const int BufferOctets = 1 << 16;

    /// <summary>For reading, also while somebody writes.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    internal static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, BufferOctets);

    /// <summary>Cuts a torn last line off, as somebody who was killed leaves it, and stands at the end.</summary>
    internal static void CutTornLine(FileStream file)
    {
        long end = file.Length;
        while (end > 0)
        {
            file.Position = end - 1;
            if (file.ReadByte() == '\n')
            {
                break;
            }

            end--;
        }

        if (end < file.Length)
        {
            file.SetLength(end);
        }

        file.Position = end;
    }

    /// <summary>Each with its number, from 1 on.</summary>
    internal static IEnumerable<(long Number, string Line)> Of(Stream stream)
    {
        using var reader = new StreamReader(stream, Encoding.UTF8);
        var line = new StringBuilder();
        char[] block = new char[1 << 15];
        long number = 1;
        for (int read = reader.Read(block); read > 0; read = reader.Read(block))
        {
            int at = 0;
            for (int end = Array.IndexOf(block, '\n', at, read); end >= 0; end = Array.IndexOf(block, '\n', at, read - at))
            {
                _ = line.Append(block, at, end - at);
                yield return (number++, line.ToString());
                _ = line.Clear();
                at = end + 1;
            }

            _ = line.Append(block, at, read - at);
        }
    }
}
