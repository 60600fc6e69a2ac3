namespace FastMail.Server.Accounts;

/// <summary>
/// Whose maildrops one recipient is, through aliases of aliases; each account once. Made for one look-up; allocates
/// nothing where an alias names a few accounts.
/// </summary>
/// <param name="directory">What the targets mean.</param>
/// <param name="mailboxes">Filled.</param>
internal ref struct AliasExpansion(AccountDirectory directory, List<Account> mailboxes)
{
    /// <summary>Maildrops of one recipient: what reaches more is refused as a whole.</summary>
    public const int MostMailboxes = 1000;

    private const int MostAliases = 1000; // of one recipient, at any depth
    private const int DeepestAlias = 16;
    private const int FewMailboxes = 16; // looked through one by one

    private HashSet<ulong>? _known;
    private HashSet<string[]>? _seen;

    /// <summary>False when it reaches further than is allowed: nobody may take that for all.</summary>
    /// <param name="entry">An account, or the targets of an alias; anything else is nobody.</param>
    public bool TryAdd(object? entry) => TryAdd(entry, depth: 0);

    private bool TryAdd(object? entry, int depth) => entry switch
    {
        Account account => TryAddAccount(account),
        string[] targets => TryAddTargets(targets, depth),
        _ => true,
    };

    private bool TryAddAccount(Account account)
    {
        if (!IsNew(account.MailboxId))
        {
            return true;
        }

        if (mailboxes.Count == MostMailboxes)
        {
            return false;
        }

        mailboxes.Add(account);
        return true;
    }

    private bool TryAddTargets(string[] targets, int depth)
    {
        if (depth > 0)
        {
            // The command line refuses loops; two of them at once could still make one.
            _seen ??= new HashSet<string[]>(ReferenceEqualityComparer.Instance);
            if (!_seen.Add(targets))
            {
                return true;
            }
        }

        if (depth == DeepestAlias || _seen?.Count > MostAliases)
        {
            return false;
        }

        foreach (string target in targets)
        {
            if (!TryAdd(directory.Named(target), depth + 1))
            {
                return false;
            }
        }

        return true;
    }

    private bool IsNew(ulong mailboxId)
    {
        if (mailboxes.Count >= FewMailboxes)
        {
            _known ??= [.. mailboxes.Select(static account => account.MailboxId)];
            return _known.Add(mailboxId);
        }

        foreach (Account account in mailboxes)
        {
            if (account.MailboxId == mailboxId)
            {
                return false;
            }
        }

        return true;
    }
}
