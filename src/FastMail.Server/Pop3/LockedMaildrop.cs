using System.Numerics;
using FastMail.Net;
using FastMail.Protocol.Pop3;
using FastMail.Storage;

namespace FastMail.Server.Pop3;

/// <summary>
/// A maildrop as one POP3 session sees it: the log's snapshot, its messages held, under the maildrop's lock. Belongs to that session from
/// login to its end. Loop thread only.
/// </summary>
internal sealed class LockedMaildrop : IMaildrop
{
    private readonly MailLog _log;
    private readonly ulong _mailboxId;
    private readonly OpenMaildrop _open;
    private readonly MaildropSnapshot _snapshot;
    private readonly MaildropLocks.Token _lock;
    private readonly ILoopWork _owner;
    private readonly Action _partRead;
    private readonly UnreadableMessages _unreadable;
    private bool _isClosing;
    private PendingExpunge? _expunge;
    private BodyReading? _reading; // of the message whose body is a file of its own
    private MessageFlags _readingFlags;
    private ulong _lastOpened; // unique-id; 0 for none

    private LockedMaildrop(
        MailLog log, ulong mailboxId, OpenMaildrop open, MaildropLocks.Token lockToken, ILoopWork owner,
        Action partRead, UnreadableMessages unreadable)
    {
        _unreadable = unreadable;
        _partRead = partRead;
        _log = log;
        _mailboxId = mailboxId;
        _open = open;
        _snapshot = open.Snapshot;
        _lock = lockToken;
        _owner = owner;
    }

    /// <summary>Takes the snapshot; null, and the lock is free again, when the disk fails under it.</summary>
    /// <param name="log">Where the messages are; it tells the operator what failed.</param>
    /// <param name="mailboxId">Whose they are.</param>
    /// <param name="lockToken">The lock, released by <see cref="Close"/>.</param>
    /// <param name="owner">Posted to the loop when a removal has ended.</param>
    /// <param name="partRead">Called, on a thread of the log, when a part of a large message has been read.</param>
    /// <param name="unreadable">What is not to be tried any more.</param>
    /// <param name="expireDays">Days that a message stays in it; null for ever.</param>
    public static LockedMaildrop? TryOpen(
        MailLog log, ulong mailboxId, MaildropLocks.Token lockToken, ILoopWork owner, Action partRead,
        UnreadableMessages unreadable, int? expireDays = null)
    {
        try
        {
            return new LockedMaildrop(log, mailboxId, log.OpenMaildrop(mailboxId), lockToken, owner, partRead, unreadable)
            {
                ExpireDays = expireDays,
            };
        }
        catch (IOException)
        {
            lockToken.Release();
            return null;
        }
    }

    /// <summary>A removal is under way.</summary>
    public bool IsRemoving => _expunge is not null;

    /// <summary>A part of a large message is being read.</summary>
    public bool IsReading { get; private set; }

    /// <inheritdoc/>
    public int? ExpireDays { get; init; }

    public int Count => _snapshot.Count;

    public int Octets(int index) => (int)_snapshot[index].Octets + (LacksEndOfHeader(_snapshot[index].Flags) ? 2 : 0);

    public bool TryWriteUniqueId(int index, Span<byte> destination, out int length) =>
        _open.TryWriteUniqueId(index, destination, out length);

    public ContentStatus TryOpen(int index, out MessageContent content)
    {
        ulong uid = _snapshot[index].Uid;
        if (_unreadable.Contains(_mailboxId, uid))
        {
            content = default;
            return ContentStatus.Damaged;
        }

        _lastOpened = uid;
        TakeInHand();
        _unreadable.Fault?.Invoke(uid);
        ReadStatus status = _open.TryRead(index, out StoredMessage message);
        if (status == ReadStatus.External)
        {
            content = default;
            _readingFlags = message.Flags;
            return TryBeginReading(message);
        }

        content = status == ReadStatus.Ok ? Content(message.Wire, message.HeaderWireBytes, 0, message.Flags) : default;
        return ContentStatusOf(status);
    }

    public void ReadOn()
    {
        IsReading = true;
        _reading!.ReadOn();
    }

    /// <summary>After <c>partRead</c> was called: the part, or why there is none.</summary>
    public ContentStatus EndReading(out MessageContent part)
    {
        IsReading = false;
        BodyReading reading = _reading!;
        part = Content(reading.Window, reading.HeaderWireBytes, reading.RestBytes, _readingFlags);
        return reading.Status == ReadStatus.NotFound ? ContentStatus.Gone : ContentStatusOf(reading.Status);
    }

    /// <summary>The session whose turn it is works on the message that it has opened last, if any.</summary>
    public void TakeInHand()
    {
        if (_lastOpened != 0)
        {
            _unreadable.TakeInHand(_mailboxId, _lastOpened);
        }
    }

    /// <summary>A mistake of ours has ended the session. True when the message it had opened is not tried any more.</summary>
    public bool NoteFault() => _lastOpened != 0 && _unreadable.Note(_mailboxId, _lastOpened);

    public void CloseContent()
    {
        _reading?.Close();
        _reading = null;
    }

    public void Remove(ReadOnlySpan<ulong> marks)
    {
        int count = 0;
        foreach (ulong word in marks)
        {
            count += BitOperations.PopCount(word);
        }

        var uids = new ulong[count];
        int filled = 0;
        for (int w = 0; w < marks.Length; w++)
        {
            for (ulong word = marks[w]; word != 0; word &= word - 1)
            {
                uids[filled++] = _snapshot[(w * 64) + BitOperations.TrailingZeroCount(word)].Uid;
            }
        }

        _expunge = new PendingExpunge(_mailboxId, uids, ExpungeReason.Pop3Quit) { Owner = _owner };
        _log.Append(_expunge);
    }

    /// <summary>False when the outcome is on its way to the owner; it comes in any case.</summary>
    public bool TryGiveUpRemoval() => _log.GiveUp(_expunge!);

    /// <summary>After the owner was posted: whether the messages are gone for good.</summary>
    public bool EndRemoval()
    {
        bool isDurable = _expunge!.Outcome == AppendOutcome.Durable;
        _expunge = null;
        if (_isClosing)
        {
            _lock.Release();
        }

        return isDurable;
    }

    public void Close()
    {
        CloseContent();
        _isClosing = true;
        if (!IsRemoving)
        {
            _lock.Release(); // else nobody may see the maildrop before it is known what is in it
        }
    }

    /// <summary>
    /// The connection is gone: no send touches a body any more. Later than <see cref="Close"/>, because the reply to
    /// QUIT leaves together with a body that was asked for just before.
    /// </summary>
    public void LetGo() => _open.Dispose();

    private ContentStatus TryBeginReading(in StoredMessage message)
    {
        _reading = _log.TryBeginReading(message, BodyUse.Fetch, _partRead);
        if (_reading is null)
        {
            return ContentStatus.Unavailable;
        }

        ReadOn();
        return ContentStatus.Pending;
    }

    private static bool LacksEndOfHeader(MessageFlags flags) => (flags & MessageFlags.NoEndOfHeader) != 0;

    private static MessageContent Content(ReadOnlyMemory<byte> wire, long headerBytes, long restBytes, MessageFlags flags) =>
        new(wire, headerBytes, restBytes)
        {
            LacksEndOfHeader = LacksEndOfHeader(flags),
            IsUtf8 = (flags & MessageFlags.SmtpUtf8) != 0,
        };

    private static ContentStatus ContentStatusOf(ReadStatus status) => status switch
    {
        ReadStatus.Ok => ContentStatus.Ok,
        ReadStatus.Damaged => ContentStatus.Damaged,
        _ => ContentStatus.Unavailable,
    };
}
