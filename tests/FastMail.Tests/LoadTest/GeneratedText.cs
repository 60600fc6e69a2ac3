using System.Security.Cryptography;
using FastMail.LoadTest.Messages;

namespace FastMail.Tests.LoadTest;

/// <summary>A generated message as it goes over the wire, and a plain undoing of RFC 5321 4.5.2.</summary>
internal static class GeneratedText
{
    /// <summary>Header section and dot-stuffed body, without the terminating dot.</summary>
    internal static unsafe byte[] WireOf(MessageGenerator generator, LoadMessage message)
    {
        byte[] header = new byte[generator.HeaderOctets];
        generator.WriteHeader(message, header);
        var pieces = new BodyPiece[generator.MostPieces];
        int count = generator.CutBody(message, isStuffed: true, pieces);
        List<byte> wire = [.. header];
        foreach (BodyPiece piece in pieces.AsSpan(0, count))
        {
            wire.AddRange(piece.Octets);
        }

        return [.. wire];
    }

    internal static byte[] Unstuff(byte[] wire)
    {
        List<byte> content = [];
        bool isLineStart = true;
        foreach (byte octet in wire)
        {
            if (!isLineStart || octet != (byte)'.')
            {
                content.Add(octet);
            }

            isLineStart = octet == (byte)'\n';
        }

        return [.. content];
    }

    internal static string HashOf(MessageGenerator generator, LoadMessage message)
    {
        byte[] header = new byte[generator.HeaderOctets];
        generator.WriteHeader(message, header);
        byte[] hash = new byte[SHA256.HashSizeInBytes];
        generator.Hash(message, header, hash);
        return Convert.ToHexStringLower(hash);
    }
}
