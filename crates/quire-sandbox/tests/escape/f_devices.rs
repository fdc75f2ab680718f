//! F: devices and terminals.

use crate::catalogue::{Case, case, not_here};
use crate::ground::Ground;

pub const CASES: &[Case] = &[
    case(
        "F01",
        "typing_into_a_terminal",
        "EPERM for TIOCSTI, also with more bits than the kernel reads",
        typing,
    ),
    case("F03", "pasting_into_a_console", "EPERM for TIOCLINUX", |ground| {
        ground.inside().probe(&["terminal"]).are(&[("TIOCLINUX", "EPERM")]);
    }),
    case("F04", "the_persons_terminal", "there is none: /dev/tty is ENXIO", the_persons_terminal),
    case("F06", "device_nodes", "none but the six harmless ones", device_nodes),
    case("F07", "making_devices", "EPERM", making_devices),
    not_here("F08", "granted_graphics", "no device but the granted one", "quire grants no devices"),
    case(
        "F09",
        "terminals_of_the_machine",
        "the sandbox has its own, and sees no other",
        terminals_of_the_machine,
    ),
    case("F10", "groups_of_a_terminal", "ENOTTY: what a call reads and writes is no terminal", |ground| {
        ground.inside().probe(&["terminal"]).are(&[("own-group", "ENOTTY"), ("own-output", "ENOTTY")]);
    }),
    case("F11", "consoles", "no console, virtual or real, is there", |ground| {
        let consoles =
            ["open", "rw", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/vcs", "/dev/vcsa1", "/dev/ttyS0"];
        ground.inside().probe(&consoles).all(ground.no_device());
    }),
    case("F20", "line_disciplines", "EPERM: none is loaded into the kernel", |ground| {
        ground.inside().probe(&["terminal"]).are(&[("TIOCSETD", "EPERM")]);
    }),
];

fn typing(ground: &Ground) {
    let said = ground.inside().probe(&["terminal"]);
    // On a terminal of its own, which the probe could open and ask.
    said.are(&[
        ("size", if ground.is_copy() { "ENOTTY" } else { "ok" }),
        ("TIOCSTI", "EPERM"),
        ("TIOCSTI-wide", "EPERM"),
    ]);
}

fn the_persons_terminal(ground: &Ground) {
    let inside = ground.inside();
    inside.probe(&["open", "rw", "/dev/tty"]).all(if ground.is_copy() { &["EACCES"] } else { &["ENXIO"] });
    assert_eq!(
        inside.yes(if ground.is_shared() {
            "ps -o tty= -p $$ | tr -d ' '"
        } else {
            "ps -o tty= -p 1,$$ 2>/dev/null | tr -d ' ' | sort -u || awk '{print $7}' /proc/1/stat"
        }),
        "?"
    );
}

fn device_nodes(ground: &Ground) {
    let names = [
        "mem",
        "kmem",
        "port",
        "kmsg",
        "kvm",
        "fuse",
        "loop0",
        "loop-control",
        "vda",
        "sda",
        "nvme0",
        "dm-0",
        "mapper/control",
        "uinput",
        "input/event0",
        "vhost-net",
        "vhost-vsock",
        "userfaultfd",
        "net/tun",
        "dri/card0",
        "dri/renderD128",
        "nvidia0",
        "snapshot",
        "rtc0",
        "hwrng",
        "hpet",
        "vfio/vfio",
        "btrfs-control",
        "cuse",
        "autofs",
        "rfkill",
        "raw",
        "vsock",
        "watchdog",
        "nvram",
        "cpu/0/msr",
        "ppp",
        "mqueue",
        "hugepages",
    ];
    let names = names.map(|name| format!("/dev/{name}"));
    let probe: Vec<&str> = ["open", "r"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let inside = ground.inside();
    inside.probe(&probe).all(ground.no_device());
    if ground.is_copy() {
        let given = ["full", "null", "random", "urandom", "zero"].map(|name| format!("/dev/{name}"));
        let probe: Vec<&str> = ["open", "r"].into_iter().chain(given.iter().map(String::as_str)).collect();
        inside.probe(&probe).all(&["ok"]);
        return;
    }
    // Nodes that lie about on the machine's disks, such as those of other roots, do not open. Some are gone by then.
    let nodes = inside
        .yes("find / -xdev \\( -type b -o -type c \\) 2>/dev/null | grep -v -e ^/dev/ | head -n 40; true");
    if !nodes.is_empty() {
        inside
            .probe(&[&["open", "r"][..], &nodes.lines().collect::<Vec<_>>()].concat())
            .all(&["EACCES", "ENOENT"]);
    }
    // What is bound over a file looks like one to a listing, so each is asked.
    let nodes = inside.yes(
        "for f in /dev/* /dev/*/*; do \
         test ! -h $f && { test -b $f || test -c $f; } && echo $f; done | grep -v /fd/ | tr '\\n' ' '",
    );
    assert_eq!(nodes.trim(), "/dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero /dev/pts/ptmx");
}

fn making_devices(ground: &Ground) {
    let inside = ground.inside();
    for at in ["/tmp", "/dev", "/dev/shm", "/root", "/run", "."] {
        inside.no(&format!("mknod {at}/disk b 253 0 || mknod {at}/null c 1 3 || mknod {at}/kmsg c 1 11"));
    }
}

fn terminals_of_the_machine(ground: &Ground) {
    let inside = ground.inside();
    if ground.is_copy() {
        inside.no("ls /dev/pts");
        inside.probe(&["open", "rw", "/dev/ptmx", "/dev/pts/ptmx", "/dev/pts/0"]).all(&["EACCES", "ENOENT"]);
        return;
    }
    assert_eq!(inside.yes("ls /dev/pts"), "ptmx");
    inside.probe(&["open", "rw", "/dev/ptmx"]).all(&["ok"]);
    let own = "python3 -c 'import os, pty; m, s = pty.openpty(); print(os.ttyname(s))'";
    assert_eq!(inside.yes(own), "/dev/pts/0");
}
