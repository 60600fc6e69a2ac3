using System.Text;
using FastMail.Server.Accounts;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class AccountDirectoryTests
{
    private static readonly PasswordHash Hash = PasswordHash.MakeDecoy(10);

    private static readonly AccountDirectory Directory = AccountDirectory.Make(
        1,
        [
            Named(1, "eldest@a.test"),
            Named(2, "u@local.test"),
            Named(3, "v@local.test"),
            Named(4, "postmaster@own.test"),
            Named(5, "jos\u00e9@local.test"),
            Named(6, "a b@local.test"),
            Named(7, "w@xn--bcher-kva.test"),
        ],
        new Dictionary<string, string[]>(StringComparer.Ordinal)
        {
            ["sales@local.test"] = ["u@local.test", "v@local.test"],
            ["all@only.test"] = ["sales@local.test", "w@xn--bcher-kva.test", "gone@local.test"],
            ["tagged@local.test"] = ["v+sales@local.test"],
            ["ghost@local.test"] = ["gone@local.test"],
            ["loop1@local.test"] = ["loop2@local.test"],
            ["loop2@local.test"] = ["loop1@local.test", "u@local.test"],
            ["@catch.test"] = ["v@local.test"],
        },
        ["@empty.test"],
        new AddressRules());

    [Theory]
    [InlineData("u@local.test", "2")]
    [InlineData("U@LOCAL.Test", "2")]
    [InlineData("\"u\"@local.test", "2")]
    [InlineData("\"\\u\"@local.test", "2")]
    [InlineData("\"A b\"@local.test", "6")]
    [InlineData("postmaster", "1")]
    [InlineData("PostMaster", "1")]
    [InlineData("postmaster@local.test", "2")]
    [InlineData("postmaster@own.test", "4")]
    [InlineData("postmaster@empty.test", "1")]
    [InlineData("postmaster@only.test", "1")]
    [InlineData("postmaster+abuse@own.test", "4")]
    [InlineData("postmaster@[192.0.2.7]", "1")]
    [InlineData("jos\u00e9@local.test", "5")]
    [InlineData("jose\u0301@local.test", "5")]
    [InlineData("JOS\u00c9@local.test", "5")]
    [InlineData("w@b\u00fccher.test", "7")]
    [InlineData("w@BU\u0308CHER.test", "7")]
    [InlineData("w@XN--bcher-kva.test", "7")]
    [InlineData("u+tag@local.test", "2")]
    [InlineData("u+tag+more@local.test", "2")]
    [InlineData("\"u+a@b\"@local.test", "2")]
    [InlineData("sales@local.test", "2 3")]
    [InlineData("Sales+x@local.test", "2 3")]
    [InlineData("all@only.test", "2 3 7")]
    [InlineData("tagged@local.test", "3")]
    [InlineData("loop1@local.test", "2")]
    [InlineData("anybody@catch.test", "3")]
    public void An_address_finds_its_mailboxes(string address, string mailboxes)
    {
        Assert.Equal(Residence.Mailbox, Find(address, out string found));
        Assert.Equal(mailboxes, found);
    }

    [Theory]
    [InlineData("x@local.test", "UnknownHere")]
    [InlineData("+u@local.test", "UnknownHere")]
    [InlineData("\"\"@catch.test2", "Elsewhere")]
    [InlineData("\"\"@local.test", "UnknownHere")]
    [InlineData("u@empty.test", "UnknownHere")]
    [InlineData("ghost@local.test", "UnknownHere")]
    [InlineData("u@[192.0.2.7]", "UnknownHere")]
    [InlineData("postmaster@[192.0.2.8]", "Elsewhere")]
    [InlineData("u@elsewhere.test", "Elsewhere")]
    [InlineData("u@local.test.evil.test", "Elsewhere")]
    [InlineData("u@sub.local.test", "Elsewhere")]
    [InlineData("u%elsewhere.test@local.test", "UnknownHere")]
    [InlineData("elsewhere.test!u@local.test", "UnknownHere")]
    [InlineData("\"u@local.test\"@elsewhere.test", "Elsewhere")]
    [InlineData("notpostmaster", "Elsewhere")]
    [InlineData("@catch.test", "UnknownHere")] // no parser lets it in; it is not the catch-all itself
    public void A_stranger_is_not_a_resident(string address, string residence)
    {
        Assert.Equal(residence, Find(address, out string _).ToString());
    }

    [Fact]
    public void An_overlong_or_broken_name_is_nobody()
    {
        Assert.Equal(Residence.Elsewhere, Directory.Resolve(new byte[10_000], "", []));
        Assert.Null(Directory.Find([0xFF, 0xFE, (byte)'@', (byte)'x']));
        Assert.Null(Directory.Find("sales@local.test"u8)); // an alias is no login
    }

    [Theory]
    [InlineData("u@local.test", "u@local.test", true)]
    [InlineData("u@local.test", "U+x@local.test", true)]
    [InlineData("u@local.test", "sales@local.test", true)]
    [InlineData("u@local.test", "all+x@only.test", true)]
    [InlineData("u@local.test", "v@local.test", false)]
    [InlineData("u@local.test", "x@elsewhere.test", false)]
    [InlineData("u@local.test", "postmaster@local.test", true)]
    [InlineData("v@local.test", "postmaster@local.test", false)]
    [InlineData("v@local.test", "anything@catch.test", true)]
    [InlineData("gone@local.test", "gone@local.test", false)]
    public void Senders_are_those_whose_mail_one_gets(string login, string sender, bool may)
    {
        Assert.Equal(may, Directory.MaySendAs(Encoding.UTF8.GetBytes(login), Encoding.UTF8.GetBytes(sender), []));
    }

    [Theory]
    [InlineData("x@y.test", "x@y.test", true)]
    [InlineData("x@y.test", "z@y.test", false)]
    [InlineData("@y.test", "z@Y.test", true)]
    [InlineData("@y.test", "z@sub.y.test", false)]
    [InlineData("*", "z@anywhere.test", true)]
    public void The_operator_may_allow_other_senders(string pattern, string sender, bool may)
    {
        AccountDirectory directory = AccountDirectory.Make(
            1, [Named(1, "u@local.test") with { MaySendAs = [pattern] }], [], [], new AddressRules());
        Assert.Equal(may, directory.MaySendAs("u@local.test"u8, Encoding.UTF8.GetBytes(sender), []));
    }

    [Fact]
    public void Without_a_delimiter_a_tag_is_part_of_the_name()
    {
        AccountDirectory directory = AccountDirectory.Make(
            1, [Named(1, "u@local.test")], [], [], new AddressRules { Delimiter = null });
        Assert.Equal(Residence.UnknownHere, directory.Resolve("u+x@local.test"u8, "", []));
    }

    [Fact]
    public void A_directory_that_was_changed_step_by_step_answers_like_one_made_anew()
    {
        string[] names = ["a@x.test", "b@x.test", "c@y.test", "d@y.test", "@x.test", "@z.test"];
        var changes = ArbMap.Default.ArbFor<(byte Which, byte What)[]>();
        Prop.ForAll(changes, steps =>
        {
            var accounts = new SortedDictionary<ulong, Account>();
            var aliases = new Dictionary<string, string[]>(StringComparer.Ordinal);
            var domains = new HashSet<string>(StringComparer.Ordinal);
            AccountDirectory live = AccountDirectory.Make(0, [], [], [], new AddressRules());
            ulong last = 0;
            foreach ((byte which, byte what) in steps)
            {
                string key = names[which % names.Length];
                Account? old = accounts.Values.FirstOrDefault(account => account.Address == key);
                if (old is not null)
                {
                    accounts.Remove(old.MailboxId);
                }

                aliases.Remove(key);
                domains.Remove(key);
                Account? account = key[0] != '@' && what % 4 == 1 ? Named(++last, key) : null;
                string[]? targets = account is null && what % 4 == 2 ? [names[what / 4 % 4]] : null;
                bool isListed = key[0] == '@' && what % 4 == 3;
                if (account is not null)
                {
                    accounts.Add(account.MailboxId, account);
                }

                if (targets is not null)
                {
                    aliases.Add(key, targets);
                }

                if (isListed)
                {
                    domains.Add(key);
                }

                AccountDirectory anew = AccountDirectory.Make(0, accounts.Values, aliases, domains, new AddressRules());
                live = live.With(new DirectoryChanges(0, [new AddressEntry(key, account, targets, isListed)])) ?? anew;
                foreach (string address in names.Where(name => name[0] != '@')
                    .Concat(["q@x.test", "q@y.test", "q@z.test", "postmaster@x.test", "postmaster@y.test", "postmaster"]))
                {
                    List<Account> left = [], right = [];
                    byte[] octets = Encoding.UTF8.GetBytes(address);
                    Assert.Equal(anew.Resolve(octets, "", right), live.Resolve(octets, "", left));
                    Assert.Equal(right, left);
                    Assert.Equal(anew.Count, live.Count);
                }
            }
        }).QuickCheckThrowOnFailure();
    }

    private static Account Named(ulong id, string address) => new(id, address, Hash, DateTimeOffset.UnixEpoch);

    [Theory]
    [InlineData(1000, 1, "Mailbox")]
    [InlineData(1001, 1, "TooMany")]
    [InlineData(1000, 16, "Mailbox")]
    [InlineData(1000, 17, "TooMany")]
    public void An_alias_reaches_all_of_its_mailboxes_or_none(int members, int depth, string residence)
    {
        string[] names = [.. Enumerable.Range(1, members).Select(i => $"m{i}@local.test")];
        Dictionary<string, string[]> aliases = new(StringComparer.Ordinal)
        {
            ["a1@local.test"] = [.. names, .. names], // whoever is named twice counts once
        };
        for (int i = 2; i <= depth; i++)
        {
            string below = $"a{i - 1}@local.test";
            aliases[$"a{i}@local.test"] = [below, below, "m1@local.test"];
        }

        var directory = AccountDirectory.Make(
            1, [.. names.Select((name, i) => Named((ulong)i + 1, name))], aliases, [], new AddressRules());
        List<Account> mailboxes = [];
        Residence found = directory.Resolve(Encoding.UTF8.GetBytes($"a{depth}@local.test"), "", mailboxes);
        Assert.Equal(residence, found.ToString());
        Assert.Equal(found == Residence.Mailbox ? members : 0, mailboxes.Count);
        Assert.Equal(mailboxes.Count, mailboxes.DistinctBy(m => m.MailboxId).Count());
    }

    private static Residence Find(string address, out string found)
    {
        var mailboxes = new List<Account>();
        Residence residence = Directory.Resolve(Encoding.UTF8.GetBytes(address), "[192.0.2.7]", mailboxes);
        found = string.Join(' ', mailboxes.Select(mailbox => mailbox.MailboxId));
        return residence;
    }
}
