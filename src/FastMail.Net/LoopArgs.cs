using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>Whoever started an asynchronous socket call and wants its end on the loop thread.</summary>
internal interface ICompletion
{
    void Completed(LoopArgs args);
}

/// <summary>
/// Brings the end of a socket call to the loop thread: at once when the runtime completes it there, through the ready
/// list when it does not (own thread, and calls that a close has cancelled, which end on the pool). Its owner is named
/// in <see cref="Owner"/>; started and ended on the loop thread.
/// </summary>
internal sealed class LoopArgs(EventLoop loop) : SocketAsyncEventArgs(true), ILoopWork
{
    public ICompletion? Owner { get; set; }

    void ILoopWork.Run() => Owner!.Completed(this);

    protected override void OnCompleted(SocketAsyncEventArgs e)
    {
        if (loop.IsLoopThread)
        {
            loop.Run(this);
        }
        else
        {
            loop.Post(this);
        }
    }
}
