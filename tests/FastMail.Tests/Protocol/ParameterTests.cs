using System.Text;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Parameters of MAIL and RCPT, each at the edges of its grammar.</summary>
public sealed class ParameterTests
{
    private const SmtpExtensions Extensions =
        SmtpExtensions.Dsn | SmtpExtensions.DeliverBy | SmtpExtensions.MtPriority | SmtpExtensions.RequireTls
        | SmtpExtensions.FutureRelease;

    [Theory]
    [InlineData("RET=FULL", "Ok")]
    [InlineData("ret=hdrs", "Ok")]
    [InlineData("RET=SOME", "Malformed")]
    [InlineData("RET", "Malformed")]
    [InlineData("ENVID=a", "Ok")]
    [InlineData("ENVID=", "Malformed")]
    [InlineData("ENVID=a+0D+0AX", "Malformed")]
    [InlineData("ENVID=a+2b", "Malformed")]
    [InlineData("ENVID={{100*a}}", "Ok")]
    [InlineData("ENVID={{101*a}}", "Malformed")]
    [InlineData("BY=1;R", "Ok")]
    [InlineData("BY=+1;r", "Ok")]
    [InlineData("BY=0;R", "Malformed")]
    [InlineData("BY=-1;R", "Malformed")]
    [InlineData("BY=-1;N", "Ok")]
    [InlineData("BY=999999999;NT", "Ok")]
    [InlineData("BY=1000000000;N", "Malformed")]
    [InlineData("BY=1;", "Malformed")]
    [InlineData("BY=1;NX", "Malformed")]
    [InlineData("BY=1;NTT", "Malformed")]
    [InlineData("BY=;N", "Malformed")]
    [InlineData("BY=1", "Malformed")]
    [InlineData("MT-PRIORITY=9", "Ok")]
    [InlineData("MT-PRIORITY=-9", "Ok")]
    [InlineData("MT-PRIORITY=0", "Ok")]
    [InlineData("MT-PRIORITY=-0", "Malformed")]
    [InlineData("MT-PRIORITY=10", "Malformed")]
    [InlineData("MT-PRIORITY=+1", "Malformed")]
    [InlineData("MT-PRIORITY=-", "Malformed")]
    [InlineData("AUTH=<>", "Ok")]
    [InlineData("AUTH=e+3Dmc2@b.test", "Ok")]
    [InlineData("AUTH=x+0Ay", "Malformed")]
    [InlineData("AUTH=<> AUTH=<>", "Malformed")]
    [InlineData("BODY=BINARYMIME", "Ok")]
    [InlineData("BODY=BINARYMIME BODY=8BITMIME", "Malformed")]
    [InlineData("BODY=BINARY", "Malformed")]
    [InlineData("HOLDFOR=60", "Ok")]
    [InlineData("holdfor=999999999", "Ok")]
    [InlineData("HOLDFOR=1000000000", "Malformed")]
    [InlineData("HOLDFOR=0", "Malformed")]
    [InlineData("HOLDFOR=007", "Malformed")]
    [InlineData("HOLDFOR=-60", "Malformed")]
    [InlineData("HOLDFOR=+60", "Malformed")]
    [InlineData("HOLDFOR=1.5", "Malformed")]
    [InlineData("HOLDFOR=", "Malformed")]
    [InlineData("HOLDFOR", "Malformed")]
    [InlineData("HOLDUNTIL=2027-01-31T08:00:00Z", "Ok")]
    [InlineData("HOLDUNTIL=2027-01-31t08:00:00.25+01:00", "Ok")]
    [InlineData("HOLDUNTIL=1999-01-31T08:00:00Z", "Ok")]
    [InlineData("HOLDUNTIL=2027-01-31", "Malformed")]
    [InlineData("HOLDUNTIL=60", "Malformed")]
    [InlineData("HOLDUNTIL", "Malformed")]
    [InlineData("HOLDFOR=60 HOLDFOR=60", "Malformed")]
    [InlineData("HOLDFOR=60 HOLDUNTIL=2027-01-31T08:00:00Z", "Malformed")]
    [InlineData("HOLDUNTIL=2027-01-31T08:00:00Z HOLDFOR=60", "Malformed")]
    [InlineData("REQUIRETLS", "Ok")]
    [InlineData("REQUIRETLS=1", "Malformed")]
    [InlineData("REQUIRETLS REQUIRETLS", "Malformed")]
    public void A_parameter_of_MAIL_is_taken_exactly_as_its_RFC_writes_it(string text, string expected)
    {
        var parameters = default(MailParameters);
        Assert.Equal(
            expected, parameters.Parse(Script.Octets(" " + text), Extensions, takesAuth: true).ToString());
    }

    [Theory]
    [InlineData("RET=FULL")]
    [InlineData("ENVID=a")]
    [InlineData("BY=1;N")]
    [InlineData("MT-PRIORITY=1")]
    [InlineData("REQUIRETLS")]
    [InlineData("HOLDFOR=60")]
    [InlineData("HOLDUNTIL=2027-01-31T08:00:00Z")]
    public void What_is_not_offered_is_unknown(string text)
    {
        var parameters = default(MailParameters);
        var status = parameters.Parse(Encoding.ASCII.GetBytes(" " + text), SmtpExtensions.None, takesAuth: false);
        Assert.Equal(ParameterStatus.Unknown, status);
    }

    [Theory]
    [InlineData("NOTIFY=NEVER", "Ok")]
    [InlineData("NOTIFY=SUCCESS,FAILURE,DELAY", "Ok")]
    [InlineData("NOTIFY=NEVER,DELAY", "Malformed")]
    [InlineData("NOTIFY=DELAY,", "Malformed")]
    [InlineData("NOTIFY=,DELAY", "Malformed")]
    [InlineData("NOTIFY=", "Malformed")]
    [InlineData("NOTIFY=DELAY NOTIFY=DELAY", "Malformed")]
    [InlineData("ORCPT=rfc822;u+2Bx@local.test", "Ok")]
    [InlineData("ORCPT=x-local;box+207", "Ok")]
    [InlineData("ORCPT=rfc822;u+0D+0Ax", "Malformed")]
    [InlineData("ORCPT=rfc822;", "Malformed")]
    [InlineData("ORCPT=;u", "Malformed")]
    [InlineData("ORCPT=rfc822;{{493*a}}", "Ok")]
    [InlineData("ORCPT=rfc822;{{494*a}}", "Malformed")]
    [InlineData(@"ORCPT=utf-8;\\x{E9}t\\x{E9}@local.test", "Ok")]
    [InlineData(@"ORCPT=utf-8;\\x{e9}@local.test", "Malformed")]
    [InlineData(@"ORCPT=utf-8;\\x{D800}@local.test", "Malformed")]
    [InlineData(@"ORCPT=utf-8;\\x{0A}@local.test", "Malformed")]
    [InlineData(@"ORCPT=utf-8;\\x{85}@local.test", "Malformed")]
    [InlineData(@"ORCPT=utf-8;\\x{110000}@local.test", "Malformed")]
    [InlineData(@"ORCPT=utf-8;u+40local.test", "Malformed")]
    [InlineData(@"ORCPT=utf-8;\xC3\xA9@local.test", "Malformed")]
    public void A_parameter_of_RCPT_is_taken_exactly_as_its_RFC_writes_it(string text, string expected)
    {
        var parameters = default(RcptParameters);
        Assert.Equal(
            expected, parameters.Parse(Script.Octets(" " + text), Extensions, isSmtpUtf8: false).ToString());
    }

    [Theory]
    [InlineData(@"ORCPT=utf-8;\xC3\xA9@local.test", "Ok")]
    [InlineData(@"ORCPT=utf-8;\xC3@local.test", "Malformed")]
    [InlineData(@"ORCPT=rfc822;\xC3\xA9@local.test", "Malformed")]
    public void UTF8_stands_for_itself_only_in_a_transaction_with_SMTPUTF8(string text, string expected)
    {
        var parameters = default(RcptParameters);
        Assert.Equal(
            expected, parameters.Parse(Script.Octets(" " + text), Extensions, isSmtpUtf8: true).ToString());
    }

    [Fact]
    public void What_the_sender_asked_for_reaches_the_sink()
    {
        var rig = SmtpRig.Create();
        rig.Feed([]);
        rig.Feed("EHLO c.test\r\nMAIL FROM:<a@b.test> RET=HDRS ENVID=e+207 BY=-5;NT\r\n"u8);
        rig.Feed("RCPT TO:<u@local.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y.test\r\nRCPT TO:<v@local.test>\r\n"u8);
        Assert.Equal(
            [
                "id=e+207 ret=Headers by=DeliverBy { Seconds = -5, IsReturn = False, IsTraced = True } priority= auth=",
                "u@local.test notify=Success, Delay orcpt=rfc822;x@y.test",
                "v@local.test notify=Unsaid orcpt=",
            ],
            rig.Sink.Wishes);
    }
}
