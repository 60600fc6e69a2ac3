using FastMail.Protocol.Dns;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Dns;

/// <summary>Questions and answers of DNS, honest ones and those that somebody made to hurt.</summary>
public sealed class DnsCodecTests
{
    private const ushort Id = 0x1234;
    private const string Asked = "2.0.0.127.bl.test";

    private static readonly byte[] ToQuestion = [0xc0, 0x0c];

    [Fact]
    public void A_question_is_one_header_one_name_type_and_class()
    {
        byte[] query = new byte[DnsQuery.MaxBytes];
        int length = DnsQuery.Write(query, Id, Responses.Name("A.Bl.Test."), DnsType.Aaaa);
        byte[] expected =
        [
            0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 0,
            1, (byte)'a', 2, (byte)'b', (byte)'l', 4, .. "test"u8, 0, 0, 28, 0, 1,
        ];
        Assert.Equal(expected, query[..length]);
    }

    [Theory]
    [InlineData("a..b")]
    [InlineData(".a")]
    [InlineData("a..")]
    [InlineData("ä.test")]
    [InlineData("0123456789012345678901234567890123456789012345678901234567890123.test")]
    public void What_is_no_name_is_not_written(string text) =>
        Assert.False(DnsName.TryWrite(text, new byte[DnsName.MaxBytes], out _));

    [Fact]
    public void The_longest_name_is_written_and_read_and_one_octet_more_is_refused()
    {
        string label = new('a', 63);
        string longest = $"{label}.{label}.{label}.{new string('a', 61)}";
        byte[] name = Responses.Name(longest);
        Assert.Equal(DnsName.MaxBytes, name.Length);
        Assert.True(DnsName.TryRead(name, 0, new byte[DnsName.MaxBytes], out int length, out int next));
        Assert.Equal((DnsName.MaxBytes, DnsName.MaxBytes), (length, next));
        Assert.False(DnsName.TryWrite(longest + "a", new byte[DnsName.MaxBytes], out _));

        // The same by compression: a part of 254 octets and a label in front of it.
        byte[] message = [.. Responses.Name(longest[1..]), 1, (byte)'b', 0xc0, 0];
        Assert.False(DnsName.TryRead(message, DnsName.MaxBytes - 1, new byte[DnsName.MaxBytes], out _, out _));
    }

    [Fact]
    public void Any_name_is_read_back_as_it_was_written()
    {
        Gen<string> label = Gen.Choose(1, 63).SelectMany(length =>
            Gen.ArrayOf(Gen.Elements("abcdefghijklmnopqrstuvwxyz0123456789-_".ToCharArray()), length).Select(c => new string(c)));
        Gen<string> names = Gen.Choose(1, 3).SelectMany(count => Gen.ArrayOf(label, count)).Select(l => string.Join('.', l));
        Prop.ForAll(names.ToArbitrary(), text =>
        {
            byte[] name = Responses.Name(text);
            byte[] read = new byte[DnsName.MaxBytes];
            byte[] shifted = [7, 7, .. name, 9];
            return DnsName.TryRead(shifted, 2, read, out int length, out int next)
                && next == 2 + name.Length && read.AsSpan(0, length).SequenceEqual(name);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Records_of_the_answer_are_found_and_their_shortest_lifetime_counts()
    {
        DnsAnswer answer = Read(Honest(answers: 2)
            .Record(ToQuestion, DnsType.A, 300, 127, 0, 0, 2)
            .Record(ToQuestion, DnsType.A, 200, 127, 0, 0, 4))!;
        Assert.Equal(DnsOutcome.Found, answer.Outcome);
        Assert.Equal([[127, 0, 0, 2], [127, 0, 0, 4]], answer.Data);
        Assert.Equal(200, answer.Seconds);
    }

    [Fact]
    public void A_chain_of_names_is_followed()
    {
        DnsAnswer answer = Read(Honest(answers: 3)
            .Record(ToQuestion, DnsType.Cname, 10, Responses.Name("x.test"))
            .Record(Responses.Name("X.test"), DnsType.A, 300, 127, 0, 0, 3)
            .Record(Responses.Name("stranger.test"), DnsType.A, 300, 127, 0, 0, 4))!;
        Assert.Equal([[127, 0, 0, 3]], answer.Data);
        Assert.Equal(10, answer.Seconds);
    }

    [Fact]
    public void An_absent_name_is_remembered_as_long_as_its_zone_says()
    {
        byte[] soa = [.. Responses.Name("ns.test"), .. Responses.Name("root.test"), .. new byte[16], 0, 0, 0, 90];
        DnsAnswer answer = Read(new Responses(Id, 0x8183, authorities: 1).Question(Asked, DnsType.A)
            .Record(Responses.Name("test"), DnsType.Soa, 1000, soa))!;
        Assert.Equal((DnsOutcome.Absent, 90), (answer.Outcome, answer.Seconds));
        Assert.Equal(DnsOutcome.Absent, Read(Honest(answers: 0))!.Outcome);
        Assert.Equal(DnsOutcome.Absent, Read(Honest(answers: 1).Record(ToQuestion, DnsType.A, 1, 127, 0, 0))!.Outcome);
    }

    [Fact]
    public void What_answers_another_question_is_no_answer()
    {
        Assert.Null(Read(new Responses(Id + 1).Question(Asked, DnsType.A)));
        Assert.Null(Read(new Responses(Id).Question("3.0.0.127.bl.test", DnsType.A)));
        Assert.Null(Read(new Responses(Id).Question(Asked, DnsType.Txt)));
        Assert.Null(Read(new Responses(Id, flags: 0x0100).Question(Asked, DnsType.A))); // a question
        Assert.Null(Read(new Responses(Id, flags: 0xa980).Question(Asked, DnsType.A))); // of another operation
        Assert.Null(Read(new Responses(Id).Add(0xc0, 0x0c).Add(0, 1, 0, 1))); // its name points to itself
        Assert.Null(DnsAnswer.Read([], Id, Responses.Name(Asked), DnsType.A));
    }

    [Theory]
    [InlineData(0x8380)] // truncated
    [InlineData(0x8182)] // server failure
    [InlineData(0x8185)] // refused
    public void A_server_that_cannot_say_has_not_said_anything(int flags) =>
        Assert.Equal(DnsOutcome.Failed, Read(new Responses(Id, (ushort)flags).Question(Asked, DnsType.A))!.Outcome);

    [Theory]
    [InlineData(new byte[] { 0xc0, 0x23 })] // to itself
    [InlineData(new byte[] { 0xc0, 0x25, 0xc0, 0x23 })] // to and fro
    [InlineData(new byte[] { 0xff, 0xff })] // out of the message
    [InlineData(new byte[] { 0x40 })] // no kind of label there is
    [InlineData(new byte[] { 0x3f, (byte)'a' })] // beyond the end
    [InlineData(new byte[] { 0xc0 })] // half a pointer
    [InlineData(new byte[0])] // a record that is not there
    public void Names_that_lead_nowhere_end_the_reading(byte[] owner)
    {
        Responses response = Honest(answers: 1).Add(owner);
        Assert.Equal(35, response.Octets.Length - owner.Length); // where the first theory points to
        Assert.Equal(DnsOutcome.Failed, Read(response)!.Outcome);
    }

    [Fact]
    public void An_answer_cut_anywhere_is_never_taken_for_whole()
    {
        byte[] whole = Honest(answers: 1).Record(ToQuestion, DnsType.A, 300, 127, 0, 0, 2).Octets;
        for (int length = 0; length < whole.Length; length++)
        {
            Assert.NotEqual(DnsOutcome.Found, Read(whole[..length])?.Outcome ?? DnsOutcome.Failed);
        }

        Assert.Equal(DnsOutcome.Found, Read(whole)!.Outcome);
    }

    [Fact]
    public void Whatever_octets_stand_where_records_should_be_the_reader_comes_to_an_end()
    {
        byte[] whole = Honest(answers: 3)
            .Record(ToQuestion, DnsType.Cname, 10, Responses.Name("x.test"))
            .Record(Responses.Name("x.test"), DnsType.A, 300, 127, 0, 0, 3)
            .Record(ToQuestion, DnsType.A, 300, 127, 0, 0, 4).Octets;
        Gen<(int At, byte[] Octets)> damage = Gen.Choose(0, whole.Length - 1).SelectMany(at =>
            Gen.ArrayOf(Gen.Choose(0, 255).Select(octet => (byte)octet)).Select(octets => (at, octets)));
        Prop.ForAll(damage.ToArbitrary(), change =>
        {
            byte[] broken = [.. whole[..change.At], .. change.Octets, .. whole.Skip(change.At + change.Octets.Length)];
            DnsAnswer? answer = Read(broken);
            return answer is null || answer.Data.All(data => data.Length == 4);
        }).QuickCheckThrowOnFailure();
    }

    private static Responses Honest(ushort answers) => new Responses(Id, answers: answers).Question(Asked, DnsType.A);

    private static DnsAnswer? Read(Responses response) => Read(response.Octets);

    private static DnsAnswer? Read(byte[] octets) => DnsAnswer.Read(octets, Id, Responses.Name(Asked), DnsType.A);
}
