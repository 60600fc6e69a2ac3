using System.Buffers;
using System.Net;
using FastMail.Protocol;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>The PROXY header, each form at its edges, and cut anywhere.</summary>
public sealed class ProxyHeaderTests
{
    private const string V2 = @"\r\n\r\n\x00\r\nQUIT\n";

    [Theory]
    [InlineData(@"PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\n", "192.0.2.9:1")]
    [InlineData(@"PROXY TCP6 2001:db8::9 2001:db8::1 65535 25\r\n", "[2001:db8::9]:65535")]
    [InlineData(@"PROXY UNKNOWN\r\n", "")]
    [InlineData(@"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", "")]
    [InlineData(V2 + @"\x21\x11\x00\x0C\xC0\x00\x02\x09\xC0\x00\x02\x01\x01\x00\x00\x19", "192.0.2.9:256")]
    [InlineData(V2 + @"\x21\x11\x00\x0F\xC0\x00\x02\x09\xC0\x00\x02\x01\x01\x00\x00\x19\x04\x00\x00", "192.0.2.9:256")]
    [InlineData(V2 + @"\x20\x00\x00\x00", "")]
    [InlineData(V2 + @"\x21\x00\x00\x02ab", "")]
    public void A_header_names_the_client_however_it_is_cut(string text, string client)
    {
        var octets = Script.Octets(text);
        var address = new byte[16];
        for (var length = 0; length < octets.Length; length++)
        {
            Assert.Equal(
                OperationStatus.NeedMoreData, ProxyHeader.Parse(octets.AsSpan(0, length), address, out _, out var none));
            Assert.Equal(0, none);
        }
        byte[] behind = [.. octets, .. "EHLO x\r\n"u8];
        Assert.Equal(OperationStatus.Done, ProxyHeader.Parse(behind, address, out var header, out var consumed));
        Assert.Equal(octets.Length, consumed);
        Assert.Equal(
            client, header.Address.IsEmpty ? "" : new IPEndPoint(new IPAddress(header.Address), header.Port).ToString());
    }

    [Theory]
    [InlineData(@"EHLO x\r\n")]
    [InlineData(@"PROXX")]
    [InlineData(@"proxy TCP4 192.0.2.9 192.0.2.1 1 25\r\n")]
    [InlineData(@"PROXY TCP4 192.0.2.9 192.0.2.1 1 25\n")]
    [InlineData(@"PROXY TCP4 192.0.2.9 192.0.2.1 1\r\n")]
    [InlineData(@"PROXY TCP4 192.0.2.9  192.0.2.1 1 25\r\n")]
    [InlineData(@"PROXY TCP4 192.0.2.9 192.0.2.1 1 25 \r\n")]
    [InlineData(@"PROXY TCP4 192.0.2.9 192.0.2.1 01 25\r\n")]
    [InlineData(@"PROXY TCP4 192.0.2.9 192.0.2.1 1 65536\r\n")]
    [InlineData(@"PROXY TCP4 192.0.2.09 192.0.2.1 1 25\r\n")]
    [InlineData(@"PROXY TCP4 ::1 ::1 1 25\r\n")]
    [InlineData(@"PROXY TCP6 192.0.2.9 192.0.2.1 1 25\r\n")]
    [InlineData(@"PROXY TCP6 fe80::1%lo ::1 1 25\r\n")]
    [InlineData(@"PROXY UNKNOWNX\r\n")]
    [InlineData(@"PROXY UNKNOWN {{200*x}}\r\n")]
    [InlineData(V2 + @"\x11\x11\x00\x00")]
    [InlineData(V2 + @"\x22\x11\x00\x00")]
    [InlineData(V2 + @"\x21\x11\x00\x0B\xC0\x00\x02\x09\xC0\x00\x02\x01\x01\x00\x00")]
    [InlineData(V2 + @"\x21\x31\x00\x00")]
    [InlineData(V2 + @"\x21\x12\x00\x0C\xC0\x00\x02\x09\xC0\x00\x02\x01\x01\x00\x00\x19")]
    [InlineData(V2 + @"\x21\x11\xFF\xFF")]
    public void Anything_else_is_no_header(string text) =>
        Assert.Equal(
            OperationStatus.InvalidData, ProxyHeader.Parse(Script.Octets(text), new byte[16], out _, out _));
}
