using Xunit;

namespace FastMail.Tests;

/// <summary>A test that means something only in an optimised build; elsewhere it is skipped, aloud.</summary>
internal sealed class ReleaseFactAttribute : FactAttribute
{
    public ReleaseFactAttribute()
    {
#if DEBUG
        Skip = "an unoptimised build allocates where the real one does not; run with -c Release";
#endif
    }
}
