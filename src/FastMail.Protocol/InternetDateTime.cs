namespace FastMail.Protocol;

/// <summary>
/// Dates as RFC 3339 5.6 writes them: <c>date-time</c>, e.g. <c>2027-01-31T08:00:00Z</c> or
/// <c>2027-01-31T08:00:00.5+01:00</c>. Stateless; any thread. <c>DateTimeOffset</c> takes far more than the grammar and
/// has no leap seconds.
/// </summary>
internal static class InternetDateTime
{
    /// <summary>The longest that <see cref="Write"/> writes, octets.</summary>
    public const int MaxBytes = 20;

    private const int DateTimeBytes = 19; // up to the seconds
    private const int OffsetBytes = 6;
    private const int DaySeconds = 86_400;
    private const int CycleYears = 400; // of the Gregorian calendar
    private const int CycleDays = 146_097;
    private const int EpochDay = 719_162; // DateOnly's number of 1970-01-01

    /// <summary>
    /// Parses the whole of <paramref name="text"/> to seconds since 1970 UTC, a fraction rounded up. A leap second, which
    /// can only be the last of a month, is the second after it.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out long seconds)
    {
        seconds = 0;
        if (text.Length <= DateTimeBytes || !TryParseDay(text[..10], out var day) || (text[10] | 0x20) != 't'
            || !TryParseTime(text.Slice(11, 8), out var time))
        {
            return false;
        }
        var rest = text[DateTimeBytes..];
        if (!TryTakeFraction(ref rest, out var hasFraction) || !TryParseOffset(rest, out var offset))
        {
            return false;
        }
        var isLeap = time % 60 == 0 && text[17] == '6';
        seconds = (day * DaySeconds) + time - offset + (hasFraction ? 1 : 0);
        return !isLeap || IsFirstOfMonth(seconds - (hasFraction ? 1 : 0));
    }

    /// <summary>Writes a time of the years 1 to 9999 in UTC and whole seconds; returns its length.</summary>
    public static int Write(Span<byte> destination, DateTimeOffset time)
    {
        _ = time.UtcDateTime.TryFormat(destination, out var length, "s", System.Globalization.CultureInfo.InvariantCulture);
        destination[length] = (byte)'Z';
        return length + 1;
    }

    /// <summary><c>date-fullyear "-" date-month "-" date-mday</c> as days since 1970.</summary>
    private static bool TryParseDay(ReadOnlySpan<byte> text, out long day)
    {
        day = 0;
        if (text[4] != '-' || text[7] != '-' || !TryParseNumber(text[..4], out var year)
            || !TryParseNumber(text.Slice(5, 2), out var month) || !TryParseNumber(text[8..], out var dayOfMonth)
            || month is < 1 or > 12)
        {
            return false;
        }
        var inCycle = 2000 + (year % CycleYears); // the calendar repeats itself, and DateOnly has no year 0
        if (dayOfMonth < 1 || dayOfMonth > DateTime.DaysInMonth(inCycle, month))
        {
            return false;
        }
        day = new DateOnly(inCycle, month, dayOfMonth).DayNumber - EpochDay + ((year - inCycle) / CycleYears * CycleDays);
        return true;
    }

    /// <summary><c>time-hour ":" time-minute ":" time-second</c> as seconds; second 60 is the first of the next minute.</summary>
    private static bool TryParseTime(ReadOnlySpan<byte> text, out int time)
    {
        time = 0;
        if (text[2] != ':' || text[5] != ':' || !TryParseNumber(text[..2], out var hour)
            || !TryParseNumber(text.Slice(3, 2), out var minute) || !TryParseNumber(text[6..], out var second)
            || hour > 23 || minute > 59 || second > 60)
        {
            return false;
        }
        time = (((hour * 60) + minute) * 60) + second;
        return true;
    }

    /// <summary><c>["." 1*DIGIT]</c></summary>
    private static bool TryTakeFraction(ref ReadOnlySpan<byte> text, out bool isAny)
    {
        isAny = false;
        if (text.IsEmpty || text[0] != '.')
        {
            return true;
        }
        var digits = text[1..];
        var end = digits.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        if (end <= 0)
        {
            return false; // none, or nothing behind them
        }
        isAny = digits[..end].IndexOfAnyExcept((byte)'0') >= 0;
        text = digits[end..];
        return true;
    }

    /// <summary><c>"Z" / ("+" / "-") time-hour ":" time-minute</c> as seconds.</summary>
    private static bool TryParseOffset(ReadOnlySpan<byte> text, out int offset)
    {
        offset = 0;
        if (text.Length == 1)
        {
            return (text[0] | 0x20) == 'z';
        }
        if (text.Length != OffsetBytes || text[0] is not ((byte)'+' or (byte)'-') || text[3] != ':'
            || !TryParseNumber(text.Slice(1, 2), out var hour) || !TryParseNumber(text[4..], out var minute)
            || hour > 23 || minute > 59)
        {
            return false;
        }
        offset = ((hour * 60) + minute) * (text[0] == '-' ? -60 : 60);
        return true;
    }

    private static bool TryParseNumber(ReadOnlySpan<byte> digits, out int number)
    {
        var isNumber = StrictDecimal.TryParse(digits, out var value);
        number = (int)value; // of four digits at most
        return isNumber;
    }

    private static bool IsFirstOfMonth(long seconds)
    {
        var (day, rest) = Math.DivRem(seconds, DaySeconds);
        var inCycle = (int)(((day % CycleDays) + CycleDays) % CycleDays);
        return rest == 0 && DateOnly.FromDayNumber(EpochDay + inCycle).Day == 1;
    }
}
