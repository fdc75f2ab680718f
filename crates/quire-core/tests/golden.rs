//! Every kind of event has a golden file, which is never edited once released: what was written once is read for ever.
//! `QUIRE_BLESS=1 cargo test -p quire-core --test golden` writes the file of a new kind.

use quire_core::beside::{Beside, NoGit, Shown};
use quire_core::charter::{
    CheckSpec, Edits, Hook, HookEvent, Limits, Model, Net, Purpose, Reviewer, Sandbox, SecretRule, Wire,
};
use quire_core::event::{
    Apart, Base, Before, Connection, Conventions, HookRun, Listing, Part, Point, Proof, Question, Refused,
    Shot, Skill, Staged, Trouble, Verdict, Why,
};
use quire_core::message::{Attachment, Fault, FaultKind, Image, Stop};
use quire_core::money::{Price, Usd, Worst};
use quire_core::note::{About, Anchor, Place};
use quire_core::*;

fn samples() -> Vec<Event> {
    let hash = Hash::of(b"golden");
    let path = RelPath::new(b"caf\xe9/a b.txt".as_slice()).unwrap();
    let installed = Apart { installed: vec!["sudo apt install jq".into()], ..Apart::default() };
    let anchor = Anchor { hunk: Some("4d5c9535".into()), ..Anchor::of(b"a\nb\nc\n", 2, 1).unwrap() };
    let noted = About { folder: 0, path: path.clone(), place: Some(Place::Lines(anchor)) };
    let fault =
        Fault { kind: FaultKind::Busy, message: "https://example.org answers 503".into(), status: Some(503) };
    let outcome = Outcome {
        text: "exit 0".into(),
        ok: true,
        exit: Some(0),
        millis: 12,
        whole: Some(hash),
        images: vec![Image { media_type: "image/png".into(), blob: hash }],
    };
    let charter = Charter {
        folders: vec!["/home/ada/site".into()],
        model: Some(Model {
            provider: "lab".into(),
            name: "tiny".into(),
            wire: Wire::Responses,
            base_url: "http://127.0.0.1:8080/v1".into(),
            key_env: Some("LAB_KEY".into()),
            edits: Edits::ApplyPatch,
            images: true,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }),
        fallback_models: vec![],
        review_model: None,
        compact_model: None,
        checks: vec![CheckSpec { name: "test".into(), command: "make test".into() }],
        limits: Limits {
            steps: 200,
            time_ms: 3_600_000,
            check_rounds: 2,
            reviewer: Reviewer::Never,
            found_checks: false,
            tokens: None,
            task_usd: None,
            day_usd: None,
        },
        sandbox: Sandbox {
            hide: vec!["**/*.pem".into()],
            show: vec!["/home/ada/data".into()],
            ..Sandbox::default()
        },
        env: vec![("LANG".into(), "C.UTF-8".into())],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    };
    let secret = SecretRule { name: "GITHUB_TOKEN".into(), hosts: vec!["api.github.com".into()] };
    let connected = Charter {
        sandbox: Sandbox {
            net: Net::Only { registries: true, hosts: vec!["*.example.org:8443".into()] },
            named: vec!["pypi.example.net".into()],
            ..charter.sandbox.clone()
        },
        secrets: vec![secret],
        ..charter.clone()
    };
    let small = Model { name: "small".into(), ..charter.model.clone().unwrap() };
    let roles = Charter {
        fallback_models: vec![small.clone()],
        review_model: Some(small.clone()),
        compact_model: Some(small),
        ..charter.clone()
    };
    let priced = Charter {
        model: charter.model.clone().map(|model| Model {
            context_tokens: Some(131_072),
            output_tokens: Some(8_192),
            price: Some(Price {
                input: Usd(200_000),
                cached: Usd(20_000),
                cache_write: Usd(250_000),
                output: Usd(800_000),
            }),
            ..model
        }),
        limits: Limits {
            tokens: Some(1_000_000),
            task_usd: Some(Usd(2_000_000_000_000)),
            day_usd: Some(Usd(10_000_000_000_000)),
            ..charter.limits
        },
        ..charter.clone()
    };
    let found = Charter { limits: Limits { found_checks: true, ..charter.limits }, ..charter.clone() };
    let reviewed =
        Charter { limits: Limits { reviewer: Reviewer::Long, ..charter.limits }, ..charter.clone() };
    let asks = Charter { purpose: Purpose::Answer, ..charter.clone() };
    let hooked = Charter {
        hooks: vec![Hook {
            event: HookEvent::PreToolUse,
            tools: vec!["shell".into()],
            command: "./guard".into(),
            timeout_ms: 60_000,
            from: ".claude/settings.json".into(),
        }],
        ..charter.clone()
    };
    let connection = |host: &str, refused| Connection {
        host: host.into(),
        port: 443,
        count: 3,
        up: 4_000,
        down: 1_200_000,
        refused,
    };
    let reply = Reply {
        wire: Wire::Responses,
        items: vec![Item::parse(r#"{"type":"message",  "odd":1.0,"content":[]}"#.into()).unwrap()],
        text: "I will look.".into(),
        calls: vec![Call { id: "c1".into(), tool: "shell".into(), input: r#"{"command":"ls"}"#.into() }],
        stop: Stop::Done,
        usage: Usage { input: 100, cached: 80, cache_write: 5, output: 7, estimated: false },
        by: String::new(),
    };
    let by_name = Reply { by: "lab/tiny".into(), ..reply.clone() };
    let worst = Worst { input: 9_000, output: 16_384, cost: Some(Usd(14_907_200_000)) };
    let proof = Proof {
        snapshot: hash,
        passed: true,
        exit: Some(0),
        millis: 900,
        output: "ok".into(),
        whole: None,
        buts: vec!["the agent changed Makefile".into()],
        unable: None,
        before: None,
        old_code_fails: None,
        shots: vec![],
    };
    let failed = Proof {
        passed: false,
        exit: Some(1),
        buts: vec![],
        before: Some(Before { passed: false, same: true, failed: Some(3) }),
        ..proof.clone()
    };
    let unable = Proof { unable: Some("it ran no test".into()), ..failed.clone() };
    let unable = Proof { before: None, old_code_fails: None, ..unable };
    let new_tests = Proof { buts: vec![], old_code_fails: Some(true), ..proof.clone() };
    let shot =
        |width, wider| Shot { width, wider, image: Image { media_type: "image/png".into(), blob: hash } };
    let pictured = Proof { buts: vec![], shots: vec![shot(390, 12), shot(1280, 0)], ..proof.clone() };
    let found_check = CheckSpec { name: "cargo".into(), command: "cargo test".into() };
    let listing = Listing { paths: vec!["/etc/hosts".into()], total: 1 };
    vec![
        Event::Opened { charter: Box::new(charter), words: "make me a homepage".into() },
        Event::Opened { charter: Box::new(connected), words: "fetch it".into() },
        Event::Opened { charter: Box::new(roles), words: "go on whoever answers".into() },
        Event::Opened { charter: Box::new(priced), words: "cheaply".into() },
        Event::Opened { charter: Box::new(found), words: "mend it".into() },
        Event::Opened { charter: Box::new(asks), words: "which is the longest?".into() },
        Event::Opened { charter: Box::new(hooked), words: "watched".into() },
        Event::Opened { charter: Box::new(reviewed), words: "looked at twice".into() },
        Event::ReviewerTold { text: "Review what was done.".into() },
        Event::ReviewerAsked { worst },
        Event::ReviewerReplied { reply: by_name.clone() },
        Event::ReviewerLooked { outcomes: vec![Outcome::said("1\tx")] },
        Event::ReviewFailed { why: "nobody answers there".into(), spent: true },
        Event::Attached {
            files: vec![
                Attachment {
                    name: "plan.png".into(),
                    bytes: 1_200,
                    media_type: Some("image/png".into()),
                    blob: hash,
                },
                Attachment { name: "notes.txt".into(), bytes: 12, media_type: None, blob: hash },
            ],
            told: None,
        },
        Event::Attached {
            files: vec![Attachment { name: "seen.txt".into(), bytes: 12, media_type: None, blob: hash }],
            told: Some("It lies in /run/quire/given.".into()),
        },
        Event::Hooking { point: Point::Before(2) },
        Event::Hooked {
            point: Point::Words(0),
            runs: vec![
                HookRun { hook: 0, exit: Some(0), millis: 12, ..HookRun::default() },
                HookRun {
                    hook: 1,
                    exit: None,
                    millis: 60_000,
                    block: Some("no".into()),
                    context: Some("be brief".into()),
                    input: Some("{}".into()),
                    halt: Some("look".into()),
                    note: Some("slow".into()),
                },
            ],
        },
        Event::Paused { why: Why::Hook("look".into()) },
        Event::Taken { epoch: 1 },
        Event::Equipped {
            system: "You work in a private copy.".into(),
            tools: vec![ToolSpec {
                name: "shell".into(),
                description: "Run a command.".into(),
                input: serde_json::json!({"type": "object"}),
                reads: false,
            }],
            rung: "whole machine".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        },
        Event::Equipped {
            system: "You work in a private copy.".into(),
            tools: vec![],
            rung: "whole machine".into(),
            weak: None,
            conventions: Conventions {
                instructions: vec!["/home/ada/site/AGENTS.md".into()],
                folder_bytes: 120,
                skills: vec![Skill {
                    name: "letters".into(),
                    description: "Writes letters.".into(),
                    path: ".agents/skills/letters/SKILL.md".into(),
                }],
                left_out: vec!["/home/ada/site/.agents/skills/x: it has no description".into()],
            },
            attached: None,
        },
        Event::Equipped {
            system: "You work in a private copy.".into(),
            tools: vec![],
            rung: "whole machine".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: Some(2),
        },
        Event::Instructed {
            paths: vec!["/home/ada/site/web/AGENTS.md".into()],
            text: "Instructions from web.".into(),
        },
        Event::Frozen { bases: vec![Base { id: 3, delta: 0, files: 14, bytes: 9000, git: None }] },
        Event::Frozen {
            bases: [
                Beside::Shown(Shown {
                    at: "/home/ada/site/.git".into(),
                    id: 4,
                    delta: 2,
                    dir: RelPath::new("worktrees/new"),
                    prefix: RelPath::new("web/app"),
                }),
                Beside::Shown(Shown {
                    at: "/home/ada/site/.git/modules/lib".into(),
                    id: 5,
                    delta: 0,
                    dir: None,
                    prefix: None,
                }),
                Beside::Not(NoGit::Foreign),
            ]
            .map(|git| Base { id: 3, delta: 0, files: 14, bytes: 9000, git: Some(git) })
            .into(),
        },
        Event::Asked { heard: 4, worst: None },
        Event::Asked { heard: 4, worst: Some(worst) },
        Event::AskedAgain { worst },
        Event::AskFailed { fault: fault.clone(), spent: false },
        Event::AskFailed { fault: fault.clone(), spent: true },
        Event::FellBack { fallback: 0 },
        Event::Compacting { worst: Worst { cost: None, ..worst } },
        Event::Compacted { text: "[quire] The ledger".into(), tail: 4, usage: Some(reply.usage) },
        Event::Suggesting { worst },
        Event::Suggested { shown: vec![2, 3], text: "B\nIt is smaller.".into(), usage: reply.usage },
        Event::SuggestFailed { fault: fault.clone(), spent: true },
        Event::CompactFailed { fault, spent: true },
        Event::CompactWanted {},
        Event::Rewound { step: 3 },
        Event::Forked { from: 2, step: 3 },
        Event::Attempt { first: 2, number: 2, of: 3, shared: false },
        Event::Attempt { first: 2, number: 2, of: 3, shared: true },
        Event::Looped { steps: 2, times: 4 },
        Event::Budgeted { task_usd: Some(Usd(2_500_000_000_000)), day_usd: None, unlimited: false },
        Event::Budgeted { task_usd: None, day_usd: None, unlimited: true },
        Event::Paused { why: Why::Day { spent: Usd(9_990_000_000_000) } },
        Event::Paused { why: Why::Shared { spent: Usd(1_990_000_000_000) } },
        Event::Replied { reply },
        Event::Replied { reply: by_name },
        Event::Judged { verdicts: vec![Verdict::Run, Verdict::Refuse("There is no such tool.".into())] },
        Event::Called { call: 0 },
        Event::Returned { call: 0, outcome },
        Event::Snapped { snapshot: hash },
        Event::Sealed {
            layer: 0,
            snapshot: hash,
            apart: Apart {
                repositories: vec![],
                outside: listing,
                ignored: Listing::default(),
                git: Listing::default(),
                special: Listing::default(),
                installed: vec![],
            },
            checks: vec![],
            files: None,
        },
        Event::Sealed {
            layer: 1,
            snapshot: hash,
            apart: Apart::default(),
            checks: vec![found_check],
            files: None,
        },
        Event::Sealed { layer: 1, snapshot: hash, apart: installed, checks: vec![], files: None },
        Event::Sealed { layer: 2, snapshot: hash, apart: Apart::default(), checks: vec![], files: Some(2) },
        Event::Checked { check: 0, proof: proof.clone() },
        Event::Checked { check: 1, proof: failed },
        Event::Checked { check: 1, proof: unable },
        Event::Checked { check: 1, proof: new_tests },
        Event::Checked { check: 2, proof: pictured },
        Event::Presented { version: 1, snapshot: hash },
        Event::Said { words: "smaller heading".into() },
        Event::Noted { about: Some(noted), words: "round once".into() },
        Event::NoteDropped { note: 1 },
        Event::Imported { task: 7 },
        Event::Refit { words: "I changed a.txt, too.".into() },
        Event::Edited {
            version: 1,
            snapshot: hash,
            files: vec![Part { folder: 0, path: path.clone() }],
            told: "The person changed it.".into(),
        },
        Event::NotesSent { notes: vec![1, 2], words: "Note 1 ...".into() },
        Event::Paused { why: Why::Loop },
        Event::Paused { why: Why::Trouble(Trouble::Disk, "No space is left.".into()) },
        Event::Restored { layer: 0 },
        Event::Moved { layer: 0, rung: "copy of the folder".into(), weak: Some("It is weaker.".into()) },
        Event::Shifted { paths: vec!["/home/ada/site/node_modules".into()] },
        Event::Resumed { model: None },
        Event::Accepting {
            accept: 0,
            snapshot: hash,
            only: vec![Part { folder: 0, path: path.clone() }],
            ignored: None,
            taken: None,
            merged: None,
            proofs: vec![],
            programs: false,
        },
        Event::Accepting {
            accept: 1,
            snapshot: hash,
            only: vec![],
            ignored: None,
            taken: Some(hash),
            merged: Some(hash),
            proofs: vec![proof],
            programs: true,
        },
        Event::Accepted { accept: 0 },
        Event::Committed {
            accept: Some(0),
            folder: 0,
            commit: Some("1f2e".into()),
            branch: Some("main".into()),
            brought: Some("3d4c".into()),
            name: None,
            within: None,
            with: vec![],
            staged: vec![],
        },
        Event::Committed {
            accept: Some(0),
            folder: 0,
            commit: None,
            branch: None,
            brought: Some("3d4c".into()),
            name: Some("topic".into()),
            within: Some(path.clone()),
            with: vec![],
            staged: vec![],
        },
        Event::Committed {
            accept: Some(0),
            folder: 0,
            commit: Some("1f2e".into()),
            branch: Some("main".into()),
            brought: None,
            name: None,
            within: None,
            with: vec![path.clone()],
            staged: vec![Staged {
                path: path.clone(),
                was: None,
                now: Some(("100644".into(), "5a6b".into())),
            }],
        },
        Event::AcceptFailed { accept: 0, why: "No space is left.".into() },
        Event::Undoing { accept: 0, only: vec![] },
        Event::Undoing { accept: 0, only: vec![Part { folder: 0, path: path.clone() }] },
        Event::Undone { accept: 0 },
        Event::UndoFailed { accept: 0, why: "a.txt was edited since".into() },
        Event::Discarded {},
        Event::Cleared {},
        Event::Reached {
            connections: vec![
                connection("pypi.org", None),
                connection("example.org", Some(Refused::NotListed)),
            ],
        },
        Event::ReachAsked { reach: 0, host: "example.org".into(), port: 443 },
        Event::ReachAnswered { reach: 0, allow: true, once: false },
        Event::ReachAnswered { reach: 0, allow: true, once: true },
        Event::QuestionsAsked {
            call: 0,
            questions: vec![
                Question {
                    text: "Which colour?".into(),
                    default: Some("blue".into()),
                    choices: vec!["blue".into(), "red".into()],
                    must: false,
                },
                Question { text: "Whose number?".into(), default: None, choices: vec![], must: true },
            ],
        },
        Event::QuestionAnswered { question: 1, answer: "red".into() },
        Event::Planned {},
        Event::PlanAgreed { plan: "1. Look.".into() },
        Event::Answered {},
    ]
}

/// The file of each kind. A new kind does not compile until it is named here, and fails until it has a file.
fn file(event: &Event) -> &'static str {
    match event {
        Event::Opened { charter, .. } if charter.sandbox.net != Net::Off => "opened_connected",
        Event::Opened { charter, .. } if !charter.fallback_models.is_empty() => "opened_roles",
        Event::Opened { charter, .. } if charter.limits.task_usd.is_some() => "opened_priced",
        Event::Opened { charter, .. } if charter.purpose != Purpose::Change => "opened_purpose",
        Event::Opened { charter, .. } if charter.limits.reviewer != Reviewer::Never => "opened_reviewer",
        Event::Opened { charter, .. } if charter.limits.found_checks => "opened_found_checks",
        Event::Opened { charter, .. } if !charter.hooks.is_empty() => "opened_hooks",
        Event::Hooking { .. } => "hooking",
        Event::Hooked { .. } => "hooked",
        Event::Paused { why: Why::Hook(_) } => "paused_hook",
        Event::Opened { .. } => "opened",
        Event::Taken { .. } => "taken",
        Event::Equipped { conventions, .. } if !conventions.is_empty() => "equipped_conventions",
        Event::Attached { told: None, .. } => "attached",
        Event::Attached { .. } => "attached_later",
        Event::Equipped { attached: Some(_), .. } => "equipped_attached",
        Event::Equipped { .. } => "equipped",
        Event::Instructed { .. } => "instructed",
        Event::Frozen { bases } if bases[0].git.is_some() => "frozen_beside",
        Event::Frozen { .. } => "frozen",
        Event::Asked { worst: Some(_), .. } => "asked_reserved",
        Event::Asked { .. } => "asked",
        Event::AskedAgain { .. } => "asked_again",
        Event::AskFailed { spent: true, .. } => "ask_failed_spent",
        Event::AskFailed { .. } => "ask_failed",
        Event::FellBack { .. } => "fell_back",
        Event::Replied { reply } if !reply.by.is_empty() => "replied_by",
        Event::Compacting { .. } => "compacting",
        Event::Compacted { .. } => "compacted",
        Event::CompactFailed { .. } => "compact_failed",
        Event::CompactWanted {} => "compact_wanted",
        Event::Rewound { .. } => "rewound",
        Event::Forked { .. } => "forked",
        Event::Attempt { shared: true, .. } => "attempt_shared",
        Event::Attempt { .. } => "attempt",
        Event::Suggesting { .. } => "suggesting",
        Event::Suggested { .. } => "suggested",
        Event::SuggestFailed { .. } => "suggest_failed",
        Event::Looped { .. } => "looped",
        Event::Budgeted { unlimited: true, .. } => "budgeted_none",
        Event::Budgeted { .. } => "budgeted",
        Event::Paused { why: Why::Day { .. } } => "paused_day",
        Event::Paused { why: Why::Shared { .. } } => "paused_shared",
        Event::Paused { why: Why::Loop } => "paused_loop",
        Event::Replied { .. } => "replied",
        Event::Judged { .. } => "judged",
        Event::Called { .. } => "called",
        Event::Returned { .. } => "returned",
        Event::Snapped { .. } => "snapped",
        Event::Sealed { checks, .. } if !checks.is_empty() => "sealed_found",
        Event::Sealed { apart, .. } if !apart.installed.is_empty() => "sealed_installed",
        Event::Sealed { files: Some(_), .. } => "sealed_counted",
        Event::Sealed { .. } => "sealed",
        Event::Checked { proof, .. } if proof.before.is_some() => "checked_before",
        Event::Checked { proof, .. } if proof.unable.is_some() => "checked_unable",
        Event::Checked { proof, .. } if proof.old_code_fails.is_some() => "checked_new_tests",
        Event::Checked { proof, .. } if !proof.shots.is_empty() => "checked_pictured",
        Event::Checked { .. } => "checked",
        Event::Presented { .. } => "presented",
        Event::Said { .. } => "said",
        Event::ReviewerTold { .. } => "reviewer_told",
        Event::ReviewerAsked { .. } => "reviewer_asked",
        Event::ReviewerReplied { .. } => "reviewer_replied",
        Event::ReviewerLooked { .. } => "reviewer_looked",
        Event::ReviewFailed { .. } => "review_failed",
        Event::Noted { .. } => "noted",
        Event::Imported { .. } => "imported",
        Event::Refit { .. } => "refit",
        Event::Edited { .. } => "edited",
        Event::NoteDropped { .. } => "note_dropped",
        Event::NotesSent { .. } => "notes_sent",
        Event::Paused { .. } => "paused",
        Event::Restored { .. } => "restored",
        Event::Shifted { .. } => "shifted",
        Event::Moved { .. } => "moved",
        Event::Resumed { .. } => "resumed",
        Event::Accepting { taken: Some(_), .. } => "accepting_part",
        Event::Accepting { .. } => "accepting",
        Event::Accepted { .. } => "accepted",
        Event::Committed { with, .. } if !with.is_empty() => "committed_with",
        Event::Committed { within: Some(_), .. } => "committed_within",
        Event::Committed { .. } => "committed",
        Event::AcceptFailed { .. } => "accept_failed",
        Event::Undoing { only, .. } if !only.is_empty() => "undoing_part",
        Event::Undoing { .. } => "undoing",
        Event::Undone { .. } => "undone",
        Event::UndoFailed { .. } => "undo_failed",
        Event::Discarded {} => "discarded",
        Event::Cleared {} => "cleared",
        Event::Reached { .. } => "reached",
        Event::ReachAsked { .. } => "reach_asked",
        Event::ReachAnswered { once: true, .. } => "reach_answered_once",
        Event::ReachAnswered { .. } => "reach_answered",
        Event::QuestionsAsked { .. } => "questions_asked",
        Event::QuestionAnswered { .. } => "question_answered",
        Event::Planned {} => "planned",
        Event::PlanAgreed { .. } => "plan_agreed",
        Event::Answered {} => "answered",
    }
}

#[test]
fn every_kind_reads_and_writes_as_its_golden_file() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let samples = samples();
    for event in &samples {
        let path = dir.join(file(event)).with_extension("json");
        let json = serde_json::to_string(event).unwrap();
        if std::env::var_os("QUIRE_BLESS").is_some() && !path.exists() {
            std::fs::write(&path, &json).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(golden, json, "{}", path.display());
        assert_eq!(&serde_json::from_str::<Event>(&golden).unwrap(), event, "{}", path.display());
    }
    let files = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(files, samples.len(), "a golden file without a sample, or a sample without a file");
}

#[test]
fn an_event_of_a_later_quire_is_an_error_and_not_skipped() {
    for json in [r#"{"teleported":{}}"#, r#"{"resumed":{"to":"mars"}}"#, r#"{"taken":{"epoch":1,"by":2}}"#] {
        assert!(serde_json::from_str::<Event>(json).is_err(), "{json}");
    }
}
