using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <content>Mistakes of ours: they cost one message an attempt, and never the others anything.</content>
internal sealed partial class DeliveryEngine
{
    private const int MostFaults = InHand.MostDeaths;

    /// <summary>
    /// Runs a step of one consignment. A mistake of ours in it costs that consignment an attempt, and after three of them
    /// it is held back, so that one odd message cannot stop the others.
    /// </summary>
    private void Guard(Consignment consignment, Action<Consignment> step)
    {
        int inHand = InHand.Take(consignment.Seq);
        try
        {
            step(consignment);
        }
        catch (Exception exception)
        {
            Failed(consignment, exception);
        }
        finally
        {
            InHand.PutDown(inHand);
        }
    }

    private void Failed(Consignment consignment, Exception exception)
    {
        _parts.Logger.LogError(exception, "queue: an attempt failed by a mistake of the program; the other mail goes on");
        if (consignment.Stage == Stage.Free || !KeepWaiting(consignment))
        {
            return; // the mistake came behind its end
        }

        consignment.Faults++;
        if (consignment.Stage is Stage.Routing or Stage.New or Stage.Sending)
        {
            DeferOrHold(consignment);
        }
    }

    /// <summary>
    /// Leaves those out that have ended before the mistake: they must not go a second time. False when nobody is left.
    /// </summary>
    private bool KeepWaiting(Consignment consignment)
    {
        _ = Log.Queue.TryFind(consignment.Seq, out _, _known);
        bool[] isKept = new bool[consignment.Count];
        for (int i = 0; i < isKept.Length; i++)
        {
            uint number = consignment[i];
            isKept[i] = number < _known.Count && !_known[(int)number].State.IsEnd() && !_outcomes.IsEnding(consignment.Seq, number);
        }

        _known.Clear();
        consignment.Keep(isKept);
        if (consignment.Count > 0)
        {
            return true;
        }

        if (consignment.Stage == Stage.Waiting)
        {
            _schedule.Remove(consignment);
        }

        _schedule.Free(consignment);
        return false;
    }

    /// <summary>After a mistake of ours.</summary>
    private void DeferOrHold(Consignment consignment)
    {
        if (consignment.Faults >= MostFaults)
        {
            Hold(consignment, "5.3.0 held: each attempt has failed by a mistake of the program"u8.ToArray());
        }
        else
        {
            Defer(consignment);
        }
    }
}
