using System.Buffers.Text;
using System.Diagnostics;
using System.Text;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Pop3;

// What is asked between login and QUIT, one step after the other, and what the replies tell of the maildrop.
internal sealed partial class Pop3Connection
{
    private readonly long[] _askedAtOf; // of RETR or DELE number n, at (n - 1) % depth
    private readonly OwnPart? _own;
    private readonly List<long> _sizes = []; // by message-number - 1, when somebody collects
    private readonly List<string> _uniqueIds = [];
    private WireContent _content;
    private int _count; // messages in the maildrop; -1 before a reply has told
    private long _octets;
    private int _listed;
    private int _asked; // RETR or DELE commands sent
    private int _answered;

    private int Wanted => Math.Min(_count, _loop.Plan.MostRetrieved);

    private void NextStep()
    {
        _stepAt++;
        _asked = 0;
        _answered = 0;
        _phase = Phase.Step;
        _askedAt = Stopwatch.GetTimestamp();
        if (_stepAt == _loop.Steps.Length)
        {
            _phase = Phase.Quit;
            Append(Quit);
            return;
        }

        switch (_loop.Steps[_stepAt])
        {
            case Pop3Step.Stat:
                Append("STAT\r\n"u8);
                break;
            case Pop3Step.List:
                Append("LIST\r\n"u8);
                break;
            case Pop3Step.Uidl:
                Append("UIDL\r\n"u8);
                break;
            default:
                if (Wanted == 0)
                {
                    NextStep();
                }

                break; // AskOn() says the rest
        }
    }

    /// <summary>Keeps as many RETR or DELE commands in flight as the plan wants; they leave in one write.</summary>
    private void AskOn()
    {
        if (_phase != Phase.Step || _loop.Steps[_stepAt] < Pop3Step.Retr)
        {
            return;
        }

        ReadOnlySpan<byte> verb = _loop.Steps[_stepAt] == Pop3Step.Retr ? "RETR "u8 : "DELE "u8;
        long now = Stopwatch.GetTimestamp();
        int depth = _loop.Plan.Depth;
        while (_asked < Wanted && _asked - _answered < depth)
        {
            _askedAtOf[_asked % depth] = now;
            Append(verb);
            _ = Utf8Formatter.TryFormat(++_asked, _commands.AsSpan(_queued), out int digits);
            _queued += digits;
            Append("\r\n"u8);
        }
    }

    private void OnStepStatus(ReadOnlySpan<byte> line)
    {
        switch (_loop.Steps[_stepAt])
        {
            case Pop3Step.Stat:
                TakeStat(line);
                break;
            case Pop3Step.Dele:
                _ = _loop.Tally.Record(Pop3Timed.Dele, _askedAtOf[_answered % _loop.Plan.Depth]);
                _loop.Tally.Deleted++;
                if (++_answered == Wanted)
                {
                    NextStep();
                }

                break;
            case Pop3Step.Retr:
                _isInReply = true;
                _content.Begin();
                break;
            default:
                _isInReply = true;
                _listed = 0;
                break;
        }
    }

    private void TakeStat(ReadOnlySpan<byte> line)
    {
        ReadOnlySpan<byte> words = line[Math.Min(line.Length, 4)..];
        if (!Utf8Parser.TryParse(words, out _count, out int digits) || _count < 0
            || words.Length <= digits || words[digits] != (byte)' '
            || !Utf8Parser.TryParse(words[(digits + 1)..], out _octets, out _))
        {
            Fail("STAT: no message count and size in the reply");
            return;
        }

        _ = _loop.Tally.Record(Pop3Timed.Stat, _askedAt);
        NextStep();
    }

    /// <summary>Lines of LIST or UIDL, which must be numbered 1..n in order.</summary>
    private int TakeListing(ReadOnlySpan<byte> rest)
    {
        int at = 0;
        while (true)
        {
            int end = rest[at..].IndexOf((byte)'\n');
            if (end < 0)
            {
                if (rest.Length - at >= LongestLine)
                {
                    Fail($"{Asked()}: a line longer than {LongestLine} octets");
                }

                return at;
            }

            ReadOnlySpan<byte> line = rest.Slice(at, end).TrimEnd((byte)'\r');
            at += end + 1;
            if (line.SequenceEqual("."u8))
            {
                EndListing();
                return at;
            }

            if (!TryTakeListed(line))
            {
                Fail($"{Asked()}: '{Encoding.UTF8.GetString(line)}' where message {_listed + 1} should be");
                return at;
            }
        }
    }

    private bool TryTakeListed(ReadOnlySpan<byte> line)
    {
        if (!TryTakeDigits(ref line, out long number) || number != _listed + 1
            || line.Length < 2 || line[0] != (byte)' ')
        {
            return false;
        }

        line = line[1..];
        _listed++;
        if (_loop.Steps[_stepAt] == Pop3Step.Uidl)
        {
            if (_own is not null)
            {
                _uniqueIds.Add(Encoding.UTF8.GetString(line));
            }

            return true;
        }

        bool isSize = TryTakeDigits(ref line, out long octets) && line.IsEmpty;
        if (_own is not null)
        {
            _sizes.Add(octets);
        }

        return isSize;
    }

    /// <summary>By hand: a listing has a thousand lines of two short numbers.</summary>
    private static bool TryTakeDigits(ref ReadOnlySpan<byte> text, out long number)
    {
        const int MostDigits = 18; // of a number that fits
        number = 0;
        int i = 0;
        for (; i < text.Length && (uint)(text[i] - '0') <= 9; i++)
        {
            number = (number * 10) + (text[i] - '0');
        }

        text = text[i..];
        return i is > 0 and <= MostDigits;
    }

    private void EndListing()
    {
        _isInReply = false;
        bool isUidl = _loop.Steps[_stepAt] == Pop3Step.Uidl;
        _ = _loop.Tally.Record(isUidl ? Pop3Timed.Uidl : Pop3Timed.List, _askedAt);
        if (_own is not null && isUidl)
        {
            CompareListings();
        }
        else if (_own is null)
        {
            _count = _listed; // who measures may ask for LIST alone
        }

        NextStep();
    }

    private void CompareListings()
    {
        if (_count != _sizes.Count || _count != _uniqueIds.Count || _octets != _sizes.Sum())
        {
            WrongListing($"STAT tells {_count} messages of {_octets} octets, LIST {_sizes.Count} of {_sizes.Sum()}, "
                + $"UIDL {_uniqueIds.Count}");
        }

        if (_uniqueIds.Distinct(StringComparer.Ordinal).Count() != _uniqueIds.Count)
        {
            WrongListing("UIDL tells one unique-id twice");
        }
    }

    private int TakeContent(ReadOnlySpan<byte> rest)
    {
        int taken = _content.Take(rest, LongestLine, _own, out bool isEnded);
        if (isEnded)
        {
            EndMessage();
        }

        return taken;
    }

    private void EndMessage()
    {
        _isInReply = false;
        long nanoseconds = _loop.Tally.Record(Pop3Timed.Retr, _askedAtOf[_answered % _loop.Plan.Depth]);
        int number = ++_answered;
        _loop.Tally.Messages++;
        _loop.Tally.Octets += _content.Octets;
        _loop.Tally.Series.Record(_content.Octets, nanoseconds);
        if (_own is not null)
        {
            Hand(_own, number);
        }

        if (number == Wanted)
        {
            NextStep();
        }
    }

    /// <summary>A collected message's identity goes to who collects.</summary>
    private void Hand(OwnPart own, int number)
    {
        if (number > _sizes.Count || _sizes[number - 1] != _content.Octets)
        {
            WrongListing($"message {number} has {_content.Octets} octets, LIST told otherwise");
        }

        if (own.TryFinish(out LoadId id, out string hash))
        {
            _loop.Collected!.Found(_user, number <= _uniqueIds.Count ? _uniqueIds[number - 1] : "", id, hash);
        }
        else
        {
            _loop.Collected!.FoundUnknown(_user, number);
        }
    }

    private void WrongListing(string wrong)
    {
        _loop.Tally.ListingFaults++;
        _loop.Wrong($"{_user}: {wrong}");
    }
}
