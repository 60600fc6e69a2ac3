using System.Text;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Sink;

/// <summary>
/// What arrived at a sink, a line each: <c>ID SHA256 RECIPIENT</c>. Written by the sink's loop thread; read back by an
/// audit, a torn last line not counted.
/// </summary>
internal sealed class SinkRecord : IDisposable
{
    private readonly StreamWriter _file;

    /// <summary>Appends to the file.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    internal SinkRecord(string path) =>
        _file = new StreamWriter(path, append: true, new UTF8Encoding(false), 1 << 16) { NewLine = "\n" };

    internal void Add(in LoadId id, string hash, IReadOnlyList<string> recipients)
    {
        string name = id.ToString();
        foreach (string recipient in recipients)
        {
            _file.Write(name);
            _file.Write(' ');
            _file.Write(hash);
            _file.Write(' ');
            _file.WriteLine(recipient);
        }
    }

    public void Dispose() => _file.Dispose();

    /// <summary>Tells the audit of every line.</summary>
    /// <exception cref="InvalidDataException">A line is not of this format.</exception>
    internal static void Replay(string path, LedgerAudit audit)
    {
        using FileStream file = WholeLines.Open(path);
        Replay(file, path, audit);
    }

    internal static void Replay(Stream stream, string name, LedgerAudit audit)
    {
        foreach ((long number, string line) in WholeLines.Of(stream))
        {
            string[] fields = line.Split(' ', 3);
            if (fields.Length < 3 || !LoadId.TryParse(Encoding.UTF8.GetBytes(fields[0]), out LoadId id))
            {
                throw new InvalidDataException($"{name}:{number}: not a line of a sink (ID SHA256 RECIPIENT)");
            }

            audit.Found(fields[2], id, fields[1]);
        }
    }
}
