using System.Net;
using System.Net.Sockets;
using FastMail.Protocol.Dns;
using FastMail.Server.Relay.Sts;

namespace FastMail.Server.Relay.Routing;

/// <content>What becomes of the hosts that were found: which addresses are used, and what their TLS must be like.</content>
internal sealed partial class RouteSearch
{
    private readonly List<string> _forbidden = []; // addresses that were not used, for people

    /// <summary>What is asked about one host.</summary>
    private enum HostQuestion
    {
        Four,
        Six,
        Certificate,

        /// <summary>The TLSA records of the name that its own is an alias of.</summary>
        AliasCertificate,

        /// <summary>That its name is an alias; the addresses behind that are not proved.</summary>
        AliasProof,
    }

    /// <summary>The operator has named the host or address, or has said that it may be a private one.</summary>
    private bool AllowsPrivate => Target.AllowsPrivate || Target.Via != RouteVia.Mx;

    private bool LooksForDane =>
        Target is { Via: RouteVia.Mx, Tls: null } && _router.Rules is { UsesDane: true, Tls: not TlsLevel.None };

    private void JudgeAddresses()
    {
        foreach (HostFound host in _hosts.ToArray()) // by preference, so a cut takes only those that come behind
        {
            if (host.Addresses.Find(IsOwn) is { } own)
            {
                if (CutAt(host.Preference, $"{host.Name} has the address {own}, which is this server"))
                {
                    return;
                }

                break;
            }

            foreach (IPAddress address in host.Addresses.ToArray())
            {
                string? kind = AllowsPrivate ? null : ForbiddenAddress.KindOf(address);
                Note(kind is null ? $"{host.Name} has the address {address}" : $"{host.Name} has the address {address}: {kind}, not used");
                if (kind is not null)
                {
                    host.Addresses.Remove(address);
                    _forbidden.Add($"{address} ({kind})");
                }
            }

            if (host.HasFailed)
            {
                Note($"{host.Name}: an address cannot be looked up, {WhyOf(host.Failure)}");
            }
        }

        bool hasFailed = _hosts.Exists(host => host.HasFailed);
        _hosts.RemoveAll(host => host.Addresses.Count == 0);
        if (_hosts.Count == 0)
        {
            Fail(hasFailed
                ? RouteFailure.Temporary("4.4.3", $"No address of {Subject} can be looked up")
                : WithoutAddress());
            return;
        }

        AskCertificates();
        FetchPolicy();
    }

    private RouteFailure WithoutAddress()
    {
        if (_forbidden.Count > 0)
        {
            return RouteFailure.Permanent(
                550, "5.4.4", $"Mail must not go to any address of {Subject}: {string.Join(", ", _forbidden)}");
        }

        if (Target.Via != RouteVia.Mx)
        {
            // A slip of the operator's, or a zone being edited: no reason to bounce all mail at once.
            return RouteFailure.Temporary("4.4.4", $"{Target.Host} has no address");
        }

        return _isImplicit
            ? RouteFailure.Permanent(550, "5.1.2", $"The domain {Domain} has neither MX nor address")
            : RouteFailure.Permanent(550, "5.4.4", $"No mail exchanger of {Domain} has an address");
    }

    private string Subject => Target.Via != RouteVia.Mx ? Target.Host
        : _isImplicit || Domain.StartsWith('[') ? Domain
        : $"the mail exchangers of {Domain}";

    private bool IsOwn(IPAddress address) =>
        _router.Own.IsListener(address, Target.Port) || (!AllowsPrivate && _router.Own.IsInterface(address));

    /// <summary>
    /// RFC 7672 2.2: TLSA records count where the way to the host's name, its addresses and they themselves are proved. A
    /// name that is an alias has those of the name behind it, or else its own; only its own when no more than the alias
    /// itself is proved (2.2.2).
    /// </summary>
    private void AskCertificates()
    {
        if (!LooksForDane || !_isMxProven)
        {
            return;
        }

        for (int i = 0; i < _hosts.Count; i++)
        {
            HostFound host = _hosts[i];
            int number = i * KindsOfHost;
            if (host.IsProven || host.Alias is not null)
            {
                Ask(CertificateNameOf(host.Name), DnsType.Tlsa, number + (int)HostQuestion.Certificate);
            }

            if (host.IsProven && host.Alias is { } alias)
            {
                Ask(CertificateNameOf(alias), DnsType.Tlsa, number + (int)HostQuestion.AliasCertificate);
            }
            else if (host.Alias is not null)
            {
                Ask(host.Name, DnsType.Cname, number + (int)HostQuestion.AliasProof);
            }
        }
    }

    private string CertificateNameOf(string host) => $"_{Target.Port}._tcp.{host}";

    private void JudgeCertificates()
    {
        foreach (HostFound host in _hosts)
        {
            TlsDemand plain = Plain(host.Name);
            host.Judge(DaneOf(host) is { } dane && dane.Level > plain.Level ? dane : plain);
        }

        ApplyPolicy();
        if (_route is null && _hosts.TrueForAll(host => host.IsUnusable))
        {
            Fail(RouteFailure.Temporary("4.7.5", _policy is { Mode: StsMode.Enforce }
                ? $"The MTA-STS policy of {Domain} leaves no host"
                : $"The TLSA records of {Subject} cannot be looked up"));
        }
    }

    /// <summary>What the TLSA records of a host demand; null when they demand nothing.</summary>
    private TlsDemand? DaneOf(HostFound host)
    {
        if (host is { IsProven: false, AliasProof: { IsAuthentic: false } proof })
        {
            if (proof.Outcome == DnsOutcome.Failed)
            {
                Note($"{host.Name}: that it is an alias cannot be looked up, it is not used");
                host.IsUnusable = true;
            }

            return null;
        }

        TlsDemand? ofAlias = host.Alias is { } alias ? DaneOf(host, alias, host.AliasCertificates) : null;
        return ofAlias is not null || host.IsUnusable ? ofAlias : DaneOf(host, host.Name, host.Certificates);
    }

    /// <param name="host">Whose.</param>
    /// <param name="domain">Under which name: its own, or the one that this is an alias of.</param>
    /// <param name="certificates">What was found there; null when nobody has looked.</param>
    private TlsDemand? DaneOf(HostFound host, string domain, DnsAnswer? certificates)
    {
        if (certificates is not { } answer || (answer.Outcome != DnsOutcome.Failed && !answer.IsAuthentic))
        {
            return null;
        }

        string name = CertificateNameOf(domain);
        if (answer.Outcome == DnsOutcome.Failed)
        {
            // RFC 7672 2.1.2: who can suppress the answer must not be able to suppress TLS with it.
            Note($"{name}: the TLSA records cannot be looked up, {host.Name} is not used");
            host.IsUnusable = true;
            return null;
        }

        TlsaRecord[] records = [.. answer.Data.Select(data => TlsaRecord.Of(data)).OfType<TlsaRecord>()];
        if (records.Length == 0)
        {
            return null;
        }

        return Array.Exists(records, DaneCheck.IsUsable)
            ? new TlsDemand(TlsLevel.Dane, domain, $"TLSA of {name}", _router.Rules.TrustAnchors, records, host.Name)
            : new TlsDemand(TlsLevel.Encrypt, domain, $"TLSA of {name}, none of them usable", _router.Rules.TrustAnchors);
    }

    /// <summary>What the line or the setting demands.</summary>
    private TlsDemand Plain(string host)
    {
        (TlsLevel level, string reason) = Target.Tls is { } said
            ? (said, "tls= of the route")
            : _plan.Credentials is not null && !IsLoopback(Target.Address)
                ? (TlsLevel.Verify, "a password is sent there")
                : (_router.Rules.Tls, "relay.tls");
        if (Target.IsImplicitTls && level < TlsLevel.Encrypt)
        {
            (level, reason) = (TlsLevel.Encrypt, "smtps");
        }

        return new TlsDemand(level, Target.CertificateName ?? host, reason, _router.Rules.TrustAnchors)
        {
            IsNameSure = Target.Via != RouteVia.Mx || Target.CertificateName is not null || _isMxProven,
        };
    }

    private void Conclude()
    {
        RouteHost[] hosts =
        [
            .. _hosts.Where(host => !host.IsUnusable).Select(host => new RouteHost(
                host.Name,
                host.Preference,
                [
                    .. host.Addresses.Select(
                        address => new NextHop(new IPEndPoint(address, Target.Port), host.Name, host.Tls, Target.IsImplicitTls)
                        {
                            ClientCertificate = _router.Rules.ClientCertificate,
                        }),
                ])),
        ];
        _route = To(hosts);
    }

    private static bool IsLoopback(IPAddress? address) => address is not null && IPAddress.IsLoopback(address);

    /// <summary>A host and what was found out about it. Belongs to its search.</summary>
    private sealed class HostFound
    {
        private bool _isEachProven = true;

        public HostFound(string name, int preference)
        {
            Name = name;
            Preference = preference;
        }

        public string Name { get; }

        public int Preference { get; }

        public List<IPAddress> Addresses { get; } = [];

        /// <summary>Why an address could not be looked up; means nothing unless <see cref="HasFailed"/>.</summary>
        public DnsAnswer Failure { get; private set; } = DnsAnswer.Failed;

        public bool HasFailed { get; private set; }

        /// <summary>Its addresses, those that were found, are proved by DNSSEC.</summary>
        public bool IsProven => Addresses.Count > 0 && _isEachProven;

        /// <summary>The name that its own is an alias of; null when it is none.</summary>
        public string? Alias { get; private set; }

        public DnsAnswer? Certificates { get; private set; }

        public DnsAnswer? AliasCertificates { get; private set; }

        public DnsAnswer? AliasProof { get; private set; }

        public bool IsUnusable { get; set; }

        public TlsDemand Tls { get; private set; } = new(TlsLevel.None, "", "");

        public void Take(HostQuestion question, DnsAnswer answer, int most)
        {
            switch (question)
            {
                case HostQuestion.Certificate:
                    Certificates = answer;
                    return;
                case HostQuestion.AliasCertificate:
                    AliasCertificates = answer;
                    return;
                case HostQuestion.AliasProof:
                    AliasProof = answer;
                    return;
                default:
                    break;
            }

            if (answer.Outcome == DnsOutcome.Failed)
            {
                // It leaves the proof of the other family as it is: who can suppress an answer must not be able to
                // suppress TLS with it (RFC 7672 2.1.2).
                HasFailed = true;
                Failure = answer;
                return;
            }

            _isEachProven &= answer.IsAuthentic;
            Alias ??= answer.Alias;
            Addresses.AddRange(answer.Data.Take(most).Select(data => new IPAddress(data)));
        }

        public void Judge(TlsDemand demand) => Tls = demand;
    }
}
