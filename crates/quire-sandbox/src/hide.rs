//! What is shown of a home, and what is hidden wherever it lies.
//!
//! Homes are empty inside but for the tools that builds need. Secrets are hidden by name and, where a name alone says
//! little (`*.pem` is as often a public certificate), by content.

use crate::FolderView;
use crate::rooted::{Kind, Rooted};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use quire_core::RelPath;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Tool directories and files of a home that are visible, copy-on-write.
pub const TOOLS: &[&str] = &[
    ".bun",
    ".cache/Cypress",
    ".cache/bazel",
    ".cache/ccache",
    ".cache/deno",
    ".cache/go-build",
    ".cache/ms-playwright",
    ".cache/pip",
    ".cache/pnpm",
    ".cache/pre-commit",
    ".cache/puppeteer",
    ".cache/sccache",
    ".cache/uv",
    ".cache/yarn",
    ".cargo",
    ".composer",
    ".config/git",
    ".config/pip",
    ".config/uv",
    ".deno",
    ".dotnet",
    ".elan",
    ".gem",
    ".ghcup",
    ".gitconfig",
    ".gitignore",
    ".gitignore_global",
    ".gradle",
    ".ivy2",
    ".julia",
    ".local",
    ".m2",
    ".mix",
    ".npm",
    ".nuget",
    ".nvm",
    ".opam",
    ".pnpm-store",
    ".pub-cache",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rvm",
    ".sbt",
    ".sdkman",
    ".stack",
    ".swiftpm",
    ".volta",
    ".yarn",
    "go",
];

/// Hidden below every home.
pub const HOME_SECRETS: &[&str] = &[
    ".aider.conf.yml",
    ".anthropic",
    ".aws",
    ".azure",
    ".bash_history",
    ".boto",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude",
    ".claude.json",
    ".codex",
    ".config/1Password",
    ".config/BraveSoftware",
    ".config/Bitwarden",
    ".config/Code/User/globalStorage",
    ".config/Cursor",
    ".config/Signal",
    ".config/Slack",
    ".config/azure",
    ".config/chromium",
    ".config/containers/auth.json",
    ".config/doctl",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/glab-cli",
    ".config/google-chrome",
    ".config/helm",
    ".config/hub",
    ".config/keepassxc",
    ".config/kube",
    ".config/microsoft-edge",
    ".config/op",
    ".config/opencode",
    ".config/quire",
    ".config/rclone",
    ".config/sops",
    ".config/vivaldi",
    ".copilot",
    ".databrickscfg",
    ".docker",
    ".electrum",
    ".ethereum",
    ".fly",
    ".gem/credentials",
    ".gemini",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".histfile",
    ".kube",
    ".lesshst",
    ".local/share/atuin",
    ".local/share/fish/fish_history",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/opencode",
    ".local/share/quire",
    ".local/share/uv/credentials",
    ".local/share/virtualenv/credentials",
    ".local/state/quire",
    ".m2/settings-security.xml",
    ".m2/settings.xml",
    ".mozilla",
    ".mysql_history",
    ".netrc",
    ".node_repl_history",
    ".npmrc",
    ".nuget/NuGet/NuGet.Config",
    ".password-store",
    ".pgpass",
    ".pi",
    ".pki",
    ".psql_history",
    ".pulumi/credentials.json",
    ".pypirc",
    ".python_history",
    ".qwen",
    ".rediscli_history",
    ".sbt/credentials",
    ".sqlite_history",
    ".ssh",
    ".terraform.d/credentials.tfrc.json",
    ".thunderbird",
    ".vault-token",
    ".viminfo",
    ".wget-hsts",
    ".yarnrc.yml",
    ".zsh_history",
    ".zhistory",
];

/// Hidden on the machine. `/etc/shadow` is not here: it stays, without the passwords ([`crate::cover`]).
pub const MACHINE_SECRETS: &[&str] = &[
    "/etc/NetworkManager/system-connections",
    "/etc/docker/key.json",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/letsencrypt",
    "/etc/rancher",
    "/etc/ssl/private",
    "/etc/wireguard",
    "/etc/wpa_supplicant",
    "/var/lib/NetworkManager",
    "/var/lib/bluetooth",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/systemd/coredump",
    "/var/mail",
    "/var/spool/cron",
    "/var/spool/mail",
    "/var/backups",
];

/// Returns the private keys of the ssh server, by listing: they have a name for each kind of key.
pub fn host_keys() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/etc/ssh") else { return Vec::new() };
    let key = |path: &PathBuf| path.extension() == Some(OsStr::new("key")) || path.ends_with("_key");
    entries.flatten().map(|entry| entry.path()).filter(|path| key(path) || is_host_key(path)).collect()
}

fn is_host_key(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"ssh_host_") && name.as_bytes().ends_with(b"_key"))
}

/// Returns the paths that a sandbox hides in the frozen content of a folder, relative to it; `hide` is as in
/// [`crate::Spec::hide`].
pub fn folder_secrets(folder: &FolderView, hide: &[String]) -> Vec<PathBuf> {
    // A pattern that is none stops the sandbox, with its reason.
    let secrets = FolderSecrets::new(&patterns(hide).1).or_else(|_| FolderSecrets::new(&[]));
    secrets.map_or_else(|_| Vec::new(), |secrets| secrets.frozen(folder))
}

/// Returns those of `paths`, relative to `root`, that a sandbox of the folder `root` would hide; `hide` is as in [`crate::Spec::hide`].
pub fn secrets_among(root: &Path, paths: Vec<RelPath>, hide: &[String]) -> Vec<RelPath> {
    let Ok(secrets) = FolderSecrets::new(&patterns(hide).1).or_else(|_| FolderSecrets::new(&[])) else {
        return Vec::new();
    };
    let is_one = |path: &RelPath| {
        let relative = Path::new(OsStr::from_bytes(path.as_bytes()));
        let by_pattern = || relative.ancestors().any(|part| secrets.hide.is_match(part));
        !secrets.hide.is_empty() && by_pattern() || is_secret(path.name(), || root.join(relative))
    };
    paths.into_iter().filter(is_one).collect()
}

/// Returns whether a sandbox of `folder` hides the file at `path`, absolute and without links; `hide` is as in
/// [`crate::Spec::hide`], and a pattern that is none hides.
pub fn hides(path: &Path, folder: &Path, hide: &[String], home: Option<&Path>) -> bool {
    let (fixed, patterns) = patterns(hide);
    let of_machine = fixed.iter().any(|entry| match entry.strip_prefix("~/") {
        Some(below) => home.is_some_and(|home| path.starts_with(home.join(below))),
        None => path.starts_with(entry),
    });
    let Ok(secrets) = FolderSecrets::new(&patterns) else { return true };
    let relative = path.strip_prefix(folder).unwrap_or(path.strip_prefix("/").unwrap_or(path));
    let by_pattern = relative.ancestors().any(|part| secrets.hide.is_match(part));
    let name = path.file_name().unwrap_or_default();
    of_machine || by_pattern || is_secret(name.as_bytes(), || path.to_owned())
}

/// Returns whether a sandbox hides the directory at `path`, absolute and without links, or what it lies in; `hide` is as in
/// [`crate::Spec::hide`].
pub fn hides_directory(path: &Path, hide: &[String], home: Option<&Path>) -> bool {
    let homes = fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path());
    let homes = homes.chain(["/root".into()]).chain(home.map(Path::to_path_buf));
    let mut names: Vec<PathBuf> = MACHINE_SECRETS.iter().map(PathBuf::from).collect();
    names.extend(homes.flat_map(|home| HOME_SECRETS.iter().map(move |secret| home.join(secret))));
    names.extend(patterns(hide).0.into_iter().filter_map(|entry| match entry.strip_prefix("~/") {
        Some(below) => home.map(|home| home.join(below)),
        None => Some(entry.into()),
    }));
    let is_in = |name: &PathBuf| {
        path.starts_with(name) || fs::canonicalize(name).is_ok_and(|real| path.starts_with(real))
    };
    hides(path, Path::new("/"), hide, home) || names.iter().any(is_in)
}

/// Returns whether a file with this name may be a secret: without patterns no other is.
pub fn may_be_secret(name: &[u8]) -> bool {
    !matches!(says(name), Says::Nothing)
}

/// Returns what [`crate::Spec::hide`] says of the machine and of the home, and its patterns for folders.
pub fn patterns(hide: &[String]) -> (Vec<&str>, Vec<&str>) {
    hide.iter().map(String::as_str).partition(|entry| entry.starts_with('/') || entry.starts_with("~/"))
}

/// Which files of a folder are secrets.
pub struct FolderSecrets {
    hide: GlobSet,
}

impl FolderSecrets {
    /// Takes the patterns of [`crate::Spec::hide`] that are for folders; one that is no pattern is an error.
    pub fn new(patterns: &[&str]) -> Result<FolderSecrets, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.trim_end_matches('/');
            let anywhere = format!("**/{pattern}");
            let pattern = if pattern.contains('/') { pattern.trim_start_matches('/') } else { &anywhere };
            set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
        }
        Ok(FolderSecrets { hide: set.build()? })
    }

    /// Returns the paths to hide in the frozen content of a folder, relative to it.
    pub fn frozen(&self, folder: &FolderView) -> Vec<PathBuf> {
        if folder.git_of.is_some() {
            return Vec::new();
        }
        let Some(suspects) = folder.suspects.as_ref().filter(|_| self.hide.is_empty()) else {
            let below = |layer: &PathBuf| self.below(layer, Path::new(""));
            return folder.frozen.iter().flat_map(below).collect();
        };
        let mut found = Vec::new();
        for layer in &folder.frozen {
            let Ok(held) = Rooted::open(layer) else { continue };
            for suspect in suspects {
                let stands =
                    held.print(Some(suspect)).is_ok_and(|print| print.is_some_and(|p| p.kind != Kind::Dir));
                let relative = Path::new(OsStr::from_bytes(suspect.as_bytes()));
                if stands && is_secret(suspect.name(), || layer.join(relative)) {
                    found.push(relative.to_path_buf());
                }
            }
        }
        found
    }

    /// Returns the paths of a folder to hide, relative to `root`, as far as they lie below `start` of it. Only names are
    /// read, except where content decides.
    pub fn below(&self, root: &Path, start: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![start.to_path_buf()];
        while let Some(relative) = pending.pop() {
            let Ok(entries) = fs::read_dir(root.join(&relative)) else { continue };
            // Of a hundred thousand names nearly all are nothing; no path is made for those.
            for entry in entries.flatten() {
                let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
                let hidden = !self.hide.is_empty() && self.hide.is_match(relative.join(&name));
                if hidden || (!kind.is_dir() && is_secret(name.as_bytes(), || entry.path())) {
                    found.push(relative.join(&name));
                } else if kind.is_dir() && name != ".git" {
                    pending.push(relative.join(&name));
                }
            }
        }
        found
    }
}

/// Returns whether an ignored directory holds only what a package manager or compiler put there: published files by the
/// hundred thousand, whose keys are for tests. They are not searched.
pub fn is_of_packages(ignored: &Path) -> bool {
    const NAMES: [&str; 7] = ["node_modules", "target", ".venv", "venv", "__pycache__", ".tox", ".gradle"];
    ignored.file_name().is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

/// What a file's name says of it.
enum Says {
    Nothing,
    Secret,
    /// It is one where one of these words stands in it.
    Perhaps(&'static [&'static [u8]]),
}

fn says(name: &[u8]) -> Says {
    const NAMES: [&[u8]; 11] = [
        b".env",
        b".git-credentials",
        b".htpasswd",
        b".netrc",
        b".pgpass",
        b".pypirc",
        b".vault-token",
        b"id_dsa",
        b"id_ecdsa",
        b"id_ed25519",
        b"id_rsa",
    ];
    const ENDS: [&[u8]; 4] = [b".p12", b".pfx", b".keystore", b".jks"];
    const ENDS_OF_KEYS: [&[u8]; 4] = [b".pem", b".key", b".ppk", b".p8"];
    const ENDS_OF_SAMPLES: [&[u8]; 5] = [b".example", b".sample", b".template", b".dist", b".defaults"];
    let ends = |all: &[&[u8]]| all.iter().any(|end| name.ends_with(end));
    if NAMES.contains(&name) || (name.starts_with(b".env.") && !ends(&ENDS_OF_SAMPLES)) || ends(&ENDS) {
        Says::Secret
    } else if ends(&ENDS_OF_KEYS) {
        Says::Perhaps(&[b"PRIVATE KEY", b"PuTTY-User-Key"])
    } else if name == b".npmrc" {
        Says::Perhaps(&[b"_auth", b"_password"])
    } else {
        Says::Nothing
    }
}

/// Returns whether a file with this name is a secret; `path` is where it can be read.
fn is_secret(name: &[u8], path: impl Fn() -> PathBuf) -> bool {
    match says(name) {
        Says::Nothing => false,
        Says::Secret => true,
        Says::Perhaps(words) => holds(&path(), words),
    }
}

/// Returns whether one of `words` stands in the first 64 KiB. What cannot be read is taken to hold it.
fn holds(path: &Path, words: &[&[u8]]) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(64 << 10).read_to_end(&mut start));
    read.is_err() || words.iter().any(|word| start.windows(word.len()).any(|window| window == *word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::RelPath;

    #[test]
    fn secrets_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let rows = [
            (".env", "A=1", true),
            ("web/.env.production", "A=1", true),
            (".env.example", "A=", false),
            (".envrc", "use nix", false),
            ("key.pem", "-----BEGIN RSA PRIVATE KEY-----", true),
            ("cert.pem", "-----BEGIN CERTIFICATE-----", false),
            ("deep/er/id_ed25519", "x", true),
            ("id_ed25519.pub", "x", false),
            (".npmrc", "//host/:_authToken=t", true),
            ("pkg/.npmrc", "save-exact=true", false),
            ("notes/private.txt", "mine", true),
            ("notes/public.txt", "ours", false),
            ("a/b.secret", "s", true),
            (".git/.env", "never looked at", false),
        ];
        for (path, content, _) in rows {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let secrets = FolderSecrets::new(&["notes/private.txt", "*.secret"]).unwrap();
        let mut found = secrets.below(dir.path(), Path::new(""));
        found.sort();
        let mut expected: Vec<PathBuf> =
            rows.iter().filter(|row| row.2).map(|row| PathBuf::from(row.0)).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(secrets.below(dir.path(), Path::new("web")), [Path::new("web/.env.production")]);

        for (path, _, hidden) in rows.iter().filter(|row| !row.0.starts_with(".git/")) {
            let hide = ["notes/private.txt", "*.secret"].map(str::to_owned);
            assert_eq!(hides(&dir.path().join(path), dir.path(), &hide, None), *hidden, "{path}");
        }
        let hides =
            |hide: &str| hides(Path::new("/h/a/b"), Path::new("/f"), &[hide.to_owned()], Some("/h".as_ref()));
        assert_eq!(["~/a", "/h/a", "b", "~/b", "/a", "["].map(hides), [true, true, true, false, false, true]);

        // By a list of names only these are looked at, with the same outcome.
        let of_names = FolderSecrets::new(&[]).unwrap();
        let mut named: Vec<PathBuf> = of_names.below(dir.path(), Path::new(""));
        let suspects = rows.iter().map(|row| RelPath::new(row.0).unwrap());
        let suspects = suspects.filter(|path| may_be_secret(path.name()) && path.as_bytes() != b".git/.env");
        let mut view = FolderView {
            at: "/folder".into(),
            frozen: vec![dir.path().to_owned(), dir.path().join("absent")],
            ignored: vec![],
            suspects: Some(suspects.collect()),
            git_of: None,
        };
        let mut listed = of_names.frozen(&view);
        named.sort();
        listed.sort();
        assert_eq!(listed, named);
        view.suspects.as_mut().unwrap().retain(|path| path.as_bytes() != b".env");
        assert!(!of_names.frozen(&view).contains(&".env".into()));
        // Patterns are of paths, so that every path is looked at.
        assert!(secrets.frozen(&view).contains(&"notes/private.txt".into()));
    }
}
