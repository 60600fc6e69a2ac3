using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Pop3;

/// <summary>Takes what sessions collect. Any thread.</summary>
internal interface ICollected
{
    /// <summary>A message was retrieved to its end.</summary>
    void Found(string maildrop, string uniqueId, in LoadId id, string hash);

    /// <summary>One without a load id was.</summary>
    void FoundUnknown(string maildrop, int messageNumber);

    /// <summary>Messages were removed from the maildrop, and the server has said so.</summary>
    void Emptied(string maildrop)
    {
    }
}
