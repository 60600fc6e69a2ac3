using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FastMail.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;

namespace FastMail.Server.Control;

/// <summary>
/// What the control channel answers, one method a route. Handlers take the bare request: nothing is bound by
/// reflection. Any thread of the pool.
/// </summary>
internal sealed class ControlRoutes
{
    private readonly OpenStore _store;
    private readonly CancellationToken _stopping;

    private ControlRoutes(OpenStore store, CancellationToken stopping)
    {
        _store = store;
        _stopping = stopping;
    }

    public static void Map(WebApplication app, OpenStore store)
    {
        var routes = new ControlRoutes(store, app.Lifetime.ApplicationStopping);
        app.MapGet("/v1/status", (RequestDelegate)routes.Status);
        app.MapGet("/v1/log/hold", (RequestDelegate)routes.Hold);
    }

    private Task Status(HttpContext http) => Answer(http, _store.Status(), ControlJson.Default.ServerStatus);

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

    private static Task Answer<T>(HttpContext http, T answer, JsonTypeInfo<T> type, int status = StatusCodes.Status200OK)
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(http.Response.Body, answer, type, http.RequestAborted);
    }
}
