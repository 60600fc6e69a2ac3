namespace FastMail.Net;

/// <summary>
/// A hashed timing wheel (Varghese and Lauck, scheme 6): arming and disarming cost a few stores however many timers
/// there are. Counts in ticks and knows no clock. Owned by the loop, touched on the loop thread only.
/// </summary>
internal sealed class TimingWheel
{
    private const int Slots = 1024; // 102.4 s a round at 100 ms; most deadlines wait out three rounds or never fire
    private const int DueSlot = Slots; // the list of those whose time has come in this step

    private readonly LoopTimer?[] _heads = new LoopTimer?[Slots + 1];

    public int Count { get; private set; }

    /// <summary>The last tick that is over.</summary>
    public long Now { get; private set; }

    /// <summary>An empty wheel may jump: nothing can be missed.</summary>
    public void SkipTo(long tick)
    {
        if (Count == 0 && tick > Now)
        {
            Now = tick;
        }
    }

    /// <summary>Runs at <paramref name="dueTick"/>, or at the next tick if that is over.</summary>
    public void Arm(LoopTimer timer, long dueTick)
    {
        Disarm(timer);
        timer.DueTick = Math.Max(dueTick, Now + 1);
        Link(timer, (int)(timer.DueTick % Slots));
        Count++;
    }

    public void Disarm(LoopTimer timer)
    {
        if (timer.IsArmed)
        {
            Unlink(timer);
            Count--;
        }
    }

    /// <summary>
    /// Moves on to <paramref name="tick"/>; from then on <see cref="TakeDue"/> yields what has become due. Two steps,
    /// because what runs may arm and disarm any timer, also one that is due itself.
    /// </summary>
    public void Advance(long tick)
    {
        if (tick <= Now)
        {
            return;
        }

        long steps = Math.Min(tick - Now, Slots);
        long first = Now + 1;
        Now = tick;
        for (long step = 0; step < steps; step++)
        {
            CollectDue((int)((first + step) % Slots));
        }
    }

    /// <summary>The next timer that is due, disarmed; null when there is none left.</summary>
    public LoopTimer? TakeDue()
    {
        LoopTimer? timer = _heads[DueSlot];
        if (timer is not null)
        {
            Disarm(timer);
        }

        return timer;
    }

    private void CollectDue(int slot)
    {
        LoopTimer? timer = _heads[slot];
        while (timer is not null)
        {
            LoopTimer? next = timer.Next;
            if (timer.DueTick <= Now)
            {
                Unlink(timer);
                Link(timer, DueSlot);
            }

            timer = next;
        }
    }

    private void Link(LoopTimer timer, int slot)
    {
        LoopTimer? head = _heads[slot];
        timer.Slot = slot;
        timer.Next = head;
        timer.Previous = null;
        if (head is not null)
        {
            head.Previous = timer;
        }

        _heads[slot] = timer;
    }

    private void Unlink(LoopTimer timer)
    {
        if (timer.Previous is null)
        {
            _heads[timer.Slot] = timer.Next;
        }
        else
        {
            timer.Previous.Next = timer.Next;
        }

        if (timer.Next is not null)
        {
            timer.Next.Previous = timer.Previous;
        }

        timer.Slot = -1;
        timer.Next = null;
        timer.Previous = null;
    }
}
