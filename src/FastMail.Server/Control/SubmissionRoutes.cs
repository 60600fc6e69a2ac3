using System.Text.Json.Serialization;
using FastMail.Protocol.Smtp;
using FastMail.Server.Receive;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace FastMail.Server.Control;

/// <summary>How programs of this machine hand mail over. Any thread of the pool.</summary>
internal sealed class SubmissionRoutes
{
    private readonly LocalSubmission _submission;

    private SubmissionRoutes(LocalSubmission submission) => _submission = submission;

    public static void Map(WebApplication app, LocalSubmission submission)
    {
        var routes = new SubmissionRoutes(submission);
        app.MapGet("/v1/mail", (RequestDelegate)routes.Tell);
        app.MapPost("/v1/mail", (RequestDelegate)routes.Take);
    }

    private Task Tell(HttpContext http) => Answers.Send(
        http, new SubmissionTerms(_submission.Hostname, _submission.MostOctets), SubmissionJson.Default.SubmissionTerms);

    /// <summary>The body is the message, <c>from</c> and each <c>to</c> of the query its envelope.</summary>
    private async Task Take(HttpContext http)
    {
        IQueryCollection query = http.Request.Query;
        if (query["to"].Count == 0 || !TryRead(query["notify"].FirstOrDefault(), out DsnNotify notify)
            || !IsNotify(notify) || !TryRead(query["ret"].FirstOrDefault(), out DsnReturn returned)
            || !Enum.IsDefined(returned))
        {
            await Answers.Refuse(http, StatusCodes.Status400BadRequest, "to is missing, or notify or ret are none");
            return;
        }

        http.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = _submission.MostOctets + (1 << 16);
        var envelope = new LocalEnvelope(
            query["from"].ToString(), [.. query["to"].OfType<string>()], notify, returned, query["envid"].ToString());
        try
        {
            string id = await _submission.TakeAsync(envelope, http.Request.BodyReader, http.RequestAborted);
            await Answers.Send(http, new Submitted(id), SubmissionJson.Default.Submitted);
        }
        catch (SubmissionException e)
        {
            await Answers.Refuse(
                http,
                e.IsUnknownUser ? StatusCodes.Status404NotFound
                    : e.IsTemporary ? StatusCodes.Status503ServiceUnavailable
                    : StatusCodes.Status400BadRequest,
                e.Message);
        }
    }

    /// <summary>Absent is 0, which is unsaid.</summary>
    private static bool TryRead<T>(string? text, out T value)
        where T : struct, Enum
    {
        value = default;
        return text is null || Enum.TryParse(text, out value);
    }

    /// <summary>NEVER stands alone (RFC 3461 4.1).</summary>
    private static bool IsNotify(DsnNotify notify) =>
        notify == DsnNotify.Never || (notify & ~(DsnNotify.Success | DsnNotify.Failure | DsnNotify.Delay)) == 0;
}

/// <summary>What a program has to know before it hands mail over. Immutable.</summary>
/// <param name="Hostname">The domain of bare local-parts.</param>
/// <param name="MostOctets">A longer message is refused.</param>
internal sealed record SubmissionTerms(string Hostname, long MostOctets);

/// <summary>The message is durable. Immutable.</summary>
/// <param name="Id">Its transaction id.</param>
internal sealed record Submitted(string Id);

/// <summary>The words of submission, serialised by generated code.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(SubmissionTerms))]
[JsonSerializable(typeof(Submitted))]
internal sealed partial class SubmissionJson : JsonSerializerContext;
