using System.Text.Json.Serialization;

namespace FastMail.Server.Relay.Routing;

/// <summary>A decision of the router as people and scripts read it. Immutable.</summary>
/// <param name="Address">What was asked about.</param>
/// <param name="Kind"><c>remote</c>, <c>local</c> or <c>failed</c>.</param>
/// <param name="DecidedBy">The setting or record that made the decision.</param>
/// <param name="Destination">What its mail is grouped by; null unless it goes elsewhere.</param>
/// <param name="Protocol"><c>smtp</c> or <c>lmtp</c>; null unless it goes elsewhere.</param>
/// <param name="User">Who we are there; null for nobody.</param>
/// <param name="Failure">Why there is no way; null when there is one.</param>
/// <param name="Hosts">Where it goes, by preference.</param>
/// <param name="Notes">How it came about.</param>
internal sealed record RouteExplanation(
    string Address,
    string Kind,
    string DecidedBy,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Destination,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Protocol,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? User,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] ExplainedFailure? Failure,
    IReadOnlyList<ExplainedHost> Hosts,
    IReadOnlyList<string> Notes)
{
    public static RouteExplanation Of(string address, Route route)
    {
        bool isRemote = route.Kind == RouteKind.Remote;
        return new RouteExplanation(
            address,
            route.Kind.ToString().ToLowerInvariant(),
            route.DecidedBy,
            isRemote ? route.Destination : null,
            isRemote ? route.IsLmtp ? "lmtp" : "smtp" : null,
            route.Credentials?.User,
            route.Failure is { } failure
                ? new ExplainedFailure(failure.IsPermanent, failure.Code, failure.Status, failure.Text)
                : null,
            [
                .. route.Hosts.Select(host => new ExplainedHost(
                    host.Name,
                    host.Preference,
                    [.. host.Hops.Select(hop => Cli.Arguments.TextOf(hop.EndPoint))],
                    host.Hops.First().Tls.Level.ToString().ToLowerInvariant(),
                    host.Hops.First().Tls.Reason)),
            ],
            route.Notes);
    }

    /// <summary>What becomes of the mail, in words: <c>goes to example.org</c>.</summary>
    public string Outcome() => (Kind, Failure) switch
    {
        ("local", _) => "is delivered here",
        (_, { } failure) => $"{(failure.IsPermanent ? "would be sent back" : "would be tried again")}: "
            + $"{failure.Code} {failure.Status} {failure.Text}",
        _ => $"goes to {Destination}"
            + (Protocol == "lmtp" ? " over LMTP" : "")
            + (User is { } user ? $" as {user}" : ""),
    };
}

/// <summary>Why mail cannot go anywhere. Immutable.</summary>
/// <param name="IsPermanent">It would be sent back, not tried again.</param>
/// <param name="Code">Reply code.</param>
/// <param name="Status">Enhanced status code.</param>
/// <param name="Text">For people.</param>
internal sealed record ExplainedFailure(bool IsPermanent, int Code, string Status, string Text);

/// <summary>A host that takes the mail. Immutable.</summary>
/// <param name="Name">Its name or address.</param>
/// <param name="Preference">Of its MX record.</param>
/// <param name="Addresses">Addresses with their ports.</param>
/// <param name="Tls"><c>none</c>, <c>may</c>, <c>encrypt</c>, <c>verify</c> or <c>dane</c>.</param>
/// <param name="TlsReason">What demands that.</param>
internal sealed record ExplainedHost(
    string Name, int Preference, IReadOnlyList<string> Addresses, string Tls, string TlsReason);
