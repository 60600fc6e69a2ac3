using System.CommandLine;
using System.CommandLine.Parsing;
using FastMail.Server.Configuration;

namespace FastMail.Server.Cli;

/// <summary>
/// <c>--config</c>, <c>--set</c> and the options that are short for a key: what a verb needs to read its settings.
/// </summary>
internal sealed class SettingOptions
{
    private readonly Option<string> _data;
    private readonly List<(Option<string[]> Option, Key Key)> _shorts = [];

    private readonly Option<string?> _config = new("--config")
    {
        Description = $"Settings, JSON with comments. [default: {Settings.FileName} in the data directory, if it is there]",
        HelpName = "FILE",
    };

    private readonly Option<string[]> _set = new("--set")
    {
        Description = "Sets one key; repeatable; wins over the file. fastmail config show lists all keys.",
        HelpName = "SECTION.KEY=VALUE",
        AllowMultipleArgumentsPerToken = false,
        CustomParser = result =>
        {
            string[] texts = [.. result.Tokens.Select(t => t.Value)];
            _ = Try(result, () => Settings.Load(null, texts.Select(Assignment)));
            return texts;
        },
    };

    public SettingOptions(Option<string> data) => _data = data;

    /// <summary>An option that is short for a key; repeated values become a list.</summary>
    public SettingOptions Short(string name, string helpName, Key key, string about)
    {
        Option<string[]> option = new(name)
        {
            Description = $"{about} [default: {key.Default}]",
            HelpName = helpName,
            CustomParser = result =>
            {
                string[] texts = [.. result.Tokens.Select(t => t.Value)];
                _ = Try(result, () => key.Read(string.Join(',', texts)), name);
                return texts;
            },
        };
        _shorts.Add((option, key));
        return this;
    }

    public void AddTo(Command command)
    {
        foreach ((Option<string[]> option, _) in _shorts)
        {
            command.Add(option);
        }

        command.Add(_config);
        command.Add(_set);
    }

    /// <summary>True when the command line says anything about settings.</summary>
    public bool IsAnyGiven(ParseResult parsed) =>
        parsed.GetValue(_config) is not null
        || parsed.GetValue(_set) is { Length: > 0 }
        || _shorts.Exists(s => parsed.GetValue(s.Option) is { Length: > 0 });

    /// <summary>Defaults, then the file, then <c>--set</c>, then the short options.</summary>
    /// <exception cref="SettingException">The file is wrong.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public Settings Read(ParseResult parsed)
    {
        string? file = parsed.GetValue(_config);
        string own = Path.Join(parsed.GetRequiredValue(_data), Settings.FileName);
        file ??= File.Exists(own) ? own : null;
        IEnumerable<Assignment> sets = (parsed.GetValue(_set) ?? []).Select(Assignment);
        IEnumerable<Assignment> shorts = _shorts
            .Select(s => (Texts: parsed.GetValue(s.Option), s.Key, s.Option.Name))
            .Where(s => s.Texts is { Length: > 0 })
            .Select(s => new Assignment(s.Key.Name, string.Join(',', s.Texts!), s.Name));
        return Settings.Load(file, [.. sets, .. shorts]);
    }

    private static Assignment Assignment(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        return equals > 0
            ? new Assignment(text[..equals], text[(equals + 1)..], "--set")
            : throw new SettingException($"--set: '{text}' is not SECTION.KEY=VALUE");
    }

    private static bool Try(ArgumentResult result, Func<object> read, string? option = null)
    {
        try
        {
            _ = read();
            return true;
        }
        catch (Exception e) when (e is FormatException or SettingException)
        {
            result.AddError(option is null ? e.Message : $"{option}: {e.Message}");
            return false;
        }
    }
}
