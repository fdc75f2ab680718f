//! C: namespaces and mounts.

use crate::catalogue::{Case, case};
use crate::ground::Ground;

pub const CASES: &[Case] = &[
    case("C01", "new_namespaces", "EPERM for each kind, in every way to ask", new_namespaces),
    case("C02", "mounting", "EPERM for every call that mounts", mounting),
    case("C03", "entering_namespaces", "EPERM", entering_namespaces),
    case("C04", "peeling_mounts", "what lies under a mount stays there", peeling_mounts),
    case("C08", "names_and_time", "EPERM", names_and_time),
];

fn new_namespaces(ground: &Ground) {
    let said = ground.inside().probe(&["namespaces"]);
    said.all(&["EPERM"]);
    if ground.root {
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
    if ground.root {
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
    assert_eq!(ground.inside().yes("hostname other 2> /dev/null; hostname"), "quire");
}
