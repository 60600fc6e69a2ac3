using System.Diagnostics.CodeAnalysis;

namespace FastMail.LoadTest.Pop3;

/// <summary>Says whose maildrop is opened next. Entered by the loop's thread.</summary>
internal interface IPop3Dealer
{
    /// <summary>The next session of a connection, or none now.</summary>
    /// <param name="connection">0 to the plan's number of parallel sessions - 1; it has no session now.</param>
    /// <param name="user">Whose, by the plan's users; null for nobody.</param>
    /// <param name="lookAgain">For nobody: after how long to ask again, or null for never.</param>
    bool TryDeal(int connection, [NotNullWhen(true)] out string? user, out TimeSpan? lookAgain);

    /// <summary>The session is over; well when every reply was as it should be, to QUIT's.</summary>
    void Ended(int connection, bool isWell);

    /// <summary>A second of the run is over.</summary>
    void Tick();

    /// <summary>Something was wrong, in words. It has been counted.</summary>
    void Wrong(string text);
}
