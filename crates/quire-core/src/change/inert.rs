//! Manifests: files that say what a project is and needs, and in a few of their keys what is run. Most changes of them run nothing, and are
//! asked about no more than other changes are. What is not surely read as its program reads it counts as running something.

use std::collections::BTreeMap;

/// Keys of `package.json` that run nothing: what the package is, what it needs, and where things are.
const PACKAGE_JSON: &[&str] = &[
    "name",
    "version",
    "description",
    "keywords",
    "homepage",
    "bugs",
    "license",
    "author",
    "contributors",
    "funding",
    "repository",
    "private",
    "sideEffects",
    "files",
    "type",
    "main",
    "module",
    "browser",
    "types",
    "exports",
    "engines",
    "dependencies",
    "devDependencies",
    "peerDependencies",
    "optionalDependencies",
];

/// Tables of a manifest in TOML that run nothing: all of it, or only those keys.
type Tables = &'static [(&'static str, &'static [&'static str])];

#[rustfmt::skip]
const CARGO: Tables = &[
    ("dependencies", &[]), ("dev-dependencies", &[]), ("build-dependencies", &[]), ("features", &[]), ("lints", &[]), ("profile", &[]),
    ("workspace", &[]), ("bin", &[]), ("test", &[]), ("example", &[]), ("bench", &[]), ("badges", &[]),
    ("package", &["name", "version", "edition", "rust-version", "authors", "description", "license", "license-file", "repository", "keywords",
        "categories", "readme", "homepage", "documentation", "publish", "default-run", "exclude", "include"]),
    ("lib", &["name", "path", "doctest", "test", "bench", "doc"]),
];

#[rustfmt::skip]
const PYPROJECT: Tables = &[
    ("project", &[]), ("dependency-groups", &[]), ("build-system", &["requires", "build-backend"]),
    ("tool.black", &[]), ("tool.isort", &[]), ("tool.ruff", &[]),
];

/// Returns whether a file of that name, in lower case, is looked into.
pub fn is_manifest(name: &str) -> bool {
    matches!(name, "package.json" | "cargo.toml" | "pyproject.toml")
}

/// Returns whether what differs between a manifest's contents runs nothing.
pub fn is_inert(name: &str, was: &[u8], now: &[u8]) -> bool {
    match name {
        "cargo.toml" => is_inert_toml(CARGO, was, now),
        "pyproject.toml" => is_inert_toml(PYPROJECT, was, now),
        _ => is_inert_json(was, now),
    }
}

fn is_inert_json(was: &[u8], now: &[u8]) -> bool {
    let object = |content: &[u8]| match content {
        b"" => Some(serde_json::Map::new()),
        content => serde_json::from_slice::<serde_json::Map<_, _>>(content).ok(),
    };
    let (Some(was), Some(now)) = (object(was), object(now)) else { return false };
    was.keys()
        .chain(now.keys())
        .all(|key| PACKAGE_JSON.contains(&key.as_str()) || was.get(key) == now.get(key))
}

fn is_inert_toml(tables: Tables, was: &[u8], now: &[u8]) -> bool {
    let (Some(was), Some(now)) = (running(tables, was), running(tables, now)) else { return false };
    was == now
}

/// Returns the lines of a manifest in TOML that may run something, by their table. `None`: it is not surely read, because a line of a text
/// over several may look like a table's name.
fn running(tables: Tables, content: &[u8]) -> Option<BTreeMap<&str, Vec<&str>>> {
    let content = std::str::from_utf8(content).ok()?;
    if content.contains("\"\"\"") || content.contains("'''") {
        return None;
    }
    let (mut found, mut table, mut key, mut open) = (BTreeMap::<&str, Vec<&str>>::new(), "", "", 0i64);
    for line in content.lines().map(str::trim) {
        let bare = bare(line)?;
        // A table's name in quotes, or with spaces, is none that is known.
        let name = line.strip_prefix("[[").or(line.strip_prefix('[')).and_then(|rest| rest.split_once(']'));
        if let (Some((name, _)), 0) = (name, open) {
            (table, key) = (name, "");
            continue;
        }
        if bare.is_empty() {
            continue;
        }
        if open == 0 {
            key = line.split(['=', '.']).next().unwrap_or_default().trim();
        }
        open += bare.matches(['[', '{']).count() as i64 - bare.matches([']', '}']).count() as i64;
        let is_of =
            |name: &str| table == name || table.strip_prefix(name).is_some_and(|sub| sub.starts_with('.'));
        let is_inert = tables.iter().any(|(name, keys)| match keys {
            [] => is_of(name),
            keys => table == *name && keys.contains(&key),
        });
        if !is_inert {
            found.entry(table).or_default().push(line);
        }
    }
    (open == 0).then_some(found)
}

/// Returns a line of TOML without its texts and its comment; `None` where a text does not end.
fn bare(line: &str) -> Option<String> {
    let (mut bare, mut quote, mut escaped) = (String::new(), None, false);
    for c in line.chars() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some('"')) => escaped = true,
            (c, Some(with)) if c == with => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => {
                quote = Some(c);
                bare.push('_');
            }
            ('#', None) => break,
            (c, None) => bare.push(c),
        }
    }
    quote.is_none().then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, was: &str, now: &str) -> bool {
        !is_inert(name, was.as_bytes(), now.as_bytes())
    }

    #[test]
    fn a_package_json_runs_things_where_more_than_words_changed() {
        for (was, now, runs_something) in [
            (r#"{"name":"a","version":"1"}"#, r#"{"name":"b","version":"2"}"#, false),
            ("", r#"{"name":"a"}"#, false),
            ("", r#"{"scripts":{"postinstall":"x"}}"#, true),
            (r#"{"scripts":{"test":"a"}}"#, r#"{"scripts":{"test":"b"}}"#, true),
            (r#"{"scripts":{"test":"a"},"version":"1"}"#, r#"{"scripts":{"test":"a"},"version":"2"}"#, false),
            ("{}", r#"{"dependencies":{"left-pad":"1"}}"#, false),
            ("{}", r#"{"lint-staged":{"*":"x"}}"#, true),
            ("{}", "not json", true),
        ] {
            assert_eq!(runs("package.json", was, now), runs_something, "{was} {now}");
        }
    }

    #[test]
    fn a_cargo_toml_runs_things_where_it_names_what_is_run() {
        let plain = "[package]\nname = \"a\"\n";
        for (now, runs_something) in [
            (
                "[package]\nname = \"b\"\nversion = \"1\"\n\n[dependencies]\nserde = { version = \"1\" }\n",
                false,
            ),
            ("[package]\nname = \"a\"\nkeywords = [\n  \"x\",\n  \"y\",\n]\n", false),
            ("[package]\nname = \"a\"\nbuild = \"evil.rs\"\n", true),
            ("[package]\nname = \"a\"\n[lib]\nproc-macro = true\n", true),
            ("[package]\nname = \"a\"\n[patch.crates-io]\nserde = { path = \"x\" }\n", true),
            ("package.build = \"evil.rs\"\n[dependencies]\n", true),
            ("[\"package\"]\nbuild = \"evil.rs\"\n", true),
            // What only looks as if it were in a table that runs nothing.
            ("[package]\nname = \"\"\"\n[features]\n\"\"\"\nbuild = \"evil.rs\"\n", true),
            ("[package]\nname = \"[\"\nbuild = \"evil.rs\"\n", true),
            ("[package]\nname = [\nbuild = \"evil.rs\"\n", true),
            ("[package]\nname = \"[\"\nbuild = \"evil.rs\"\nversion = \"]\"\n", true),
        ] {
            assert_eq!(runs("cargo.toml", plain, now), runs_something, "{now}");
        }
        let built = "[package]\nname = \"a\"\nbuild = \"x.rs\"\n";
        assert!(!runs("cargo.toml", built, &built.replace("\"a\"", "\"b\"")));
    }

    #[test]
    fn a_pyproject_toml_runs_things_where_a_tool_is_told() {
        let new = "[project]\nname = \"a\"\ndependencies = [\n \"x[y]>1\",\n]\n[build-system]\nrequires = [\"hatchling\"]\n";
        assert!(!runs("pyproject.toml", "", new));
        for more in ["[tool.pytest.ini_options]\naddopts = \"-p evil\"\n", "backend-path = [\".\"]\n"] {
            assert!(runs("pyproject.toml", new, &format!("{new}{more}")), "{more}");
        }
    }
}
