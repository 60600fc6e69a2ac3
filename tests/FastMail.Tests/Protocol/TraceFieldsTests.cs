using System.Text;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Trace fields as they stand in front of delivered mail.</summary>
public sealed class TraceFieldsTests
{
    private static readonly DateTimeOffset Time = new(2026, 11, 2, 4, 5, 6, TimeSpan.Zero);

    [Fact]
    public void A_common_delivery_reads_like_this()
    {
        var text = Write(new TraceArguments
        {
            ReversePath = "a@b.test"u8,
            Helo = "client.test"u8,
            ClientAddress = [192, 0, 2, 1],
            Hostname = "mx.test"u8,
            TransactionId = "4F2K"u8,
            OnlyRecipient = "u@local.test"u8,
            IsExtended = true,
            ReceivedAt = Time,
        }, out var returnPath);
        Assert.Equal(
            "Return-Path: <a@b.test>\r\n"
            + "Received: from client.test ([192.0.2.1])\r\n"
            + "\tby mx.test with ESMTP id 4F2K\r\n"
            + "\tfor <u@local.test>;\r\n"
            + "\tMon, 2 Nov 2026 04:05:06 +0000\r\n",
            text);
        Assert.Equal("Return-Path: <a@b.test>\r\n".Length, returnPath);
    }

    [Fact]
    public void Several_recipients_are_not_named_and_a_null_path_stays_empty()
    {
        var text = Write(new TraceArguments
        {
            Helo = "[IPv6:::1]"u8,
            ClientAddress = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            Hostname = "mx.test"u8,
            TransactionId = "T"u8,
            ReceivedAt = new DateTimeOffset(1999, 12, 31, 23, 59, 59, TimeSpan.FromMinutes(-210)),
        }, out _);
        Assert.Equal(
            "Return-Path: <>\r\n"
            + "Received: from [IPv6:::1] ([IPv6:::1])\r\n"
            + "\tby mx.test with SMTP id T;\r\n"
            + "\tFri, 31 Dec 1999 23:59:59 -0330\r\n",
            text);
    }

    [Theory]
    [InlineData(false, false, false, false, "SMTP")]
    [InlineData(true, false, false, false, "ESMTP")]
    [InlineData(true, false, false, true, "ESMTPA")]
    [InlineData(true, false, true, false, "ESMTPS")]
    [InlineData(true, false, true, true, "ESMTPSA")]
    [InlineData(true, true, false, false, "UTF8SMTP")]
    [InlineData(true, true, true, true, "UTF8SMTPSA")]
    public void The_protocol_is_named_as_registered(
        bool isExtended, bool isSmtpUtf8, bool isTls, bool isAuthenticated, string keyword)
    {
        var text = Write(new TraceArguments
        {
            ClientAddress = [127, 0, 0, 1],
            Hostname = "h"u8,
            TransactionId = "T"u8,
            IsExtended = isExtended,
            IsSmtpUtf8 = isSmtpUtf8,
            Tls = isTls ? "TLSv1.3 TLS_AES_256_GCM_SHA384"u8 : default,
            IsAuthenticated = isAuthenticated,
            ReceivedAt = Time,
        }, out _);
        Assert.Contains($" with {keyword} id T", text, StringComparison.Ordinal);
        Assert.Equal(isTls, text.Contains("id T\r\n\t(TLSv1.3 TLS_AES_256_GCM_SHA384);\r\n", StringComparison.Ordinal));
    }

    [Fact]
    public void Hostile_names_neither_add_a_line_nor_overflow()
    {
        var text = Write(new TraceArguments
        {
            ReversePath = Encoding.ASCII.GetBytes(new string('p', 5000)),
            Helo = Encoding.Latin1.GetBytes("x\r\nBcc: y (\x1b[2J\xff)" + new string('h', 5000)),
            ClientAddress = [0xFE, 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
            Hostname = Encoding.ASCII.GetBytes(new string('n', 5000)),
            TransactionId = Encoding.ASCII.GetBytes(new string('t', 5000)),
            OnlyRecipient = Encoding.ASCII.GetBytes(new string('r', 5000)),
            IsExtended = true,
            ReceivedAt = Time,
        }, out _);
        var lines = text.Split("\r\n");
        Assert.Equal(6, lines.Length);
        Assert.All(lines, line => Assert.InRange(line.Length, 0, 998));
        Assert.StartsWith("Received: from x??Bcc:?y???[2J??hhh", lines[1], StringComparison.Ordinal);
    }

    private static string Write(in TraceArguments arguments, out int returnPath)
    {
        var text = new byte[TraceFields.MaxBytes];
        var length = TraceFields.Write(text, arguments, out returnPath);
        return Encoding.Latin1.GetString(text, 0, length);
    }
}
