//! A cgroup of quire's own, asked of systemd: on most machines the only way in which an ordinary user may bound all
//! processes of a sandbox together, and the only one that systemd does not undo.
//!
//! The host asks for a scope that it is put into, with the right to make groups below. Groups below one that holds
//! processes can have no limits, so the host then moves into a group of its own in that scope, and sandboxes get theirs
//! beside it ([`crate::limits`]). Where any of this fails everything stays as it was.

use crate::limits::{HOST, existing, hand_down};
use crate::machine;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest that is waited for systemd.
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts this process, and all that it starts from then on, into a cgroup of quire's own where systemd gives one. Blocks until
/// that is decided, some tens of milliseconds; it is for a thread of its own. Returns whether it stands in one.
pub fn delegate() -> bool {
    let Some(own) = own_group() else { return false };
    let group = format!("quire-host-{}.scope", std::process::id());
    if own.components().any(|part| part.as_os_str() == group.as_str()) {
        return true;
    }
    // Without these there is nothing to be had; and where systemd does not rule, nobody to ask.
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let useful =
        ["memory", "pids"].iter().all(|wanted| controllers.split_whitespace().any(|have| have == *wanted));
    if !useful || !Path::new("/run/systemd/system").is_dir() || !ask(&group) {
        return false;
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(scope) = own_group().filter(|own| own.ends_with(&group)) {
            return settle(&scope);
        }
        // systemd answers before it has done it, and tells of the end only whoever stays connected.
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Returns the directory of this process's cgroup of version 2.
fn own_group() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).filter(|own| !own.contains(".."))?;
    let mounts = machine::mounts(&fs::read("/proc/self/mountinfo").ok()?);
    let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
    Some(mount.point.join(own.trim_start_matches('/')))
}

/// Asks for the scope, over the bus by systemd's own tool: one question is not worth a bus library.
fn ask(group: &str) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    let mut command = Command::new("busctl");
    command.args(request(group, std::process::id(), uid == 0)).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
    command.env("PATH", "/usr/bin:/bin:/run/current-system/sw/bin");
    let runtime = std::env::var_os("XDG_RUNTIME_DIR");
    command.env("XDG_RUNTIME_DIR", runtime.unwrap_or_else(|| format!("/run/user/{uid}").into()));
    command.status().is_ok_and(|status| status.success())
}

/// Returns the arguments of busctl(1).
fn request(group: &str, pid: u32, is_root: bool) -> Vec<String> {
    let bus = if is_root { "--system" } else { "--user" };
    let manager =
        ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let pid = pid.to_string();
    // Name, mode, properties, and no further units.
    let scope = [group, "fail", "3", "PIDs", "au", "1", &pid, "Delegate", "b", "true"];
    let collected = ["CollectMode", "s", "inactive-or-failed", "0"];
    let timeout = format!("--timeout={}", PATIENCE.as_secs());
    let head =
        [bus, &timeout, "call"].into_iter().chain(manager).chain(["StartTransientUnit", "ssa(sv)a(sa(sv))"]);
    head.chain(scope).chain(collected).map(str::to_owned).collect()
}

/// Moves everything in a scope into the host's group, and lets groups beside it have limits.
fn settle(scope: &Path) -> bool {
    let host = scope.join(HOST);
    let made = match fs::create_dir(&host) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::read_to_string(scope.join("cgroup.procs")),
    };
    let Ok(inside) = made else { return false };
    // What has ended meanwhile cannot be moved, and need not be.
    inside.lines().for_each(|pid| drop(existing(&host.join("cgroup.procs"), pid)));
    hand_down(scope);
    fs::read_to_string(scope.join("cgroup.subtree_control")).is_ok_and(|given| given.contains("memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_asked_for_in_the_words_of_the_bus() {
        let asked = request("quire-host-7.scope", 7, false).join(" ");
        assert_eq!(
            asked,
            "--user --timeout=5 call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
             org.freedesktop.systemd1.Manager StartTransientUnit ssa(sv)a(sa(sv)) quire-host-7.scope fail 3 \
             PIDs au 1 7 Delegate b true CollectMode s inactive-or-failed 0"
        );
        assert!(request("g", 7, true).starts_with(&["--system".to_owned()]));
    }

    #[test]
    fn the_host_makes_way_for_limits() {
        let scope = tempfile::tempdir().unwrap();
        let file = |name: &str| scope.path().join(name);
        fs::write(file("cgroup.procs"), "7\n").unwrap();
        fs::write(file("cgroup.subtree_control"), "").unwrap();
        fs::create_dir(file(HOST)).unwrap();
        fs::write(file(HOST).join("cgroup.procs"), "").unwrap();
        settle(scope.path());
        assert_eq!(fs::read_to_string(file(HOST).join("cgroup.procs")).unwrap(), "7");
        // A plain file keeps what was written last; the kernel's adds up.
        assert!(!fs::read_to_string(file("cgroup.subtree_control")).unwrap().is_empty());
    }
}
