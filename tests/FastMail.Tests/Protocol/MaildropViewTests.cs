using System.Numerics;
using FastMail.Protocol.Pop3;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Marks and totals, against a set that is counted anew each time.</summary>
public sealed class MaildropViewTests
{
    [Fact]
    public void Whatever_is_marked_and_unmarked_the_marks_and_totals_are_those_of_a_plain_set()
    {
        var seed = Environment.TickCount;
        var random = new Random(seed);
        var view = new MaildropView();
        for (var session = 0; session < 200; session++)
        {
            string[] texts = [.. Enumerable.Range(0, random.Next(200)).Select(i => new string('x', i) + "\r\n")];
            view.Open(new FakeMaildrop(texts));
            var marked = new HashSet<int>();
            for (var step = random.Next(100); step > 0; step--)
            {
                var index = random.Next(texts.Length + 1);
                if (index == texts.Length)
                {
                    view.Unmark();
                    marked.Clear();
                }
                else if (marked.Add(index))
                {
                    view.Mark(index);
                }
            }
            AssertSame(view, texts.Length, marked, seed);
            view.Close();
        }
    }

    private static void AssertSame(MaildropView view, int count, HashSet<int> marked, int seed)
    {
        int[] live = [.. Enumerable.Range(0, count).Except(marked)];
        Assert.True(live.Length == view.LiveCount, $"seed {seed}");
        Assert.True(live.Sum(view.Maildrop.Octets) == view.LiveOctets, $"seed {seed}");
        Assert.True(view.HasMarks == (marked.Count > 0), $"seed {seed}");
        Assert.True(Enumerable.Range(0, count).All(index => view.IsMarked(index) == marked.Contains(index)), $"seed {seed}");
        var bits = 0;
        foreach (var word in view.Marks)
        {
            bits += BitOperations.PopCount(word);
        }
        Assert.True(bits == marked.Count, $"seed {seed}");
    }
}
