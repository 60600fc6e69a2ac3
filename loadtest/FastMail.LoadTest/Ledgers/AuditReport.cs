using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Ledgers;

/// <summary>The result of an audit, for people and for programs. Stateless.</summary>
internal static class AuditReport
{
    internal static void WriteText(LedgerAudit audit, TextWriter output)
    {
        output.WriteLine(Line($"ledger: {(audit.IsClean ? "clean" : "NOT CLEAN")}; ")
            + Line($"lost {audit.Lost}, doubled {audit.Doubled}, foreign {audit.Foreign}, damaged {audit.Damaged}, ")
            + Line($"refused yet stored {audit.RefusedYetStored}"));
        output.WriteLine(Line($"acked and stored {audit.AckedAndStored}, in doubt and stored {audit.InDoubtStored}, ")
            + Line($"in doubt and absent {audit.InDoubtAbsent}, not collected {audit.NotCollected}"));
        foreach (string finding in audit.Findings)
        {
            output.WriteLine($"  {finding}");
        }
    }

    internal static void WriteJson(LedgerAudit audit, TextWriter output)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            Write(audit, json);
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }

    /// <summary>The members of an object that the caller has begun.</summary>
    internal static void Write(LedgerAudit audit, Utf8JsonWriter json)
    {
        json.WriteBoolean("clean", audit.IsClean);
        json.WriteNumber("stored", audit.Stored);
        json.WriteNumber("ackedAndStored", audit.AckedAndStored);
        json.WriteNumber("lost", audit.Lost);
        json.WriteNumber("doubled", audit.Doubled);
        json.WriteNumber("foreign", audit.Foreign);
        json.WriteNumber("damaged", audit.Damaged);
        json.WriteNumber("refusedYetStored", audit.RefusedYetStored);
        json.WriteNumber("inDoubtStored", audit.InDoubtStored);
        json.WriteNumber("inDoubtAbsent", audit.InDoubtAbsent);
        json.WriteNumber("notCollected", audit.NotCollected);
        JsonText.WriteStrings(json, "findings", audit.Findings);
    }

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
