using System.Text.Json;
using FastMail.Server.Queue;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace FastMail.Server.Control;

/// <summary>What the control channel answers about the queue, one method a route. Any thread of the pool.</summary>
internal sealed class QueueRoutes
{
    private const int FlushedBytes = 64 * 1024;

    private readonly OpenQueue _queue;

    private QueueRoutes(OpenQueue queue) => _queue = queue;

    public static void Map(WebApplication app, OpenQueue queue)
    {
        var routes = new QueueRoutes(queue);
        app.MapGet("/v1/queue", (RequestDelegate)routes.List);
        app.MapGet("/v1/queue/stats", (RequestDelegate)routes.Count);
        app.MapGet("/v1/queue/message", (RequestDelegate)routes.Find);
        foreach (QueueAction action in Enum.GetValues<QueueAction>())
        {
            app.MapPost("/v1/queue/" + NameOf(action), (RequestDelegate)(http => routes.Apply(http, action)));
        }
    }

    /// <summary>The word of an action in paths and verbs.</summary>
    public static string NameOf(QueueAction action) => action switch
    {
        QueueAction.Retry => "retry",
        QueueAction.Hold => "hold",
        QueueAction.Release => "release",
        QueueAction.Cancel => "cancel",
        _ => "redirect",
    };

    /// <summary>The recipients that fit the query, a line each; ends early when the client goes away.</summary>
    private async Task List(HttpContext http)
    {
        if (SelectorOf(http, out string? flaw) is not { } selector)
        {
            await Answers.Refuse(http, StatusCodes.Status400BadRequest, flaw!);
            return;
        }

        http.Response.ContentType = "application/x-ndjson";
        await using var lines = new MemoryStream();
        foreach (QueueEntry entry in _queue.List(selector))
        {
            http.RequestAborted.ThrowIfCancellationRequested();
            await JsonSerializer.SerializeAsync(lines, entry, QueueJson.Default.QueueEntry, http.RequestAborted);
            lines.WriteByte((byte)'\n');
            if (lines.Length >= FlushedBytes)
            {
                await SendAsync(http, lines);
            }
        }

        await SendAsync(http, lines);
    }

    private async Task Count(HttpContext http) =>
        await Answers.Send(http, await _queue.CountAsync(http.RequestAborted), QueueJson.Default.QueueStats);

    private async Task Find(HttpContext http)
    {
        string id = http.Request.Query["id"].ToString();
        if (await _queue.FindAsync(id, http.RequestAborted) is { } message)
        {
            await Answers.Send(http, message, QueueJson.Default.QueueMessage);
        }
        else
        {
            await Answers.Refuse(http, StatusCodes.Status404NotFound, $"there is no message {id} in the queue");
        }
    }

    /// <summary>Does it with all that fit; a request that says nothing of whom must say <c>all=1</c>.</summary>
    private async Task Apply(HttpContext http, QueueAction action)
    {
        QueueSelector? selector = SelectorOf(http, out string? flaw);
        string to = http.Request.Query["to"].ToString();
        flaw ??= selector!.IsEmpty && http.Request.Query["all"] != "1" ? "the request does not say whom it means" : null;
        flaw ??= action == QueueAction.Redirect && Cli.AccountEdit.MailboxOf(to) is null ? $"'{to}' is not an address" : null;
        if (flaw is not null)
        {
            await Answers.Refuse(http, StatusCodes.Status400BadRequest, flaw);
            return;
        }

        var options = new QueueActionOptions(
            action == QueueAction.Redirect ? to : null,
            action == QueueAction.Cancel && http.Request.Query["notify"] == "1");
        try
        {
            QueueActionResult result = await _queue.ApplyAsync(action, selector!, options, http.RequestAborted);
            await Answers.Send(http, result, QueueJson.Default.QueueActionResult);
        }
        catch (IOException e)
        {
            await Answers.Refuse(http, StatusCodes.Status500InternalServerError, e.Message);
        }
    }

    private static QueueSelector? SelectorOf(HttpContext http, out string? flaw)
    {
        try
        {
            flaw = null;
            return QueueSelector.Of(name => http.Request.Query[name]);
        }
        catch (FormatException e)
        {
            flaw = e.Message;
            return null;
        }
    }

    private static async Task SendAsync(HttpContext http, MemoryStream lines)
    {
        await http.Response.Body.WriteAsync(lines.GetBuffer().AsMemory(0, (int)lines.Length), http.RequestAborted);
        await http.Response.Body.FlushAsync(http.RequestAborted);
        lines.SetLength(0);
    }
}
