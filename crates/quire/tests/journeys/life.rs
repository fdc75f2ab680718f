//! What quire keeps on the disk: how much it is, what is cleared away by age, what is left after everything was killed, and
//! that nothing is left after it was uninstalled.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Returns every path below a directory.
fn all(dir: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            all.insert(entry.path());
        }
    }
    all
}

fn du(dir: &Path) -> u64 {
    let out = Command::new("du").args(["-s", "-B1"]).arg(dir).output().expect("du runs");
    String::from_utf8_lossy(&out.stdout).split('\t').next().and_then(|n| n.parse().ok()).expect("a number")
}

/// A person who has no directory of quire's anywhere but where it puts them by itself.
fn at_home(stage: &mut Stage) {
    let base = stage.base().to_owned();
    for (name, dir) in [("DATA", "share"), ("STATE", "state"), ("CACHE", "cache"), ("RUNTIME", "run")] {
        let dir = base.join("xdg").join(dir);
        fs::create_dir_all(&dir).expect("a directory");
        let suffix = if name == "RUNTIME" { "DIR" } else { "HOME" };
        stage.env.push((format!("XDG_{name}_{suffix}"), dir.display().to_string()));
    }
    fs::create_dir_all(base.join("tmp")).expect("a directory");
    stage.env.push(("TMPDIR".into(), base.join("tmp").display().to_string()));
    stage.env.push(("QUIRE_HOME".into(), String::new()));
    stage.own(&base);
}

#[test]
fn what_is_uninstalled_leaves_no_trace() {
    let mut stage = Stage::set();
    at_home(&mut stage);
    let model = Model::saying(vec![shell("echo two > a; touch /etc/made"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    let nothing = stage.quire(&["uninstall", "--yes"]).exits(0);
    assert!(nothing.out.contains("nothing of quire's"), "{}", nothing.out);
    let before = all(stage.base());
    stage.quire(&["change it"]).exits(0);
    stage.quire(&["sandbox", "--", "true"]).exits(0);
    stage.quire(&["doctor"]);
    let told = ["1 (ready: change it)", "Nothing was removed", "quire uninstall --purge"];
    stage.quire(&["uninstall"]).exits(3).tells(&told);
    stage.quire(&["review", "1"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    let settings = stage.base().join("config/quire/config.toml");
    let asks = ["Remove all that quire keeps", "Nothing was removed", "quire uninstall --yes"];
    stage.quire(&["uninstall"]).exits(3).tells(&asks);
    let done = stage.json(&["uninstall", "--yes"]);
    assert_eq!(done["uninstalled"]["kept"][0], settings.to_str().unwrap(), "{done}");
    assert!(done["binary"].is_string());
    assert_eq!(all(stage.base()), before, "only the folder's own file changed");
    assert_eq!(fs::read_to_string(stage.folder.join("a")).unwrap(), "two\n");
    stage.quire(&["uninstall", "--purge", "--yes"]).exits(0);
    assert!(!settings.exists() && !settings.parent().unwrap().exists());
    let bare = before.into_iter().filter(|path| !path.starts_with(stage.base().join("config/quire")));
    assert_eq!(all(stage.base()), bare.collect());
}

#[test]
fn a_purge_takes_what_was_not_accepted_and_what_runs_and_nothing_of_anybody_elses() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("sleep 1000"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    let before = Tree::of(&stage.folder);
    stage.quire(&["run", "-b", "wait"]).exits(0);
    model.wait_for(0, 1);
    stage.quire(&["uninstall"]).exits(3).tells(&["1 (working: wait)"]);
    fs::write(stage.data().join("mine.txt"), "not quire's").unwrap();
    let done = stage.quire(&["uninstall", "--purge", "--yes"]).exits(0);
    assert!(
        done.out.contains("not quire's") && done.out.contains("The program itself is left: rm '"),
        "{}",
        done.out
    );
    let left: Vec<PathBuf> = all(&stage.data()).into_iter().collect();
    assert_eq!(left, [stage.data().join("mine.txt")]);
    Tree::of(&stage.folder).assert_is(&before, "after a purge");
}

#[test]
fn what_takes_how_much_adds_up_to_what_is_on_the_disk() {
    let mut stage = Stage::set();
    at_home(&mut stage);
    let model = Model::saying(vec![shell("head -c 3000000 /dev/urandom > big"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a", &"a".repeat(1_000_000));
    stage.quire(&["make it big"]).exits(0);
    // Nothing writes any more.
    stage.quire(&["host", "--stop"]).exits(0);
    let usage = stage.json(&["du"]);
    let xdg = stage.base().join("xdg");
    let places = [xdg.join("share/quire"), xdg.join("state/quire"), stage.base().join("config/quire")];
    let on_disk: u64 = places.iter().map(|place| du(place)).sum();
    let share = |kind: &str| -> u64 {
        let all = usage["shares"].as_array().unwrap().iter();
        all.filter(|share| share["kind"] == kind).map(|share| share["bytes"].as_u64().unwrap()).sum()
    };
    assert!(
        share("task") >= 3_000_000 && share("contents") >= 3_000_000 && share("copy") >= 1_000_000,
        "{usage}"
    );
    // Beside its database SQLite has files only while a process has it open, as that command had.
    let store = places[0].join("quire.db");
    let rest = |all: u64, store: u64| all - store;
    assert_eq!(rest(usage["bytes"].as_u64().unwrap(), share("store")), rest(on_disk, du(&store)), "{usage}");
    assert!(share("store") > 0 && share("settings") > 0 && share("host_log") > 0, "{usage}");
    let table = stage.quire(&["du"]).exits(0).out;
    assert!(table.contains("1  make it big") && table.ends_with("in all\n"), "{table}");
}

#[test]
fn clearing_away_takes_what_is_dropped_and_disturbs_nobody() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 1 > one"), say("Done.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["the first"]).exits(0);
    stage.quire(&["the second"]).exits(0);
    stage.quire(&["discard", "2"]).exits(0);
    model.hold_from(1);
    stage.quire(&["run", "-b", "the third"]).exits(0);
    model.wait_for(1, 3);
    fs::create_dir_all(stage.data().join("tasks/2/layers/0")).expect("as a discard that died leaves it");
    let would = stage.json(&["gc", "--dry-run"]);
    assert_eq!(
        (&would["cleared"]["tasks"], &would["dry_run"]),
        (&serde_json::json!([2]), &Value::Bool(true))
    );
    assert!(stage.data().join("tasks/2").exists());
    let cleared = stage.json(&["gc"]);
    assert_eq!((&cleared["cleared"]["tasks"], &cleared["undo_days"]), (&serde_json::json!([2]), &30.into()));
    assert!(!stage.data().join("tasks/2").exists());
    model.let_go();
    stage.quire(&["watch", "3"]).exits(0);
    for task in ["1", "3"] {
        stage.quire(&["review", task]).exits(0);
    }
    stage.quire(&["accept", "1"]).exits(0);
    stage.quire(&["gc"]).exits(0);
    stage.quire(&["undo", "1"]).exits(0);
}

/// Waits for what another process brings about.
#[track_caller]
fn until(what: &str, done: &dyn Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long: {what}");
        std::thread::yield_now();
    }
}

/// Returns the processes whose view of mounts or whose arguments name a directory, this one aside.
fn processes_of(dir: &Path) -> Vec<i32> {
    let word = dir.as_os_str().as_encoded_bytes();
    let holds =
        |file: PathBuf| fs::read(file).is_ok_and(|text| text.windows(word.len()).any(|part| part == word));
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != std::process::id() as i32)
        .filter(|pid| {
            let proc = PathBuf::from(format!("/proc/{pid}"));
            holds(proc.join("mountinfo")) || holds(proc.join("environ")) || holds(proc.join("cmdline"))
        })
        .collect()
}

/// Host, spawner and hand die in the midst of a call, and whoever follows. The next command goes on, and nothing of theirs is
/// left: no process, no mount (they went with the processes), no state.
#[test]
fn after_everything_was_killed_the_next_start_cleans_up() {
    let stage = Stage::set();
    let model = Model::new(|asked| match asked.results.last() {
        None => shell("echo begun > begun; while :; do echo x >> noise; done"),
        Some(_) => say("Done."),
    });
    stage.use_model(&model, Wire::Chat);
    stage.file("a", "one\n");
    let follower = stage.start(&["make noise"]);
    let noise = stage.data().join("tasks/1/layers/0/folder-0/noise");
    until("the call runs", &|| fs::metadata(&noise).is_ok_and(|meta| meta.size() > 0));
    // A file that a freeze was making when it was killed, and a layer.
    let half = stage.data().join("folders/1/new");
    fs::create_dir_all(half.join("half")).expect("a directory");
    let all = processes_of(stage.base());
    assert!(all.len() >= 4, "follower, host, spawner, hand: {all:?}");
    for pid in &all {
        // SAFETY: kill touches no memory; each of them names this test's own directory.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    follower.end();
    until("all are gone", &|| processes_of(stage.base()).is_empty());
    stage.quire(&["watch", "1"]).exits(0);
    stage.log(1);
    let asked = model.asked();
    let told = asked.last().expect("requests").results.last().expect("a result").clone();
    assert!(told.contains("Interrupted"), "{told}");
    let runs = || fs::read_dir(stage.data().join("tasks/1/run")).map_or(0, |runs| runs.count());
    until("its sandbox has left", &|| runs() == 0);
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("begun")).unwrap(), "begun\n");
    stage.file("a", "two\n");
    stage.quire(&["sandbox", "--", "true"]).exits(0);
    assert!(!half.exists(), "made anew by the next copy");
    // What the killed sandbox was limited by goes with the next one's.
    for dir in cgroups() {
        let pid = dir.file_name().and_then(|name| name.to_str()?.strip_prefix("quire-")?.parse::<i32>().ok());
        assert!(pid.is_none_or(|pid| !all.contains(&pid)), "{}", dir.display());
    }
}

/// Returns the cgroups of sandboxes.
fn cgroups() -> Vec<PathBuf> {
    let mut found = vec![];
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with("quire-") {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_killed_command_in_a_sandbox_of_its_own_is_cleared_away_by_the_next() {
    let stage = Stage::set();
    let mut running = stage.start(&["sandbox", "--", "sh", "-c", "echo > begun; sleep 1000"]);
    let once = stage.data().join("once");
    let scratch = once.join(format!("{}-0", running.child.id()));
    until("the command runs", &|| scratch.join("layer/folder-0/begun").exists());
    let beside = |stage: &Stage| stage.quire(&["sandbox", "--", "true"]).exits(0);
    beside(&stage);
    assert_eq!(fs::read_dir(&once).unwrap().count(), 1, "one that runs is left alone");
    running.child.kill().unwrap();
    running.end();
    assert_eq!(fs::read_dir(&once).unwrap().count(), 1);
    beside(&stage);
    assert_eq!(fs::read_dir(&once).unwrap().count(), 0);
}

/// Each turn seals a layer. However many there are, a sandbox stands on few, and each version stays what it was.
#[test]
fn forty_turns_stand_on_few_layers() {
    let stage = Stage::set();
    let model = Model::new(|asked| {
        let turn = asked.words.len();
        match asked.answered % 2 {
            0 => shell(&format!(
                "cat count; echo {turn} > count; echo {turn} > only-{turn}; rm -f only-$(({turn} - 2)); rm -rf dir; mkdir dir; \
                 echo {turn} > dir/{turn}; rm -f /etc/made-*; echo {turn} > /etc/made-{turn}; ls /etc/made-*"
            )),
            _ => say("Done."),
        }
    });
    stage.use_model(&model, Wire::Chat);
    stage.file("count", "0\n");
    stage.file("dir/old", "old\n");
    stage.quire(&["count up"]).exits(0);
    for turn in 2..=40 {
        stage.quire(&["revise", "1", "on"]).exits(0);
        let asked = model.asked();
        let told = asked.last().expect("a request").results.last().expect("an outcome").clone();
        assert!(told.starts_with(&format!("{}\n", turn - 1)), "turn {turn} sees the last one: {told}");
        assert!(
            told.contains(&format!("/etc/made-{turn}\n")) && told.matches("/etc/made-").count() == 1,
            "{told}"
        );
    }
    let layers: Vec<String> = fs::read_dir(stage.data().join("tasks/1/layers"))
        .expect("layers")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(layers.iter().filter(|name| name.ends_with(".all")).count() >= 2, "{layers:?}");
    assert!(!layers.contains(&"new".to_owned()), "{layers:?}");
    stage.quire(&["accept", "1"]).exits(0);
    let names = |dir: &Path| -> BTreeSet<PathBuf> {
        all(dir).into_iter().map(|path| path.strip_prefix(dir).expect("below").to_owned()).collect()
    };
    let expected = ["count", "dir", "dir/40", "only-39", "only-40"];
    assert_eq!(names(&stage.folder), expected.into_iter().map(PathBuf::from).collect());
    stage.log(1);
}
