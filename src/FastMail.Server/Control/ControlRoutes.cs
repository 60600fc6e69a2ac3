using System.Globalization;
using System.Text.Json;
using System.Threading.Channels;
using FastMail.Server.Maildrops;
using FastMail.Server.Relay.Routing;
using FastMail.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Hosting;

namespace FastMail.Server.Control;

/// <summary>
/// What the control channel answers, one method a route. Handlers take the bare request: nothing is bound by
/// reflection. Any thread of the pool.
/// </summary>
internal sealed class ControlRoutes
{
    private const long CompactBytesPerSecond = 50L << 20; // mail comes first

    private readonly OpenStore _store;
    private readonly Router _router;
    private readonly CancellationToken _stopping;

    private ControlRoutes(ControlParts parts, CancellationToken stopping)
    {
        _store = parts.Store;
        _router = parts.Router;
        _stopping = stopping;
    }

    public static void Map(WebApplication app, ControlParts parts)
    {
        var routes = new ControlRoutes(parts, app.Lifetime.ApplicationStopping);
        app.MapGet("/v1/status", (RequestDelegate)routes.Status);
        app.MapGet("/v1/route", (RequestDelegate)routes.ExplainRoute);
        app.MapGet("/v1/log/hold", (RequestDelegate)routes.Hold);
        app.MapPost("/v1/log/compact", (RequestDelegate)routes.Compact);
        app.MapGet("/v1/maildrops", (RequestDelegate)routes.ListMaildrops);
        app.MapGet("/v1/maildrops/removed", (RequestDelegate)routes.ListRemoved);
        app.MapPost("/v1/maildrop/purge", (RequestDelegate)routes.Purge);
        app.MapGet("/v1/maildrop/messages", (RequestDelegate)routes.Export);
        app.MapPost("/v1/maildrop/messages", (RequestDelegate)routes.Import);
        QueueRoutes.Map(app, parts.Queue);
        SubmissionRoutes.Map(app, parts.Submission);
    }

    private Task Status(HttpContext http) => Answers.Send(http, _store.Status(), ControlJson.Default.ServerStatus);

    /// <summary>Where mail for <c>?address=</c> goes, and why.</summary>
    private async Task ExplainRoute(HttpContext http)
    {
        string address = AddressOf(http);
        Route route = await RouteQuestion.AskAsync(_router, address).WaitAsync(http.RequestAborted);
        await Answers.Send(http, RouteExplanation.Of(address, route), ControlJson.Default.RouteExplanation);
    }

    /// <summary>One line, then silence: the hold ends when the client goes away, however it does that.</summary>
    private async Task Hold(HttpContext http)
    {
        using LogHold hold = _store.Hold();
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, _stopping);
        try
        {
            http.Response.ContentType = "application/x-ndjson";
            byte[] line = JsonSerializer.SerializeToUtf8Bytes(
                new HeldLog(hold.Extent.EndLsn, hold.Extent.Names), ControlJson.Default.HeldLog);
            await http.Response.Body.WriteAsync((byte[])[.. line, (byte)'\n'], ended.Token);
            await http.Response.Body.FlushAsync(ended.Token);
            await Task.Delay(Timeout.InfiniteTimeSpan, ended.Token);
        }
        catch (OperationCanceledException)
        {
            // The client has what it wanted, or the server stops.
        }
    }

    /// <summary>
    /// Compacts with <c>?ratio=</c> and tells how far it has come, a line each time; the client ends it by going away.
    /// </summary>
    private async Task Compact(HttpContext http)
    {
        if (!double.TryParse(http.Request.Query["ratio"], NumberStyles.Float, CultureInfo.InvariantCulture, out double ratio)
            || !(ratio >= 0 && ratio <= 1))
        {
            await Answers.Refuse(http, StatusCodes.Status400BadRequest, "ratio must be a number from 0 to 1");
            return;
        }

        using var ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, _stopping);
        var steps = Channel.CreateUnbounded<CompactStep>();
        Task compacting = CompactAsync(ratio, steps.Writer, ended.Token);
        http.Response.ContentType = "application/x-ndjson";
        try
        {
            await http.Response.StartAsync(ended.Token); // the client learns that it has begun
            await foreach (CompactStep step in steps.Reader.ReadAllAsync(ended.Token))
            {
                byte[] line = JsonSerializer.SerializeToUtf8Bytes(step, ControlJson.Default.CompactStep);
                await http.Response.Body.WriteAsync((byte[])[.. line, (byte)'\n'], ended.Token);
                await http.Response.Body.FlushAsync(ended.Token);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            await ended.CancelAsync(); // the client went away, or the server stops
        }

        await compacting;
    }

    private async Task CompactAsync(double ratio, ChannelWriter<CompactStep> steps, CancellationToken token)
    {
        CompactStep last = CompactStep.None;
        try
        {
            last = await _store.CompactAsync(ratio, CompactBytesPerSecond, step => steps.TryWrite(last = step), token);
        }
        catch (OperationCanceledException)
        {
            last = last with { Error = "the server is stopping" };
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            last = last with { Error = e.Message };
        }

        steps.TryWrite(last);
        steps.Complete();
    }

    private Task ListMaildrops(HttpContext http) =>
        Answers.Send(http, _store.ListMaildrops(), ControlJson.Default.MaildropSummaryArray);

    private async Task ListRemoved(HttpContext http)
    {
        try
        {
            await Answers.Send(http, _store.ListRemoved(), ControlJson.Default.RemovedMaildropArray);
        }
        catch (SqliteException e)
        {
            await Answers.Refuse(http, StatusCodes.Status503ServiceUnavailable, e.Message);
        }
    }

    /// <summary>Removes all mail of <c>?mailbox=</c>, which must have lost its account.</summary>
    private async Task Purge(HttpContext http)
    {
        try
        {
            if (MailboxNumberOf(http) is { } mailboxId && await _store.PurgeAsync(mailboxId, http.RequestAborted) is { } done)
            {
                await Answers.Send(http, done, ControlJson.Default.PurgeResult);
                return;
            }

            await Answers.Refuse(
                http, StatusCodes.Status404NotFound, $"there is no removed mailbox {http.Request.Query["mailbox"]}");
        }
        catch (Exception e) when (e is IOException or SqliteException)
        {
            await Answers.Refuse(http, StatusCodes.Status503ServiceUnavailable, e.Message);
        }
        catch (OperationCanceledException)
        {
            http.Abort(); // the client has gone; what was removed is removed
        }
    }

    /// <summary>
    /// The messages of <c>?address=</c>, or of <c>?mailbox=</c> with or without an account, framed; ends early when the
    /// client goes away.
    /// </summary>
    private async Task Export(HttpContext http)
    {
        if ((MailboxNumberOf(http) ?? _store.MailboxOf(AddressOf(http))) is not { } mailboxId)
        {
            await Answers.Refuse(http, StatusCodes.Status404NotFound, $"there is no account {AddressOf(http)}");
            return;
        }

        http.Response.ContentType = "application/octet-stream";
        try
        {
            await _store.ExportAsync(mailboxId, http.Response.BodyWriter, http.RequestAborted);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            http.Abort(); // the client sees that it did not get all
        }
    }

    /// <summary>Adds the framed messages of the body to the maildrop of <c>?address=</c>.</summary>
    private async Task Import(HttpContext http)
    {
        string address = AddressOf(http);
        if (_store.MailboxOf(address) is not { } mailboxId)
        {
            await Answers.Refuse(http, StatusCodes.Status404NotFound, $"there is no account {address}");
            return;
        }

        // One message may be larger than a body otherwise may be; the frames have a limit of their own.
        http.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = Frames.LongestText + (1L << 20);
        try
        {
            ImportResult[] results = await _store.ImportAsync(
                mailboxId,
                address,
                http.Request.BodyReader,
                http.Request.Query["first"] == "1",
                http.Request.Query["skip"] == "1",
                http.RequestAborted);
            await Answers.Send(http, results, ControlJson.Default.ImportResultArray);
        }
        catch (BadHttpRequestException e)
        {
            await Answers.Refuse(http, e.StatusCode, e.Message);
        }
        catch (InvalidDataException e)
        {
            await Answers.Refuse(http, StatusCodes.Status400BadRequest, e.Message);
        }
        catch (IOException e) when (!http.RequestAborted.IsCancellationRequested)
        {
            await Answers.Refuse(http, StatusCodes.Status503ServiceUnavailable, e.Message); // our disk
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            http.Abort();
        }
    }

    private static ulong? MailboxNumberOf(HttpContext http) =>
        ulong.TryParse(http.Request.Query["mailbox"], NumberStyles.None, CultureInfo.InvariantCulture, out ulong number)
            ? number
            : null;

    private static string AddressOf(HttpContext http) => http.Request.Query["address"].ToString();
}
