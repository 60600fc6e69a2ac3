using System.Collections.Concurrent;
using System.Security.Cryptography;
using FastMail.Net;
using FastMail.Protocol.Dkim;
using FastMail.Server.Accounts;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Dkim;

/// <summary>
/// Signs messages on half of the cores: a signature costs a quarter of a millisecond (RSA-2048), which the loop has not.
/// Whoever asks bounds how many jobs there are. <see cref="Sign"/> from any thread.
/// </summary>
internal sealed class DkimWorkers : IDisposable
{
    private readonly DkimKeyring _keys;
    private readonly LiveAccounts _accounts;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly Action<ILoopWork> _post;
    private readonly (DkimCanonicalization Header, DkimCanonicalization Body) _forms;
    private readonly BlockingCollection<SigningJob> _queue = [];
    private readonly Thread[] _workers;

    /// <param name="keys">Whose they are is looked up by the author's domain.</param>
    /// <param name="accounts">Who may send as whom.</param>
    /// <param name="forms">How header and body are canonicalized.</param>
    /// <param name="post">Brings a job that is done to the loop.</param>
    /// <param name="clock">Dates the signatures.</param>
    /// <param name="log">Told of keys that fail.</param>
    public DkimWorkers(
        DkimKeyring keys,
        LiveAccounts accounts,
        (DkimCanonicalization Header, DkimCanonicalization Body) forms,
        Action<ILoopWork> post,
        TimeProvider clock,
        ILogger log)
    {
        _keys = keys;
        _accounts = accounts;
        _forms = forms;
        _post = post;
        _clock = clock;
        _log = log;
        _workers = new Thread[Math.Max(1, Environment.ProcessorCount / 2)];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = new Thread(Work) { IsBackground = true, Name = $"dkim {i}" };
            _workers[i].Start();
        }
    }

    /// <summary>False: nothing would be signed, and nobody need ask.</summary>
    public bool HasKeys => !_keys.IsEmpty;

    /// <summary>Takes the job until it is posted.</summary>
    public void Sign(SigningJob job) => _queue.Add(job);

    /// <summary>Ends the workers when the jobs that were given have been done.</summary>
    public void Dispose()
    {
        _queue.CompleteAdding();
        foreach (Thread worker in _workers)
        {
            worker.Join();
        }

        _queue.Dispose();
        _keys.Dispose();
    }

    private void Work()
    {
        using var signer = new DkimSigner(_forms.Header, _forms.Body);
        var mailboxes = new List<Account>();
        DkimKey? Choose(ReadOnlySpan<byte> author, ReadOnlySpan<byte> identity) => KeyOf(author, identity, mailboxes);
        foreach (SigningJob job in _queue.GetConsumingEnumerable())
        {
            try
            {
                job.Sign(signer, Choose, _clock.GetUtcNow());
            }
            catch (CryptographicException e)
            {
                job.Fail(); // unsigned mail is better than mail that waits
                _log.LogError("dkim: a message goes unsigned: {Reason}", e.Message);
            }

            _post(job);
        }
    }

    /// <summary>
    /// The key for the author's domain. A submitter gets no signature in the name of somebody else: MAIL was judged by the
    /// reverse-path alone.
    /// </summary>
    private DkimKey? KeyOf(ReadOnlySpan<byte> author, ReadOnlySpan<byte> identity, List<Account> scratch)
    {
        Span<char> address = stackalloc char[AddressKey.MaxLength];
        int length = author.IsEmpty ? -1 : AddressKey.Write(author, address);
        if (length < 0)
        {
            return null;
        }

        ReadOnlySpan<char> domain = AddressKey.DomainOf(address[..length]);
        return _keys.Find(domain.TrimStart('@')) is { } key
            && (identity.IsEmpty || !_accounts.Rules.RequiresOwnSender || _accounts.Current.MaySendAs(identity, author, scratch))
            ? key
            : null;
    }
}
