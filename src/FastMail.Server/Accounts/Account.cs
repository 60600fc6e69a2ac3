namespace FastMail.Server.Accounts;

/// <summary>A mailbox with its owner's password. Immutable.</summary>
/// <param name="MailboxId">Number of the maildrop in the mail log; never used for another address.</param>
/// <param name="Address">local-part@domain in lower case.</param>
/// <param name="Password">Verifier of the password.</param>
/// <param name="Created">When the account was added, UTC.</param>
internal sealed record Account(ulong MailboxId, string Address, PasswordHash Password, DateTimeOffset Created);
