using FastMail.Server.Accounts;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Server.Accounts;

public sealed class NfcTests
{
    [Theory]
    [InlineData("ascii", "ascii")]
    [InlineData("e\u0301", "\u00e9")]
    [InlineData("\u00e9", "\u00e9")]
    [InlineData("\u212b", "\u00c5")] // ANGSTROM SIGN is a singleton
    [InlineData("\u1e9b\u0323", "\u1e9b\u0323")] // from UAX #15
    [InlineData("q\u0307\u0323", "q\u0323\u0307")] // marks in order
    [InlineData("\u1e0b\u0323", "\u1e0d\u0307")]
    [InlineData("d\u0307\u0323", "\u1e0d\u0307")]
    [InlineData("\u0958", "\u0915\u093c")] // excluded from composition
    [InlineData("\u1112\u1161\u11ab", "\ud55c")] // Hangul
    [InlineData("\ud558\u11ab", "\ud55c")]
    [InlineData("a\u0327\u0301", "\u00e1\u0327")]
    [InlineData("a\u0315\u0300\u05ae\u0300b", "\u00e0\u05ae\u0300\u0315b")] // from NormalizationTest.txt
    [InlineData("\ud834\udd5e", "\ud834\udd57\ud834\udd65")] // a musical symbol, never composed
    [InlineData("\ud804\udc99\ud804\udcba", "\ud804\udc9a")]
    public void Text_comes_out_composed(string text, string expected)
    {
        Assert.True(Nfc.TryNormalize(text, out string? normalized));
        Assert.Equal(expected, normalized);
    }

    [Fact]
    public void What_is_no_text_is_nobodys_password()
    {
        string[] texts = ["a\ud800", "\udc00b", "\ufffe"]; // an attribute cannot hold these
        Assert.All(texts, text => Assert.False(Nfc.TryNormalize(text, out _)));
        Assert.All(texts, text => Assert.Null(PasswordText.Prepare(text)));
    }

    [Fact]
    public void U_FFFE_over_the_wire_is_nobodys_address_and_a_password_that_matches_nothing()
    {
        byte[] octets = [.. "a"u8, 0xEF, 0xBF, 0xBE];
        Assert.Null(AddressKey.Of([.. octets, .. "@example.org"u8]));
        Assert.Null(AddressKey.Of([.. "a@"u8, .. octets]));
        Assert.Equal(octets, PasswordText.Prepare(octets));
    }

    [Theory]
    [InlineData("ann@B\u00fccher.example", "ann@xn--bcher-kva.example")]
    [InlineData("ann@bu\u0308cher.example", "ann@xn--bcher-kva.example")]
    [InlineData("ann@stra\u00dfe.example", "ann@xn--strae-oqa.example")] // another domain than strasse.example
    [InlineData("ann@\uff45xample.org", "ann@example.org")] // a full-width letter (UTS #46)
    [InlineData("\u00c4nn@EXAMPLE.org", "\u00e4nn@example.org")]
    public void Spellings_of_one_address_are_one_key(string address, string key) =>
        Assert.Equal(key, AddressKey.Of(address));

    [Fact]
    public void Composing_twice_changes_nothing_more()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<string>().Filter(text => text is not null), text =>
            !Nfc.TryNormalize(text, out string? once)
            || (Nfc.TryNormalize(once, out string? twice) && twice == once))
            .QuickCheckThrowOnFailure();
    }
}
