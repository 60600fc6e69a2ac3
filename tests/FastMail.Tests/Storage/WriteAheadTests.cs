using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Groups of which a part is written while others are on their way into them.</summary>
public sealed class WriteAheadTests : IDisposable
{
    private const int Eio = 5;

    private static readonly string Large = new('a', 50_000);
    private static readonly string Other = new('b', 50_000);

    private readonly ScriptedDisk _disk = new();
    private readonly LogScene _scene;
    private readonly List<(long Offset, long Bytes)> _writes = [];
    private readonly SemaphoreSlim _ended = new(0);
    private readonly List<AppendOutcome> _outcomes = [];
    private bool _isWatching;

    public WriteAheadTests()
    {
        _scene = new LogScene(_disk);
    }

    public void Dispose()
    {
        _scene.Dispose();
        _ended.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_group_that_is_written_in_parts_is_one_group(bool isStuttering)
    {
        _scene.Open();
        _disk.IsStuttering = isStuttering;
        Write(static () => { });
        Assert.All(_outcomes, outcome => Assert.Equal(AppendOutcome.Durable, outcome));
        Assert.Equal([Large, Other, "last"], _scene.Bodies(1));
        using LogScene image = _scene.Crash();
        image.Open();
        Assert.Equal([Large, Other, "last"], image.Bodies(1));
        if (!isStuttering)
        {
            Assert.Equal(4, _writes.Count); // two ahead, the rest, and the GROUP record in front of them all
            Assert.True(_writes[0].Offset < _writes[1].Offset && _writes[1].Offset < _writes[2].Offset);
            Assert.Equal((_writes[0].Offset, GroupMeta.TotalBytes), _writes[3]);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void A_power_cut_before_the_flush_leaves_nothing_of_it_and_the_log_goes_on(int before)
    {
        LogScene? image = null;
        _scene.Open();
        Write(() => image = _writes.Count == before ? _scene.Crash() : image);
        using (image)
        {
            image!.Open();
            Assert.All(image.Notices, notice => Assert.Contains("cut a torn tail, never acknowledged", notice, StringComparison.Ordinal));
            Assert.Equal([], image.Bodies(1));
            Assert.Equal(["first", "first", "first"], image.Bodies(2));
            image.Deliver("after", 1);
            image.Reopen();
            Assert.Equal(["after"], image.Bodies(1));
        }
    }

    [Fact]
    public void A_part_that_cannot_be_written_ends_the_log()
    {
        _scene.Open();
        _disk.Script = (call, _) => call == "write" && _isWatching && _writes.Count == 2 ? Eio : 0;
        Write(static () => { });
        Assert.All(_outcomes, outcome => Assert.Equal(AppendOutcome.Failed, outcome));
        Assert.Equal(Eio, _scene.FailedErrno);
        _disk.Script = static (_, _) => 0;
        _scene.Reopen();
        Assert.Equal([], _scene.Bodies(1));
        Assert.Equal(["first", "first", "first"], _scene.Bodies(2));
    }

    /// <summary>
    /// A group of three, and while its end is told a large message, while that is written another, and then a small one.
    /// Before each of those writes <paramref name="looking"/> is called.
    /// </summary>
    private void Write(Action looking)
    {
        using SemaphoreSlim told = new(0);
        using SemaphoreSlim go = new(0);
        Queue<PendingMessage> waiting = new([_scene.Build(Large, 1), _scene.Build(Other, 1), _scene.Build("last", 1)]);
        PendingMessage[] first = [.. Enumerable.Range(0, 3).Select(_ => _scene.Build("first", 2))];
        int groups = 0;
        _scene.OnGroup = group =>
        {
            switch (groups++)
            {
                case 0:
                    told.Release();
                    go.Wait();
                    break;
                case 1:
                    _isWatching = true;
                    _scene.Log!.Append(waiting.Dequeue());
                    break;
                default:
                    for (PendingAppend? append = group; append is not null; append = append.Next)
                    {
                        _outcomes.Add(append.Outcome);
                        _ended.Release();
                    }

                    break;
            }
        };
        _disk.OnWrite = (file, offset, bytes) =>
        {
            if (!_isWatching || !file.EndsWith(".seg", StringComparison.Ordinal))
            {
                return;
            }

            _writes.Add((offset, bytes));
            Thread.Sleep(1); // longer than a group is held open for nobody
            looking();
            if (waiting.TryDequeue(out PendingMessage? next))
            {
                _scene.Log!.Append(next);
            }
        };
        _scene.Log!.Append(_scene.Build("holds up the appender", 3));
        told.Wait();
        foreach (PendingMessage message in first)
        {
            _scene.Log.Append(message);
        }

        go.Release();
        for (int i = 0; i < 3; i++)
        {
            Assert.True(_ended.Wait(TimeSpan.FromSeconds(60)), "the group has never ended");
        }

        _isWatching = false;
        _scene.OnGroup = null;
    }
}
