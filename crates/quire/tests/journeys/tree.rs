//! A whole tree as a value: what stands at each path, of which kind, with which mode and owner, and its content or target.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[derive(Clone, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<Vec<u8>, Leaf>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
}

#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Link(Vec<u8>),
    Folder,
    Other,
}

impl Tree {
    /// Returns everything below `folder`, and the folder itself as the empty path.
    pub fn of(folder: &Path) -> Tree {
        let mut tree = Tree(BTreeMap::new());
        tree.add(folder, folder);
        tree
    }

    fn add(&mut self, top: &Path, path: &Path) {
        let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kind = match meta.file_type() {
            kind if kind.is_file() => Kind::File(fs::read(path).expect("a file that can be read")),
            kind if kind.is_symlink() => {
                Kind::Link(fs::read_link(path).expect("a link").as_os_str().as_bytes().to_vec())
            }
            kind if kind.is_dir() => Kind::Folder,
            _ => Kind::Other,
        };
        if kind == Kind::Folder {
            for entry in fs::read_dir(path).expect("a folder that can be read") {
                self.add(top, &entry.expect("an entry").path());
            }
        }
        let name = path.strip_prefix(top).expect("a path below").as_os_str().as_bytes().to_vec();
        let leaf = Leaf { kind, mode: meta.mode() & 0o7777, owner: (meta.uid(), meta.gid()) };
        self.0.insert(name, leaf);
    }

    /// Takes out what stands at `path` and below it.
    pub fn without(mut self, path: &[u8]) -> Tree {
        let below = [path, b"/"].concat();
        self.0.retain(|name, _| name != path && !name.starts_with(&below));
        self
    }

    /// Puts a file there, with the folder's owner.
    pub fn with_file(self, path: &[u8], content: &[u8], mode: u32) -> Tree {
        self.with(path, Kind::File(content.to_vec()), mode)
    }

    pub fn with_link(self, path: &[u8], target: &[u8]) -> Tree {
        self.with(path, Kind::Link(target.to_vec()), 0o777)
    }

    pub fn with_folder(self, path: &[u8]) -> Tree {
        self.with(path, Kind::Folder, 0o755)
    }

    fn with(mut self, path: &[u8], kind: Kind, mode: u32) -> Tree {
        let owner = self.0[&b""[..]].owner;
        self.0.insert(path.to_vec(), Leaf { kind, mode, owner });
        self
    }

    /// Fails where the trees differ, and shows where.
    #[track_caller]
    pub fn assert_is(&self, expected: &Tree, when: &str) {
        let names = self.0.keys().chain(expected.0.keys()).collect::<std::collections::BTreeSet<_>>();
        let differ: Vec<String> = names
            .into_iter()
            .filter(|name| self.0.get(*name) != expected.0.get(*name))
            .map(|name| {
                let shown = name.escape_ascii();
                format!(
                    "{shown}\n    is       {:?}\n    expected {:?}",
                    self.0.get(name),
                    expected.0.get(name)
                )
            })
            .collect();
        assert!(differ.is_empty(), "{when}:\n{}", differ.join("\n"));
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::File(content) => {
                write!(f, "file {:?}", &content[..content.len().min(200)].escape_ascii().to_string())
            }
            Kind::Link(target) => write!(f, "link to {:?}", target.escape_ascii().to_string()),
            Kind::Folder => f.write_str("folder"),
            Kind::Other => f.write_str("neither file, link nor folder"),
        }
    }
}

/// Returns every plain file below `dir`.
pub fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(walk(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}
