//! What a task did to the machine is seen by its next turn, whatever was mounted or unmounted there in between. All mounts are
//! in a namespace of the test's own.

use crate::facts::fingerprint;
use crate::ground::as_root;
use crate::stage::{Live, Stage, quoted};
use quire_sandbox::layer;
use quire_sandbox::squash;
use quire_sandbox::stack::Stack;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// All that can be done to a directory of the machine: made, changed, deleted, replaced, closed.
const WORK: &str = "echo new > top && echo new > kept/in/new && echo more >> kept/file && rm kept/in/file && rm -r gone \
    && rm -r again && mkdir again && echo x > again/x && mkdir -p made/deep && echo x > made/deep/x && chmod 700 kept \
    && echo x > empty/x && rm -r swapped && echo x > swapped && ln -s ../top link";

/// Every file below the directory with its mode and content.
const SEEN: &str = "find . -printf '%P %M %l\\n' | sort; find . -type f | sort | xargs tail -n +1";

/// Which of the two places has something mounted on it; the second lies in what is mounted on the first.
type Mounted = [bool; 2];
const NONE: Mounted = [false, false];
const OUTER: Mounted = [true, false];
const BOTH: Mounted = [true, true];

/// A disk of the machine's own, which is shown, and another file system, which is not.
const KINDS: [&str; 2] = [BIND, "memory"];
const BIND: &str = "disk";

pub fn mounts_that_come_hide_no_work(stage: &Stage) {
    KINDS.iter().for_each(|kind| turns(stage, kind, &[NONE, OUTER], Turn::Sealed));
}

pub fn mounts_that_go_hide_no_work(stage: &Stage) {
    KINDS.iter().for_each(|kind| turns(stage, kind, &[OUTER, NONE], Turn::Sealed));
}

pub fn mounts_in_mounts_hide_no_work(stage: &Stage) {
    KINDS.iter().for_each(|kind| turns(stage, kind, &[BOTH, OUTER, NONE, OUTER, BOTH, NONE], Turn::Sealed));
}

/// As after the death of a host: the layer of the turn is mounted again.
pub fn mounts_change_under_an_open_layer(stage: &Stage) {
    KINDS.iter().for_each(|kind| turns(stage, kind, &[NONE, OUTER, BOTH, NONE], Turn::Open));
}

#[derive(Clone, Copy, PartialEq)]
enum Turn {
    Sealed,
    Open,
}

/// Works in a sandbox for each state of the mounts, and looks in the next whether it is all there.
fn turns(stage: &Stage, kind: &str, states: &[Mounted], turn: Turn) {
    let base = stage.base.join(format!("{kind}-{}", states.len()));
    let top = base.join("machine");
    // Beside what is mounted, directories are pieces of their own for an ordinary user, and cannot be deleted.
    let worked = if states[0] == NONE { [".", "deeper"].as_slice() } else { &["deeper"] };
    for at in [".", "deeper"].map(|at| top.join(at)) {
        for dir in ["kept/in", "gone/deep", "again/old", "empty", "swapped/old"] {
            fs::create_dir_all(at.join(dir)).unwrap();
        }
        for file in ["kept/file", "kept/in/file", "gone/deep/file", "again/old/file", "swapped/old/file"] {
            fs::write(at.join(file), "of the machine\n").unwrap();
        }
    }
    for dir in ["machine/mounted/n", "disk/n", "disk-within"] {
        fs::create_dir_all(base.join(dir)).unwrap();
    }
    let real = fingerprint(&top);
    let mut spec = stage.spec.clone();
    (spec.layer, spec.layers) = (base.join("layer-0"), Vec::new());
    let cd = |at: &str, what: &str| format!("cd {} && {what}", quoted(top.join(at)));
    let (mut was, mut seen) = (NONE, None);
    for (number, now) in states.iter().enumerate() {
        set(kind, &base, was, *now);
        was = *now;
        let live = Live::start(&spec).unwrap_or_else(|error| panic!("{kind} turn {number}: {error}"));
        match &seen {
            None => worked.iter().for_each(|at| drop(live.yes(&cd(at, WORK)))),
            Some(seen) => assert_eq!(live.yes(&cd(".", SEEN)), *seen, "{kind} turn {number}"),
        }
        for at in ["kept", "deeper/kept", "deeper", "mounted", "mounted/n"] {
            let before = number.wrapping_sub(2);
            let work = format!("echo {number} > turn-{number} && rm -f turn-{before}");
            live.yes(&cd(".", &format!("mkdir -p {at} && cd {at} && {work}")));
        }
        seen = Some(live.yes(&cd(".", SEEN)));
        live.sandbox.end().unwrap();
        if turn == Turn::Sealed {
            let next = base.join(format!("layer-{}", number + 1));
            spec.layers.insert(0, std::mem::replace(&mut spec.layer, next));
        }
    }
    if turn == Turn::Sealed {
        let one = base.join("layer-all");
        squash(&spec.layers, &one, &|part| under(part, &spec.folders[0].frozen[0])).unwrap();
        spec.layers = vec![one];
        let live = Live::start(&spec).unwrap();
        assert_eq!(live.yes(&cd(".", SEEN)), seen.unwrap(), "{kind} squashed");
        live.sandbox.end().unwrap();
    }
    set(kind, &base, was, NONE);
    assert_eq!(fingerprint(&top), real, "the machine's own");
}

/// Opens what a part of a layer stands on.
fn under(part: &Path, frozen: &Path) -> io::Result<Stack> {
    let piece = part.strip_prefix("machine").map(|piece| layer::path_of(piece.as_os_str()));
    Stack::open(&[piece.unwrap_or_else(|_| frozen.to_path_buf())])
}

/// Mounts and unmounts.
fn set(kind: &str, base: &Path, was: Mounted, now: Mounted) {
    let at = base.join("machine/mounted");
    let places = [at.clone(), at.join("n")];
    let disks = [base.join("disk"), base.join("disk-within")];
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
    let done = |result: i32| assert_eq!(result, 0, "{}", io::Error::last_os_error());
    let none = std::ptr::null();
    for (place, _) in places.iter().zip(was).rev().filter(|(_, was)| *was) {
        // SAFETY: the name outlives the call.
        as_root(|| done(unsafe { libc::umount2(name(place).as_ptr(), 0) }));
    }
    for ((place, disk), _) in places.iter().zip(&disks).zip(now).filter(|(_, now)| *now) {
        let (disk, place) = (name(disk), name(place));
        let (source, what, flags) =
            if kind == BIND { (disk.as_ptr(), none, libc::MS_BIND) } else { (none, c"tmpfs".as_ptr(), 0) };
        // SAFETY: the names outlive the call, and there are no further words.
        as_root(|| {
            done(unsafe { libc::mount(source, place.as_ptr(), what, flags, c"mode=755".as_ptr().cast()) })
        });
        if kind != BIND && places[0].as_os_str().as_bytes() == place.as_bytes() {
            as_root(|| fs::create_dir(&places[1]).unwrap());
        }
    }
}
