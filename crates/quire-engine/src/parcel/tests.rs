//! A real export, bent at random: bytes flipped, cut, moved and put in, lines dropped, doubled and swapped, with the end as it was or made
//! to be right again. Whatever is read back, it is a whole task or none.

use super::*;
use crate::settings::Surroundings;
use crate::testing::{begun, present, tell};
use proptest::prelude::*;
use quire_core::{Entry, RelPath};

fn open(home: &Path) -> Quire {
    let env = [("QUIRE_HOME".to_owned(), home.to_str().unwrap().to_owned())];
    Quire::open(&Surroundings { env: env.into_iter().collect(), cwd: home.parent().unwrap().to_owned() })
        .unwrap()
}

/// Returns the export of a task with two versions, a call with its whole output, notes and an accept.
async fn export(temp: &Path) -> Vec<u8> {
    let folder = temp.join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.txt"), "a\n").unwrap();
    let quire = open(&temp.join("home"));
    let (store, id) = (quire.store(), begun(quire.store(), quire.home(), &folder).await);
    let blobs = store.blobs().put(&[b"a\n", b"A\n", b"long output\n", b"\0no text\n"]).unwrap();
    let node = |n: usize, bytes| Some(Node::File { blob: blobs[n], bytes, mode: 0o644 });
    let entry = |path: &str, was, now| Entry { folder: 0, path: RelPath::new(path).unwrap(), was, now };
    let versions = [
        vec![entry("a.txt", node(0, 2), node(1, 2))],
        vec![entry("a.txt", node(0, 2), node(1, 2)), entry("b.bin", None, node(3, 9))],
    ];
    for (n, entries) in versions.into_iter().enumerate() {
        let snapshot = store.blobs().put(&[&Snapshot { entries }.to_blob()]).unwrap()[0];
        present(store, id, snapshot).await;
        let noted = Event::Noted { about: None, words: format!("note {n}") };
        tell(store, id, vec![noted]).await;
        if n == 0 {
            tell(store, id, vec![Event::Said { words: "again".into() }]).await;
        }
    }
    let path = temp.join("task");
    tokio::task::block_in_place(|| quire.export(id, &path)).unwrap();
    fs::read(path).unwrap()
}

/// One bend; places are taken modulo what is there.
#[derive(Clone, Debug)]
enum Bend {
    Flip(u32, u8),
    Cut(u32, u16),
    Move(u32, u32, u16),
    Insert(u32, Vec<u8>),
    Digit(u32, u8),
    DropLine(u16),
    DoubleLine(u16),
    SwapLines(u16, u16),
}

fn bend() -> impl Strategy<Value = Bend> {
    prop_oneof![
        1 => any::<(u32, u8)>().prop_map(|(at, bit)| Bend::Flip(at, bit)),
        1 => any::<(u32, u16)>().prop_map(|(at, long)| Bend::Cut(at, long)),
        1 => any::<(u32, u32, u16)>().prop_map(|(from, to, long)| Bend::Move(from, to, long)),
        1 => (any::<u32>(), proptest::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, new)| Bend::Insert(at, new)),
        3 => any::<(u32, u8)>().prop_map(|(at, digit)| Bend::Digit(at, digit)),
        2 => any::<u16>().prop_map(Bend::DropLine),
        2 => any::<u16>().prop_map(Bend::DoubleLine),
        2 => any::<(u16, u16)>().prop_map(|(a, b)| Bend::SwapLines(a, b)),
    ]
}

fn bent(bytes: &mut Vec<u8>, bend: &Bend) {
    let long = bytes.len().max(1);
    let place = |at: u32| at as usize % long;
    let end = |from: usize, many: u16| (from + many as usize % 64 + 1).min(bytes.len());
    match bend {
        _ if bytes.is_empty() => {}
        Bend::Flip(at, bit) => bytes[place(*at)] ^= 1 << (bit % 8),
        Bend::Cut(at, many) => drop(bytes.drain(place(*at)..end(place(*at), *many))),
        Bend::Move(from, to, many) => {
            let moved: Vec<u8> = bytes.drain(place(*from)..end(place(*from), *many)).collect();
            let to = place(*to).min(bytes.len());
            bytes.splice(to..to, moved);
        }
        Bend::Insert(at, new) => drop(bytes.splice(place(*at)..place(*at), new.clone())),
        Bend::Digit(at, digit) => {
            let digits: Vec<usize> = (0..bytes.len()).filter(|n| bytes[*n].is_ascii_digit()).collect();
            if let Some(at) = digits.get(*at as usize % digits.len().max(1)) {
                bytes[*at] = b'0' + digit % 10;
            }
        }
        Bend::DropLine(_) | Bend::DoubleLine(_) | Bend::SwapLines(..) => {
            let mut lines: Vec<Vec<u8>> =
                bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let line = |n: &u16| *n as usize % lines.len();
            match bend {
                Bend::DropLine(n) => drop(lines.remove(line(n))),
                Bend::DoubleLine(n) => lines.insert(line(n), lines[line(n)].clone()),
                Bend::SwapLines(a, b) => {
                    let (a, b) = (line(a), line(b));
                    lines.swap(a, b);
                }
                _ => {}
            }
            *bytes = lines.concat();
        }
    }
}

/// Makes head and end right again: as many events and contents as there are, and the hash of what was bent.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines.retain(|line| !line.starts_with(b"{\"end\"") && !line.starts_with(b"{\"quire_task\""));
    let count = |start: &[u8]| lines.iter().filter(|line| line.starts_with(start)).count() as u64;
    let head = Head {
        quire_task: FORMAT,
        task: 1,
        events: count(b"{\"at_ms\"") + count(b"{\"seq\""),
        blobs: count(b"{\"blob\""),
    };
    let mut all = serde_json::to_vec(&head).unwrap();
    all.push(b'\n');
    all.extend(lines.concat());
    let end = serde_json::to_vec(&End { end: Hash::of(&all) }).unwrap();
    all.extend([end, b"\n".to_vec()].concat());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bent_export_is_a_whole_task_or_none() {
    let temp = tempfile::tempdir().unwrap();
    let whole = export(temp.path()).await;
    tokio::task::block_in_place(|| {
        let (there, path) = (open(&temp.path().join("there")), temp.path().join("bent"));
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let before = there.store().tasks().unwrap();
            let read = there.import(&path);
            let after = there.store().tasks().unwrap();
            let new: Vec<u64> = after.into_iter().filter(|id| !before.contains(id)).collect();
            (read, new)
        };
        assert_eq!(read(&whole).1.len(), 1, "it is a good one");
        assert_eq!(read(&sealed(&whole)).1.len(), 1, "and so is one that is sealed again");
        let came = std::cell::Cell::new(0);
        let cases = if std::env::var_os("QUIRE_TEST_ALL").is_some() { 20_000 } else { 600 };
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let bends = (proptest::collection::vec(bend(), 1..4), any::<bool>());
        let ran = proptest::test_runner::TestRunner::new(config).run(&bends, |(bends, seal)| {
            let mut bytes = whole.clone();
            bends.iter().for_each(|one| bent(&mut bytes, one));
            if seal {
                bytes = sealed(&bytes);
            }
            let (read, new) = read(&bytes);
            match (&read, &new[..]) {
                (Err(_), []) => {}
                (Ok(parcel), [id]) => {
                    prop_assert!(seal || bytes == whole, "what is not as it was written is refused");
                    prop_assert_eq!(parcel.task, *id);
                    came.set(came.get() + 1);
                    // What a face does with it may fail, and never ends a process.
                    let task = there.task(*id).unwrap();
                    let _ = there.review(*id);
                    let _ = quire_core::view::state(&task);
                    prop_assert_eq!(there.events(*id, 0).unwrap().len() as u64, parcel.events + 1);
                }
                _ => prop_assert!(false, "{:?} with {:?}", read.map_err(|e| e.to_string()), new),
            }
            Ok(())
        });
        ran.unwrap();
        assert!(came.get() > 0, "some are legal, and were looked at");
    });
}
