using System.Net;
using FastMail.Server.Configuration;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class SettingsTests : IDisposable
{
    private readonly string _file = Path.Join(Path.GetTempPath(), $"fastmail-{Guid.NewGuid():n}.json");

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void Every_key_has_a_readable_default_and_a_name_of_its_own()
    {
        Settings settings = Settings.Load(null, []);

        Assert.Equal(Settings.Keys.Count(), settings.All.Select(s => s.Key.Name).Distinct(StringComparer.Ordinal).Count());
        Assert.All(settings.All, s => Assert.Matches("^[a-z0-9]+\\.[a-z0-9_]+$", s.Key.Name));
        Assert.All(settings.All, s => Assert.NotEmpty(s.Key.About));
    }

    [Fact]
    public void The_command_line_wins_over_the_file_and_the_file_over_the_default()
    {
        File.WriteAllText(_file, """
            {
              // where to listen
              "listen": { "mx": ["127.0.0.1:1", "127.0.0.1:2"], "pop3": "none", },
              "limits": { "message_size": 1048576 }
            }
            """);

        Settings settings = Settings.Load(_file, [new Assignment("limits.message_size", "2MiB", "--set")]);

        Assert.Equal([IPEndPoint.Parse("127.0.0.1:1"), IPEndPoint.Parse("127.0.0.1:2")], settings.Get(ServeKeys.Mx));
        Assert.Empty(settings.Get(ServeKeys.Pop3));
        Assert.Equal(2 << 20, settings.Get(LimitKeys.MessageBytes));
        Assert.Equal(2587, settings.Get(ServeKeys.Submission)[0].Port);
    }

    [Theory]
    [InlineData("""{ "limits": { "mesage_size": 1 } }""", "there is no key 'limits.mesage_size'")]
    [InlineData("""{ "message_size": 1 }""", "did you mean limits.message_size?")]
    [InlineData("""{ "limits": { "message_size": "-1" } }""", "limits.message_size: '-1' is not a size")]
    [InlineData("""{ "limits": """, "")]
    [InlineData("""{ "limits": { "message_size": null } }""", "limits.message_size: '' is not a size")]
    [InlineData("""{ "listen": { "mx": { "a": 1 } } }""", "there is no key 'listen.mx.a'")]
    public void A_wrong_file_is_refused_by_name_and_reason(string json, string reason)
    {
        File.WriteAllText(_file, json);

        var e = Assert.Throws<SettingException>(() => Settings.Load(_file, []));

        Assert.StartsWith(_file, e.Message, StringComparison.Ordinal);
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0", 0)]
    [InlineData("250ms", 250)]
    [InlineData("30s", 30_000)]
    [InlineData("5min", 300_000)]
    [InlineData("1d", 86_400_000)]
    public void A_time_is_a_number_with_its_unit(string text, long milliseconds)
    {
        Assert.Equal(milliseconds, Values.Duration(TimeSpan.Zero, TimeSpan.FromDays(1))(text).TotalMilliseconds);
    }

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("s")]
    [InlineData("-5s")]
    [InlineData("5 s")]
    [InlineData("2d")]
    [InlineData("99999999999999999999s")]
    public void Anything_else_is_no_time(string text)
    {
        Assert.Throws<FormatException>(() => Values.Duration(TimeSpan.Zero, TimeSpan.FromDays(1))(text));
    }

    [Theory]
    [InlineData("10.0.0.0/8,::1, 192.0.2.7", 3)]
    [InlineData("", 0)]
    public void Networks_are_prefixes_or_single_addresses(string text, int count)
    {
        Assert.Equal(count, Values.Networks(text).Count);
    }

    [Theory]
    [InlineData("10.0.0.1/8")] // host bits set: a slip
    [InlineData("10.1/16")]
    [InlineData("10.0.0.0/33")]
    [InlineData("example.org")]
    public void Anything_else_is_no_network(string text)
    {
        Assert.Throws<FormatException>(() => Values.Networks(text));
    }
}
