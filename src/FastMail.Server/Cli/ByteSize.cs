namespace FastMail.Server.Cli;

/// <summary>A size as the command line writes it: octets, or whole KiB, MiB, GiB.</summary>
internal readonly record struct ByteSize(long Octets)
{
    public override string ToString() => Octets switch
    {
        _ when Octets % (1 << 30) == 0 => $"{Octets >> 30}GiB",
        _ when Octets % (1 << 20) == 0 => $"{Octets >> 20}MiB",
        _ when Octets % (1 << 10) == 0 => $"{Octets >> 10}KiB",
        _ => $"{Octets}",
    };
}
