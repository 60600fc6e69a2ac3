using System.Net;

namespace FastMail.Net;

/// <summary>
/// Says which clients may connect. Owned by whoever starts the loop; asked on the loop thread only, for every accepted
/// connection that is not over the loop's own cap, before any handler or buffer is rented for it.
/// </summary>
public interface IAdmission
{
    /// <summary>
    /// Counts a connection of this client. False: it is told the factory's <see cref="IHandlerFactory.ClientRefusal"/>
    /// and closed, and nothing was counted.
    /// </summary>
    bool TryEnter(IPAddress client);

    /// <summary>A connection that entered is over.</summary>
    void Leave(IPAddress client);
}
