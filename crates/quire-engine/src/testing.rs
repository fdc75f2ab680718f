//! What tests of folders share.

use quire_core::Hash;
use quire_core::bytes::escape;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Returns everything in a folder: path, kind, mode, and content or target.
pub fn tree_of(folder: &Path) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let meta = fs::symlink_metadata(&path).expect("a quiet folder");
            let mode = meta.permissions().mode() & 0o7777;
            let what = if meta.is_symlink() {
                format!("link {}", escape(fs::read_link(&path).expect("a link").as_os_str().as_bytes()))
            } else if meta.is_dir() {
                open.push(path.clone());
                format!("dir {mode:o}")
            } else if meta.is_file() {
                format!("file {mode:o} {}", Hash::of(&fs::read(&path).expect("a readable file")))
            } else {
                "other".into()
            };
            tree.insert(escape(path.strip_prefix(folder).expect("below").as_os_str().as_bytes()), what);
        }
    }
    tree
}
