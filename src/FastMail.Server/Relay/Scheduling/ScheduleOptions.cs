namespace FastMail.Server.Relay.Scheduling;

/// <summary>The limits of the schedule. Immutable; any thread.</summary>
internal sealed record ScheduleOptions
{
    /// <summary>Between the first failed attempt and the second; doubled after each, with jitter.</summary>
    public TimeSpan RetryMin { get; init; } = TimeSpan.FromMinutes(5);

    public TimeSpan RetryMax { get; init; } = TimeSpan.FromHours(4);

    /// <summary>After that mail that cannot be delivered goes back (RFC 5321 4.5.4.1 asks for 4 to 5 days).</summary>
    public TimeSpan Lifetime { get; init; } = TimeSpan.FromDays(5);

    /// <summary>After that the sender is told once that it takes longer; zero for never.</summary>
    public TimeSpan DelayNotice { get; init; } = TimeSpan.FromHours(4);

    /// <summary>Connections to all destinations.</summary>
    public int Connections { get; init; } = 500;

    /// <summary>Connections to a destination of which nothing is known yet.</summary>
    public int StartConcurrency { get; init; } = 5;

    /// <summary>Connections to one destination.</summary>
    public int MostConcurrency { get; init; } = 20;

    /// <summary>Recipients of one transaction.</summary>
    public int Recipients { get; init; } = 100;

    /// <summary>Transactions to one destination in a minute; 0 for no limit.</summary>
    public int PerMinute { get; init; }

    /// <summary>Until a destination that does not answer is tried again; doubled each time.</summary>
    public TimeSpan ProbeMin { get; init; } = TimeSpan.FromSeconds(10);

    public TimeSpan ProbeMax { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>
    /// The attempts that mail has behind it when its lifetime is over, with half of them lost to restarts: mail that has
    /// fewer is not given up, however old the wall clock says it is.
    /// </summary>
    public int LeastAttempts
    {
        get
        {
            int attempts = 0;
            TimeSpan age = TimeSpan.Zero;
            while (age < Lifetime && attempts < 1000)
            {
                attempts++;
                age += DelayAfter(attempts);
            }

            return Math.Max(1, attempts / 2);
        }
    }

    /// <summary>The time that so many failed attempts take, the waits behind them included, without jitter.</summary>
    public TimeSpan TimeOf(int attempts)
    {
        TimeSpan time = TimeSpan.Zero;
        for (int i = 1; i <= attempts && time < Lifetime; i++)
        {
            time += DelayAfter(i);
        }

        return time;
    }

    /// <summary>The wait after so many failed attempts, without jitter.</summary>
    public TimeSpan DelayAfter(int attempts)
    {
        double delay = RetryMin.TotalSeconds * Math.Pow(2, Math.Min(attempts - 1, 40));
        return TimeSpan.FromSeconds(Math.Min(delay, RetryMax.TotalSeconds));
    }
}
