using System.CommandLine;
using System.Globalization;
using FastMail.Server.Accounts;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail account quota|retention</c>.</summary>
internal sealed partial class AccountVerbs
{
    private readonly Option<string?> _messages = Amount("--messages", "N|none|default", "Most messages.", Number);
    private readonly Option<string?> _days = Amount("--days", "N|none|default", "Remove messages after so many days.", Days);
    private readonly Option<string?> _octets = Amount("--octets", "SIZE|none|default", "Most octets, e.g. 500MiB.", Size);

    private Command BuildQuota()
    {
        var quota = new Command("quota", """
            Shows or sets how much a maildrop may hold. A message is charged in full to each of its recipients.

            none lifts the limit, default takes that of the configuration (quota.octets, quota.messages). A running
            server takes it at once; what is in the maildrop already stays.
            """)
        {
            _address,
            _octets,
            _messages,
        };
        quota.SetAction(parsed => Run(parsed, Quota));
        return quota;
    }

    private Command BuildRetention()
    {
        var retention = new Command("retention", """
            Shows or sets after how many days the messages of a maildrop are removed.

            none keeps them for ever, default takes what the configuration says (retention.days).
            """)
        {
            _address,
            _days,
        };
        retention.SetAction(parsed => Run(parsed, Retention));
        return retention;
    }

    private int Quota(ParseResult parsed, AccountStore store) => Change(
        parsed,
        store,
        parsed.GetValue(_messages) is not null || parsed.GetValue(_octets) is not null,
        allowance => allowance with
        {
            Messages = parsed.GetValue(_messages) is { } messages ? Read(messages, Number) : allowance.Messages,
            Octets = parsed.GetValue(_octets) is { } octets ? Read(octets, Size) : allowance.Octets,
        },
        allowance => $"octets {Text(allowance.Octets)}, messages {Text(allowance.Messages)}");

    private int Retention(ParseResult parsed, AccountStore store) => Change(
        parsed,
        store,
        parsed.GetValue(_days) is not null,
        allowance => allowance with { RetentionDays = (int?)Read(parsed.GetValue(_days)!, Days) },
        allowance => $"days {Text(allowance.RetentionDays)}");

    private int Change(
        ParseResult parsed, AccountStore store, bool isChange, Func<Allowance, Allowance> change, Func<Allowance, string> show)
    {
        string address = parsed.GetRequiredValue(_address);
        Account? account = store.Read().Accounts.Find(a => a.Address == address);
        if (account is null)
        {
            return AccountEdit.Fail(ExitCode.NoUser, $"there is no account {address}");
        }

        Allowance allowance = store.ReadAllowances().GetValueOrDefault(account.MailboxId) ?? Allowance.Unset;
        if (isChange)
        {
            allowance = change(allowance);
            if (!store.TrySetAllowance(address, allowance))
            {
                return AccountEdit.Fail(ExitCode.NoUser, $"there is no account {address} any more");
            }
        }

        Console.Out.WriteLine($"{address}: {show(allowance)}");
        return ExitCode.Ok;
    }

    /// <summary>Null for <c>default</c>, 0 for <c>none</c>.</summary>
    private static long? Read(string text, Func<string, long> parse) => text switch
    {
        "default" => null,
        "none" => 0,
        _ => parse(text),
    };

    private static string Text(long? amount) => amount switch
    {
        null => "default",
        0 => "none",
        _ => amount.Value.ToString(CultureInfo.InvariantCulture),
    };

    private static long Number(string text) => Configuration.Values.Count(1, int.MaxValue)(text);

    private static long Size(string text) => Configuration.Values.Size(1, 1L << 50)(text);

    private static long Days(string text) => Configuration.Values.Count(1, 36500)(text);

    private static Option<string?> Amount(string name, string helpName, string about, Func<string, long> parse) => new(name)
    {
        Description = about,
        HelpName = helpName,
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            try
            {
                _ = Read(text, parse);
            }
            catch (FormatException e)
            {
                result.AddError($"{name}: {e.Message}");
            }

            return text;
        },
    };
}
