using System.Text;
using FastMail.Server.Maildrops;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Maildrops;

/// <summary>An imported message has the unique-id it brought along, or for the moment none.</summary>
public sealed class UniqueIdTests
{
    [Fact]
    public void While_the_disk_cannot_give_the_id_of_an_imported_message_it_has_no_other()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        scene.Open();
        _ = Import(scene, "theirs");
        using OpenMaildrop maildrop = scene.Log!.OpenMaildrop(1);
        Assert.Equal("theirs", UniqueId.Of(maildrop, 0));
        Assert.True(UniqueIds.Read(scene.Log, 1).Contains("theirs"));

        disk.Script = (call, name) => call == "populate" && name.EndsWith(".seg", StringComparison.Ordinal) ? 5 : 0; // EIO
        Assert.Throws<IOException>(() => UniqueId.Of(maildrop, 0));
        Assert.Throws<IOException>(() => UniqueIds.Read(scene.Log, 1));

        disk.Script = static (_, _) => 0;
        Assert.Equal("theirs", UniqueId.Of(maildrop, 0));
    }

    [Fact]
    public void With_a_damaged_envelope_it_is_listed_under_an_id_of_this_store()
    {
        using LogScene scene = new();
        scene.Open();
        ulong lsn = Import(scene, "theirs");
        using (FileStream file = new(scene.FirstSegment, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
        {
            file.Position = (long)lsn + RecordHeader.Bytes + 1;
            file.WriteByte(0xFF);
        }

        using OpenMaildrop maildrop = scene.Log!.OpenMaildrop(1);
        Assert.Equal(ReadStatus.Damaged, maildrop.TryRead(0, out _));
        Assert.Equal($"{scene.Log.UidValidity:x}.1", UniqueId.Of(maildrop, 0));
    }

    private static ulong Import(LogScene scene, string id)
    {
        PendingMessage message = scene.Log!.RentMessage();
        message.SetReversePath("sender@example.org"u8);
        Assert.True(message.TryAddLocalRecipient(1, "user1@example.net"u8));
        message.SetImport(Encoding.ASCII.GetBytes(id), arrivalMicros: 0, number: 0, nextUid: 1);
        message.SetTrace(default, 0);
        byte[] wire = "Subject: s\r\n\r\nx\r\n.\r\n"u8.ToArray();
        message.AppendBody(wire);
        message.Seal(new BodyFacts { Octets = wire.Length - 3, HeaderWireBytes = 14, Flags = MessageFlags.None });
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));
        ulong lsn = message.Lsn;
        scene.Log.Return(message);
        return lsn;
    }
}
