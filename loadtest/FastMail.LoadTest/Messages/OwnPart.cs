using System.Security.Cryptography;
using System.Text;

namespace FastMail.LoadTest.Messages;

/// <summary>
/// Finds a generated message inside a collected one: servers prepend trace fields, so its own part starts with the
/// <c>X-Load-Id:</c> line of the header section and runs to the end. Owned by one thread, used again for every message.
/// </summary>
internal sealed class OwnPart : IDisposable
{
    private static readonly byte[] Marker = Encoding.ASCII.GetBytes($"{LoadId.FieldName}: ");

    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private bool _isInHeader = true;
    private bool _isFound;
    private LoadId _id;

    /// <summary>Whether it must be given one line at a time; if not, any run of lines.</summary>
    internal bool WantsLines => _isInHeader && !_isFound;

    /// <summary>Takes what comes next, dot-unstuffed, with its line ends.</summary>
    internal void Append(ReadOnlySpan<byte> line)
    {
        if (_isInHeader && !_isFound)
        {
            _isInHeader = !line.SequenceEqual("\r\n"u8);
            _isFound = line.StartsWith(Marker) && line.EndsWith("\r\n"u8)
                && LoadId.TryParse(line[Marker.Length..^2], out _id);
        }

        if (_isFound)
        {
            _hash.AppendData(line);
        }
    }

    /// <summary>Ends the message; false when it bore no marker. Ready for the next one afterwards.</summary>
    internal bool TryFinish(out LoadId id, out string hash)
    {
        bool isFound = _isFound;
        id = _id;
        hash = Convert.ToHexStringLower(_hash.GetHashAndReset());
        _isInHeader = true;
        _isFound = false;
        _id = default;
        return isFound;
    }

    public void Dispose() => _hash.Dispose();
}
