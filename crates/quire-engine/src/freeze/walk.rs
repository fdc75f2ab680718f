//! What a folder holds, by one stat of each name: the list that is copied, and later compared with.

use crate::ignores::{Ignores, RULES_MAX};
use crate::rooted::{Kind, PATH_MAX, Print, Rooted, below};
use quire_core::RelPath;
use serde::{Deserialize, Serialize};
use std::io;

pub struct Walk {
    pub top: Print,
    /// Every file, directory and link that belongs to the copy; a directory before what is in it.
    pub nodes: Vec<(RelPath, Print)>,
    /// Ignored directories; they are among `nodes`, what they hold is not.
    pub ignored: Vec<RelPath>,
    pub left_out: Vec<LeftOut>,
}

/// Something that the copy does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    pub path: RelPath,
    /// In words for a person.
    pub why: String,
}

/// Reads a small regular file, as the rules about ignored directories want it.
pub fn read_small(root: &Rooted, path: &RelPath) -> Option<Vec<u8>> {
    let file = root.file(path).ok()?;
    let mut content = vec![];
    io::Read::read_to_end(&mut io::Read::take(file, RULES_MAX), &mut content).ok()?;
    Some(content)
}

/// Looks at all of `root`, but for `own`: the data directory, whose files are never even opened. A process that closes a
/// database's file loses its locks on it (POSIX), and another would then take the log away from under it.
pub fn walk(root: &Rooted, own: Option<&RelPath>) -> io::Result<Walk> {
    let top = root.print(None)?.ok_or(io::ErrorKind::NotFound)?;
    let mut walk = Walk { top, nodes: vec![], ignored: vec![], left_out: vec![] };
    let read = |path: &RelPath| read_small(root, path);
    let mut open: Vec<(Option<RelPath>, Ignores)> = vec![(None, Ignores::at_top(&read))];
    while let Some((dir, rules)) = open.pop() {
        let mut names = match root.names(dir.as_ref()) {
            Ok(names) => names,
            Err(e) => {
                let Some(dir) = dir else {
                    return Err(e); // not even the folder itself can be read
                };
                // Whoever cannot be listed is not copied either, so that it never looks empty.
                walk.nodes.retain(|(path, _)| *path != dir);
                let why = match e.raw_os_error() {
                    Some(libc::ENOENT | libc::ENOTDIR) => continue,
                    Some(libc::EXDEV) => "another file system is mounted there".into(),
                    _ => format!("cannot be listed: {e}"),
                };
                walk.left_out.push(LeftOut { path: dir, why });
                continue;
            }
        };
        names.sort();
        let mut inner = vec![];
        for name in names {
            let path = below(dir.as_ref(), &name)?;
            if path.as_bytes().len() > PATH_MAX {
                walk.left_out.push(LeftOut { path, why: "its path is too long".into() });
                continue;
            }
            if own == Some(&path) {
                walk.left_out.push(LeftOut { path, why: "quire's own data".into() });
                continue;
            }
            let print = match root.print(Some(&path)) {
                Ok(Some(print)) => print,
                Ok(None) => continue,
                Err(e) => {
                    walk.left_out.push(LeftOut { path, why: format!("cannot be looked at: {e}") });
                    continue;
                }
            };
            match print.kind {
                Kind::Other | Kind::Whiteout => {
                    walk.left_out.push(LeftOut { path, why: "a device, socket or pipe".into() });
                    continue;
                }
                Kind::Dir if name != b".git" && rules.ignores(&path, &read) => {
                    walk.ignored.push(path.clone())
                }
                Kind::Dir => inner.push((Some(path.clone()), rules.within(Some(&path), &read))),
                Kind::File | Kind::Link => {}
            }
            walk.nodes.push((path, print));
        }
        open.extend(inner.into_iter().rev());
    }
    Ok(walk)
}
