//! A disk with no room: said as such, nothing half written, and as before once there is room again.

use super::{child, home, opened, said, store};
use quire_engine::blob::BlobError;
use quire_engine::database::DiskKind;
use quire_engine::store::{AppendError, Store, Writer};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::path::Path;

fn limit_files(bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    setrlimit(Resource::Fsize, limit).unwrap();
}

/// No file may grow beyond a limit, which every user can set; the kernel then says EFBIG where a full disk says ENOSPC.
pub fn cramped_role(home: &Path) {
    // SAFETY: no handler is installed; the signal is only ignored, so that writing fails instead of ending us.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let store = store(home);
    let wal = home.join("quire.db-wal").metadata().map_or(0, |wal| wal.len());
    limit_files(Some(wal + 300_000));
    fill_and_recover(&store, || limit_files(None));
}

/// Fills the disk by appending and by putting; `make_room` ends the shortage.
fn fill_and_recover(store: &Store, make_room: impl FnOnce()) {
    let task = store.create(vec![opened()]).wait().unwrap().task;
    let mut seq = 1;
    let error = loop {
        match store.append(task, seq, Writer::Person, vec![said("a"), said("b".repeat(50_000))]).wait() {
            Ok(now) => seq = now,
            Err(e) => break e,
        }
        assert!(seq < 10_000, "the disk is never full");
    };
    let AppendError::Disk(disk) = &error else { panic!("{error}") };
    assert!(matches!(disk.kind, DiskKind::Full | DiskKind::Failed), "{error}");
    // What was there is there, and what failed is not: in memory, and on the disk.
    assert_eq!(store.task(task).unwrap().seq, seq);
    assert_eq!(store.events(task, 0).unwrap().len() as u64, seq);

    let content = vec![7; 2_000_000];
    let put = store.blobs().put(&[&content]);
    assert!(matches!(&put, Err(BlobError::Disk(disk)) if disk.kind == DiskKind::Full), "{put:?}");

    make_room();
    assert_eq!(store.append(task, seq, Writer::Person, vec![said("c")]).wait().unwrap(), seq + 1);
    let blob = store.blobs().put(&[&content]).unwrap()[0];
    assert!(store.blobs().get(&blob).unwrap() == content);
    store.check().unwrap();
}

#[test]
fn a_file_that_may_not_grow() {
    let home = home();
    let out = child("cramped", home.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// Needs root, for the mount.
#[test]
fn a_full_file_system() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a small tmpfs and must be run as root");
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
    let home = home();
    let size = Some(c"size=3m");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", home.path(), "tmpfs", flags, size).unwrap();
    let _mounted = Mounted(home.path());
    let ballast = home.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1_500_000]).unwrap();
    let store = store(home.path());
    fill_and_recover(&store, || {
        std::fs::remove_file(&ballast).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount_remount(home.path(), flags, c"size=20m").unwrap();
    });
}
