//! The tests, by name.

use crate::facts::fingerprint;
use crate::stage::{Live, Stage, quoted, runs, runs_line, until};
use quire_sandbox::protocol::{FromHand, ToHand};
use quire_sandbox::{FolderView, GIVEN_INSIDE, Rung, Spec, StartError, landlock_version, layer, prove};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub type Test = fn(&Stage);

/// The rungs that promise what a test asks for.
#[derive(Clone, Copy)]
pub enum On {
    Every,
    /// Those with a file tree of their own.
    Tree,
    /// Those with processes of their own as well.
    Full,
    /// Those whose processes are the machine's.
    Shared,
    /// The lowest alone.
    Copy,
}

impl On {
    pub fn holds(self, rung: Rung) -> bool {
        match self {
            On::Every => true,
            On::Tree => rung != Rung::Copy,
            On::Full => rung.has_processes(),
            On::Shared => !rung.has_processes(),
            On::Copy => rung == Rung::Copy,
        }
    }
}

pub const ALL: &[(&str, On, Test)] = &[
    ("nothing_real_changes", On::Tree, nothing_real_changes),
    ("nothing_tells_which_machine_it_is", On::Every, nothing_tells_which_machine_it_is),
    ("homes_are_empty_but_for_tools", On::Tree, homes_are_empty_but_for_tools),
    ("secrets_are_hidden", On::Tree, secrets_are_hidden),
    ("a_git_directory_is_shown_beside_its_folder", On::Tree, a_git_directory_is_shown_beside_its_folder),
    ("quires_own_directories_are_hidden", On::Tree, quires_own_directories_are_hidden),
    ("a_folder_in_a_hidden_place_is_refused", On::Tree, a_folder_in_a_hidden_place_is_refused),
    ("there_is_no_network", On::Tree, there_is_no_network),
    ("nothing_is_reached_directly", On::Tree, crate::door::nothing_is_reached_directly),
    ("the_way_out_is_accepted_outside", On::Tree, crate::door::the_way_out_is_accepted_outside),
    ("every_port_is_free_inside", On::Tree, crate::door::every_port_is_free_inside),
    ("the_way_out_can_share_a_network", On::Tree, crate::door::the_way_out_can_share_a_network),
    ("names_are_resolved_by_the_way_out", On::Tree, crate::door::names_are_resolved_by_the_way_out),
    ("programs_are_told_of_the_way_out", On::Tree, crate::door::programs_are_told_of_the_way_out),
    (
        "ports_are_reached_through_the_hand_only",
        On::Tree,
        crate::door::ports_are_reached_through_the_hand_only,
    ),
    (
        "package_managers_work_through_the_way_out",
        On::Full,
        crate::door::package_managers_work_through_the_way_out,
    ),
    ("the_authority_is_trusted_inside_only", On::Tree, crate::door::the_authority_is_trusted_inside_only),
    ("what_leaves_is_judged_outside", On::Tree, crate::egress::what_leaves_is_judged_outside),
    ("the_kernel_is_closed", On::Tree, the_kernel_is_closed),
    ("the_hand_is_closed", On::Full, the_hand_is_closed),
    ("devices_are_few", On::Tree, devices_are_few),
    ("everything_ends", On::Every, everything_ends),
    ("orphans_are_buried", On::Every, orphans_are_buried),
    ("a_killed_host_leaves_nothing", On::Every, a_killed_host_leaves_nothing),
    ("a_killed_spawner_leaves_nothing", On::Every, a_killed_spawner_leaves_nothing),
    ("a_layer_is_mounted_again", On::Tree, a_layer_is_mounted_again),
    ("mounts_that_come_hide_no_work", On::Tree, crate::mounts::mounts_that_come_hide_no_work),
    ("mounts_that_go_hide_no_work", On::Tree, crate::mounts::mounts_that_go_hide_no_work),
    ("mounts_in_mounts_hide_no_work", On::Tree, crate::mounts::mounts_in_mounts_hide_no_work),
    ("mounts_change_under_an_open_layer", On::Tree, crate::mounts::mounts_change_under_an_open_layer),
    ("meanwhile_edited_in_place", On::Every, crate::meanwhile::meanwhile_edited_in_place),
    ("meanwhile_saved_by_rename", On::Every, crate::meanwhile::meanwhile_saved_by_rename),
    ("meanwhile_deleted", On::Every, crate::meanwhile::meanwhile_deleted),
    ("meanwhile_created_where_nothing_was", On::Every, crate::meanwhile::meanwhile_created_where_nothing_was),
    ("meanwhile_replaced_and_added_to", On::Every, crate::meanwhile::meanwhile_replaced_and_added_to),
    ("meanwhile_directory_made_anew", On::Every, crate::meanwhile::meanwhile_directory_made_anew),
    ("meanwhile_directory_renamed", On::Every, crate::meanwhile::meanwhile_directory_renamed),
    ("meanwhile_locked", On::Every, crate::meanwhile::meanwhile_locked),
    ("ignored_directories_are_live", On::Tree, ignored_directories_are_live),
    ("a_folder_can_be_anywhere", On::Tree, a_folder_can_be_anywhere),
    ("folders_can_lie_in_folders", On::Tree, folders_can_lie_in_folders),
    ("a_folder_of_a_home_need_not_be_there", On::Every, a_folder_of_a_home_need_not_be_there),
    ("a_hostile_layer_cannot_move_a_mount", On::Tree, a_hostile_layer_cannot_move_a_mount),
    ("freeze_holds_files_still", On::Tree, freeze_holds_files_still),
    ("memory_is_bounded", On::Every, memory_is_bounded),
    ("builds_work", On::Tree, builds_work),
    ("packages_replace_and_have_users", On::Full, crate::install::packages_replace_and_have_users),
    ("other_users_are_had", On::Full, crate::install::other_users_are_had),
    ("the_system_is_writable", On::Tree, crate::install::the_system_is_writable),
    ("outputs_come_out", On::Tree, outputs_come_out),
    ("what_is_given_is_read_and_not_written", On::Every, what_is_given_is_read_and_not_written),
    ("tools_work_inside", On::Tree, crate::tools::tools_work_inside),
    ("the_rung_is_proved", On::Every, the_rung_is_proved),
    ("sockets_without_a_file_stay_within", On::Full, sockets_without_a_file_stay_within),
    ("many_sandboxes_leave_nothing", On::Full, crate::life::many_sandboxes_leave_nothing),
    ("a_copy_becomes_a_layer", On::Copy, crate::copy::a_copy_becomes_a_layer),
    ("nothing_real_is_touched", On::Copy, crate::copy::nothing_real_is_touched),
    ("only_what_is_listed_can_be_read", On::Copy, crate::copy::only_what_is_listed_can_be_read),
    ("other_processes_are_out_of_reach", On::Shared, crate::copy::other_processes_are_out_of_reach),
    ("there_are_no_sockets", On::Copy, crate::copy::there_are_no_sockets),
    ("work_goes_on", On::Copy, crate::copy::work_goes_on),
];

/// Not tests, but what a test starts as a process of its own.
pub const HELPERS: &[(&str, Test)] = &[("hold", hold)];

/// Skills, and files that a person hands over.
fn what_is_given_is_read_and_not_written(stage: &Stage) {
    let given = stage.base.join("data/given");
    let script = given.join("skills/letters/greet");
    fs::create_dir_all(script.parent().unwrap()).unwrap();
    fs::write(&script, "#!/bin/sh\necho Dear\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let before = fingerprint(&given);
    let live = Live::start(&Spec { given: Some(given.clone()), ..stage.spec.clone() }).unwrap();
    let inside = if stage.rung == Rung::Copy { given.clone() } else { GIVEN_INSIDE.into() };
    let inside = quoted(&inside);
    assert_eq!(live.yes(&format!("{inside}/skills/letters/greet")), "Dear");
    for change in
        ["echo x >> skills/letters/greet", "touch new", "rm -r skills", "mv skills other", "chmod 0 skills"]
    {
        live.no(&format!("cd {inside} && {change}"));
    }
    drop(live);
    assert_eq!(fingerprint(&given), before);
}

fn nothing_real_changes(stage: &Stage) {
    let elsewhere = stage.base.join("elsewhere");
    for made in [&elsewhere, &stage.home.join(".cargo")] {
        fs::create_dir_all(made.join("sub")).unwrap();
        fs::write(made.join("one"), "1\n").unwrap();
        fs::write(made.join("sub/two"), "2\n").unwrap();
        symlink("one", made.join("link")).unwrap();
    }
    let trees = [elsewhere, stage.home.clone(), stage.base.join("data/base")];
    let before = trees.each_ref().map(|tree| fingerprint(tree));
    let live = stage.start();
    for tree in [&trees[0], &stage.home.join(".cargo"), &stage.folder().to_path_buf()] {
        let file = if tree == stage.folder() { "a.txt" } else { "one" };
        // What belongs to others an ordinary user cannot change, not even in the copy.
        let try_it = format!(
            "cd {} && echo more >> {file} && chmod 777 {file} && touch -d 2001-01-01 {file} && ln {file} hard \
             && mv {file} moved && : > moved && chmod 700 . && mkdir new && rm -rf deep sub link new && echo x > fresh",
            quoted(tree)
        );
        if tree == &trees[0] && !rustix::process::geteuid().is_root() {
            live.run(&try_it);
        } else {
            live.yes(&try_it);
        }
    }
    live.yes(&format!("rm -rf {0}/* {0}/.[a-z]* && test -z \"$(ls -A {0})\"", quoted(stage.folder())));
    live.run("echo x >> /etc/passwd; rm -f /etc/hostname; rm -rf /usr/share/doc");
    live.sandbox.end().unwrap();
    assert_eq!(before, trees.each_ref().map(|tree| fingerprint(tree)));
    assert!(Path::new("/usr/share/doc").exists());
}

/// What there is of these names on the machine is another one inside.
fn nothing_tells_which_machine_it_is(stage: &Stage) {
    let outside = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let telling = ["/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostname"];
    assert!(telling.iter().any(|file| !outside(file).is_empty()), "there is nothing to tell outside");
    let live = stage.start();
    if stage.rung == Rung::Copy {
        for file in telling.iter().filter(|file| Path::new(file).exists()) {
            live.no(&format!("cat {file}"));
        }
        return;
    }
    for (file, inside) in telling.iter().zip(["71756972650040008000000000000000"; 2].iter().chain(&["quire"]))
    {
        if Path::new(file).exists() {
            assert_eq!(live.yes(&format!("cat {file}")), *inside, "{file}");
        }
    }
    assert_eq!(live.yes("uname -n; cat /proc/sys/kernel/hostname"), "quire\nquire");
    let boot = live.yes("cat /proc/sys/kernel/random/boot_id");
    assert_eq!(boot.len(), outside("/proc/sys/kernel/random/boot_id").len());
    assert_ne!(boot, outside("/proc/sys/kernel/random/boot_id"));
    let host = outside("/proc/sys/kernel/hostname");
    if !host.is_empty() && host != "localhost" {
        live.no(&format!("grep -qw -- {} /etc/hosts", quoted(host)));
    }
    assert_eq!(live.yes("cat /sys/class/net/*/address"), "00:00:00:00:00:00");
    // None of it is a change, and what is there may be changed.
    live.yes("echo other > /etc/machine-id && cat /etc/machine-id");
    live.sandbox.end().unwrap();
    let etc =
        layer::machine(&stage.spec.layer, Path::new(if stage.rung.shifts_owners() { "/" } else { "/etc" }));
    let etc = if stage.rung.shifts_owners() { etc.join("etc") } else { etc };
    let mut changed: Vec<_> =
        fs::read_dir(etc).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    changed.sort();
    assert_eq!(changed, ["machine-id"]);
}

fn homes_are_empty_but_for_tools(stage: &Stage) {
    for (file, content) in [
        ("letter", "dear"),
        (".cargo/config.toml", "[net]"),
        (".gitconfig", "[user]"),
        (".local/bin/tool", "x"),
    ] {
        let path = stage.home.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir_all(stage.home.join("notes")).unwrap();
    fs::write(stage.home.join("notes/n"), "note").unwrap();
    fs::create_dir_all(stage.home.join("dots/go/bin")).unwrap();
    fs::write(stage.home.join("dots/ignore"), "*.o").unwrap();
    symlink("dots/ignore", stage.home.join(".gitignore")).unwrap();
    symlink(stage.home.join("dots/go"), stage.home.join("go")).unwrap();
    symlink("/usr", stage.home.join(".yarn")).unwrap();
    let mut spec = stage.spec.clone();
    spec.show = ["~/notes", "~/.local/bin", "~/.gitconfig", "~/not-there"].map(PathBuf::from).to_vec();
    let live = Live::start(&spec).unwrap();
    assert_eq!(live.yes("ls -A ~"), ".cargo\n.gitconfig\n.gitignore\n.local\n.yarn\ngo\nnotes\nproject");
    live.yes(
        "test -d ~/go/bin && test -d ~/.yarn/bin && test ! -e ~/dots && test \"$(cat ~/.gitignore)\" = '*.o'",
    );
    assert_eq!(
        live.yes("cat ~/.cargo/config.toml ~/.gitconfig ~/.local/bin/tool ~/notes/n"),
        "[net][user]xnote"
    );
    assert_eq!(
        live.yes("echo mine > ~/.profile && cat ~/.profile && stat -c %u:%g ~ ~/.cargo ~/.gitconfig"),
        "mine\n0:0\n0:0\n0:0"
    );
    assert_eq!(live.yes("ls -A /home; ls -A /root"), "");
    assert!(!stage.home.join(".profile").exists());
}

fn secrets_are_hidden(stage: &Stage) {
    let keys = stage.base.join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("id"), "SECRET").unwrap();
    symlink(&keys, stage.home.join(".ssh")).unwrap();
    let frozen = stage.base.join("data/base");
    for file in
        [".cargo/credentials.toml", ".config/git/credentials", ".local/share/keyrings/login", "shown/.token"]
    {
        let path = stage.home.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SECRET").unwrap();
    }
    for file in [".env", "deep/.env.local", "tls.pem", "notes.private", "only/here.txt"] {
        let path = frozen.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SECRET PRIVATE KEY").unwrap();
    }
    fs::write(stage.base.join("outside.txt"), "SECRET").unwrap();
    symlink(".env", frozen.join("link")).unwrap();
    // A secret by its name, wherever it really lies.
    fs::write(stage.base.join("production"), "SECRET").unwrap();
    for copy in [&frozen, &stage.folder().to_path_buf()] {
        symlink(stage.base.join("production"), copy.join(".env.production")).unwrap();
    }
    let mut spec = stage.spec.clone();
    spec.show = vec!["~/shown".into(), "~/.ssh".into()];
    spec.hide = vec!["*.private".into(), "only/here.txt".into(), "~/shown/.token".into()];
    spec.hide.push(stage.base.join("outside.txt").to_str().unwrap().into());
    // An ignored directory is not in the frozen copy.
    let ignored = stage.folder().join("deploy/prod");
    fs::create_dir_all(&ignored).unwrap();
    fs::write(ignored.join(".env"), "SECRET").unwrap();
    spec.folders[0].ignored = vec!["deploy".into()];
    let live = Live::start(&spec).unwrap();
    let names = [
        "deploy/prod/.env",
        "~/.cargo/credentials.toml",
        "~/.config/git/credentials",
        "~/.local/share/keyrings/login",
        "~/shown/.token",
        ".env",
        "link",
        "deep/.env.local",
        "tls.pem",
        "notes.private",
        "only/here.txt",
        "../../outside.txt",
        "../../production",
        ".env.production",
    ];
    for name in names {
        assert!(!live.run(&format!("cat {name}; grep -s '' {name} ./{name}")).1.contains("SECRET"), "{name}");
        live.no(&format!("echo x >> {name}"));
    }
    live.no("rm .env");
    live.no("mv deep shallow && cat shallow/.env.local | grep SECRET");
    assert!(!live.run("cat /etc/shadow").1.contains('$'));
    // Asked for by name, and so shown.
    assert_eq!(live.yes("cat ~/.ssh/id"), "SECRET");
    drop(live);

    spec.show = Vec::new();
    let live = Live::start(&spec).unwrap();
    for name in ["~/.ssh/id".to_owned(), keys.join("id").to_str().unwrap().to_owned()] {
        live.no(&format!("cat {name}"));
    }
}

fn quires_own_directories_are_hidden(stage: &Stage) {
    let live = stage.start();
    for own in [&stage.spec.state, &stage.spec.layer, &stage.spec.out, &stage.spec.folders[0].frozen[0]] {
        let own = quoted(own);
        live.yes(&format!("test -z \"$(ls -A {own} 2>/dev/null)\""));
        live.no(&format!("touch {own}/x"));
        live.no(&format!("rmdir {own}"));
        live.no(&format!("mv {own} /moved"));
    }
}

fn a_folder_in_a_hidden_place_is_refused(stage: &Stage) {
    let mut spec = stage.spec.clone();
    spec.hide = vec!["~/".into()];
    let error = Live::start(&spec).map(drop).unwrap_err();
    assert!(matches!(error, StartError::Refused(_)), "{error}");
    assert!(error.to_string().contains("a folder of the task lies in it"), "{error}");
}

fn there_is_no_network(stage: &Stage) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = |to: &str| format!("exec 3<>/dev/tcp/{to}");
    assert!(
        Command::new("bash").args(["-c", &connect(&format!("127.0.0.1/{port}"))]).status().unwrap().success()
    );
    let live = stage.start();
    live.no(&connect(&format!("127.0.0.1/{port}")));
    live.no(&connect("192.0.2.1/80"));
    live.no("exec 3<>/dev/udp/192.0.2.1/53");
    assert_eq!(live.yes("ls /sys/class/net"), "lo");
    // Its own loopback works, which test suites need.
    live.yes(
        "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); socket.create_connection(s.getsockname())'",
    );
}

fn the_kernel_is_closed(stage: &Stage) {
    let live = stage.start();
    for file in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
        "/sys/power/state",
    ] {
        live.no(&format!("python3 -c 'open(\"{file}\", \"r+b\").close()'"));
    }
    // Each asks for nothing that would do harm if it were granted.
    let rows = [
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        "mount -t tmpfs none /mnt",
        "mount --bind /usr /mnt",
        "umount /proc",
        "umount /run/quire",
        "mount -o remount,rw /proc/sys",
        "nsenter -t 1 -m true",
        "mknod /tmp/disk b 253 0",
        "mknod /tmp/null c 1 3",
        "hostname other",
        "dmesg",
    ];
    for row in rows {
        live.no(row);
    }
    // add_key, keyctl, bpf, userfaultfd, perf_event_open, io_uring_setup, fsopen, open_by_handle_at, setns
    let probe = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True); c.syscall(int(sys.argv[1]), 0, 0, 0, 0, 0) >= 0 \
        and sys.exit('allowed'); sys.exit(0 if ctypes.get_errno() in (1, 38) else f'errno {ctypes.get_errno()}')";
    fs::write(stage.spec.out.join("probe.py"), probe).unwrap();
    let calls = [
        libc::SYS_add_key,
        libc::SYS_keyctl,
        libc::SYS_bpf,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_io_uring_setup,
        libc::SYS_fsopen,
        libc::SYS_open_by_handle_at,
        libc::SYS_setns,
        libc::SYS_clone3,
    ];
    for call in calls {
        live.yes(&format!("python3 /run/quire/out/probe.py {call}"));
    }
    for family in [
        "AF_PACKET, socket.SOCK_RAW",
        "AF_INET, socket.SOCK_RAW",
        "AF_ALG, socket.SOCK_SEQPACKET",
        "AF_VSOCK, socket.SOCK_STREAM",
    ] {
        live.no(&format!("python3 -c 'import socket; socket.socket(socket.{family})'"));
    }
    // A program that traces its own child is a debugger, and works.
    live.yes("python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0))'");
}

fn the_hand_is_closed(stage: &Stage) {
    let live = stage.start();
    for file in ["environ", "maps", "mem", "fd/0", "root", "cwd", "exe"] {
        live.no(&format!("head -c1 /proc/1/{file}/. || head -c1 /proc/1/{file}"));
    }
    live.no("readlink /proc/1/fd/3 || readlink /proc/1/exe || cat < /proc/1/fd/3");
    live.no("python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(16, 1, 0, 0))'"); // PTRACE_ATTACH
    live.run("kill -9 1; kill -STOP 1");
    assert_eq!(live.yes("tr '\\0' ' ' < /proc/1/cmdline"), "quire sandbox-hand ");
    // Nothing of the machine's is to be seen, and nothing of the host's was inherited.
    let pids: usize = live.yes("ls -d /proc/[0-9]* | wc -l").trim().parse().unwrap();
    assert!(pids <= 8, "{pids}");
    assert_eq!(live.yes("ls /proc/self/fd"), "0\n1\n2\n3");
    assert_eq!(live.yes("tr '\\0' '\\n' < /proc/self/environ | grep -c -e WALL -e CARGO; true"), "0");
}

fn devices_are_few(stage: &Stage) {
    let live = stage.start();
    let expected = "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    assert_eq!(live.yes("ls -A /dev"), expected);
    live.yes(
        "echo x > /dev/null && head -c8 /dev/urandom > /dev/shm/x && python3 -c 'import pty; pty.openpty()'",
    );
    live.no("cat /dev/tty");
}

fn everything_ends(stage: &Stage) {
    let live = stage.start();
    let nap = nap(std::process::id());
    live.yes(&format!("setsid -f sleep {nap} > /dev/null 2>&1 < /dev/null; (trap '' TERM HUP; sleep {nap} &) > /dev/null 2>&1"));
    assert!(runs(&nap));
    live.sandbox.end().unwrap();
    assert!(!runs(&nap));
    assert_eq!(fs::read_dir(&stage.spec.state).unwrap().count(), 0);
}

fn orphans_are_buried(stage: &Stage) {
    let live = stage.start();
    live.yes("for i in 1 2 3 4 5 6 7 8; do (setsid -f true); done");
    until("no zombies", || live.yes("ps -o stat= --ppid $PPID | grep -c Z || true").trim() == "0");
}

fn a_killed_host_leaves_nothing(stage: &Stage) {
    let mut host = Command::new(std::env::current_exe().unwrap());
    host.env("WALL_TEST", "hold").stdout(Stdio::piped());
    let mut host = host.spawn().unwrap();
    let nap = nap(host.id());
    let mut said = String::new();
    BufReader::new(host.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "stands\n");
    assert!(runs(&nap));
    host.kill().unwrap();
    host.wait().unwrap();
    // Others are tried at the same time, but not with this binary.
    let spawner = [stage.spec.binary.to_str().unwrap(), "sandbox-spawner"].join("\0");
    until("all are gone", || !runs(&nap) && !runs_line(&spawner));
    // The layer is there, and stands again.
    let live = stage.start();
    assert_eq!(live.yes("cat kept"), "kept");
}

/// Returns a time to sleep that no other test's processes sleep.
fn nap(host: u32) -> String {
    format!("86399.{host}")
}

fn hold(stage: &Stage) {
    let live = stage.start();
    let nap = nap(std::process::id());
    live.yes(&format!("echo kept > kept; setsid -f sleep {nap} > /dev/null 2>&1 < /dev/null"));
    println!("stands");
    live.heard.recv().unwrap();
}

/// Spawner and hand are both killed by force, and so cannot end what runs inside.
fn a_killed_spawner_leaves_nothing(stage: &Stage) {
    let live = stage.start();
    let nap = nap(std::process::id());
    live.yes(&format!("setsid -f sleep {nap} > /dev/null 2>&1 < /dev/null; (trap '' TERM HUP; sleep {nap} &) > /dev/null 2>&1"));
    assert!(runs(&nap));
    let spawner = child_of(std::process::id(), "sandbox-spawner");
    let hand = child_of(spawner, "sandbox-hand");
    for pid in [spawner, hand] {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid as i32).unwrap(),
            rustix::process::Signal::KILL,
        )
        .ok();
    }
    until("all are gone", || !runs(&nap));
    quire_sandbox::bury(&stage.spec.state).unwrap();
    live.sandbox.end().unwrap();
}

/// Returns the child of a process whose command line ends so.
fn child_of(parent: u32, word: &str) -> u32 {
    let mut all =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let of = read("stat").rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        of == Some(parent) && read("cmdline").trim_end_matches('\0').ends_with(word)
    };
    all.find(is_it).expect("a child of that name")
}

fn a_layer_is_mounted_again(stage: &Stage) {
    let work = "echo new > made && rm a.txt && rm -r deep && mkdir deep && echo fresh > deep/c && echo h > ~/kept && mkdir /top";
    let check = |live: &Live| {
        assert_eq!(
            live.yes("ls -A . deep; cat made deep/c ~/kept; ls -d /top"),
            ".:\ndeep\nmade\n\ndeep:\nc\nnew\nfresh\nh\n/top"
        );
    };
    let live = stage.start();
    live.yes(work);
    check(&live);
    live.sandbox.end().unwrap();

    // The same layer once more, as after the death of a host.
    let live = stage.start();
    check(&live);
    live.sandbox.end().unwrap();
    assert_eq!(fs::read(layer::folder(&stage.spec.layer, 0).join("made")).unwrap(), b"new\n");

    // Sealed, under a new layer, whose changes do not touch it.
    let mut spec = stage.spec.clone();
    spec.layers = vec![std::mem::replace(&mut spec.layer, stage.base.join("data/layer-2"))];
    let before = fingerprint(&spec.layers[0]);
    let live = Live::start(&spec).unwrap();
    check(&live);
    live.yes("echo again > a.txt && rm made && echo more >> deep/c && rm ~/kept");
    live.sandbox.end().unwrap();
    assert_eq!(before, fingerprint(&spec.layers[0]));

    spec.layers.insert(0, std::mem::replace(&mut spec.layer, stage.base.join("data/layer-3")));
    let live = Live::start(&spec).unwrap();
    assert_eq!(live.yes("ls -A; cat a.txt deep/c; ls -A ~"), "a.txt\ndeep\nagain\nfresh\nmore\nproject");
}

fn ignored_directories_are_live(stage: &Stage) {
    let modules = stage.folder().join("web/node_modules");
    fs::create_dir_all(modules.join("pkg")).unwrap();
    fs::write(modules.join("pkg/index.js"), "1").unwrap();
    let mut spec = stage.spec.clone();
    spec.folders[0].ignored = vec!["web/node_modules".into(), "not/there".into()];
    let before = fingerprint(&modules);
    let live = Live::start(&spec).unwrap();
    assert_eq!(live.yes("cat web/node_modules/pkg/index.js && stat -c %u web/node_modules"), "10");
    live.yes("rm -r web/node_modules/pkg && echo 2 > web/node_modules/two");
    live.sandbox.end().unwrap();
    assert_eq!(before, fingerprint(&modules));
    assert_eq!(
        fs::read_dir(layer::folder(&spec.layer, 0)).unwrap().count(),
        0,
        "mount points are no changes"
    );
    let changed = layer::ignored(&spec.layer, 0, Path::new("web/node_modules"));
    assert_eq!(fs::read(changed.join("two")).unwrap(), b"2\n");
}

fn a_folder_can_be_anywhere(stage: &Stage) {
    for place in ["/tmp", "/dev/shm", "/var/tmp"] {
        let base = tempfile::Builder::new().prefix("wall-").tempdir_in(place).unwrap();
        let at = base.path().join(OsStr::from_bytes(b"a b:c,\\d\xff")).join("x".repeat(200));
        fs::create_dir_all(&at).unwrap();
        let odd = OsStr::from_bytes(b"odd\xfe\nname");
        fs::write(stage.base.join("data/base").join(odd), "odd").unwrap();
        let mut spec = stage.spec.clone();
        spec.state = stage.base.join(format!("data/state{}", place.replace('/', "-")));
        spec.layer = stage.base.join(format!("data/layer{}", place.replace('/', "-")));
        spec.folders[0].at = at.clone();
        let live = Live::start(&spec).unwrap();
        assert_eq!(live.yes("cat odd* && cat a.txt && echo 1 > $'\\xfd'"), "odda");
        live.sandbox.end().unwrap();
        let made = layer::folder(&spec.layer, 0).join(OsStr::from_bytes(b"\xfd"));
        assert_eq!(fs::read(made).unwrap(), b"1\n");
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    }
}

fn folders_can_lie_in_folders(stage: &Stage) {
    let (inner, frozen) = (stage.folder().join("vendor/inner"), stage.base.join("data/inner"));
    for made in [&inner, &frozen] {
        fs::create_dir_all(made).unwrap();
    }
    fs::write(frozen.join("in.txt"), "in").unwrap();
    let mut spec = stage.spec.clone();
    spec.folders.push(FolderView {
        at: inner,
        frozen: vec![frozen],
        ignored: Vec::new(),
        suspects: None,
        git_of: None,
    });
    let live = Live::start(&spec).unwrap();
    assert_eq!(live.yes("cat vendor/inner/in.txt; echo x > vendor/inner/y"), "in");
    live.sandbox.end().unwrap();
    assert!(layer::folder(&spec.layer, 1).join("y").exists());
    assert_eq!(fs::read_dir(layer::folder(&spec.layer, 0)).unwrap().count(), 0);
}

fn a_git_directory_is_shown_beside_its_folder(stage: &Stage) {
    let (at, frozen, upon) =
        (stage.home.join("repo/.git"), stage.base.join("data/git"), stage.base.join("data/upon"));
    for made in [&at, &frozen.join("refs"), &upon] {
        fs::create_dir_all(made).unwrap();
    }
    fs::write(at.join("HEAD"), "real").unwrap();
    for (path, content) in
        [("HEAD", "copied"), ("index", "copied"), ("refs/a.secret", "1"), ("refs/.env", "1")]
    {
        fs::write(frozen.join(path), content).unwrap();
    }
    fs::write(upon.join("index"), "narrowed").unwrap();
    let mut spec = Spec { hide: vec!["*.secret".to_owned()], ..stage.spec.clone() };
    let frozen = vec![upon, frozen];
    spec.folders.push(FolderView {
        at: at.clone(),
        frozen,
        ignored: vec![],
        suspects: None,
        git_of: Some(0),
    });
    let git = quoted(&at);
    let live = Live::start(&spec).unwrap();
    live.yes(&format!("cd {git} && test $(cat HEAD index refs/a.secret refs/.env) = copiednarrowed11"));
    live.yes(&format!("cd {git} && echo mine > HEAD && rm index && mkdir objects && echo x > objects/y"));
    live.sandbox.end().unwrap();
    assert_eq!(fs::read(layer::git(&spec.layer, 0).join("HEAD")).unwrap(), b"mine\n");
    assert_eq!(
        (fs::read(at.join("HEAD")).unwrap(), fs::read_dir(&at).unwrap().count()),
        (b"real".to_vec(), 1)
    );
    spec.layers = vec![std::mem::replace(&mut spec.layer, stage.base.join("data/second"))];
    let live = Live::start(&spec).unwrap();
    live.yes(&format!("cd {git} && test \"$(cat HEAD objects/y | tr -d '\\n')\" = minex && ! test -e index"));
    live.sandbox.end().unwrap();
}

fn a_folder_of_a_home_need_not_be_there(stage: &Stage) {
    let frozen = stage.base.join("data/empty");
    fs::create_dir(&frozen).unwrap();
    symlink(&stage.base, stage.home.join("link")).unwrap();
    symlink("nowhere", stage.home.join("dangling")).unwrap();
    let at = |at: &Path| {
        let mut spec = stage.spec.clone();
        let (at, frozen) = (at.to_owned(), vec![frozen.clone()]);
        spec.folders = vec![FolderView { at, frozen, ignored: Vec::new(), suspects: None, git_of: None }];
        spec
    };
    for wrong in [stage.base.join("apart"), stage.home.join("link/page"), stage.home.join("dangling")] {
        let refused = Live::start(&at(&wrong)).map(|_| "a sandbox stands");
        assert!(matches!(refused, Err(StartError::Spec { .. })), "{}: {refused:?}", wrong.display());
    }
    let spec = at(&stage.home.join("new/page"));
    let live = Live::start(&spec).unwrap();
    live.yes("test -z \"$(ls -A)\" && echo made > y");
    live.sandbox.end().unwrap();
    assert_eq!(fs::read(layer::folder(&spec.layer, 0).join("y")).unwrap(), b"made\n");
    assert!(!stage.home.join("new").exists());
}

fn a_hostile_layer_cannot_move_a_mount(stage: &Stage) {
    let target = stage.home.join("target");
    let modules = stage.folder().join("web/node_modules");
    fs::create_dir_all(&modules).unwrap();
    fs::create_dir(stage.base.join("data/base/web")).unwrap();
    fs::create_dir(stage.home.join(".cargo")).unwrap();
    let mut spec = stage.spec.clone();
    let live = Live::start(&spec).unwrap();
    // Where the next turn will mount, links now lead elsewhere.
    live.yes(&format!("rm -rf web && ln -s {} web && mkdir -p {0}/node_modules", quoted(&target)));
    live.sandbox.end().unwrap();
    spec.folders[0].ignored = vec!["web/node_modules".into()];
    let live = Live::start(&spec).unwrap();
    live.yes("test -L web && touch web/node_modules/x");
    live.no(&format!("grep -q ' {}/node_modules ' /proc/self/mountinfo", target.display()));
    live.sandbox.end().unwrap();
    assert!(!target.exists());
}

fn freeze_holds_files_still(stage: &Stage) {
    let live = stage.start();
    live.yes(
        "(while :; do echo x >> grows; sh -c :; done) > /dev/null 2>&1 & until test -s grows; do :; done",
    );
    let grows = layer::folder(&stage.spec.layer, 0).join("grows");
    let size = || fs::metadata(&grows).unwrap().len();
    for _ in 0..5 {
        live.sandbox.send(&ToHand::Freeze).unwrap();
        while !matches!(live.hear(), FromHand::Still) {}
        let before = size();
        std::thread::sleep(std::time::Duration::from_millis(50)); // nothing is waited for: nothing may happen
        assert_eq!(size(), before);
        live.sandbox.send(&ToHand::Thaw).unwrap();
        until("it goes on", || size() > before);
    }
    live.yes("true");
}

fn memory_is_bounded(stage: &Stage) {
    let mut spec = stage.spec.clone();
    spec.memory_bytes = 256 << 20;
    let live = Live::start(&spec).unwrap();
    live.no("python3 -c 'b = bytearray(400 << 20)'");
    live.yes("python3 -c 'b = bytearray(40 << 20)'");
}

fn builds_work(stage: &Stage) {
    let mut spec = stage.spec.clone();
    let live = Live::start(&spec).unwrap();
    live.yes("python3 -c 'import json, ssl, sqlite3, subprocess; subprocess.run([\"true\"], check=True)'");
    live.yes("git init -q . && git config user.email a@b && git config user.name n && git add -A && git commit -qm one && git status --short");
    live.yes("printf 'int main(void){return 0;}' > m.c && gcc m.c -o m && ./m");
    live.yes("mkdir -p d/e && mv d f && cp -a f g && tar cf t.tar g && tar xf t.tar && ls -R > /tmp/list");
    let control =
        "Package: quire-x\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: d\\n";
    live.yes("mkdir -p p/DEBIAN p/usr/share/quire-x p/etc/quire-x && echo hi > p/usr/share/quire-x/f && touch p/etc/quire-x/c");
    live.yes(&format!("printf '{control}' > p/DEBIAN/control && dpkg-deb -b p x.deb && dpkg -i x.deb"));
    live.yes("cat /usr/share/quire-x/f && dpkg -s quire-x && apt-get check && echo x >> /etc/hosts && touch /usr/local/bin/x");
    live.yes("useradd -m zed");
    // To say whose a namespace is takes a file of `/proc` that can be written.
    match spec.rung {
        Rung::NoNewProc => live.no("su zed -c 'touch ~/x'"),
        _ => live.yes("su zed -c 'touch ~/x'"),
    };
    live.yes("apply_patch --help > /dev/null 2>&1 || command -v apply_patch");
    drop(live);
    spec.env.retain(|(key, _)| key != "PATH");
    Live::start(&spec).unwrap().yes("git --version && command -v apply_patch");
}

/// A socket in the sandbox's own network whose process is none of the sandbox's: the network alone would not hold it back.
fn sockets_without_a_file_stay_within(stage: &Stage) {
    const LISTEN: &str = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + sys.argv[1]); \
        s.listen(); print('up', flush=True); ";
    const CONNECT: &str = "import errno, socket, sys; c = socket.socket(socket.AF_UNIX); \
        print(errno.errorcode.get(c.connect_ex(chr(0) + sys.argv[1]), 'connected'))";
    if landlock_version() < 6 {
        return; // the kernel cannot tell them apart
    }
    let live = stage.start();
    let python = |program: &str, name: &str| live.yes(&format!("python3 -c {} {name}", quoted(program)));
    let first = fs::read_to_string(stage.spec.state.join("pid")).unwrap();
    let first = first.split(' ').next().unwrap();
    let mut stranger = Command::new("nsenter")
        .args(["--preserve-credentials", "-U", "-n", "-t", first, "python3", "-c"])
        .args([&format!("{LISTEN} sys.stdin.read()"), "strangers"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    BufReader::new(stranger.stdout.take().unwrap()).read_line(&mut up).unwrap();
    assert_eq!(up, "up\n");
    assert_eq!(python(CONNECT, "strangers"), "EPERM");
    drop(stranger.stdin.take());
    assert!(stranger.wait().unwrap().success());
    assert_eq!(python(CONNECT, "strangers"), "ECONNREFUSED", "nobody is there now");
    assert_eq!(python(&format!("{LISTEN}{CONNECT}"), "own"), "up\nconnected");
}

fn outputs_come_out(stage: &Stage) {
    let live = stage.start();
    live.yes("echo hi > /run/quire/out/said");
    live.no("touch /run/quire/bin/x");
    live.no("rm /run/quire/bin/apply_patch");
    assert_eq!(fs::read(stage.spec.out.join("said")).unwrap(), b"hi\n");
}

fn the_rung_is_proved(stage: &Stage) {
    let (scratch, folder) = (stage.base.join("scratch"), stage.base.join("proof-folder"));
    let proof = prove(&scratch, &folder, &stage.spec.binary).unwrap();
    assert_eq!(proof.rung, stage.rung, "{proof:?}");
    assert!(
        proof.refused.iter().all(|better| better.rung < proof.rung && !better.why.is_empty()),
        "{proof:?}"
    );
    assert!(!scratch.exists() && !folder.exists());
    let error = prove(&scratch, &folder, &stage.base.join("no-such-binary")).unwrap_err();
    assert!(matches!(error, StartError::Spawner(_)), "{error}");
}
