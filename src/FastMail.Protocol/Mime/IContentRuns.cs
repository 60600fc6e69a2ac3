namespace FastMail.Protocol.Mime;

/// <summary>Takes content run by run, in order. Entered by whoever makes the runs.</summary>
internal interface IContentRuns
{
    /// <summary>The next run. The span dies with the call.</summary>
    void Take(ReadOnlySpan<byte> run);
}
