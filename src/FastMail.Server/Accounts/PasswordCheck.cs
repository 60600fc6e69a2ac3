using System.Security.Cryptography;

namespace FastMail.Server.Accounts;

/// <summary>
/// One password check, reused by the connection that owns it: filled on the loop, answered by a hash worker, read on
/// the loop again. The owner touches it only while no check is under way.
/// </summary>
internal sealed class PasswordCheck
{
    private readonly Action<PasswordCheck> _completed;
    private byte[] _password = [];
    private int _passwordLength;
    private bool _hasEnded;

    /// <param name="completed">Called once a check, on a worker thread or inside <see cref="PasswordChecker.TryBegin"/>.</param>
    public PasswordCheck(Action<PasswordCheck> completed) => _completed = completed;

    /// <summary>Whose password it claims to be; null when the name is unknown.</summary>
    public Account? Claimed { get; private set; }

    /// <summary>The account whose password it is; null when it is nobody's.</summary>
    public Account? Proven { get; private set; }

    /// <summary>Key of the success cache for this name and password.</summary>
    internal UInt128 CacheKey { get; private set; }

    internal ReadOnlySpan<byte> Password => _password.AsSpan(0, _passwordLength);

    internal void Fill(Account? claimed, ReadOnlySpan<byte> password, UInt128 cacheKey)
    {
        if (_password.Length < password.Length)
        {
            _password = GC.AllocateUninitializedArray<byte>(password.Length, pinned: true); // pinned: wiping leaves no copy
        }

        password.CopyTo(_password); // copied: the caller's view dies with its call
        _passwordLength = password.Length;
        Claimed = claimed;
        Proven = null;
        _hasEnded = false;
        CacheKey = cacheKey;
    }

    /// <summary>There will be no check: nothing of it is kept.</summary>
    internal void Forget()
    {
        Wipe();
        Claimed = null;
    }

    internal void Complete(bool matches)
    {
        Wipe();
        Proven = matches ? Claimed : null;
        _hasEnded = true;
        _completed(this);
    }

    private void Wipe()
    {
        CryptographicOperations.ZeroMemory(_password);
        _passwordLength = 0;
    }

    /// <summary>The result, once; false when no check has ended since the last one was taken.</summary>
    /// <param name="proven">The account whose password it is; null when it is nobody's.</param>
    public bool TryTake(out Account? proven)
    {
        proven = Proven;
        bool hasEnded = _hasEnded;
        _hasEnded = false;
        Claimed = null;
        Proven = null;
        return hasEnded;
    }
}
