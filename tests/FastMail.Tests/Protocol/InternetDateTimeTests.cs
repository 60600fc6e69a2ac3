using System.Globalization;
using System.Text;
using FastMail.Protocol;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Dates of RFC 3339, against the calendar of .NET and at the edges of the grammar.</summary>
public sealed class InternetDateTimeTests
{
    [Theory]
    [InlineData("1970-01-01T00:00:00Z", 0)]
    [InlineData("1970-01-01t00:00:00z", 0)]
    [InlineData("1969-12-31T23:59:59Z", -1)]
    [InlineData("1970-01-01T00:00:00-00:00", 0)] // of which the local offset is not known
    [InlineData("1985-04-12T23:20:50.52Z", 482196051)]
    [InlineData("1985-04-12T23:20:50.0000000000000000000Z", 482196050)]
    [InlineData("1996-12-19T16:39:57-08:00", 851042397)]
    [InlineData("1990-12-31T23:59:60Z", 662688000)] // a leap second is the second after it
    [InlineData("1990-12-31T15:59:60-08:00", 662688000)]
    [InlineData("1937-01-01T12:00:27.87+00:20", -1041337172)]
    [InlineData("2000-02-29T00:00:00Z", 951782400)]
    [InlineData("9999-12-31T23:59:59Z", 253402300799)]
    [InlineData("0000-01-01T00:00:00Z", -62167219200)]
    public void A_date_is_seconds_since_1970(string text, long expected)
    {
        Assert.True(InternetDateTime.TryParse(Encoding.ASCII.GetBytes(text), out var seconds));
        Assert.Equal(expected, seconds);
    }

    [Theory]
    [InlineData("")]
    [InlineData("2027-01-31")]
    [InlineData("2027-01-31T08:00:00")]
    [InlineData("2027-01-31T08:00Z")]
    [InlineData("2027-01-31 08:00:00Z")]
    [InlineData("20270131T080000Z")]
    [InlineData("2027-1-31T08:00:00Z")]
    [InlineData("2027-00-31T08:00:00Z")]
    [InlineData("2027-13-31T08:00:00Z")]
    [InlineData("2027-01-00T08:00:00Z")]
    [InlineData("2027-01-32T08:00:00Z")]
    [InlineData("2027-02-29T08:00:00Z")]
    [InlineData("1900-02-29T08:00:00Z")]
    [InlineData("2027-04-31T08:00:00Z")]
    [InlineData("2027-01-31T24:00:00Z")]
    [InlineData("2027-01-31T08:60:00Z")]
    [InlineData("2027-01-31T08:00:61Z")]
    [InlineData("2027-01-31T08:00:60Z")] // no leap second is there
    [InlineData("2027-01-30T23:59:60Z")]
    [InlineData("2027-01-31T23:59:60+01:00")]
    [InlineData("2027-01-31T08:00:00.Z")]
    [InlineData("2027-01-31T08:00:00.5")]
    [InlineData("2027-01-31T08:00:00,5Z")]
    [InlineData("2027-01-31T08:00:00+1:00")]
    [InlineData("2027-01-31T08:00:00+0100")]
    [InlineData("2027-01-31T08:00:00+24:00")]
    [InlineData("2027-01-31T08:00:00+01:60")]
    [InlineData("2027-01-31T08:00:00ZZ")]
    [InlineData("-027-01-31T08:00:00Z")]
    [InlineData("+2027-01-31T08:00:00Z")]
    [InlineData("2027-01-31T08:00:-1Z")]
    public void Anything_else_is_no_date(string text) =>
        Assert.False(InternetDateTime.TryParse(Encoding.ASCII.GetBytes(text), out _));

    [Fact]
    public void Every_date_of_the_calendar_is_read_as_it_was_written()
    {
        Prop.ForAll(
            Gen.Choose(0, int.MaxValue).Two().ToArbitrary(), Gen.Choose(-14 * 60, 14 * 60).ToArbitrary(),
            (ticks, offsetMinutes) =>
            {
                var most = DateTimeOffset.MaxValue.Ticks / TimeSpan.TicksPerSecond - 86_400;
                var utc = 86_400 + ((((long)ticks.Item1 << 31) | (uint)ticks.Item2) % (most - 86_400));
                var time = new DateTimeOffset(utc * TimeSpan.TicksPerSecond, TimeSpan.Zero)
                    .ToOffset(TimeSpan.FromMinutes(offsetMinutes));
                var text = Encoding.ASCII.GetBytes(
                    time.ToString("yyyy-MM-dd'T'HH:mm:sszzz", CultureInfo.InvariantCulture));
                Assert.True(InternetDateTime.TryParse(text, out var seconds));
                Assert.Equal(time.ToUnixTimeSeconds(), seconds);
                Span<byte> written = stackalloc byte[InternetDateTime.MaxBytes];
                Assert.Equal(InternetDateTime.MaxBytes, InternetDateTime.Write(written, time));
                Assert.True(InternetDateTime.TryParse(written, out var again));
                return again == seconds;
            }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void No_octets_bring_the_parser_down()
    {
        var pattern = "2027-01-31T08:00:00.5+01:00"u8.ToArray();
        Prop.ForAll(
            Gen.Choose(0, pattern.Length - 1).ListOf().ToArbitrary(), Gen.Choose(0, 255).ListOf().ToArbitrary(),
            (places, octets) =>
            {
                byte[] text = [.. pattern];
                foreach (var (place, octet) in places.Zip(octets))
                {
                    text[place] = (byte)octet;
                }
                for (var length = 0; length <= text.Length; length++)
                {
                    var isDate = InternetDateTime.TryParse(text.AsSpan(0, length), out var seconds);
                    Assert.True(!isDate || seconds is > -62_170_000_000 and < 253_500_000_000);
                }
                return true;
            }).QuickCheckThrowOnFailure();
    }
}
