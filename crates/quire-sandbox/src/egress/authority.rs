//! The task's own certificate authority: TLS to exactly the hosts that a secret is for is ended here, so that the secret can be put
//! in outside. Its key never leaves this process's memory, the sandbox alone trusts it, and it can vouch for those hosts only.

use super::broker::Broker;
use super::host::{Destination, Host};
use super::outside::Dialled;
use super::stream::Io;
use super::{Brokered, EgressError, policy};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const HTTP_1: &[u8] = b"http/1.1";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub struct Authority {
    pem: String,
    hosts: HashMap<Destination, Served>,
    /// Whom connections to the world trust. Made at the first one: reading the machine's certificates takes a while.
    roots: OnceCell<Arc<ClientConfig>>,
    more_roots: Vec<CertificateDer<'static>>,
}

struct Served {
    config: Arc<ServerConfig>,
    broker: Arc<Broker>,
}

impl Authority {
    /// Returns the authority for the hosts of `secrets`; `None` where there are none. `more_roots` are trusted beyond the
    /// machine's and Mozilla's.
    pub fn new(
        secrets: &[Brokered],
        more_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Option<Authority>, EgressError> {
        let mut of_host: HashMap<Destination, Vec<&Brokered>> = HashMap::new();
        for secret in secrets {
            for host in &secret.hosts {
                of_host.entry(policy::brokered(host)?).or_default().push(secret);
            }
        }
        if of_host.is_empty() {
            return Ok(None);
        }
        let failed = |error: &dyn std::fmt::Display| EgressError::Authority(error.to_string());
        let names: BTreeSet<String> = of_host.keys().map(|to| to.host.to_string()).collect();
        let (issuer, pem) = issuer(&of_host).map_err(|error| failed(&error))?;
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let mut configs = HashMap::new();
        for name in names {
            let leaf = leaf(&name, &key, &issuer).map_err(|error| failed(&error))?;
            configs.insert(name, server(leaf, &key).map_err(|error| failed(&error))?);
        }
        let hosts = of_host.into_iter().map(|(to, secrets)| {
            let config = configs[&to.host.to_string()].clone();
            (to, Served { config, broker: Arc::new(Broker::new(&secrets)) })
        });
        Ok(Some(Authority { pem, hosts: hosts.collect(), roots: OnceCell::new(), more_roots }))
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn serves(&self, to: &Destination) -> bool {
        self.hosts.contains_key(to)
    }

    /// Returns what puts the secrets of a host in.
    pub fn broker(&self, to: &Destination) -> Option<Arc<Broker>> {
        self.hosts.get(to).map(|served| served.broker.clone())
    }

    /// Ends the TLS of a client that asked for `to`.
    pub async fn accept(&self, client: Io, to: &Destination) -> io::Result<Io> {
        let served = self.hosts.get(to).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(TlsAcceptor::from(served.config.clone()).accept(client).await?))
    }

    /// Begins TLS with the real host, whose certificate is verified.
    pub async fn connect(&self, stream: Dialled, to: &Destination) -> io::Result<Io> {
        let more = self.more_roots.clone();
        let made = self.roots.get_or_try_init(|| async {
            let made = tokio::task::spawn_blocking(move || client(more)).await;
            made.map_err(io::Error::other)?.map_err(io::Error::other)
        });
        let name = match &to.host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Host::Address(address) => ServerName::from(*address),
        };
        Ok(Box::new(TlsConnector::from(made.await?.clone()).connect(name, stream).await?))
    }
}

/// Returns a name and key that sign for these hosts and no others, and the certificate in PEM.
fn issuer(
    hosts: &HashMap<Destination, Vec<&Brokered>>,
) -> Result<(Issuer<'static, KeyPair>, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("quire: this task's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let permitted_subtrees = hosts.keys().map(|to| match &to.host {
        Host::Name(name) => GeneralSubtree::DnsName(name.clone()),
        Host::Address(IpAddr::V4(address)) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(address.octets(), 32))
        }
        Host::Address(IpAddr::V6(address)) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(address.octets(), 128))
        }
    });
    let permitted_subtrees = permitted_subtrees.collect();
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    valid(&mut params);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn leaf(
    host: &str,
    key: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("quire");
    params.subject_alt_names = vec![match host.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(host.try_into()?),
    }];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params);
    Ok(params.signed_by(key, issuer)?.der().clone())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// From yesterday, for a clock that is not right, for about a year, which clients that ask for short lives accept.
fn valid(params: &mut CertificateParams) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY);
    params.not_after = epoch + now + 365 * DAY;
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server(leaf: CertificateDer<'static>, key: &KeyPair) -> Result<Arc<ServerConfig>, rustls::Error> {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config = config.with_no_client_auth().with_single_cert(vec![leaf], key.into())?;
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(config.into())
}

/// Mozilla's roots are added to the machine's: slim containers have none.
fn client(more: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots.add_parsable_certificates(more);
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(config.into())
}
