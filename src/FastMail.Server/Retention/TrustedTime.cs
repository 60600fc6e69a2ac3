using System.Globalization;
using System.Text;

namespace FastMail.Server.Retention;

/// <summary>
/// The file <c>trusted-time</c> of a data directory: the wall clock as it was when there was no doubt of it. Stateless;
/// the thread of the <see cref="Expunger"/>.
/// </summary>
internal static class TrustedTime
{
    public const string FileName = "trusted-time";

    private const string Form = "yyyy-MM-ddTHH:mm:ssZ";

    /// <summary>Null when there is none, or none that can be read.</summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public static DateTimeOffset? Read(string dataDirectory)
    {
        string path = Path.Join(dataDirectory, FileName);
        return File.Exists(path) && DateTimeOffset.TryParseExact(
            File.ReadAllText(path).Trim(), Form, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal,
            out DateTimeOffset time)
            ? time
            : null;
    }

    /// <exception cref="IOException">It cannot be written.</exception>
    public static void Write(string dataDirectory, DateTimeOffset time) => DurableFile.Write(
        Path.Join(dataDirectory, FileName),
        Encoding.ASCII.GetBytes(time.UtcDateTime.ToString(Form, CultureInfo.InvariantCulture) + "\n"));
}
