using System.Text;

namespace FastMail.Server.Accounts;

/// <summary>
/// All accounts, aliases and hosted domains at one moment, ready for look-ups on the loop without allocation and in the
/// same time for ten addresses as for a million. Immutable: a change makes a new one that shares nearly all of it.
/// </summary>
internal sealed class AccountDirectory
{
    private const string Postmaster = "postmaster";

    private readonly AddressBook _book;
    private readonly AddressRules _rules;
    private readonly Account? _eldest;

    private AccountDirectory(
        long generation,
        int count,
        AddressBook book,
        AddressRules rules,
        Account? eldest,
        IReadOnlyDictionary<ulong, Allowance> allowances,
        int? leastRetentionDays)
    {
        Allowances = allowances;
        LeastRetentionDays = leastRetentionDays;
        Generation = generation;
        Count = count;
        _book = book;
        _rules = rules;
        _eldest = eldest;
    }

    /// <summary>Counter of the store's changes that this directory shows.</summary>
    public long Generation { get; }

    /// <summary>Quota and retention of those accounts that were given any, by mailbox.</summary>
    public IReadOnlyDictionary<ulong, Allowance> Allowances { get; }

    /// <summary>
    /// The shortest retention that an account has of its own; 0 when all of those keep for ever, null when there is none.
    /// </summary>
    public int? LeastRetentionDays { get; }

    /// <summary>Accounts.</summary>
    public int Count { get; }

    /// <summary>Every account, in no order.</summary>
    public IEnumerable<Account> All => _book.Values.OfType<Account>();

    /// <param name="generation">See <see cref="Generation"/>.</param>
    /// <param name="accounts">Every account, oldest first.</param>
    /// <param name="aliases">Targets of each alias; the alias <c>@domain</c> catches all of a domain.</param>
    /// <param name="domains">Domains hosted although nothing is in them, with an at sign in front.</param>
    /// <param name="rules">How other addresses are read.</param>
    /// <param name="allowances">See <see cref="Allowances"/>; none when null.</param>
    public static AccountDirectory Make(
        long generation,
        IReadOnlyCollection<Account> accounts,
        IEnumerable<KeyValuePair<string, string[]>> aliases,
        IEnumerable<string> domains,
        AddressRules rules,
        IReadOnlyDictionary<ulong, Allowance>? allowances = null)
    {
        var entries = new Dictionary<string, object>(accounts.Count, StringComparer.Ordinal);
        var hosted = new Dictionary<string, HostedDomain>(StringComparer.Ordinal);
        Dictionary<string, HostedDomain>.AlternateLookup<ReadOnlySpan<char>> hostedBySpan =
            hosted.GetAlternateLookup<ReadOnlySpan<char>>();
        HostedDomain Of(ReadOnlySpan<char> domain) =>
            hostedBySpan.TryGetValue(domain, out HostedDomain? known) ? known : HostedDomain.None;

        foreach (Account account in accounts)
        {
            entries.Add(account.Address, account);
            ReadOnlySpan<char> domain = AddressKey.DomainOf(account.Address);
            HostedDomain before = Of(domain);
            hostedBySpan[domain] = before with { Uses = before.Uses + 1, Eldest = before.Eldest ?? account };
        }

        foreach ((string alias, string[] targets) in aliases)
        {
            if (alias[0] == '@')
            {
                hosted[alias] = Of(alias) with { CatchAll = targets };
                continue;
            }

            ReadOnlySpan<char> domain = AddressKey.DomainOf(alias);
            HostedDomain before = Of(domain);
            hostedBySpan[domain] = before with { Uses = before.Uses + 1 };
            entries.TryAdd(alias, targets); // an account of that address goes first
        }

        foreach (string domain in domains)
        {
            hosted[domain] = Of(domain) with { IsListed = true };
        }

        return new AccountDirectory(
            generation,
            accounts.Count,
            new AddressBook(entries.Concat(hosted.Select(h => KeyValuePair.Create(h.Key, (object)h.Value)))),
            rules,
            accounts.FirstOrDefault(),
            allowances ?? new Dictionary<ulong, Allowance>(),
            Shortest(allowances));
    }

    /// <summary>
    /// The directory after some entries have changed. Null when it cannot be told from them alone: the eldest account of
    /// a domain is gone and the next one must be looked for. Then everything is to be read again.
    /// </summary>
    public AccountDirectory? With(DirectoryChanges changes)
    {
        var changed = new Dictionary<string, object?>(StringComparer.Ordinal);
        int count = Count;
        Account? eldest = _eldest;
        foreach (AddressEntry entry in changes.Entries)
        {
            string domainKey = entry.IsDomain ? entry.Key : AddressKey.DomainOf(entry.Key).ToString();
            HostedDomain domain = (changed.TryGetValue(domainKey, out object? seen) ? seen : _book.Find(domainKey))
                as HostedDomain ?? HostedDomain.None;
            if (entry.IsDomain)
            {
                domain = domain with { CatchAll = entry.Targets, IsListed = entry.IsListed };
            }
            else
            {
                object? before = changed.TryGetValue(entry.Key, out object? value) ? value : _book.Find(entry.Key);
                object? after = (object?)entry.Account ?? entry.Targets;
                if (before is Account old && old.MailboxId != entry.Account?.MailboxId
                    && (domain.Eldest?.MailboxId == old.MailboxId || eldest?.MailboxId == old.MailboxId))
                {
                    return null;
                }

                changed[entry.Key] = after;
                count += (after is Account ? 1 : 0) - (before is Account ? 1 : 0);
                domain = domain with
                {
                    Uses = domain.Uses + (after is null ? 0 : 1) - (before is null ? 0 : 1),
                    Eldest = ElderOf(domain.Eldest, entry.Account),
                };
                eldest = ElderOf(eldest, entry.Account);
            }

            changed[domainKey] = domain.IsHosted ? domain : null;
        }

        return new AccountDirectory(
            changes.Generation, count, _book.With(changed), _rules, eldest, changes.Allowances ?? Allowances,
            changes.Allowances is null ? LeastRetentionDays : Shortest(changes.Allowances));
    }

    /// <summary>Whose maildrops an address names.</summary>
    /// <param name="address">UTF-8, no angle brackets; or the bare word postmaster.</param>
    /// <param name="ownLiteral">The address literal of this host on which it was called; empty for none.</param>
    /// <param name="mailboxes">Cleared, and filled when the result is <see cref="Residence.Mailbox"/>.</param>
    public Residence Resolve(ReadOnlySpan<byte> address, ReadOnlySpan<char> ownLiteral, List<Account> mailboxes)
    {
        mailboxes.Clear();
        Span<char> buffer = stackalloc char[AddressKey.MaxLength];
        int length = AddressKey.Write(address, buffer);
        if (length < 0)
        {
            return Residence.Elsewhere;
        }

        ReadOnlySpan<char> key = buffer[..length];
        int at = key.LastIndexOf('@');
        if (at < 0)
        {
            return key.SequenceEqual(Postmaster) ? ResolvePostmaster(mailboxes) : Residence.Elsewhere;
        }

        ReadOnlySpan<char> localPart = key[..at];
        if (_book.Find(key[at..]) is not HostedDomain domain)
        {
            if (ownLiteral.IsEmpty || !key[(at + 1)..].Equals(ownLiteral, StringComparison.OrdinalIgnoreCase))
            {
                return Residence.Elsewhere;
            }

            return localPart.SequenceEqual(Postmaster) ? ResolvePostmaster(mailboxes) : Residence.UnknownHere;
        }

        object? entry = _book.Find(key) ?? FindUndelimited(localPart, key[at..]);
        // RFC 5321 4.5.1: postmaster of a hosted domain always has a reader.
        bool isPostmaster = localPart.SequenceEqual(Postmaster);
        return Expand(entry ?? (isPostmaster ? domain.Eldest ?? _eldest : domain.CatchAll), mailboxes);
    }

    /// <summary>What an alias means by a target: an account, the targets of another alias, or null for nobody.</summary>
    internal object? Named(string target)
    {
        int at = target.LastIndexOf('@');
        return _book.Find(target) ?? FindUndelimited(target.AsSpan(0, at), target.AsSpan(at));
    }

    /// <summary>The account of a login name, or null; an alias is no login name.</summary>
    public Account? Find(ReadOnlySpan<byte> loginName)
    {
        Span<char> key = stackalloc char[AddressKey.MaxLength];
        int length = AddressKey.Write(loginName, key);
        return length < 0 ? null : _book.Find(key[..length]) as Account;
    }

    /// <summary>The account as it is now; null when it is gone or its address has another one.</summary>
    public Account? Find(ulong mailboxId, string address) =>
        _book.Find(address) is Account account && account.MailboxId == mailboxId ? account : null;

    /// <summary>Quota and retention of an account, or null when it has none of its own.</summary>
    public Allowance? AllowanceOf(ulong mailboxId) => Allowances.GetValueOrDefault(mailboxId);

    /// <summary>
    /// True when mail of this account may say that it comes from the address: it is delivered to the account, or the
    /// operator has allowed it.
    /// </summary>
    /// <param name="loginName">Who has logged in.</param>
    /// <param name="reversePath">UTF-8, no angle brackets, not empty.</param>
    /// <param name="scratch">A list of the caller's.</param>
    public bool MaySendAs(ReadOnlySpan<byte> loginName, ReadOnlySpan<byte> reversePath, List<Account> scratch)
    {
        if (Find(loginName) is not { } account)
        {
            return false; // removed since it logged in
        }

        bool isOwn = Resolve(reversePath, [], scratch) == Residence.Mailbox
            && scratch.Exists(mailbox => mailbox.MailboxId == account.MailboxId);
        return isOwn || (account.MaySendAs is { } patterns && IsAllowed(patterns, reversePath));
    }

    private static bool IsAllowed(string[] patterns, ReadOnlySpan<byte> reversePath)
    {
        Span<char> buffer = stackalloc char[AddressKey.MaxLength];
        int length = AddressKey.Write(reversePath, buffer);
        ReadOnlySpan<char> key = buffer[..Math.Max(0, length)];
        foreach (string pattern in patterns)
        {
            if (pattern == "*" || key.SequenceEqual(pattern)
                || (pattern[0] == '@' && AddressKey.DomainOf(key).SequenceEqual(pattern)))
            {
                return true;
            }
        }

        return false;
    }

    private static int? Shortest(IReadOnlyDictionary<ulong, Allowance>? allowances)
    {
        int? shortest = null;
        foreach (Allowance allowance in allowances?.Values ?? [])
        {
            if (allowance.RetentionDays is { } days && (shortest is null or 0 || (days > 0 && days < shortest)))
            {
                shortest = days;
            }
        }

        return shortest;
    }

    private static Account? ElderOf(Account? one, Account? other) =>
        one is null || (other is not null && other.MailboxId <= one.MailboxId) ? other : one; // <=: it may have changed

    private Residence ResolvePostmaster(List<Account> mailboxes)
    {
        Span<char> key = stackalloc char[Postmaster.Length + 1 + 255];
        _ = key.TryWrite($"{Postmaster}@{_rules.Hostname}", out int length);
        Residence named = Expand(_book.Find(key[..length]), mailboxes);
        return named == Residence.UnknownHere ? Expand(_eldest, mailboxes) : named;
    }

    /// <summary>What the local-part in front of the delimiter names.</summary>
    private object? FindUndelimited(ReadOnlySpan<char> localPart, ReadOnlySpan<char> atDomain)
    {
        int end = _rules.Delimiter is { } delimiter ? localPart.IndexOf(delimiter) : -1;
        if (end <= 0)
        {
            return null;
        }

        Span<char> key = stackalloc char[AddressKey.MaxLength];
        localPart[..end].CopyTo(key);
        atDomain.CopyTo(key[end..]);
        ReadOnlySpan<char> plain = key[..(end + atDomain.Length)];
        return _book.Find(plain)
            ?? (localPart[..end].SequenceEqual(Postmaster) ? (_book.Find(atDomain) as HostedDomain)?.Eldest : null);
    }

    private Residence Expand(object? entry, List<Account> mailboxes)
    {
        AliasExpansion expansion = new(this, mailboxes);
        if (!expansion.TryAdd(entry))
        {
            mailboxes.Clear();
            return Residence.TooMany;
        }

        return mailboxes.Count > 0 ? Residence.Mailbox : Residence.UnknownHere;
    }
}

/// <summary>A domain whose mail is for this server. Immutable.</summary>
/// <param name="Uses">Accounts and aliases in it.</param>
/// <param name="IsListed">Hosted even when nothing is in it.</param>
/// <param name="Eldest">Its first account, which reads postmaster's mail when nobody else does.</param>
/// <param name="CatchAll">Who gets the mail of addresses that nobody has; null for nobody.</param>
internal sealed record HostedDomain(int Uses, bool IsListed, Account? Eldest, string[]? CatchAll)
{
    public static HostedDomain None { get; } = new(0, false, null, null);

    public bool IsHosted => Uses > 0 || IsListed || CatchAll is not null;
}

/// <summary>What the store has under one key now; all null when nothing. Immutable.</summary>
/// <param name="Key">An address, or a domain with an at sign in front.</param>
/// <param name="Account">The account of the address.</param>
/// <param name="Targets">Targets of the alias, or of the domain's catch-all.</param>
/// <param name="IsListed">The domain is hosted by name.</param>
internal sealed record AddressEntry(string Key, Account? Account, string[]? Targets, bool IsListed)
{
    public bool IsDomain => Key[0] == '@';
}

/// <summary>What the store has found to be changed. Immutable.</summary>
/// <param name="Generation">The generation that includes them.</param>
/// <param name="Entries">What each touched key names now.</param>
/// <param name="Allowances">All of them, when any has changed; otherwise null.</param>
internal sealed record DirectoryChanges(
    long Generation, IReadOnlyCollection<AddressEntry> Entries, IReadOnlyDictionary<ulong, Allowance>? Allowances = null);

/// <summary>Where an address lives.</summary>
internal enum Residence
{
    /// <summary>In one or more maildrops of this server.</summary>
    Mailbox,

    /// <summary>In a hosted domain, but there is no such mailbox.</summary>
    UnknownHere,

    /// <summary>An alias that reaches more maildrops than a recipient may have: none of them gets anything.</summary>
    TooMany,

    /// <summary>In a domain that is not hosted here.</summary>
    Elsewhere,
}
