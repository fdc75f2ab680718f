//! G: the surface of the kernel.

use crate::c_namespaces::refused;
use crate::catalogue::{Case, case, not_here};
use crate::ground::Ground;
use quire_sandbox::layer;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub const CASES: &[Case] = &[
    case("G01", "keyrings", "EPERM: the person's session keyring is out of reach", |ground| {
        refused(ground, "add_key request_key keyctl", &["EPERM"]);
    }),
    case("G02", "bpf", "EPERM", |ground| refused(ground, "bpf", &["EPERM"])),
    case("G03", "userfaultfd", "EPERM, and no device", userfaultfd),
    case("G05", "perf_events", "EPERM", |ground| refused(ground, "perf_event_open", &["EPERM"])),
    case(
        "G06",
        "running_the_machine",
        "EPERM for kexec, modules, reboot, swap, accounting, quotas, ports",
        |ground| {
            let calls = "kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct \
                     quotactl syslog ioperm iopl";
            refused(ground, calls, &["EPERM"]);
        },
    ),
    case("G07", "clocks", "EPERM", |ground| {
        refused(ground, "clock_settime clock_adjtime settimeofday adjtimex", &["EPERM"]);
    }),
    case("G08", "packet_filters", "nf_tables is not spoken to, and iptables gets EPERM", |ground| {
        let said = ground.inside().probe(&["network"]);
        if ground.is_copy() {
            return said.all(&["EAFNOSUPPORT"]);
        }
        said.are(&[("iptables", "EPERM"), ("ip6tables", "EPERM")]);
        ground.inside().probe(&["sockets"]).are(&[("netfilter", "EPROTONOSUPPORT")]);
    }),
    case(
        "G09",
        "routes_queues_and_keys",
        "EPERM: routes can be read and not written, queues and keys not reached",
        |ground| {
            let said = ground.inside().probe(&["network"]);
            if ground.is_copy() {
                return said.all(&["EAFNOSUPPORT"]);
            }
            said.are(&[
                ("list-links", "ok"),
                ("add-link", "EPERM"),
                ("add-queue", "EPERM"),
                ("rename-lo", "EPERM"),
            ]);
        },
    ),
    case(
        "G10",
        "sockets_of_other_kinds",
        "no family but unix, IP and routes; no protocol but TCP, UDP and echo",
        sockets,
    ),
    case("G12", "suspending_the_filter", "EPERM", |ground| {
        ground.inside().probe(&["trace"]).are(&[("suspend-filter", "EPERM")]);
    }),
    case(
        "G13",
        "other_numbers_of_calls",
        "the end of the process for i386, ENOSYS for x32, EPERM for segments",
        other_numbers,
    ),
    case("G14", "memory_of_nodes", "EPERM", |ground| {
        refused(ground, "mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node", &["EPERM"]);
    }),
    case("G15", "fanotify_and_quotas", "EPERM", |ground| {
        refused(ground, "fanotify_init quotactl_fd", &["EPERM"])
    }),
    case("G16", "landlock_of_ones_own", "works, where the kernel has it", |ground| {
        // What a program gives up itself is its own business.
        let expected = if ground.outside(&["landlock"]).get("version") == "ok" { "ok" } else { "EOPNOTSUPP" };
        ground.inside().probe(&["landlock"]).are(&[("version", expected)]);
    }),
    case("G17", "programs_without_a_name", "run, with no more rights than any", |ground| {
        ground.inside().probe(&["memory-program"]).are(&[("made", "ok"), ("ran", "10"), ("filter", "2")]);
    }),
    case(
        "G19",
        "copied_up_privileges",
        "no setuid file of root's and no capability comes of it (CVE-2023-0386, CVE-2021-3493)",
        copied_up,
    ),
    case("G20", "asynchronous_calls", "ENOSYS: io_uring, whose calls no filter sees", |ground| {
        refused(ground, "io_uring_setup io_uring_enter io_uring_register", &["ENOSYS"]);
    }),
    case(
        "G21",
        "privileges_of_a_call",
        "ten capabilities of its own namespace, none to gain, two filters at most",
        privileges,
    ),
    case(
        "G22",
        "parts_of_ones_own_image",
        "EPERM for memory maps and secure bits that need privilege",
        |ground| {
            ground.inside().probe(&["image"]).are(&[
                ("memory-map", "EPERM"),
                ("secure-bits", "EPERM"),
                ("add-capability", "EPERM"),
                ("ambient", "EPERM"),
            ]);
        },
    ),
    case(
        "G23",
        "calls_of_later_kernels",
        "ENOSYS for every number that the filter was not written for",
        |ground| {
            ground.inside().probe(&["later-calls"]).all(&["ENOSYS"]);
        },
    ),
    not_here(
        "G24",
        "nested_rings_of_arm",
        "the same answers",
        "this machine is x86-64; the filter's test runs the same rows on either",
    ),
];

fn userfaultfd(ground: &Ground) {
    refused(ground, "userfaultfd", &["EPERM"]);
    ground.inside().probe(&["open", "rw", "/dev/userfaultfd"]).all(ground.no_device());
}

fn sockets(ground: &Ground) {
    let said = ground.inside().probe(&["sockets"]);
    if ground.is_copy() {
        // A pair of unix sockets has no name that anybody could be reached by.
        assert_eq!(said.get("pair-unix"), "ok");
        return said.but("pair-unix").all(&["EAFNOSUPPORT", "EPERM", "EPROTONOSUPPORT"]);
    }
    said.are(&[("unix", "ok"), ("tcp", "ok"), ("udp6", "ok"), ("route", "ok"), ("pair-unix", "ok")]);
    let refused = "raw raw6 packet old-packet netfilter audit uevent xfrm generic alg vsock bluetooth can xdp tipc rds key ax25 ppp \
                   sctp dccp mptcp udplite l2tp";
    for name in refused.split_ascii_whitespace() {
        assert!(matches!(said.get(name), "EPERM" | "EPROTONOSUPPORT"), "{name}: {}", said.get(name));
        assert_eq!(said.get(&format!("pair-{name}")), "EPERM", "a pair of {name}");
    }
    assert_eq!(said.get("pair-tcp"), "EPERM");
    if ground.whole {
        // Some kernel modules may be missing, but these every kernel has.
        ground.outside(&["sockets"]).are(&[("raw", "ok"), ("packet", "ok"), ("uevent", "ok")]);
    }
}

fn other_numbers(ground: &Ground) {
    refused(ground, "modify_ldt", &["EPERM"]);
    if cfg!(target_arch = "x86_64") {
        // The end by SIGSYS, and no answer.
        ground.inside().probe(&["numbers"]).are(&[
            ("i386", "signal 31"),
            ("x32", "ENOSYS"),
            ("x32-mount", "ENOSYS"),
        ]);
    }
}

fn copied_up(ground: &Ground) {
    let lower = ground.stage.base.join("setuid");
    fs::copy("/bin/true", &lower).unwrap();
    fs::set_permissions(&lower, fs::Permissions::from_mode(0o6755)).unwrap();
    let inside = ground.inside();
    let lower = lower.to_str().unwrap();
    if ground.is_copy() {
        let before = fs::metadata(lower).unwrap();
        inside.no(&format!("touch {lower} || chmod u+s {lower} || cat {lower}"));
        inside.sh("for f in $(find /usr/bin -perm -4000 2>/dev/null); do touch $f; chmod 4777 $f; done");
        inside.yes("cp /bin/true kept && chmod 4755 kept && ./kept");
        inside.end();
        let after = fs::metadata(lower).unwrap();
        assert_eq!(
            (before.ctime(), before.ctime_nsec(), before.mode()),
            (after.ctime(), after.ctime_nsec(), after.mode())
        );
        // What is kept of it is a plain program of who started the sandbox.
        assert!(layer::folder(&ground.stage.spec.layer, 0).join("kept").exists());
        return;
    }
    inside.yes(&format!("touch {lower} && chmod u+s {lower} && cp -p {lower} kept"));
    // Those of the machine's own, where they may be touched at all.
    inside.sh("for f in $(find /usr/bin /usr/sbin /bin -perm -4000 2>/dev/null); do touch $f; chmod 4777 $f; setcap cap_setuid+ep $f; done");
    inside.probe(&["capability", "kept"]);
    drop(inside);
    let mut found = 0;
    walk(&ground.stage.spec.layer, &mut |path| {
        let stat = fs::symlink_metadata(path).unwrap();
        if stat.is_file() && stat.mode() & 0o6000 != 0 {
            found += 1;
            assert!(stat.uid() != 0 || !ground.root, "{} belongs to root", path.display());
            assert!(ground.root || stat.uid() == rustix::process::geteuid().as_raw(), "{}", path.display());
        }
        let mut value = [0; 64];
        if let Ok(length) = rustix::fs::lgetxattr(path, "security.capability", &mut value[..]) {
            // Revision 3 names the namespace that it holds in; who is that namespace's root sees revision 2.
            assert!(length == 24 || !ground.root, "{} has capabilities", path.display());
        }
    });
    assert!(found >= 1);
    assert!(layer::folder(&ground.stage.spec.layer, 0).join("kept").exists());
}

fn walk(directory: &Path, seen: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        seen(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), seen);
        }
    }
}

fn privileges(ground: &Ground) {
    let inside = ground.inside();
    let status =
        inside.yes("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '");
    // A copy's root is the machine's, so that nothing is left to it.
    let ten = if ground.is_copy() { "0000000000000000" } else { "00000000800404fb" };
    if ground.is_copy() {
        for held in ["CapPrm", "CapEff", "CapAmb", "CapInh"] {
            assert!(status.contains(&format!("{held}:{ten}")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:1 Seccomp:2"), "{status}");
        let uid = inside.yes("su -c true; sudo -n true; pkexec true; id -u");
        assert!(uid.ends_with(&rustix::process::geteuid().as_raw().to_string()), "{uid}");
        return;
    }
    assert_eq!(
        status.trim(),
        format!(
            "CapInh:0000000000000000 CapPrm:{ten} CapEff:{ten} CapBnd:{ten} CapAmb:0000000000000000 NoNewPrivs:1 Seccomp:2"
        )
    );
    assert_eq!(inside.yes("cat /proc/self/uid_map | tr -s ' '").trim().split(' ').next(), Some("0"));
    // Neither of them leads to what the sandbox's root does not have.
    inside.sh("su -c true; sudo -n true; pkexec true; newgrp root < /dev/null");
    assert_eq!(inside.yes("grep CapBnd /proc/self/status | cut -f2"), ten);
}
