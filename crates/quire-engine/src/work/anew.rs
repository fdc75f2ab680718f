//! What a person committed while an agent worked, where its copy is made anew: the index that the agent's git wrote goes by the commit
//! that was HEAD before, and lies over the copy. Its next commit would take back all that the person committed meanwhile. So where the
//! agent has no commit of its own, the index is laid over that as the new copy has it.

use super::Work;
use crate::beside;
use crate::freeze::Frozen;
use crate::git::GitError;
use crate::git::inside::{Inside, View};
use crate::rooted::Rooted;
use crate::stack::Stack;
use quire_core::{RelPath, Task};
use quire_sandbox::{Rung, layer};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Work {
    /// Lays indexes over those that are out of date, in the layer that is open next.
    pub(super) fn renew_indexes(
        &self,
        task: &Task,
        old: &[Frozen],
        new: &[Frozen],
        rung: Rung,
    ) -> io::Result<()> {
        let (layers, open) = (self.layers_now(task), self.place.layer(task.layer));
        renew(old, new, &layers, &open, rung)
    }
}

/// As [`Work::renew_indexes`]: of the copies `old` and `new`, below `layers`, in `open`.
fn renew(old: &[Frozen], new: &[Frozen], layers: &[PathBuf], open: &Path, rung: Rung) -> io::Result<()> {
    for (index, (was, now)) in old.iter().zip(new).enumerate() {
        let folder = (View::of(was, layers, index)?, View::of(now, layers, index)?);
        one(&folder.0, &folder.1, &layer::folder(open, index), rung)?;
        let (Some(was), Some(now)) = (&was.beside, &now.beside) else { continue };
        if beside::number(new, index) == index {
            let git = (View::beside(was, layers, index)?, View::beside(now, layers, index)?);
            one(&git.0, &git.1, &layer::git(open, index), rung)?;
        }
    }
    if open.is_dir() {
        layer::note_marks(open, rung.marks())?;
        rustix::fs::syncfs(fs::File::open(open)?)?;
    }
    Ok(())
}

fn one(old: &View, new: &View, to: &Path, rung: Rung) -> io::Result<()> {
    for found in new.changes.iter().filter(|found| found.path.name() == b"index") {
        let Some((was, now)) = heads(old, &found.path)?.zip(heads(new, &found.path)?) else { continue };
        let (_, (is, shows)) = (was.1, now);
        // Nothing was committed meanwhile, or the agent has commits of its own.
        if was.0 == is || shows != is {
            continue;
        }
        match new.base.find(&found.path)? {
            Some(index) => {
                lay(&new.whole, &new.base.content(&index)?, index.print.mode, &found.path, to, rung)?
            }
            None => continue,
        }
    }
    Ok(())
}

/// Returns the commit that HEAD is in the copy, and with the layers, of the working tree whose index lies at a path.
fn heads(view: &View, index: &RelPath) -> io::Result<Option<(Option<String>, Option<String>)>> {
    let own = index.parent();
    let head = crate::rooted::below(own.as_ref(), b"HEAD")?;
    if view.whole.find(&head)?.is_none() {
        return Ok(None);
    }
    // A linked worktree's lies in the repository that it is of.
    let above = own.as_ref().and_then(RelPath::parent);
    let dir = match &above {
        Some(above) if above.name() == b"worktrees" => above.parent(),
        _ => own,
    };
    match (Inside { view, dir, head }).heads() {
        Ok(heads) => Ok(Some(heads)),
        Err(GitError::Io(why)) => Err(why),
        // It has more references than are read.
        Err(_) => Ok(None),
    }
}

/// Writes a file over what the layers have at its path. Where an agent has been in the layer, no link of its leads out of it.
fn lay(
    whole: &Stack,
    content: &fs::File,
    mode: u32,
    path: &RelPath,
    to: &Path,
    rung: Rung,
) -> io::Result<()> {
    let own = |made: BorrowedFd<'_>, mode: u32| -> io::Result<()> {
        if rung.shifts_owners() {
            let base = quire_sandbox::INSIDE_BASE;
            rustix::fs::fchown(made, Some(Uid::from_raw(base)), Some(Gid::from_raw(base)))?;
        }
        Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(mode & 0o777))?)
    };
    let is_new = !to.is_dir();
    fs::create_dir_all(to)?;
    let to = Rooted::open(to)?;
    if is_new {
        own(to.as_fd(), whole.top_print()?.mode)?;
    }
    let mut dirs = vec![];
    let mut up = path.parent();
    while let Some(dir) = up {
        up = dir.parent();
        dirs.push(dir);
    }
    let name = |path: &RelPath| OsStr::from_bytes(path.name()).to_owned();
    for dir in dirs.iter().rev() {
        if to.print(Some(dir))?.is_none() {
            rustix::fs::mkdirat(to.parent(dir)?, name(dir), Mode::RWXU)?;
            let made = to.open_at(Some(dir), OFlags::RDONLY | OFlags::DIRECTORY)?;
            own(made.as_fd(), whole.find(dir)?.map_or(0o755, |found| found.print.mode) | 0o700)?;
        }
    }
    let parent = to.parent(path)?;
    match rustix::fs::unlinkat(&parent, name(path), AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        gone => gone?,
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut made = fs::File::from(rustix::fs::openat(&parent, name(path), flags, Mode::RUSR | Mode::WUSR)?);
    io::copy(&mut &*content, &mut made)?;
    own(made.as_fd(), mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beside::Whose;
    use crate::{freeze, testing};
    use quire_core::event::Base;

    fn sh(dir: &Path, script: &str) -> String {
        testing::sh(dir, dir, script)
    }

    /// Returns the copy of a folder with its repository; of one that was copied before, the next.
    fn frozen(data: &Path, folder: &Path, before: Option<&Base>) -> (Vec<Frozen>, Base) {
        let folders = [folder.to_owned()];
        let mut frozen = vec![freeze::freeze(data, folder, &|_, _| {}).unwrap()];
        let home = data.parent().unwrap().to_str().unwrap().to_owned();
        let env = [("HOME".to_owned(), home)];
        let whose = Whose::new(data, &folders, &[], &env);
        let git = whose.freeze(&mut frozen, before.map(std::slice::from_ref), u64::MAX, &|_, _| {}).unwrap();
        let Frozen { id, delta, files, bytes, .. } = frozen[0];
        let base = Base { id, delta, files, bytes, git: git.into_iter().next().unwrap() };
        (frozen, base)
    }

    fn content(stack: &Stack, path: &str) -> Vec<u8> {
        let found = stack.find(&RelPath::new(path).unwrap()).unwrap().unwrap();
        let mut content = vec![];
        io::Read::read_to_end(&mut stack.content(&found).unwrap(), &mut content).unwrap();
        content
    }

    #[test]
    fn no_link_leads_out_of_a_layer() {
        let temp = tempfile::tempdir().unwrap();
        let (layer, outside) = (temp.path().join("layer"), temp.path().join("outside"));
        fs::create_dir_all(layer.join("real")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("index"), "theirs").unwrap();
        std::os::unix::fs::symlink(&outside, layer.join(".git")).unwrap();
        std::os::unix::fs::symlink(outside.join("index"), layer.join("real/index")).unwrap();
        let whole = Stack::open(std::slice::from_ref(&layer)).unwrap();
        let laid = |path: &str| {
            let content = fs::File::open("/proc/self/cmdline").unwrap();
            lay(&whole, &content, 0o644, &RelPath::new(path).unwrap(), &layer, Rung::Copy)
        };
        assert!(laid(".git/index").is_err());
        laid("real/index").unwrap();
        assert!(fs::symlink_metadata(layer.join("real/index")).unwrap().is_file());
        assert_eq!(fs::read(outside.join("index")).unwrap(), b"theirs");
    }

    #[test]
    fn an_index_of_before_the_persons_commits_does_not_lie_over_them() {
        let begun = "git init -qb main r; cd r; mkdir in out; echo i > in/i; echo o > out/o; git add .; git commit -qm 1; \
                     git worktree add -q ../w; git branch other";
        let theirs = "echo n > out/new; echo O > out/o; git add .; git commit -qm theirs";
        // What is copied, where its index is in its layer, what the person did, what the agent committed, whether it is laid anew.
        let rows = [
            ("r", "folder-0/.git/index", theirs, None, true),
            ("r/in", "git-0/index", theirs, None, true),
            ("w", "git-0/worktrees/w/index", theirs, None, true),
            ("w/in", "git-0/worktrees/w/index", theirs, None, true),
            (
                "r",
                "folder-0/.git/index",
                "git checkout -q --detach; echo x >> in/i; git commit -qam x",
                None,
                true,
            ),
            ("r", "folder-0/.git/index", "git checkout -q other; echo more > in/i", None, false),
            ("r", "folder-0/.git/index", "git rm -q out/o", None, false),
            ("r", "folder-0/.git/index", theirs, Some("folder-0/.git/refs/heads/main"), false),
            ("r/in", "git-0/index", theirs, Some("git-0/refs/heads/main"), false),
            ("w/in", "git-0/worktrees/w/index", theirs, Some("git-0/refs/heads/w"), false),
        ];
        for (folder, index, did, committed, expected) in rows {
            let temp = tempfile::tempdir().unwrap();
            let at = temp.path().canonicalize().unwrap();
            let (data, folder) = (at.join("data"), at.join(folder));
            fs::create_dir(&data).unwrap();
            sh(&at, begun);
            let (old, base) = frozen(&data, &folder, None);
            let (layers, open) = ([at.join("layers/0")], at.join("layers/1"));
            let (sealed, anew) = (layers[0].join(index), open.join(index));
            fs::create_dir_all(sealed.parent().unwrap()).unwrap();
            let inner = index.split_once('/').unwrap().1;
            let stack_of = |frozen: &[Frozen]| match &frozen[0].beside {
                Some(beside) => beside.frozen.stack().unwrap(),
                None => frozen[0].stack().unwrap(),
            };
            // As git has it once it looked.
            fs::write(&sealed, [&content(&stack_of(&old), inner)[..], b" "].concat()).unwrap();
            if let Some(committed) = committed {
                fs::create_dir_all(layers[0].join(committed).parent().unwrap()).unwrap();
                fs::write(layers[0].join(committed), format!("{}\n", "1".repeat(40))).unwrap();
            }
            let top = if folder.starts_with(at.join("w")) { "w" } else { "r" };
            sh(&at.join(top), did);
            let (new, _) = frozen(&data, &folder, Some(&base));
            renew(&old, &new, &layers, &open, Rung::Copy).unwrap();
            assert_eq!(anew.exists(), expected, "{index}, {did}, {committed:?}");
            if expected {
                assert_eq!(fs::read(&anew).unwrap(), content(&stack_of(&new), inner), "{index}, {did}");
            }
            // Once more, as by who finds it done.
            renew(&old, &new, &[std::slice::from_ref(&open), &layers[..]].concat(), &open, Rung::Copy)
                .unwrap();
            assert_eq!(anew.exists(), expected, "{index}, {did}, {committed:?}");
        }
    }
}
