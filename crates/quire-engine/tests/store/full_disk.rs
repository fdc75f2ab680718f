//! A disk with no room: said as such, nothing half written, and as before once there is room again. And a disk that
//! takes what is written but cannot make it durable.

use super::{child, home, opened, said, store};
use quire_core::Hash;
use quire_engine::blob::BlobError;
use quire_engine::database::{DiskKind, OpenError};
use quire_engine::store::{AppendError, Store, Writer};
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::CStr;
use std::path::Path;
use std::process::Command;

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
    // One batch that can never fit does not take along those that share its transaction.
    let tasks: Vec<_> = (0..3).map(|_| store.create(vec![opened()]).wait().unwrap().task).collect();
    let too_long = || vec![said("a"), said("long ".repeat(6_000_000))];
    let asked: Vec<_> = [vec![said("a")], too_long(), vec![said("a")]]
        .into_iter()
        .zip(&tasks)
        .map(|(events, task)| store.append(*task, 1, Writer::Person, events))
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|receipt| receipt.wait()).collect();
    assert!(matches!(answers[..], [Ok(2), Err(AppendError::Disk(_)), Ok(2)]), "{answers:?}");
    assert_eq!(store.task(tasks[1]).unwrap().seq, 1);

    let task = tasks[0];
    let mut seq = 2;
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

/// Plays `role` with mounts of its own, which end with it: root just has them, others have them as root of a user
/// namespace.
fn apart(role: &str) {
    let home = home();
    let plain = child(role, home.path());
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--"]).arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let out = command.output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn mount_small(home: &Path, size: &CStr) {
    mount("tmpfs", home, "tmpfs", MountFlags::empty(), Some(size)).unwrap();
}

fn resize(home: &Path, size: &CStr) {
    mount_remount(home, MountFlags::empty(), size).unwrap();
}

pub fn full_role(home: &Path) {
    mount_small(home, c"size=3m");
    fill_and_recover(&store(home), || resize(home, c"size=20m"));
}

#[test]
fn a_full_file_system() {
    apart("full");
}

pub fn no_room_role(home: &Path) {
    for size in [c"size=4k", c"size=16k", c"size=32k"] {
        mount_small(home, size);
        let error = Store::open(home).map(drop).unwrap_err();
        assert!(matches!(&error, OpenError::Disk(e) if e.kind == DiskKind::Full), "{size:?}: {error}");
        resize(home, c"size=1m");
        store(home).create(vec![opened()]).wait().unwrap();
    }
}

#[test]
fn a_home_cannot_be_made_where_there_is_no_room() {
    apart("no room");
}

/// From now on no thread of this process can sync anything.
fn forbid_syncing() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};
    let syncs = [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_syncfs];
    let filter = SeccompFilter::new(
        syncs.map(|call| (call, vec![])).into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EIO as u32),
        TargetArch::try_from(std::env::consts::ARCH).unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter_all_threads(&program).unwrap();
}

pub fn unsynced_role(home: &Path) {
    let store = store(home);
    let task = store.create(vec![opened()]).wait().unwrap().task;
    let blob = store.blobs().put(&[b"durable"]).unwrap()[0];
    forbid_syncing();
    let batch = || vec![said("a"), said("b")];
    for _ in 0..2 {
        let append = store.append(task, 1, Writer::Person, batch()).wait();
        assert!(matches!(append, Err(AppendError::Disk(_))), "{append:?}");
        assert_eq!(store.task(task).unwrap().seq, 1);
        let put = store.blobs().put(&[b"not durable"]);
        assert!(matches!(put, Err(BlobError::Disk(_))), "{put:?}");
        assert!(matches!(store.blobs().get(&Hash::of(b"not durable")), Err(BlobError::Missing(_))));
    }
    assert_eq!(store.blobs().get(&blob).unwrap(), b"durable");
}

#[test]
fn what_cannot_be_made_durable_is_not_acknowledged() {
    let home = home();
    let out = child("unsynced", home.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    // It may have happened all the same, but never by half.
    let here = store(home.path());
    let seq = here.task(1).unwrap().seq;
    assert!(seq == 1 || seq == 3, "{seq}");
    assert_eq!(here.append(1, seq, Writer::Person, vec![said("c")]).wait().unwrap(), seq + 1);
    here.check().unwrap();
}
