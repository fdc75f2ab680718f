//! Folders that are not as most are: on other file systems, with mounts in them, with what cannot be copied, large, full.

use super::*;
use crate::testing::in_private_mounts;
use std::os::unix::fs::FileTypeExt;

/// Needs root, to mount.
fn mounted<T: Send>(at: &Path, options: &std::ffi::CStr, act: impl FnOnce() -> T + Send) -> T {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    in_private_mounts(|| {
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).unwrap();
        let done = act();
        unmount(at, UnmountFlags::DETACH).unwrap();
        done
    })
}

#[test]
fn a_folder_on_another_file_system_is_copied_whole() {
    let case = case();
    mounted(&case.folder, c"size=64m", || {
        case.write("small", "s");
        case.write("large", &"l".repeat(9 << 20));
        case.write(".git/objects/aa/bb", "object");
        assert_eq!(merged(&case.freeze()), tree_of(&case.folder));
        case.write("large", &"m".repeat(9 << 20));
        let second = case.freeze();
        assert_eq!((second.delta, merged(&second)), (1, tree_of(&case.folder)));
    });
}

#[test]
fn what_is_mounted_in_a_folder_is_told_and_left_out() {
    let case = case();
    case.write("a", "a");
    fs::create_dir(case.folder.join("m")).unwrap();
    mounted(&case.folder.join("m"), c"size=1m", || {
        case.write("m/inner", "of another file system");
        let frozen = case.freeze();
        assert_eq!(frozen.files, 1);
        let left: Vec<String> =
            frozen.left_out.iter().map(|left| format!("{}: {}", left.path, left.why)).collect();
        assert_eq!(left, ["m: another file system is mounted there"]);
    });
}

#[test]
fn sockets_pipes_and_devices_are_told_and_left_out() {
    let case = case();
    case.write("a", "a");
    let _socket = std::os::unix::net::UnixListener::bind(case.folder.join("socket")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, case.folder.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
        .unwrap();
    let mut told = vec!["pipe", "socket"];
    if rustix::process::geteuid().is_root() {
        // The number of /dev/null.
        let null = rustix::fs::makedev(1, 3);
        let device = case.folder.join("device");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &device,
            rustix::fs::FileType::CharacterDevice,
            Mode::RWXU,
            null,
        )
        .unwrap();
        assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
        told.insert(0, "device");
    }
    let frozen = case.freeze();
    let left: Vec<String> = frozen.left_out.iter().map(|left| left.path.to_string()).collect();
    assert_eq!((frozen.files, left), (1, told.into_iter().map(str::to_owned).collect()));
}

/// Ten gigabytes that are not there cost neither time nor space, shared or copied.
#[test]
fn a_sparse_file_stays_sparse() {
    let case = case();
    let sparse = |dir: &Path| {
        let mut file = File::create(dir.join("sparse")).unwrap();
        std::io::Write::write_all(&mut file, b"begins").unwrap();
        file.set_len(10 << 30).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 5 << 30).unwrap();
    };
    let look = |copy: &Frozen| {
        let file = File::open(copy.lowers.last().unwrap().join("sparse")).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), 10 << 30);
        assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
        let mut part = [0; 6];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut part, 5 << 30).unwrap();
        assert_eq!(&part, b"middle");
    };
    sparse(&case.folder);
    look(&case.freeze());
    let other = case.home.join("other");
    fs::create_dir(&other).unwrap();
    mounted(&other, c"size=8m", || {
        sparse(&other);
        look(&freeze_at_most(&case.home, &other, 1 << 20, &quiet).unwrap());
    });
}

/// Needs root, to make a small disk. The first copy and a later one find it full; both are made when there is room.
#[test]
fn a_full_disk_leaves_the_last_copy_and_says_so() {
    let case = case();
    mounted(&case.home, c"size=2m", || {
        case.write("a", &"a".repeat(4 << 20));
        let full = freeze(&case.home, &case.folder, &quiet).unwrap_err();
        assert!(matches!(full, FreezeError::Disk { .. }), "{full}");
        case.write("a", "small");
        let first = case.freeze();
        let tree = tree_of(&case.folder);
        case.write("b", &"b".repeat(4 << 20));
        let full = freeze(&case.home, &case.folder, &quiet).unwrap_err();
        assert!(matches!(full, FreezeError::Disk { .. }), "{full}");
        assert_eq!(merged(&first), tree);
        fs::remove_file(case.folder.join("b")).unwrap();
        case.write("c", "c");
        let later = case.freeze();
        assert_eq!((later.delta, merged(&later)), (1, tree_of(&case.folder)));
    });
}

/// `./test --all`: a folder of a hundred thousand files.
#[test]
fn a_hundred_thousand_files() {
    let files = if std::env::var_os("QUIRE_TEST_ALL").is_some() { 100_000 } else { 2_000 };
    let case = case();
    for n in 0..files {
        case.write(&format!("d{}/e{}/f{n}", n % 10, n % 100), "x");
    }
    assert_eq!(case.freeze().files, files);
    case.write("d1/new", "x");
    assert_eq!(case.freeze().delta, 1);
}
