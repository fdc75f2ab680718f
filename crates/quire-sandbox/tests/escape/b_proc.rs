//! B: `/proc` and `/sys`.

use crate::catalogue::{Case, Where, case};
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
        "B09",
        "forged_files_of_proc",
        "set-up writes to the real /proc, and labels are not set inside",
        forged_proc,
    )
    .nothing_on(Where::Copy, "there is nothing that it mounts or could be led astray by"),
    case(
        "B10",
        "processes_of_the_machine",
        "none is seen, nor what stands in their command lines",
        processes_of_the_machine,
    ),
    case(
        "B11",
        "names_of_mounts",
        "tell neither the person's name nor what the task is about",
        names_of_mounts,
    )
    .nothing_on(Where::Copy, "it has the machine's mounts, and makes none"),
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
    if ground.whole {
        ground.outside(&["open", "w", "/proc/sys/kernel/core_pattern"]).all(&["ok"]);
    }
}

fn read_only(ground: &Ground, place: &str) {
    if ground.is_copy() {
        // Landlock stands for the mount: whatever lies there, nothing opens for writing (B13).
        return;
    }
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
    if ground.whole {
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
    if ground.is_shared() {
        // That they are there is told on these (security.md); not what they hold.
        let of = |file: &str| format!("/proc/{}/{file}", canary.id());
        let files =
            ["environ", "maps", "mem", "fd/0", "cwd/.", "root/.", "exe", "auxv", "io", "stack"].map(of);
        let read: Vec<&str> = std::iter::once("read").chain(files.iter().map(String::as_str)).collect();
        inside.probe(&read).all(&["EACCES", "EPERM"]);
        ground.outside(&["read", &files[0], &files[1], &files[4]]).all(&["ok"]);
        return;
    }
    let seen = inside.yes("cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    let pids: u32 = inside.yes("ls -d /proc/[0-9]* | wc -l").trim().parse().expect("a count");
    let by_name = inside.sh(&format!("test -e /proc/{}", canary.id())).0;
    assert!(seen.contains("sandbox-hand") && !seen.contains(secret), "{seen}");
    assert!(pids <= 10 && by_name != 0, "{pids} processes");
}

fn cgroup_release_agent(ground: &Ground) {
    let inside = ground.inside();
    if ground.is_copy() {
        // It is the machine's, to be read: how much memory there is, programs ask there.
        let found = inside.sh("find -L /sys/fs/cgroup -maxdepth 2 -name release_agent -o -maxdepth 2 -name 'cgroup.procs' -o -maxdepth 2 -name notify_on_release 2>/dev/null").1;
        let probe: Vec<&str> = ["open", "w"].into_iter().chain(found.lines()).collect();
        inside.probe(&probe).all(&["EACCES", "EROFS"]);
        inside.no("mkdir /sys/fs/cgroup/*/quire-b12 || mkdir /sys/fs/cgroup/quire-b12");
        return;
    }
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
    ground.inside().probe(&["oom", &lower]).are(&[
        ("lower", if ground.is_shared() && !ground.is_copy() { "EROFS" } else { "EACCES" }),
        (
            "same",
            match () {
                () if ground.is_copy() => "EACCES",
                () if ground.is_shared() => "EROFS",
                () => "ok",
            },
        ),
    ]);
}

fn what_the_kernel_tells(ground: &Ground) {
    let inside = ground.inside();
    // Landlock gives the whole of a /proc or nothing, so a copy is told what any user of the machine is.
    let told = ["keys", "key-users", "timer_list", "sched_debug", "interrupts", "asound"];
    for file in
        ["kcore", "kmsg"].into_iter().chain(if ground.is_copy() { &[][..] } else { &told }.iter().copied())
    {
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

fn forged_proc(ground: &Ground) {
    // A layer in which the agent has laid out files where the kernel's will be, as the next sandbox finds them.
    let forged = quire_sandbox::layer::machine(&ground.stage.spec.layer, std::path::Path::new("/"))
        .join("proc/self/attr");
    std::fs::create_dir_all(&forged).unwrap();
    let files = ["attr/exec", "attr/current", "oom_score_adj", "uid_map", "setgroups"];
    for file in files {
        std::fs::write(forged.parent().unwrap().join(file), "as it was").unwrap();
    }
    let inside = ground.inside();
    assert_eq!(inside.yes("stat -fc %T /proc /proc/self/attr | sort -u"), "proc");
    let probe =
        ["open", "w", "/proc/self/attr/exec", "/proc/self/attr/current", "/proc/thread-self/attr/fscreate"];
    let opened = inside.probe(&probe);
    inside.no(
        "echo unconfined > /proc/self/attr/exec || echo changeprofile unconfined > /proc/self/attr/current",
    );
    for place in &probe[2..] {
        assert!(matches!(opened.get(place), "ok" | "EROFS" | "EACCES" | "ENOENT" | "EINVAL"), "{opened:?}");
    }
    inside.end();
    for file in files {
        assert_eq!(
            std::fs::read_to_string(forged.parent().unwrap().join(file)).unwrap(),
            "as it was",
            "{file}"
        );
    }
}

fn names_of_mounts(ground: &Ground) {
    let inside = ground.inside();
    let told = inside.yes("cut -d' ' -f4- /proc/self/mountinfo");
    // Where a mount stands is known inside anyway; from where it comes, and by what options, is what is asked.
    let home = ground.stage.home.to_str().unwrap();
    for line in told.lines() {
        let mut words = line.split(' ');
        let (from, at) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rest: Vec<&str> = words.collect();
        let rest = rest.join(" ");
        for word in [home, "project", ground.word.as_str()] {
            let is_own = from.ends_with(at) || at.starts_with(home);
            assert!(!rest.contains(word) && (is_own || !from.contains(word)), "{word}: {line}");
        }
    }
}
