using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FastMail.Protocol.Dkim;
using FastMail.Server.Accounts;

namespace FastMail.Server.Dkim;

/// <summary>
/// The DKIM keys of a data directory: <c>dkim/DOMAIN/SELECTOR.pem</c>, for their owner alone, and <c>dkim/DOMAIN/active</c>,
/// which names the selector that signs. Verbs write them, the running server looks at them. Immutable; any thread.
/// </summary>
internal sealed class DkimFiles
{
    public const string DirectoryName = "dkim";

    private const string ActiveFile = "active";
    private const string KeyEnd = ".pem";

    private readonly string _directory;

    /// <param name="dataDirectory">Absolute.</param>
    public DkimFiles(string dataDirectory) => _directory = Path.Join(dataDirectory, DirectoryName);

    /// <summary>A selector as RFC 6376 3.1 has it, and a file name.</summary>
    public static bool IsSelector(string text) =>
        text.Length is > 0 and <= 128 && text.Split('.').All(label =>
            label.Length is > 0 and <= 63
            && label.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')
            && char.IsAsciiLetterOrDigit(label[0])
            && char.IsAsciiLetterOrDigit(label[^1]));

    /// <summary>Changes whenever a key or what is active was changed.</summary>
    public string Stamp()
    {
        var stamp = new StringBuilder();
        foreach (string domain in Domains())
        {
            foreach (FileInfo file in new DirectoryInfo(Path.Join(_directory, domain)).EnumerateFiles().OrderBy(f => f.Name, StringComparer.Ordinal))
            {
                stamp.Append(CultureInfo.InvariantCulture, $"{domain}/{file.Name} {file.LastWriteTimeUtc.Ticks} {file.Length}\n");
            }
        }

        return stamp.ToString();
    }

    /// <summary>Domains that have keys, as A-labels in lower case, in order.</summary>
    public IEnumerable<string> Domains() => Directory.Exists(_directory)
        ? Directory.EnumerateDirectories(_directory).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)
        : [];

    /// <summary>Selectors of a domain, in order.</summary>
    public IEnumerable<string> Selectors(string domain) => Directory.Exists(PathOf(domain))
        ? Directory.EnumerateFiles(PathOf(domain), "*" + KeyEnd)
            .Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)
        : [];

    /// <summary>The selector whose key signs; null when there is none.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public string? ActiveOf(string domain)
    {
        string path = Path.Join(PathOf(domain), ActiveFile);
        return File.Exists(path) ? File.ReadAllText(path).Trim() : null;
    }

    /// <exception cref="DkimKeyException">There is none, or it cannot be used.</exception>
    public DkimKey Load(string domain, string selector)
    {
        string path = KeyPath(domain, selector);
        try
        {
            const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
            return (File.GetUnixFileMode(path) & Others) == 0
                ? DkimKey.Load(domain, selector, File.ReadAllText(path))
                : throw new DkimKeyException($"{path}: others may read or write this private key; chmod 600 it");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new DkimKeyException($"{path}: {e.Message}", e);
        }
    }

    /// <summary>Makes a key. The first one of a domain is active at once.</summary>
    /// <exception cref="IOException">It is there already, or cannot be written.</exception>
    public DkimKey Make(string domain, string selector, int bits)
    {
        string path = KeyPath(domain, selector);
        if (File.Exists(path))
        {
            throw new IOException($"{path} exists already; --selector takes another name");
        }

        AccountStore.MakeDirectory(PathOf(domain));
        using var rsa = RSA.Create(bits);
        DurableFile.Write(path, Encoding.ASCII.GetBytes(rsa.ExportPkcs8PrivateKeyPem() + "\n"));
        if (ActiveOf(domain) is null)
        {
            Activate(domain, selector);
        }

        return Load(domain, selector);
    }

    /// <summary>This selector's key signs from now on.</summary>
    /// <exception cref="DkimKeyException">There is no such key that can be used.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Activate(string domain, string selector)
    {
        _ = Load(domain, selector);
        DurableFile.Write(Path.Join(PathOf(domain), ActiveFile), Encoding.ASCII.GetBytes(selector + "\n"));
    }

    /// <summary>Removes a key for good; one that was active leaves its domain without signatures.</summary>
    /// <exception cref="IOException">It cannot be removed.</exception>
    public void Remove(string domain, string selector)
    {
        if (ActiveOf(domain) == selector)
        {
            DurableFile.Remove(Path.Join(PathOf(domain), ActiveFile));
        }

        DurableFile.Remove(KeyPath(domain, selector));
    }

    public bool Exists(string domain, string selector) => File.Exists(KeyPath(domain, selector));

    private string PathOf(string domain) => Path.Join(_directory, domain);

    private string KeyPath(string domain, string selector) => Path.Join(PathOf(domain), selector + KeyEnd);
}

/// <summary>A DKIM key cannot be used; the message names the file and the remedy.</summary>
internal sealed class DkimKeyException : Exception
{
    public DkimKeyException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
