using System.Text;
using FastMail.Net;

namespace FastMail.Server.Relay.Routing;

/// <summary>Asks the router from another thread. One question each; entered by the loop, awaited by whoever asked.</summary>
internal sealed class RouteQuestion : ILoopWork, IRouteAsker
{
    private readonly Router _router;
    private readonly byte[] _address;
    private readonly bool _isAnew;
    private readonly TaskCompletionSource<Route> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private RouteQuestion(Router router, string address, bool isAnew)
    {
        _router = router;
        _isAnew = isAnew;
        _address = Encoding.UTF8.GetBytes(address);
    }

    /// <summary>The route with its notes, decided anew. Any thread.</summary>
    public static Task<Route> AskAsync(Router router, string address) => AskAsync(router, address, isAnew: true);

    /// <summary>The route that mail would take now. Any thread.</summary>
    public static Task<Route> FindAsync(Router router, string address) => AskAsync(router, address, isAnew: false);

    public void Run()
    {
        Route? found = _isAnew ? _router.Explain(_address, this, 0) : _router.Find(_address, this, 0);
        if (found is { } route)
        {
            _answer.SetResult(route);
        }
    }

    public void Found(long number, Route route) => _answer.SetResult(route);

    private static Task<Route> AskAsync(Router router, string address, bool isAnew)
    {
        var question = new RouteQuestion(router, address, isAnew);
        router.Loop.Post(question);
        return question._answer.Task;
    }
}
