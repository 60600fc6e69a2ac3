using System.Net.Sockets;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Tests.Server;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.HostileInput;

/// <summary>
/// Every row of badinputs.tsv against a whole server: in one piece, octet by octet, and both over TLS. What the server
/// answers is in choices.tsv, and that has to be among what the row allows.
/// </summary>
public sealed class HostileInputTests(HostileServer server) : IClassFixture<HostileServer>
{
    private const RegexOptions Plain = RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture;

    private static readonly Regex Blocked = new("^(TLS-|POP-stls|CMD-noop-flood)", Plain);

    /// <summary>Of mail; those of HTTP are played by <see cref="AdminInputTests"/>.</summary>
    public static TheoryData<string> Rows() =>
        [.. HostileRow.All.Where(row => row.Choice is not null && row.Protocol != "http").Select(row => row.Id)];

    public static TheoryData<string> ChosenRows() => [.. HostileRow.All.Where(row => row.Choice is not null).Select(row => row.Id)];

    public static TheoryData<string> OtherRows() => [.. HostileRow.All.Where(row => row.Choice is null).Select(row => row.Id)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_answer_in_one_piece(string id) => Play(id, Cut.Whole, overTls: false);

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_same_answer_octet_by_octet(string id) => Play(id, Cut.EachOctet, overTls: false);

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_same_answer_over_TLS(string id)
    {
        if (CanBeSecured(id))
        {
            Play(id, Cut.Whole, overTls: true);
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void The_same_answer_over_TLS_in_records_of_one_octet(string id)
    {
        if (CanBeSecured(id))
        {
            Play(id, Cut.EachOctet, overTls: true);
        }
    }

    [Theory]
    [MemberData(nameof(OtherRows))]
    public void What_takes_more_than_octets_is_played_by_a_test_that_runs(string id)
    {
        string[] name = HostileRow.All.Single(row => row.Id == id).Elsewhere!.Split('.');
        Type type = Assert.Single(typeof(HostileInputTests).Assembly.GetTypes(), type => type.Name == name[0] && type.IsClass);
        MethodInfo? method = type.GetMethod(name[1]);
        Assert.True(method is not null, $"{id}: there is no {name[0]}.{name[1]}");
        Assert.Null(Assert.Single(method.GetCustomAttributes<FactAttribute>()).Skip);
    }

    [Fact]
    public void Each_row_has_one_choice_or_one_test_elsewhere()
    {
        Assert.DoesNotContain(HostileRow.All, row => row.Choice is null == row.Elsewhere is null);
    }

    [Theory]
    [MemberData(nameof(ChosenRows))]
    public void The_choice_is_among_what_the_row_allows(string id)
    {
        HostileRow row = HostileRow.All.Single(row => row.Id == id);
        if (row.Choice!.Why is not null)
        {
            return; // it says so itself
        }

        IReadOnlyList<string[]> allowed = row.AllowedReplies();
        IReadOnlyList<string> chosen = row.Choice.Replies;
        if (row.Octets.Contains('<', StringComparison.Ordinal) && Regex.IsMatch(row.Octets, "<(OK|334|\\+ |ANY|TLS)>", Plain))
        {
            chosen = [.. chosen.TakeLast(allowed.Count)]; // those that were waited for go without saying
        }

        for (int i = 0; i < Math.Min(allowed.Count, chosen.Count); i++)
        {
            Assert.Contains(allowed[i], codes => chosen[i].StartsWith(codes.TrimEnd('x'), StringComparison.Ordinal));
        }

        Match stored = Regex.Match(row.Allowed, @"store(?<upto><?)=(?<most>\d)", Plain);
        if (stored.Success)
        {
            int most = int.Parse(stored.Groups["most"].Value, System.Globalization.CultureInfo.InvariantCulture);
            Assert.InRange(row.Choice.Stored, stored.Groups["upto"].Length > 0 ? 0 : most, most);
        }

        if (row.Allowed.Contains("exactly-1-reply", StringComparison.Ordinal))
        {
            Assert.Single(chosen);
        }

        // "close" among alternatives (a|close) is a choice; behind a semicolon it is a must.
        if (Regex.IsMatch(row.Allowed, "(^|;)close($|;)", Plain))
        {
            Assert.True(row.Choice.Closes);
        }
    }

    /// <summary>Rows about the clear text, or about entering TLS, make no sense within it.</summary>
    private static bool CanBeSecured(string id)
    {
        HostileRow row = HostileRow.All.Single(row => row.Id == id);
        return !Blocked.IsMatch(id)
            && !row.State.Contains("clear", StringComparison.Ordinal)
            && !row.SpeaksFirst
            && !row.Octets.Contains("STARTTLS", StringComparison.Ordinal)
            && !row.Octets.Contains("<SHUT_WR>", StringComparison.Ordinal)
            && row.Octets.Length < 200;
    }

    private void Play(string id, Cut cut, bool overTls)
    {
        HostileRow row = HostileRow.All.Single(row => row.Id == id);
        int before = server.Prepare(row);
        (List<string> replies, bool closed) = HostileClient.Play(server.FixtureFor(row), row, cut, overTls);
        int stored = server.CountStored() - before;
        string played = string.Join(" / ", replies.TakeLast(30));
        if (Environment.GetEnvironmentVariable("FASTMAIL_HOSTILE_RECORD") is { } file)
        {
            File.AppendAllText(file, $"{id}\t{played}\t{(closed ? "close" : "open")}\t{stored}\t{row.Allowed}\n");
            return;
        }

        HostileChoice choice = row.Choice!;
        Assert.True(choice.Closes == closed, $"{id}: {played}");
        bool isCut = row.Octets.Contains("<CLOSE>", StringComparison.Ordinal) || row.Octets.Contains("<RST>", StringComparison.Ordinal);
        int farewell = closed || isCut || row.Octets.Contains("<SHUT_WR>", StringComparison.Ordinal)
            ? 0
            : row.State.StartsWith("pop-trans", StringComparison.Ordinal) ? 2 : 1;
        Assert.True(isCut || replies.Count == choice.Replies.Count + farewell, $"{id}: {replies.Count} replies: {played}");
        for (int i = 0; i < Math.Min(replies.Count, choice.Replies.Count); i++)
        {
            Assert.True(replies[i].StartsWith(choice.Replies[i], StringComparison.Ordinal), $"{id}: {replies[i]}: {played}");
        }

        Assert.All(replies.TakeLast(farewell), reply => Assert.Matches(@"^(221|\+OK)", reply));
        Assert.Equal(choice.Stored, stored);
    }
}

/// <summary>The server that all rows are played against; it must live through all of them.</summary>
public sealed class HostileServer : IAsyncLifetime
{
    private ServerFixture _behindProxy = null!;

    internal ServerFixture Fixture { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Fixture = await ServerFixture.StartAsync("limits.message_size=2MiB", "auth.hash_iterations=4096");
        _behindProxy = await ServerFixture.StartAsync("proxy.listeners=mx", "proxy.peers=127.0.0.1");
    }

    public async Task DisposeAsync()
    {
        await Fixture.DisposeAsync();
        await _behindProxy.DisposeAsync();
    }

    internal ServerFixture FixtureFor(HostileRow row) =>
        row.State == "connect-proxy-listener" ? _behindProxy : Fixture;

    /// <summary>A message for v where the row needs one; returns what u has stored.</summary>
    internal int Prepare(HostileRow row)
    {
        if (row.State.StartsWith("pop-trans", StringComparison.Ordinal) && Stat("v") == 0)
        {
            using Socket sender = Fixture.Connect("mx");
            Talk.Send(sender, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<v@local.test>\r\nDATA\r\n");
            Talk.Send(sender, "Subject: x\r\n\r\n..dot\r\nbody\r\n.\r\nQUIT\r\n");
            Assert.Contains("250 2.0.0", Talk.ReadToEnd(sender), StringComparison.Ordinal);
        }

        return CountStored();
    }

    /// <summary>Messages in the maildrop of u when every connection is over.</summary>
    internal int CountStored()
    {
        Assert.True(SpinWait.SpinUntil(() => Fixture.Server.Loop.ConnectionCount == 0, TimeSpan.FromSeconds(30)));
        return Stat("u");
    }

    private int Stat(string user)
    {
        string replies;
        using (Socket reader = Fixture.Connect("pop3"))
        {
            Talk.Send(reader, $"USER {user}@local.test\r\nPASS secret\r\nSTAT\r\nQUIT\r\n");
            replies = Talk.ReadToEnd(reader);
        }

        Assert.True(SpinWait.SpinUntil(() => Fixture.Server.Loop.ConnectionCount == 0, TimeSpan.FromSeconds(30)));
        string stat = replies.Split("\r\n")[3];
        return int.Parse(stat.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
    }
}
