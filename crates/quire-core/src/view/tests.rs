//! Rows and sentences as tables: a log, and what a person reads.

use super::*;
use crate::bytes::{Hash, RelPath};
use crate::change::{Entry, LinkTarget, Node};
use crate::charter::{Charter, CheckSpec, Edits, Limits, Model, Purpose, Sandbox, Wire};
use crate::event::{Apart, Base, Conventions, Event, Listing, Logged, Proof, Question, Verdict};
use crate::message::{Call, Fault, Outcome, Reply, Stop, Usage};

mod alone;
mod decided;
mod made;
mod runs;
mod seen;

const MINUTE: u64 = 60_000;

fn charter(checks: &[&str]) -> Charter {
    Charter {
        folders: vec!["/home/ada/code/invoice".into()],
        model: Some(Model {
            provider: "lab".into(),
            name: "tiny".into(),
            wire: Wire::Chat,
            base_url: "http://127.0.0.1:1/v1".into(),
            key_env: None,
            edits: Edits::EditAndWrite,
            images: false,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: checks.iter().map(|c| CheckSpec { name: (*c).into(), command: (*c).into() }).collect(),
        limits: Limits { check_rounds: 0, ..Limits::default() },
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    }
}

fn reply(text: &str, calls: &[(&str, &str)]) -> Event {
    let call = |(n, (tool, input)): (usize, &(&str, &str))| Call {
        id: n.to_string(),
        tool: (*tool).into(),
        input: (*input).into(),
    };
    Event::Replied {
        reply: Reply {
            wire: Wire::Chat,
            items: vec![],
            text: text.into(),
            calls: calls.iter().enumerate().map(call).collect(),
            stop: Stop::Done,
            usage: Usage { input: 1000, output: 50, ..Usage::default() },
            by: String::new(),
        },
    }
}

/// A log whose events are a second apart.
struct Log {
    task: Task,
    all: Vec<Logged>,
}

impl Log {
    fn new(id: u64, charter: Charter, words: &str) -> Log {
        let first = Logged {
            seq: 1,
            at_ms: 1_000_000,
            event: Event::Opened { charter: Box::new(charter), words: words.into() },
        };
        Log { task: Task::open(id, &first).unwrap(), all: vec![first] }
    }

    fn then(mut self, events: impl IntoIterator<Item = Event>) -> Log {
        for event in events {
            let event = match event {
                Event::Asked { .. } => Event::Asked { heard: self.task.seq, worst: None },
                event => event,
            };
            let logged = Logged { seq: self.task.seq + 1, at_ms: self.task.last_ms + 1000, event };
            self.task.apply(&logged).unwrap();
            self.all.push(logged);
        }
        self
    }

    fn started(id: u64, checks: &[&str], words: &str) -> Log {
        let base = Base { id: 1, delta: 0, files: 3, bytes: 90, git: None };
        Log::new(id, charter(checks), words).then([
            Event::Taken { epoch: 1 },
            Event::Equipped {
                system: "s".into(),
                tools: vec![],
                rung: "r".into(),
                weak: None,
                conventions: Conventions::default(),
                attached: None,
            },
            Event::Frozen { bases: vec![base] },
            Event::Asked { heard: 0, worst: None },
        ])
    }

    fn presented(self, proofs: &[Proof], apart: Apart) -> Log {
        let mut events =
            vec![Event::Sealed { layer: 0, snapshot: Hash::of(b"v"), apart, checks: vec![], files: None }];
        events.extend(
            proofs.iter().enumerate().map(|(n, p)| Event::Checked { check: n as u32, proof: p.clone() }),
        );
        events.push(Event::Presented { version: 1, snapshot: Hash::of(b"v") });
        self.then(events)
    }
}

fn proof(passed: bool, buts: &[&str]) -> Proof {
    Proof {
        snapshot: Hash::of(b"v"),
        passed,
        exit: Some(i32::from(!passed)),
        millis: 900,
        output: "said".into(),
        whole: None,
        buts: buts.iter().map(|b| (*b).into()).collect(),
        unable: None,
        before: None,
        old_code_fails: None,
        shots: vec![],
    }
}

fn fault(kind: FaultKind) -> Why {
    Why::Model(Fault { kind, message: "https://example.org answers 503".into(), status: Some(503) })
}

#[test]
fn what_waits_for_a_person_comes_first() {
    let paused = |id, why| Log::started(id, &[], "paused").then([Event::Paused { why }]).task;
    let ready =
        |id| Log::started(id, &[], "ready").then([reply("done", &[])]).presented(&[], Apart::default());
    let accept = [
        Event::Accepting {
            accept: 0,
            snapshot: Hash::of(b"v"),
            only: vec![],
            ignored: None,
            taken: None,
            merged: None,
            proofs: vec![],
            programs: false,
        },
        Event::Accepted { accept: 0 },
    ];
    let failing = Log::started(6, &["make"], "a failing one").then([reply("done", &[])]);
    let tasks = [
        Log::started(1, &[], "at work").task,
        ready(2).then(accept).task,
        Log::started(3, &[], "dropped").then([Event::Discarded {}]).task,
        paused(4, Why::Person),
        ready(5).task,
        failing.presented(&[proof(false, &[])], Apart::default()).task,
        paused(7, fault(FaultKind::Busy)),
        paused(8, Why::Steps),
    ];
    let shown: Vec<String> = rows(&tasks.each_ref().map(Summary::of), 1_000_000 + 5 * MINUTE)
        .iter()
        .map(|r| {
            format!(
                "{} {} {} | {} | {} {}",
                r.mark.group().heading(),
                r.mark.symbol(),
                r.task,
                r.state,
                r.title,
                r.folder
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    NEEDS YOU ? 7 | needs you: the model is busy | paused /home/ada/code/invoice
    NEEDS YOU ◆ 6 | says done, but its check failed | a failing one /home/ada/code/invoice
    NEEDS YOU ◆ 5 | ready | ready /home/ada/code/invoice
    NEEDS YOU ‖ 8 | needs you: 200 steps used up | paused /home/ada/code/invoice
    NEEDS YOU ‖ 4 | paused | paused /home/ada/code/invoice
    WORKING ◐ 1 | working | at work /home/ada/code/invoice
    DONE ✓ 2 | accepted | ready /home/ada/code/invoice
    DONE – 3 | discarded | dropped /home/ada/code/invoice
    ");
}

#[test]
fn each_reason_says_what_is_safe_and_what_to_do() {
    let kinds = [
        FaultKind::NoKey,
        FaultKind::Credit,
        FaultKind::NoModel,
        FaultKind::TooLong,
        FaultKind::Unreachable,
        FaultKind::Busy,
        FaultKind::Tape,
    ];
    let troubles = [Trouble::Sandbox, Trouble::Disk, Trouble::Folder, Trouble::Other];
    let plain = [Why::NoModel, Why::Person, Why::Steps, Why::Time, Why::Loop, Why::Silence];
    let mut all: Vec<Why> = plain.into_iter().chain([Why::Refused("not that".into())]).collect();
    all.extend(kinds.map(fault));
    all.extend(troubles.map(|t| Why::Trouble(t, "it broke".into())));
    let task = Log::new(3, charter(&[]), "x").task;
    let shown: Vec<String> = all
        .iter()
        .map(|why| {
            let Told { what, safe, next } = why_text(why, &task);
            assert_eq!(safe, "The task is kept. Your folder has not changed.");
            format!("{}: {what} | {next}", needs(why, &task))
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    no model: No model is named, and none was found. | Name one (see: quire models): quire resume 3 -m PROVIDER/MODEL. Without one: quire demo
    paused: It was paused. | Go on: quire resume 3
    200 steps used up: The limit of 200 steps is reached. | Allow as many again: quire resume 3. To say something first: quire revise 3 "..."
    60 minutes used up: The limit of 60 minutes is reached. | Allow as much again: quire resume 3. To say something first: quire revise 3 "..."
    the model repeats itself: The model made the same calls with the same outcomes again and again. | Say what it should try instead: quire revise 3 "...". Or let it go on: quire resume 3
    the model says nothing: The model answered with nothing several times. | Try again: quire resume 3. If it stays silent, name another model (quire models).
    the model declined: The model declined to go on: not that. | Say it in another way: quire revise 3 "..."
    the model's key is missing: https://example.org answers 503. | Give its key: quire models add lab. Then: quire resume 3
    no credit is left: https://example.org answers 503. | Add credit with the provider, then: quire resume 3
    there is no such model: https://example.org answers 503. | See which models answer: quire models. Then: quire resume 3
    too long for the model: https://example.org answers 503. | Start a new task with less in it, or name a model with more room (quire models).
    the model does not answer: https://example.org answers 503. | Start its server or look at the address (quire models), then: quire resume 3
    the model is busy: https://example.org answers 503. | Try again: quire resume 3
    the recording does not fit: https://example.org answers 503. | A recording plays only its own task. Name a real model (quire models), then: quire resume 3
    no sandbox: It broke. | See what this machine lacks: quire doctor. Then: quire resume 3
    no space on the disk: It broke. | Make room on the disk, then: quire resume 3
    trouble with the folder: It broke. | Put the folder right, then: quire resume 3
    quire had trouble: It broke. | Try again: quire resume 3
    "#);
}

#[test]
fn a_question_needs_its_person_while_the_task_works_and_when_it_waits() {
    let ask = |reach, host: &str| Event::ReachAsked { reach, host: host.into(), port: 443 };
    let answer = |reach, allow| Event::ReachAnswered { reach, allow, once: false };
    let asked = || Log::started(3, &[], "x").then([reply("done", &[]), ask(0, "a.org"), ask(1, "b.org")]);
    let waits = || asked().then([Event::Paused { why: Why::Reach }]);
    let one = || waits().then([answer(1, false)]);
    let row = |log: Log| {
        let row = TaskRow::of(&log.task, log.task.last_ms);
        let questions: Vec<_> =
            row.questions.iter().map(|q| format!("{} {}", q.text, q.commands())).collect();
        let why = match &log.task.phase {
            Phase::Waiting(why) => {
                let told = why_text(why, &log.task);
                format!("{} {}", told.what, told.next)
            }
            _ => String::new(),
        };
        format!("{} {}\n{}\n{why}", row.mark.symbol(), row.state, questions.join("\n"))
    };
    insta::assert_snapshot!(row(asked()), @r"
    ? needs you: asks, and works on
    May it reach a.org:443? quire allow 3 a.org · quire deny 3 a.org
    May it reach b.org:443? quire allow 3 b.org · quire deny 3 b.org
    ");
    insta::assert_snapshot!(row(waits()), @r"
    ? needs you: asks, and waits
    May it reach a.org:443? quire allow 3 a.org · quire deny 3 a.org
    May it reach b.org:443? quire allow 3 b.org · quire deny 3 b.org
    May it reach a.org:443? May it reach b.org:443? Answer: quire allow 3 HOST · quire deny 3 HOST, for each of 2. Without an answer: quire resume 3
    ");
    insta::assert_snapshot!(row(one()), @r"
    ? needs you: asks, and waits
    May it reach a.org:443? quire allow 3 · quire deny 3
    May it reach a.org:443? Answer: quire allow 3 · quire deny 3. Without an answer: quire resume 3
    ");
    assert_eq!(row(one().then([answer(0, true)])).lines().next(), Some("◐ working"));
    // Whoever goes on without an answer is not asked again, and the version comes.
    let passed_over = one().then([Event::Resumed { model: None }]);
    assert_eq!(row(passed_over).lines().next(), Some("◐ working"));
    let ready = waits().then([Event::Resumed { model: None }]).presented(&[], Apart::default());
    assert_eq!(row(ready).lines().next(), Some("◆ ready"));
    // A pause of the person's is no answer.
    let paused = asked().then([Event::Paused { why: Why::Person }, Event::Resumed { model: None }]);
    assert_eq!(row(paused).lines().next(), Some("? needs you: asks, and works on"));
}

#[test]
fn a_sentence_begins_with_a_capital_where_it_begins_with_a_word() {
    let rows = [
        ("the disk is full", "The disk is full"),
        ("/srv/x is gone", "/srv/x is gone"),
        ("http://a answers", "http://a answers"),
        ("a.txt is gone", "a.txt is gone"),
        ("élan", "Élan"),
        ("asks, and waits", "Asks, and waits"),
        ("", ""),
    ];
    for (text, expected) in rows {
        assert_eq!(capital(text), expected);
    }
}

#[test]
fn what_is_safe_depends_on_what_was_done() {
    let worked = Log::started(1, &[], "x").then([reply("done", &[])]).presented(&[], Apart::default());
    assert_eq!(kept(&worked.task), "All that was done so far is kept. Your folder has not changed.");
    let accept = [
        Event::Accepting {
            accept: 0,
            snapshot: Hash::of(b"v"),
            only: vec![],
            ignored: None,
            taken: None,
            merged: None,
            proofs: vec![],
            programs: false,
        },
        Event::Accepted { accept: 0 },
        Event::Said { words: "more".into() },
    ];
    assert_eq!(
        kept(&worked.then(accept).task),
        "What you accepted stays as it is; everything since is kept."
    );
}

#[test]
fn a_life_as_lines() {
    let outcome = |ok, exit| Outcome { exit, ..if ok { Outcome::said("x") } else { Outcome::refused("x") } };
    let step = |text: &str, calls: &[(&str, &str)], outcomes: &[Outcome]| {
        let mut events =
            vec![reply(text, calls), Event::Judged { verdicts: vec![Verdict::Run; calls.len()] }];
        for (n, outcome) in outcomes.iter().enumerate() {
            events.push(Event::Called { call: n as u32 });
            events.push(Event::Returned { call: n as u32, outcome: outcome.clone() });
        }
        events.push(Event::Snapped { snapshot: Hash::of(b"s") });
        events.push(Event::Asked { heard: 0, worst: None });
        events
    };
    let read = |path| ("read", path);
    let patch =
        r#"{"patch":"*** Begin Patch\n*** Add File: a.txt\n+x\n*** Delete File: b.txt\n*** End Patch"}"#;
    let plan = r#"{"steps":[{"step":"Look","status":"done"},{"step":"Mend it","status":"doing"}]}"#;
    let log = Log::started(3, &["cargo test", "make lint"], "fix it")
        .then(step(
            "I look at the code first.\nThen more.",
            &[read(r#"{"path":"a.txt"}"#), read(r#"{"path":"src"}"#), ("search", r#"{"pattern":"round"}"#)],
            &[outcome(true, None), outcome(true, None), outcome(true, None)],
        ))
        .then(step("", &[read(r#"{"path":"/home/ada/code/invoice/tax.rs"}"#)], &[outcome(true, None)]))
        .then(step(
            "",
            &[("plan", plan), ("apply_patch", patch)],
            &[outcome(true, None), outcome(true, None)],
        ))
        .then(step(
            "",
            &[
                ("edit", r#"{"path":"tax.rs"}"#),
                ("write", r#"{"path":"new.rs"}"#),
                ("shell", r#"{"command":"cargo test\nls"}"#),
                ("shell", r#"{"command":"make"}"#),
                ("job", r#"{"id":2,"action":"wait"}"#),
                ("teleport", "not json"),
            ],
            &[
                outcome(false, None),
                outcome(true, None),
                outcome(false, Some(101)),
                outcome(true, Some(0)),
                outcome(true, None),
                outcome(false, None),
            ],
        ))
        .then([
            reply("", &[("shell", r#"{"command":"sleep 9"}"#), ("fly", "{}")]),
            Event::Judged {
                verdicts: vec![Verdict::Run, Verdict::Refuse("There is no tool \"fly\".".into())],
            },
            Event::Called { call: 0 },
            Event::Taken { epoch: 2 },
            Event::Snapped { snapshot: Hash::of(b"s") },
            Event::Said { words: "be quick\nplease".into() },
            Event::Asked { heard: 0, worst: None },
            reply("It is mended.", &[]),
        ])
        .presented(&[proof(true, &["the agent changed the test"]), proof(false, &[])], Apart::default());
    let mut progress = Progress::default();
    let mut shown = vec![];
    for logged in &log.all {
        for line in progress.apply(logged) {
            shown.push(format!("{} {:<60} {:>3} s", line.mark.symbol(), line.text, line.at_ms / 1000));
        }
        shown.push(format!("    {}", progress.now().unwrap_or("-")));
    }
    shown.dedup();
    insta::assert_snapshot!(shown.join("\n"), @r#"
        Starting
        Thinking
    · I look at the code first.                                      5 s
        Reading a.txt
        Thinking
        Reading src
        Thinking
        Searching for `round`
    ✓ Read 2 files                                                  10 s
        Thinking
        Reading tax.rs
    ✓ Searched for `round`                                          12 s
        Thinking
        Plan: Mend it
    ✓ Read tax.rs                                                   18 s
    ✓ Plan: Mend it                                                 24 s
        Thinking
        Editing a.txt and 1 more
    ✓ Edited a.txt and 1 more                                       26 s
        Thinking
        Editing tax.rs
    ✗ Editing tax.rs failed                                         32 s
        Thinking
        Writing new.rs
    ✓ Wrote new.rs                                                  34 s
        Thinking
        Running `cargo test …`
    ✗ Ran `cargo test …`: exit 101                                  36 s
        Thinking
        Running `make`
    ✓ Ran `make`                                                    38 s
        Thinking
        Looking after background command 2
    ✓ Looked after background command 2                             40 s
        Thinking
        Calling `teleport`
    ✗ Calling `teleport` failed                                     42 s
        Thinking
        Running `sleep 9`
    ✗ There is no tool "fly".                                       46 s
        Running `sleep 9`
    ✗ Running `sleep 9` was interrupted                             48 s
        Starting
    · You: be quick                                                 50 s
        Starting
        Thinking
        Finishing
        Checking `cargo test`
    ✓ `cargo test` passes, but: the agent changed the test          54 s
        Checking `make lint`
    ✗ `make lint` fails (exit 1)                                    55 s
        Finishing
        -
    "#);
}

#[test]
fn a_turn_of_its_own_begins_at_zero() {
    let log = Log::started(1, &[], "x")
        .then([reply("done", &[])])
        .presented(&[], Apart::default())
        .then([Event::Said { words: "smaller".into() }]);
    let mut progress = Progress::default();
    let lines: Vec<Line> = log.all.iter().flat_map(|logged| progress.apply(logged)).collect();
    assert_eq!(lines, [Line { mark: LineMark::Said, text: "You: smaller".into(), at_ms: 0 }]);
    assert_eq!((progress.now(), progress.began_ms()), (Some("Starting"), log.task.last_ms));
}

fn entry(path: &str, was: Option<Node>, now: Option<Node>) -> Entry {
    Entry { folder: 0, path: RelPath::new(path).unwrap(), was, now }
}

fn file(content: &str, mode: u32) -> Option<Node> {
    Some(Node::File { blob: Hash::of(content.as_bytes()), bytes: content.len() as u64, mode })
}

/// Changes of every kind.
fn changes() -> Vec<FileChange> {
    let of = |path, was: Option<&str>, now: Option<&str>| {
        let entry = entry(path, was.and_then(|c| file(c, 0o644)), now.and_then(|c| file(c, 0o644)));
        FileChange::of(&entry, was.map(str::as_bytes), now.map(str::as_bytes))
    };
    let other = |entry: Entry| FileChange::of(&entry, Some(b"x\n"), Some(b"x\n"));
    vec![
        of("a.txt", Some("1\n2\n"), Some("1\ntwo\nthree\n")),
        of("new.txt", None, Some("1\n")),
        of("empty", None, Some("")),
        of("gone.txt", Some("1\n2\n"), None),
        of("pic.png", Some("\0a"), Some("\0b")),
        FileChange::of(&entry("big", file("old", 0o644), file("new", 0o644)), None, None),
        other(entry("run.sh", file("x\n", 0o644), file("x\n", 0o755))),
        other(entry("plain.sh", file("x\n", 0o755), file("x\n", 0o644))),
        other(entry("dir", None, Some(Node::Dir { mode: 0o755 }))),
        other(entry("old-dir", Some(Node::Dir { mode: 0o755 }), None)),
        other(entry("link", None, Some(Node::Link { target: LinkTarget(b"/etc/\xff".to_vec()) }))),
        other(entry("was-file", file("x\n", 0o644), Some(Node::Link { target: LinkTarget(b"a".to_vec()) }))),
    ]
}

#[test]
fn a_change_in_a_few_words() {
    let shown: Vec<String> = changes().iter().map(|c| format!("{}: {}", c.path, c.extent())).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    a.txt: +2 -1
    new.txt: new, +1
    empty: new
    gone.txt: deleted
    pic.png: changed, binary
    big: changed, large
    run.sh: changed, can be run
    plain.sh: changed, can no longer be run
    dir: new folder
    old-dir: deleted folder
    link: new link
    was-file: now a link
    ");
}

#[test]
fn a_review_says_what_was_proved_and_what_needs_a_look() {
    let apart = Apart { git: Listing { paths: vec!["0/.git/index".into()], total: 1 }, ..Apart::default() };
    let proofs = [
        proof(true, &["a test was removed", "Cargo.toml changed"]),
        Proof { exit: None, ..proof(false, &[]) },
    ];
    let log = Log::started(3, &["cargo test", "make"], "fix it");
    let log = log.then([reply(" It is mended. All tests pass.\n", &[])]).presented(&proofs, apart);
    let version = log.task.version().unwrap().clone();
    let review = Review::of(&log.task, &version, changes());
    let checks = review.checks.iter().map(|c| format!("{} {} {}", c.symbol(), c.command, c.outcome));
    let look = review.look().into_iter().map(|(path, why)| format!("{path} {why}"));
    let head = format!("{} | {} | {}", review.state, review.extent(), review.folder_text());
    let claims = review.brief.claims.iter().map(|c| format!("{} {} {}", c.symbol(), c.text, c.outcome));
    let told = [head, review.brief.summary.clone()].into_iter().chain(claims);
    let shown: Vec<String> = told.chain(checks).chain(look).collect();
    assert!(review.fails());
    insta::assert_snapshot!(shown.join("\n"), @r"
    says done, but 1 of 2 checks failed | 10 files and 2 folders, +3 -4 | Your folder has not changed.
    It is mended.
    ⚑ All tests pass. `cargo test` passes, but: a test was removed; Cargo.toml changed
    ⚑ cargo test passes, but: a test was removed; Cargo.toml changed
    ✗ make fails (it did not end)
    gone.txt is deleted
    run.sh can now be run as a program
    plain.sh can no longer be run as a program
    old-dir the folder is deleted
    link is a link to /etc/\xff
    was-file is a link to a
    pic.png and 1 more file are no text, or too large: taken without a look inside
    .git 1 path changed, which Accept does not take
    ");
    let json = serde_json::to_value(&review).unwrap();
    assert_eq!(
        (&json["mark"], &json["taken"], &json["files"][3]["fate"]),
        (&"ready".into(), &"no".into(), &"deleted".into())
    );
    assert_eq!(
        json["files"][0]["hunks"][0]["lines"][1],
        serde_json::json!({"kind": "removed", "text": "2\n"})
    );
}

#[test]
fn what_was_written_is_said() {
    let written = |undo, files: &[(&str, Fate)], folders: &[&str]| Written {
        task: 3,
        accept: 0,
        undo,
        files: files
            .iter()
            .map(|(path, fate)| WrittenFile {
                folder: 0,
                path: RelPath::new(*path).unwrap(),
                fate: *fate,
                is_folder: path.starts_with("dir"),
                merged: path.starts_with("mine"),
                over: match path.as_bytes()[0] {
                    b'L' => Some(Over::Lines),
                    b'W' => Some(Over::Whole),
                    b'G' => Some(Over::Gone),
                    _ => None,
                },
            })
            .collect(),
        git: vec![],
        gone: vec![],
        checks: vec![],
        folders: folders.iter().map(Into::into).collect(),
    };
    let home = Some(Path::new("/home/ada"));
    let (one, two) = ([("a", Fate::New)], [("a", Fate::New), ("b", Fate::Deleted)]);
    let mixed = [("a", Fate::New), ("dir", Fate::New), ("b", Fate::New)];
    let mine = [("mine", Fate::Changed)];
    let (site, both) = (["/home/ada/site"], ["/home/ada/site", "/srv"]);
    let rows = [
        (written(false, &two, &site), "2 files written to site."),
        (written(false, &mixed, &site), "2 files and 1 folder written to site."),
        (written(true, &mixed[1..2], &site), "1 folder in site is as it was."),
        (written(false, &one, &both), "1 file written to site and 1 other folder."),
        (written(false, &[], &["/home/ada"]), "Nothing had to be written to /home/ada."),
        (written(true, &two, &["/srv/x"]), "2 files in /srv/x are as they were."),
        (written(true, &one, &site), "1 file in site is as it was."),
        (written(true, &[], &site), "Nothing had to be put back in site: it was as before already."),
        (written(false, &mine, &site), "1 file written to site. Merged with your edits: mine."),
        (written(true, &mine, &site), "1 file in site is as it was. Your later edits stay: mine."),
        (
            written(false, &[("G", Fate::New)], &site),
            "1 file written to site. Written where you had deleted something: G. Undo takes it away again.",
        ),
        (
            written(true, &[("G", Fate::New)], &site),
            "1 file in site is as it was. Back where you had deleted something: G.",
        ),
        (
            written(false, &[("L", Fate::Changed), ("W", Fate::Deleted)], &site),
            "2 files written to site. Your lines in L are kept aside: Undo brings them back. Your W is kept aside: Undo brings it back.",
        ),
    ];
    for (written, expected) in rows {
        assert_eq!(written.text(home), expected);
    }
    let task = Log::new(3, charter(&[]), "x").task;
    assert_eq!(opened_text(&task, home), "Task 3 in code/invoice, up to 200 steps and 60 minutes.");
}

#[test]
fn sizes_are_short() {
    for (bytes, shown) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_345_678_901, "12 GB"),
        (5_100_000_000_000, "5.1 TB"),
        (u64::MAX, "18447 PB"),
    ] {
        assert_eq!(size(bytes), shown, "{bytes}");
    }
}

#[test]
fn a_folder_that_is_large_is_copied_after_a_yes() {
    let bytes = 12_300_000_000;
    let task = Log::started(4, &[], "film").then([Event::Paused { why: Why::Copy { bytes } }]).task;
    assert_eq!((mark(&task), state(&task).as_str()), (Mark::NeedsYou, "needs you: 12 GB to copy"));
    let told = why_text(&Why::Copy { bytes }, &task);
    assert_eq!(told.what, "To copy the folder takes 12 GB on the disk, once.");
    assert!(!task.copies_all);
    let mut resumed = task.clone();
    resumed.push(Event::Resumed { model: None }, 1).unwrap();
    assert!(resumed.copies_all);
    let mut other = Log::started(4, &[], "film").then([Event::Paused { why: Why::Person }]).task;
    other.push(Event::Resumed { model: None }, 1).unwrap();
    assert!(!other.copies_all, "that was about something else");
}

#[test]
fn added_lines_that_look_like_secrets_are_to_be_looked_at() {
    let token = ["glpat", "-a1B2c3D4e5F6g7H8i9J0"].concat();
    let was = format!("one\nold = {token}\n");
    let now = format!("zero\none\nold = {token}\nnew = {token}\nalso = {token}\n");
    let node = |content: &str| Node::File {
        blob: Hash::of(content.as_bytes()),
        bytes: content.len() as u64,
        mode: 0o644,
    };
    let path = RelPath::new("settings.py").unwrap();
    let entry = Entry { folder: 0, path, was: Some(node(&was)), now: Some(node(&now)) };
    let change = FileChange::of(&entry, Some(was.as_bytes()), Some(now.as_bytes()));
    assert_eq!(change.secrets.iter().map(|secret| secret.line).collect::<Vec<_>>(), [4, 5]);
    let log = Log::started(3, &[], "add it").then([reply("Done.", &[])]);
    let log = log.presented(&[], Apart::default());
    let version = log.task.version().unwrap().clone();
    let look = Review::of(&log.task, &version, vec![change]).look();
    let why = "line 4 holds what looks like a secret (GitLab token), and 1 more";
    assert_eq!(look, [("settings.py".to_owned(), why.to_owned())]);
}

#[test]
fn what_a_task_cost_and_may_cost_is_told_in_dollars() {
    use crate::money::{Price, Usd};
    let mut priced = charter(&[]);
    let a_token = Usd(2_000_000);
    priced.model.as_mut().unwrap().price =
        Some(Price { input: a_token, cached: Usd(200_000), cache_write: a_token, output: Usd(10_000_000) });
    let log = |charter: Charter| {
        let used = |input, cached| {
            let mut event = reply("", &[("shell", "{broken")]);
            if let Event::Replied { reply } = &mut event {
                reply.usage = Usage { input, cached, output: 100, ..Usage::default() };
            }
            event
        };
        let mut task = Log::new(3, charter, "x").then([
            Event::Taken { epoch: 1 },
            Event::Equipped {
                system: "s".into(),
                tools: vec![],
                rung: "r".into(),
                weak: None,
                conventions: Conventions::default(),
                attached: None,
            },
        ]);
        task.task.push(Event::Asked { heard: 3, worst: Some(task.task.worst()) }, 0).unwrap();
        task.task.push(used(40_000, 30_000), 0).unwrap();
        task.task
    };
    let task = log(priced.clone());
    let cost = Cost::of(&task);
    // 10,000 read for 2 µ$, 30,000 from the cache for 0.2 µ$, 100 written for 10 µ$.
    assert_eq!(cost.usd, Usd::parse("0.027"));
    assert_eq!(cost.with_tokens(TaskRow::of(&task, 0).tokens), "$0.03, 40,100 tokens (30,000 cached)");
    let row = serde_json::to_value(TaskRow::of(&task, 0)).unwrap();
    assert_eq!((&row["cost_usd"], &row["cached_tokens"]), (&0.027.into(), &30_000.into()), "{row}");
    assert!(row.get("guessed_requests").is_none() && row.get("cost_is_partial").is_none(), "{row}");
    let opened = "Task 3 in /home/ada/code/invoice, up to $2.00, 200 steps and 60 minutes.";
    assert_eq!((opened_text(&task, None).as_str(), unpriced_text(&task)), (opened, None));

    let mut paused = task.clone();
    paused
        .push(Event::Budgeted { task_usd: Some(Usd(40_000_000_000)), day_usd: None, unlimited: false }, 0)
        .unwrap();
    paused.push(Event::Paused { why: Why::Money }, 0).unwrap();
    let told = why_text(&Why::Money, &paused);
    let what = "Of its budget of $0.04, $0.03 is spent on 1 step, and the next request may cost up to $0.25.";
    assert_eq!(told.what, what);
    assert!(told.next.starts_with("Add to it: quire resume 3 --budget +0.50."), "{}", told.next);
    assert_eq!((mark(&paused), state(&paused).as_str()), (Mark::Paused, "needs you: $0.04 used up"));
    // Of a budget for all together, whatever another one spent above it is lacking too.
    let shared = why_text(&Why::Shared { spent: Usd::parse("1.20").unwrap() }, &paused);
    assert!(shared.next.starts_with("Add to it: quire resume 3 --budget +1.50."), "{}", shared.next);
    let day = why_text(&Why::Day { spent: Usd::parse("9.99").unwrap() }, &paused);
    assert!(
        day.what.starts_with("All tasks together may cost $10.00 in 24 hours and have cost $9.99;"),
        "{day:?}"
    );

    let unpriced = log(charter(&[]));
    assert_eq!(Cost::of(&unpriced).with_tokens(40_100), "40,100 tokens (30,000 cached)");
    let bound = "The price of lab/tiny is not known: what bounds the task is 10,000,000 tokens and 200 steps, not money.";
    assert_eq!(unpriced_text(&unpriced).as_deref(), Some(bound));
}

fn question(text: &str, default: Option<&str>, must: bool) -> Question {
    Question { text: text.into(), default: default.map(Into::into), choices: vec![], must }
}

/// A task whose model called `ask`, and what came of it.
fn asked(questions: &[Question]) -> Log {
    let log = Log::started(7, &[], "a sign")
        .then([reply("", &[("ask", "{}")]), Event::Judged { verdicts: vec![Verdict::Run] }]);
    log.then([Event::QuestionsAsked { call: 0, questions: questions.to_vec() }])
}

#[test]
fn a_question_with_a_default_is_asked_while_the_task_works_and_assumed_after_it() {
    let log = asked(&[question("Which colour?", Some("blue"), false)]);
    assert_eq!(
        (mark(&log.task), state(&log.task).as_str()),
        (Mark::NeedsYou, "needs you: asks, and works on")
    );
    let row = TaskRow::of(&log.task, log.task.last_ms);
    assert_eq!(row.agent_questions[0].lines(), ["Which colour?", "Until you answer it assumes: blue"]);
    let next = [Event::Snapped { snapshot: Hash::of(b"v") }, Event::Asked { heard: 0, worst: None }];
    let ready = log.then(next).then([reply("It is blue.", &[])]).presented(&[], Apart::default());
    assert_eq!(state(&ready.task), "ready");
    let review = Review::of(&ready.task, ready.task.version().unwrap(), vec![]);
    assert_eq!(review.assumed.iter().map(assumed_text).collect::<Vec<_>>(), ["blue (Which colour?)"]);
    // Said again in other letters, it is the same.
    let same = Event::QuestionAnswered { question: 1, answer: " Blue".into() };
    let settled = ready.then([same]);
    assert_eq!((state(&settled.task), settled.task.needed.times()), ("ready".to_owned(), 0));
    assert!(assumed(&settled.task).is_empty());
    let other = settled.then([Event::QuestionAnswered { question: 1, answer: "red".into() }]);
    assert_eq!((state(&other.task).as_str(), other.task.needed.revisions), ("working", 1));
}

#[test]
fn a_question_that_must_be_answered_waits_and_says_so() {
    let questions = [question("Whose?", None, true), question("Which?", Some("that"), true)];
    let waits = asked(&questions).then([Event::Paused { why: Why::Question }]);
    assert_eq!(
        (mark(&waits.task), state(&waits.task).as_str()),
        (Mark::NeedsYou, "needs you: asks, and waits")
    );
    let told = why_text(&Why::Question, &waits.task);
    assert_eq!(told.what, "Its agent asks 2 questions that it cannot go on without.");
    assert!(told.next.contains("quire answer 7") && told.next.contains("quire resume 7"), "{told:?}");
    let lines: Vec<_> = agent_questions(&waits.task).iter().flat_map(AgentQuestion::lines).collect();
    let expected =
        ["Whose?", "It waits for your answer.", "Which?", "It waits for your answer, and would take: that"];
    assert_eq!(lines, expected);
    let task = waits.then([Event::Resumed { model: None }]).task;
    assert!(agent_questions(&task).is_empty(), "who let it go on is not asked again");
    assert_eq!(assumed_text(&assumed(&task)[0]), "what it thought best (Whose?)");
}

#[test]
fn each_time_that_a_person_was_needed_is_counted_as_what_it_was() {
    let none = Needed::default();
    assert_eq!(needed_text(&none), None);
    let one = |events: Vec<Event>| Log::started(7, &[], "a sign").then(events).task.needed;
    let paused = |why| one(vec![Event::Paused { why }]);
    let rows = [
        (paused(Why::Person), none),
        (paused(Why::Steps), Needed { pauses: 1, ..none }),
        (paused(fault(FaultKind::Busy)), Needed { pauses: 1, ..none }),
        (one(vec![Event::AskFailed { fault: key_fault(), spent: false }]), Needed { pauses: 1, ..none }),
        (
            one(vec![
                Event::ReachAsked { reach: 0, host: "example.org".into(), port: 443 },
                Event::Paused { why: Why::Reach },
            ]),
            Needed { reaches: 1, ..none },
        ),
        (
            asked(&[question("Whose?", None, true), question("Which?", Some("that"), false)])
                .then([Event::Paused { why: Why::Question }])
                .task
                .needed,
            Needed { questions: 1, ..none },
        ),
        (one(vec![Event::Said { words: "and quickly".into() }]), none),
        (
            Log::started(7, &[], "a sign")
                .then([reply("done", &[])])
                .presented(&[], Apart::default())
                .then([Event::Said { words: "larger".into() }])
                .task
                .needed,
            Needed { revisions: 1, ..none },
        ),
    ];
    for (n, (needed, expected)) in rows.iter().enumerate() {
        assert_eq!(needed, expected, "row {n}");
    }
    let all = Needed { questions: 2, reaches: 1, pauses: 1, revisions: 3 };
    assert_eq!(needed_text(&all).unwrap(), "7 times: 2 answers, 1 host, 1 stop, 3 changes");
}

fn key_fault() -> Fault {
    Fault { kind: FaultKind::Key, message: "the key is refused".into(), status: Some(401) }
}

fn planned(plan: &str) -> Log {
    let base = Base { id: 1, delta: 0, files: 3, bytes: 90, git: None };
    let charter = Charter { purpose: Purpose::Plan, ..charter(&[]) };
    Log::new(7, charter, "a sign").then([
        Event::Taken { epoch: 1 },
        Event::Equipped {
            system: "s".into(),
            tools: vec![],
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Frozen { bases: vec![base] },
        Event::Asked { heard: 0, worst: None },
        reply(plan, &[]),
        Event::Planned {},
    ])
}

#[test]
fn a_plan_waits_for_a_word_of_its_persons() {
    let log = planned("1. Paint.");
    assert_eq!(
        (mark(&log.task), state(&log.task).as_str()),
        (Mark::NeedsYou, "needs you: a plan to look at")
    );
    assert_eq!(log.task.plan_to_review(), Some("1. Paint."));
    let mut task = log.task.clone();
    for refused in [
        Event::Resumed { model: None },
        Event::PlanAgreed { plan: " ".into() },
        Event::Planned {},
        Event::Answered {},
    ] {
        assert!(task.push(refused.clone(), 0).is_err(), "{refused:?}");
    }
    let again =
        planned("1. Paint.").then([Event::Said { words: "red".into() }, Event::Resumed { model: None }]);
    assert_eq!((again.task.needed.revisions, again.task.keeps_nothing()), (1, true));
    let agreed =
        log.then([Event::PlanAgreed { plan: "1. Paint it.".into() }, Event::Resumed { model: None }]);
    assert_eq!(agreed.task.agreed_plan(), Some("1. Paint it."));
    assert_eq!((agreed.task.needed, agreed.task.keeps_nothing()), (Needed::default(), false));
}
