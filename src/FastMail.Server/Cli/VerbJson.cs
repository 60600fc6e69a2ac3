using System.Text.Json.Serialization;

namespace FastMail.Server.Cli;

/// <summary>An element of <c>fastmail alias list --json</c>. Immutable.</summary>
/// <param name="Alias">The address, or <c>@domain</c> for a catch-all.</param>
/// <param name="Targets">Where its mail goes.</param>
internal sealed record AliasLine(string Alias, string[] Targets);

/// <summary>What account verbs print with <c>--json</c>, serialised by generated code: no reflection at run time.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(AliasLine[]))]
[JsonSerializable(typeof(string[]))]
internal sealed partial class VerbJson : JsonSerializerContext;
