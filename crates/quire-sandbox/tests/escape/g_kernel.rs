//! G: the surface of the kernel.

use crate::c_namespaces::refused;
use crate::catalogue::{Case, case};
use crate::ground::Ground;

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
];

fn userfaultfd(ground: &Ground) {
    refused(ground, "userfaultfd", &["EPERM"]);
    ground.inside().probe(&["open", "rw", "/dev/userfaultfd"]).all(&["ENOENT"]);
}
