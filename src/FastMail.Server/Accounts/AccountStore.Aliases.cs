using Microsoft.Data.Sqlite;

namespace FastMail.Server.Accounts;

/// <summary>Aliases, hosted domains, and what has changed since a generation.</summary>
internal sealed partial class AccountStore
{
    // What is behind the last at sign: what is in front of it is trimmed away as the longest tail without one.
    private const string HostedSql = """
        SELECT domain FROM domains
        UNION SELECT '@' || replace(address, rtrim(address, replace(address, '@', '')), '') FROM accounts
        UNION SELECT '@' || replace(alias, rtrim(alias, replace(alias, '@', '')), '') FROM aliases
        """;

    /// <summary>The targets of an alias in order, or null when there is no such alias.</summary>
    public string[]? TargetsOf(string alias)
    {
        using SqliteCommand command = Command(
            "SELECT target FROM aliases WHERE alias = $alias ORDER BY target", ("$alias", alias));
        using SqliteDataReader reader = command.ExecuteReader();
        var targets = new List<string>();
        while (reader.Read())
        {
            targets.Add(reader.GetString(0));
        }

        return targets.Count == 0 ? null : [.. targets];
    }

    /// <summary>Gives an alias one more target; false when it has it already.</summary>
    /// <param name="alias">Key of an address without an account, or of a domain with an at sign in front.</param>
    /// <param name="target">Key of an address.</param>
    public bool TryAddAlias(string alias, string target) => TryChange(
        alias,
        "INSERT OR IGNORE INTO aliases VALUES ($alias, $target)",
        ("$alias", alias),
        ("$target", target));

    /// <summary>Takes a target, or all of them, from an alias; false when it has none such.</summary>
    public bool TryRemoveAlias(string alias, string? target) => target is null
        ? TryChange(alias, "DELETE FROM aliases WHERE alias = $alias", ("$alias", alias))
        : TryChange(
            alias,
            "DELETE FROM aliases WHERE alias = $alias AND target = $target",
            ("$alias", alias),
            ("$target", target));

    /// <summary>Hosts a domain with or without accounts; false when it was.</summary>
    public bool TryAddDomain(string domain) =>
        TryChange(domain, "INSERT OR IGNORE INTO domains VALUES ($domain)", ("$domain", domain));

    /// <summary>Hosts a domain only as long as something is in it; false when that was so.</summary>
    public bool TryRemoveDomain(string domain) =>
        TryChange(domain, "DELETE FROM domains WHERE domain = $domain", ("$domain", domain));

    /// <summary>Every alias with its targets, in order.</summary>
    public List<KeyValuePair<string, string[]>> ReadAliases()
    {
        using SqliteCommand command = Command("SELECT alias, target FROM aliases ORDER BY alias, target");
        using SqliteDataReader reader = command.ExecuteReader();
        var aliases = new List<KeyValuePair<string, string[]>>();
        var targets = new List<string>();
        string? alias = null;
        while (reader.Read())
        {
            string next = reader.GetString(0);
            if (alias is not null && next != alias)
            {
                aliases.Add(new(alias, [.. targets]));
                targets.Clear();
            }

            alias = next;
            targets.Add(reader.GetString(1));
        }

        if (alias is not null)
        {
            aliases.Add(new(alias, [.. targets]));
        }

        return aliases;
    }

    /// <summary>The domains hosted by name, in order, with at signs in front.</summary>
    public List<string> ReadDomains() => ReadStrings("SELECT domain FROM domains ORDER BY domain");

    /// <summary>Every hosted domain, by name or for what is in it, in order, with at signs in front.</summary>
    public List<string> ReadHostedDomains() => ReadStrings($"SELECT DISTINCT domain FROM ({HostedSql}) ORDER BY domain");

    /// <summary>True when a domain, with an at sign in front, is hosted.</summary>
    public bool IsHosted(string domain) => Convert.ToInt64(Scalar(
        $"SELECT EXISTS (SELECT 1 FROM ({HostedSql}) WHERE domain = $domain)", ("$domain", domain))) != 0;

    /// <summary>Everything, as of one moment.</summary>
    public AccountDirectory ReadDirectory(AddressRules rules)
    {
        using SqliteTransaction transaction = _connection.BeginTransaction(deferred: true);
        return AccountDirectory.Make(
            Generation, ReadAccounts("ORDER BY mailbox_id"), ReadAliases(), ReadDomains(), rules, ReadAllowances());
    }

    /// <summary>
    /// What has changed since a generation, as it is now; null when the journal does not go back so far.
    /// </summary>
    public DirectoryChanges? ReadChanges(long since)
    {
        using SqliteTransaction transaction = _connection.BeginTransaction(deferred: true);
        long generation = Generation;
        long noted = Convert.ToInt64(Scalar(
            "SELECT COUNT(DISTINCT generation) FROM journal WHERE generation > $since", ("$since", since)));
        if (noted != generation - since)
        {
            return null;
        }

        List<string> keys = ReadStrings(
            "SELECT DISTINCT key FROM journal WHERE generation > $since", ("$since", since));
        Dictionary<ulong, Allowance>? allowances = keys.Remove(AllowancesKey) ? ReadAllowances() : null;
        return new DirectoryChanges(generation, keys.ConvertAll(EntryOf), allowances);
    }

    private AddressEntry EntryOf(string key)
    {
        bool isDomain = key[0] == '@';
        bool isListed = isDomain
            && Convert.ToInt64(Scalar("SELECT COUNT(*) FROM domains WHERE domain = $key", ("$key", key))) > 0;
        return new AddressEntry(key, isDomain ? null : Find(key), TargetsOf(key), isListed);
    }

    private List<string> ReadStrings(string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        using SqliteCommand command = Command(sql, parameters);
        using SqliteDataReader reader = command.ExecuteReader();
        var strings = new List<string>();
        while (reader.Read())
        {
            strings.Add(reader.GetString(0));
        }

        return strings;
    }
}
