namespace FastMail.Protocol.Pop3;

/// <summary>Where a POP3 dialog stands (RFC 1939 3).</summary>
internal enum Pop3State
{
    /// <summary>Nothing said yet.</summary>
    Connected,

    /// <summary>AUTHORIZATION, no name yet.</summary>
    Authorization,

    /// <summary>AUTHORIZATION, USER given.</summary>
    AfterUser,

    /// <summary>A challenge is sent: the next line belongs to the SASL exchange.</summary>
    SaslResponse,

    /// <summary>Credentials, lock and snapshot are under way.</summary>
    LoggingIn,

    /// <summary>TRANSACTION.</summary>
    Transaction,

    /// <summary>UPDATE: the removal is under way.</summary>
    Updating,

    /// <summary>+OK sent for STLS: the handshake is awaited, and nothing in the clear is heard any more.</summary>
    StartingTls,

    /// <summary>Nothing more is said or heard.</summary>
    Closed,
}

/// <summary>Commands in the order of RFC 1939, then the extensions'; as bits, so that a state admits a set.</summary>
[Flags]
internal enum Pop3Verb
{
    Unknown = 0,
    User = 1 << 0,
    Pass = 1 << 1,
    Quit = 1 << 2,
    Stat = 1 << 3,
    List = 1 << 4,
    Retr = 1 << 5,
    Dele = 1 << 6,
    Noop = 1 << 7,
    Rset = 1 << 8,
    Top = 1 << 9,
    Uidl = 1 << 10,
    Capa = 1 << 11,
    Auth = 1 << 12,
    Stls = 1 << 13,
    Utf8 = 1 << 14,
    Lang = 1 << 15,
}

/// <summary>The table of what each state admits, and the recognition of verbs. Stateless; any thread.</summary>
internal static class Pop3Verbs
{
    private static readonly uint User = AsciiWord.Pack("USER"u8);
    private static readonly uint Pass = AsciiWord.Pack("PASS"u8);
    private static readonly uint Quit = AsciiWord.Pack("QUIT"u8);
    private static readonly uint Stat = AsciiWord.Pack("STAT"u8);
    private static readonly uint List = AsciiWord.Pack("LIST"u8);
    private static readonly uint Retr = AsciiWord.Pack("RETR"u8);
    private static readonly uint Dele = AsciiWord.Pack("DELE"u8);
    private static readonly uint Noop = AsciiWord.Pack("NOOP"u8);
    private static readonly uint Rset = AsciiWord.Pack("RSET"u8);
    private static readonly uint Uidl = AsciiWord.Pack("UIDL"u8);
    private static readonly uint Capa = AsciiWord.Pack("CAPA"u8);
    private static readonly uint Auth = AsciiWord.Pack("AUTH"u8);
    private static readonly uint Stls = AsciiWord.Pack("STLS"u8);
    private static readonly uint Utf8 = AsciiWord.Pack("UTF8"u8);
    private static readonly uint Lang = AsciiWord.Pack("LANG"u8);

    private static readonly Pop3Verb[] Admitted = MakeTable();

    public static bool Admits(this Pop3State state, Pop3Verb verb) => (Admitted[(int)state] & verb) != 0;

    /// <summary>
    /// The verb is followed by one space or by nothing; <paramref name="argument"/> is all of the rest, because a
    /// password may begin and end with blanks.
    /// </summary>
    public static Pop3Verb Parse(ReadOnlySpan<byte> line, out ReadOnlySpan<byte> argument)
    {
        argument = default;
        var verb = Recognise(AsciiWord.Fold(line));
        var length = 4;
        if (verb == Pop3Verb.Unknown && AsciiWord.StartsWith(line, "TOP"u8))
        {
            (verb, length) = (Pop3Verb.Top, 3);
        }
        if (verb == Pop3Verb.Unknown || line.Length == length)
        {
            return verb;
        }
        if (line[length] != ' ')
        {
            return Pop3Verb.Unknown;
        }
        argument = line[(length + 1)..];
        return verb;
    }

    /// <summary>AUTH lines may be longer than others; known before the line is complete.</summary>
    public static bool IsAuth(ReadOnlySpan<byte> line) => AsciiWord.Fold(line) == Auth;

    private static Pop3Verb Recognise(uint word) =>
        word == Retr ? Pop3Verb.Retr
        : word == Dele ? Pop3Verb.Dele
        : word == List ? Pop3Verb.List
        : word == Uidl ? Pop3Verb.Uidl
        : word == Stat ? Pop3Verb.Stat
        : word == User ? Pop3Verb.User
        : word == Pass ? Pop3Verb.Pass
        : word == Quit ? Pop3Verb.Quit
        : word == Noop ? Pop3Verb.Noop
        : word == Rset ? Pop3Verb.Rset
        : word == Capa ? Pop3Verb.Capa
        : word == Auth ? Pop3Verb.Auth
        : word == Stls ? Pop3Verb.Stls
        : word == Utf8 ? Pop3Verb.Utf8
        : word == Lang ? Pop3Verb.Lang
        : Pop3Verb.Unknown;

    private static Pop3Verb[] MakeTable()
    {
        var table = new Pop3Verb[(int)Pop3State.Closed + 1];
        table[(int)Pop3State.Authorization] =
            Pop3Verb.User | Pop3Verb.Quit | Pop3Verb.Capa | Pop3Verb.Auth | Pop3Verb.Stls
            | Pop3Verb.Utf8 | Pop3Verb.Lang;
        table[(int)Pop3State.AfterUser] = table[(int)Pop3State.Authorization] | Pop3Verb.Pass;
        table[(int)Pop3State.Transaction] =
            Pop3Verb.Quit | Pop3Verb.Stat | Pop3Verb.List | Pop3Verb.Retr | Pop3Verb.Dele | Pop3Verb.Noop
            | Pop3Verb.Rset | Pop3Verb.Top | Pop3Verb.Uidl | Pop3Verb.Capa | Pop3Verb.Lang;
        return table;
    }
}
