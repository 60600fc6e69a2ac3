using System.Runtime.CompilerServices;
using FastMail.Server.Accounts;

namespace FastMail.Tests;

/// <summary>The tests run under the culture of the program, whoever starts them. Once, before the first of them.</summary>
internal static class Locale
{
    [ModuleInitializer]
    internal static void Forget() => Nfc.ForgetLocale();
}
