//! L: what no list had when this one was begun.

use crate::catalogue::{Case, Where, case};
use crate::d_signals::Canary;
use crate::facts::fingerprint;
use crate::ground::Ground;
use crate::stage::quoted;
use std::fs;
use std::os::unix::fs::MetadataExt;

pub const CASES: &[Case] = &[
    case(
        "L01",
        "hidden_file_reopened",
        "a descriptor of its path leads to nothing more than the path",
        reopened,
    ),
    case("L02", "calls_upon_another_process", "none reaches a process of the machine", upon_another),
    case(
        "L03",
        "settings_of_another_process",
        "no file of it in /proc opens for writing",
        settings_of_another,
    ),
    case(
        "L04",
        "everybody_of_ones_user",
        "is everybody inside: the person's processes keep what they have",
        everybody,
    ),
    case(
        "L05",
        "live_directory",
        "what is written, linked, sent and renamed in it stays inside",
        live_directory,
    ),
    case("L06", "linked_in_from_outside", "the name in the folder is of a copy", linked_in),
    case(
        "L07",
        "renaming_with_flags",
        "a whiteout is at most a deletion, and nothing is exchanged with what is hidden",
        renaming,
    ),
    case("L08", "alarm_clocks", "EPERM: the machine is not woken", alarm_clocks),
    case("L09", "locked_memory", "ends at the limit, secret memory included", locked_memory),
    case(
        "L10",
        "hidden_file_copied_by_the_kernel",
        "cloning, splicing and sending give no more than reading",
        copied_by_kernel,
    ),
    case(
        "L11",
        "roots_by_magic_links",
        "no link of /proc leads out, whatever the way to follow it",
        magic_links,
    ),
    case("L12", "locks", "hold nobody up outside", locks)
        .unproved_on(Where::Copy, "a lock on a file that may be read there is on the person's own"),
    case("L13", "numbers_of_pages", "are zeros: where memory lies is not told", pages),
    case("L14", "options_of_sockets", "EPERM for marks, devices and buffers beyond the limit", options),
    case("L15", "crash", "leaves no file of what was in memory", crash),
    case("L16", "the_pool_of_randomness", "EPERM: it is neither credited nor emptied", randomness),
    case("L17", "modes_of_devices", "the nodes outside keep their modes, owners and times", modes_of_devices),
    case(
        "L18",
        "setuid_in_the_shared_directory",
        "belongs to nobody's root, and is no device",
        shared_directory,
    ),
    case("L19", "the_shared_directory_replaced", "stays where it is", shared_directory_replaced),
    case("L20", "persona", "changes of it are the process's own", persona),
    case(
        "L21",
        "handles_of_processes",
        "pidfd and /proc of the spawner give no descriptor and no memory",
        handles,
    ),
    case("L22", "names_of_terminals", "a name that says a terminal's words is a name", terminal_names),
    case(
        "L23",
        "requests_to_file_systems",
        "ENOTTY: no file is sealed, no key of a disk taken, and no disk tells its name",
        requests,
    ),
    case("L24", "leases_and_old_watches", "make nobody wait outside, and tell nothing", leases),
    case(
        "L25",
        "namespaces_by_handles",
        "those of a process of one's own are had and not entered; no others, no parent, no next",
        namespaces,
    ),
    case("L26", "memory_of_system_v", "ends at half of the sandbox's, mapped or not", segments),
];

/// Runs Python that prints a line for each try, and returns what it said.
fn python(inside: &crate::ground::Inside<'_>, script: &str) -> String {
    let tools = "import ctypes, errno, os, sys, fcntl, struct, mmap\nc = ctypes.CDLL(None, use_errno=True)\n\
                 def call(*a):\n  r = c.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])\n  \
                 return 'ok' if r >= 0 else errno.errorcode.get(ctypes.get_errno(), '?')\n\
                 def tried(f):\n  try: f(); return 'ok'\n  except OSError as e: return errno.errorcode.get(e.errno, '?')\n";
    inside.yes(&format!("python3 - << 'END'\n{tools}{script}\nEND"))
}

fn reopened(ground: &Ground) {
    fs::write(ground.stage.spec.folders[0].frozen[0].join(".env"), &ground.word).unwrap();
    let inside = ground.inside();
    let said = python(
        &inside,
        "fd = os.open('.env', os.O_PATH)\nfor how in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC):\n  \
         try: print(os.read(os.open(f'/proc/self/fd/{fd}', how), 999))\n  except OSError as e: print(e.errno)\n\
         print(open('a.txt').read())",
    );
    assert!(said.contains('a') && !said.contains(&ground.word), "{said}");
}

fn upon_another(ground: &Ground) {
    let canary = Canary::new();
    let pid = canary.id();
    let inside = ground.inside();
    let said = python(
        &inside,
        &format!(
            "p = {pid}\nb = ctypes.create_string_buffer(4096)\na = ctypes.addressof(b)\n\
             struct.pack_into('QQQQ', b, 0, a + 64, 8, 0x1000, 8)\nfd = c.syscall(434, p, 0)\n\
             rows = dict(affinity=(203, p, 8, a + 64), attributes=(314, p, a + 64, 0), scheduler=(144, p, 3, a + 512), \
             parameter=(142, p, a + 512), priority=(141, 0, p, 19), io=(251, 1, p, (3 << 13)), limit=(302, p, 7, a + 64, 0), \
             seize=(101, 0x4206, p, 0, 0), read=(310, p, a, 1, a + 16, 1, 0), write=(311, p, a, 1, a + 16, 1, 0), \
             compare=(312, os.getpid(), p, 1, 0, 0), take=(438, fd, 0, 0), advise=(440, fd, a + 16, 1, 4, 0), \
             release=(448, fd, 0), enter=(308, fd, 0x10000000), robust=(274, p, a + 64, a + 72), group=(109, p, p))\n\
             for name, row in rows.items(): print(name, call(*row))\nprint('own', call(203, 0, 8, a + 3000) != 'ENOSYS')"
        ),
    );
    // These are numbers of x86-64, which other machines have others for.
    if cfg!(target_arch = "x86_64") {
        let reached: Vec<&str> = said.lines().filter(|line| line.ends_with(" ok")).collect();
        assert!(reached.is_empty() && said.lines().count() == 18, "{said}");
    }
}

fn settings_of_another(ground: &Ground) {
    let canary = Canary::new();
    let files = [
        "oom_score_adj",
        "oom_adj",
        "autogroup",
        "coredump_filter",
        "timerslack_ns",
        "clear_refs",
        "comm",
        "sched",
        "loginuid",
        "attr/exec",
        "attr/current",
        "mem",
        "uid_map",
        "gid_map",
        "setgroups",
        "projid_map",
        "make-it-fail",
        "latency",
    ];
    let of = |pid: u32| files.map(|file| format!("/proc/{pid}/{file}"));
    let inside = ground.inside();
    // Process 1 is the sandbox's own where it has its own; what its root may write of it is no other's.
    let first = ground.is_shared().then_some(1);
    for pid in [canary.id(), std::process::id()].into_iter().chain(first) {
        let names = of(pid);
        let probe: Vec<&str> = ["open", "w"].into_iter().chain(names.iter().map(String::as_str)).collect();
        inside.probe(&probe).all(&["EACCES", "EPERM", "ENOENT", "EROFS"]);
    }
    ground.outside(&["open", "w", &of(canary.id())[0]]).all(&["ok"]);
}

fn everybody(ground: &Ground) {
    let canary = Canary::new();
    let told = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", canary.id())).unwrap();
        let nice = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned();
        // SAFETY: takes plain numbers.
        (nice, unsafe { libc::syscall(libc::SYS_ioprio_get, 1, canary.id()) })
    };
    let before = told();
    let inside = ground.inside();
    // The niceness that everybody has already, or one more where that fails to be refused.
    let uid = rustix::process::geteuid().as_raw();
    inside.sh(&format!(
        "python3 -c 'import os\nfor who in (0, {uid}):\n  try: os.setpriority(os.PRIO_USER, who, 6)\n  except OSError: pass'"
    ));
    inside.sh(
        "ionice -c 3 -u $(id -u); python3 -c 'import ctypes; ctypes.CDLL(None).syscall(251, 3, 0, 3 << 13)'",
    );
    assert_eq!(before, told());
}

fn live_directory(ground: &Ground) {
    let live = ground.stage.folder().join("live");
    fs::create_dir(&live).unwrap();
    for name in ["file", "other"] {
        fs::write(live.join(name), name).unwrap();
    }
    let pipe = live.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    let _service = std::os::unix::net::UnixListener::bind(live.join("service")).unwrap();
    let before = fingerprint(&live);
    let mut spec = ground.stage.spec.clone();
    spec.folders[0].ignored = vec!["live".into()];
    let inside = ground.inside_of(&spec);
    inside.yes("cat live/file && echo theirs >> live/file && ln live/other live/hard && echo theirs > live/hard && mv live/other live/moved && \
                ln -s /etc/passwd live/link && rm -f live/pipe && mkfifo live/pipe && chmod 777 live live/file");
    let name = format!("{}/live/service", inside.folder().display());
    let said = inside.probe(&["connect", &name]);
    assert!(matches!(said.get(&name), "ECONNREFUSED" | "EAFNOSUPPORT" | "ENOENT"), "{said:?}");
    inside.end();
    assert_eq!(before, fingerprint(&live));
}

fn linked_in(ground: &Ground) {
    let outside = ground.stage.base.join("elsewhere");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("one"), "one").unwrap();
    let before = fingerprint(&outside);
    let inside = ground.inside();
    inside.sh(&format!(
        "ln {0}/one x; ln -L {0}/one y; cp -l {0}/one z; for f in x y z; do echo theirs >> $f; done",
        quoted(&outside)
    ));
    inside.yes("echo own > own && ln own again && echo more >> again && grep more own");
    inside.end();
    assert_eq!(before, fingerprint(&outside));
}

fn renaming(ground: &Ground) {
    fs::write(ground.stage.spec.folders[0].frozen[0].join(".env"), &ground.word).unwrap();
    let inside = ground.inside();
    let said = python(
        &inside,
        "open('mine', 'w').write('x')\nopen('other', 'w').write('y')\nr = lambda a, b, f: call(316, -100, a, -100, b, f)\n\
         print('whiteout', r(b'mine', b'gone', 4))\nprint('hidden', r(b'mine', b'.env', 2))\nprint('own', r(b'mine', b'other', 2))",
    );
    let hidden = inside.sh("cat .env mine other gone").1;
    assert!(!hidden.contains(&ground.word), "{hidden}");
    if cfg!(target_arch = "x86_64") {
        assert!(ground.is_copy() || !said.contains("hidden ok"), "{said}");
        assert!(said.contains("own "), "{said}");
    }
}

fn alarm_clocks(ground: &Ground) {
    let inside = ground.inside();
    // CLOCK_REALTIME_ALARM and CLOCK_BOOTTIME_ALARM.
    let said = python(
        &inside,
        "for clock in (8, 9): print('timer', tried(lambda: c.timerfd_create(clock, 0) >= 0 or (_ for _ in ()).throw(OSError(ctypes.get_errno(), ''))))\n\
         print('plain', c.timerfd_create(1, 0) >= 0)",
    );
    assert_eq!(said.lines().collect::<Vec<_>>(), ["timer EPERM", "timer EPERM", "plain True"], "{said}");
}

fn locked_memory(ground: &Ground) {
    let inside = ground.inside();
    let said = python(
        &inside,
        "def secret(size):\n  fd = c.syscall(447, 0)\n  if fd < 0: raise OSError(errno.ENOSYS, '')\n  os.ftruncate(fd, size)\n  mmap.mmap(fd, size)\n\
         print('secret', tried(lambda: secret(128 << 20)))\nm = mmap.mmap(-1, 128 << 20)\n\
         a = ctypes.addressof(ctypes.c_char.from_buffer(m))\nprint('locked', c.mlock(ctypes.c_void_p(a), ctypes.c_size_t(128 << 20)))\n\
         print('little', c.mlock(ctypes.c_void_p(a), ctypes.c_size_t(4096)))",
    );
    assert!(!said.contains("secret ok") && said.contains("locked -1") && said.contains("little 0"), "{said}");
}

fn copied_by_kernel(ground: &Ground) {
    fs::write(ground.stage.spec.folders[0].frozen[0].join(".env"), &ground.word).unwrap();
    let inside = ground.inside();
    python(
        &inside,
        "def each(name, f):\n  try: f(os.open('.env', os.O_RDONLY), os.open(name, os.O_RDWR | os.O_CREAT))\n  except (OSError, ValueError): pass\n\
         each('cloned', lambda a, b: fcntl.ioctl(b, 0x40049409, a))\neach('ranged', lambda a, b: os.copy_file_range(a, b, 4096))\n\
         each('sent', lambda a, b: os.sendfile(b, a, 0, 4096))\n\
         def splice(a, b):\n  r, w = os.pipe()\n  n = os.splice(a, w, 4096)\n  n and os.splice(r, b, n)\neach('spliced', splice)\n\
         each('mapped', lambda a, b: os.write(b, mmap.mmap(a, 4096, prot=mmap.PROT_READ)))",
    );
    inside.no(&format!("grep -rF {} .", ground.word));
    // The control: what is not hidden is copied so.
    inside.yes("python3 -c 'import os; os.copy_file_range(os.open(\"a.txt\", 0), os.open(\"c\", 66), 9)' && grep -x a c");
}

fn magic_links(ground: &Ground) {
    let canary = Canary::new();
    let outside = ground.stage.base.join("outside");
    fs::write(&outside, &ground.word).unwrap();
    let mut spec = ground.stage.spec.clone();
    spec.hide.push(outside.to_str().unwrap().into());
    let inside = ground.inside_of(&spec);
    let [spawner, hand] = crate::c_namespaces::spawner_and_hand();
    let path = outside.to_str().unwrap();
    let ways: Vec<String> = [canary.id(), spawner, hand, std::process::id(), 1]
        .into_iter()
        .flat_map(|pid| {
            ["root", "cwd", "task/1/root", "fd/3", "map_files"]
                .map(|link| format!("/proc/{pid}/{link}{path}"))
        })
        .chain(
            ["self/root", "thread-self/root", "self/cwd/../../../../../../.."]
                .map(|link| format!("/proc/{link}{path}")),
        )
        .collect();
    for way in &ways {
        let said = inside.sh(&format!("cat {0}; head -c 99 < {0}", quoted(way))).1;
        assert!(!said.contains(&ground.word), "{way}: {said}");
    }
    assert_eq!(
        ground.outside(&["read", &format!("/proc/self/root{path}")]).get(&format!("/proc/self/root{path}")),
        "ok"
    );
}

fn locks(ground: &Ground) {
    let file = ground.stage.base.join("elsewhere");
    fs::write(&file, "x").unwrap();
    let inside = ground.inside();
    let name = quoted(&file);
    inside.yes(&format!(
        "(exec 7< {name} && flock -x 7 && touch /tmp/held && sleep 30 > /dev/null 2>&1 < /dev/null) > /dev/null 2>&1 & \
         until test -e /tmp/held; do :; done; ! flock -n -x {name} true"
    ));
    let ours = fs::File::open(&file).unwrap();
    rustix::fs::flock(&ours, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("a lock outside");
}

fn pages(ground: &Ground) {
    let inside = ground.inside();
    let said = python(
        &inside,
        "b = ctypes.create_string_buffer(b'here', 8192)\n\
         try:\n  f = open('/proc/self/pagemap', 'rb', 0)\n  f.seek(ctypes.addressof(b) // 4096 * 8)\n  \
         print('frame', struct.unpack('Q', f.read(8))[0] & ((1 << 55) - 1))\nexcept OSError as e: print('frame 0')",
    );
    assert_eq!(said, "frame 0");
    if !ground.is_copy() {
        // A copy is told what its user is told by the machine.
        inside
            .probe(&["open", "r", "/proc/kpageflags", "/proc/kpagecgroup"])
            .all(&["EACCES", "EPERM", "ENOENT"]);
    }
}

fn options(ground: &Ground) {
    let inside = ground.inside();
    let said = python(
        &inside,
        "import socket\ntry: s = socket.socket()\nexcept OSError: print('none'); sys.exit()\n\
         for name, level, option, value in (('mark', 1, 36, 1), ('receive', 1, 33, 1 << 26), ('send', 1, 32, 1 << 26), \
         ('transparent', 0, 19, 1), ('debug', 1, 1, 1), ('repair', 6, 19, 1)):\n  print(name, tried(lambda: s.setsockopt(level, option, value)))\n\
         print('plain', tried(lambda: s.setsockopt(1, 2, 1)))",
    );
    if ground.is_copy() {
        assert_eq!(said, "none");
        return;
    }
    let granted: Vec<&str> = said.lines().filter(|line| line.ends_with(" ok")).collect();
    assert_eq!(granted, ["plain ok"], "{said}");
}

fn crash(ground: &Ground) {
    let inside = ground.inside();
    let code = inside
        .sh("mkdir crash && cd crash && ulimit -c unlimited 2> /dev/null; sh -c 'kill -SEGV $$'; exit $?")
        .0;
    assert_eq!(code, 139);
    assert_eq!(inside.yes("ls -A crash; ls -A . | grep -i core; true"), "");
}

fn randomness(ground: &Ground) {
    let inside = ground.inside();
    // RNDADDTOENTCNT of nothing, RNDADDENTROPY of nothing, RNDZAPENTCNT, RNDRESEEDCRNG; and, for a control, RNDGETENTCNT.
    let said = python(
        &inside,
        "f = os.open('/dev/urandom', os.O_RDWR)\nb = bytearray(16)\n\
         for request in (0x40045201, 0x40085203, 0x5204, 0x5207): print(tried(lambda: fcntl.ioctl(f, request, b)))\n\
         print('count', tried(lambda: fcntl.ioctl(f, 0x80045200, b)))",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[..4].iter().all(|said| matches!(*said, "EPERM" | "EACCES")), "{said}");
    assert_eq!(lines[4], "count ok", "{said}");
}

fn modes_of_devices(ground: &Ground) {
    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    let told = || {
        names.map(|name| {
            let stat = fs::metadata(format!("/dev/{name}")).unwrap();
            (stat.ino(), stat.mode(), stat.uid(), stat.gid(), stat.ctime(), stat.ctime_nsec())
        })
    };
    let before = told();
    let inside = ground.inside();
    // The mode that they have, so that nothing is broken where it is let through; its time would tell.
    inside.sh("for d in null zero full random urandom tty; do chmod 666 /dev/$d; chown 0:0 /dev/$d; touch -c -d 2001-01-01 /dev/$d; \
               setfattr -n user.x -v 1 /dev/$d; ln /dev/$d ./$d; mv /dev/$d /dev/$d.old; done");
    drop(inside);
    // A terminal's time is that of its last use, by anybody.
    assert_eq!(before[..5], told()[..5]);
}

fn shared_directory(ground: &Ground) {
    let inside = ground.inside();
    let out = quoted(inside.out());
    inside.yes(&format!("cp /bin/true {out}/su && chmod 6755 {out}/su"));
    inside.no(&format!("mknod {out}/disk b 253 0 || mknod {out}/mem c 1 1"));
    inside.sh(&format!("chown 1:1 {out}/su; chmod 6755 {out}/su; setcap cap_setuid+ep {out}/su"));
    let stat = fs::metadata(ground.stage.spec.out.join("su")).unwrap();
    let me = rustix::process::geteuid().as_raw();
    let expected = if ground.root { quire_sandbox::INSIDE_BASE } else { me };
    assert!(stat.uid() == expected || (ground.root && stat.uid() == expected + 1), "{stat:?}");
    // It is the person's own, where he is who started it; then nobody gains by it what he had not.
    assert!(ground.root || stat.uid() == me);
}

fn shared_directory_replaced(ground: &Ground) {
    // Started by root, it is given to root inside first.
    let inside = ground.inside();
    let before = fs::metadata(&ground.stage.spec.out).unwrap();
    let out = quoted(inside.out());
    inside.no(&format!(
        "rm -rf {out} || mv {out} {out}.old || rmdir {out} || ln -sfn /etc {out}.new && mv -T {out}.new {out}"
    ));
    inside.yes(&format!("echo still > {out}/there"));
    let after = fs::symlink_metadata(&ground.stage.spec.out).unwrap();
    assert_eq!((before.ino(), before.uid()), (after.ino(), after.uid()));
    assert_eq!(fs::read_to_string(ground.stage.spec.out.join("there")).unwrap(), "still\n");
}

fn persona(ground: &Ground) {
    let inside = ground.inside();
    let [_, hand] = crate::c_namespaces::spawner_and_hand();
    let theirs = || fs::read_to_string(format!("/proc/{hand}/personality")).ok();
    let before = theirs();
    let said =
        python(&inside, "print(c.personality(0x0040000 | 0x0400000) >= 0, hex(c.personality(0xffffffff)))");
    assert!(said.contains("0x440000"), "{said}");
    assert_eq!(python(&inside, "print(hex(c.personality(0xffffffff)))"), "0x0", "the next call has its own");
    assert_eq!(before, theirs());
}

fn handles(ground: &Ground) {
    let inside = ground.inside();
    let [spawner, hand] = crate::c_namespaces::spawner_and_hand();
    for pid in [spawner, hand, std::process::id()] {
        let files = ["mem", "environ", "maps", "fd/0", "fd/1", "exe", "cwd", "ns/mnt", "auxv"]
            .map(|file| format!("/proc/{pid}/{file}"));
        let probe: Vec<&str> = std::iter::once("read").chain(files.iter().map(String::as_str)).collect();
        inside.probe(&probe).all(&["EACCES", "EPERM", "ENOENT"]);
        if cfg!(target_arch = "x86_64") {
            let said = python(&inside, &format!("fd = c.syscall(434, {pid}, 0)\nprint(call(438, fd, 0, 0))"));
            assert!(!said.contains("ok"), "{pid}: {said}");
        }
    }
    assert_eq!(inside.yes("echo still here"), "still here");
}

fn terminal_names(ground: &Ground) {
    let inside = ground.inside();
    let name = "$'x\\e]0;owned\\a\\e[2J\\r\\n\\u202etxt'";
    inside.yes(&format!("echo x > {name} && ls {name} > /dev/null"));
    inside.end();
    let upper = quire_sandbox::layer::folder(&ground.stage.spec.layer, 0);
    let found = fs::read_dir(upper)
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().as_encoded_bytes().starts_with(b"x\x1b"));
    let name = found.expect("the name as it was given").file_name();
    // What faces show of it (K04) has nothing that moves a cursor.
    let shown = quire_core::bytes::escape(name.as_encoded_bytes());
    assert!(quire_core::bytes::unescape(&shown).is_some_and(|raw| raw == name.as_encoded_bytes()), "{shown}");
}

fn requests(ground: &Ground) {
    const TRY: &str = "b = ctypes.create_string_buffer(4096)\nf = os.open('.', os.O_RDONLY)\n\
        for name, n in (('seal', 0x40806685), ('take', 0xc0406618), ('add', 0xc0506617), ('policy', 0x800c6613), \
        ('name', 0x80111500), ('version', 0x40087602), ('label', 0x81009431), ('snapshot', 0x50009401)):\n  \
         print(name, 'ok' if c.ioctl(f, ctypes.c_ulong(n), b) >= 0 else errno.errorcode.get(ctypes.get_errno(), '?'))";
    let inside = ground.inside();
    for place in [format!("{:?}", inside.out()), "os.environ.get('TMPDIR', '/tmp')".into(), "'.'".into()] {
        let said = python(&inside, &format!("os.chdir({place})\n{TRY}"));
        assert!(
            said.lines().count() == 8 && said.lines().all(|line| line.ends_with(" ENOTTY")),
            "{place}: {said}"
        );
    }
    // What is asked every day is answered, and outside there is another answer to the rest.
    assert_eq!(
        python(&inside, "print(tried(lambda: fcntl.ioctl(os.open('.', 0), 0x80086601, b'\\0' * 8)))"),
        "ok"
    );
    let outside = std::process::Command::new("python3")
        .args(["-c", &format!("import ctypes, errno, os\nc = ctypes.CDLL(None, use_errno=True)\n{TRY}")])
        .current_dir(&ground.stage.base)
        .output()
        .unwrap();
    let outside = String::from_utf8(outside.stdout).unwrap();
    assert!(outside.lines().any(|line| !line.ends_with(" ENOTTY")), "{outside}");
}

fn leases(ground: &Ground) {
    use std::os::unix::fs::OpenOptionsExt;
    // A tool's: the copy sees that one as well.
    let tools = ground.stage.home.join(".cargo");
    fs::create_dir_all(&tools).unwrap();
    let file = tools.join("config.toml");
    fs::write(&file, "x").unwrap();
    let write = || fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&file).map(drop);
    let inside = ground.inside();
    let said = python(
        &inside,
        "f = os.open(os.path.expanduser('~/.cargo/config.toml'), os.O_RDONLY)\nd = os.open(os.path.expanduser('~/.cargo'), os.O_RDONLY)\n\
         print('lease', tried(lambda: fcntl.fcntl(f, 1024, 0)))\nprint('watch', tried(lambda: fcntl.fcntl(d, 1026, 0x80000004)))\n\
         print('kept', tried(lambda: fcntl.fcntl(f, 1025)))\nimport signal, subprocess\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\n\
         subprocess.Popen(['sleep', '30'], pass_fds=[f, d], stdin=-3, stdout=-3, stderr=-3)",
    );
    write().expect("a file that is open for who owns it");
    if ground.is_copy() {
        assert_eq!(said, "lease EINVAL\nwatch EINVAL\nkept ok");
    }
    // The control: a lease of our own would make us wait.
    let ours = fs::File::open(&file).unwrap();
    // SAFETY: the word of it goes to nobody.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    // SAFETY: plain numbers, and a descriptor that lives.
    assert_eq!(
        unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&ours), libc::F_SETLEASE, libc::F_RDLCK) },
        0
    );
    assert_eq!(write().unwrap_err().raw_os_error(), Some(libc::EWOULDBLOCK));
}

fn namespaces(ground: &Ground) {
    let inside = ground.inside();
    let [spawner, hand] = crate::c_namespaces::spawner_and_hand();
    let me = std::process::id();
    // PIDFD_GET_*_NAMESPACE (linux/pidfd.h); NS_GET_PARENT, NS_MNT_GET_NEXT and _PREV (linux/nsfs.h).
    let said = python(
        &inside,
        &format!(
            "b = ctypes.create_string_buffer(4096)\n\
             for who, pid in (('own', os.getpid()), ('first', 1), ('hand', {hand}), ('spawner', {spawner}), ('outside', {me})):\n  \
             fd = c.syscall(434, pid, 0)\n  for n in range(1, 11):\n    r = c.ioctl(fd, ctypes.c_ulong(0xff00 | n), 0)\n    \
             if r >= 0:\n      print(who, 'had')\n      for kind in (0, 0x10000000, 0x20000):\n        \
             if call(308, r, kind) == 'ok': print(who, 'entered', n)\n\
             for kind, n in (('user', 0xb702), ('pid', 0xb702), ('mnt', 0x8010b70b), ('mnt', 0x8010b70c), ('user', 0xb701)):\n  \
             r = c.ioctl(os.open('/proc/self/ns/' + kind, 0), ctypes.c_ulong(n), b)\n  if r >= 0: print('reached', kind, hex(n))"
        ),
    );
    let wrong: Vec<&str> = said.lines().filter(|line| *line != "own had").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    if quire_sandbox::kernel() >= (6, 11) && cfg!(target_arch = "x86_64") {
        assert!(said.contains("own had"), "the control: {said}");
    }
}

fn segments(ground: &Ground) {
    let mut spec = ground.stage.spec.clone();
    spec.memory_bytes = 64 << 20;
    let inside = ground.inside_of(&spec);
    let said = python(
        &inside,
        "made = 0\nwhile made < 200 and c.shmget(0, 1 << 20, 0o1600) >= 0: made += 1\n\
         print(made, c.shmget(0, 1 << 30, 0o1600), errno.errorcode[ctypes.get_errno()])",
    );
    let expected = if ground.is_copy() { "0 -1 ENOSYS" } else { "32 -1 " };
    assert!(said.starts_with(expected), "{said}");
}
