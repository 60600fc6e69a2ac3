using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Xunit;

namespace FastMail.Tests.Net.Tls;

/// <summary>
/// A TLS 1.3 client by the library below SslStream, which can say KeyUpdate (RFC 8446 4.6.3): what it encrypts is kept until
/// the test sends it. Owned by one test, on its thread.
/// </summary>
internal sealed partial class KeyUpdates : IDisposable
{
    private readonly NetworkStream _transport;
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly nint _context;
    private readonly nint _tls;
    private readonly nint _received; // a BIO, as the next one; both belong to _tls
    private readonly nint _encrypted;

    /// <param name="transport">Connected; behind this the handshake is over.</param>
    public KeyUpdates(NetworkStream transport)
    {
        _transport = transport;
        _context = NewContext(ClientMethod());
        _tls = New(_context);
        _received = NewBio(MemoryBio());
        _encrypted = NewBio(MemoryBio());
        SetBio(_tls, _received, _encrypted);
        SetConnectState(_tls);
        while (DoHandshake(_tls) != 1)
        {
            Send();
            Receive();
        }

        Send();

        Assert.Equal("TLSv1.3", Marshal.PtrToStringAnsi(Version(_tls)));
    }

    /// <summary>All that was encrypted, in one call.</summary>
    public void Send()
    {
        using MemoryStream records = new();
        for (int octets = Read(_encrypted, _buffer, _buffer.Length); octets > 0; octets = Read(_encrypted, _buffer, _buffer.Length))
        {
            records.Write(_buffer, 0, octets);
        }

        _transport.Write(records.ToArray());
    }

    public void Encrypt(string text) => Assert.Equal(text.Length, WriteTls(_tls, Encoding.ASCII.GetBytes(text), text.Length));

    public void EncryptKeyUpdate()
    {
        const int NotRequested = 0;
        Assert.Equal(1, KeyUpdate(_tls, NotRequested));
        Assert.Equal(1, DoHandshake(_tls));
    }

    /// <summary>A line without its CRLF.</summary>
    public string ReadLine()
    {
        StringBuilder line = new();
        byte[] octet = new byte[1];
        while (octet[0] != '\n')
        {
            while (ReadTls(_tls, octet, 1) != 1)
            {
                Receive();
            }

            line.Append((char)octet[0]);
        }

        return line.ToString().TrimEnd('\r', '\n');
    }

    public void Dispose()
    {
        Free(_tls);
        FreeContext(_context);
        _transport.Dispose();
    }

    private void Receive()
    {
        int octets = _transport.Read(_buffer);
        Assert.NotEqual(0, octets);
        Assert.Equal(octets, Write(_received, _buffer, octets));
    }

    private const string Library = "libssl.so.3";

    [LibraryImport(Library, EntryPoint = "TLS_client_method")]
    private static partial nint ClientMethod();

    [LibraryImport(Library, EntryPoint = "SSL_CTX_new")]
    private static partial nint NewContext(nint method);

    [LibraryImport(Library, EntryPoint = "SSL_CTX_free")]
    private static partial void FreeContext(nint context);

    [LibraryImport(Library, EntryPoint = "SSL_new")]
    private static partial nint New(nint context);

    [LibraryImport(Library, EntryPoint = "SSL_free")]
    private static partial void Free(nint tls);

    [LibraryImport(Library, EntryPoint = "SSL_set_bio")]
    private static partial void SetBio(nint tls, nint read, nint write);

    [LibraryImport(Library, EntryPoint = "SSL_set_connect_state")]
    private static partial void SetConnectState(nint tls);

    [LibraryImport(Library, EntryPoint = "SSL_do_handshake")]
    private static partial int DoHandshake(nint tls);

    [LibraryImport(Library, EntryPoint = "SSL_get_version")]
    private static partial nint Version(nint tls);

    [LibraryImport(Library, EntryPoint = "SSL_key_update")]
    private static partial int KeyUpdate(nint tls, int type);

    [LibraryImport(Library, EntryPoint = "SSL_read")]
    private static partial int ReadTls(nint tls, byte[] into, int length);

    [LibraryImport(Library, EntryPoint = "SSL_write")]
    private static partial int WriteTls(nint tls, byte[] octets, int length);

    [LibraryImport("libcrypto.so.3", EntryPoint = "BIO_s_mem")]
    private static partial nint MemoryBio();

    [LibraryImport("libcrypto.so.3", EntryPoint = "BIO_new")]
    private static partial nint NewBio(nint type);

    [LibraryImport("libcrypto.so.3", EntryPoint = "BIO_read")]
    private static partial int Read(nint bio, byte[] into, int length);

    [LibraryImport("libcrypto.so.3", EntryPoint = "BIO_write")]
    private static partial int Write(nint bio, byte[] octets, int length);
}
