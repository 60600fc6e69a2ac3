using System.Text;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Sink;

/// <summary>
/// What arrived at a sink, a line each: <c>ID SHA256 RECIPIENT</c>, or <c>- - RECIPIENT</c> of what bears no id. Written by
/// the sink's loop thread; read back by an audit, a torn last line not counted.
/// </summary>
internal sealed class SinkRecord : IDisposable
{
    private const string None = "-";

    private readonly FileStream _file;
    private readonly StreamWriter _lines;
    private bool _hasFailed;

    /// <summary>Appends to the file; a torn last line, left by a killed sink, is cut off.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    internal SinkRecord(string path)
    {
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
        try
        {
            if (_file.CanSeek) // a pipe cannot, and holds no earlier record
            {
                WholeLines.CutTornLine(_file);
            }
        }
        catch
        {
            _file.Dispose();
            throw;
        }

        _lines = new StreamWriter(_file, new UTF8Encoding(false), 1 << 16) { NewLine = "\n" };
    }

    /// <param name="id">Null for a message that bears none.</param>
    /// <param name="hash">Of its own part.</param>
    /// <param name="recipients">A line for each.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    internal void Add(in LoadId? id, string hash, IReadOnlyList<string> recipients)
    {
        string name = id?.ToString() ?? None;
        try
        {
            foreach (string recipient in recipients)
            {
                _lines.Write(name);
                _lines.Write(' ');
                _lines.Write(id is null ? None : hash);
                _lines.Write(' ');
                _lines.WriteLine(recipient);
            }
        }
        catch (IOException)
        {
            _hasFailed = true;
            throw;
        }
    }

    /// <exception cref="IOException">What is left cannot be written; told once.</exception>
    public void Dispose()
    {
        if (_hasFailed)
        {
            _file.Dispose(); // what is left would fail again, and hide why it failed first
        }
        else
        {
            _lines.Dispose();
        }
    }

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
            if (fields is [None, None, _])
            {
                audit.FoundUnknown(fields[2]);
                continue;
            }

            if (fields.Length < 3 || !LoadId.TryParse(Encoding.UTF8.GetBytes(fields[0]), out LoadId id))
            {
                throw new InvalidDataException($"{name}:{number}: not a line of a sink (ID SHA256 RECIPIENT)");
            }

            audit.Found(fields[2], id, fields[1]);
        }
    }
}
