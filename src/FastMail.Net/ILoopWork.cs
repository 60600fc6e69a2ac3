namespace FastMail.Net;

/// <summary>
/// Something to do on the loop thread: a commit that became durable, a password that was checked. The object is its own
/// queue entry, so posting allocates nothing; whoever posts it owns it again once <see cref="Run"/> has been entered.
/// </summary>
public interface ILoopWork
{
    /// <summary>Entered on the loop thread; must not block. An exception goes to the loop's failure report.</summary>
    void Run();
}
