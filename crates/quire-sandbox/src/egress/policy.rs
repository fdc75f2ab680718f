//! What a task may reach, by name and port. A name is judged before anything is asked of a resolver: a question to a name
//! server is a message to whoever runs it.

use super::address::{self, Reach};
use super::host::{Destination, Host, split};
use super::{Allow, EgressError, Policy, Refusal};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{PoisonError, RwLock};

/// The package registries that every task may reach unless the person says otherwise: hosts that packages are downloaded
/// from, as their package managers are set when they are new.
///
/// Left out on purpose: the hosts that only take uploads (upload.pypi.org, crates.io, hex.pm, www.nuget.org), and GitHub and its
/// like, where anybody can publish what a task sends there; a git dependency is asked for when it comes.
pub const REGISTRIES: &[(&str, &str)] = &[
    ("pypi.org", "Python: pip's and uv's default index"),
    ("files.pythonhosted.org", "Python: the files of PyPI"),
    ("registry.npmjs.org", "JavaScript: npm's and pnpm's default registry"),
    ("registry.yarnpkg.com", "JavaScript: yarn 1's default registry"),
    ("repo.yarnpkg.com", "JavaScript: yarn itself, for corepack"),
    ("index.crates.io", "Rust: cargo's sparse index"),
    ("static.crates.io", "Rust: the crates themselves"),
    ("static.rust-lang.org", "Rust: toolchains, for rustup"),
    ("proxy.golang.org", "Go: the module proxy"),
    ("sum.golang.org", "Go: the checksum database"),
    ("repo.maven.apache.org", "Java: Maven Central, Maven's name for it"),
    ("repo1.maven.org", "Java: Maven Central, Gradle's name for it"),
    ("plugins.gradle.org", "Java: Gradle's plugins"),
    ("plugins-artifacts.gradle.org", "Java: where plugins.gradle.org sends to"),
    ("services.gradle.org", "Java: Gradle itself, for its wrapper"),
    ("downloads.gradle.org", "Java: where services.gradle.org sends to"),
    ("rubygems.org", "Ruby: gem's and bundler's default source"),
    ("index.rubygems.org", "Ruby: the compact index"),
    ("packagist.org", "PHP: composer's first name for its repository"),
    ("repo.packagist.org", "PHP: composer's repository"),
    ("repo.hex.pm", "Elixir, Erlang: Hex packages"),
    ("builds.hex.pm", "Elixir, Erlang: hex and rebar themselves"),
    ("api.nuget.org", ".NET: NuGet's index and packages"),
    ("globalcdn.nuget.org", ".NET: where NuGet's packages are sent from"),
    ("repo.anaconda.com", "conda: the default channels"),
    ("conda.anaconda.org", "conda: conda-forge and other channels"),
    ("deb.debian.org", "Debian: packages"),
    ("security.debian.org", "Debian: security updates"),
    ("archive.debian.org", "Debian: releases that are no longer kept"),
    ("archive.ubuntu.com", "Ubuntu: packages"),
    ("*.archive.ubuntu.com", "Ubuntu: the mirrors of countries and clouds"),
    ("security.ubuntu.com", "Ubuntu: security updates"),
    ("ports.ubuntu.com", "Ubuntu: packages for other processors"),
    ("dl-cdn.alpinelinux.org", "Alpine: packages"),
];

/// The ports of a host that is named without one.
const WEB: [u16; 2] = [80, 443];

/// Below this, a port belongs to a well-known service. Beyond the web's, a person is not asked about those.
const PRIVILEGED: u16 = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exactly(Host),
    /// Every name that ends with this, which begins with a dot. The name itself is not among them, as in certificates.
    Below(String),
}

/// A rule: a host or all below one, on one port or on the web's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    name: Name,
    port: Option<u16>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, EgressError> {
        let wrong = || EgressError::Host(text.to_owned());
        let text = text.trim();
        if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
            return Ok(Pattern { name: Name::Exactly(IpAddr::from(address).into()), port: None });
        }
        let (host, port) = split(text).ok_or_else(wrong)?;
        let name = match host.strip_prefix("*.") {
            None => Name::Exactly(Host::parse(host).ok_or_else(wrong)?),
            Some(above) => match Host::parse(above) {
                // `*.org` would be half of the world: what is meant by it is `all`.
                Some(Host::Name(above)) if above.contains('.') => Name::Below(format!(".{above}")),
                _ => return Err(wrong()),
            },
        };
        Ok(Pattern { name, port })
    }

    fn matches(&self, to: &Destination) -> bool {
        let is_port = self.port.map_or(WEB.contains(&to.port), |port| port == to.port);
        is_port
            && match (&self.name, &to.host) {
                (Name::Exactly(name), host) => name == host,
                (Name::Below(end), Host::Name(name)) => name.ends_with(end.as_str()),
                (Name::Below(_), Host::Address(_)) => false,
            }
    }
}

/// What the rules say of a destination that they let out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Whether the host may be near: see [`address::may_reach`].
    pub is_named: bool,
}

pub struct Rules {
    all: bool,
    /// Hosts that were named by the person or by the machine's own settings.
    named: Vec<Pattern>,
    registries: Vec<Pattern>,
    answers: RwLock<HashMap<Destination, bool>>,
}

impl Rules {
    pub fn new(policy: &Policy) -> Result<Rules, EgressError> {
        let (all, registries, hosts) = match &policy.allow {
            Allow::All => (true, true, &[][..]),
            Allow::Only { registries, hosts } => (false, *registries, &hosts[..]),
        };
        let mut named = hosts.iter().map(|host| Pattern::parse(host)).collect::<Result<Vec<_>, _>>()?;
        for host in policy.brokered.iter().flat_map(|secret| &secret.hosts) {
            let to = brokered(host)?;
            named.push(Pattern { name: Name::Exactly(to.host), port: Some(to.port) });
        }
        let mut built_in = Vec::new();
        if registries {
            // What the machine's files say is not the person's typing: an odd one is passed over.
            named.extend(policy.named.iter().filter_map(|host| Pattern::parse(host).ok()));
            built_in = REGISTRIES.iter().map(|(host, _)| Pattern::parse(host)).collect::<Result<_, _>>()?;
        }
        Ok(Rules { all, named, registries: built_in, answers: RwLock::default() })
    }

    /// Takes over what the person said, or that it holds no more.
    pub fn answer(&self, to: Destination, is_allowed: Option<bool>) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        match is_allowed {
            Some(is_allowed) => answers.insert(to, is_allowed),
            None => answers.remove(&to),
        };
    }

    /// Judges a destination by what it is called.
    pub fn judge(&self, to: &Destination) -> Result<Pass, Refusal> {
        let answer = self.answers.read().unwrap_or_else(PoisonError::into_inner).get(to).copied();
        if answer == Some(false) {
            return Err(Refusal::Denied);
        }
        let is_literal = matches!(to.host, Host::Address(_));
        let names_exactly = |p: &Pattern| matches!(p.name, Name::Exactly(_)) && p.matches(to);
        // Whoever answers a question sees a name, which anybody may point anywhere; but an address is what it is.
        if self.named.iter().any(names_exactly) || (answer == Some(true) && is_literal) {
            return Ok(Pass { is_named: true });
        }
        if let Some(near) = near(&to.host) {
            return Err(Refusal::Private(near));
        }
        let is_listed = answer == Some(true)
            || self.named.iter().chain(&self.registries).any(|pattern| pattern.matches(to))
            || (self.all && WEB.contains(&to.port));
        match () {
            () if is_listed => Ok(Pass { is_named: false }),
            () if to.port < PRIVILEGED && !WEB.contains(&to.port) => Err(Refusal::Port),
            () => Err(Refusal::NotListed),
        }
    }
}

/// Returns where a secret's host is, which is named without wildcard.
pub fn brokered(host: &str) -> Result<Destination, EgressError> {
    Destination::parse(host.trim(), Some(443)).ok_or_else(|| EgressError::Host(host.to_owned()))
}

/// Returns the address that a host has without being looked up, where that is not the world's.
fn near(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Address(address) => (address::reach(*address) != Reach::World).then_some(*address),
        // RFC 6761, 6.3.
        Host::Name(name) => {
            (name == "localhost" || name.ends_with(".localhost")).then_some(Ipv4Addr::LOCALHOST.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{Brokered, Secret};
    use proptest::prelude::*;

    fn only(registries: bool, hosts: &[&str]) -> Policy {
        let hosts = hosts.iter().map(|host| host.to_string()).collect();
        Policy { allow: Allow::Only { registries, hosts }, ..Policy::default() }
    }

    fn said(rules: &Rules, to: &str) -> &'static str {
        match rules.judge(&Destination::parse(to, Some(443)).unwrap()) {
            Ok(Pass { is_named: true }) => "named",
            Ok(Pass { is_named: false }) => "listed",
            Err(Refusal::NotListed) => "not listed",
            Err(Refusal::Denied) => "denied",
            Err(Refusal::Port) => "port",
            Err(Refusal::Private(_)) => "private",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn e12_a_suffix_is_one_of_labels() {
        let rules =
            Rules::new(&only(false, &["example.org", "*.example.net", "*.Bücher.example", "[::2]:80"]))
                .unwrap();
        let rows = [
            ("example.org", "named"),
            ("EXAMPLE.ORG.", "named"),
            ("www.example.org", "not listed"),
            ("a.example.net", "listed"),
            ("a.b.example.net", "listed"),
            ("example.net", "not listed"),
            ("evil-example.net", "not listed"),
            ("evilexample.net", "not listed"),
            ("a.example.net.evil", "not listed"),
            ("example.org.evil", "not listed"),
            ("a.xn--bcher-kva.example", "listed"),
            ("93.184.215.14", "not listed"),
        ];
        for (host, expected) in rows {
            assert_eq!(said(&rules, host), expected, "{host}");
        }
    }

    #[test]
    fn e15_a_port_is_part_of_the_destination() {
        let rules =
            Rules::new(&only(true, &["example.org", "example.net:8080", "ssh.example.org:22"])).unwrap();
        let rows = [
            ("example.org:80", "named"),
            ("example.org:443", "named"),
            ("example.org:22", "port"),
            ("example.org:25", "port"),
            ("example.org:6379", "not listed"),
            ("pypi.org:22", "port"),
            ("pypi.org:8443", "not listed"),
            ("example.net:8080", "named"),
            ("example.net:443", "not listed"),
            ("ssh.example.org:22", "named"),
        ];
        for (host, expected) in rows {
            assert_eq!(said(&rules, host), expected, "{host}");
        }
        let all = Rules::new(&Policy { allow: Allow::All, ..Policy::default() }).unwrap();
        let rows = [
            ("anything.example:443", "listed"),
            ("anything.example:80", "listed"),
            ("anything.example:22", "port"),
            ("anything.example:25", "port"),
            ("anything.example:6379", "not listed"),
            ("93.184.215.14:443", "listed"),
        ];
        for (host, expected) in rows {
            assert_eq!(said(&all, host), expected, "all: {host}");
        }
    }

    #[test]
    fn e06_what_is_near_is_refused_unless_it_was_named() {
        let near = [
            "169.254.169.254:80",
            "2852039166:80",
            "0xa9fea9fe:80",
            "[::1]",
            "localhost",
            "x.localhost",
            "10.0.0.1",
        ];
        for policy in [only(true, &["*.example.org"]), Policy { allow: Allow::All, ..Policy::default() }] {
            let rules = Rules::new(&policy).unwrap();
            for host in near {
                assert_eq!(said(&rules, host), "private", "{host}");
            }
        }
        let rules = Rules::new(&only(false, &["localhost:3141", "10.0.0.1", "169.254.169.254"])).unwrap();
        assert_eq!(said(&rules, "localhost:3141"), "named");
        assert_eq!(said(&rules, "localhost:443"), "private");
        assert_eq!(said(&rules, "10.0.0.1"), "named");
        assert_eq!(said(&rules, "2852039166:80"), "named");
    }

    #[test]
    fn an_answer_holds_for_one_destination() {
        let rules = Rules::new(&only(true, &[])).unwrap();
        let to = |text| Destination::parse(text, None).unwrap();
        rules.answer(to("example.org:443"), Some(true));
        rules.answer(to("pypi.org:443"), Some(false));
        rules.answer(to("10.0.0.7:5432"), Some(true));
        let rows = [
            ("example.org:443", "listed"),
            ("example.org:80", "not listed"),
            ("pypi.org:443", "denied"),
            ("pypi.org:80", "listed"),
            ("10.0.0.7:5432", "named"),
        ];
        for (host, expected) in rows {
            assert_eq!(said(&rules, host), expected, "{host}");
        }
        // And is taken back for that one alone.
        for host in ["example.org:443", "pypi.org:443"] {
            rules.answer(to(host), None);
        }
        assert_eq!(
            ["example.org:443", "pypi.org:443"].map(|host| said(&rules, host)),
            ["not listed", "listed"]
        );
        assert_eq!(said(&rules, "10.0.0.7:5432"), "named");
    }

    proptest! {
        /// Settings are read with core's words for hosts, and meant here as they were there.
        #[test]
        fn a_rule_of_cores_means_the_same_here(
            rule in "(\\*\\.)?([a-c]{1,2}\\.){1,2}(org|net)(:(80|443|8080))?",
            host in "([a-c]{1,2}\\.){0,3}(org|net):(80|443|8080)",
        ) {
            use quire_core::net::HostRule;
            let rules = Rules::new(&only(false, &[&rule])).unwrap();
            let to = Destination::parse(&host, None).unwrap();
            let covers = HostRule::parse(&rule).unwrap();
            if let Ok(one) = HostRule::parse(&host) {
                prop_assert_eq!(rules.judge(&to).is_ok(), covers.covers(&one), "{} {}", rule, host);
            }
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let rules = Rules::new(&only(false, &[])).unwrap();
        assert_eq!(said(&rules, "pypi.org"), "not listed");
        assert_eq!(said(&rules, "example.org"), "not listed");
    }

    #[test]
    fn the_machines_own_registries_and_the_hosts_of_secrets_are_named() {
        let secret = Brokered {
            name: "T".into(),
            placeholder: "p".into(),
            value: Secret::new("v").unwrap(),
            hosts: vec!["api.example.org".into()],
        };
        let mut policy = only(true, &[]);
        policy.named = vec!["mirror.example:8080".into(), "odd host".into()];
        policy.brokered = vec![secret];
        let rules = Rules::new(&policy).unwrap();
        assert_eq!(said(&rules, "mirror.example:8080"), "named");
        assert_eq!(said(&rules, "mirror.example:443"), "not listed");
        assert_eq!(said(&rules, "api.example.org"), "named");
        assert_eq!(said(&rules, "api.example.org:80"), "not listed");
        assert_eq!(said(&rules, "registry.npmjs.org"), "listed");
        policy.allow = Allow::Only { registries: false, hosts: Vec::new() };
        assert_eq!(said(&Rules::new(&policy).unwrap(), "mirror.example:8080"), "not listed");
    }

    #[test]
    fn a_pattern_that_says_too_much_or_nothing_is_an_error() {
        for text in [
            "",
            "*",
            "*.",
            "*.org",
            "**.example.org",
            "a.*.org",
            "https://example.org",
            "example.org/x",
            "*.10.0.0.1",
        ] {
            let refused = Rules::new(&only(false, &[text]));
            assert!(matches!(refused, Err(EgressError::Host(host)) if host == text), "{text:?}");
        }
    }
}
