using FastMail.Protocol.Sasl;

namespace FastMail.Server.Accounts;

/// <summary>A mailbox with its owner's password. Immutable; a change makes another object.</summary>
/// <param name="MailboxId">Number of the maildrop in the mail log; never used for another address.</param>
/// <param name="Address">As <see cref="AddressKey"/> writes it.</param>
/// <param name="Password">Verifier of the password.</param>
/// <param name="Created">When the account was added, UTC.</param>
/// <param name="Scram">
/// Verifier for SCRAM; null until the first login with the password, for accounts made before there was one.
/// </param>
/// <param name="MaySendAs">
/// Keys of addresses, domains with an at sign in front, or <c>*</c>, from which it may send beside its own; null for
/// none.
/// </param>
internal sealed record Account(
    ulong MailboxId,
    string Address,
    PasswordHash Password,
    DateTimeOffset Created,
    ScramVerifier? Scram = null,
    string[]? MaySendAs = null);
