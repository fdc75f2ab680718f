//! What a task installed on its copy of the machine, as the commands that a person would run to have the same. Read from what the
//! package managers themselves keep, and so as good as what the task left there: shown to be judged, and never run. Names and
//! versions that no package has are left out, so that a command is nothing else than it looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most packages of a command.
const NAMED_MAX: usize = 60;

/// Collects what is seen of packages.
#[derive(Debug, Default)]
pub struct Installed {
    /// Packages by the beginning of the command that brings them.
    by_command: BTreeMap<&'static str, BTreeSet<String>>,
    /// Debian packages that came only because others need them.
    automatic: BTreeSet<String>,
}

const APT: &str = "sudo apt install";

impl Installed {
    /// Looks at a file that the task made or changed, or that it took away, where `content` gives nothing. `before` gives what the
    /// machine itself has there.
    pub fn see(
        &mut self,
        path: &Path,
        content: &mut dyn FnMut() -> Option<Vec<u8>>,
        before: &mut dyn FnMut() -> Option<Vec<u8>>,
    ) {
        let Some(text) = path.to_str() else { return };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["", "var", "lib", "dpkg", "info", list] if list.ends_with(".list") => {
                let name = list.trim_end_matches(".list").split(':').next().unwrap_or_default();
                let command = match (content().is_some(), before().is_some()) {
                    (true, true) => "sudo apt install --only-upgrade",
                    (true, false) => APT,
                    (false, _) => "sudo apt remove",
                };
                self.add(command, name, None);
            }
            ["", "var", "lib", "apt", "extended_states"] => {
                self.automatic = automatic(&content().unwrap_or_default());
            }
            // pip marks what was asked for by name.
            [above @ .., "site-packages" | "dist-packages", info, "REQUESTED"] => {
                let named = info.strip_suffix(".dist-info").and_then(|named| named.rsplit_once('-'));
                let command = match above {
                    ["", "usr", ..] => Some("sudo pip install"),
                    [.., ".local", "lib", _] => Some("pip install --user"),
                    _ => None,
                };
                if let (Some((name, version)), Some(command), None) = (named, command, before()) {
                    self.add(command, name, Some(("==", version)));
                }
            }
            [above @ .., "lib", "node_modules", name, "package.json"] if !above.contains(&"node_modules") => {
                self.see_node(above, name, content(), before());
            }
            [above @ .., "lib", "node_modules", scope, name, "package.json"]
                if scope.starts_with('@') && !above.contains(&"node_modules") =>
            {
                self.see_node(above, &format!("{scope}/{name}"), content(), before());
            }
            [.., ".cargo", ".crates.toml"] => {
                let had = crates(&before().unwrap_or_default());
                for (name, version) in crates(&content().unwrap_or_default()).difference(&had) {
                    self.add("cargo install", name, Some(("@", version)));
                }
            }
            _ => {}
        }
    }

    fn see_node(&mut self, above: &[&str], name: &str, now: Option<Vec<u8>>, was: Option<Vec<u8>>) {
        #[derive(serde::Deserialize)]
        struct Manifest {
            version: String,
        }
        let version = |json: Option<Vec<u8>>| Some(serde_json::from_slice::<Manifest>(&json?).ok()?.version);
        let (now, was) = (version(now), version(was));
        // npm itself comes with node.
        if let Some(version) =
            now.filter(|now| Some(now) != was.as_ref() && !["npm", "corepack"].contains(&name))
        {
            let command =
                if above.starts_with(&["", "usr"]) { "sudo npm install -g" } else { "npm install -g" };
            self.add(command, name, Some(("@", &version)));
        }
    }

    fn add(&mut self, command: &'static str, name: &str, version: Option<(&str, &str)>) {
        let plain = |text: &str, more: &str| {
            let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@');
            begins && text.len() <= 100 && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(name, "+.-_@/") || version.is_some_and(|(_, version)| !plain(version, "+.-_~")) {
            return;
        }
        let version = version.map(|(sign, version)| format!("{sign}{version}")).unwrap_or_default();
        self.by_command.entry(command).or_default().insert(format!("{name}{version}"));
    }

    /// Returns a command for each manager that has something new.
    pub fn commands(mut self) -> Vec<String> {
        if let Some(debian) = self.by_command.get_mut(APT) {
            debian.retain(|name| !self.automatic.contains(name));
        }
        let named = self.by_command.into_iter().filter(|(_, names)| !names.is_empty());
        let command = |(command, names): (&str, BTreeSet<String>)| {
            let more = names.len().saturating_sub(NAMED_MAX);
            let shown: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = if more > 0 { format!("   # and {more} more") } else { String::new() };
            format!("{command} {}{more}", shown.join(" "))
        };
        named.map(command).collect()
    }
}

/// Returns the packages that apt's list calls automatic.
fn automatic(states: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(states);
    let stanzas = text.split("\n\n").filter(|stanza| stanza.lines().any(|line| line == "Auto-Installed: 1"));
    let name =
        |stanza: &str| stanza.lines().find_map(|line| line.strip_prefix("Package: ")).map(str::to_owned);
    stanzas.filter_map(name).collect()
}

/// Returns names and versions of what cargo installed, from its own list: `"NAME VERSION (SOURCE)" = [...]`.
fn crates(list: &[u8]) -> BTreeSet<(String, String)> {
    let text = String::from_utf8_lossy(list);
    let one = |line: &str| {
        let mut words = line.strip_prefix('"')?.split('"').next()?.split(' ');
        // What came from a directory of the task's is in no registry.
        let (name, version, source) = (words.next()?, words.next()?, words.next()?);
        source.starts_with("(registry+").then(|| (name.to_owned(), version.to_owned()))
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = (&'static str, Option<&'static str>, Option<&'static str>);

    #[test]
    fn what_was_installed_is_told_as_commands() {
        let states =
            "Package: libjq1\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: curl\nAuto-Installed: 0\n";
        let crates = "[v1]\n\"ripgrep 14.1.0 (registry+https://github.com/rust-lang/crates.io-index)\" = [\"rg\"]\n\
                      \"mine 0.1.0 (path+file:///x)\" = [\"mine\"]\n";
        let had = "[v1]\n\"bat 0.24.0 (registry+x)\" = [\"bat\"]\n";
        let bat =
            "[v1]\n\"bat 0.24.0 (registry+x)\" = [\"bat\"]\n\"fd-find 10.1.0 (registry+x)\" = [\"fd\"]\n";
        let rows: &[(&str, &[Seen], &[&str])] = &[
            ("nothing", &[("/etc/hosts", Some(""), Some(""))], &[]),
            (
                "apt, without what came along",
                &[
                    ("/var/lib/dpkg/info/jq.list", Some(""), None),
                    ("/var/lib/dpkg/info/libjq1:amd64.list", Some(""), None),
                    ("/var/lib/dpkg/info/jq.md5sums", Some(""), None),
                    ("/var/lib/apt/extended_states", Some(states), None),
                ],
                &["sudo apt install jq"],
            ),
            (
                "apt, upgraded and removed",
                &[
                    ("/var/lib/dpkg/info/curl.list", Some(""), Some("")),
                    ("/var/lib/dpkg/info/nano.list", None, Some("")),
                ],
                &["sudo apt install --only-upgrade curl", "sudo apt remove nano"],
            ),
            (
                "pip, for all and for one",
                &[
                    (
                        "/usr/local/lib/python3.13/dist-packages/requests-2.32.3.dist-info/REQUESTED",
                        Some(""),
                        None,
                    ),
                    (
                        "/usr/local/lib/python3.13/dist-packages/urllib3-2.2.dist-info/METADATA",
                        Some(""),
                        None,
                    ),
                    (
                        "/home/ada/.local/lib/python3.13/site-packages/rich-13.9.dist-info/REQUESTED",
                        Some(""),
                        None,
                    ),
                    (
                        "/home/ada/venv/lib/python3.13/site-packages/flask-3.0.dist-info/REQUESTED",
                        Some(""),
                        None,
                    ),
                    ("/usr/lib/python3/dist-packages/old-1.0.dist-info/REQUESTED", Some(""), Some("")),
                ],
                &["pip install --user rich==13.9", "sudo pip install requests==2.32.3"],
            ),
            (
                "npm, not what is within",
                &[
                    ("/usr/lib/node_modules/prettier/package.json", Some("{\"version\":\"3.3.3\"}"), None),
                    (
                        "/usr/lib/node_modules/@angular/cli/package.json",
                        Some("{\"version\":\"19.0.0\"}"),
                        None,
                    ),
                    (
                        "/usr/lib/node_modules/prettier/node_modules/a/package.json",
                        Some("{\"version\":\"1.0.0\"}"),
                        None,
                    ),
                    (
                        "/home/ada/.nvm/versions/node/v22/lib/node_modules/serve/package.json",
                        Some("{\"version\":\"14.2\"}"),
                        None,
                    ),
                    ("/usr/lib/node_modules/npm/package.json", Some("{\"version\":\"11.0.0\"}"), None),
                    (
                        "/usr/lib/node_modules/same/package.json",
                        Some("{\"version\":\"1.0\"}"),
                        Some("{\"version\":\"1.0\"}"),
                    ),
                ],
                &["npm install -g serve@14.2", "sudo npm install -g @angular/cli@19.0.0 prettier@3.3.3"],
            ),
            (
                "cargo, what is new and of a registry",
                &[
                    ("/root/.cargo/.crates.toml", Some(crates), None),
                    ("/home/ada/.cargo/.crates.toml", Some(bat), Some(had)),
                ],
                &["cargo install fd-find@10.1.0 ripgrep@14.1.0"],
            ),
            (
                "a name that would be more than a name",
                &[
                    ("/var/lib/dpkg/info/a;rm -rf ~.list", Some(""), None),
                    ("/var/lib/dpkg/info/--force.list", Some(""), None),
                    ("/usr/lib/node_modules/x/package.json", Some("{\"version\":\"1 && reboot\"}"), None),
                    ("/usr/lib/node_modules/$(x)/package.json", Some("{\"version\":\"1\"}"), None),
                    ("/usr/lib/node_modules/y/package.json", Some("{"), None),
                ],
                &[],
            ),
        ];
        for (name, seen, expected) in rows {
            let mut installed = Installed::default();
            for (path, now, was) in *seen {
                let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
                installed.see(Path::new(path), &mut || bytes(*now), &mut || bytes(*was));
            }
            assert_eq!(installed.commands(), *expected, "{name}");
        }
    }

    #[test]
    fn a_command_stays_readable() {
        let mut installed = Installed::default();
        for n in 0..100 {
            let path = format!("/var/lib/dpkg/info/p{n}.list");
            installed.see(Path::new(&path), &mut || Some(vec![]), &mut || None);
        }
        let command = installed.commands().remove(0);
        assert!(command.ends_with("# and 40 more") && command.len() < 500, "{command}");
    }
}
