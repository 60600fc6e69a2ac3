using System.Text;

namespace FastMail.Server.Accounts;

/// <summary>
/// All accounts at one moment, ready for look-ups on the loop without allocation. Immutable: a change makes a new one.
/// The hosted domains are those of the accounts.
/// </summary>
internal sealed class AccountDirectory
{
    private const int LongestPathOctets = 256; // RFC 5321 4.5.3.1.3
    private const string Postmaster = "postmaster";

    private readonly Dictionary<string, Account>.AlternateLookup<ReadOnlySpan<char>> _byAddress;
    private readonly Dictionary<string, Account>.AlternateLookup<ReadOnlySpan<char>> _eldestOfDomain;
    private readonly Account? _eldest;

    /// <param name="generation">Counter of the store's changes that this directory shows.</param>
    /// <param name="accounts">Every account, oldest first.</param>
    public AccountDirectory(long generation, IReadOnlyCollection<Account> accounts)
    {
        Generation = generation;
        var byAddress = new Dictionary<string, Account>(accounts.Count, StringComparer.Ordinal);
        var eldestOfDomain = new Dictionary<string, Account>(StringComparer.Ordinal);
        foreach (Account account in accounts)
        {
            byAddress.Add(account.Address, account);
            eldestOfDomain.TryAdd(account.Address[(account.Address.LastIndexOf('@') + 1)..], account);
            _eldest ??= account;
        }

        _byAddress = byAddress.GetAlternateLookup<ReadOnlySpan<char>>();
        _eldestOfDomain = eldestOfDomain.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    public long Generation { get; }

    /// <summary>Quota and retention of those accounts that were given any, by mailbox.</summary>
    public IReadOnlyDictionary<ulong, Allowance> Allowances { get; init; } = new Dictionary<ulong, Allowance>();

    public int Count => _byAddress.Dictionary.Count;

    /// <summary>Whose maildrop an address names; ASCII letters match in either case.</summary>
    /// <param name="address">UTF-8, no angle brackets; or the bare word postmaster.</param>
    /// <param name="atSign">Octet position of the separating <c>@</c>, or -1 for bare postmaster.</param>
    /// <param name="account">Set when the result is <see cref="Residence.Mailbox"/>.</param>
    public Residence Find(ReadOnlySpan<byte> address, int atSign, out Account? account)
    {
        account = null;
        Span<char> buffer = stackalloc char[LongestPathOctets];
        int length = Fold(address, buffer);
        if (length < 0)
        {
            return Residence.Elsewhere;
        }

        ReadOnlySpan<char> folded = buffer[..length];

        if (atSign < 0)
        {
            account = folded.SequenceEqual(Postmaster) ? _eldest : null;
            return account is null ? Residence.Elsewhere : Residence.Mailbox;
        }

        if (_byAddress.TryGetValue(folded, out account))
        {
            return Residence.Mailbox;
        }

        int at = folded.LastIndexOf('@'); // the domain holds no @; folding may have moved it when UTF-8 is in front
        if (!_eldestOfDomain.TryGetValue(folded[(at + 1)..], out Account? eldest))
        {
            return Residence.Elsewhere;
        }

        // RFC 5321 4.5.1: postmaster of a hosted domain always has a reader; without an own account the eldest is it.
        account = folded[..at].SequenceEqual(Postmaster) ? eldest : null;
        return account is null ? Residence.UnknownHere : Residence.Mailbox;
    }

    /// <summary>The account as it is now; null when it is gone or its address has another one.</summary>
    public Account? Find(ulong mailboxId, string address) =>
        _byAddress.TryGetValue(address, out Account? account) && account.MailboxId == mailboxId ? account : null;

    /// <summary>Quota and retention of an account, or null when it has none of its own.</summary>
    public Allowance? AllowanceOf(ulong mailboxId) => Allowances.GetValueOrDefault(mailboxId);

    /// <summary>The account of a login name, or null.</summary>
    public Account? Find(ReadOnlySpan<byte> loginName)
    {
        Span<char> buffer = stackalloc char[LongestPathOctets];
        int length = Fold(loginName, buffer);
        return length >= 0 && _byAddress.TryGetValue(buffer[..length], out Account? account) ? account : null;
    }

    /// <summary>Lower-cases ASCII; returns the length in UTF-16 units, or -1 when the name is too long to exist.</summary>
    private static int Fold(ReadOnlySpan<byte> utf8, Span<char> buffer)
    {
        if (utf8.Length > buffer.Length || !Encoding.UTF8.TryGetChars(utf8, buffer, out int length))
        {
            return -1;
        }

        foreach (ref char c in buffer[..length])
        {
            c = char.IsAsciiLetterUpper(c) ? (char)(c | 0x20) : c;
        }

        return length;
    }
}

/// <summary>Where an address lives.</summary>
internal enum Residence
{
    /// <summary>In a maildrop of this server.</summary>
    Mailbox,

    /// <summary>In a hosted domain, but there is no such mailbox.</summary>
    UnknownHere,

    /// <summary>In a domain that is not hosted here.</summary>
    Elsewhere,
}
