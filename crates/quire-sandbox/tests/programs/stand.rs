//! What the rows stand on: a folder, sandboxes over it, and a layer with what was installed for all of them.

use crate::rows::Row;
use quire_sandbox::egress::{Egress, Policy, Traffic, named, upstream};
use quire_sandbox::protocol::{FromHand, HandOutcome, ToHand};
use quire_sandbox::{FolderView, Rung, Sandbox, Spec, skeleton, start};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc::{Receiver, channel};
use tokio::runtime::Runtime;

/// By which the machine's programs are told whom to trust, and those inside as well.
const TRUSTS: [&str; 4] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

/// One command in one sandbox, done by a process that runs as the user.
#[derive(Serialize, Deserialize)]
struct Job {
    base: PathBuf,
    layer: PathBuf,
    layers: Vec<PathBuf>,
    command: String,
}

pub struct Stand {
    base: tempfile::TempDir,
    uid: u32,
    /// Newest first.
    layers: Vec<PathBuf>,
    runs: u32,
}

impl Stand {
    pub fn new(uid: u32) -> Stand {
        assert!(rustix::process::geteuid().is_root(), "must be started by root");
        let base = tempfile::Builder::new().prefix("programs-").tempdir_in("/var/tmp").expect("a directory");
        let at = |name: &str| base.path().join(name);
        for made in ["home", "home/project", "frozen", "out", "system"] {
            fs::create_dir(at(made)).expect("a directory");
        }
        fs::copy(std::env::current_exe().expect("this program"), at("quire"))
            .expect("a copy of this program");
        for given in ["", "home", "home/project", "frozen", "out", "system", "quire"] {
            chown(at(given), Some(uid), Some(uid)).expect("a new owner");
        }
        Stand { base, uid, layers: Vec::new(), runs: 0 }
    }

    /// Installs at once what the rows need and the machine does not have. `archives` holds the packages that were fetched, and is
    /// given those that are fetched now.
    pub fn install(&mut self, rows: &[&Row], archives: &Path) -> Result<(), String> {
        let packages: BTreeSet<&str> = rows.iter().flat_map(|row| row.packages).copied().collect();
        let missing: Vec<&str> = packages.into_iter().filter(|name| !is_installed(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let out = self.base.path().join("out");
        let given = out.join("archives");
        let moved = |error| format!("moving packages: {error}");
        move_files(archives, &given).map_err(moved)?;
        // Whoever is root inside writes there, and is another outside.
        fs::set_permissions(&given, fs::Permissions::from_mode(0o777)).map_err(moved)?;
        let install = format!(
            "export DEBIAN_FRONTEND=noninteractive; mkdir -p {0}/archives/partial
             echo man-db man-db/auto-update boolean false | debconf-set-selections; apt-get update -qq
             apt-get install -qq -y --no-install-recommends -o Dir::Cache::archives={0}/archives \\
                 -o APT::Keep-Downloaded-Packages=true -o Dpkg::Options::=--force-unsafe-io \\
                 -o Dpkg::Options::='--path-exclude=/usr/share/man/*' -o Dpkg::Options::='--path-exclude=/usr/share/doc/*' \\
                 {1} > /tmp/log 2>&1 || {{ tail -50 /tmp/log; false; }}",
            quire_sandbox::OUT_INSIDE,
            missing.join(" ")
        );
        let done = self.run(&install);
        move_files(&given, archives).map_err(moved)?;
        self.layers.insert(0, done?.1);
        Ok(())
    }

    /// Has a row do its work, on what was installed.
    pub fn prove(&mut self, row: &Row) -> Result<(), String> {
        let (said, layer) = self.run(row.script)?;
        let _ = fs::remove_dir_all(layer);
        match said.contains(row.shows) {
            true => Ok(()),
            false => Err(format!("{:?} is not in:\n{said}", row.shows)),
        }
    }

    /// Runs a command that must succeed, and returns its output and its layer.
    fn run(&mut self, command: &str) -> Result<(String, PathBuf), String> {
        self.runs += 1;
        let layer = self.base.path().join(format!("layer-{}", self.runs));
        let job = Job {
            base: self.base.path().to_path_buf(),
            layer: layer.clone(),
            layers: self.layers.clone(),
            command: format!("set -eu; {command}"),
        };
        let job = serde_json::to_string(&job).map_err(|error| error.to_string())?;
        let mut work = Command::new(self.base.path().join("quire"));
        work.env("PROGRAMS_JOB", job).current_dir("/").uid(self.uid).gid(self.uid);
        let done = work.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        if done.status.success() { Ok((said, layer)) } else { Err(format!("{}\n{said}", done.status)) }
    }
}

/// Moves the packages that lie in a directory.
fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "deb") {
            fs::rename(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Returns whether the machine has a package, or the program of that name from elsewhere.
fn is_installed(package: &str) -> bool {
    if Path::new("/usr/bin").join(package).exists() {
        return true;
    }
    let told =
        Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    told.is_ok_and(|told| told.stdout == b"installed")
}

/// Does a job as whoever this process is.
pub fn work(job: &str) -> ExitCode {
    match work_on(job) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn work_on(job: &str) -> Result<i32, Box<dyn Error>> {
    let job: Job = serde_json::from_str(job)?;
    let at = |name: &str| job.base.join(name);
    let skeleton = skeleton(&at("system"), &|_, _| ())?;
    let home = at("home").to_str().ok_or("a name")?.to_owned();
    let root = rustix::process::geteuid().is_root();
    let said = [("HOME", home), ("PATH", "/usr/local/bin:/usr/bin:/bin".into()), ("LANG", "C.UTF-8".into())];
    let trusts = TRUSTS.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    let env = said.into_iter().chain(trusts).map(|(key, value)| (key.to_owned(), value)).collect();
    let spec = Spec {
        rung: if root { Rung::Idmapped } else { Rung::OneUid },
        state: at("state"),
        layer: job.layer,
        layers: job.layers,
        skeleton: skeleton.layers.clone(),
        out: at("out"),
        given: None,
        binary: at("quire"),
        folders: vec![FolderView {
            at: at("home/project"),
            frozen: vec![at("frozen")],
            ignored: Vec::new(),
            suspects: None,
            git_of: None,
        }],
        hide: Vec::new(),
        show: Vec::new(),
        env,
        memory_bytes: 4 << 30,
        processes: 1024,
        disk_bytes: 10 << 30,
        gate: Some(quire_sandbox::Door::default()),
    };
    let (say, heard) = channel();
    let sandbox = start(&spec, move |words| drop(say.send(words)))?;
    let _way_out = way_out(&sandbox)?;
    let outcome = command(&sandbox, &heard, &job.command)?;
    println!("{}", outcome.text);
    sandbox.end()?;
    Ok(outcome.exit.unwrap_or(-1))
}

/// Lets the sandbox reach registries, as long as this is kept. What is refused is printed.
fn way_out(sandbox: &Sandbox) -> Result<(Egress, Runtime), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let env = std::env::vars().collect();
    let policy =
        Policy { named: named(Path::new("/root"), &env), upstream: upstream(&env), ..Policy::default() };
    let egress = Egress::new(policy, |traffic| {
        if let Traffic::Refused { .. } = traffic {
            println!("{traffic:?}");
        }
    })?;
    let entered = runtime.enter();
    egress.serve(sandbox.gate().ok_or("no way out")?)?;
    drop(entered);
    Ok((egress, runtime))
}

/// Runs a command to its end, however long it takes.
fn command(
    sandbox: &Sandbox,
    heard: &Receiver<FromHand>,
    command: &str,
) -> Result<HandOutcome, Box<dyn Error>> {
    let call = |id, tool: &str, input: serde_json::Value| -> Result<HandOutcome, Box<dyn Error>> {
        sandbox.send(&ToHand::Call { id, tool: tool.into(), input: input.to_string() })?;
        loop {
            if let FromHand::Done { outcome, .. } = heard.recv()? {
                return Ok(outcome);
            }
        }
    };
    let mut outcome = call(1, "shell", serde_json::json!({ "command": command }))?;
    // It became a job; the first command of a sandbox is job 1.
    while outcome.exit.is_none() && outcome.ok {
        outcome = call(2, "job", serde_json::json!({ "id": 1, "action": "poll", "wait": 120 }))?;
    }
    Ok(outcome)
}
