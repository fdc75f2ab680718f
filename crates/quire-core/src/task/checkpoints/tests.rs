//! What going back restores, and what it may not lose.

use super::*;
use crate::charter::Wire;
use crate::event::{Apart, Conventions, Event, Logged};
use crate::message::{Call, Outcome, Reply, Stop, ToolSpec, Usage};
use crate::testing::charter;
use crate::want::{Want, settle};

/// Step, snapshot, line below the open layer, what the model is told, and what it is not.
type Row<'a> = (u32, u32, &'a [Span], &'a [&'a str], &'a [&'a str]);

/// A task whose folder is, after each step, what the step's number hashes to.
pub(in crate::task) struct Life {
    pub task: Task,
    log: Vec<Logged>,
}

pub(in crate::task) fn hash(step: u32) -> Hash {
    Hash::of(format!("folder after {step}").as_bytes())
}

impl Life {
    fn begun() -> Life {
        let opened = Event::Opened { charter: Box::new(charter()), words: "go".into() };
        let first = Logged { seq: 1, at_ms: 0, event: opened };
        let mut life = Life { task: Task::open(1, &first).unwrap(), log: vec![first] };
        let tools = vec![ToolSpec {
            name: "shell".into(),
            description: String::new(),
            input: serde_json::json!({}),
            reads: false,
        }];
        life.say(Event::Taken { epoch: 1 });
        life.say(Event::Equipped {
            system: "s".into(),
            tools,
            rung: "r".into(),
            weak: None,
            conventions: Conventions::default(),
            attached: None,
        });
        life.say(Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }] });
        life
    }

    pub fn say(&mut self, event: Event) {
        self.task.push(event.clone(), self.task.seq).unwrap();
        self.log.push(Logged { seq: self.task.seq, at_ms: self.task.seq - 1, event });
    }

    pub fn settle(&mut self) -> Vec<Want> {
        let (begun, todo) = settle(&mut self.task, 7).unwrap();
        let first = self.task.seq - begun.len() as u64;
        let logged = (first + 1..).zip(begun).map(|(seq, event)| Logged { seq, at_ms: 7, event });
        self.log.extend(logged);
        todo
    }

    fn reply(&mut self, calls: Vec<Call>) {
        assert_eq!(self.settle(), [Want::Ask]);
        let text = format!("reply {}", self.task.step + 1);
        let reply = Reply {
            wire: Wire::Chat,
            items: vec![],
            text,
            calls,
            stop: Stop::Done,
            usage: Usage::default(),
            by: String::new(),
        };
        self.say(Event::Replied { reply });
        self.settle();
    }

    pub fn step(&mut self) {
        self.reply(vec![Call { id: "c".into(), tool: "shell".into(), input: "{}".into() }]);
        self.say(Event::Returned { call: 0, outcome: Outcome::said("done") });
        self.say(Event::Snapped { snapshot: hash(self.task.step) });
    }

    pub fn version(&mut self) {
        self.reply(vec![]);
        let (layer, snapshot) = (self.task.layer, hash(self.task.step - 1));
        self.say(Event::Sealed { layer, snapshot, apart: Apart::default(), checks: vec![], files: None });
        self.settle();
        assert_eq!(self.task.phase, Phase::Ready);
    }

    /// Returns all that the model is told with the next request, in words.
    pub fn told(&self) -> String {
        let mut task = self.task.clone();
        if task.phase != Phase::Working {
            task.push(Event::Said { words: "and now".into() }, 9).unwrap();
        }
        if matches!(task.phase, Phase::Waiting(_)) {
            task.push(Event::Resumed { model: None }, 9).unwrap();
        }
        assert_eq!(settle(&mut task, 9).unwrap().1, [Want::Ask]);
        let item = |item: &Arc<PromptItem>| match &**item {
            PromptItem::Words(words) => words.clone(),
            PromptItem::Model(reply) => reply.text.clone(),
            PromptItem::Results(results) => format!("{} results", results.len()),
            PromptItem::Pictures(files) => format!("{} pictures", files.len()),
        };
        task.prompt().items.iter().map(item).collect::<Vec<_>>().join("\n")
    }
}

/// Three steps and a version, words, two steps and a version.
pub(in crate::task) fn lived() -> Life {
    let mut life = Life::begun();
    (0..3).for_each(|_| life.step());
    life.version();
    life.say(Event::Said { words: "make it blue".into() });
    (0..2).for_each(|_| life.step());
    life.version();
    life
}

#[test]
fn going_back_restores_files_and_conversation_and_loses_no_word() {
    let whole = |to| Span { task: 1, from: 0, to };
    let rows: &[Row] = &[
        (1, 1, &[], &["go", "reply 1", "after step 1", "make it blue", "gone too"], &["reply 2"]),
        (4, 3, &[whole(1)], &["reply 4", "back to version 1", "make it blue"], &["reply 5", "gone too"]),
        (5, 5, &[whole(1)], &["reply 4", "make it blue", "reply 5", "gone too"], &["reply 6"]),
    ];
    for (step, snapshot, line, told, untold) in rows {
        let mut life = lived();
        let (layer, versions) = (life.task.layer, life.task.versions.len());
        life.say(Event::Rewound { step: *step });
        let task = &life.task;
        assert_eq!(task.snapshot, Some(hash(*snapshot)), "after {step}");
        assert_eq!(&**task.line(), *line, "after {step}");
        assert!(task.layer > layer && task.begins_laid(), "a layer that was written in stays as it is");
        let said = life.told();
        for words in *told {
            assert!(said.contains(words), "after {step}, {words}: {said}");
        }
        for words in *untold {
            assert!(!said.contains(words), "after {step}, {words}: {said}");
        }
        let is_version = *step == 4;
        assert_eq!(task.phase == Phase::Ready, is_version);
        assert_eq!(task.versions.len(), versions + usize::from(is_version));
        assert_eq!(task.words.len(), 2);
        if is_version {
            let last = task.version().unwrap();
            assert_eq!((last.number, last.again, last.snapshot), (3, Some(1), hash(3)));
        }
    }
}

#[test]
fn going_back_can_be_taken_back() {
    let mut life = lived();
    let before = life.told();
    life.say(Event::Rewound { step: 2 });
    life.say(Event::Resumed { model: None });
    life.step();
    // A fold that was kept knows the way back as well.
    let mut bytes = vec![];
    life.task.keep(&mut bytes);
    life.task = Task::of_kept(&Arc::new(bytes), 0).unwrap();
    life.say(Event::Rewound { step: 7 });
    assert_eq!(life.task.snapshot, Some(hash(6)));
    assert!(life.told().starts_with(before.trim_end_matches("and now")), "{}", life.told());
    // And a step of the way that was left.
    life.say(Event::Rewound { step: 8 });
    let told = life.told();
    assert!(told.contains("reply 2") && told.contains("reply 8") && !told.contains("reply 3"), "{told}");
    // What a conversation was before it was cut short is kept too.
    life.say(Event::Resumed { model: None });
    life.step();
    let Event::Compacted { text, .. } = life.task.compacted_by_quire() else { panic!() };
    life.say(Event::Compacted { text, tail: 0, usage: None });
    assert!(!life.told().contains("reply 1\n1 results"));
    life.say(Event::Rewound { step: 1 });
    assert!(life.told().contains("reply 1\n1 results"), "{}", life.told());
}

#[test]
fn a_task_begins_in_another_with_its_conversation_and_none_of_its_bills() {
    let mut life = lived();
    life.say(Event::Rewound { step: 5 });
    let to = life.task.checkpoint(5).unwrap().clone();
    let mut fork = Task::open(9, &life.log[0]).unwrap();
    for logged in &life.log[1..to.seq as usize] {
        fork.apply(logged).unwrap();
    }
    let early = Event::Forked { from: 1, step: 4 };
    assert!(fork.clone().push(early, 0).is_err(), "only at the end of what it took over");
    fork.push(Event::Forked { from: 1, step: 5 }, 0).unwrap();
    assert_eq!(fork.snapshot, Some(hash(5)));
    assert_eq!(&**fork.line(), [Span { task: 1, from: 0, to: 1 }]);
    assert_eq!(fork.version().unwrap().line, *fork.line());
    assert_eq!(fork.borrows().into_iter().collect::<Vec<_>>(), [1]);
    assert_eq!((fork.origin(), fork.spending().tokens, fork.worked_ms), (Some((1, 5)), 0, 0));
    assert_eq!(fork.prompt().cache_key, life.task.prompt().cache_key, "providers still have the beginning");
    // What it stood beside where it was done has numbers of that place.
    let mut record = fork.clone();
    record.push(Event::Attempt { first: 1, number: 1, of: 2, shared: true }, 0).unwrap();
    record.push(Event::Imported { task: 4 }, 0).unwrap();
    assert_eq!((record.attempt, record.origin(), record.first()), (None, None, 9));
    let fork = Life { task: fork, log: vec![] };
    assert!(fork.told().contains("reply 5") && fork.told().contains("make it blue"), "{}", fork.told());
}

#[test]
fn a_suggestion_that_never_ended_is_lost_to_the_next_one() {
    let mut task = lived().task;
    task.push(Event::Rewound { step: 5 }, 0).unwrap();
    let guessed = task.spending().guessed;
    let worst = crate::money::Worst { input: 100, ..Default::default() };
    for _ in 0..2 {
        task.push(Event::Suggesting { worst }, 0).unwrap();
    }
    assert_eq!(task.spending().guessed, guessed + 1);
    let usage = Usage { input: 10, ..Usage::default() };
    task.push(Event::Suggested { shown: vec![1], text: "none".into(), usage }, 0).unwrap();
    assert!(!task.spending().is_open() && task.suggestion.is_some());
}
