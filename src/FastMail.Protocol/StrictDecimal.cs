namespace FastMail.Protocol;

/// <summary>
/// Numbers as the protocols write them: <c>1*DIGIT</c>, ASCII, no sign, no blank (RFC 1870 3, RFC 1939 3, RFC 3030 2).
/// Stateless; any thread. <c>long.TryParse</c> takes signs and blanks and gives up on overflow.
/// </summary>
internal static class StrictDecimal
{
    /// <summary>
    /// Parses the whole of <paramref name="text"/>; a number too large becomes <see cref="long.MaxValue"/>.
    /// </summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out long value)
    {
        value = 0;
        if (text.IsEmpty)
        {
            return false;
        }
        long sum = 0;
        foreach (var octet in text)
        {
            var digit = (uint)octet - '0';
            if (digit > 9)
            {
                return false;
            }
            sum = sum > (long.MaxValue - digit) / 10 ? long.MaxValue : (sum * 10) + digit;
        }
        value = sum;
        return true;
    }
}
