using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using FastMail.Storage;

namespace FastMail.Tests.Storage;

/// <summary>Meta fields as text, one line each, without the lengths the log keeps for itself. Stateless.</summary>
internal static class MetaText
{
    public static List<string> Of(ReadOnlySpan<byte> meta)
    {
        List<string> lines = [];
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            ReadOnlySpan<byte> value = reader.Value;
            string? line = reader.Type switch
            {
                MetaType.LocalRecipient => string.Create(
                    CultureInfo.InvariantCulture,
                    $"local {BinaryPrimitives.ReadUInt64LittleEndian(value)}/"
                    + $"{BinaryPrimitives.ReadUInt64LittleEndian(value[8..])}="
                    + $"{Encoding.Latin1.GetString(value[16..])}"),
                MetaType.RelayRecipient =>
                    $"relay {BinaryPrimitives.ReadUInt32LittleEndian(value)}={Encoding.Latin1.GetString(value[4..])}",
                MetaType.TraceFacts or MetaType.HeaderWireBytes => null,
                _ => $"{Camel(reader.Type.ToString())}={Encoding.Latin1.GetString(value)}",
            };
            if (line is not null)
            {
                lines.Add(line);
            }
        }

        return lines;
    }

    private static string Camel(string name)
    {
        return char.ToLowerInvariant(name[0]) + name[1..];
    }
}
