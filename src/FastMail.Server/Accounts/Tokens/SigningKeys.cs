using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json;

namespace FastMail.Server.Accounts.Tokens;

/// <summary>
/// The public keys of one JSON Web Key Set (RFC 7517) that RS256, PS256 and ES256 can use. Immutable, never disposed
/// (whoever verifies may still hold it); any thread.
/// </summary>
internal sealed class SigningKeys
{
    private const int MostKeys = 64;
    private const int LeastRsaBits = 2048; // RFC 7518 3.3

    private readonly List<(string? Id, string? Algorithm, AsymmetricAlgorithm Key)> _keys = [];

    private SigningKeys()
    {
    }

    /// <summary>Reads a set; keys of other kinds are passed over.</summary>
    /// <exception cref="FormatException">It is no key set, or holds no key that can be used.</exception>
    public static SigningKeys Parse(ReadOnlyMemory<byte> json)
    {
        var keys = new SigningKeys();
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            foreach (JsonElement key in document.RootElement.GetProperty("keys").EnumerateArray().Take(MostKeys))
            {
                keys.Add(key);
            }
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException
            or CryptographicException or FormatException)
        {
            throw new FormatException("not a key set: " + e.Message, e);
        }

        return keys._keys.Count > 0 ? keys : throw new FormatException("no RSA or P-256 key for signatures in the key set");
    }

    /// <summary>A key of that name, or any key when the token names none.</summary>
    public bool Has(string? id) => _keys.Exists(key => id is null || key.Id == id);

    public bool Verify(string algorithm, string? id, ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature)
    {
        foreach ((string? keyId, string? keyAlgorithm, AsymmetricAlgorithm key) in _keys)
        {
            if ((id is not null && keyId != id) || (keyAlgorithm is not null && keyAlgorithm != algorithm))
            {
                continue;
            }

            bool isRight = (algorithm, key) switch
            {
                ("RS256", RSA rsa) => Verify(rsa, signed, signature, RSASignaturePadding.Pkcs1),
                ("PS256", RSA rsa) => Verify(rsa, signed, signature, RSASignaturePadding.Pss),
                ("ES256", ECDsa ecdsa) => Verify(ecdsa, signed, signature),
                _ => false, // the key decides what it is good for, not the token: no "none", no HMAC with a public key
            };
            if (isRight)
            {
                return true;
            }
        }

        return false;
    }

    private static bool Verify(RSA key, ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature, RSASignaturePadding padding)
    {
        lock (key) // instances are not for several threads at once
        {
            return key.VerifyData(signed, signature, HashAlgorithmName.SHA256, padding);
        }
    }

    private static bool Verify(ECDsa key, ReadOnlySpan<byte> signed, ReadOnlySpan<byte> signature)
    {
        lock (key)
        {
            return key.VerifyData(
                signed, signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        }
    }

    private void Add(JsonElement json)
    {
        if (Text(json, "use") is not (null or "sig"))
        {
            return;
        }

        AsymmetricAlgorithm? key = null;
        if (Text(json, "kty") == "RSA")
        {
            RSA rsa = RSA.Create(new RSAParameters { Modulus = Octets(json, "n"), Exponent = Octets(json, "e") });
            key = rsa.KeySize >= LeastRsaBits ? rsa : null;
        }
        else if (Text(json, "kty") == "EC" && Text(json, "crv") == "P-256")
        {
            key = ECDsa.Create(new ECParameters
            {
                Curve = ECCurve.NamedCurves.nistP256,
                Q = new ECPoint { X = Octets(json, "x"), Y = Octets(json, "y") },
            });
        }

        if (key is not null)
        {
            _keys.Add((Text(json, "kid"), Text(json, "alg"), key));
        }
    }

    private static string? Text(JsonElement json, string name) =>
        json.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    private static byte[] Octets(JsonElement json, string name) => Base64Url.DecodeFromChars(Text(json, name) ?? "");
}
