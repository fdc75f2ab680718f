//! Narrowing a repository to folders within its working tree: inside, nothing else of that tree is there, which git would take for
//! deleted. So its index has all else marked to be skipped, and its settings say that the checkout is sparse, for what git makes anew.
//!
//! That is a layer upon the repository's copy. It is made of the copy alone, so that it is neither the person's change nor the agent's,
//! and whoever finds it missing makes it again.

use crate::freeze::{self, Frozen};
use crate::git::{GitError, git_in};
use crate::rooted::{Kind, sync_dir};
use crate::stack::{Found, Stack};
use quire_core::{Hash, RelPath};
use quire_sandbox::layer;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What git is told of a checkout that is not whole. What it finds outside of it is not looked at either: of some machines that is there.
const SPARSE: &[u8] =
    b"\n[core]\n\tsparseCheckout = true\n\tsparseCheckoutCone = false\n[sparse]\n\texpectFilesOutsideOfPatterns = true\n[index]\n\tsparse = false\n";

/// What git keeps of a merge and the like that is under way. Of the folder alone it cannot be ended: the next commit would be one of a
/// merge that has nothing of what lies outside.
const UNDER_WAY: &[&str] = &[
    "AUTO_MERGE",
    "CHERRY_PICK_HEAD",
    "MERGE_HEAD",
    "MERGE_MODE",
    "MERGE_MSG",
    "REVERT_HEAD",
    "SQUASH_MSG",
    "rebase-apply",
    "rebase-merge",
    "sequencer",
];

/// A folder as a part of a repository: the directory of its working tree there, and its place in that tree, `None` for all of it.
pub type Part = (Option<RelPath>, Option<RelPath>);

/// The places of folders, by the directories of their working trees.
type Trees<'p> = BTreeMap<Option<&'p RelPath>, Vec<&'p RelPath>>;

/// Returns the layer that narrows the copy of a repository to folders.
pub fn narrow(home: &Path, git: &Frozen, parts: &[Part]) -> io::Result<PathBuf> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let mut trees = Trees::new();
    parts.iter().for_each(|(dir, prefix)| trees.entry(dir.as_ref()).or_default().extend(prefix));
    // Where all of a tree is shown nothing of it is narrowed.
    let whole = parts.iter().filter(|(_, prefix)| prefix.is_none()).map(|(dir, _)| dir.as_ref());
    whole.for_each(|dir| trees.entry(dir).or_default().clear());
    let all = home.join("folders").join(git.id.to_string()).join("part");
    let named = serde_json::to_vec(&trees.iter().collect::<Vec<_>>())?;
    let layer = all.join(format!("{}-{}", git.delta, Hash::of(&named).short()));
    if layer.is_dir() {
        return Ok(layer);
    }
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let new = layer.with_extension(format!("new-{}-{number}", std::process::id()));
    let scratch = layer.with_extension(format!("git-{}-{number}", std::process::id()));
    let done = make(git, &trees, &new, &scratch).and_then(|()| {
        rustix::fs::syncfs(fs::File::open(&new)?)?;
        match fs::rename(&new, &layer) {
            // Another made the same meanwhile.
            Err(_) if layer.is_dir() => Ok(()),
            renamed => renamed.and_then(|()| sync_dir(&all)),
        }
    });
    freeze::remove_tree(&new)?;
    freeze::remove_tree(&scratch)?;
    done.map(|()| layer)
}

fn make(git: &Frozen, trees: &Trees<'_>, new: &Path, scratch: &Path) -> io::Result<()> {
    let stack = git.stack()?;
    fs::create_dir_all(new)?;
    let settings = content(&stack, b"config")?.ok_or(io::ErrorKind::NotFound)?;
    if trees.values().any(|prefixes| !prefixes.is_empty()) {
        fs::write(new.join("config"), [&settings, SPARSE].concat())?;
    }
    hide_others(&stack, trees, new)?;
    for (dir, prefixes) in trees.iter().filter(|(_, prefixes)| !prefixes.is_empty()) {
        let within = |name: &[u8]| dir.map_or(name.to_vec(), |dir| [dir.as_bytes(), b"/", name].concat());
        let to = |name: &[u8]| new.join(OsStr::from_bytes(&within(name)));
        fs::create_dir_all(to(b"info"))?;
        if let Some(settings) = content(&stack, &within(b"config.worktree"))? {
            fs::write(to(b"config.worktree"), [&settings, SPARSE].concat())?;
        }
        let patterns = prefixes.iter().map(|prefix| pattern(prefix)).collect::<io::Result<Vec<_>>>()?;
        fs::write(to(b"info/sparse-checkout"), patterns.concat())?;
        freeze::remove_tree(scratch)?;
        let index = index(git, &stack, *dir, &settings, scratch)?;
        skip(&index, prefixes).map_err(io::Error::other)?;
        fs::copy(index.join("index"), to(b"index"))?;
        hide_modules(&stack, *dir, prefixes, new, &index)?;
        UNDER_WAY.iter().try_for_each(|name| hide(&stack, &within(name.as_bytes()), new))?;
    }
    let mut open = vec![(new.to_owned(), stack.top_print()?.mode)];
    while let Some((path, mode)) = open.pop() {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777))?;
        for entry in fs::read_dir(&path)? {
            let path = entry?.path();
            let inner = path.strip_prefix(new).map_err(io::Error::other)?;
            let found =
                RelPath::new(inner.as_os_str().as_bytes()).map(|inner| stack.find(&inner)).transpose()?;
            let mode = found.flatten().map(|found| found.print.mode);
            match path.is_dir() {
                true => open.push((path, mode.unwrap_or(0o755))),
                false => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode.unwrap_or(0o644) & 0o777))?
                }
            }
        }
    }
    Ok(())
}

/// Lays out a repository in which git reads the index of a working tree, and writes it. Returns its directory.
fn index(
    git: &Frozen,
    stack: &Stack,
    dir: Option<&RelPath>,
    settings: &[u8],
    scratch: &Path,
) -> io::Result<PathBuf> {
    for made in ["objects/info", "refs", "tree"] {
        fs::create_dir_all(scratch.join(made))?;
    }
    let head = dir.map_or(b"HEAD".to_vec(), |dir| [dir.as_bytes(), b"/HEAD"].concat());
    let head = content(stack, &head)?.ok_or(io::ErrorKind::NotFound)?;
    fs::write(scratch.join("HEAD"), &head)?;
    let branch =
        head.strip_prefix(b"ref: refs/heads/").map(|name| [b"refs/heads/", name.trim_ascii()].concat());
    for name in [Some(b"packed-refs".to_vec()), branch].into_iter().flatten() {
        let Some(content) = content(stack, &name)? else { continue };
        // What it is below was looked for in the copy: it leads nowhere else.
        let at = scratch.join(OsStr::from_bytes(&name));
        at.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(at, content)?;
    }
    // An index that names whole directories is read with what is in those.
    let mut objects = vec![];
    for lower in git.lowers.iter().map(|lower| lower.join("objects")).filter(|lower| lower.is_dir()) {
        objects.extend([lower.as_os_str().as_bytes(), b"\n"].concat());
    }
    fs::write(scratch.join("objects/info/alternates"), objects)?;
    fs::write(scratch.join("theirs"), settings)?;
    let format = ["config", "--no-includes", "--file", "theirs", "--get", "extensions.objectformat"];
    let format = git_in(scratch, &format, &[], b"").unwrap_or_default();
    let format = match String::from_utf8_lossy(&format).trim() {
        "" => "\trepositoryformatversion = 0\n".to_owned(),
        format => format!("\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = {format}\n"),
    };
    fs::write(
        scratch.join("config"),
        format!("[index]\n\tsparse = false\n[core]\n\tsplitIndex = false\n{format}"),
    )?;
    let place = match dir {
        None => Some(stack.top()?),
        Some(dir) => {
            stack.find(dir)?.filter(|found| found.print.kind == Kind::Dir).map(|found| found.place())
        }
    };
    let place = place.ok_or(io::ErrorKind::NotFound)?;
    let mut has_index = false;
    for name in stack.names(&place, stack.height())? {
        if name != b"index" && !name.starts_with(b"sharedindex.") {
            continue;
        }
        let Some(found) = stack.enter(&place, &name)?.filter(|found| found.print.kind == Kind::File) else {
            continue;
        };
        has_index |= name == b"index";
        io::copy(
            &mut stack.content(&found)?,
            &mut fs::File::create(scratch.join(OsStr::from_bytes(&name)))?,
        )?;
    }
    has_index.then(|| scratch.to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Has an index hold all that lies in none of `prefixes` as it was committed, and marks it: what the person staged there is no business
/// of the agent's, whose next commit would take it along.
fn skip(dir: &Path, prefixes: &[&RelPath]) -> Result<(), GitError> {
    let tree = dir.join("tree");
    let env = [("GIT_DIR", dir.as_os_str()), ("GIT_WORK_TREE", tree.as_os_str())];
    let is_shown = |path: &[u8]| {
        RelPath::new(path).is_some_and(|path| prefixes.iter().any(|prefix| path.is_within(prefix)))
    };
    let listed = git_in(&tree, &["ls-files", "--stage", "-z"], &env, b"")?;
    let staged: BTreeMap<&[u8], &[u8]> = rows(&listed).filter(|(path, _)| !is_shown(path)).collect();
    let kept = match git_in(&tree, &["ls-tree", "-r", "-z", "HEAD"], &env, b"") {
        Ok(kept) => Some(kept),
        Err(error) => match git_in(&tree, &["symbolic-ref", "HEAD"], &env, b"")?.trim_ascii() {
            // References in tables, which are not here.
            b"refs/heads/.invalid" => None,
            // Before the first commit there is none to go by.
            name if is_unborn(dir, name, &env) => Some(vec![]),
            _ => return Err(error),
        },
    };
    let (mut skipped, mut other) = (vec![], vec![]);
    match &kept {
        None => {
            skipped.extend(staged.iter().filter(|(_, head)| head.ends_with(b" 0")).map(|(path, _)| *path))
        }
        Some(kept) => {
            let kept: BTreeMap<&[u8], &[u8]> = rows(kept).filter(|(path, _)| !is_shown(path)).collect();
            for path in staged.keys().filter(|path| !kept.contains_key(*path)) {
                let name = staged[path].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
                other.extend([b"0 ", vec![b'0'; name.len()].as_slice(), b"\t", *path, b"\0"].concat());
            }
            for (path, head) in kept {
                // MODE TYPE NAME here, and MODE NAME STAGE there.
                let parts: Vec<&[u8]> = head.split(|byte| *byte == b' ').collect();
                let [mode, _, name] = parts[..] else { continue };
                let as_kept = [mode, b" ", name, b" 0"].concat();
                if staged.get(path) != Some(&as_kept.as_slice()) {
                    other.extend([&as_kept, b"\t".as_slice(), path, b"\0"].concat());
                }
                skipped.push(path);
            }
        }
    }
    git_in(&tree, &["update-index", "-z", "--index-info"], &env, &other)?;
    let skipped: Vec<u8> = skipped.iter().flat_map(|path| [path, b"\0".as_slice()].concat()).collect();
    let mark =
        ["update-index", "--no-split-index", "--force-write-index", "--skip-worktree", "-z", "--stdin"];
    git_in(&tree, &mark, &env, &skipped).map(drop)
}

/// Hides the submodules of working trees that are not shown.
fn hide_others(stack: &Stack, trees: &Trees<'_>, new: &Path) -> io::Result<()> {
    if !trees.contains_key(&None) {
        hide(stack, b"modules", new)?;
    }
    for tree in dirs_in(stack, b"worktrees")? {
        if !trees.contains_key(&Some(&tree)) {
            hide(stack, &[tree.as_bytes(), b"/modules"].concat(), new)?;
        }
    }
    Ok(())
}

/// Hides the submodules of a working tree that lie in none of `prefixes`: private ones may be among them. `index` is where git reads
/// what the tree has.
fn hide_modules(
    stack: &Stack,
    dir: Option<&RelPath>,
    prefixes: &[&RelPath],
    new: &Path,
    index: &Path,
) -> io::Result<()> {
    let env = [("GIT_DIR", index.as_os_str()), ("GIT_WORK_TREE", index.as_os_str())];
    let listed = git_in(index, &["ls-files", "--stage", "-z"], &env, b"").map_err(io::Error::other)?;
    let links: Vec<&[u8]> =
        rows(&listed).filter(|(_, head)| head.starts_with(b"160000 ")).map(|(path, _)| path).collect();
    let top = dir.map_or(b"modules".to_vec(), |dir| [dir.as_bytes(), b"/modules"].concat());
    let mut open = dirs_in(stack, &top)?;
    while let Some(at) = open.pop() {
        let within = |name: &[u8]| [at.as_bytes(), b"/", name].concat();
        if find(stack, &within(b"HEAD"))?.is_none() {
            // A part of a name.
            open.extend(dirs_in(stack, at.as_bytes())?);
            continue;
        }
        fs::write(index.join("module"), content(stack, &within(b"config"))?.unwrap_or_default())?;
        let ask = ["config", "--no-includes", "--file", "module", "--get", "core.worktree"];
        let tree = git_in(index, &ask, &[], b"").unwrap_or_default();
        let mut tree = tree.strip_suffix(b"\n").unwrap_or(&tree);
        while let Some(inner) = tree.strip_prefix(b"../") {
            tree = inner;
        }
        // It leads from the repository to the tree, which may have a way before it; the longest that fits is the one.
        let fits = |link: &&&[u8]| {
            tree.strip_suffix(**link).is_some_and(|way| way.is_empty() || way.ends_with(b"/"))
        };
        let own = links.iter().filter(fits).max_by_key(|link| link.len());
        let own = own.and_then(|link| RelPath::new(*link));
        if !own.is_some_and(|own| prefixes.iter().any(|prefix| own.is_within(prefix))) {
            hide(stack, at.as_bytes(), new)?;
        }
    }
    Ok(())
}

/// Hides what lies at a path of the copy, if anything does.
fn hide(stack: &Stack, path: &[u8], new: &Path) -> io::Result<()> {
    if find(stack, path)?.is_none() {
        return Ok(());
    }
    let at = new.join(OsStr::from_bytes(path));
    let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(()) };
    fs::create_dir_all(parent)?;
    layer::delete(fs::File::open(parent)?, name)
}

/// Returns the directories that lie in one of the copy.
fn dirs_in(stack: &Stack, path: &[u8]) -> io::Result<Vec<RelPath>> {
    let Some(dir) = find(stack, path)?.filter(|found| found.print.kind == Kind::Dir) else {
        return Ok(vec![]);
    };
    let place = dir.place();
    let mut dirs = vec![];
    for name in stack.names(&place, stack.height())? {
        let found = stack.enter(&place, &name)?.filter(|found| found.print.kind == Kind::Dir);
        dirs.extend(found.map(|found| found.path));
    }
    Ok(dirs)
}

/// Returns whether the branch that HEAD names has no commit, in a repository that was laid out for its index.
fn is_unborn(dir: &Path, name: &[u8], env: &[(&str, &OsStr)]) -> bool {
    let may_be = name.starts_with(b"refs/heads/") && !dir.join(OsStr::from_bytes(name)).exists();
    may_be && git_in(&dir.join("tree"), &["rev-parse", "--quiet", "--verify", "HEAD"], env, b"").is_err()
}

/// Returns the paths of a listing of git's, each with what is said of it. Of several rows of one path the last counts: of one in conflict
/// none is at stage 0.
fn rows(listed: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    listed.split(|byte| *byte == 0).filter_map(|row| {
        let tab = row.iter().position(|byte| *byte == b'\t')?;
        Some((&row[tab + 1..], &row[..tab]))
    })
}

/// Returns the line of a sparse checkout that is all below a directory (gitignore(5)).
fn pattern(prefix: &RelPath) -> io::Result<Vec<u8>> {
    let mut line = vec![b'/'];
    for byte in prefix.as_bytes() {
        match byte {
            b'\n' => return Err(io::Error::other("the folder's name has a line's end in it")),
            b'\\' | b'*' | b'?' | b'[' => line.extend([b'\\', *byte]),
            other => line.push(*other),
        }
    }
    line.extend(b"/\n");
    Ok(line)
}

fn find(stack: &Stack, path: &[u8]) -> io::Result<Option<Found>> {
    Ok(RelPath::new(path).map(|path| stack.find(&path)).transpose()?.flatten())
}

fn content(stack: &Stack, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let found = find(stack, path)?.filter(|found| found.print.kind == Kind::File);
    let Some(found) = found else { return Ok(None) };
    let mut content = vec![];
    stack.content(&found)?.read_to_end(&mut content)?;
    Ok(Some(content))
}
