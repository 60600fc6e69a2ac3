using System.IO.Pipelines;
using System.Text;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Control;
using FastMail.Server.Queue;
using FastMail.Server.Receive;
using Xunit;

namespace FastMail.Tests.Server.Queue;

/// <summary>What the verbs see of the queue and do with it, without a server.</summary>
public sealed class QueueTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-queue-").FullName;
    private OfflineStore _store;

    public QueueTests()
    {
        using (AccountStore accounts = AccountStore.Open(_directory))
        {
            accounts.TryAdd("ann@local.test", PasswordHash.Create("secret"u8, iterations: 10), DateTimeOffset.UnixEpoch);
        }

        File.WriteAllText(Path.Join(_directory, "fastmail.json"), """{ "server": { "hostname": "mx.local.test" }, "limits": { "message_size": "64KiB" } }""");
        using (MakeLog())
        {
        }

        _store = OfflineStore.Open(_directory);
    }

    public void Dispose()
    {
        _store.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task A_message_waits_for_those_elsewhere_and_is_there_for_those_here()
    {
        string id = await SendAsync("bob@x.test", "ann@local.test", "u@far.test", "v@far.test", "U@far.test");
        QueueEntry[] all = [.. _store.Queue.List(new QueueSelector())];
        Assert.Equal(["u@far.test", "v@far.test"], all.Select(e => e.To), StringComparer.Ordinal);
        Assert.All(all, e => Assert.Equal((id, "bob@x.test", "ready", 0), (e.Id, e.From, e.State, e.Attempts)));
        Assert.Equal(1, _store.Store.ListMaildrops().Single().Messages);
    }

    [Theory]
    [InlineData("no such@", false)]
    [InlineData("nobody@local.test", true)]
    public async Task Nothing_is_taken_when_one_of_the_recipients_cannot_be(string recipient, bool isUnknown)
    {
        SubmissionException refusal =
            await Assert.ThrowsAsync<SubmissionException>(() => SendAsync("bob@x.test", "ann@local.test", "u@far.test", recipient));
        Assert.Equal((isUnknown, false), (refusal.IsUnknownUser, refusal.IsTemporary));
        Assert.Empty(_store.Queue.List(new QueueSelector()));
        Assert.Equal(0, _store.Store.ListMaildrops().Single().Messages);
    }

    [Theory]
    [InlineData("too long")]
    [InlineData("a\0b")]
    public async Task Nothing_is_taken_when_the_content_cannot_be(string flaw)
    {
        string content = flaw == "too long" ? new string('x', 70_000) : flaw;
        await Assert.ThrowsAsync<SubmissionException>(() => TakeAsync(new LocalEnvelope("", ["u@far.test"]), content));
        Assert.Empty(_store.Queue.List(new QueueSelector()));
    }

    [Fact]
    public async Task Selectors_say_who_is_meant()
    {
        string one = await SendAsync("bob@x.test", "u@far.test", "u@near.test");
        string two = await SendAsync("", "u@far.test");
        await ApplyAsync(QueueAction.Hold, new QueueSelector { Ids = [two] });
        Assert.Equal(3, Count(new QueueSelector()));
        Assert.Equal(2, Count(new QueueSelector { Ids = [one.ToLowerInvariant()] }));
        Assert.Equal(3, Count(new QueueSelector { Ids = [one, two] }));
        Assert.Equal(2, Count(new QueueSelector { ToDomains = ["FAR.test"] }));
        Assert.Equal(3, Count(new QueueSelector { ToDomains = ["far.test", "near.test"] }));
        Assert.Equal(1, Count(new QueueSelector { From = "<>" }));
        Assert.Equal(2, Count(new QueueSelector { From = "BOB@x.test" }));
        Assert.Equal(2, Count(new QueueSelector { From = "@x.test" }));
        Assert.Equal(0, Count(new QueueSelector { From = "@y.test" }));
        Assert.Equal(0, Count(new QueueSelector { Age = TimeSpan.FromHours(1) }));
        Assert.Equal(1, Count(new QueueSelector { Reply = "BY the operator" }));
        Assert.Equal(1, Count(new QueueSelector { State = "held" }));
        Assert.Equal(1, Count(new QueueSelector { From = "@x.test", ToDomains = ["near.test"], State = "ready" }));
    }

    [Fact]
    public void A_selector_survives_its_way_through_a_query()
    {
        var selector = new QueueSelector
        {
            Ids = ["A", "B&C"],
            ToDomains = ["far.test"],
            From = "<>",
            Age = TimeSpan.FromHours(4),
            Reply = "450 4.2.0 = &?",
            State = "held",
        };
        Dictionary<string, List<string?>> values = new(StringComparer.Ordinal);
        foreach (string pair in selector.ToQuery().TrimStart('&').Split('&'))
        {
            string[] parts = pair.Split('=', 2);
            values.TryAdd(parts[0], []);
            values[parts[0]].Add(Uri.UnescapeDataString(parts[1]));
        }

        var read = QueueSelector.Of(name => values.GetValueOrDefault(name, []));
        Assert.Equal(selector.ToQuery(), read.ToQuery());
        Assert.True(new QueueSelector().IsEmpty && new QueueSelector().ToQuery().Length == 0);
        Assert.Throws<FormatException>(() => QueueSelector.Of(name => name == "age" ? ["old"] : []));
    }

    [Theory]
    [InlineData("id")]
    [InlineData("to-domain")]
    [InlineData("from")]
    [InlineData("reply")]
    [InlineData("state")]
    public void An_empty_value_means_nobody(string name)
    {
        FormatException flaw = Assert.Throws<FormatException>(() => QueueSelector.Of(asked => asked == name ? [""] : []));
        Assert.Contains(name, flaw.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Those_that_an_action_would_change_are_told_apart()
    {
        string held = await SendAsync("bob@x.test", "u@far.test");
        await SendAsync("bob@x.test", "v@far.test");
        await ApplyAsync(QueueAction.Hold, new QueueSelector { Ids = [held] });
        foreach (QueueAction action in Enum.GetValues<QueueAction>())
        {
            var selector = QueueSelector.Of(name => name == "would" ? [action.ToString().ToLowerInvariant()] : []);
            Assert.True(selector.IsEmpty);
            string[] changed = action switch
            {
                QueueAction.Release => ["u@far.test"],
                QueueAction.Retry or QueueAction.Hold => ["v@far.test"],
                _ => ["u@far.test", "v@far.test"],
            };
            Assert.Equal(changed, _store.Queue.List(selector).Select(entry => entry.To), StringComparer.Ordinal);
        }

        Assert.Throws<FormatException>(() => QueueSelector.Of(name => name == "would" ? ["3"] : []));
    }

    [Fact]
    public async Task A_list_tells_what_was_said_last_of_each_and_a_count_costs_no_more_with_what_has_happened()
    {
        await SendAsync("bob@x.test", "u@far.test", "v@far.test");
        long before = CostOfCount();
        for (int i = 0; i < 100; i++)
        {
            await ApplyAsync(QueueAction.Hold, new QueueSelector { ToDomains = ["far.test"] });
            await ApplyAsync(QueueAction.Release, new QueueSelector { ToDomains = ["far.test"] });
        }

        Assert.InRange(CostOfCount() - before, -8192, 8192);
        Assert.All(_store.Queue.List(new QueueSelector()), entry => Assert.Equal("released by the operator", entry.Reply));
        Assert.Equal(2, Count(new QueueSelector { Reply = "released" }));
        Assert.Equal(0, Count(new QueueSelector { Reply = "held by" }));

        long CostOfCount()
        {
            long was = GC.GetAllocatedBytesForCurrentThread();
            Assert.Equal(2, _store.Queue.CountAsync(CancellationToken.None).GetAwaiter().GetResult().Recipients);
            return GC.GetAllocatedBytesForCurrentThread() - was;
        }
    }

    [Fact]
    public async Task Nothing_is_taken_for_whom_the_route_table_refuses()
    {
        File.WriteAllText(
            Path.Join(_directory, "fastmail.json"), """{ "server": { "hostname": "mx.local.test" }, "route": { "table": "bad.test=refuse" } }""");
        Reopen();
        SubmissionException refusal = await Assert.ThrowsAsync<SubmissionException>(() => SendAsync("bob@x.test", "u@far.test", "u@bad.test"));
        Assert.Equal("<u@bad.test>: mail there is refused by the route table", refusal.Message);
        Assert.Empty(_store.Queue.List(new QueueSelector()));
    }

    [Fact]
    public async Task What_is_done_is_durable_and_told_by_the_timeline()
    {
        string id = await SendAsync("bob@x.test", "u@far.test", "v@far.test");
        var all = new QueueSelector { Ids = [id] };
        Assert.Equal(new QueueActionResult(2, 0, 0, 0), await ApplyAsync(QueueAction.Hold, all));
        Assert.Equal(new QueueActionResult(0, 0, 0, 2), await ApplyAsync(QueueAction.Retry, all));
        Assert.Equal(new QueueActionResult(2, 0, 0, 0), await ApplyAsync(QueueAction.Release, all));
        Assert.Equal(new QueueActionResult(0, 0, 0, 2), await ApplyAsync(QueueAction.Release, all));
        Assert.Equal(
            new QueueActionResult(2, 0, 0, 0),
            await _store.Queue.ApplyAsync(QueueAction.Redirect, all, new QueueActionOptions("w@near.test"), CancellationToken.None));
        Assert.Equal(2, Count(new QueueSelector { ToDomains = ["near.test"] }));
        Assert.Equal("u@far.test", _store.Queue.List(all).First().RedirectedFrom);

        Reopen();
        QueueMessage message = (await _store.Queue.FindAsync(id, CancellationToken.None))!;
        Assert.Equal(["received", "held", "held", "ready", "ready", "ready", "ready"], message.Steps.Select(s => s.State), StringComparer.Ordinal);
        Assert.Contains("redirected to <w@near.test>", message.Steps[^1].Text, StringComparison.Ordinal);
        Assert.Equal(["w@near.test", "w@near.test"], message.Recipients.Select(r => r.To), StringComparer.Ordinal);

        Assert.Equal(new QueueActionResult(2, 0, 0, 0), await ApplyAsync(QueueAction.Cancel, all));
        Assert.Empty(_store.Queue.List(new QueueSelector()));
        Assert.Null(await _store.Queue.FindAsync(id, CancellationToken.None));
        Reopen();
        Assert.Empty(_store.Queue.List(new QueueSelector()));
    }

    [Fact]
    public async Task Senders_are_notified_by_a_running_server_only()
    {
        await SendAsync("bob@x.test", "u@far.test");
        await Assert.ThrowsAsync<NotSupportedException>(() => _store.Queue.ApplyAsync(
            QueueAction.Cancel, new QueueSelector(), new QueueActionOptions(Notifies: true), CancellationToken.None));
        Assert.Equal(1, Count(new QueueSelector()));
    }

    [Fact]
    public async Task Wishes_about_notifications_are_kept()
    {
        string id = await TakeAsync(
            new LocalEnvelope("bob@x.test", ["u@far.test"], DsnNotify.Success | DsnNotify.Delay, DsnReturn.Headers, "QQ+2B1"), "x");
        QueueMessage message = (await _store.Queue.FindAsync(id, CancellationToken.None))!;
        Assert.Equal(("QQ+2B1", "SUCCESS,DELAY", "local"), (message.EnvelopeId, message.Recipients.Single().Notify, message.Client));
    }

    [Fact]
    public async Task The_queue_is_counted_by_domain()
    {
        await SendAsync("bob@x.test", "u@far.test", "v@FAR.test", "u@near.test");
        await ApplyAsync(QueueAction.Hold, new QueueSelector { ToDomains = ["near.test"] });
        QueueStats stats = await _store.Queue.CountAsync(CancellationToken.None);
        Assert.Equal((1, 3, 2, 0, 1), (stats.Messages, stats.Recipients, stats.Ready, stats.Deferred, stats.Held));
        Assert.Equal([("far.test", 2, 0), ("near.test", 1, 1)], stats.Domains.Select(d => (d.Name, d.Recipients, d.Held)));
    }

    [Fact]
    public async Task More_than_a_page_and_more_than_a_record_are_treated_whole()
    {
        for (int i = 0; i < 30; i++)
        {
            await SendAsync("bob@x.test", [.. Enumerable.Range(0, 100).Select(n => $"u{n}@d{i}.test")]);
        }

        Assert.Equal(3000, Count(new QueueSelector()));
        Assert.Equal(new QueueActionResult(3000, 0, 0, 0), await ApplyAsync(QueueAction.Hold, new QueueSelector()));
        Reopen();
        Assert.Equal(3000, Count(new QueueSelector { State = "held" }));
    }

    private int Count(QueueSelector selector) => _store.Queue.List(selector).Count();

    private Task<QueueActionResult> ApplyAsync(QueueAction action, QueueSelector selector) =>
        _store.Queue.ApplyAsync(action, selector, new QueueActionOptions(), CancellationToken.None);

    private Task<string> SendAsync(string from, params string[] to) =>
        TakeAsync(new LocalEnvelope(from, to), "Subject: x\n\n.hello\n");

    private Task<string> TakeAsync(LocalEnvelope envelope, string content) => _store.Submission.TakeAsync(
        envelope, PipeReader.Create(new MemoryStream(Encoding.UTF8.GetBytes(content))), CancellationToken.None);

    private void Reopen()
    {
        _store.Dispose();
        _store = OfflineStore.Open(_directory);
    }

    private FastMail.Storage.MailLog MakeLog() => FastMail.Storage.MailLog.Open(
        _directory, new FastMail.Storage.MailLogOptions(), FastMail.Storage.LinuxDisk.Instance, TimeProvider.System, new Random(1),
        new Silent());

    private sealed class Silent : FastMail.Storage.IMailLogObserver
    {
        public void GroupCompleted(FastMail.Storage.PendingAppend first) => throw new NotSupportedException("nothing is appended");

        public void Failed(int errno, string what) => throw new NotSupportedException(what);

        public void SpaceChanged(bool isLow)
        {
        }

        public void Noticed(string what)
        {
        }
    }
}
