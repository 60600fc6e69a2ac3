using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using FastMail.Storage;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Properties; a failure prints the seed that replays it.</summary>
public sealed class PropertyTests
{
    [Fact]
    public void A_record_header_is_read_as_it_was_written_and_every_flipped_bit_is_seen()
    {
        Prop.ForAll<ulong, uint, PositiveInt>((lsn, salt, content) =>
        {
            RecordHeader header = new()
            {
                Type = RecordType.Message,
                Flags = (byte)salt,
                Lsn = lsn,
                Seq = lsn ^ salt,
                TimestampMicros = (long)(lsn / 3),
                BodyBytes = (uint)content.Get,
                BodyCrc = salt * 7,
            };
            header.TotalBytes = (uint)RecordHeader.TotalFor(header.ContentBytes); // a flag may say: no body in here
            byte[] octets = new byte[RecordHeader.Bytes];
            header.Write(octets, salt);
            bool isRead = RecordHeader.TryRead(octets, salt, lsn, header.TotalBytes, out RecordHeader read)
                && MemoryMarshal.AsBytes([read]).SequenceEqual(octets)
                && MemoryMarshal.AsBytes([header]).SequenceEqual(octets);
            bool isTied = !RecordHeader.TryRead(octets, salt + 1, lsn, header.TotalBytes, out _)
                && !RecordHeader.TryRead(octets, salt, lsn + 1, header.TotalBytes, out _)
                && !RecordHeader.TryRead(octets, salt, lsn, header.TotalBytes - 1, out _);
            bool isGuarded = true;
            for (int bit = 0; bit < octets.Length * 8; bit++)
            {
                octets[bit / 8] ^= (byte)(1 << (bit % 8));
                isGuarded &= !RecordHeader.TryRead(octets, salt, lsn, header.TotalBytes, out _);
                octets[bit / 8] ^= (byte)(1 << (bit % 8));
            }

            return isRead && isTied && isGuarded;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void The_envelope_comes_back_as_it_was_given()
    {
        using LogScene scene = new(options: LogScene.Roomy);
        MailLog log = scene.Open();
        Prop.ForAll<byte[], NonEmptyArray<byte[]>, byte[]>((path, addresses, body) =>
        {
            PendingMessage message = log.RentMessage();
            List<string> expected = [$"reversePath={Encoding.Latin1.GetString(path)}"];
            message.SetReversePath(path);
            Dictionary<ulong, ulong> uids = [];
            for (int i = 0; i < addresses.Get.Length; i++)
            {
                ulong mailbox = (ulong)i * 977;
                string address = Encoding.Latin1.GetString(addresses.Get[i]);
                ulong uid = (ulong)log.Snapshot(mailbox).Count + 1;
                Assert.True(message.TryAddLocalRecipient(mailbox, addresses.Get[i]));
                expected.Add(string.Create(CultureInfo.InvariantCulture, $"local {mailbox}/{uid}={address}"));
                message.AddRelayRecipient(addresses.Get[i]);
                expected.Add(string.Create(CultureInfo.InvariantCulture, $"relay {i}={address}"));
            }

            message.SetTrace("T: t\r\n"u8, 0);
            message.AppendBody(body);
            message.AppendBody("\r\n.\r\n"u8);
            message.Seal(new BodyFacts { Octets = body.Length + 2, HeaderWireBytes = 0, Flags = MessageFlags.None });
            Assert.Equal(AppendOutcome.Durable, scene.Append(message));
            Assert.Equal(ReadStatus.Ok, log.TryRead(message.Lsn, out StoredMessage stored));
            log.Return(message);
            return MetaText.Of(stored.Meta.Span).SequenceEqual(expected, StringComparer.Ordinal)
                && stored.Wire.Span[6..^5].SequenceEqual(body);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Ranges_name_the_same_unique_ids()
    {
        Prop.ForAll<ushort[]>(numbers =>
        {
            ulong[] uids = [.. numbers.Select(n => (ulong)n % 50)];
            UidRange[] ranges = UidRange.Collect(uids);
            IEnumerable<ulong> named = ranges.SelectMany(
                r => Enumerable.Range(0, (int)r.Count).Select(i => r.First + (ulong)i));
            return named.SequenceEqual(uids.Distinct().Order());
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void The_log_agrees_with_a_plain_model_through_any_sequence_of_work_and_restarts()
    {
        Gen<int[]> steps = Gen.Choose(0, 999_999).ArrayOf(40);
        Prop.ForAll(steps.ToArbitrary(), numbers =>
        {
            using LogScene scene = new(options: LogScene.Tiny);
            scene.Open();
            Dictionary<ulong, SortedDictionary<ulong, string>> model = [];
            Dictionary<ulong, ulong> next = [];
            foreach (int number in numbers)
            {
                Step(scene, model, next, number);
            }

            return model.All(m => m.Value.Keys.SequenceEqual(scene.Uids(m.Key))
                && m.Value.Values.SequenceEqual(scene.Bodies(m.Key), StringComparer.Ordinal)
                && Octets(scene, m.Key) == scene.Log!.Snapshot(m.Key).Octets);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(25));
    }

    private static void Step(
        LogScene scene, Dictionary<ulong, SortedDictionary<ulong, string>> model, Dictionary<ulong, ulong> next,
        int number)
    {
        ulong mailbox = (ulong)(number % 3);
        switch (number / 3 % 10)
        {
            case 0:
                scene.Reopen();
                break;
            case 1 or 2:
                ulong[] gone =
                [
                    .. model.GetValueOrDefault(mailbox, []).Keys.Where(uid => (uid + (ulong)number) % 3 != 0),
                ];
                Assert.Equal(AppendOutcome.Durable, scene.Expunge(mailbox, gone));
                foreach (ulong uid in gone)
                {
                    model[mailbox].Remove(uid);
                }

                break;
            default:
                string body = number.ToString(CultureInfo.InvariantCulture) + new string('b', number % 30_000);
                scene.Deliver(body, mailbox, mailbox + 1);
                foreach (ulong recipient in (ulong[])[mailbox, mailbox + 1])
                {
                    ulong uid = next.GetValueOrDefault(recipient, 1UL);
                    next[recipient] = uid + 1;
                    model.TryAdd(recipient, []);
                    model[recipient].Add(uid, body);
                }

                break;
        }
    }

    private static long Octets(LogScene scene, ulong mailbox)
    {
        MaildropSnapshot snapshot = scene.Log!.Snapshot(mailbox);
        long octets = 0;
        for (int i = 0; i < snapshot.Count; i++)
        {
            octets += snapshot[i].Octets;
        }

        return octets;
    }
}
