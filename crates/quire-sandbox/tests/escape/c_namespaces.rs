//! C: namespaces and mounts.

use crate::catalogue::{Case, case};
use crate::ground::Ground;
use std::fs;

pub const CASES: &[Case] = &[
    case("C01", "new_namespaces", "EPERM for each kind, in every way to ask", new_namespaces),
    case("C02", "mounting", "EPERM for every call that mounts", mounting),
    case("C03", "entering_namespaces", "EPERM", entering_namespaces),
    case("C04", "peeling_mounts", "what lies under a mount stays there", peeling_mounts),
    case("C05", "sandboxes_within", "fail with a plain message", sandboxes_within),
    case("C07", "the_hand_killed", "everything is gone, and what was written is there", the_hand_killed),
    case("C08", "names_and_time", "EPERM", names_and_time),
    case(
        "C09",
        "another_users_namespace",
        "gives nothing that root inside lacks: no mount, no process 1, no raw socket",
        another_user,
    ),
    case("C10", "filters_upon_filters", "EPERM stays EPERM, and no filter comes off", |ground| {
        let said = ground.inside().probe(&["filters"]);
        said.are(&[
            ("allow", "EPERM"),
            ("trace", "EPERM"),
            ("log", "EPERM"),
            // A copy's one listener is quire's own.
            ("notify", if ground.is_copy() { "not-set-EBUSY" } else { "EPERM" }),
            ("mode", "EINVAL"),
        ]);
    }),
];

fn new_namespaces(ground: &Ground) {
    let said = ground.inside().probe(&["namespaces"]);
    said.all(&["EPERM"]);
    if ground.whole {
        ground.outside(&["namespaces"]).all(&["ok"]);
    }
}

fn mounting(ground: &Ground) {
    let calls = "mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr";
    refused(ground, calls, &["EPERM"]);
    // Those that are newer than the filter, or would tell of mounts.
    refused(ground, "open_tree_attr statmount listmount", &["ENOSYS"]);
    ground.inside().no("mount -t tmpfs none /mnt || mount --bind /usr /mnt || mount -o remount,rw /proc/sys");
}

/// Asks by calls whose arguments are wrong; what is wrong with them is what the kernel says outside.
pub fn refused(ground: &Ground, calls: &str, expected: &[&str]) {
    let probe: Vec<&str> = std::iter::once("calls").chain(calls.split_ascii_whitespace()).collect();
    let said = ground.inside().probe(&probe);
    said.all(expected);
    if ground.whole {
        let outside = ground.outside(&probe);
        said.differ(&outside);
    }
}

fn entering_namespaces(ground: &Ground) {
    refused(ground, "setns", &["EPERM"]);
    let inside = ground.inside();
    inside.no("nsenter -t 1 -m true || nsenter -t 1 -U true || nsenter -t 1 -p true");
}

fn peeling_mounts(ground: &Ground) {
    let inside = ground.inside();
    if ground.is_copy() {
        for place in ["/proc", "/proc/fs", "/dev/pts", "/dev/shm", "/sys", "/"] {
            inside.no(&format!("umount {place} || umount -l {place} || mount -o remount,bind {place}"));
        }
        return;
    }
    for place in ["/proc", "/proc/sys", "/run/quire", "/run/quire/bin/quire", "/tmp", "/dev", "/etc", "/"] {
        inside.no(&format!("umount {place} || umount -l {place}"));
    }
    inside.no("mount -o remount,bind,rw /run/quire/bin/quire");
    inside
        .probe(&["open", "w", "/run/quire/bin/apply_patch", "/run/quire/bin/quire"])
        .all(&["EROFS", "ETXTBSY"]);
    inside.yes("awk '$5 == \"/run/quire/bin/quire\" { print $6 }' /proc/self/mountinfo | grep -q ^ro,");
}

fn names_and_time(ground: &Ground) {
    refused(
        ground,
        "sethostname setdomainname clock_settime clock_adjtime adjtimex settimeofday",
        &["EPERM"],
    );
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let inside = ground.inside().yes("hostname other 2> /dev/null; cat /proc/sys/kernel/hostname");
    assert_eq!(inside, if ground.is_copy() { name.trim() } else { "quire" });
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), name);
}

fn sandboxes_within(ground: &Ground) {
    let inside = ground.inside();
    for within in [
        "unshare -Ur true",
        "unshare -Urmpf --mount-proc true",
        "python3 -c 'import os; os.unshare(os.CLONE_NEWUSER)'",
    ] {
        let said = inside.no(within);
        assert!(said.contains("not permitted") || said.contains("no attribute"), "{within}: {said}");
    }
}

fn the_hand_killed(ground: &Ground) {
    let inside = ground.inside();
    inside.yes("echo kept > kept; setsid -f sleep 86396.25 > /dev/null 2>&1 < /dev/null");
    assert!(crate::stage::runs("86396.25"));
    let [_, hand] = spawner_and_hand();
    let hand = rustix::process::Pid::from_raw(hand as i32).unwrap();
    rustix::process::kill_process(hand, rustix::process::Signal::KILL).unwrap();
    crate::stage::until("all are gone", || !crate::stage::runs("86396.25"));
    drop(inside);
    if ground.is_copy() {
        // As the next quire does that finds it.
        assert!(quire_sandbox::has_left(&ground.stage.spec.layer));
        quire_sandbox::settle_left(&ground.stage.spec).unwrap();
    }
    let kept = quire_sandbox::layer::folder(&ground.stage.spec.layer, 0).join("kept");
    assert_eq!(std::fs::read(kept).unwrap(), b"kept\n");
    assert_eq!(ground.inside().yes("cat kept"), "kept");
}

/// Returns the two processes of the sandbox that this process started.
pub fn spawner_and_hand() -> [u32; 2] {
    let children = |of: u32| {
        let threads = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
        let read =
            |path: std::path::PathBuf| std::fs::read_to_string(path.join("children")).unwrap_or_default();
        let all: Vec<String> = threads.map(|thread| read(thread.path())).collect();
        all.join(" ").split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    let spawner = *children(std::process::id()).first().expect("a spawner");
    // As root it has other children for a moment, which make namespaces.
    let is_hand = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"sandbox-hand\0"))
    };
    let all = children(spawner);
    // Who may not look at its arguments has no such children.
    [spawner, *all.iter().find(|pid| is_hand(pid)).or(all.last()).expect("a hand")]
}

fn another_user(ground: &Ground) {
    let said = ground.inside().probe(&["another-user"]);
    // Where one user is all there is, further users are namespaces that are kept ready; elsewhere there is none to enter.
    assert_eq!(said.get("entered"), if ground.root || ground.is_copy() { "ENOENT" } else { "ok" });
    said.are(&[
        ("mount", "EPERM"),
        ("unshare", "EPERM"),
        ("raw", if ground.is_copy() { "EAFNOSUPPORT" } else { "EPERM" }),
        ("hostname", "EPERM"),
        ("attach", "EPERM"),
        ("memory", "EACCES"),
        ("enter-1", "EACCES"),
    ]);
    assert!(matches!(said.get("settings"), "EROFS" | "EACCES"), "{said:?}");
    assert!(matches!(said.get("own-pid-namespace"), "EPERM" | "EINVAL"), "{said:?}");
}
