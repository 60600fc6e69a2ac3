using FastMail.Server.Accounts;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// The routes that the operator has written, found by address: the most exact one holds. Immutable; any thread.
/// </summary>
internal sealed class RouteTable
{
    private const string Anything = "*";

    private readonly Dictionary<string, RouteLine> _lines = new(StringComparer.Ordinal);
    private readonly Dictionary<string, RouteLine>.AlternateLookup<ReadOnlySpan<char>> _bySpan;
    private readonly bool _hasAddresses;
    private readonly bool _hasParents;
    private readonly bool _hasRefusals;

    /// <param name="lines">Of two with one pattern the last one holds.</param>
    public RouteTable(IEnumerable<RouteLine> lines)
    {
        _bySpan = _lines.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (RouteLine line in lines)
        {
            _lines[line.Pattern] = line;
            _hasAddresses |= line.Pattern.IndexOf('@', StringComparison.Ordinal) > 0;
            _hasRefusals |= line.Target.Via == RouteVia.Refuse;
            _hasParents |= line.Pattern.StartsWith("@.", StringComparison.Ordinal);
        }
    }

    public IEnumerable<RouteLine> Lines => _lines.Values;

    /// <summary>Mail for that address, of nobody here, is refused. Allocates nothing.</summary>
    /// <param name="forwardPath">UTF-8, no angle brackets.</param>
    public bool Refuses(ReadOnlySpan<byte> forwardPath)
    {
        if (!_hasRefusals)
        {
            return false;
        }

        Span<char> key = stackalloc char[AddressKey.MaxLength];
        key = key[..Math.Max(0, AddressKey.Write(forwardPath, key))];
        return key.LastIndexOf('@') > 0 && Find(key) is { Target.Via: RouteVia.Refuse };
    }

    /// <summary>The line for an address: itself, its domain, the nearest parent, anything; null when there is none.</summary>
    /// <param name="key">As <see cref="AddressKey"/> writes it.</param>
    public RouteLine? Find(ReadOnlySpan<char> key)
    {
        if (_lines.Count == 0)
        {
            return null;
        }

        int at = key.LastIndexOf('@');
        if ((_hasAddresses && _bySpan.TryGetValue(key, out RouteLine? line)) || _bySpan.TryGetValue(key[at..], out line))
        {
            return line;
        }

        return (_hasParents ? FindParent(key[(at + 1)..]) : null) ?? _lines.GetValueOrDefault(Anything);
    }

    /// <summary>The line for a whole domain, or of its nearest parent; what is said of anything is said of nobody.</summary>
    /// <param name="key">The domain with an at sign in front.</param>
    public RouteLine? FindDomain(ReadOnlySpan<char> key) =>
        _bySpan.TryGetValue(key, out RouteLine? line) ? line : _hasParents ? FindParent(key[1..]) : null;

    private RouteLine? FindParent(ReadOnlySpan<char> domain)
    {
        Span<char> key = stackalloc char[domain.Length + 2];
        key[0] = '@';
        for (int dot = domain.IndexOf('.'); dot >= 0; dot = domain.IndexOf('.'))
        {
            domain[dot..].CopyTo(key[1..]);
            if (_bySpan.TryGetValue(key[..(1 + domain.Length - dot)], out RouteLine? line))
            {
                return line;
            }

            domain = domain[(dot + 1)..];
        }

        return null;
    }
}
