//! What a sandbox costs, as ratios within one run, as a table in Markdown: `bench/sandbox` runs this as root and as an ordinary
//! user. `sandbox_cost DIR [FILES]`: DIR is an empty directory on a real disk; FILES is how many files the large folder has.
//!
//! What is compared takes turns, so that a busy machine slows both sides. The least time of each counts: noise only adds.

use quire_engine::freeze;
use quire_sandbox::protocol::{FromHand, ToHand};
use quire_sandbox::{Door, Rung, Sandbox, Spec, skeleton, start};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

type Tried<T> = Result<T, Box<dyn Error>>;

fn main() -> Tried<()> {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_engine::private_main(&args) {
        std::process::exit(code);
    }
    let mut args = std::env::args().skip(1);
    let base = fs::canonicalize(args.next().ok_or("give a directory on a real disk")?)?;
    let files: usize = args.next().map_or(Ok(100_000), |count| count.parse())?;
    let root = rustix::process::geteuid().is_root();
    println!(
        "| {} | measured | compared with | ratio | goal | |",
        if root { "as root" } else { "as an ordinary user" }
    );
    println!("|---|---|---|---|---|---|");

    let small = Lab::new(&base.join("small"), 1000)?;
    small.repository()?;
    starting("a sandbox on 1,000 files", &small, 15, if root { 60 } else { 250 })?;
    calls(&small)?;
    idle(&small)?;
    building(&base.join("crate"))?;

    let large = Lab::new(&base.join("large"), files)?;
    large.repository()?;
    let least = starting(&format!("a sandbox on {} files", thousands(files)), &large, 5, 1000)?;
    worktree(&large, least)?;
    status(&large)?;
    Ok(())
}

/// A folder with files, and what sandboxes on it need.
struct Lab {
    base: PathBuf,
}

impl Lab {
    fn new(base: &Path, files: usize) -> Tried<Lab> {
        let lab = Lab { base: base.to_path_buf() };
        fs::create_dir_all(lab.folder())?;
        fs::create_dir_all(lab.home())?;
        for file in 0..files {
            let directory = lab.folder().join(format!("d{}/e{}", file / 10_000, file / 100));
            if file % 100 == 0 {
                fs::create_dir_all(&directory)?;
            }
            fs::write(
                directory.join(format!("f{file}.txt")),
                format!("the text of file {file}\n").repeat(20),
            )?;
        }
        Ok(lab)
    }

    fn folder(&self) -> PathBuf {
        self.base.join("folder")
    }

    /// quire's data directory.
    fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    fn git(&self, arguments: &[&str]) -> Tried<Duration> {
        let who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"];
        let mut command = Command::new("git");
        command.args(who).args(arguments).current_dir(self.folder());
        timed(&mut command)
    }

    fn repository(&self) -> Tried<()> {
        // In one pack, as in a clone: loose objects would slow git down and be as many files again for quire.
        let repack = ["repack", "-a", "-d", "-q"];
        for arguments in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "all"], &repack] {
            self.git(arguments)?;
        }
        Ok(())
    }

    /// Makes a sandbox as a task does: what changed in the folder is looked for first.
    fn sandbox(&self, run: usize) -> Tried<(Sandbox, Receiver<FromHand>)> {
        let folder = self.folder();
        let frozen = freeze::freeze(&self.home(), &folder, &|_, _| {})?;
        // Made once for a machine and its user, not for a folder.
        let system = self.base.parent().unwrap_or(&self.base).join("system");
        let skeleton = skeleton(&system, &|_, _| {})?;
        let place = |name: &str| self.base.join(format!("run-{run}")).join(name);
        fs::create_dir_all(place("out"))?;
        let env = ["HOME", "PATH", "LANG", "CARGO_HOME", "RUSTUP_HOME"];
        let env = env.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?)));
        let spec = Spec {
            rung: if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid },
            state: place("state"),
            layer: place("layer"),
            layers: Vec::new(),
            skeleton: skeleton.layers.clone(),
            out: place("out"),
            given: None,
            binary: std::env::current_exe()?,
            folders: vec![frozen.view(&folder)],
            hide: Vec::new(),
            show: Vec::new(),
            env: env.collect(),
            memory_bytes: 4 << 30,
            processes: 1024,
            disk_bytes: 16 << 30,
            gate: Some(Door { authority: None }),
        };
        let (say, heard) = channel();
        Ok((start(&spec, move |words| drop(say.send(words)))?, heard))
    }
}

/// Runs a command inside and returns how long its call took.
fn call(live: &(Sandbox, Receiver<FromHand>), command: &str) -> Tried<Duration> {
    Ok(said(live, command)?.0)
}

/// Runs a command inside and returns how long its call took, and what was shown of it.
fn said((sandbox, heard): &(Sandbox, Receiver<FromHand>), command: &str) -> Tried<(Duration, String)> {
    let input = serde_json::json!({ "command": command }).to_string();
    let begun = Instant::now();
    sandbox.send(&ToHand::Call { id: 1, tool: "shell".into(), input })?;
    loop {
        if let FromHand::Done { outcome, .. } = heard.recv()? {
            let took = begun.elapsed();
            return if outcome.exit == Some(0) { Ok((took, outcome.text)) } else { Err(outcome.text.into()) };
        }
    }
}

fn timed(command: &mut Command) -> Tried<Duration> {
    let begun = Instant::now();
    let out = command.stdin(Stdio::null()).output()?;
    let took = begun.elapsed();
    if out.status.success() { Ok(took) } else { Err(String::from_utf8_lossy(&out.stderr).into()) }
}

/// Returns the least time from the second on. The first copies the folder.
fn starting(what: &str, lab: &Lab, rounds: usize, goal_ms: u64) -> Tried<Duration> {
    let (mut first, mut stands) = (Duration::ZERO, vec![]);
    for round in 0..=rounds {
        let begun = Instant::now();
        let (sandbox, _heard) = lab.sandbox(round)?;
        let took = begun.elapsed();
        sandbox.discard()?;
        match round {
            0 => first = took,
            _ => stands.push(took),
        }
    }
    let (least, median) = least_and_median(&mut stands);
    let held = least <= Duration::from_millis(goal_ms);
    row(
        &format!("{what}, after the first"),
        &format!("{}, median {}", ms(least), ms(median)),
        &format!("the first, which copies it, {}", ms(first)),
        "",
        &format!("{goal_ms} ms"),
        held,
    );
    Ok(least)
}

fn calls(lab: &Lab) -> Tried<()> {
    let live = lab.sandbox(100)?;
    // The shell does more or less at its start by what its environment says, of the language above all.
    let environment = said(&live, "env")?.1;
    let environment: Vec<(&str, &str)> =
        environment.lines().filter_map(|line| line.split_once('=')).collect();
    let pairs = (0..100).map(|_| {
        let mut bare = Command::new("/bin/bash");
        bare.args(["-c", "true"]).current_dir(lab.folder()).env_clear().envs(environment.iter().copied());
        let bare = timed(&mut bare)?;
        Ok((call(&live, "true")?, bare))
    });
    compared("a call in a live sandbox", "the same started bare", pairs, 1.5)?;
    Ok(live.0.discard()?)
}

fn status(lab: &Lab) -> Tried<()> {
    let live = lab.sandbox(101)?;
    call(&live, "git status")?;
    lab.git(&["status"])?;
    let pairs = (0..7).map(|_| Ok((call(&live, "git status")?, lab.git(&["status"])?)));
    compared("`git status` inside, warm", "bare", pairs, 3.0)?;
    Ok(live.0.discard()?)
}

/// The change of one file in a warm build.
fn building(base: &Path) -> Tried<()> {
    let lab = Lab::new(base, 0)?;
    fs::create_dir(lab.folder().join("src"))?;
    fs::write(
        lab.folder().join("Cargo.toml"),
        "[package]\nname = \"bench\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )?;
    fs::write(lab.folder().join(".gitignore"), "target\n")?;
    let many: String =
        (0..400).map(|n| format!("pub fn f{n}(x: u64) -> u64 {{ x.wrapping_mul({n}) ^ {n} }}\n")).collect();
    fs::write(lab.folder().join("src/many.rs"), many)?;
    let main = "mod many;\nfn main() { println!(\"{}\", many::f1(2) + many::f399(3)); }\n";
    fs::write(lab.folder().join("src/main.rs"), main)?;
    let build = "cargo build --offline -q";
    let bare =
        |command: &str| timed(Command::new("/bin/bash").args(["-c", command]).current_dir(lab.folder()));
    bare(build)?;
    let live = lab.sandbox(0)?;
    call(&live, build)?;
    let touched = format!("echo '// more' >> src/main.rs; {build}");
    let pairs = (0..7).map(|_| Ok((call(&live, &touched)?, bare(&touched)?)));
    compared("a warm `cargo build` inside, one file changed", "bare", pairs, 1.3)?;
    Ok(live.0.discard()?)
}

fn worktree(lab: &Lab, sandbox: Duration) -> Tried<()> {
    let tree = lab.base.join("worktree");
    let mut took = vec![];
    for _ in 0..2 {
        took.push(lab.git(&[
            "worktree",
            "add",
            "-q",
            "--detach",
            tree.to_str().ok_or("a path that is no text")?,
        ])?);
        lab.git(&["worktree", "remove", "--force", tree.to_str().ok_or("a path that is no text")?])?;
    }
    let (least, _) = least_and_median(&mut took);
    let ratio = sandbox.as_secs_f64() / least.as_secs_f64();
    row(
        "the same",
        &ms(sandbox),
        &format!("`git worktree add`, {}", ms(least)),
        &format!("{ratio:.3}"),
        "0.1",
        ratio <= 0.1,
    );
    Ok(())
}

/// What a sandbox takes in which nothing runs: its spawner, its hand, and what grows for it in the host. Of what several
/// processes have in common each counts its share (proc(5), Pss), so that the sum is what is really taken; the program's
/// code is in memory once, however many sandboxes there are, and so it is with the fourth that it shows what one costs.
fn idle(lab: &Lab) -> Tried<()> {
    let taken = || -> Tried<u64> {
        let own = std::process::id();
        Ok(descendants(own)?.into_iter().chain([own]).filter_map(pss).sum())
    };
    let stand = |run| -> Tried<_> {
        let live = lab.sandbox(run)?;
        call(&live, "true")?;
        Ok(live)
    };
    let mut live = vec![stand(102)?];
    let alone: u64 = descendants(std::process::id())?.into_iter().filter_map(pss).sum();
    let one = taken()?;
    for run in 103..106 {
        live.push(stand(run)?);
    }
    let mib = taken()?.saturating_sub(one) as f64 / 3.0 / 1024.0;
    let shares = format!("its processes with their share of the code, {:.1} MiB", alone as f64 / 1024.0);
    row("memory of one more idle sandbox", &format!("{mib:.1} MiB"), &shares, "", "3 MiB", mib <= 3.0);
    live.into_iter().try_for_each(|(sandbox, _)| Ok(sandbox.discard()?))
}

fn descendants(of: u32) -> Tried<Vec<u32>> {
    let mut parents = vec![];
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found.split_off(1))
}

/// Returns the proportional set size in KiB, as proc(5) has it; of what an ordinary user may not look into, the resident set.
fn pss(pid: u32) -> Option<u64> {
    let field = |file: &str, name: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    field("smaps_rollup", "Pss:").or_else(|| field("status", "RssAnon:"))
}

fn compared(
    what: &str,
    with: &str,
    pairs: impl Iterator<Item = Tried<(Duration, Duration)>>,
    goal: f64,
) -> Tried<()> {
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = pairs.collect::<Tried<Vec<_>>>()?.into_iter().unzip();
    let ((ours, _), (theirs, _)) = (least_and_median(&mut ours), least_and_median(&mut theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    row(
        what,
        &ms(ours),
        &format!("{with}, {}", ms(theirs)),
        &format!("{ratio:.2}"),
        &goal.to_string(),
        ratio <= goal,
    );
    Ok(())
}

fn least_and_median(all: &mut [Duration]) -> (Duration, Duration) {
    all.sort();
    (all[0], all[all.len() / 2])
}

fn row(what: &str, measured: &str, with: &str, ratio: &str, goal: &str, held: bool) {
    println!(
        "| {what} | {measured} | {with} | {ratio} | {goal} | {} |",
        if held { "held" } else { "not held" }
    );
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn thousands(n: usize) -> String {
    if n >= 1000 { format!("{},{:03}", n / 1000, n % 1000) } else { n.to_string() }
}
