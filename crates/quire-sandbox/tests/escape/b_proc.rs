//! B: `/proc` and `/sys`.

use crate::catalogue::{Case, case};
use crate::d_signals::Canary;
use crate::ground::Ground;

pub const CASES: &[Case] = &[
    case("B01", "core_pattern", "does not open for writing, and its mount is read-only", core_pattern),
    case(
        "B02",
        "helpers_of_the_kernel",
        "no setting that names a program opens for writing",
        helpers_of_the_kernel,
    ),
    case("B03", "sysrq_irq_bus_fs", "do not open for writing, and are read-only", sysrq_irq_bus_fs),
    case(
        "B04",
        "settings_of_the_network",
        "read-only, although the network is its own",
        settings_of_the_network,
    ),
    case("B06", "the_hands_memory", "EACCES: no environment, maps or memory of process 1", the_hands_memory),
    case(
        "B07",
        "the_hands_descriptors",
        "EACCES and EPERM: its socket cannot be taken",
        the_hands_descriptors,
    ),
    case(
        "B10",
        "processes_of_the_machine",
        "none is seen, nor what stands in their command lines",
        processes_of_the_machine,
    ),
    case("B12", "cgroup_release_agent", "no cgroup file system is there", cgroup_release_agent),
    case(
        "B13",
        "everything_is_read_only",
        "no file of /proc or /sys opens for writing, but a process's own",
        everything_is_read_only,
    ),
    case("B15", "namespaces_of_others", "EPERM for every one, process 1's included", namespaces_of_others),
    case("B16", "oom_score", "EACCES below where it began", oom_score),
    case(
        "B20",
        "what_the_kernel_tells",
        "no addresses, logs, keys, timers, interrupts or firmware",
        what_the_kernel_tells,
    ),
    case("B21", "roots_of_processes", "each leads to the sandbox's own root", roots_of_processes),
];

fn core_pattern(ground: &Ground) {
    let inside = ground.inside();
    inside.probe(&["open", "w", "/proc/sys/kernel/core_pattern"]).all(&["EROFS", "EACCES"]);
    read_only(ground, "/proc/sys");
    if ground.root {
        ground.outside(&["open", "w", "/proc/sys/kernel/core_pattern"]).all(&["ok"]);
    }
}

fn read_only(ground: &Ground, place: &str) {
    let inside = ground.inside();
    inside.yes(&format!(
        "awk '$5 == \"{place}\" {{ split($6, o, \",\"); print o[1] }}' /proc/self/mountinfo | grep -x ro"
    ));
}

fn helpers_of_the_kernel(ground: &Ground) {
    let files = [
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug",
        "/proc/sys/kernel/poweroff_cmd",
        "/proc/sys/kernel/usermodehelper/bset",
        "/proc/sys/kernel/randomize_va_space",
        "/proc/sys/kernel/yama/ptrace_scope",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/fs/protected_symlinks",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/profiling",
        "/sys/class/mem/null/uevent",
    ];
    let probe: Vec<&str> = ["open", "w"].into_iter().chain(files).collect();
    ground.inside().probe(&probe).all(&["EROFS", "EACCES", "ENOENT"]);
    if ground.root {
        assert_eq!(ground.outside(&probe).get("/proc/sys/kernel/poweroff_cmd"), "ok");
    }
}

fn sysrq_irq_bus_fs(ground: &Ground) {
    ground.inside().probe(&["open", "w", "/proc/sysrq-trigger"]).all(&["EROFS", "EACCES", "ENOENT"]);
    for place in ["/proc/irq", "/proc/bus", "/proc/fs"] {
        read_only(ground, place);
    }
}

fn settings_of_the_network(ground: &Ground) {
    let files = [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/net/ipv4/ping_group_range",
    ];
    let probe: Vec<&str> = ["open", "w"].into_iter().chain(files).collect();
    ground.inside().probe(&probe).all(&["EROFS", "EACCES"]);
}

fn the_hands_memory(ground: &Ground) {
    let inside = ground.inside();
    let files =
        ["environ", "maps", "smaps", "mem", "auxv", "stack", "syscall", "io", "personality", "map_files"];
    let files = files.map(|file| format!("/proc/1/{file}"));
    let probe: Vec<&str> = std::iter::once("read").chain(files.iter().map(String::as_str)).collect();
    inside.probe(&probe).all(&["EACCES", "EPERM"]);
    inside.probe(&["hand"]).are(&[
        ("attach", "EPERM"),
        ("seize", "EPERM"),
        ("read-memory", "EPERM"),
        ("write-memory", "EPERM"),
        ("compare", "EPERM"),
    ]);
    // A process of its own it may look into.
    inside.probe(&["read", "/proc/self/environ", "/proc/self/maps", "/proc/self/fd"]).all(&["ok"]);
}

fn the_hands_descriptors(ground: &Ground) {
    let inside = ground.inside();
    // Its numbers can be counted; what they are cannot be learnt, nor can they be opened.
    inside.no("readlink /proc/1/fd/* || ls /proc/1/fdinfo || readlink /proc/1/exe /proc/1/cwd");
    inside
        .probe(&["open", "rw", "/proc/1/fd/0", "/proc/1/fd/3", "/proc/1/fd/4", "/proc/1/exe"])
        .all(&["EACCES"]);
    inside.probe(&["hand"]).are(&[("take-descriptor", "EPERM")]);
    // A call gets nothing but its own three; the fourth is that of the listing.
    assert_eq!(inside.yes("ls /proc/self/fd | tr '\\n' ' '").trim(), "0 1 2 3");
}

fn processes_of_the_machine(ground: &Ground) {
    // What a person's own processes have in their command lines may be secret.
    let canary = Canary::new();
    let secret = "signalled";
    let inside = ground.inside();
    let seen = inside.yes("cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    let pids: u32 = inside.yes("ls -d /proc/[0-9]* | wc -l").trim().parse().expect("a count");
    let by_name = inside.sh(&format!("test -e /proc/{}", canary.id())).0;
    assert!(seen.contains("sandbox-hand") && !seen.contains(secret), "{seen}");
    assert!(pids <= 10 && by_name != 0, "{pids} processes");
}

fn cgroup_release_agent(ground: &Ground) {
    let inside = ground.inside();
    assert_eq!(inside.yes("grep -c cgroup /proc/self/mountinfo; ls -A /sys/fs/cgroup; true"), "0");
    inside.no("find / -xdev -name release_agent 2>/dev/null | grep . || mount -t cgroup none /mnt || mount -t cgroup2 none /mnt");
}

fn everything_is_read_only(ground: &Ground) {
    let said = ground.inside().probe(&["writable", "/proc", "/sys"]);
    let tried: u32 = said.get("tried").parse().expect("a count");
    assert!(tried > 500, "{tried}");
    assert_eq!(said.get("writable"), "none");
}

fn namespaces_of_others(ground: &Ground) {
    ground.inside().probe(&["enter", "/proc/self/ns", "/proc/thread-self/ns"]).all(&["EPERM"]);
    ground.inside().no("ls /proc/1/ns/mnt && readlink /proc/1/ns/mnt");
}

fn oom_score(ground: &Ground) {
    // A sandbox is ended before what its person does; below that it cannot go.
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let lower = (ours.trim().parse::<i32>().unwrap() - 1).to_string();
    ground.inside().probe(&["oom", &lower]).are(&[("lower", "EACCES"), ("same", "ok")]);
}

fn what_the_kernel_tells(ground: &Ground) {
    let inside = ground.inside();
    for file in ["kcore", "keys", "key-users", "timer_list", "kmsg", "sched_debug", "interrupts", "asound"] {
        inside.no(&format!("cat /proc/{file} /proc/{file}/* 2>/dev/null | grep -q ."));
    }
    inside.no("cat /proc/kallsyms /proc/modules 2>/dev/null | grep -v -e '^0000000000000000 ' -e ' 0x0000000000000000$' | grep -q .");
    inside.no("cat /proc/iomem /proc/ioports 2>/dev/null | grep -q '[1-9a-f]-'");
    inside.no("dmesg");
    inside.no("find /sys/firmware /sys/devices/virtual/powercap -type f 2>/dev/null | grep -q .");
    inside.no("find /sys/kernel/debug /sys/kernel/tracing /sys/kernel/security /sys/fs/bpf -type f 2>/dev/null | grep -q .");
    // Serial numbers of the machine.
    inside.no("cat /sys/class/dmi/id/*serial /sys/class/dmi/id/product_uuid 2>/dev/null | grep -q .");
}

fn roots_of_processes(ground: &Ground) {
    let own = "own=$(stat -c %d:%i /); ";
    let inside = ground.inside();
    inside.yes(&format!(
        "{own} n=0; for p in /proc/[0-9]*; do r=$(stat -Lc %d:%i $p/root 2>/dev/null) || continue; \
        n=$((n+1)); test $r = $own || exit 9; done; test $n -ge 1"
    ));
    inside.no("ls /proc/1/root/ || ls /proc/1/cwd/");
}
