using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Control;
using FastMail.Server.Maildrops;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Maildrops;

/// <summary>What becomes of the unique-ids that messages bring along.</summary>
public sealed class ImportTests
{
    private const string Text = "Subject: s\r\n\r\nonce\r\n";

    [Theory]
    [InlineData("with a space")]
    [InlineData("a.name.that.is.longer.than.seventy.characters.and.cannot.be.told.by.UIDL")]
    [InlineData("")]
    [InlineData(null)]
    public async Task An_import_that_skips_what_is_present_adds_a_message_once_though_its_unique_id_cannot_be_kept(
        string? beyond)
    {
        using LogScene scene = new(options: LogScene.Roomy);
        MailLog log = scene.Open();
        scene.OnGroup = Answer;
        using OpenStore store = new(log, NoAccounts, () => [], Allowance.Unset);
        string id = beyond ?? string.Create(CultureInfo.InvariantCulture, $"{log.UidValidity:x}.{ulong.MaxValue}");

        ImportResult first = await ImportAsync(store, id, skipsPresent: true);
        Assert.Equal(ImportOutcome.Renamed, first.Outcome);
        Assert.Equal(new ImportResult(ImportOutcome.Present, first.UniqueId), await ImportAsync(store, id, skipsPresent: true));
        Assert.Single(scene.Uids(1));

        ImportResult again = await ImportAsync(store, id, skipsPresent: false);
        Assert.Equal(ImportOutcome.Renamed, again.Outcome);
        Assert.NotEqual(first.UniqueId, again.UniqueId, StringComparer.Ordinal);
        Assert.Equal(2, scene.Uids(1).Length);
    }

    [Fact]
    public async Task A_frame_takes_the_largest_message_that_can_be_received()
    {
        const int Largest = 2047 << 20; // of limits.message_size
        Pipe pipe = new();
        Frames.Write(
            pipe.Writer, new ImportedMessage(null, null, ""), ControlJson.Default.ImportedMessage, Largest + 1000);
        await pipe.Writer.FlushAsync();
        (ImportedMessage? head, int textBytes) = await Frames.ReadHeadAsync(
            pipe.Reader, ControlJson.Default.ImportedMessage, CancellationToken.None);
        Assert.NotNull(head);
        Assert.Equal(Largest + 1000, textBytes); // the trace comes on top
    }

    [Fact]
    public async Task A_large_message_waits_for_a_place_that_another_one_has()
    {
        using LogScene scene = new(options: LogScene.Tiny with { MaxBodiesInFlight = 1 });
        MailLog log = scene.Open();
        scene.OnGroup = Answer;
        using OpenStore store = new(log, NoAccounts, () => [], Allowance.Unset);
        PendingMessage other = log.RentMessage();
        other.SetReversePath(default);
        other.SetTrace(default, 0);
        other.AppendBody(new byte[300_000]);
        Assert.False(log.HasRoomForBody);

        string text = string.Concat(Enumerable.Repeat("a line of a large message\r\n", 20_000));
        Task<ImportResult> importing = ImportAsync(store, "id", skipsPresent: true, text);
        await Task.Delay(300);
        Assert.False(importing.IsCompleted);
        log.Return(other);
        Assert.Equal(ImportOutcome.Added, (await importing).Outcome);
    }

    private static AccountDirectory NoAccounts() => throw new InvalidOperationException("an import knows its mailbox");

    private static async Task<ImportResult> ImportAsync(OpenStore store, string id, bool skipsPresent, string text = Text)
    {
        Pipe pipe = new();
        Frames.Write(
            pipe.Writer, new ImportedMessage(id, null, "a@b.example"), ControlJson.Default.ImportedMessage, text.Length);
        pipe.Writer.Write(System.Text.Encoding.ASCII.GetBytes(text));
        await pipe.Writer.CompleteAsync();
        return Assert.Single(await store.ImportAsync(
            1, "a@b.example", pipe.Reader, isFirst: true, skipsPresent, CancellationToken.None));
    }

    /// <summary>Each import learns the end of its messages.</summary>
    private static void Answer(PendingAppend first)
    {
        for (PendingAppend? append = first; append is not null;)
        {
            PendingAppend? next = append.Next;
            ((ILoopWork)append.Owner!).Run();
            append = next;
        }
    }
}
