namespace FastMail.Protocol.Pop3;

/// <summary>How a login ended; each has its response code (RFC 2449 8, RFC 3206).</summary>
public enum LoginVerdict
{
    /// <summary>The maildrop is locked and ours.</summary>
    Accepted,

    /// <summary>Unknown user or wrong password: <c>[AUTH]</c>.</summary>
    Rejected,

    /// <summary>The last login was too short a time ago: <c>[LOGIN-DELAY]</c>.</summary>
    TooSoon,

    /// <summary>Another session holds the lock: <c>[IN-USE]</c>.</summary>
    InUse,

    /// <summary>The account store or the log cannot answer now: <c>[SYS/TEMP]</c>.</summary>
    Unavailable,

    /// <summary>The account is closed by its operator: <c>[SYS/PERM]</c>.</summary>
    Disabled,
}

/// <summary>
/// A locked maildrop as it was when the lock was taken: messages 0..Count-1 in order of arrival. Belongs to one session
/// until <see cref="Close"/>, which releases the lock (and only this holder's lock).
/// </summary>
public interface IMaildrop
{
    /// <summary>Days that a message stays here, told by EXPIRE (RFC 2449 6.7); null for ever.</summary>
    int? ExpireDays { get; }

    /// <summary>Messages in the snapshot.</summary>
    int Count { get; }

    /// <summary>
    /// Size of a message as it is sent, octets (RFC 1939 11): with the empty line that <see cref="MessageContent"/> may
    /// lack.
    /// </summary>
    int Octets(int index);

    /// <summary>
    /// Writes the unique-id, 1 to 70 octets of 0x21 to 0x7E (RFC 1939 7); false when it cannot be read now.
    /// </summary>
    bool TryWriteUniqueId(int index, Span<byte> destination, out int length);

    /// <summary>
    /// Opens a message whose checksum has been verified just now. A large one may be
    /// <see cref="ContentStatus.Pending"/>: then its content comes in parts, each through
    /// <see cref="Pop3Session.ContentRead"/>, the first unasked.
    /// </summary>
    ContentStatus TryOpen(int index, out MessageContent content);

    /// <summary>
    /// Asks for the next part of the content that came in parts; behind the last one an empty part comes. The part
    /// before stays as it is until the part that is asked for has come and <see cref="Pop3Session.Receive"/> is called.
    /// </summary>
    void ReadOn();

    /// <summary>No more parts are wanted; never while one is awaited. Their memory goes back.</summary>
    void CloseContent();

    /// <summary>
    /// Removes messages for good, all or none; bit <c>i % 64</c> of <c>marks[i / 64]</c> stands for message i. The
    /// outcome comes back through <see cref="Pop3Session.Removed"/> once it is durable, never synchronously.
    /// </summary>
    void Remove(ReadOnlySpan<ulong> marks);

    /// <summary>
    /// Ends the session's hold. Removes nothing by itself. When the connection breaks it comes while a removal is still
    /// under way: the lock must then stay until the removal has been settled.
    /// </summary>
    void Close();
}

/// <summary>
/// A message in wire form, ready to be sent after <c>+OK</c>: dot-stuffed and ended by <c>CRLF.CRLF</c>.
/// </summary>
/// <param name="Wire">
/// Trace fields and content, or a part of them; valid until the maildrop is closed, a part not as long.
/// </param>
/// <param name="HeaderWireBytes">
/// Octets of trace fields and header section with the empty line that ends it, from the start of the first part.
/// </param>
/// <param name="RestBytes">Octets behind <paramref name="Wire"/> that come in further parts.</param>
public readonly record struct MessageContent(ReadOnlyMemory<byte> Wire, long HeaderWireBytes, long RestBytes = 0)
{
    /// <summary>
    /// No empty line ends the header section. Clients hang on such a message, so it is sent with one behind it.
    /// </summary>
    public bool LacksEndOfHeader { get; init; }

    /// <summary>It came with SMTPUTF8: its header may hold UTF-8.</summary>
    public bool IsUtf8 { get; init; }
}

/// <summary>Whether a message could be opened.</summary>
public enum ContentStatus
{
    /// <summary>Here it is.</summary>
    Ok,

    /// <summary>Its checksum fails: <c>-ERR [SYS/PERM]</c>, the message stays listed.</summary>
    Damaged,

    /// <summary>It cannot be read just now: <c>-ERR [SYS/TEMP]</c>.</summary>
    Unavailable,

    /// <summary>It was removed by somebody else since the maildrop was opened: <c>-ERR</c>.</summary>
    Gone,

    /// <summary>It is being read; the outcome comes later.</summary>
    Pending,
}
