using System.Text;
using FastMail.Protocol.Mime;

namespace FastMail.Tests.Protocol.Mime;

/// <summary>
/// The conversion of BINARYMIME written down once more: the whole content at once, line by line, with strings. Of its
/// subject it uses the reader of single fields. One character is one octet. Stateless from outside.
/// </summary>
internal sealed class ObviousConversion
{
    private readonly StringBuilder _result = new();
    private readonly List<(string Boundary, bool IsDigest)> _open = [];
    private readonly string[] _lines;
    private int _at;
    private bool _isFlawed;

    private ObviousConversion(string content) => _lines = content.Split("\r\n"); // the last one has no CRLF behind it

    /// <summary>The result, or null where no conversion is possible; it may still hold what is no line.</summary>
    public static string? Convert(string content)
    {
        var conversion = new ObviousConversion(content);
        conversion.Entity(isMessage: true, isMessageByDefault: false);
        return conversion._isFlawed ? null : conversion._result.ToString();
    }

    private bool IsLast => _at == _lines.Length - 1;

    private void Entity(bool isMessage, bool isMessageByDefault)
    {
        while (!_isFlawed)
        {
            var (kind, encoding, boundary) = Header(isMessage, isMessageByDefault, out var isDigest, out var hasBody);
            if (!hasBody)
            {
                if (_isFlawed || _at == _lines.Length || !TryDelimit(out isMessageByDefault))
                {
                    return;
                }
                isMessage = false;
                continue;
            }
            if (kind == MimeKind.Message && encoding != MimeEncoding.Encoded)
            {
                (isMessage, isMessageByDefault) = (true, false);
                continue;
            }
            if (kind == MimeKind.Multipart && boundary.Length > 0 && encoding != MimeEncoding.Encoded)
            {
                _open.Add((boundary, isDigest));
                _isFlawed |= _open.Count > MimeBoundaries.MostDepth;
            }
            Body(isBinary: kind == MimeKind.Leaf && encoding == MimeEncoding.Binary);
            if (_at == _lines.Length || !TryDelimit(out isMessageByDefault))
            {
                return;
            }
            isMessage = false;
        }
    }

    /// <summary>Up to behind the empty line, or to the delimiter, or to the end.</summary>
    private (MimeKind Kind, MimeEncoding Encoding, string Boundary) Header(
        bool isMessage, bool isMessageByDefault, out bool isDigest, out bool hasBody)
    {
        var fields = new List<string>();
        hasBody = false;
        for (; _at < _lines.Length && FindDelimiter(_lines[_at]) is null; _at++)
        {
            if (IsLast && _lines[_at].Length == 0)
            {
                _at++; // the content ends behind a line
                break;
            }
            if (_lines[_at].Length == 0)
            {
                hasBody = true;
                break;
            }
            var isMore = _lines[_at][0] is ' ' or '\t' && fields.Count > 0;
            fields.Add(isMore ? fields[^1] + _lines[_at] + "\r\n" : _lines[_at] + "\r\n");
            if (isMore)
            {
                fields.RemoveAt(fields.Count - 2);
            }
        }
        var isMime = !isMessage || fields.Exists(f => IsNamed(f, "MIME-Version"));
        var types = fields.FindAll(f => IsNamed(f, "Content-Type"));
        var labels = fields.FindAll(f => IsNamed(f, "Content-Transfer-Encoding"));
        var kind = isMessageByDefault ? MimeKind.Message : MimeKind.Leaf;
        var encoding = labels.Count == 0 ? MimeEncoding.Lines : MimeField.ReadEncoding(ValueOf(labels[^1]));
        var boundary = "";
        isDigest = false;
        if (types.Count > 0)
        {
            var room = new byte[4096];
            kind = MimeField.ReadType(ValueOf(types[^1]), room, out var length, out isDigest);
            boundary = Encoding.Latin1.GetString(room, 0, length);
        }
        _isFlawed = types.Concat(labels).Any(f => f.Length > BinaryConversion.MostFieldBytes)
            || (isMime && (types.Count > 1 || labels.Count > 1 || boundary.Length > MimeBoundaries.MostOctets));
        foreach (var field in fields.Where(f => !labels.Contains(f) || MimeField.ReadEncoding(ValueOf(f)) != MimeEncoding.Binary))
        {
            _result.Append(field);
        }
        if (encoding == MimeEncoding.Binary)
        {
            var label = !isMime ? "binary" : kind == MimeKind.Leaf ? "base64" : "8bit";
            _result.Append("Content-Transfer-Encoding: ").Append(label).Append("\r\n");
        }
        if (hasBody)
        {
            _result.Append("\r\n");
            _at++;
        }
        return isMime ? (kind, encoding, boundary) : (MimeKind.Leaf, MimeEncoding.Lines, "");
    }

    private void Body(bool isBinary)
    {
        var body = new List<string>();
        while (_at < _lines.Length && FindDelimiter(_lines[_at]) is null)
        {
            body.Add(_lines[_at++]);
        }
        var text = string.Join("\r\n", body);
        if (isBinary)
        {
            text = System.Convert.ToBase64String(Encoding.Latin1.GetBytes(text));
            text = string.Join("\r\n", text.Chunk(76).Select(line => new string(line)));
        }
        _result.Append(text);
        if (_at < _lines.Length && body.Count > 0)
        {
            _result.Append("\r\n");
        }
    }

    /// <summary>Passes the delimiters and epilogues up to the next part; false at the end of the content.</summary>
    private bool TryDelimit(out bool isMessage)
    {
        while (_at < _lines.Length)
        {
            var (level, isPart) = FindDelimiter(_lines[_at])!.Value;
            isMessage = isPart && _open[level].IsDigest;
            _open.RemoveRange(isPart ? level + 1 : level, _open.Count - (isPart ? level + 1 : level));
            _result.Append(_lines[_at]).Append(IsLast ? "" : "\r\n");
            _at++;
            if (isPart)
            {
                return true;
            }
            Body(isBinary: false);
        }
        isMessage = false;
        return false;
    }

    private (int Level, bool IsPart)? FindDelimiter(string line)
    {
        line = line.TrimEnd(' ', '\t');
        for (var level = _open.Count - 1; level >= 0; level--)
        {
            if (line == "--" + _open[level].Boundary || line == "--" + _open[level].Boundary + "--")
            {
                return (level, line == "--" + _open[level].Boundary);
            }
        }
        return null;
    }

    private static bool IsNamed(string field, string name) =>
        field.IndexOf(':', StringComparison.Ordinal) is var colon and > 0
        && field[0] is not (' ' or '\t')
        && field[..colon].TrimEnd(' ', '\t').Equals(name, StringComparison.OrdinalIgnoreCase);

    private static byte[] ValueOf(string field) =>
        Encoding.Latin1.GetBytes(field[(field.IndexOf(':', StringComparison.Ordinal) + 1)..]);
}
