//! What programs inside are told of the way out: name resolution, proxies, and whom to trust.
//!
//! The files lie in a thin layer over the live machine, as [`crate::cover`] does. So they never are in a layer of the
//! task's, and package managers can replace them, as they could not where something is mounted upon.

use crate::gate::{PROXY, TRANSPARENT};
use crate::mounts::During;
use crate::nameless;
use crate::spec::{Door, Spec};
use crate::tree::Broken;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Where the distributions keep what they trust; those that are links elsewhere lead to another of these.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
];

/// The authority by itself, where Debian's tools find it when they make the bundle anew.
const AUTHORITY: &str = "/usr/local/share/ca-certificates/quire.crt";

/// Variables by which programs are told of a bundle.
const TRUSTS: [&str; 6] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
];

/// This one adds to what Node trusts.
const TRUSTS_MORE: &str = "NODE_EXTRA_CA_CERTS";

/// A bundle that is longer is none, in bytes.
const BUNDLE_MAX: u64 = 4 << 20;

/// Adds what programs are told by their environment. A proxy that was set is not reachable from inside.
pub fn tell(spec: &Spec, env: &mut Vec<(String, String)>) {
    const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];
    const NO_PROXY: &str = "no_proxy";
    env.retain(|(name, _)| !PROXIES.iter().chain(&[NO_PROXY]).any(|proxy| name.eq_ignore_ascii_case(proxy)));
    let Some(door) = &spec.gate else { return };
    let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
    let all = PROXIES.map(|name| (name, format!("http://{PROXY}")));
    for (name, value) in all.into_iter().chain([(NO_PROXY, "localhost,127.0.0.1,::1".to_owned())]) {
        set(name, value.clone());
        set(&name.to_uppercase(), value);
    }
    set("NODE_USE_ENV_PROXY", "1".into());
    if door.authority.is_some() {
        let bundle = BUNDLES.into_iter().find(|bundle| Path::new(bundle).is_file());
        let trusts = TRUSTS.into_iter().filter_map(|name| Some((name, bundle?)));
        for (name, value) in trusts.chain([(TRUSTS_MORE, AUTHORITY)]) {
            if !spec.env.iter().any(|(set, _)| set == name) {
                set(name, value.to_owned());
            }
        }
    }
}

/// Fills `door` for a lower directory `/`, with owners shifted by `shift`.
pub fn fill(door: &Path, spec: &Spec, shift: u32) -> Result<(), Broken> {
    let laid = || -> io::Result<()> {
        // Where nobody answers there is nothing to wait for.
        let resolver = match spec.gate {
            Some(_) => format!("nameserver {TRANSPARENT}\n"),
            None => "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n".to_owned(),
        };
        lay(door, Path::new("/etc/resolv.conf"), &resolver, shift)?;
        let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let machine = rustix::system::uname();
        let hosts = nameless::without(&machine.nodename().to_string_lossy(), &own_hosts(&hosts));
        lay(door, Path::new("/etc/hosts"), &hosts, shift)?;
        if let Some(Door { authority: Some(authority) }) = &spec.gate {
            lay(door, Path::new(AUTHORITY), authority, shift)?;
            for bundle in bundles(&spec.env) {
                lay(door, &bundle, &format!("{}\n{authority}", read(&bundle)?.trim_end()), shift)?;
            }
        }
        Ok(())
    };
    laid().during("laying out what is said of the network")
}

/// Returns the bundles of this machine, and those that the environment names.
fn bundles(env: &[(String, String)]) -> Vec<PathBuf> {
    let named = env.iter().filter(|(name, _)| TRUSTS.contains(&name.as_str()) || name == TRUSTS_MORE);
    let named = named.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute());
    let mut bundles: Vec<PathBuf> = BUNDLES.iter().map(PathBuf::from).chain(named).collect();
    bundles.retain(|bundle| fs::metadata(bundle).is_ok_and(|it| it.is_file() && it.len() <= BUNDLE_MAX));
    bundles.sort();
    bundles.dedup();
    bundles
}

fn read(bundle: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(bundle)?).into_owned())
}

/// Writes a file, and the directories above it with the modes and owners that they have on the machine.
pub fn lay(door: &Path, path: &Path, content: &str, shift: u32) -> io::Result<()> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let (mut here, mut real) = (door.to_path_buf(), PathBuf::from("/"));
    for part in below.parent().into_iter().flat_map(Path::components) {
        here.push(part);
        real.push(part);
        if let Err(error) = fs::create_dir(&here) {
            if error.kind() == io::ErrorKind::AlreadyExists {
                continue;
            }
            return Err(error);
        }
        like(&here, &real, shift)?;
    }
    let made = door.join(below);
    fs::write(&made, content)?;
    chown_inside(&made, 0, 0, shift)
}

/// Gives a directory the mode and owner of one of the machine's, where that is there.
fn like(made: &Path, real: &Path, shift: u32) -> io::Result<()> {
    let Ok(real) = fs::metadata(real) else { return chown_inside(made, 0, 0, shift) };
    fs::set_permissions(made, fs::Permissions::from_mode(real.mode() & 0o7777))?;
    chown_inside(made, real.uid(), real.gid(), shift)
}

/// An ordinary user is root inside, and the only one there is.
fn chown_inside(made: &Path, uid: u32, gid: u32, shift: u32) -> io::Result<()> {
    if shift == 0 { Ok(()) } else { chown(made, Some(uid + shift), Some(gid + shift)) }
}

/// Returns hosts(5) with this machine's own names and nobody else's: other addresses are not reachable from inside, and
/// the way out goes by names.
fn own_hosts(hosts: &str) -> String {
    const SANDBOX: &str = "127.0.0.1 localhost quire\n::1 localhost ip6-localhost ip6-loopback\n";
    let own = |line: &&str| {
        let address = line.split_whitespace().next().and_then(|first| first.parse().ok());
        address.is_some_and(|address: std::net::IpAddr| address.is_loopback())
    };
    hosts.lines().filter(own).fold(SANDBOX.to_owned(), |all, line| all + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_stay() {
        let hosts = "127.0.0.1 localhost box\n# 127.0.0.1 no\n10.0.0.5 db.internal\n::1 localhost\n\n127.0.1.1 my.test # dev\nfe80::1 x";
        assert_eq!(
            own_hosts(hosts),
            "127.0.0.1 localhost quire\n::1 localhost ip6-localhost ip6-loopback\n127.0.0.1 localhost box\n::1 localhost\n127.0.1.1 my.test # dev\n"
        );
    }
}
