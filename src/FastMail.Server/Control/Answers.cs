using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;

namespace FastMail.Server.Control;

/// <summary>How every route of the control channel answers. Stateless; any thread.</summary>
internal static class Answers
{
    public static Task Send<T>(HttpContext http, T answer, JsonTypeInfo<T> type, int status = StatusCodes.Status200OK)
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(http.Response.Body, answer, type, http.RequestAborted);
    }

    public static Task Refuse(HttpContext http, int status, string why) =>
        Send(http, new ControlError(why), ControlJson.Default.ControlError, status);
}
