//! Which registries this machine's package managers are set to, so that a task can install what its person can. Read are the
//! settings of the person and of the machine, never those in the task's folder: an agent writes there.
//!
//! A line counts only by its key. Settings also hold proxies, documentation and home pages, and what is found here may be reached
//! even at a private address.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use url::Url;

/// Returns the hosts that the package managers of this machine are set to, as `host` or `host:port`, for
/// [`Policy::named`](super::Policy::named). `env` is the environment of who started the task. What cannot be read is passed over.
///
/// A registry may send for its files to yet another host; only the registry can say to which, so that one is asked for.
pub fn named(home: &Path, env: &BTreeMap<String, String>) -> Vec<String> {
    find(home, Path::new("/etc"), env).into_iter().collect()
}

/// Variables that hold registries. Package managers that take any setting from the environment take some in either case.
const VARIABLES: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_PYTHON_INSTALL_MIRROR",
    "NPM_CONFIG_REGISTRY",
    "YARN_REGISTRY",
    "YARN_NPM_REGISTRY_SERVER",
    "RUSTUP_DIST_SERVER",
    "RUSTUP_UPDATE_ROOT",
    "GOPROXY",
    "GOSUMDB",
    "HEX_MIRROR",
    "HEX_MIRROR_URL",
    "CONDA_CHANNEL_ALIAS",
];

/// The same, by how the name begins and ends.
const VARIABLE_KINDS: &[(&str, &str)] = &[
    ("CARGO_REGISTRIES_", "_INDEX"),
    ("CARGO_SOURCE_", "_REGISTRY"),
    ("BUNDLE_MIRROR__", ""),
    ("UV_INDEX_", "_URL"),
];

/// Where a file lies.
enum At {
    Home(&'static str),
    Etc(&'static str),
}

/// A file of lines `key SEPARATOR value`; an indented line, or one of a list, goes on with the value before it.
struct Lines {
    at: At,
    separator: char,
    /// In lower case, `-` for `_`. One that begins with `:` is the end of a key.
    keys: &'static [&'static str],
}

const PIP: &[&str] = &["index-url", "extra-index-url", "find-links"];
const NPM: &[&str] = &["registry", ":registry"];
const YARN: &[&str] = &["npmregistryserver", "npmscopes"];
const GO: &[&str] = &["goproxy", "gosumdb"];
const GEM: &[&str] = &["sources", "bundle-mirror--all"];
const CONDA: &[&str] = &["channels", "default-channels", "custom-channels", "channel-alias"];

const LINES: &[Lines] = &[
    Lines { at: At::Home(".config/pip/pip.conf"), separator: '=', keys: PIP },
    Lines { at: At::Home(".pip/pip.conf"), separator: '=', keys: PIP },
    Lines { at: At::Etc("pip.conf"), separator: '=', keys: PIP },
    Lines { at: At::Etc("xdg/pip/pip.conf"), separator: '=', keys: PIP },
    Lines { at: At::Home(".npmrc"), separator: '=', keys: NPM },
    Lines { at: At::Etc("npmrc"), separator: '=', keys: NPM },
    Lines { at: At::Home(".yarnrc"), separator: ' ', keys: NPM },
    Lines { at: At::Home(".yarnrc.yml"), separator: ':', keys: YARN },
    Lines { at: At::Home(".config/go/env"), separator: '=', keys: GO },
    Lines { at: At::Home(".gemrc"), separator: ':', keys: GEM },
    Lines { at: At::Etc("gemrc"), separator: ':', keys: GEM },
    Lines { at: At::Home(".bundle/config"), separator: ':', keys: GEM },
    Lines { at: At::Home(".condarc"), separator: ':', keys: CONDA },
    Lines { at: At::Etc("apt/sources.list"), separator: ' ', keys: APT_LIST },
];

/// Of apt's two forms, one a line and one a paragraph.
const APT_LIST: &[&str] = &["deb", "deb-src"];
const APT_PARAGRAPH: &[&str] = &["uris"];

/// Files in which the element `url`, or in NuGet's the attribute `value`, is a repository.
const XML: &[(&str, &str, &str)] =
    &[(".m2/settings.xml", "<url>", "</url>"), (".nuget/NuGet/NuGet.Config", "value=\"", "\"")];

fn find(home: &Path, etc: &Path, env: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (key, value) in env {
        let key = key.to_ascii_uppercase();
        let is_kind = |(begin, end): &(&str, &str)| key.starts_with(begin) && key.ends_with(end);
        if VARIABLES.contains(&key.as_str()) || VARIABLE_KINDS.iter().any(is_kind) {
            hosts(value, &mut found);
        }
    }
    for lines in LINES {
        let path = match lines.at {
            At::Home(path) => home.join(path),
            At::Etc(path) => etc.join(path),
        };
        keyed(&read(&path), lines.separator, lines.keys, &mut found);
    }
    let named = |variable: &str| env.get(variable).map(PathBuf::from);
    for (path, keys) in
        [(named("PIP_CONFIG_FILE"), PIP), (named("NPM_CONFIG_USERCONFIG"), NPM), (named("GOENV"), GO)]
    {
        keyed(&path.map(|path| read(&path)).unwrap_or_default(), '=', keys, &mut found);
    }
    for path in directory(&etc.join("apt/sources.list.d")) {
        match path.extension().and_then(|end| end.to_str()) {
            Some("list") => keyed(&read(&path), ' ', APT_LIST, &mut found),
            Some("sources") => keyed(&read(&path), ':', APT_PARAGRAPH, &mut found),
            _ => {}
        }
    }
    let cargo = named("CARGO_HOME").unwrap_or_else(|| home.join(".cargo"));
    for name in ["config.toml", "config"] {
        cargo_hosts(&table(&cargo.join(name)), &mut found);
    }
    for path in [home.join(".config/uv/uv.toml"), etc.join("uv/uv.toml")] {
        uv_hosts(&table(&path), &mut found);
    }
    for (path, begin, end) in XML {
        let text = without_comments(&read(&home.join(path)));
        for piece in text.split(begin).skip(1) {
            hosts(piece.split(end).next().unwrap_or_default(), &mut found);
        }
    }
    found
}

const FILE_BYTES_MAX: u64 = 1 << 20;
/// Of a directory of settings.
const FILES_MAX: usize = 256;

/// Returns the beginning of a regular file as text; nothing where there is none. A pipe or a device is not opened.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if fs::metadata(path).is_ok_and(|there| there.is_file()) {
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        let _ = opened.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn directory(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().take(FILES_MAX);
    entries.flatten().map(|entry| entry.path()).collect()
}

fn table(path: &Path) -> toml::Table {
    read(path).parse().unwrap_or_default()
}

fn keyed(text: &str, separator: char, keys: &[&str], found: &mut BTreeSet<String>) {
    let mut counts = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if line.starts_with([' ', '\t', '-']) {
            if counts {
                hosts(line, found);
            }
            continue;
        }
        // Keys of YAML written by Ruby begin with a colon, and may be quoted.
        let line = line.trim_start_matches(':');
        let (key, value) = line.split_once(separator).unwrap_or((line, ""));
        let key = key.trim().trim_matches('"').to_ascii_lowercase().replace('_', "-");
        counts = keys.iter().any(|name| key == *name || (name.starts_with(':') && key.ends_with(name)));
        if counts {
            hosts(value, found);
        }
    }
}

fn cargo_hosts(config: &toml::Table, found: &mut BTreeSet<String>) {
    let tables = |key: &str| config.get(key).and_then(|value| value.as_table()).cloned().unwrap_or_default();
    let mut take = |value: Option<&toml::Value>| {
        hosts(value.and_then(|value| value.as_str()).unwrap_or_default(), found)
    };
    for registry in tables("registries").values() {
        take(registry.get("index"));
    }
    for source in tables("source").values() {
        take(source.get("registry"));
        take(source.get("git"));
    }
    take(tables("registry").get("index"));
}

fn uv_hosts(config: &toml::Table, found: &mut BTreeSet<String>) {
    // Settings stand at the top or, as pip's, in a table of their own.
    let pip = config.get("pip").and_then(|value| value.as_table());
    for settings in [Some(config), pip].into_iter().flatten() {
        for key in ["index-url", "extra-index-url", "find-links", "python-install-mirror"] {
            match settings.get(key) {
                Some(toml::Value::String(url)) => hosts(url, found),
                Some(toml::Value::Array(urls)) => {
                    urls.iter().filter_map(|u| u.as_str()).for_each(|u| hosts(u, found))
                }
                _ => {}
            }
        }
        let indexes = settings.get("index").and_then(|value| value.as_array());
        for index in indexes.into_iter().flatten() {
            hosts(index.get("url").and_then(|url| url.as_str()).unwrap_or_default(), found);
        }
    }
}

fn without_comments(text: &str) -> String {
    let mut pieces = text.split("<!--");
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    kept.extend(pieces.filter_map(|piece| piece.split_once("-->").map(|(_, after)| after)));
    kept
}

/// Adds the hosts of all `http` and `https` URLs in `text`, wherever they stand in it. Names and passwords in them stay behind.
fn hosts(text: &str, found: &mut BTreeSet<String>) {
    let is_end = |c: char| c.is_whitespace() || "\"'<>,|;".contains(c);
    for token in text.split(is_end) {
        let Some((before, rest)) = token.split_once("://") else { continue };
        let scheme = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            continue;
        }
        let Ok(url) = Url::parse(&format!("{scheme}://{rest}")) else { continue };
        if let Some(host) = url.host_str() {
            found.insert(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// What is found where one file, below a home or an `etc`, is all there is.
    fn found(path: &str, text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        find(&dir.path().join("home"), &dir.path().join("etc"), &BTreeMap::new()).into_iter().collect()
    }

    #[test]
    fn each_package_manager_is_read_where_it_keeps_its_settings() {
        let rows: &[(&str, &str, &[&str])] = &[
            (
                "home/.config/pip/pip.conf",
                "[global]\nindex-url = https://user:token@py.example/simple\nproxy = http://proxy.example:3128\n\
                 extra-index-url =\n    https://a.example/simple\n    http://b.example:8080/simple\ntimeout = 60\n  https://not.example\n",
                &["a.example", "b.example:8080", "py.example"],
            ),
            ("etc/pip.conf", "[install]\nfind_links=https://wheels.example/x\n", &["wheels.example"]),
            (
                "home/.npmrc",
                "registry=https://npm.example/\n@corp:registry=https://npm.corp.example:4873/\n//npm.example/:_authToken=x\nproxy=http://p.example\n# registry=https://not.example\n",
                &["npm.corp.example:4873", "npm.example"],
            ),
            ("home/.yarnrc", "registry \"https://yarn.example\"\n", &["yarn.example"]),
            (
                "home/.yarnrc.yml",
                "npmRegistryServer: \"https://berry.example\"\nhttpProxy: http://p.example\n",
                &["berry.example"],
            ),
            (
                "home/.cargo/config.toml",
                "[registries.corp]\nindex = \"sparse+https://cargo.example/index/\"\n[source.crates-io]\nreplace-with = \"m\"\n\
                 [source.m]\nregistry = \"sparse+https://mirror.example/\"\n[http]\nproxy = \"http://p.example\"\n",
                &["cargo.example", "mirror.example"],
            ),
            (
                "home/.config/uv/uv.toml",
                "index-url = \"https://uv.example\"\n[[index]]\nurl = \"https://more.example/simple\"\n[pip]\nextra-index-url = [\"http://x.example:1\"]\n",
                &["more.example", "uv.example", "x.example:1"],
            ),
            (
                "etc/apt/sources.list",
                "# deb http://not.example x\ndeb [signed-by=/x] http://deb.example/debian bookworm main\ndeb-src https://src.example/debian bookworm main\n",
                &["deb.example", "src.example"],
            ),
            (
                "etc/apt/sources.list.d/x.sources",
                "Types: deb\nURIs: http://one.example/debian\n https://two.example/debian\nSuites: bookworm\nSigned-By: https://not.example\n",
                &["one.example", "two.example"],
            ),
            ("etc/apt/sources.list.d/x.list", "deb https://list.example/ /\n", &["list.example"]),
            ("etc/apt/sources.list.d/x.save", "deb https://not.example/ /\n", &[]),
            (
                "home/.config/go/env",
                "GOPROXY=https://go.example|https://go2.example,direct\nGOFLAGS=-mod=mod\n",
                &["go.example", "go2.example"],
            ),
            (
                "home/.m2/settings.xml",
                "<settings><!-- <url>https://not.example</url> --><mirrors><mirror><url>https://maven.example/r</url></mirror></mirrors>\
                 <proxies><proxy><host>p.example</host></proxy></proxies></settings>",
                &["maven.example"],
            ),
            (
                "home/.nuget/NuGet/NuGet.Config",
                "<add key=\"n\" value=\"https://nuget.example/v3/index.json\" />",
                &["nuget.example"],
            ),
            (
                "home/.gemrc",
                "---\n:sources:\n- https://gems.example/\n:verbose: true\n- https://not.example\n",
                &["gems.example"],
            ),
            (
                "home/.bundle/config",
                "---\nBUNDLE_MIRROR__ALL: \"https://bundle.example\"\n",
                &["bundle.example"],
            ),
            (
                "home/.condarc",
                "channels:\n  - https://conda.example/c\n  - defaults\nproxy_servers:\n  http: http://p.example\n",
                &["conda.example"],
            ),
        ];
        for (path, text, expected) in rows {
            assert_eq!(found(path, text), *expected, "{path}");
        }
    }

    #[test]
    fn variables_are_read() {
        let rows: &[(&str, &str, &[&str])] = &[
            ("PIP_INDEX_URL", "https://u:p@pip.example:8443/simple", &["pip.example:8443"]),
            (
                "UV_INDEX",
                "corp=https://uv.example/simple https://uv2.example",
                &["uv.example", "uv2.example"],
            ),
            ("npm_config_registry", "http://127.0.0.1:4873/", &["127.0.0.1:4873"]),
            ("GOPROXY", "https://go.example,direct", &["go.example"]),
            ("GOSUMDB", "sum.example+key https://sums.example", &["sums.example"]),
            ("CARGO_REGISTRIES_CORP_INDEX", "sparse+https://c.example/", &["c.example"]),
            ("PIP_INDEX_URL", "file:///srv/wheels", &[]),
            ("PIP_INDEX_URL", "nothing", &[]),
            ("SOME_URL", "https://not.example", &[]),
        ];
        for (key, value, expected) in rows {
            let env = BTreeMap::from([(key.to_string(), value.to_string())]);
            let nowhere = Path::new("/nonexistent");
            let found: Vec<_> = find(nowhere, nowhere, &env).into_iter().collect();
            assert_eq!(found, *expected, "{key}={value}");
        }
    }

    #[test]
    fn odd_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        fs::create_dir_all(home.join(".cargo")).unwrap();
        fs::create_dir_all(home.join(".npmrc")).unwrap();
        fs::write(home.join(".cargo/config.toml"), "not [toml").unwrap();
        fs::write(home.join(".gemrc"), [0xff, 0xfe, 0]).unwrap();
        symlink("/dev/zero", home.join(".condarc")).unwrap();
        symlink(".yarnrc", home.join(".yarnrc")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(home.join(".bundle-fifo")).status().unwrap();
        assert!(pipe.success());
        let env =
            BTreeMap::from([("PIP_CONFIG_FILE".into(), home.join(".bundle-fifo").display().to_string())]);
        assert!(find(home, Path::new("/nonexistent"), &env).is_empty());
    }
}
