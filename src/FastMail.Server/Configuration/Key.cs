namespace FastMail.Server.Configuration;

/// <summary>
/// One thing that can be configured: its name, what it means and how its text is read. Declared once, as a static field
/// beside its section; immutable.
/// </summary>
/// <param name="Name"><c>section.key</c>, lower case, words joined by underscores.</param>
/// <param name="Default">The value as it would be written.</param>
/// <param name="Unit">What the value counts or looks like, e.g. <c>octets</c>, <c>ADDR:PORT</c>.</param>
/// <param name="About">One sentence for <c>fastmail config show</c> and <c>--help</c>.</param>
internal abstract record Key(string Name, string Default, string Unit, string About)
{
    /// <summary>Reads a text; throws <see cref="FormatException"/> with a text for the user.</summary>
    public abstract object Read(string text);
}

/// <summary>A key whose values are of type <typeparamref name="T"/>.</summary>
/// <param name="Name">See <see cref="Key"/>.</param>
/// <param name="Default">See <see cref="Key"/>.</param>
/// <param name="Unit">See <see cref="Key"/>.</param>
/// <param name="About">See <see cref="Key"/>.</param>
/// <param name="Parse">Throws <see cref="FormatException"/> with a text for the user.</param>
internal sealed record Key<T>(string Name, string Default, string Unit, string About, Func<string, T> Parse)
    : Key(Name, Default, Unit, About)
    where T : notnull
{
    public override object Read(string text) => Parse(text);
}
