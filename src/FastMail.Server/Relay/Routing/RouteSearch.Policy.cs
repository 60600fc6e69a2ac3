using System.Net;
using FastMail.Protocol.Dns;
using FastMail.Server.Relay.Sts;

namespace FastMail.Server.Relay.Routing;

/// <content>What the domain's own policy demands of TLS (RFC 8461).</content>
internal sealed partial class RouteSearch
{
    private readonly List<IPAddress> _policyHost = [];
    private DnsAnswer? _policyRecord;
    private string? _policyId; // of the policy to be fetched; null for none
    private StsPolicy? _policy;
    private bool _isPolicyUnknown; // there is one, and for reasons of ours it was not fetched

    private bool LooksForPolicy =>
        _router.Policies is not null && Target is { Via: RouteVia.Mx, Tls: null } && _router.Rules is { UsesSts: true, Tls: not TlsLevel.None };

    private string PolicyName => $"_mta-sts.{Domain}";

    /// <summary>Looks for a policy beside the mail exchangers.</summary>
    private void AskPolicyRecord()
    {
        if (LooksForPolicy)
        {
            Ask(PolicyName, DnsType.Txt, PolicyNumber);
        }
    }

    /// <summary>A policy that we do not have yet must be fetched, and its host be found for that.</summary>
    private void AskPolicyHost()
    {
        if (_policyRecord is not { } record)
        {
            return;
        }

        string? id = StsPolicy.IdIn(record);
        if (id is null)
        {
            bool isHeld = _router.Policies!.Find(Domain) is not null;
            Note(isHeld ? $"{PolicyName} names no policy; the one fetched before still holds" : $"{PolicyName} names no policy");
        }
        else if (_router.Policies!.MustFetch(Domain, id))
        {
            _policyId = id;
            Ask(StsFetcher.HostOf(Domain), DnsType.Aaaa, PolicyHostNumber);
            Ask(StsFetcher.HostOf(Domain), DnsType.A, PolicyHostNumber);
        }
    }

    private void FetchPolicy()
    {
        if (_policyId is null)
        {
            return;
        }

        _policyHost.RemoveAll(address => !AllowsPrivate && ForbiddenAddress.KindOf(address) is not null);
        IPAddress[] addresses = [.. _policyHost.DistinctBy(address => address.AddressFamily)];
        if (_router.Policies!.Holds(Domain, _policyId))
        {
            Note($"the policy {_policyId} of {Domain} is fetched anew; the one fetched before holds meanwhile");
            _router.Policies.Refresh(Domain, _policyId, addresses);
            return;
        }

        bool isBegun = _router.Policies.TryFetch(Domain, _policyId, addresses, why =>
        {
            Note(why.Length == 0 ? $"the policy {_policyId} of {Domain} was fetched" : $"the policy {_policyId} cannot be fetched: {why}");
            _pending--;
            GoOn();
        });
        _pending += isBegun ? 1 : 0;
        _isPolicyUnknown = !isBegun;
    }

    /// <summary>Reads the policy in force, and takes out of the list whom it does not name.</summary>
    private void ApplyPolicy()
    {
        _policy = LooksForPolicy ? _router.Policies!.Find(Domain) : null;
        if (_policy is null)
        {
            if (_isPolicyUnknown)
            {
                // Who fills the fetcher must not have other domains' mail go as if they had no policy.
                Fail(RouteFailure.Temporary(
                    "4.7.5", $"The MTA-STS policy of {Domain} cannot be fetched now: too many are being fetched"));
            }

            return;
        }

        Note($"MTA-STS of {Domain}: {_policy.Mode.ToString().ToLowerInvariant()}, {string.Join(", ", _policy.Patterns)}");
        foreach (HostFound host in _hosts.Where(host => !_policy.Names(host.Name)))
        {
            // RFC 8461 2: DANE is not overridden by a policy.
            bool isBarred = _policy.Mode == StsMode.Enforce && host.Tls.Level != TlsLevel.Dane;
            Note($"{host.Name} is not named by the policy{(isBarred ? ": not used" : "")}");
            host.IsUnusable |= isBarred;
        }

        if (_policy.Mode == StsMode.Enforce)
        {
            foreach (HostFound host in _hosts.Where(host => host.Tls.Level < TlsLevel.Verify))
            {
                host.Judge(new TlsDemand(TlsLevel.Verify, host.Name, $"MTA-STS of {Domain}", _router.Rules.TrustAnchors));
            }
        }
    }
}
