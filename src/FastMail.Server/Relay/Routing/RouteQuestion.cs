using System.Text;
using FastMail.Net;

namespace FastMail.Server.Relay.Routing;

/// <summary>Asks the router from another thread. One question each; entered by the loop, awaited by whoever asked.</summary>
internal sealed class RouteQuestion : ILoopWork, IRouteAsker
{
    private readonly Router _router;
    private readonly byte[] _address;
    private readonly TaskCompletionSource<Route> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private RouteQuestion(Router router, string address)
    {
        _router = router;
        _address = Encoding.UTF8.GetBytes(address);
    }

    /// <summary>The route with its notes, decided anew. Any thread.</summary>
    public static Task<Route> AskAsync(Router router, string address)
    {
        var question = new RouteQuestion(router, address);
        router.Loop.Post(question);
        return question._answer.Task;
    }

    public void Run()
    {
        if (_router.Explain(_address, this, 0) is { } route)
        {
            _answer.SetResult(route);
        }
    }

    public void Found(long number, Route route) => _answer.SetResult(route);
}
