namespace FastMail.LoadTest.Pop3;

/// <summary>The server answered -ERR, or something that is not POP3; the message quotes it.</summary>
public sealed class Pop3Exception : Exception
{
    public Pop3Exception()
    {
    }

    public Pop3Exception(string message)
        : base(message)
    {
    }

    public Pop3Exception(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
