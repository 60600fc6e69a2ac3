namespace FastMail.Server.Accounts;

/// <summary>
/// A dictionary from address keys to whatever they name, cut into shards: a change copies the one shard it is in and
/// leaves the rest to be shared with the book before, so that a million addresses need not be read for one. Immutable;
/// any thread.
/// </summary>
internal sealed class AddressBook
{
    private const int ShardCount = 1024;

    private readonly Dictionary<string, object>.AlternateLookup<ReadOnlySpan<char>>[] _shards;

    private AddressBook(Dictionary<string, object>.AlternateLookup<ReadOnlySpan<char>>[] shards) => _shards = shards;

    /// <summary>Makes a book of everything.</summary>
    public AddressBook(IEnumerable<KeyValuePair<string, object>> entries)
    {
        var shards = new Dictionary<string, object>[ShardCount];
        for (int i = 0; i < ShardCount; i++)
        {
            shards[i] = new Dictionary<string, object>(StringComparer.Ordinal);
        }

        foreach ((string key, object value) in entries)
        {
            shards[ShardOf(key)].Add(key, value);
        }

        _shards = [.. shards.Select(shard => shard.GetAlternateLookup<ReadOnlySpan<char>>())];
    }

    /// <summary>All that is named, in no order.</summary>
    public IEnumerable<object> Values => _shards.SelectMany(shard => shard.Dictionary.Values);

    public object? Find(ReadOnlySpan<char> key) =>
        _shards[ShardOf(key)].TryGetValue(key, out object? value) ? value : null;

    /// <summary>A book with these entries changed; null removes one.</summary>
    public AddressBook With(IReadOnlyDictionary<string, object?> changes)
    {
        var shards = (Dictionary<string, object>.AlternateLookup<ReadOnlySpan<char>>[])_shards.Clone();
        foreach (IGrouping<int, KeyValuePair<string, object?>> group in changes.GroupBy(change => ShardOf(change.Key)))
        {
            var shard = new Dictionary<string, object>(shards[group.Key].Dictionary, StringComparer.Ordinal);
            foreach ((string key, object? value) in group)
            {
                if (value is null)
                {
                    shard.Remove(key);
                }
                else
                {
                    shard[key] = value;
                }
            }

            shards[group.Key] = shard.GetAlternateLookup<ReadOnlySpan<char>>();
        }

        return new AddressBook(shards);
    }

    // The runtime's string hash is keyed by a secret of the process: nobody can fill one shard on purpose.
    private static int ShardOf(ReadOnlySpan<char> key) => (string.GetHashCode(key, StringComparison.Ordinal) >>> 8) & (ShardCount - 1);
}
