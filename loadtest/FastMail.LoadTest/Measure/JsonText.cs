using System.Text.Json;

namespace FastMail.LoadTest.Measure;

/// <summary>Shapes that both reports write. Stateless.</summary>
internal static class JsonText
{
    internal static void WriteStrings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
        {
            json.WriteStringValue(value);
        }

        json.WriteEndArray();
    }
}
