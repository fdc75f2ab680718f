//! What an ordinary user installs inside, each with its own package manager, in one task of the built binary: through the way
//! out as it is by default, from the registries that the machine is set to, with the machine compared before and after.
//!
//! Prints a table: `./test --installs`. Needs root, which makes the user, and registries that can be reached; so it is no part of a
//! plain `cargo test`.

#[path = "../../quire-sandbox/tests/escape/facts.rs"]
mod facts;
#[path = "../../quire-sandbox/tests/programs/machine.rs"]
mod machine;
#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/model.rs"]
mod model;
#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/stage.rs"]
mod stage;

use machine::Machine;
use model::{Answer, Asked, Model, Wire, call, say, shell};
use quire_core::event::{Connection, Event};
use serde_json::json;
use stage::{Stage, can_make_users};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

struct Row {
    /// What the person would type.
    name: &'static str,
    command: &'static str,
    /// What proves that it works, as the command's output says it.
    shows: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        name: "apt-get install",
        command: "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends sl > /dev/null \
                  && ls /usr/games/sl && dpkg-query -W -f '${Package} is ${db:Status-Status}' sl",
        shows: "sl is installed",
    },
    Row {
        name: "pip install",
        command: "PIP_BREAK_SYSTEM_PACKAGES=1 /usr/bin/pip3 install -q --no-cache-dir --force-reinstall idna \
                  && /usr/bin/python3 -c 'import idna; print(\"imported from\", idna.__file__)'",
        shows: "imported from /usr/local/lib/python3",
    },
    Row {
        name: "npm i -g",
        command: "npm i -g --silent semver && echo \"the new command says $(semver -i minor 1.2.3)\"",
        shows: "the new command says 1.3.0",
    },
    Row {
        name: "cargo add, cargo build",
        // Debian 12's other package of it is older than the index over HTTP.
        command: "command -v cargo > /dev/null \
                  || DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends cargo-web > /dev/null; \
                  cargo new -q work && cd work && cargo add -q itoa@1.0.11 \
                  && echo 'fn main() { println!(\"built, and it says {}\", itoa::Buffer::new().format(42u8)); }' > src/main.rs \
                  && cargo build -q && target/debug/work",
        shows: "built, and it says 42",
    },
    Row {
        name: "git commit, git clone",
        command: "git init -q -b main a && cd a && echo 1 > f && git add f \
                  && git -c user.name=A -c user.email=a@example.org commit -qm one && cd .. && git clone -q a b \
                  && echo \"the clone has $(git -C b log --oneline | wc -l) commit\"",
        shows: "the clone has 1 commit",
    },
];

/// By which the machine's programs are told whom to trust, where it says that so.
const TRUSTS: [&str; 4] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

fn main() -> ExitCode {
    if !can_make_users() {
        eprintln!("must be started by root, which makes the ordinary user");
        return ExitCode::FAILURE;
    }
    let mut stage = Stage::for_user();
    stage
        .env
        .extend(TRUSTS.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))));
    stage.file("notes", "the person's own\n");
    let home = stage.base().join("home");
    let uid = std::fs::metadata(&home).expect("a home").uid();
    let before = (Machine::note(uid).expect("a mount namespace"), facts::fingerprint(&home));
    let outcomes = work(&stage);
    let stopped = stage.command(&["host", "--stop"]).status().is_ok_and(|status| status.success());
    let mut changed = before.0.changed();
    if !changed.is_empty() {
        // The host that was stopped may be seen for a moment more, and to look takes longer than that.
        changed = before.0.changed();
    }
    if facts::fingerprint(&home) != before.1 {
        changed.push(format!("the person's home: was\n{}is\n{}", before.1, facts::fingerprint(&home)));
    }
    let whole = print_table(&outcomes, uid, &changed);
    if whole && stopped && changed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of a row.
#[derive(Default)]
struct Came {
    said: String,
    millis: u64,
    reached: Vec<Connection>,
}

/// Has all of it done in one task, and returns what came of each row.
fn work(stage: &Stage) -> Vec<Came> {
    let model = Model::new(next);
    stage.use_model(&model, Wire::Chat);
    // It may take longer than a journey's commands do.
    let ran = stage.command(&["run", "install these"]).output().expect("the binary can be started");
    eprint!("{}", String::from_utf8_lossy(&ran.stderr));
    let mut came: Vec<Came> = ROWS.iter().map(|_| Came::default()).collect();
    let mut at = 0;
    for logged in stage.log(1) {
        let Some(row) = came.get_mut(at) else { break };
        match logged.event {
            // Told with the outcome of the call that reached it, before that.
            Event::Reached { connections } => row.reached.extend(connections),
            Event::Returned { outcome, .. } => {
                row.millis += outcome.millis;
                row.said.push_str(&outcome.text);
                at += usize::from(goes_on(&outcome.text).is_none());
            }
            _ => {}
        }
    }
    came
}

/// What the model does next: the next row, or to wait for what became a job.
fn next(asked: &Asked) -> Answer {
    if let Some(job) = asked.results.last().and_then(|last| goes_on(last)) {
        return call("job", json!({ "id": job, "action": "poll", "wait": 110 }));
    }
    let done = asked.results.iter().filter(|result| goes_on(result).is_none()).count();
    ROWS.get(done).map_or_else(|| say("All of it is installed."), |row| shell(row.command))
}

/// Returns the number of the job that a command became, or still is.
fn goes_on(result: &str) -> Option<u32> {
    let about = result.rsplit_once("\n[").map_or(result, |(_, about)| about);
    let is_on = about.contains("runs on after") || about.contains(" runs since ");
    let (_, id) = about.split_once("job ").filter(|_| is_on)?;
    id.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Prints what was run. Returns whether all of it works.
fn print_table(came: &[Came], uid: u32, changed: &[String]) -> bool {
    println!("| installed by user {uid} | it says | took | through the way out |\n|---|---|---|---|");
    let mut whole = true;
    for (row, came) in ROWS.iter().zip(came) {
        let shown = came.said.lines().find(|line| line.contains(row.shows));
        whole &= shown.is_some();
        let said = shown.unwrap_or("FAILS");
        println!("| {} | {said} | {} s | {} |", row.name, came.millis / 1000, hosts(&came.reached));
        if shown.is_none() {
            eprintln!("{}: {:?} is not in:\n{}", row.name, row.shows, came.said);
        }
    }
    match changed {
        [] => println!("\nThe machine and the person's home are as they were."),
        changed => println!("\nCHANGED outside:\n{}", changed.join("\n")),
    }
    whole
}

/// Returns each host once, with what passed.
fn hosts(reached: &[Connection]) -> String {
    let mut hosts = BTreeMap::<String, (u64, u64)>::new();
    for row in reached {
        let name = match row.refused {
            None => format!("{}:{}", row.host, row.port),
            Some(_) => format!("REFUSED {}:{}", row.host, row.port),
        };
        let sum = hosts.entry(name).or_default();
        *sum = (sum.0 + row.up, sum.1 + row.down);
    }
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let each = hosts
        .iter()
        .map(|(host, (up, down))| format!("{host} ({} KiB out, {} KiB in)", kib(*up), kib(*down)));
    let each: Vec<_> = each.collect();
    if each.is_empty() { "nothing".into() } else { each.join(", ") }
}
