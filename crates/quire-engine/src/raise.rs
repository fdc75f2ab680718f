//! What would raise the kind of sandbox that a machine gives: found by looking at the machine, said as commands, and done
//! by `quire doctor --fix`.
//!
//! The finding is a function of a description ([`Machine`]), so that it can be tried on machines that are not here. The
//! doing is writing a file or running a program, and doing it twice changes nothing.

use quire_sandbox::Rung;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What matters of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The container's manager, where this is one.
    pub container: Option<String>,
    /// Whether it is root who asks.
    pub root: bool,
    /// The kernel's version, major and minor.
    pub kernel: (u32, u32),
    /// `kernel.apparmor_restrict_unprivileged_userns`; absent where the kernel has no such setting, as the next ones.
    pub apparmor_restricts: Option<u64>,
    /// `kernel.unprivileged_userns_clone`
    pub userns_clone: Option<u64>,
    /// `user.max_user_namespaces`
    pub max_userns: Option<u64>,
    /// Whether the kernel has overlayfs now.
    pub overlay: bool,
    /// The version of Landlock's interface; 0 where there is none.
    pub landlock: u32,
    /// The kind of file system that the data directory lies on.
    pub data_kind: String,
    /// The quire binary.
    pub binary: PathBuf,
}

/// Something that root can do once.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Write { path: PathBuf, content: String },
    Run(Vec<String>),
}

impl fmt::Display for Step {
    /// Writes the step as a command for a shell: one line, so that it can be pasted from wherever it stands indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write { path, content } => {
                f.write_str("printf '%s\\n'")?;
                for line in content.lines() {
                    write!(f, " '{}'", line.replace('\'', r"'\''"))?;
                }
                write!(f, " | sudo tee {}", path.display())
            }
            Step::Run(words) => write!(f, "sudo {}", words.join(" ")),
        }
    }
}

/// Something that stands in the way of a better sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Obstacle {
    pub why: String,
    pub remedy: Remedy,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Remedy {
    /// What `quire doctor --fix` does.
    Steps(Vec<Step>),
    /// What only a person can do.
    Advice(String),
}

const SYSCTL: &str = "/etc/sysctl.d/60-quire.conf";
const PROFILE: &str = "/etc/apparmor.d/quire";
const MODULES: &str = "/etc/modules-load.d/quire.conf";

/// Returns what would raise a sandbox of this kind on this machine; absent: there is none at all.
pub fn obstacles(machine: &Machine, rung: Option<Rung>) -> Vec<Obstacle> {
    if rung.is_some_and(|rung| rung <= Rung::OneUid) {
        return vec![];
    }
    let mut all = vec![];
    if let Some(manager) = &machine.container {
        all.push(in_container(manager, machine));
    } else {
        all.extend(settings(machine));
    }
    all.extend(data(machine));
    // Overlays over idmapped mounts; mount_setattr(2) for everybody.
    let needed = if machine.root { (5, 19) } else { (5, 12) };
    if machine.kernel < needed {
        let ((major, minor), (need, need_minor)) = (machine.kernel, needed);
        all.push(Obstacle {
            why: format!("the kernel is Linux {major}.{minor}, and {need}.{need_minor} is needed"),
            remedy: Remedy::Advice("Update the system's kernel and start the machine again.".into()),
        });
    }
    // Nobody need care for the plainest where a better one can be had.
    if rung.is_none() && all.is_empty() && machine.landlock < 6 {
        let have = match machine.landlock {
            0 => "the kernel has no Landlock, or it is not switched on".to_owned(),
            abi => format!("the kernel's Landlock is of version {abi}"),
        };
        all.push(Obstacle {
            why: format!("{have}; the plainest sandbox needs version 6, of Linux 6.12"),
            remedy: Remedy::Advice(
                "Update the kernel. Where it is new enough, add landlock to lsm= on its command line.".into(),
            ),
        });
    }
    all
}

fn settings(machine: &Machine) -> Vec<Obstacle> {
    let mut all = vec![];
    let run = |words: &[&str]| Step::Run(words.iter().map(|word| (*word).to_owned()).collect());
    if machine.apparmor_restricts.is_some_and(|value| value != 0) && !machine.root {
        let binary = machine.binary.display();
        let content = format!(
            "# Lets quire make sandboxes: it needs user namespaces, which AppArmor keeps from programs without a profile.\n\
             abi <abi/4.0>,\ninclude <tunables/global>\n\n\
             profile quire \"{binary}\" flags=(unconfined) {{\n  userns,\n  include if exists <local/quire>\n}}\n"
        );
        all.push(Obstacle {
            why: "AppArmor keeps user namespaces from programs without a profile, as Ubuntu sets it".into(),
            remedy: Remedy::Steps(vec![
                Step::Write { path: PROFILE.into(), content },
                run(&["apparmor_parser", "--replace", PROFILE]),
            ]),
        });
    }
    let mut lines = vec![];
    let mut whys = vec![];
    if machine.userns_clone == Some(0) && !machine.root {
        lines.push("kernel.unprivileged_userns_clone = 1");
        whys.push(
            "user namespaces are switched off for ordinary users (kernel.unprivileged_userns_clone is 0)",
        );
    }
    if machine.max_userns == Some(0) {
        lines.push("user.max_user_namespaces = 65536");
        whys.push("no user namespaces may be made (user.max_user_namespaces is 0)");
    }
    if !lines.is_empty() {
        let content = format!("# Lets quire make sandboxes.\n{}\n", lines.join("\n"));
        all.push(Obstacle {
            why: whys.join("; "),
            remedy: Remedy::Steps(vec![
                Step::Write { path: SYSCTL.into(), content },
                run(&["sysctl", "--load", SYSCTL]),
            ]),
        });
    }
    if !machine.overlay {
        all.push(Obstacle {
            why: "the kernel has no overlayfs loaded".into(),
            remedy: Remedy::Steps(vec![
                Step::Write { path: MODULES.into(), content: "overlay\n".into() },
                run(&["modprobe", "overlay"]),
            ]),
        });
    }
    all
}

/// Returns what helps where these cannot be got out of the way, whatever they are.
pub fn other_ways(machine: &Machine) -> Vec<String> {
    let mut ways = vec![];
    if machine.landlock < 6 {
        ways.push(
            "With Linux 6.12 or later, and Landlock switched on, a plain copy of the folder will do, without any namespaces."
                .to_owned(),
        );
    }
    if machine.container.is_none() {
        let advice = container_advice("docker", machine.root);
        ways.push(format!("In a container, with quire and your folder in it. {advice}"));
    }
    ways.push(
        "On another machine; quire web --print there says how its page is reached from here.".to_owned(),
    );
    ways
}

fn in_container(manager: &str, machine: &Machine) -> Obstacle {
    let why =
        format!("this is a container ({manager}), which by default allows no namespaces or no new /proc");
    Obstacle { why, remedy: Remedy::Advice(container_advice(manager, machine.root)) }
}

fn container_advice(manager: &str, root: bool) -> String {
    let volume = "a volume for quire's data directory";
    match (manager, root) {
        ("podman", _) => format!(
            "Start the container with --security-opt unmask=ALL --security-opt seccomp=unconfined, and {volume}: \
             -v quire:/root/.local/share/quire"
        ),
        (_, true) => format!(
            "Start the container with --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt \
             apparmor=unconfined --security-opt systempaths=unconfined, and {volume}: -v quire:/root/.local/share/quire"
        ),
        (_, false) => format!(
            "Start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined, and {volume}: -v quire:$HOME/.local/share/quire"
        ),
    }
}

fn data(machine: &Machine) -> Option<Obstacle> {
    let why = match machine.data_kind.as_str() {
        "overlay" => "the data directory lies on an overlay, and no overlay can write to another",
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "fuse.sshfs" => {
            "the data directory lies on a network drive, which keeps no marks of overlays"
        }
        "tmpfs" | "ramfs" if machine.kernel < (6, 6) => {
            "the data directory lies in memory, which keeps no marks of overlays before Linux 6.6"
        }
        _ => return None,
    };
    let advice = "Name a directory on a disk with QUIRE_HOME.";
    Some(Obstacle { why: why.into(), remedy: Remedy::Advice(advice.into()) })
}

/// Does a step below `root`, which is `/` but for tests; a program is run by `run`. Returns whether anything had to be done.
pub fn take(step: &Step, root: &Path, run: &mut dyn FnMut(&[String]) -> io::Result<()>) -> io::Result<bool> {
    match step {
        Step::Write { path, content } => {
            let path = root.join(path.strip_prefix("/").unwrap_or(path));
            if fs::read_to_string(&path).is_ok_and(|there| there == *content) {
                return Ok(false);
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
            Ok(true)
        }
        Step::Run(words) => run(words).map(|()| true),
    }
}

/// Runs a program of the system's and waits for it.
pub fn run(words: &[String]) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let done = Command::new(program).args(arguments).env_clear().env("PATH", path).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned())),
    }
}

impl Machine {
    /// Describes this machine, for a data directory at `home`.
    pub fn look(home: &Path, binary: PathBuf) -> Machine {
        let sysctl = |name: &str| {
            fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse::<u64>().ok()
        };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let module = Path::new("/lib/modules").join(release.trim()).join("kernel/fs/overlayfs").is_dir();
        Machine {
            container: container(),
            root: rustix::process::geteuid().is_root(),
            kernel: quire_sandbox::kernel(),
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            userns_clone: sysctl("kernel/unprivileged_userns_clone"),
            max_userns: sysctl("user/max_user_namespaces"),
            // A module is loaded by the first mount, where that is root's.
            overlay: known.lines().any(|line| line.ends_with("\toverlay"))
                || (module && rustix::process::geteuid().is_root()),
            landlock: quire_sandbox::landlock_version(),
            data_kind: kind_of(home),
            binary,
        }
    }
}

fn container() -> Option<String> {
    if Path::new("/run/.containerenv").exists() {
        return Some("podman".into());
    }
    if Path::new("/.dockerenv").exists() {
        return Some("docker".into());
    }
    let named = fs::read_to_string("/run/systemd/container").ok()?;
    Some(named.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Returns the kind of file system that a path lies on, as the table of mounts has it.
fn kind_of(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    quire_sandbox::kind_at(&table, &path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            container: None,
            root: false,
            kernel: (6, 18),
            apparmor_restricts: None,
            userns_clone: None,
            max_userns: Some(96_000),
            overlay: true,
            landlock: 7,
            data_kind: "ext4".into(),
            binary: "/usr/local/bin/quire".into(),
        }
    }

    /// A machine, and a part of each thing that is said to do.
    #[test]
    fn each_machine_hears_what_would_raise_it() {
        let m = machine;
        let rows: Vec<(Machine, Option<Rung>, &[&str])> = vec![
            (m(), Some(Rung::OneUid), &[]),
            (Machine { apparmor_restricts: Some(1), ..m() }, Some(Rung::OneUid), &[]),
            (m(), Some(Rung::Copy), &[]),
            (
                Machine { apparmor_restricts: Some(1), ..m() },
                Some(Rung::Copy),
                &["sudo apparmor_parser --replace /etc/apparmor.d/quire"],
            ),
            (Machine { apparmor_restricts: Some(0), ..m() }, Some(Rung::Copy), &[]),
            (Machine { apparmor_restricts: Some(1), root: true, ..m() }, Some(Rung::Copy), &[]),
            (
                Machine { userns_clone: Some(0), max_userns: Some(0), ..m() },
                Some(Rung::Copy),
                &[
                    "'kernel.unprivileged_userns_clone = 1' 'user.max_user_namespaces = 65536' | sudo tee /etc",
                ],
            ),
            (Machine { max_userns: Some(0), root: true, ..m() }, Some(Rung::Copy), &["max_user_namespaces"]),
            (Machine { overlay: false, ..m() }, Some(Rung::Copy), &["sudo modprobe overlay"]),
            (Machine { data_kind: "nfs4".into(), ..m() }, Some(Rung::Copy), &["QUIRE_HOME"]),
            (Machine { data_kind: "tmpfs".into(), ..m() }, Some(Rung::Copy), &[]),
            (Machine { data_kind: "tmpfs".into(), kernel: (6, 1), ..m() }, Some(Rung::Copy), &["QUIRE_HOME"]),
            (Machine { kernel: (5, 4), ..m() }, None, &["Update the system's kernel"]),
            (
                Machine { kernel: (5, 15), root: true, ..m() },
                Some(Rung::Copy),
                &["Update the system's kernel"],
            ),
            (Machine { kernel: (6, 1), root: true, ..m() }, Some(Rung::Copy), &[]),
            (Machine { landlock: 4, ..m() }, None, &["landlock to lsm="]),
            (Machine { landlock: 0, ..m() }, Some(Rung::OneUid), &[]),
            (Machine { landlock: 0, userns_clone: Some(0), ..m() }, None, &["userns_clone = 1"]),
            (
                Machine { container: Some("docker".into()), root: true, data_kind: "overlay".into(), ..m() },
                Some(Rung::Copy),
                &["--cap-add SYS_ADMIN --security-opt seccomp=unconfined", "QUIRE_HOME"],
            ),
            (
                Machine { container: Some("docker".into()), ..m() },
                Some(Rung::NoNewProc),
                &["systempaths=unconfined"],
            ),
            (Machine { container: Some("podman".into()), ..m() }, Some(Rung::NoNewProc), &["unmask=ALL"]),
            // In a container its machine's settings are not its own to change.
            (
                Machine { container: Some("docker".into()), max_userns: Some(0), ..m() },
                Some(Rung::Copy),
                &["seccomp=unconfined"],
            ),
        ];
        for (machine, rung, expected) in rows {
            let found = obstacles(&machine, rung);
            let said: Vec<String> = found
                .iter()
                .map(|obstacle| match &obstacle.remedy {
                    Remedy::Steps(steps) => steps.iter().map(Step::to_string).collect::<Vec<_>>().join("\n"),
                    Remedy::Advice(advice) => advice.clone(),
                })
                .collect();
            assert_eq!(said.len(), expected.len(), "{machine:?}: {said:?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{machine:?}: {said}");
            }
        }
    }

    #[test]
    fn other_ways_are_those_that_are_not_gone_already() {
        let ways = |machine: &Machine| other_ways(machine).join("\n");
        let plain = ways(&Machine { landlock: 5, ..machine() });
        assert!(plain.contains("Linux 6.12") && plain.contains("systempaths=unconfined"), "{plain}");
        let inside = ways(&Machine { landlock: 6, container: Some("podman".into()), ..machine() });
        assert!(!inside.contains("Linux 6.12") && !inside.contains("container"), "{inside}");
        assert!(inside.contains("quire web --print"), "{inside}");
    }

    #[test]
    fn a_step_can_be_pasted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made");
        let content = "# it's\n\n  two \\n %s \"$HOME\" `id`\n".to_owned();
        let said = Step::Write { path: path.clone(), content: content.clone() }.to_string();
        assert!(!said.contains('\n'), "{said}");
        let pasted = format!("           {}", said.replace("sudo tee", "tee"));
        assert!(Command::new("sh").args(["-c", &pasted]).output().unwrap().status.success());
        assert_eq!(fs::read_to_string(path).unwrap(), content);
    }

    #[test]
    fn a_profile_is_for_this_binary_and_is_written_once() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine { apparmor_restricts: Some(1), binary: "/opt/a b/quire".into(), ..machine() };
        let Remedy::Steps(steps) = &obstacles(&machine, None)[0].remedy else { panic!("no steps") };
        let mut ran: Vec<String> = vec![];
        let mut run = |words: &[String]| {
            ran.push(words.join(" "));
            Ok(())
        };
        let did: Vec<bool> = steps.iter().map(|step| take(step, root.path(), &mut run).unwrap()).collect();
        assert_eq!(did, [true, true]);
        assert!(!take(&steps[0], root.path(), &mut run).unwrap(), "it is there already");
        let profile = fs::read_to_string(root.path().join("etc/apparmor.d/quire")).unwrap();
        assert!(
            profile.contains("profile quire \"/opt/a b/quire\" flags=(unconfined) {\n  userns,\n"),
            "{profile}"
        );
        assert_eq!(ran, ["apparmor_parser --replace /etc/apparmor.d/quire"]);
    }
}
