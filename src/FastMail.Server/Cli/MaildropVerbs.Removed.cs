using System.CommandLine;
using System.Globalization;
using FastMail.Server.Control;
using FastMail.Server.Maildrops;

namespace FastMail.Server.Cli;

/// <summary>The mail that removed accounts leave.</summary>
internal sealed partial class MaildropVerbs
{
    private readonly Option<bool> _removed = new("--removed") { Description = "List what removed accounts have left instead." };

    private readonly Option<ulong?> _mailbox = new("--mailbox")
    {
        Description = "The maildrop of a removed account, by the number that `maildrop list --removed` shows.",
        HelpName = "NUMBER",
    };

    private readonly Argument<ulong> _purged = new("NUMBER") { Description = "As `maildrop list --removed` shows it." };
    private readonly Option<bool> _dryRun = new("--dry-run") { Description = "Only tell what would be removed." };

    private static string NoRemoved(ulong mailbox) => $"there is no mail of a removed account in mailbox {mailbox}";

    private static MaildropSummary SummaryOf(RemovedMaildrop maildrop) => new(
        $"mailbox {maildrop.MailboxId}", maildrop.MailboxId, maildrop.Messages, maildrop.Octets, 0, 0, 0,
        maildrop.UidValidity);

    private static string TextOf(RemovedMaildrop maildrop) => string.Create(
        CultureInfo.InvariantCulture,
        $"{maildrop.MailboxId,-10} {maildrop.Address ?? "(unknown)",-40} {maildrop.Messages,9} {maildrop.Octets,14}")
        + (maildrop.Removed is { } time ? string.Create(CultureInfo.InvariantCulture, $"  removed {time:u}") : "");

    private Command BuildPurge()
    {
        var purge = new Command("purge", """
            Removes all mail of a removed account for good.

            An account that is added anew under the same address has another maildrop, so the mail of the old one stays
            until it is purged. Its space comes back in the background, or at once with `log compact`.
            """)
        {
            _purged,
            _dryRun,
            _json,
        };
        purge.SetAction(parsed => Run(parsed, Purge));
        return purge;
    }

    private int ListRemoved(ParseResult parsed, IMaildropAccess maildrops)
    {
        RemovedMaildrop[] all = maildrops.ListRemoved();
        if (parsed.GetValue(_json))
        {
            WriteJson(all, ControlJson.Default.RemovedMaildropArray);
            return ExitCode.Ok;
        }

        foreach (RemovedMaildrop maildrop in all)
        {
            Console.Out.WriteLine(TextOf(maildrop));
        }

        return ExitCode.Ok;
    }

    private int Purge(ParseResult parsed, IMaildropAccess maildrops)
    {
        ulong number = parsed.GetRequiredValue(_purged);
        RemovedMaildrop? maildrop = Array.Find(maildrops.ListRemoved(), m => m.MailboxId == number);
        if (maildrop is null)
        {
            return Fail(ExitCode.NoUser, NoRemoved(number));
        }

        bool isDry = parsed.GetValue(_dryRun);
        PurgeResult? done = isDry
            ? new PurgeResult(maildrop.Messages, maildrop.Octets)
            : maildrops.Purge(number);
        if (done is null)
        {
            return Fail(ExitCode.NoUser, NoRemoved(number));
        }

        if (parsed.GetValue(_json))
        {
            WriteJson(done, ControlJson.Default.PurgeResult);
        }
        else
        {
            Console.Out.WriteLine(
                $"{(isDry ? "would remove" : "removed")} {done.Messages} messages, {done.Octets} octets, "
                + $"of mailbox {number} ({maildrop.Address ?? "of an unknown address"})");
        }

        return ExitCode.Ok;
    }
}
