namespace FastMail.Server.Configuration;

/// <summary>How mail is collected.</summary>
internal static class Pop3Keys
{
    public static readonly Key<TimeSpan> LockWait = new(
        "pop3.lock_wait", "5s", "time", "How long a login waits for a maildrop that another session has open.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromMinutes(1)));

    public static readonly Key<int> SessionsPerUser = new(
        "pop3.sessions_per_user", "10", "sessions", "Sessions of one user that have the maildrop open or wait for it.",
        Values.Count(1, 10_000));

    public static readonly Key<TimeSpan> LoginDelay = new(
        "pop3.login_delay", "0", "time", "Least time between two logins of one user; 0 is none. Told by CAPA in whole seconds.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromDays(1)));

    public static readonly Key<bool> StrictUtf8 = new(
        "pop3.strict_utf8", "off", "on, off", "Refuse messages in UTF-8 to clients that have not said UTF8.", Values.Switch);

    public static IEnumerable<Key> All => [LockWait, SessionsPerUser, LoginDelay, StrictUtf8];
}
