namespace FastMail.Protocol.Sasl;

/// <summary>
/// The messages of SCRAM taken apart (RFC 5802 7). Stateless; views into the message, any thread. Never throws,
/// allocates or decides.
/// </summary>
internal static class ScramMessage
{
    /// <summary><c>gs2-header = gs2-cbind-flag "," [ authzid ] ","</c></summary>
    internal readonly ref struct Header
    {
        /// <summary>n: the client binds no channel; y: it would, but thinks we do not; p: it does.</summary>
        public byte Flag { get; init; }

        /// <summary>Name of the channel binding, exactly with flag p.</summary>
        public ReadOnlySpan<byte> BindingName { get; init; }

        /// <summary>For whom the client wants to act, escaped; empty when for itself.</summary>
        public ReadOnlySpan<byte> Authorize { get; init; }

        /// <summary>Octets of the header with its last comma.</summary>
        public int Bytes { get; init; }
    }

    public static bool TryReadHeader(ReadOnlySpan<byte> message, out Header header)
    {
        header = default;
        var flagEnd = message.IndexOf((byte)',');
        if (flagEnd <= 0)
        {
            return false;
        }
        var flag = message[..flagEnd];
        var isBinding = flag.StartsWith("p="u8) && flag.Length > 2;
        if (!isBinding && !flag.SequenceEqual("n"u8) && !flag.SequenceEqual("y"u8))
        {
            return false;
        }
        var rest = message[(flagEnd + 1)..];
        var end = rest.IndexOf((byte)',');
        if (end < 0 || (end > 0 && !rest[..end].StartsWith("a="u8)) || end == 2)
        {
            return false;
        }
        header = new Header
        {
            Flag = flag[0],
            BindingName = isBinding ? flag[2..] : default,
            Authorize = end > 0 ? rest[2..end] : default,
            Bytes = flagEnd + 1 + end + 1,
        };
        return true;
    }

    /// <summary>Takes <c>name "=" value</c> off the front, up to the next comma.</summary>
    public static bool TryTakeAttribute(ref ReadOnlySpan<byte> rest, byte name, out ReadOnlySpan<byte> value)
    {
        value = default;
        if (rest.Length < 2 || rest[0] != name || rest[1] != '=')
        {
            return false;
        }
        var end = rest.IndexOf((byte)',');
        value = end < 0 ? rest[2..] : rest[2..end];
        rest = end < 0 ? default : rest[(end + 1)..];
        return true;
    }

    /// <summary>
    /// <c>saslname</c>: <c>=2C</c> is a comma, <c>=3D</c> an equals sign, any other <c>=</c> is an error.
    /// </summary>
    public static bool TryUnescape(ReadOnlySpan<byte> name, Span<byte> destination, out int written)
    {
        written = 0;
        for (var at = 0; at < name.Length; at++, written++)
        {
            if (written == destination.Length)
            {
                return false;
            }
            if (name[at] != '=')
            {
                destination[written] = name[at];
                continue;
            }
            var code = name[at..];
            if (!code.StartsWith("=2C"u8) && !code.StartsWith("=3D"u8))
            {
                return false;
            }
            destination[written] = code[1] == '2' ? (byte)',' : (byte)'=';
            at += 2;
        }
        return true;
    }

    /// <summary><c>1*printable</c>: 0x21 to 0x7E without the comma.</summary>
    public static bool IsNonce(ReadOnlySpan<byte> nonce) =>
        !nonce.IsEmpty && !nonce.ContainsAnyExceptInRange((byte)'!', (byte)'~') && !nonce.Contains((byte)',');
}
