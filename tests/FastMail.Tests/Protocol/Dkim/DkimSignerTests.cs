using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol.Dkim;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Dkim;

/// <summary>DKIM signatures: what is in them, and that another program verifies them.</summary>
public sealed class DkimSignerTests
{
    private const string Message = "From: Ann <ann@local.test>\r\nTo: bob@far.test\r\nSubject: hello\r\n\r\nHello.\r\n";

    private static readonly string[] HeaderPieces =
    [
        "From: Ann <ann@local.test>\r\n", "To: a@b.test,\r\n\tc@d.test\r\n", "to:  x \t y \r\n", "Subject:\r\n",
        "SUBJECT: gr\u00c3\u00bc\u00c3\u009f\r\n", "X-Other: 1\r\n", "Received: by mx.test id 1\r\n", "Message-ID: <1@local.test>\r\n",
        "Content-Type: text/plain;\r\n charset=us-ascii  \r\n", "List-Id: <l.test>\r\n", "Date: Mon, 2 Nov 2026 04:05:06 +0000\r\n",
    ];

    private static readonly string[] BodyPieces =
        ["\r\n", "\r\n\r\n", ".", "..\r\n", "a", " ", "\t", "  b  \r\n", " \t \r\n", "\u00fc", "long line of words and blanks\r\n", "\r\n.\r\n"];

    private static Gen<string> Messages =>
        from header in Gen.Elements(HeaderPieces).ArrayOf().Select(string.Concat)
        from body in Gen.Elements(BodyPieces).ArrayOf().Select(string.Concat)
        select "From: ann@local.test\r\n" + header + "\r\n"
            + (body.Length == 0 || body.EndsWith("\r\n", StringComparison.Ordinal) ? body : body + "\r\n");

    [Fact]
    public void A_signature_says_what_it_covers()
    {
        var field = DkimRig.Sign(Message)!;
        Assert.Matches(
            new Regex(
                "^DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
                + "\td=local\\.test; s=s1; t=1793592306;\r\n"
                + "\tbh=[A-Za-z0-9+/]{43}=;\r\n"
                + "\th=From:From:Reply-To:Subject:Subject:To:To:Cc;\r\n"
                + "\tb=[A-Za-z0-9+/]{70}(\r\n\t [A-Za-z0-9+/=]{1,70})+\r\n$",
                RegexOptions.ExplicitCapture,
                TimeSpan.FromSeconds(5)),
            field);
    }

    [Theory] // the digests of an empty body stand in RFC 6376 3.4.3 and 3.4.4
    [InlineData(DkimCanonicalization.Simple, "", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=")]
    [InlineData(DkimCanonicalization.Relaxed, "", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")]
    [InlineData(DkimCanonicalization.Simple, "\r\n\r\n", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=")]
    [InlineData(DkimCanonicalization.Relaxed, " \r\n\t\r\n", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")]
    public void An_empty_body_has_the_digest_of_the_RFC(DkimCanonicalization form, string body, string digest)
    {
        Assert.Contains($"bh={digest};", DkimRig.Sign("From: a@local.test\r\n\r\n" + body, body: form), StringComparison.Ordinal);
    }

    [Fact] // the example of RFC 6376 3.4.5
    public void A_body_is_hashed_as_in_the_example_of_the_RFC()
    {
        const string Body = " C \r\nD \t E\r\n\r\n\r\n";
        Assert.Contains($"bh={DigestOf(" C\r\nD E\r\n")};", DkimRig.Sign("From: a@b\r\n\r\n" + Body), StringComparison.Ordinal);
        Assert.Contains(
            $"bh={DigestOf(" C \r\nD \t E\r\n")};",
            DkimRig.Sign("From: a@b\r\n\r\n" + Body, body: DkimCanonicalization.Simple), StringComparison.Ordinal);
    }

    [Fact]
    public void Cuts_do_not_matter_and_neither_does_what_was_signed_before()
    {
        using var signer = new DkimSigner(); // one for all
        Prop.ForAll(Messages.Zip(Gen.Choose(1, 40)).ToArbitrary(), pair =>
            DkimRig.Sign(pair.Item1, run: pair.Item2, signer: signer) == DkimRig.Sign(pair.Item1))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(300));
    }

    [Theory]
    [InlineData("To: bob@far.test\r\n\r\nHello.\r\n")] // nobody's
    [InlineData("\r\nFrom: a@local.test\r\n")]
    [InlineData("")]
    public void A_message_without_From_is_not_signed(string message)
    {
        Assert.Null(DkimRig.Sign(message));
    }

    [Fact]
    public void A_message_with_too_many_fields_or_too_long_a_header_is_not_signed()
    {
        Assert.Null(DkimRig.Sign(string.Concat(Enumerable.Repeat("To: a@b\r\n", 500)) + Message));
        Assert.Null(DkimRig.Sign("X: " + new string('x', 1 << 20) + "\r\n" + Message));
    }

    [Fact]
    public void The_longest_field_fits()
    {
        var fields = string.Concat(Enumerable.Repeat("Content-Transfer-Encoding: 7bit\r\n", 190));
        Assert.NotNull(DkimRig.Sign(fields + Message));
        Assert.InRange(DkimRig.Sign(fields + Message)!.Length, 4096, DkimSigner.MaxFieldBytes);
    }

    [Theory]
    [InlineData(" ann@local.test", "ann@local.test")]
    [InlineData(" Ann <ann@local.test>", "ann@local.test")]
    [InlineData(" \"Ann, <x@y>\" <ann@local.test> (at home)", "ann@local.test")]
    [InlineData("\r\n\t(a (nested \\) comment) <b@c>) ann@local.test ", "ann@local.test")]
    [InlineData(" \"a b\"@local.test", "\"a b\"@local.test")]
    [InlineData(" <ann@local.test>, <bob@local.test>", "")]
    [InlineData(" ann@local.test, bob@local.test", "")]
    [InlineData(" <ann@local.test> <bob@local.test>", "")]
    [InlineData(" Friends: ann@local.test;", "")]
    [InlineData(" <@relay.test:ann@local.test>", "")]
    [InlineData(" <ann@local.test", "")]
    [InlineData(" \"ann@local.test", "")]
    [InlineData(" (ann@local.test", "")]
    [InlineData(" ann", "")]
    [InlineData(" @local.test", "")]
    [InlineData("", "")]
    [InlineData("\\", "")]
    [InlineData("\"\\", "")]
    [InlineData("(\\", "")]
    public void The_author_is_found_where_there_is_exactly_one(string value, string address)
    {
        Assert.Equal(address, DkimRig.FromOf(value));
    }

    [Fact] // RFC 6376 3.4.2 counts it; python3-dkim does not know the obsolete syntax
    public void A_blank_before_the_colon_does_not_hide_a_field()
    {
        var field = DkimRig.Sign("From : a@local.test\r\nSubject\t : x\r\n\r\n");
        Assert.Contains("h=From:From:Reply-To:Subject:Subject:To:Cc;", field, StringComparison.Ordinal);
    }

    [Fact]
    public void Two_From_fields_name_nobody()
    {
        using var signer = new DkimSigner();
        signer.Begin();
        signer.Take("From: a@local.test\r\nFROM : b@local.test\r\n\r\n.\r\n"u8);
        signer.Finish();
        Assert.True(signer.From.IsEmpty);
    }

    [Fact]
    public void A_key_that_verifiers_refuse_is_refused()
    {
        using var rsa = RSA.Create(512);
        var pem = rsa.ExportPkcs8PrivateKeyPem();
        Assert.Contains(
            "512 bits", Assert.Throws<CryptographicException>(() => DkimKey.Load("d", "s", pem)).Message, StringComparison.Ordinal);
        Assert.Throws<CryptographicException>(() => DkimKey.Load("d", "s", "no key"));
    }

    [PythonFact("dkim")]
    public void Another_program_verifies_what_is_signed_and_nothing_that_was_changed()
    {
        var directory = Directory.CreateTempSubdirectory("fastmail-");
        try
        {
            File.WriteAllText(Path.Join(directory.FullName, "record.txt"), DkimRig.Key.RecordText);
            var made = 0;
            var forms = Enum.GetValues<DkimCanonicalization>();
            var cases = Messages.Zip(Gen.Elements(forms)).Zip(Gen.Elements(forms)).ToArbitrary();
            Prop.ForAll(cases, one =>
            {
                var ((message, header), body) = one;
                var field = DkimRig.Sign(message, header, body)!;
                Write("good", field + message);
                Write("good", field + "Received: later\r\n" + message);
                Write("bad", field + "Subject: another\r\n" + message);
                Write("bad", field + message.Replace("From: ann", "From: eve", StringComparison.Ordinal));
                Write("bad", field + message + "more\r\n");
                void Write(string verdict, string text) => File.WriteAllBytes(
                    Path.Join(directory.FullName, $"{verdict}-{made++}.eml"), Encoding.Latin1.GetBytes(text));
            }).Check(Config.QuickThrowOnFailure.WithMaxTest(100));
            var (code, output) = PythonFactAttribute.Run("Python/dkim_verdicts.py", directory.FullName);
            Assert.True(code == 0, output);
            Assert.Contains("500 judged, 0 wrong", output, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static string DigestOf(string body) => Convert.ToBase64String(SHA256.HashData(Encoding.ASCII.GetBytes(body)));
}
