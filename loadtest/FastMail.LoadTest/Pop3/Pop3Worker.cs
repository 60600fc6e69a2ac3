using System.Diagnostics;
using System.Net.Sockets;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// Runs one session after the other on its own thread and counts in its own tally. With somebody to
/// collect for, a session collects everything and hands each message's identity over.
/// </summary>
internal sealed class Pop3Worker(Pop3Plan plan, ICollected? collected, Action<string> showError) : IDisposable
{
    private readonly OwnPart _own = new();

    internal Pop3Tally Tally { get; } = new();

    public void Dispose() => _own.Dispose();

    /// <summary>One session; what goes wrong is counted and shown, not thrown. True when nothing did.</summary>
    internal bool RunSession(string user)
    {
        try
        {
            long from = Stopwatch.GetTimestamp();
            using var client = new Pop3Client(plan.Target, plan.Timeout);
            client.Login(user, plan.Password);
            Record("login", from);
            if (collected is null)
            {
                RunCommands(client);
            }
            else
            {
                CollectAll(client, user, collected);
            }

            Timed("quit", client.Quit);
            Record("session", from);
            Tally.Sessions++;
            if (plan.IsDeleting)
            {
                collected?.Emptied(user);
            }

            return true;
        }
        catch (Exception failure) when (failure is Pop3Exception or SocketException)
        {
            Tally.Faults++;
            _ = _own.TryFinish(out _, out _); // what was read of a broken message is no part of the next
            showError($"{user}: {failure.Message}");
            return false;
        }
    }

    private void RunCommands(Pop3Client client)
    {
        int count = -1;
        foreach (string command in plan.Commands)
        {
            switch (command)
            {
                case "stat":
                    Timed("stat", () => count = client.Stat().Count);
                    break;
                case "list":
                    Timed("list", () => count = client.List().Count);
                    break;
                case "uidl":
                    Timed("uidl", () => count = client.Uidl().Count);
                    break;
                default:
                    count = count < 0 ? client.Stat().Count : count;
                    Retrieve(client, Math.Min(count, plan.MostRetrieved), (_, _) => { });
                    break;
            }
        }

        if (plan.IsDeleting)
        {
            count = count < 0 ? client.Stat().Count : count;
            Delete(client, Math.Min(count, plan.MostRetrieved));
        }
    }

    private void CollectAll(Pop3Client client, string user, ICollected into)
    {
        (int count, long octets) = client.Stat();
        List<long> sizes = client.List();
        List<string> uniqueIds = client.Uidl();
        CheckListing(user, count == sizes.Count && count == uniqueIds.Count && octets == sizes.Sum(),
            $"STAT tells {count} messages of {octets} octets, LIST {sizes.Count} of {sizes.Sum()}, "
            + $"UIDL {uniqueIds.Count}");
        CheckListing(user, uniqueIds.Distinct(StringComparer.Ordinal).Count() == uniqueIds.Count,
            "UIDL tells one unique-id twice");
        Retrieve(client, count, (number, read) =>
        {
            CheckListing(user, number <= sizes.Count && sizes[number - 1] == read,
                $"message {number} has {read} octets, LIST told otherwise");
            if (_own.TryFinish(out LoadId id, out string hash))
            {
                into.Found(user, number <= uniqueIds.Count ? uniqueIds[number - 1] : "", id, hash);
            }
            else
            {
                into.FoundUnknown(user, number);
            }
        });
        if (plan.IsDeleting)
        {
            Delete(client, count);
        }
    }

    /// <summary>RETR 1..count with up to Depth in flight; each message's number and octets are handed over.</summary>
    private void Retrieve(Pop3Client client, int count, Action<int, long> retrieved)
    {
        var askedAt = new long[plan.Depth];
        int asked = 0;
        for (int number = 1; number <= count; number++)
        {
            for (; asked < count && asked < number - 1 + plan.Depth; asked++)
            {
                client.Post("RETR"u8, asked + 1);
                askedAt[asked % plan.Depth] = Stopwatch.GetTimestamp();
            }

            _ = client.ReadStatus("RETR");
            long octets = client.ReadContent(collected is null ? null : _own);
            Record("retr", askedAt[(number - 1) % plan.Depth]);
            Tally.Messages++;
            Tally.Octets += octets;
            retrieved(number, octets);
        }
    }

    private void Delete(Pop3Client client, int count)
    {
        int asked = 0;
        for (int number = 1; number <= count; number++)
        {
            for (; asked < count && asked < number - 1 + plan.Depth; asked++)
            {
                client.Post("DELE"u8, asked + 1);
            }

            long from = Stopwatch.GetTimestamp();
            _ = client.ReadStatus("DELE");
            Record("dele", from);
            Tally.Deleted++;
        }
    }

    private void CheckListing(string user, bool isRight, string wrong)
    {
        if (!isRight)
        {
            Tally.ListingFaults++;
            showError($"{user}: {wrong}");
        }
    }

    private void Timed(string command, Action ask)
    {
        long from = Stopwatch.GetTimestamp();
        ask();
        Record(command, from);
    }

    private void Record(string command, long from) =>
        Tally.LatencyOf(command).Record((long)Stopwatch.GetElapsedTime(from).TotalNanoseconds);
}
