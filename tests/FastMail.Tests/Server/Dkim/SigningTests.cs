using System.Text;
using FastMail.Net;
using FastMail.Protocol.Dkim;
using FastMail.Server.Accounts;
using FastMail.Server.Dkim;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server.Dkim;

/// <summary>Which mail is signed, by whose key, and how keys come and go.</summary>
public sealed class SigningTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-dkim-").FullName;
    private readonly LiveAccounts _accounts;
    private readonly DkimFiles _files;

    public SigningTests()
    {
        using (AccountStore store = AccountStore.Open(_directory))
        {
            store.TryAdd("ann@local.test", PasswordHash.Create("secret"u8, iterations: 10), DateTimeOffset.UnixEpoch);
            store.TryAdd("eve@other.test", PasswordHash.Create("secret"u8, iterations: 10), DateTimeOffset.UnixEpoch);
        }

        _accounts = new LiveAccounts(AccountStore.Open(_directory), NullLogger.Instance);
        _files = new DkimFiles(_directory);
    }

    public void Dispose()
    {
        _accounts.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [InlineData("ann@local.test", "ann@local.test", true)]
    [InlineData("ann@local.test", "Ann <ANN+tag@Local.Test>", true)]
    [InlineData("", "anybody@local.test", true)] // a trusted peer, or the server itself
    [InlineData("", "anybody@deep.sub.local.test", true)]
    [InlineData("", "anybody@xlocal.test", false)]
    [InlineData("", "anybody@test", false)]
    [InlineData("eve@other.test", "ann@local.test", false)] // not in somebody else's name
    [InlineData("eve@other.test", "eve@other.test", false)] // no key
    [InlineData("gone@local.test", "gone@local.test", false)]
    [InlineData("", "", false)]
    public async Task Mail_is_signed_for_an_author_whom_the_submitter_may_be(string identity, string from, bool isSigned)
    {
        _files.Make("local.test", "s1", 1024);
        string field = await SignAsync(identity, from);
        Assert.Equal(isSigned, field.Contains("d=local.test; s=s1;", StringComparison.Ordinal));
        Assert.Equal(isSigned, field.Length > 0);
    }

    [Fact]
    public async Task A_message_that_cannot_be_read_goes_unsigned_and_the_next_is_signed()
    {
        _files.Make("local.test", "s1", 1024);
        using DkimWorkers workers = Workers();
        var job = new Job { IsReadable = false };
        Assert.Equal("", await job.SignAsync(workers));
        job.IsReadable = true;
        Assert.StartsWith("DKIM-Signature: ", await job.SignAsync(workers), StringComparison.Ordinal);
        job.IsReadable = false;
        Assert.Equal("", await job.SignAsync(workers)); // nothing of the one before
    }

    [Fact]
    public async Task The_first_key_signs_at_once_and_another_when_it_is_told_to()
    {
        Assert.False(Workers(out DkimKeyring keys).HasKeys);
        _files.Make("local.test", "s1", 1024);
        _files.Make("local.test", "s2", 1024);
        Assert.Equal("s1", _files.ActiveOf("local.test"));
        keys.Look();
        Assert.Equal("s1", keys.Find("local.test")!.Selector);
        _files.Activate("local.test", "s2");
        keys.Look();
        Assert.Equal("s2", keys.Find("local.test")!.Selector);
        Assert.Contains("s=s2;", await SignAsync("", "x@local.test"), StringComparison.Ordinal);
        _files.Remove("local.test", "s2");
        keys.Look();
        Assert.Null(keys.Find("local.test"));
        Assert.Equal("s1", Assert.Single(_files.Selectors("local.test")));
    }

    [Fact]
    public void A_private_key_is_its_owners_alone()
    {
        _files.Make("local.test", "s1", 1024);
        string path = Path.Join(_directory, "dkim/local.test/s1.pem");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.OtherRead);
        Assert.Contains("chmod 600", Assert.Throws<DkimKeyException>(() => _files.Load("local.test", "s1")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_key_that_cannot_be_used_leaves_only_its_own_domain_unsigned()
    {
        _files.Make("good.test", "s1", 1024);
        _files.Make("bad.test", "s1", 1024);
        File.WriteAllText(Path.Join(_directory, "dkim/bad.test/s1.pem"), "rubbish");
        Workers(out DkimKeyring keys).Dispose();
        Assert.NotNull(keys.Find("good.test"));
        Assert.Null(keys.Find("bad.test"));
    }

    [Fact]
    public void A_key_is_never_written_over()
    {
        DkimKey first = _files.Make("local.test", "s1", 1024);
        Assert.Throws<IOException>(() => _files.Make("local.test", "s1", 1024));
        Assert.True(first.PublicKey.Span.SequenceEqual(_files.Load("local.test", "s1").PublicKey.Span));
    }

    [Theory]
    [InlineData("fm202611", true)]
    [InlineData("a.b-c", true)]
    [InlineData("", false)]
    [InlineData("../x", false)]
    [InlineData("a..b", false)]
    [InlineData("-a", false)]
    [InlineData("a b", false)]
    public void A_selector_is_made_of_labels(string text, bool isSelector)
    {
        Assert.Equal(isSelector, DkimFiles.IsSelector(text));
    }

    private DkimWorkers Workers() => Workers(out _);

    private DkimWorkers Workers(out DkimKeyring keys)
    {
        keys = new DkimKeyring(_files, TimeProvider.System, NullLogger.Instance);
        return new DkimWorkers(
            keys, _accounts, default, static work => work.Run(), TimeProvider.System, NullLogger.Instance);
    }

    private async Task<string> SignAsync(string identity, string from)
    {
        using DkimWorkers workers = Workers();
        return await new Job
        {
            AuthIdentity = Encoding.UTF8.GetBytes(identity),
            Message = $"Received: by mx.test id 1\r\nFrom: {from}\r\n\r\nx\r\n.\r\n",
        }.SignAsync(workers);
    }

    private sealed class Job : SigningJob
    {
        private TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public string Message { get; init; } = "From: ann@local.test\r\n\r\nx\r\n.\r\n";

        public bool IsReadable { get; set; } = true;

        public override void Run() => _done.SetResult();

        public async Task<string> SignAsync(DkimWorkers workers)
        {
            _done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            workers.Sign(this);
            await _done.Task;
            return Encoding.ASCII.GetString(Field.Span);
        }

        protected override bool TryRead(DkimSigner signer)
        {
            signer.Take(Encoding.UTF8.GetBytes(Message));
            return IsReadable;
        }
    }
}
