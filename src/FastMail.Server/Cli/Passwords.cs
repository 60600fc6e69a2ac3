using System.Security.Cryptography;
using System.Text;

namespace FastMail.Server.Cli;

/// <summary>Passwords made for, and asked of, the person at the command line.</summary>
internal static class Passwords
{
    private const string Letters = "abcdefghjkmnpqrstuvwxyz23456789"; // none that is misread for another

    /// <summary>79 bits in four groups of four.</summary>
    public static string MakeRandom() => string.Join('-', Enumerable.Range(0, 4).Select(_ => RandomNumberGenerator.GetString(Letters, 4)));

    /// <summary>Asks twice without echo until both answers agree; empty when the person gave up.</summary>
    public static string Ask()
    {
        while (true)
        {
            string first = ReadHidden("Password: ");
            if (first.Length == 0 || ReadHidden("Again: ") == first)
            {
                return first;
            }

            Console.Error.WriteLine("The two differ; once more, or an empty line to give up.");
        }
    }

    private static string ReadHidden(string prompt)
    {
        Console.Error.Write(prompt);
        var line = new StringBuilder();
        while (true)
        {
            ConsoleKeyInfo key = Console.ReadKey(intercept: true);
            if (key.Key == ConsoleKey.Enter)
            {
                Console.Error.WriteLine();
                return line.ToString();
            }

            if (key.Key == ConsoleKey.Backspace)
            {
                line.Length = Math.Max(0, line.Length - 1);
            }
            else if (!char.IsControl(key.KeyChar))
            {
                line.Append(key.KeyChar);
            }
        }
    }
}
