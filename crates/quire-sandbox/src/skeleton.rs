//! Two thin layers over the live system, for an ordinary user, who is the only one there is inside.
//!
//! Files of anyone else's belong to nobody there, and the kernel copies none of them up: without help nothing could be
//! installed. A directory of an overlay, though, belongs to whom its newest layer says. So the system's directories are
//! made once more, empty and his (`outline-KEY`); and the few files that are changed in place, rather than replaced, are
//! copied (`files-KEY`). Both lie in quire's data directory and stand, read-only, under every sandbox of the machine.
//!
//! A layer is never changed. Its name says what it was made from, so that another one is made when that changes: the outline
//! when packages come and go, which takes seconds; the files when one of them is edited, which takes a moment. What the
//! person edits in `/etc` is therefore seen by the next sandbox. A layer is made beside its place and renamed, and its
//! users hold a shared lock on it, so that what nobody holds may be removed.

mod listing;

use listing::{Entry, Kind};
use quire_core::Hash;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps, XattrFlags, flock};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Layers that stand while this lives; none for root, who needs none.
#[derive(Default)]
pub struct Skeleton {
    /// For [`crate::Spec::skeleton`].
    pub layers: Vec<PathBuf>,
    _held: Vec<OwnedFd>,
}

/// Entries between two words of progress.
const STEP: usize = 500;

/// Returns the skeleton of the system as it is now, made in the directory `system` where it is missing; blocks until then.
/// `progress` is told entries made and entries to make. Two at once wait for each other.
pub fn skeleton(system: &Path, progress: &dyn Fn(u64, u64)) -> io::Result<Skeleton> {
    if rustix::process::geteuid().is_root() {
        return Ok(Skeleton::default());
    }
    let files = listing::files();
    let names = [format!("files-{}", key(&files)), format!("outline-{}", listing::outline_key())];
    stand(system, &names, &|layer| if layer == 0 { listing::files() } else { listing::outline() }, progress)
}

/// Makes those of the layers that are missing, of what `list` says of each, and holds all.
fn stand(
    system: &Path,
    names: &[String],
    list: &dyn Fn(usize) -> Vec<Entry>,
    progress: &dyn Fn(u64, u64),
) -> io::Result<Skeleton> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(system)?;
    if let Some(skeleton) = hold(system, names)? {
        return Ok(skeleton);
    }
    loop {
        let lock = fs::File::create(system.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        clear(system, names)?;
        for (layer, name) in names.iter().enumerate().filter(|(_, name)| !system.join(name).exists()) {
            let new = system.join("new");
            make(&list(layer), &new, progress)?;
            // It may outlive the boot. No content is in the outline, and directories come to the disk in order.
            rustix::fs::fsync(open(&new)?)?;
            fs::rename(&new, system.join(name))?;
        }
        if let Some(skeleton) = hold(system, names)? {
            return Ok(skeleton);
        }
    }
}

/// Holds the layers of these names, if all are there.
fn hold(system: &Path, names: &[String]) -> io::Result<Option<Skeleton>> {
    let mut skeleton = Skeleton::default();
    for name in names {
        let layer = system.join(name);
        let held = match open(&layer) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        flock(&held, FlockOperation::LockShared)?;
        // Whoever removes one takes it from its place first.
        let still = fs::symlink_metadata(&layer).is_ok_and(|there| {
            rustix::fs::fstat(&held)
                .is_ok_and(|here| (here.st_dev, here.st_ino) == (there.dev(), there.ino()))
        });
        if !still {
            return Ok(None);
        }
        skeleton.layers.push(layer);
        skeleton._held.push(held);
    }
    Ok(Some(skeleton))
}

fn open(layer: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(layer, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Takes what nobody holds, and what a killed process left, from its place, and removes it beside the caller's work: a
/// process that ends meanwhile leaves the rest to the next one. The caller holds the lock.
fn clear(system: &Path, wanted: &[String]) -> io::Result<()> {
    let mut old = Vec::new();
    for entry in fs::read_dir(system)? {
        let (path, name) = { entry.map(|entry| (entry.path(), entry.file_name())) }?;
        if name == "lock" || wanted.iter().any(|wanted| name == **wanted) {
            continue;
        }
        if name.as_encoded_bytes().starts_with(b"old-") {
            old.push(path);
            continue;
        }
        let Ok(held) = open(&path) else { continue };
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let mut aside = OsString::from(format!("old-{}-", std::process::id()));
        aside.push(&name);
        fs::rename(&path, system.join(&aside))?;
        old.push(system.join(aside));
    }
    if !old.is_empty() {
        // Where no thread can be had they stay until the next time.
        let _ = std::thread::Builder::new()
            .name("skeleton".into())
            .spawn(move || old.iter().for_each(|path| drop(fs::remove_dir_all(path))));
    }
    Ok(())
}

/// Returns the name of what such a listing makes.
fn key(entries: &[Entry]) -> String {
    let mut text: Vec<u8> = entries.iter().flat_map(|entry| entry.stamp().into_bytes()).collect();
    // Such a layer is not synced: after a power cut there is another boot, and another layer.
    text.extend(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    Hash::of(&text).short()
}

/// Makes what is listed, in order, in the new directory `made`.
fn make(entries: &[Entry], made: &Path, progress: &dyn Fn(u64, u64)) -> io::Result<()> {
    fs::create_dir(made)?;
    fs::set_permissions(made, fs::Permissions::from_mode(0o755))?;
    for (count, Entry { path, kind }) in entries.iter().enumerate() {
        if count % STEP == 0 {
            progress(count as u64, entries.len() as u64);
        }
        let place = made.join(path);
        match kind {
            Kind::Directory { mode } => {
                fs::create_dir(&place)?;
                // The person's umask is not the system's.
                fs::set_permissions(&place, fs::Permissions::from_mode(mode | 0o700))?;
            }
            Kind::Closed => {
                fs::create_dir(&place)?;
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
                rustix::fs::setxattr(&place, "user.overlay.opaque", b"y", XattrFlags::empty())?;
            }
            Kind::Copy { mtime, mtime_nsec, needed, .. } => {
                if fs::copy(Path::new("/").join(path), &place).is_ok() {
                    let time = Timespec { tv_sec: *mtime, tv_nsec: *mtime_nsec };
                    let times = Timestamps { last_access: time, last_modification: time };
                    rustix::fs::utimensat(CWD, &place, &times, rustix::fs::AtFlags::empty())?;
                } else if *needed {
                    fs::write(&place, "")?;
                } else {
                    let _ = fs::remove_file(&place);
                }
            }
            Kind::Text(text) => {
                fs::write(&place, text)?;
                fs::set_permissions(&place, fs::Permissions::from_mode(0o644))?;
            }
        }
    }
    progress(entries.len() as u64, entries.len() as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn names(system: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(system)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("old-"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn made_once_and_leftovers_go_unless_they_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("system");
        for left in ["new/usr", "files-0123/etc", "outline-0123/usr", "outline-4567/usr"] {
            fs::create_dir_all(system.join(left)).unwrap();
        }
        let held = hold(&system, &["outline-4567".to_owned()]).unwrap().unwrap();
        let list = |layer| {
            let top = if layer == 0 { "etc" } else { "usr" };
            vec![Entry { path: top.into(), kind: Kind::Directory { mode: 0o755 } }]
        };
        let wanted = ["files-89ab".to_owned(), "outline-89ab".to_owned()];
        let told = AtomicU64::new(0);
        let first = stand(&system, &wanted, &list, &|done, _| told.store(done, Ordering::Relaxed)).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(first.layers[0].join("etc").is_dir() && first.layers[1].join("usr").is_dir());
        assert_eq!(names(&system), ["files-89ab", "lock", "outline-4567", "outline-89ab"]);
        drop(held);

        let again = stand(&system, &wanted, &|_| panic!("made again"), &|_, _| ()).unwrap();
        assert_eq!(first.layers, again.layers);
    }

    #[test]
    fn a_listing_is_made_with_its_modes_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("made");
        let entry = |path: &str, kind| Entry { path: path.into(), kind };
        let copy = |needed| Kind::Copy {
            mtime: 12,
            mtime_nsec: 5,
            ctime: 0,
            ctime_nsec: 0,
            ino: 0,
            size: 0,
            needed,
        };
        let entries = [
            entry("etc", Kind::Directory { mode: 0o1777 }),
            entry("etc/passwd", copy(false)),
            entry("etc/gone", copy(false)),
            entry("etc/gone-and-needed", copy(true)),
            entry("etc/closed", Kind::Closed),
            entry("etc/said", Kind::Text("said\n".into())),
        ];
        make(&entries, &made, &|_, _| ()).unwrap();
        assert_eq!(fs::metadata(made.join("etc")).unwrap().mode() & 0o7777, 0o1777);
        let passwd = fs::metadata(made.join("etc/passwd")).unwrap();
        assert_eq!((passwd.mtime(), passwd.mtime_nsec()), (12, 5));
        assert!(!made.join("etc/gone").exists());
        assert_eq!(fs::read(made.join("etc/gone-and-needed")).unwrap(), b"");
        assert_eq!(fs::read(made.join("etc/said")).unwrap(), b"said\n");
        let mut mark = [0; 1];
        assert_eq!(rustix::fs::getxattr(made.join("etc/closed"), "user.overlay.opaque", &mut mark), Ok(1));
        assert_ne!(key(&entries), key(&entries[1..]));
    }
}
