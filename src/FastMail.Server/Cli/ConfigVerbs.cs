using System.CommandLine;
using System.Text.Json.Nodes;
using FastMail.Server.Configuration;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail config show</c>: every key with its value, unit, default and meaning.</summary>
internal sealed class ConfigVerbs
{
    private readonly SettingOptions _settings;
    private readonly Option<bool> _json = new("--json") { Description = "Print one JSON array." };

    public ConfigVerbs(Option<string> data) => _settings = new SettingOptions(data);

    public Command Build()
    {
        var show = new Command("show", """
            Lists every key with its value, who set it, its default, unit and meaning, as a server would use it that is
            started with the same --data, --config and --set. Exits with 78 when the configuration is wrong.
            """)
        {
            _json,
        };
        _settings.AddTo(show);
        show.SetAction(Show);
        return new Command("config", "Shows what can be configured and how it is.") { show };
    }

    private int Show(ParseResult parsed)
    {
        Settings settings;
        try
        {
            settings = _settings.Read(parsed);
        }
        catch (Exception e) when (e is SettingException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"fastmail: {e.Message}");
            return ExitCode.Configuration;
        }

        if (parsed.GetValue(_json))
        {
            JsonNode[] all = [.. settings.All.Select(ToJson)];
            Console.WriteLine(new JsonArray(all).ToJsonString());
            return ExitCode.Ok;
        }

        foreach (Setting setting in settings.All)
        {
            string origin = setting.Source == "default"
                ? "default"
                : $"from {setting.Source}; default: {setting.Key.Default}";
            Console.WriteLine($"{setting.Key.Name} = {setting.Text}");
            Console.WriteLine($"    {setting.Key.About} [{setting.Key.Unit}; {origin}]");
        }

        return ExitCode.Ok;
    }

    private static JsonNode ToJson(Setting setting) => new JsonObject
    {
        ["key"] = setting.Key.Name,
        ["value"] = setting.Text,
        ["source"] = setting.Source,
        ["default"] = setting.Key.Default,
        ["unit"] = setting.Key.Unit,
        ["about"] = setting.Key.About,
    };
}
