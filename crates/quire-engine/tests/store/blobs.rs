//! Content by its hash.

use super::{child, home, opened, store};
use quire_core::Hash;
use quire_engine::blob::BlobError;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

fn packs(home: &Path) -> Vec<PathBuf> {
    let mut packs: Vec<_> =
        fs::read_dir(home.join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    packs.sort();
    packs
}

fn bytes_stored(home: &Path) -> u64 {
    packs(home).iter().map(|pack| pack.metadata().unwrap().len()).sum()
}

#[test]
fn what_is_put_is_got_whatever_its_size() {
    let home = home();
    let here = store(home.path());
    let sizes = [0, 1, 4095, 256 << 10, (256 << 10) - 1, (256 << 10) + 1, 1 << 20];
    let contents: Vec<Vec<u8>> =
        sizes.iter().map(|size| (0..*size).map(|n| (n % 251) as u8).collect()).collect();
    let views: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let hashes = here.blobs().put(&views).unwrap();
    assert_eq!(packs(home.path()).len(), 1, "what is put together lies in one pack");
    here.create(vec![opened()]).wait().unwrap();
    // Read by who put it, and by another process's store, which knows only what is on the disk.
    for reader in [here.clone(), super::store(home.path())] {
        for (hash, content) in hashes.iter().zip(&contents) {
            assert_eq!(*hash, Hash::of(content));
            assert!(reader.blobs().get(hash).unwrap() == *content);
            let mut open = reader.blobs().open(hash).unwrap();
            assert_eq!(open.len(), content.len() as u64);
            let mut read = vec![];
            open.read_to_end(&mut read).unwrap();
            assert!(read == *content);
        }
    }
}

#[test]
fn nothing_is_a_content_too() {
    let home = home();
    let here = store(home.path());
    for _ in 0..2 {
        let hash = here.blobs().put(&[b""]).unwrap()[0];
        assert_eq!(here.blobs().get(&hash).unwrap(), b"");
    }
}

#[test]
fn a_process_goes_on_in_its_pack_while_it_stands_there() {
    let home = home();
    let here = store(home.path());
    let put = |n: u8| here.blobs().put(&[&[n; 10]]).unwrap()[0];
    let first = put(1);
    let second = put(2);
    assert_eq!(packs(home.path()).len(), 1);
    let mut given_up = here.blobs().pack();
    given_up.add(&[3; 10][..]).unwrap();
    drop(given_up);
    assert_eq!(bytes_stored(home.path()), 20);
    // Two at once do not write into one.
    let (mut left, mut right) = (here.blobs().pack(), here.blobs().pack());
    let (l, r) = (left.add(&[4; 10][..]).unwrap().0, right.add(&[5; 10][..]).unwrap().0);
    left.finish().unwrap();
    right.finish().unwrap();
    // Nobody writes into a file that was taken away.
    for pack in packs(home.path()) {
        fs::rename(&pack, pack.with_extension("away")).unwrap();
    }
    let last = put(6);
    assert_eq!(here.blobs().get(&last).unwrap(), [6; 10]);
    for pack in packs(home.path()).iter().filter(|pack| pack.extension().is_some_and(|e| e == "away")) {
        fs::rename(pack, pack.with_extension("pack")).unwrap();
    }
    for (n, hash) in [(1, first), (2, second), (4, l), (5, r), (6, last)] {
        assert_eq!(here.blobs().get(&hash).unwrap(), [n; 10]);
    }
}

#[test]
fn what_is_there_is_not_written_again() {
    let home = home();
    let here = store(home.path());
    let long = vec![9; 600_000];
    here.blobs().put(&[b"a", b"b", b"a", &long]).unwrap();
    let stored = bytes_stored(home.path());
    assert_eq!(stored, 2 + 600_000);
    // Before its row is committed, after it, and by another process.
    for round in 0..3 {
        let other = super::store(home.path());
        let reader = if round == 2 { &other } else { &here };
        reader.blobs().put(&[b"b", &long, b"a"]).unwrap();
        assert_eq!(bytes_stored(home.path()), stored, "round {round}");
        here.create(vec![opened()]).wait().unwrap();
    }
    // New content between known content: only it is written.
    let hashes = here.blobs().put(&[&long, b"new", &long]).unwrap();
    assert_eq!(bytes_stored(home.path()), stored + 3);
    assert_eq!(here.blobs().get(&hashes[1]).unwrap(), b"new");
}

#[test]
fn blobs_that_no_event_names_are_kept_when_the_store_is_closed() {
    let home = home();
    let hash = store(home.path()).blobs().put(&[b"nothing followed"]).unwrap()[0];
    assert_eq!(store(home.path()).blobs().get(&hash).unwrap(), b"nothing followed");
}

#[test]
fn a_large_file_passes_through_little_memory() {
    let home = home();
    let out = child("large", home.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// In a process of its own, whose memory nobody else uses.
pub fn large_role(home: &Path) {
    let here = store(home);
    let path = home.join("large");
    let mut zeros_and_more = io::repeat(3).take(100 << 20).chain(&b"end"[..]);
    io::copy(&mut zeros_and_more, &mut fs::File::create(&path).unwrap()).unwrap();
    let before = peak_kib();
    let (hash, bytes) = here.blobs().put_file(&fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(bytes, (100 << 20) + 3);
    let mut blob = here.blobs().open(&hash).unwrap();
    assert_eq!(io::copy(&mut blob, &mut io::sink()).unwrap(), bytes);
    assert!(peak_kib() - before < 2 << 10, "{} KiB more", peak_kib() - before);
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_source_that_fails_or_a_pack_that_is_given_up_leaves_nothing() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the file went away"))
        }
    }
    let home = home();
    let here = store(home.path());
    let mut pack = here.blobs().pack();
    pack.add(&b"before"[..]).unwrap();
    let failed = pack.add(io::repeat(1).take(900_000).chain(Fails));
    assert!(matches!(failed, Err(BlobError::Source(_))));
    let (after, _) = pack.add(&b"after"[..]).unwrap();
    pack.finish().unwrap();
    assert_eq!(bytes_stored(home.path()), 11);
    assert_eq!(here.blobs().get(&after).unwrap(), b"after");

    let mut given_up = here.blobs().pack();
    let (hash, _) = given_up.add(&b"never finished"[..]).unwrap();
    drop(given_up);
    assert_eq!(bytes_stored(home.path()), 11);
    assert!(matches!(here.blobs().get(&hash), Err(BlobError::Missing(_))));
}

#[test]
fn damage_is_told_and_mended_by_putting_again() {
    type Spoil = fn(&Path);
    let rows: [(&str, Spoil, bool); 3] = [
        ("gone", |pack| fs::remove_file(pack).unwrap(), true),
        ("cut", |pack| fs::OpenOptions::new().write(true).open(pack).unwrap().set_len(5).unwrap(), true),
        ("changed", |pack| fs::write(pack, vec![1; 500_000]).unwrap(), false),
    ];
    for (what, spoil, mended) in rows {
        let home = home();
        let here = store(home.path());
        let content = vec![2; 500_000];
        let hash = here.blobs().put(&[&content]).unwrap()[0];
        here.create(vec![opened()]).wait().unwrap();
        spoil(&packs(home.path())[0]);
        let told = |e: &BlobError| matches!(e, BlobError::Missing(h) | BlobError::Spoilt { blob: h, .. } if *h == hash);
        assert!(here.blobs().get(&hash).is_err_and(|e| told(&e)), "{what}");
        match here.blobs().open(&hash) {
            Err(e) => assert!(told(&e), "{what}: {e}"),
            Ok(mut blob) => {
                let e = io::copy(&mut blob, &mut io::sink()).expect_err(what);
                assert_eq!(e.kind(), io::ErrorKind::InvalidData);
            }
        }
        // Content that is seen to be gone is written again when it is put again.
        here.blobs().put(&[&content]).unwrap();
        here.create(vec![opened()]).wait().unwrap();
        assert_eq!(super::store(home.path()).blobs().get(&hash).is_ok(), mended, "{what}");
    }
    let home = home();
    assert!(matches!(store(home.path()).blobs().get(&Hash::of(b"never")), Err(BlobError::Missing(_))));
}
