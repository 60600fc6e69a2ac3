using System.Buffers;
using System.Net;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Paths, literals, numbers and base64 against their grammars and against junk.</summary>
public sealed class ParserTests
{
    private static readonly Gen<string> Atom =
        from letters in Gen.Elements("abcXYZ019!#$%&'*+-/=?^_`{|}~".ToCharArray()).NonEmptyListOf()
        select string.Concat(letters.Take(12));

    private static readonly Gen<string> Quoted =
        from parts in Gen.Elements("a", " ", ">", "<", "@", ",", "\\\"", "\\\\", "\\ ", "[", "(", ".").ListOf()
        select "\"" + string.Concat(parts.Take(20)) + "\"";

    private static readonly Gen<string> LocalPart = Gen.OneOf(
        from atoms in Atom.NonEmptyListOf() select string.Join('.', atoms.Take(4)),
        Quoted);

    private static readonly Gen<string> Domain =
        from labels in Gen.Elements("a", "b-c", "9", "x--y", "LOCAL", "test", "xn--bcher-kva").NonEmptyListOf()
        select string.Join('.', labels.Take(10));

    private static readonly Gen<string> Host = Gen.OneOf(
        Domain, Gen.Elements("[192.0.2.1]", "[IPv6:::1]", "[IPv6:2001:db8::7]", "[ipv6:1:2:3:4:5:6:7:8]"));

    [Fact]
    public void Every_path_of_the_grammar_is_taken_apart_at_the_right_place()
    {
        var paths = from local in LocalPart
                    from host in Host
                    from route in Gen.OneOf(Gen.Constant(""), Domain.Select(domain => $"@{domain}:"))
                    from rest in Gen.Elements("", " SIZE=1", ">", "x")
                    select (local, host, route, rest);
        Prop.ForAll(paths.ToArbitrary(), path =>
        {
            var (local, host, route, rest) = path;
            var text = Encoding.ASCII.GetBytes($"<{route}{local}@{host}>{rest}");
            var status = SmtpPath.Parse(text, out var parsed, out var consumed);
            return status == OperationStatus.Done && consumed == text.Length - rest.Length && parsed.IsAscii
                && parsed.AtSign == local.Length && Encoding.ASCII.GetString(parsed.Mailbox) == $"{local}@{host}";
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void The_short_way_through_common_paths_says_what_the_whole_grammar_says()
    {
        var part = Gen.Elements("a", "Z9", "b-c", "-", ".", "..", "_", "+", "=", "!", "@", "d.e", ">", " ", "\xE9", "[", "xxxxxxxxxxxx");
        var texts = from local in part.ListOf()
                    from domain in part.ListOf()
                    from rest in Gen.Elements("", ">", "> SIZE=1", "> " + new string('x', 64))
                    select $"<{string.Concat(local)}@{string.Concat(domain)}{rest}";
        Prop.ForAll(texts.ToArbitrary(), text =>
        {
            var octets = Encoding.Latin1.GetBytes(text);
            var status = SmtpPath.Parse(octets, out var path, out var consumed);
            var expected = SmtpPath.ParseSlow(octets, out var whole, out var length);
            return status == expected && consumed == length && path.AtSign == whole.AtSign
                && path.IsAscii == whole.IsAscii && path.Mailbox == whole.Mailbox; // the same place, not just equal
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000));
    }

    [Fact]
    public void Junk_in_brackets_is_refused_or_stays_inside_its_limits()
    {
        var junk = Gen.Elements("<>@.\"\\[]:,aZ9- \x01\x7F\x80\xC3\xA9".ToCharArray()).ArrayOf().Select(letters =>
            "<" + new string(letters));
        Prop.ForAll(junk.ToArbitrary(), text =>
        {
            var octets = Encoding.Latin1.GetBytes(text);
            var status = SmtpPath.Parse(octets, out var path, out var consumed);
            return status == OperationStatus.Done
                ? consumed <= octets.Length && octets[consumed - 1] == '>' && path.Mailbox.Length <= 254
                : consumed == 0 && path.Mailbox.IsEmpty;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000));
    }

    [Theory]
    [InlineData("", false)]
    [InlineData("1.2.3.4", true)]
    [InlineData("255.255.255.255", true)]
    [InlineData("256.1.1.1", false)]
    [InlineData("1.2.3", false)]
    [InlineData("1.2.3.4.5", false)]
    [InlineData("1.2.3.", false)]
    [InlineData("01.2.3.4", false)]
    [InlineData("1.2.3.4 ", false)]
    [InlineData("IPv6:::", true)]
    [InlineData("IPv6:1:2:3:4:5:6:7:8", true)]
    [InlineData("IPv6:1:2:3:4:5:6:7", false)]
    [InlineData("IPv6:1:2:3:4:5:6:7:8:9", false)]
    [InlineData("IPv6:1::2::3", false)]
    [InlineData("IPv6:1:2:3:4:5:6::7", false)]
    [InlineData("IPv6:1::", true)]
    [InlineData("IPv6:1:", false)]
    [InlineData("IPv6::1", false)]
    [InlineData("IPv6:12345::", false)]
    [InlineData("IPv6:fe80::1%eth0", false)]
    [InlineData("IPv6:1:2:3:4:5:6:1.2.3.4", true)]
    [InlineData("IPv6:::1.2.3.4", true)]
    [InlineData("IPv6:1:2:3:4:5:6:7:1.2.3.4", false)]
    [InlineData("IPv6:::1.2.3.4:1", false)]
    [InlineData("::1", false)]
    [InlineData("X-tag:whatever", false)]
    public void An_address_literal_has_one_strict_spelling(string inner, bool isValid) =>
        Assert.Equal(isValid, AddressLiteral.IsValid(Encoding.ASCII.GetBytes($"[{inner}]")));

    [Fact]
    public void Addresses_are_written_as_the_library_writes_them_and_read_back()
    {
        var addresses = Gen.OneOf(Gen.Constant((byte)0), Gen.Choose(0, 255).Select(octet => (byte)octet)).ArrayOf(16);
        Prop.ForAll(addresses.ToArbitrary(), address =>
        {
            var text = new byte[AddressLiteral.MaxBytes];
            var length = AddressLiteral.Write(address, text);
            var written = Encoding.ASCII.GetString(text, 0, length);
            var read = new byte[16];
            var library = new IPAddress(address);
            if (library.IsIPv4MappedToIPv6)
            {
                return written == $"[{library.MapToIPv4()}]";
            }
            // The library writes some prefixes with a dotted tail; then only the way back is compared.
            var isTailed = library.ToString().Contains('.', StringComparison.Ordinal);
            return (isTailed || written == $"[IPv6:{library}]")
                && AddressLiteral.IsValid(text.AsSpan(0, length))
                && AddressLiteral.TryParseIPv6(text.AsSpan(6, length - 7), read)
                && read.AsSpan().SequenceEqual(address);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void Base64_takes_back_what_the_library_encodes()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), octets =>
        {
            var text = Encoding.ASCII.GetBytes(Convert.ToBase64String(octets));
            var decoded = new byte[octets.Length];
            return StrictBase64.TryDecode(text, decoded, out var length)
                && decoded.AsSpan(0, length).SequenceEqual(octets);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    [Fact]
    public void Base64_has_one_spelling_for_each_value()
    {
        var texts = Gen.Elements("ABab09+/= \r\n-_".ToCharArray()).ArrayOf().Select(letters => new string(letters));
        Prop.ForAll(texts.ToArbitrary(), text =>
        {
            var decoded = new byte[text.Length];
            return !StrictBase64.TryDecode(Encoding.ASCII.GetBytes(text), decoded, out var length)
                || Convert.ToBase64String(decoded, 0, length) == text;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000));
    }

    [Theory]
    [InlineData("AA=A")]
    [InlineData("AAA")]
    [InlineData("=")]
    [InlineData("====")]
    [InlineData("AB==")]
    [InlineData("AA==AAAA")]
    [InlineData("AAAA AAAA")]
    public void Flawed_base64_is_refused(string text) =>
        Assert.False(StrictBase64.TryDecode(Encoding.ASCII.GetBytes(text), new byte[100], out _));

    [Fact]
    public void Numbers_saturate()
    {
        var digits = Gen.Choose(0, 9).ArrayOf().Select(string.Concat);
        Prop.ForAll(digits.ToArbitrary(), text =>
        {
            var isNumber = StrictDecimal.TryParse(Encoding.ASCII.GetBytes(text), out var value);
            if (text.Length == 0)
            {
                return !isNumber;
            }
            var exact = System.Numerics.BigInteger.Parse(text, System.Globalization.CultureInfo.InvariantCulture);
            return isNumber && value == (exact > long.MaxValue ? long.MaxValue : (long)exact);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Theory]
    [InlineData("9223372036854775807", long.MaxValue)]
    [InlineData("9223372036854775808", long.MaxValue)]
    [InlineData("99999999999999999999999999", long.MaxValue)]
    [InlineData("007", 7)]
    public void Large_numbers_stop_at_the_largest(string text, long expected)
    {
        Assert.True(StrictDecimal.TryParse(Encoding.ASCII.GetBytes(text), out var value));
        Assert.Equal(expected, value);
    }

    [Theory]
    [InlineData("")]
    [InlineData("+1")]
    [InlineData("-1")]
    [InlineData(" 1")]
    [InlineData("1 ")]
    [InlineData("0x1")]
    [InlineData("\u0661")]
    public void What_is_not_all_digits_is_no_number(string text) =>
        Assert.False(StrictDecimal.TryParse(Encoding.UTF8.GetBytes(text), out _));
}
