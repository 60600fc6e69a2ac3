using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using FastMail.Protocol.Dkim;
using FastMail.Server.Dkim;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail dkim keygen|list|use|remove</c>: the keys that sign outgoing mail.</summary>
internal sealed class DkimVerbs
{
    private const int StringOctets = 255; // of one string of a TXT record (RFC 1035 3.3)

    private readonly Option<string> _data;
    private readonly Argument<string> _domain = new("DOMAIN") { Description = "E.g. example.org." };
    private readonly Argument<string> _selector = new("SELECTOR") { Description = "As dkim list names it." };
    private readonly Option<bool> _json = new("--json") { Description = "Print JSON." };

    private readonly Option<string?> _newSelector = new("--selector")
    {
        Description = "Name of the key in DNS. [default: fm and the month, e.g. fm202611]",
        HelpName = "NAME",
    };

    private readonly Option<string> _bits = new("--bits")
    {
        Description = "Length of the RSA key.",
        DefaultValueFactory = _ => "2048",
    };

    public DkimVerbs(Option<string> data)
    {
        _data = data;
        _bits.AcceptOnlyFromAmong("1024", "2048", "3072", "4096");
    }

    public Command Build()
    {
        var keygen = new Command("keygen", """
            Makes a key for the mail of a domain and prints the DNS record to be published.

            The first key of a domain signs at once: publish its record first, or soon. A further one signs after
            fastmail dkim use, so that its record can be in DNS by then. A running server takes note within two seconds.
            """)
        {
            _domain,
            _newSelector,
            _bits,
            _json,
        };
        keygen.SetAction(parsed => Run(parsed, KeyGen));
        var list = new Command("list", "Lists the keys, which of them sign, and their DNS records.") { _json };
        list.SetAction(parsed => Run(parsed, List));
        var use = new Command("use", "Signs with this key of the domain from now on.") { _domain, _selector };
        use.SetAction(parsed => Run(parsed, Use));
        var remove = new Command("remove", """
            Removes a key for good. Mail signed with it that is still on its way needs its DNS record for some days more.
            """)
        {
            _domain,
            _selector,
        };
        remove.SetAction(parsed => Run(parsed, Remove));
        return new Command("dkim", "Makes, lists and chooses the keys that sign outgoing mail (RFC 6376, RSA-SHA256).")
        {
            keygen,
            list,
            use,
            remove,
        };
    }

    private int Run(ParseResult parsed, Func<ParseResult, DkimFiles, int> verb)
    {
        try
        {
            return verb(parsed, new DkimFiles(Path.GetFullPath(parsed.GetRequiredValue(_data))));
        }
        catch (DkimKeyException e)
        {
            return AccountEdit.Fail(ExitCode.DataError, e.Message);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            return AccountEdit.Fail(ExitCode.IoError, e.Message);
        }
    }

    private int KeyGen(ParseResult parsed, DkimFiles files)
    {
        string text = parsed.GetRequiredValue(_domain);
        if (AccountEdit.DomainOf(text) is not { } domain)
        {
            return AccountEdit.Fail(ExitCode.Usage, $"'{text}' is not a domain, e.g. example.org");
        }

        string selector = parsed.GetValue(_newSelector)
            ?? string.Create(CultureInfo.InvariantCulture, $"fm{TimeProvider.System.GetUtcNow():yyyyMM}");
        if (!DkimFiles.IsSelector(selector))
        {
            return AccountEdit.Fail(ExitCode.Usage, $"'{selector}' is not a selector: letters, digits and - in labels, e.g. fm202611");
        }

        if (files.Exists(domain[1..], selector))
        {
            return AccountEdit.Fail(
                ExitCode.CannotCreate, $"{domain[1..]} has a key {selector} already; --selector gives the new one another name");
        }

        int bits = int.Parse(parsed.GetRequiredValue(_bits), CultureInfo.InvariantCulture);
        DkimKey key = files.Make(domain[1..], selector, bits);
        KeyReport report = KeyReport.Of(key, files);
        if (parsed.GetValue(_json))
        {
            Console.Out.WriteLine(JsonSerializer.Serialize(report, DkimJson.Default.KeyReport));
            return ExitCode.Ok;
        }

        Console.Out.WriteLine(ZoneLine(key));
        string then = report.IsActive
            ? "the key signs from now on; publish this record"
            : $"publish this record, then: fastmail dkim use {key.Domain} {key.Selector}";
        Console.Error.WriteLine($"fastmail: {then}");
        return ExitCode.Ok;
    }

    private int List(ParseResult parsed, DkimFiles files)
    {
        bool isBad = false;
        List<KeyReport> reports = [];
        foreach (string domain in files.Domains())
        {
            foreach (string selector in files.Selectors(domain))
            {
                try
                {
                    reports.Add(KeyReport.Of(files.Load(domain, selector), files));
                }
                catch (DkimKeyException e)
                {
                    isBad = true;
                    Console.Error.WriteLine($"fastmail: {e.Message}");
                }
            }
        }

        if (parsed.GetValue(_json))
        {
            Console.Out.WriteLine(JsonSerializer.Serialize([.. reports], DkimJson.Default.KeyReportArray));
        }
        else
        {
            foreach (KeyReport report in reports)
            {
                Console.Out.WriteLine($"{report.Domain} {report.Selector} {report.Bits} bits{(report.IsActive ? ", signs" : "")}");
                Console.Out.WriteLine($"  {report.RecordName} TXT {report.RecordText}");
            }
        }

        return isBad ? ExitCode.DataError : ExitCode.Ok;
    }

    private int Use(ParseResult parsed, DkimFiles files)
    {
        if (KnownKey(parsed, files) is not { } key)
        {
            return ExitCode.NoInput;
        }

        files.Activate(key.Domain, key.Selector);
        Console.Out.WriteLine($"signing mail of {key.Domain} with {key.Selector}");
        return ExitCode.Ok;
    }

    private int Remove(ParseResult parsed, DkimFiles files)
    {
        if (KnownKey(parsed, files) is not { } key)
        {
            return ExitCode.NoInput;
        }

        bool wasActive = files.ActiveOf(key.Domain) == key.Selector;
        files.Remove(key.Domain, key.Selector);
        Console.Out.WriteLine(
            $"removed {key.Selector} of {key.Domain}" + (wasActive ? "; mail of the domain is not signed any more" : ""));
        return ExitCode.Ok;
    }

    /// <summary>Null, and told, when there is no such key.</summary>
    private (string Domain, string Selector)? KnownKey(ParseResult parsed, DkimFiles files)
    {
        string text = parsed.GetRequiredValue(_domain);
        string domain = AccountEdit.DomainOf(text)?[1..] ?? "";
        string selector = parsed.GetRequiredValue(_selector);
        if (domain.Length > 0 && DkimFiles.IsSelector(selector) && files.Exists(domain, selector))
        {
            return (domain, selector);
        }

        AccountEdit.Fail(ExitCode.NoInput, $"{text} has no key {selector}; fastmail dkim list names all");
        return null;
    }

    /// <summary>As a zone file has it.</summary>
    private static string ZoneLine(DkimKey key)
    {
        IEnumerable<string> parts = key.RecordText.Chunk(StringOctets).Select(part => $"\"{new string(part)}\"");
        return $"{key.RecordName}. IN TXT ( {string.Join("\n    ", parts)} )";
    }
}

/// <summary>A key as <c>--json</c> shows it. Immutable.</summary>
/// <param name="Domain">A-labels.</param>
/// <param name="Selector">Its name in DNS.</param>
/// <param name="Bits">Length of the RSA key.</param>
/// <param name="IsActive">It signs.</param>
/// <param name="RecordName">Where the TXT record belongs.</param>
/// <param name="RecordText">What the TXT record says; longer than one string of it may be.</param>
internal sealed record KeyReport(
    string Domain, string Selector, int Bits, [property: JsonPropertyName("active")] bool IsActive, string RecordName, string RecordText)
{
    public static KeyReport Of(DkimKey key, DkimFiles files) => new(
        key.Domain, key.Selector, key.Bits, files.ActiveOf(key.Domain) == key.Selector, key.RecordName, key.RecordText);
}

/// <summary>The output of the verbs, serialised by generated code.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(KeyReport))]
[JsonSerializable(typeof(KeyReport[]))]
internal sealed partial class DkimJson : JsonSerializerContext;
