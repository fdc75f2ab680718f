//! What tests of folders share.

use crate::freeze::freeze;
use crate::store::{Store, Writer};
use proptest::prelude::*;
use quire_core::beside::Beside;
use quire_core::bytes::escape;
use quire_core::charter::{Charter, Edits, Limits, Model, Purpose, Sandbox, Wire};
use quire_core::event::{Apart, Base, Conventions};
use quire_core::message::Stop;
use quire_core::{Event, Hash, Reply, Usage};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A charter that asks a recorded model.
pub fn charter() -> Charter {
    let model = Model {
        provider: "lab".into(),
        name: "tape".into(),
        wire: Wire::Tape,
        base_url: "tape.jsonl".into(),
        key_env: Some("LAB_KEY".into()),
        edits: Edits::ApplyPatch,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    };
    Charter {
        folders: vec!["/somewhere".into()],
        model: Some(model),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![],
        limits: Limits::default(),
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    }
}

/// Opens a task on `folder`, copies that, and returns the task at the point where it asks its model.
pub async fn begun(store: &Store, home: &Path, folder: &Path) -> u64 {
    begun_beside(store, home, folder, None).await
}

/// The same, where the folder's repository lies outside of it.
pub async fn begun_beside(store: &Store, home: &Path, folder: &Path, git: Option<Beside>) -> u64 {
    let folder = folder.canonicalize().expect("a folder");
    let charter = Charter { folders: vec![folder.clone()], ..charter() };
    let frozen = freeze(home, &folder, &|_, _| {}).expect("a copy");
    let base = Base { id: frozen.id, delta: frozen.delta, files: frozen.files, bytes: frozen.bytes, git };
    let first = vec![
        Event::Opened { charter: Box::new(charter), words: "tidy up".into() },
        Event::Equipped {
            system: "s".into(),
            tools: vec![],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Frozen { bases: vec![base] },
    ];
    store.create(first).await.expect("a task").task
}

/// Appends to a task's log.
pub async fn tell(store: &Store, task: u64, events: Vec<Event>) {
    let seq = store.task(task).expect("a task").seq;
    store.append(task, seq, Writer::Person, events).await.expect("what can follow");
}

/// Ends the task's turn with a version that is `snapshot`.
pub async fn present(store: &Store, task: u64, snapshot: Hash) {
    present_with(store, task, snapshot, Apart::default()).await;
}

/// As [`present`], where the version changed what is apart too.
pub async fn present_with(store: &Store, task: u64, snapshot: Hash, apart: Apart) {
    let now = store.task(task).expect("a task");
    let reply = Reply {
        wire: Wire::Tape,
        items: vec![],
        text: "Done.".into(),
        calls: vec![],
        stop: Stop::Done,
        usage: Usage::default(),
        by: String::new(),
    };
    let ended = vec![
        Event::Asked { heard: now.seq, worst: None },
        Event::Replied { reply },
        Event::Sealed { layer: now.layer, snapshot, apart, checks: vec![], files: None },
        Event::Presented { version: now.versions.len() as u32 + 1, snapshot },
    ];
    tell(store, task, ended).await;
}

/// Makes `upper` the layer by which `now` differs from `was`, with a whiteout for what is gone.
pub fn differ(was: &Path, now: &Path, upper: &Path) {
    let names = |dir: &Path| -> Vec<std::ffi::OsString> {
        fs::read_dir(dir)
            .map_or(vec![], |names| names.map(|name| name.expect("a name").file_name()).collect())
    };
    fs::create_dir_all(upper).expect("a layer");
    for name in names(now) {
        let (was, now, upper) = (was.join(&name), now.join(&name), upper.join(&name));
        if now.is_dir() && !now.is_symlink() {
            differ(&was, &now, &upper);
        } else if now.is_symlink() || fs::read(&was).ok() != fs::read(&now).ok() {
            fs::copy(&now, &upper).expect("a file");
        }
    }
    for name in names(was).into_iter().filter(|name| now.join(name).symlink_metadata().is_err()) {
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty());
        rustix::fs::mknodat(rustix::fs::CWD, upper.join(name), kind, mode, 0).expect("a whiteout");
    }
}

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

/// What a person may do to a folder between two tasks, or an agent to its copy.
#[derive(Clone, Debug)]
pub enum Edit {
    Write(u8, u8),
    Link(u8, u8),
    Dir(u8),
    Remove(u8),
    Mode(u8, u16),
}

pub fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let path = 0u8..27;
    let edit = prop_oneof![
        (path.clone(), any::<u8>()).prop_map(|(p, c)| Edit::Write(p, c)),
        (path.clone(), any::<u8>()).prop_map(|(p, c)| Edit::Link(p, c)),
        path.clone().prop_map(Edit::Dir),
        path.clone().prop_map(Edit::Remove),
        (path, prop_oneof![Just(0o700u16), Just(0o755), Just(0o640), Just(0o444)])
            .prop_map(|(p, m)| Edit::Mode(p, m)),
    ];
    prop::collection::vec(edit, 0..12)
}

/// 27 paths, three levels of three names each: small enough that edits meet.
fn path_of(n: u8) -> String {
    match n {
        0..3 => format!("{n}"),
        3..9 => format!("{}/{}", n % 3, n % 2),
        _ => format!("{}/{}/{}", n % 3, n % 2, n % 5),
    }
}

pub fn edit(folder: &Path, edit: &Edit) {
    let at = |n: &u8| folder.join(path_of(*n));
    let clear = |path: &Path| match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    // An edit that cannot be done (its parent is a file) is none.
    let _ = match edit {
        Edit::Write(p, c) => clear(&at(p)).and_then(|()| fs::write(at(p), [*c])),
        Edit::Link(p, c) => clear(&at(p)).and_then(|()| symlink(format!("t{c}"), at(p))),
        Edit::Dir(p) => fs::create_dir_all(at(p)),
        Edit::Remove(p) => clear(&at(p)),
        Edit::Mode(p, m) if at(p).symlink_metadata().is_ok_and(|m| !m.is_symlink()) => {
            fs::set_permissions(at(p), fs::Permissions::from_mode(u32::from(*m)))
        }
        Edit::Mode(..) => Ok(()),
    };
}

/// Runs a shell script in `dir` as a person with a home and no settings of git's but a name, and returns what it prints.
pub fn sh(home: &Path, dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(dir).env("HOME", home);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ALLOW_PROTOCOL", "file");
    for (name, value) in [("NAME", "Ada"), ("EMAIL", "ada@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let ended = command.output().expect("sh runs");
    assert!(ended.status.success(), "{script}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("text").trim_end().to_owned()
}

/// Mounts layers as one tree, as the sandbox does, runs `act` in it, and unmounts. Needs root; nobody else sees the mount.
pub fn overlay<T: Send>(lowers: &[PathBuf], upper: &Path, act: impl FnOnce(&Path) -> T + Send) -> T {
    use rustix::mount::{MountFlags, UnmountFlags};
    let work = tempfile::tempdir_in(upper.parent().expect("a parent")).expect("a work directory");
    let at = tempfile::tempdir().expect("a mount point");
    let lower: Vec<_> = lowers.iter().map(|l| l.to_str().expect("a plain path")).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        upper.display(),
        work.path().display()
    );
    let options = std::ffi::CString::new(options).expect("no NUL");
    in_private_mounts(|| {
        let flags = MountFlags::empty();
        rustix::mount::mount("overlay", at.path(), "overlay", flags, options.as_c_str()).expect("an overlay");
        let out = act(at.path());
        // A child that another test begins just now holds what is open here for a moment.
        rustix::mount::unmount(at.path(), UnmountFlags::DETACH).expect("unmounted");
        out
    })
}

/// Runs `act` where what it mounts is seen by nobody else, and is gone with it. Needs root.
pub fn in_private_mounts<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    use rustix::mount::MountPropagationFlags;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only this thread's view of mounts and its working directory become its own.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
                .expect("these tests need root");
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).expect("a private view");
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
