using Microsoft.Extensions.Configuration;

namespace FastMail.Server.Configuration;

/// <summary>
/// Every key with its value: the default, or what the configuration file says, or what the command line says, the last
/// one winning. Immutable; any thread.
/// </summary>
internal sealed class Settings
{
    /// <summary>Read from the data directory when no other file is named.</summary>
    public const string FileName = "fastmail.json";

    private readonly Dictionary<string, Setting> _settings = new(StringComparer.Ordinal);

    private Settings()
    {
        foreach (Key key in Keys)
        {
            _settings.Add(key.Name, new Setting(key, key.Default, "default", key.Read(key.Default)));
        }
    }

    /// <summary>All that can be configured, section by section.</summary>
    public static IEnumerable<Key> Keys =>
    [
        .. ServeKeys.All, .. LmtpKeys.All, .. Pop3Keys.All, .. StoreKeys.All, .. LimitKeys.All, .. AuthKeys.All,
        .. AddressKeys.All, .. TlsKeys.All, .. QuotaKeys.All, .. RetentionKeys.All, .. ProxyKeys.All, .. XclientKeys.All,
        .. ScrubKeys.All, .. DnsblKeys.All, .. DkimKeys.All, .. NotifyKeys.All, .. AdminKeys.All, .. DnsKeys.All, .. RouteKeys.All, .. RelayKeys.All,
    ];

    /// <summary>Each key with its present value, in the order of <see cref="Keys"/>.</summary>
    public IEnumerable<Setting> All => Keys.Select(key => _settings[key.Name]);

    /// <summary>Puts the settings together.</summary>
    /// <param name="file">JSON with comments; null when there is none.</param>
    /// <param name="assignments">What the command line says: key, value and the words it said it with.</param>
    /// <exception cref="SettingException">An unknown key or a value that cannot be read.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static Settings Load(string? file, IEnumerable<Assignment> assignments)
    {
        Settings settings = new();
        if (file is not null)
        {
            foreach ((string name, string text) in ReadFile(file))
            {
                settings.Assign(name, text, file);
            }
        }

        foreach (Assignment assignment in assignments)
        {
            settings.Assign(assignment.Name, assignment.Text, assignment.Source);
        }

        return settings;
    }

    public T Get<T>(Key<T> key)
        where T : notnull => (T)_settings[key.Name].Value;

    private static IEnumerable<(string Name, string Text)> ReadFile(string file)
    {
        // A stream, not a path: the reader's own file watching and its optional files are not wanted here.
        using FileStream stream = File.OpenRead(file);
        IConfigurationRoot root;
        try
        {
            root = new ConfigurationBuilder().AddJsonStream(stream).Build();
        }
        catch (Exception e) when (e is FormatException or InvalidDataException or System.Text.Json.JsonException)
        {
            throw new SettingException($"{file}: {e.InnerException?.Message ?? e.Message}", e);
        }

        return Leaves(root, "");
    }

    /// <summary>Sections become <c>section.key</c>; an array becomes a list with commas.</summary>
    private static IEnumerable<(string Name, string Text)> Leaves(IConfiguration section, string prefix)
    {
        foreach (IConfigurationSection child in section.GetChildren())
        {
            string name = prefix + child.Key;
            IConfigurationSection[] inner = [.. child.GetChildren()];
            if (inner.Length == 0)
            {
                yield return (name, child.Value ?? "");
            }
            else if (inner.All(item => int.TryParse(item.Key, out _) && item.Value is not null))
            {
                yield return (name, string.Join(',', inner.Select(item => item.Value)));
            }
            else
            {
                foreach ((string Name, string Text) leaf in Leaves(child, name + "."))
                {
                    yield return leaf;
                }
            }
        }
    }

    private void Assign(string name, string text, string source)
    {
        if (!_settings.TryGetValue(name, out Setting? setting))
        {
            string near = Nearest(name) is { } other ? $"; did you mean {other}?" : "";
            throw new SettingException($"{source}: there is no key '{name}'{near} (fastmail config show lists all)");
        }

        try
        {
            _settings[name] = setting with { Text = text, Source = source, Value = setting.Key.Read(text) };
        }
        catch (FormatException e)
        {
            throw new SettingException($"{source}: {name}: {e.Message}", e);
        }
    }

    private string? Nearest(string name)
    {
        string last = name[(name.LastIndexOf('.') + 1)..];
        return _settings.Keys.FirstOrDefault(key => key.EndsWith("." + last, StringComparison.OrdinalIgnoreCase))
            ?? _settings.Keys.FirstOrDefault(
                key => last.Length > 3 && key.Contains(last, StringComparison.OrdinalIgnoreCase));
    }
}

/// <summary>A key with its present value.</summary>
/// <param name="Key">What it is.</param>
/// <param name="Text">The value as it was written.</param>
/// <param name="Source">Who said so: <c>default</c>, a file or an option.</param>
/// <param name="Value">The value as it was read.</param>
internal sealed record Setting(Key Key, string Text, string Source, object Value);

/// <summary>One value from the command line.</summary>
/// <param name="Name">Name of the key.</param>
/// <param name="Text">The value.</param>
/// <param name="Source">The option that said it, for messages.</param>
internal sealed record Assignment(string Name, string Text, string Source);

/// <summary>The configuration is wrong; the message says where and how.</summary>
internal sealed class SettingException : Exception
{
    public SettingException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
