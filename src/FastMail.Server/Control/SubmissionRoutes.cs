using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
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
    private const int MostRecipients = 100_000; // read before the submission judges them
    private const int RecipientBytes = 1024; // of a line

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

    /// <summary>
    /// The body is the envelope's recipients, as many lines as <c>recipients</c> of the query says, and behind them the
    /// message; the rest of the envelope stands in the query.
    /// </summary>
    private async Task Take(HttpContext http)
    {
        IQueryCollection query = http.Request.Query;
        if (!int.TryParse(query["recipients"], NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            || count is < 1 or > MostRecipients || !TryRead(query["notify"].FirstOrDefault(), out DsnNotify notify)
            || !IsNotify(notify) || !TryRead(query["ret"].FirstOrDefault(), out DsnReturn returned)
            || !Enum.IsDefined(returned))
        {
            await Answers.Refuse(
                http, StatusCodes.Status400BadRequest, "recipients is no number that can be, or notify or ret are none");
            return;
        }

        http.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize =
            _submission.MostOctets + (1 << 16) + ((long)count * RecipientBytes);
        PipeReader body = http.Request.BodyReader;
        List<string> recipients = await ReadRecipientsAsync(body, count, http.RequestAborted);
        if (recipients.Count < count)
        {
            await Answers.Refuse(http, StatusCodes.Status400BadRequest, "the recipients of the envelope are not all there");
            return;
        }

        var envelope = new LocalEnvelope(
            query["from"].ToString(), recipients, notify, returned, query["envid"].ToString());
        try
        {
            string id = await _submission.TakeAsync(envelope, body, http.RequestAborted);
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

    /// <summary>The first lines; fewer when the body ends before, or one of them does not end.</summary>
    private static async Task<List<string>> ReadRecipientsAsync(PipeReader body, int count, CancellationToken token)
    {
        List<string> recipients = [];
        while (recipients.Count < count)
        {
            ReadResult read = await body.ReadAsync(token);
            ReadOnlySequence<byte> rest = read.Buffer;
            while (recipients.Count < count && rest.PositionOf((byte)'\n') is { } end)
            {
                recipients.Add(Encoding.UTF8.GetString(rest.Slice(0, end)));
                rest = rest.Slice(rest.GetPosition(1, end));
            }

            bool isOver = read.IsCompleted || rest.Length > RecipientBytes;
            body.AdvanceTo(rest.Start, recipients.Count == count ? rest.Start : rest.End);
            if (isOver)
            {
                break;
            }
        }

        return recipients;
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
