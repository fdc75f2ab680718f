//! Whole lives of tasks, with death at every point. A small driver runs a random model against a log; it is killed before
//! and after every commit and every effect. Whatever happens: the life ends, no tool call runs twice, no word of the
//! person's is lost, each request extends the one before (or what it was cut short to), no more is spent than the person
//! allowed, and no version is presented over a question that nobody answered
//! or passed over.

use quire_core::charter::{
    CheckSpec, Edits, Hook, HookEvent, Limits, Model, Purpose, Reviewer, Sandbox, Wire,
};
use quire_core::event::{Apart, Base, Conventions, HookRun, Part, Point, Proof, Why};

use quire_core::message::{Fault, FaultKind, PromptItem, Stop};
use quire_core::task::ASK;
use quire_core::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A counter of points at which the world may end.
struct Fate {
    /// Points to survive before each next death.
    deaths: Vec<usize>,
    point: usize,
}

struct Dead;

impl Fate {
    fn point(&mut self) -> Result<(), Dead> {
        if self.deaths.first() == Some(&self.point) {
            self.deaths.remove(0);
            self.point = 0;
            return Err(Dead);
        }
        self.point += 1;
        Ok(())
    }
}

/// splitmix64: a random world from a seed, with no clock in it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What is left when every process is dead.
struct World {
    log: Vec<Logged>,
    /// The fold of `log`, as the store has it.
    store: Task,
    /// Calls that ran, by (seq of their reply, place).
    ran: HashMap<(u64, u32), u32>,
    said: Vec<String>,
    /// What the model is to be told of the person's own edits.
    edits: Vec<String>,
    last_prompt: Vec<Arc<PromptItem>>,
    seed: u64,
    points: usize,
}

fn model() -> Model {
    Model {
        provider: "p".into(),
        name: "m".into(),
        wire: Wire::Chat,
        base_url: String::new(),
        key_env: None,
        edits: Edits::EditAndWrite,
        images: false,
        context_tokens: None,
        output_tokens: None,
        price: None,
    }
}

fn charter(checks: usize, fallbacks: usize) -> Charter {
    let model = model();
    Charter {
        folders: vec!["/f".into()],
        fallback_models: vec![
            Model { name: "stand-in".into(), wire: Wire::Messages, ..model.clone() };
            fallbacks
        ],
        model: Some(model),
        review_model: None,
        compact_model: None,
        checks: vec![CheckSpec { name: "t".into(), command: "true".into() }; checks],
        limits: Limits { steps: 30, ..Limits::default() },
        sandbox: Sandbox::default(),
        env: vec![],
        hooks: vec![],
        secrets: vec![],
        purpose: Purpose::Change,
        new_folder: false,
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut charter = charter((seed % 3) as usize, 2 * usize::from(seed % 6 == 5));
        if seed % 4 == 1 {
            charter.limits.reviewer = Reviewer::Always;
        }
        let model = charter.model.as_mut().unwrap();
        if shrinks(seed) {
            model.context_tokens = Some(3_000);
            model.output_tokens = Some(100);
        }
        if seed % 5 == 2 {
            use HookEvent::*;
            let hook =
                |event| Hook { event, tools: vec![], command: "h".into(), timeout_ms: 1, from: "f".into() };
            charter.hooks = [SessionStart, UserPromptSubmit, PreToolUse, PostToolUse, Stop].map(hook).into();
        }
        charter.purpose = match seed % 7 {
            3 => Purpose::Plan,
            5 => Purpose::Answer,
            _ => Purpose::Change,
        };
        if seed % 4 == 1 {
            let a_token = Usd(1_000_000);
            model.price =
                Some(Price { input: a_token, cached: a_token, cache_write: a_token, output: Usd(5_000_000) });
            charter.limits.task_usd = Some(Usd(500_000_000_000));
        }
        let opened = Event::Opened { charter: Box::new(charter), words: "word 0".into() };
        let first = Logged { seq: 1, at_ms: 0, event: opened };
        World {
            store: Task::open(1, &first).unwrap(),
            log: vec![first],
            ran: HashMap::new(),
            said: vec!["word 0".into()],
            edits: vec![],
            last_prompt: vec![],
            seed,
            points: 0,
        }
    }

    /// Returns the fold that a driver begins with. Now and then the whole log is folded, which must come to the same as what the
    /// store folded, also where it carries on from what was kept at some place: at each drive that takes minutes.
    fn fold(&self) -> Task {
        let mut dice = Dice(self.seed ^ (self.log.len() as u64) << 32);
        if dice.roll(16) > 0 {
            return self.store.clone();
        }
        let kept = dice.roll(self.log.len() as u64) as usize;
        let mut task = Task::open(1, &self.log[0]).unwrap();
        for (place, logged) in self.log.iter().enumerate() {
            if place > 0 {
                task.apply(logged).unwrap();
            }
            if place == kept {
                let mut bytes = vec![];
                task.keep(&mut bytes);
                task = Task::of_kept(&Arc::new(bytes), 0).expect("a fold can be kept");
            }
        }
        assert_eq!(format!("{task:?}"), format!("{:?}", self.store), "seed {} kept at {kept}", self.seed);
        task
    }

    /// As the store does it: the whole batch, or nothing.
    fn commit(&mut self, fate: &mut Fate, batch: &mut Vec<Event>) -> Result<(), Dead> {
        fate.point()?;
        for event in batch.drain(..) {
            let logged = Logged { seq: self.log.len() as u64 + 1, at_ms: 0, event };
            self.store.apply(&logged).expect("the store folds before it writes");
            if matches!(logged.event, Event::Compacted { .. }) {
                self.last_prompt.clear();
            }
            self.log.push(logged);
            let held = self.store.spending().spent().plus(self.store.spending().held());
            if let Some(most) = self.store.charter.limits.task_usd {
                assert!(held <= most, "seed {}: {held} of {most}", self.seed);
            }
        }
        fate.point()
    }

    /// One driver's life, until the task waits for a person or the driver dies.
    fn drive(&mut self, fate: &mut Fate) -> Result<(), Dead> {
        let mut task = self.fold();
        let mut batch = vec![Event::Taken { epoch: task.epoch + 1 }];
        task.push(batch[0].clone(), 0).unwrap();
        loop {
            let (begun, todo) = settle(&mut task, 0).unwrap();
            batch.extend(begun);
            if todo != [Want::Snap] {
                self.commit(fate, &mut batch)?;
            }
            if todo.is_empty() {
                return Ok(());
            }
            for want in todo {
                fate.point()?;
                let event = self.effect(&task, &want);
                fate.point()?;
                if task.push(event.clone(), 0).is_err() {
                    // What overlapped with a request that failed no longer follows, and is dropped, as a driver does.
                    assert!(want == Want::Freeze && task.phase != Phase::Working, "{want:?}");
                    continue;
                }
                batch.push(event);
                if let Some(asked) = self.refusal(&task, &want) {
                    task.push(asked.clone(), 0).unwrap();
                    batch.push(asked);
                }
            }
        }
    }

    /// Some calls and checks meet a destination that nobody allowed.
    fn refusal(&self, task: &Task, want: &Want) -> Option<Event> {
        let mut dice = Dice(self.seed ^ task.seq << 24);
        let reaches = matches!(want, Want::Call(_) | Want::Check(_)) && dice.roll(10) == 0;
        let (host, port) = (format!("{}.example.org", dice.roll(5)), 443);
        let reach = task.may_ask_of(&host, port).filter(|_| reaches)?;
        Some(Event::ReachAsked { reach, host, port })
    }

    /// What a person says to a question: yes, no, go on without, or something else altogether.
    fn answer(&mut self, reach: u32) {
        let mut dice = Dice(self.seed ^ (self.log.len() as u64) << 8);
        let words = format!("word {}", self.said.len());
        match dice.roll(5) {
            0 => self.say(vec![Event::Resumed { model: None }]),
            1 => self.say(vec![Event::Said { words }, Event::Resumed { model: None }]),
            roll => {
                let (allow, once) = (roll != 3, roll == 4);
                self.say(vec![Event::ReachAnswered { reach, allow, once }]);
            }
        }
    }

    /// Answers the first question of the agent's that is open, or one again that was answered; the answer may be what was
    /// assumed anyway. Returns false where nothing was ever asked.
    fn answer_a_question(&mut self) -> bool {
        let task = &self.store;
        let open = task.assumed().find(|(_, asking)| asking.is_open()).map(|(number, _)| number);
        let again = task.phase == Phase::Ready;
        let Some(question) = open.or_else(|| task.asking(1).filter(|_| again).map(|_| 1)) else {
            return false;
        };
        let answer = match self.log.len() % 3 {
            0 if task.asking(question).is_some_and(|asking| asking.answer.is_none()) => "blue".to_owned(),
            _ => format!("answer {}", self.log.len()),
        };
        self.say(vec![Event::QuestionAnswered { question, answer }]);
        true
    }

    /// The person changes a file of the version. Returns false where there is none.
    fn edit(&mut self) -> bool {
        if self.store.charter.purpose == Purpose::Answer {
            return false;
        }
        let told = format!("edit {}.", self.log.len());
        self.edits.push(told.clone());
        let files = vec![Part { folder: 0, path: RelPath::new(b"a".as_slice()).unwrap() }];
        let (version, snapshot) = (self.store.versions.len() as u32, Hash::of(told.as_bytes()));
        self.say(vec![Event::Edited { version, snapshot, files, told }]);
        true
    }

    fn effect(&mut self, task: &Task, want: &Want) -> Event {
        // Seeded by place in the log, so that the model may answer otherwise when it is asked again.
        let mut dice = Dice(self.seed ^ (self.log.len() as u64) << 20 ^ task.seq);
        let snapshot = Hash::of(&[dice.roll(3) as u8]);
        match want {
            Want::Equip => Event::Equipped {
                system: "s".into(),
                tools: ["shell", "read", ASK]
                    .map(|name| ToolSpec {
                        name: name.into(),
                        description: String::new(),
                        input: serde_json::json!({}),
                        reads: name != "shell",
                    })
                    .into(),
                rung: "r".into(),
                weak: None,
                conventions: Conventions::default(),
                attached: None,
            },
            Want::Hook(point) => {
                let hook = task.hooks_at(*point)[0].0;
                let say = |says: bool, text: &str| says.then(|| text.to_owned());
                let run = HookRun {
                    hook,
                    block: say(dice.roll(4) == 0, "no"),
                    context: say(dice.roll(4) == 0, "c"),
                    input: say(matches!(point, Point::Before(_)) && dice.roll(3) == 0, "{}"),
                    halt: say(dice.roll(12) == 0, "look"),
                    ..HookRun::default()
                };
                Event::Hooked { point: *point, runs: vec![run] }
            }
            Want::Freeze => {
                Event::Frozen { bases: vec![Base { id: 1, delta: 0, files: 0, bytes: 0, git: None }] }
            }
            Want::Ask => {
                let prompt = task.prompt();
                assert!(prompt.items.len() >= self.last_prompt.len(), "a prompt lost items");
                assert_eq!(
                    prompt.items[..self.last_prompt.len()],
                    self.last_prompt[..],
                    "a prompt changed its start"
                );
                self.last_prompt = prompt.items;
                match dice.roll(12) {
                    0 => Event::AskFailed { fault: fault(FaultKind::Busy), spent: dice.roll(2) == 0 },
                    1 if shrinks(self.seed) => {
                        Event::AskFailed { fault: fault(FaultKind::TooLong), spent: false }
                    }
                    _ => {
                        let mut reply = reply(&mut dice);
                        let worst = task.worst();
                        reply.usage.input = dice.roll(worst.input + 1);
                        reply.usage.output = dice.roll(worst.output + 1);
                        reply.usage.estimated = dice.roll(9) == 0;
                        Event::Replied { reply }
                    }
                }
            }
            Want::Compact => match dice.roll(3) {
                0 => Event::CompactFailed { fault: fault(FaultKind::Busy), spent: true },
                1 => task.compacted(&Reply { text: String::new(), ..reply(&mut dice) }),
                _ => task.compacted(&Reply { text: "GOAL: all of it.".into(), ..reply(&mut dice) }),
            },
            Want::Call(call) => {
                let reply = self.log.iter().rev().find(|l| matches!(l.event, Event::Replied { .. })).unwrap();
                *self.ran.entry((reply.seq, *call)).or_default() += 1;
                let begun =
                    self.log.iter().any(|l| l.seq > reply.seq && l.event == Event::Called { call: *call });
                assert!(begun, "a call ran that the log does not know of");
                Event::Returned { call: *call, outcome: Outcome::said(format!("{}", dice.roll(4))) }
            }
            Want::Snap => Event::Snapped { snapshot },
            Want::Drop => task.dropped(),
            Want::Seal => {
                let found = CheckSpec { name: "found".into(), command: "make test".into() };
                let checks = vec![found; dice.roll(3) as usize];
                Event::Sealed { layer: task.layer, snapshot, apart: Apart::default(), checks, files: None }
            }
            Want::Check(check) => Event::Checked {
                check: *check,
                proof: Proof {
                    snapshot: task.sealed.as_ref().unwrap().snapshot,
                    passed: dice.roll(2) == 0,
                    exit: Some(1),
                    millis: 1,
                    output: "o".into(),
                    whole: None,
                    buts: vec![],
                    unable: None,
                    before: None,
                    old_code_fails: None,
                    shots: vec![],
                },
            },
            Want::TellReviewer => {
                Event::ReviewerTold { text: if dice.roll(4) == 0 { String::new() } else { "look".into() } }
            }
            Want::AskReviewer => match dice.roll(6) {
                0 => Event::ReviewFailed { why: "busy".into(), spent: dice.roll(2) == 0 },
                1 => Event::ReviewerReplied {
                    reply: Reply { calls: vec![], text: "No findings".into(), ..reply(&mut dice) },
                },
                2 | 3 => {
                    let text = "Finding: wrong | a:1 | It is not so.".into();
                    Event::ReviewerReplied { reply: Reply { calls: vec![], text, ..reply(&mut dice) } }
                }
                _ => Event::ReviewerReplied { reply: reply(&mut dice) },
            },
            Want::LookUp => {
                let calls = task.reviewer_looks().unwrap().calls.len();
                Event::ReviewerLooked { outcomes: vec![Outcome::said("x"); calls] }
            }
            Want::Judge(_)
            | Want::FallBack(_)
            | Want::Shorten
            | Want::Warn
            | Want::Question(_)
            | Want::PassReview(_)
            | Want::Present
            | Want::Pause(_) => {
                panic!("{want:?} is no effect")
            }
        }
    }

    fn say(&mut self, events: Vec<Event>) {
        for event in events {
            if let Event::Said { words } | Event::NotesSent { words, .. } | Event::Refit { words } = &event {
                self.said.push(words.clone());
            }
            let logged = Logged { seq: self.store.seq + 1, at_ms: 0, event };
            self.store.apply(&logged).unwrap();
            self.log.push(logged);
        }
    }

    /// A whole life with the deaths of `fate`; a person answers whatever waits.
    fn live(&mut self, deaths: Vec<usize>) {
        let mut fate = Fate { deaths, point: 0 };
        let mut talk = 0;
        for _ in 0..400 {
            let before = fate.point;
            match self.drive(&mut fate) {
                Err(Dead) => {
                    // A person may speak, or answer, while no driver is alive.
                    let lot = self.log.len() as u64 + self.seed;
                    let asked = self.store.pressing().next().map(|(reach, _)| reach);
                    if lot % 5 == 2 && self.store.phase == Phase::Working && self.answer_a_question() {
                        continue;
                    }
                    if lot.is_multiple_of(4) {
                        let words = format!("word {}", self.said.len());
                        self.say(vec![Event::Said { words }]);
                    } else if let (Some(reach), Phase::Working) = (asked, &self.store.phase) {
                        let allow = lot.is_multiple_of(3);
                        let once = allow && lot.is_multiple_of(2);
                        self.say(vec![Event::ReachAnswered { reach, allow, once }]);
                    }
                    continue;
                }
                Ok(()) => self.points += fate.point - before,
            }
            match &self.store.phase.clone() {
                Phase::Waiting(Why::Reach) => {
                    let (reach, _) = self.store.pressing().next().expect("it waits for an answer");
                    self.answer(reach);
                }
                Phase::Waiting(Why::Money) => {
                    let more = self.store.charter.limits.task_usd.unwrap().plus(Usd(500_000_000_000));
                    let more = Event::Budgeted { task_usd: Some(more), day_usd: None, unlimited: false };
                    self.say(vec![more, Event::Resumed { model: None }]);
                }
                Phase::Waiting(Why::Question) => {
                    let go_on = self.log.len().is_multiple_of(4) || !self.answer_a_question();
                    if go_on {
                        self.say(vec![Event::Resumed { model: None }]);
                    }
                }
                Phase::Waiting(Why::Plan) => {
                    let drafts = self.log.iter().filter(|l| l.event == Event::Planned {}).count();
                    if drafts < 3 && self.log.len().is_multiple_of(2) {
                        let words = format!("word {}", self.said.len());
                        self.say(vec![Event::Said { words }, Event::Resumed { model: None }]);
                    } else {
                        let plan = self.store.plan_to_review().expect("a plan").trim().to_owned();
                        let plan = if plan.is_empty() {
                            "plan: nothing".to_owned()
                        } else {
                            format!("plan: {plan}")
                        };
                        self.say(vec![Event::PlanAgreed { plan }, Event::Resumed { model: None }]);
                    }
                }
                Phase::Waiting(_) => {
                    if self.log.len().is_multiple_of(5) {
                        self.say(vec![Event::CompactWanted {}]);
                    }
                    self.say(vec![Event::Resumed { model: None }]);
                }
                Phase::Ready
                    if talk < 2
                        && self.edits.len() < 2
                        && self.log.len().is_multiple_of(4)
                        && self.edit() => {}
                Phase::Ready if talk < 2 => {
                    talk += 1;
                    let words = format!("word {}", self.said.len());
                    match self.log.len() % 3 {
                        1 if self.store.charter.purpose != Purpose::Answer => {
                            self.say(vec![Event::Refit { words }]);
                        }
                        0 | 1 => self.say(vec![Event::Said { words }]),
                        _ => {
                            self.say(vec![Event::Noted { about: None, words: "a note".into() }]);
                            let (notes, words) = self.store.notes_told(Some(&words)).expect("a note");
                            self.say(vec![Event::NotesSent { notes, words }]);
                        }
                    }
                }
                Phase::Ready if talk < 3 && self.answer_a_question() => talk += 1,
                Phase::Ready => return self.end(),
                phase => panic!("a driver rested in {phase:?}"),
            }
        }
        panic!("seed {}: no end in 400 lives", self.seed);
    }

    fn end(&self) {
        for (call, times) in &self.ran {
            assert_eq!(*times, 1, "call {call:?} ran {times} times");
        }
        let words = self.last_prompt.iter().filter_map(|item| match &**item {
            PromptItem::Words(words) => Some(words.as_str()),
            _ => None,
        });
        if self.store.compactions() > 0 {
            let all = words.collect::<Vec<_>>().join("\n") + "\n";
            let mut rest = all.as_str();
            for said in &self.said {
                let at = rest.find(&format!("{said}\n"));
                rest = &rest[at.unwrap_or_else(|| panic!("seed {}: {said} is lost in {all}", self.seed))..];
            }
            let allowed = self.store.reaches.iter().filter(|reach| reach.allow == Some(true));
            for reach in allowed {
                let told = [format!("allows {}", reach.host), format!("now allows {}", reach.host)];
                assert!(told.iter().any(|told| all.contains(told)), "seed {}: {all}", self.seed);
            }
        } else {
            let heard: Vec<&str> = words.filter(|words| words.starts_with("word ")).collect();
            assert_eq!(heard, self.said, "the model heard every word of the person's once, in order");
        }
        self.every_question_was_heard();
        self.every_answer_was_heard();
        self.nothing_was_kept_before_the_plan();
        self.nobody_was_asked_of_an_edit();
        for pair in self.last_prompt.windows(2) {
            if let PromptItem::Model(reply) = &*pair[0]
                && !reply.calls.is_empty()
            {
                let PromptItem::Results(results) = &*pair[1] else { panic!("calls without outcomes") };
                assert_eq!(results.len(), reply.calls.len());
            }
        }
    }
}

impl World {
    /// A version comes after an answer to each question before it, or after the person went on without one; and the model was
    /// told of all that it may do now.
    fn every_question_was_heard(&self) {
        let mut open = HashSet::new();
        let (mut allowed, mut failed, mut waits, mut ends) = (0, false, false, false);
        for logged in &self.log {
            match &logged.event {
                Event::ReachAsked { reach, .. } => drop(open.insert(*reach)),
                Event::ReachAnswered { reach, allow, .. } => {
                    open.remove(reach);
                    allowed += usize::from(*allow);
                }
                Event::Replied { reply } => ends = reply.calls.is_empty(),
                // It rests for an answer; its turn goes on.
                Event::Sealed { .. } if !ends => {}
                Event::Sealed { .. } | Event::Planned {} | Event::Answered {} => {
                    assert!(open.is_empty(), "seed {}: sealed over a question", self.seed);
                    failed = false;
                }
                Event::Checked { check: 0, proof } => failed = !proof.passed,
                Event::Checked { proof, .. } => failed |= !proof.passed,
                Event::Presented { .. } => {
                    assert!(open.is_empty() || !failed, "seed {}: presented over a question", self.seed);
                    open.clear();
                }
                Event::Paused { why } => waits = *why == Why::Reach,
                Event::Resumed { .. } if waits => {
                    open.clear();
                    waits = false;
                }
                _ => {}
            }
        }
        if self.store.compactions() > 0 {
            return;
        }
        let told = self.last_prompt.iter().filter(
            |item| matches!(&***item, PromptItem::Words(words) if words.starts_with("[quire] The person now allows")),
        );
        assert_eq!(told.count(), allowed, "seed {}: the model heard of each yes once", self.seed);
    }
}

impl World {
    /// No request left while an answer was waited for, and each answer that the agent did not assume was told before the end.
    fn every_answer_was_heard(&self) {
        let (mut awaited, mut asked) = (HashSet::new(), 0);
        let mut answers: HashMap<u32, &str> = HashMap::new();
        for logged in &self.log {
            match &logged.event {
                Event::QuestionsAsked { questions, .. } => {
                    for question in questions {
                        asked += 1;
                        awaited.extend(question.must.then_some(asked));
                    }
                }
                Event::QuestionAnswered { question, answer } => {
                    awaited.remove(question);
                    answers.insert(*question, answer);
                }
                Event::Resumed { .. } => awaited.clear(),
                Event::Asked { .. } | Event::Presented { .. } | Event::Planned {} | Event::Answered {} => {
                    assert!(awaited.is_empty(), "seed {}: went on over a question", self.seed);
                }
                _ => {}
            }
        }
        let all: Vec<&str> = self
            .last_prompt
            .iter()
            .filter_map(|item| match &**item {
                PromptItem::Words(words) => Some(words.as_str()),
                _ => None,
            })
            .collect();
        let all = all.join("\n");
        for answer in answers.values().filter(|answer| **answer != "blue") {
            assert!(all.contains(*answer), "seed {}: {answer} is lost in {all}", self.seed);
        }
    }

    /// An edit of the person's becomes a version without any model, and without hooks; each is told when the model is asked next.
    fn nobody_was_asked_of_an_edit(&self) {
        let mut by_hand = false;
        for logged in &self.log {
            match &logged.event {
                Event::Edited { .. } => by_hand = true,
                Event::Said { .. } | Event::QuestionAnswered { .. } | Event::Presented { .. } => {
                    by_hand = false
                }
                Event::Asked { .. } | Event::ReviewerAsked { .. } | Event::Hooking { .. } => {
                    assert!(!by_hand, "seed {}: asked of an edit", self.seed);
                }
                _ => {}
            }
        }
        let edited = self.log.iter().filter(|logged| matches!(logged.event, Event::Edited { .. }));
        assert_eq!(edited.count(), self.edits.len());
        if self.store.compactions() == 0 {
            let told = |edit: &String| {
                let is_it =
                    |item: &&Arc<PromptItem>| matches!(&***item, PromptItem::Words(w) if w.contains(edit));
                self.last_prompt.iter().filter(is_it).count()
            };
            assert!(self.edits.iter().all(|edit| told(edit) == 1), "seed {}: an edit is lost", self.seed);
        }
    }

    /// A task that began with a plan has a version only after its person agreed to one, and the model was told of it word for
    /// word; one that answers has none.
    fn nothing_was_kept_before_the_plan(&self) {
        let place = |is: fn(&Event) -> bool| self.log.iter().position(|logged| is(&logged.event));
        let presented = place(|event| matches!(event, Event::Presented { .. }));
        match self.store.charter.purpose {
            Purpose::Change => {}
            Purpose::Answer => assert!(presented.is_none() && self.store.answer().is_some()),
            Purpose::Plan => {
                let agreed = place(|event| matches!(event, Event::PlanAgreed { .. }));
                assert!(agreed.is_some() && agreed < presented, "seed {}", self.seed);
                let plan = self.store.agreed_plan().unwrap();
                let told =
                    |item: &Arc<PromptItem>| matches!(&**item, PromptItem::Words(w) if w.contains(plan));
                assert!(self.last_prompt.iter().any(told), "seed {}: the plan is lost", self.seed);
            }
        }
    }
}

/// Whether the lives of this seed meet the end of their context.
fn shrinks(seed: u64) -> bool {
    seed % 4 == 3
}

fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: "busy".into(), status: None }
}

fn reply(dice: &mut Dice) -> Reply {
    let calls: Vec<Call> = (0..dice.roll(3))
        .map(|n| {
            let tool = ["shell", "read", "teleport", ASK][dice.roll(4) as usize];
            let asks =
                r#"{"questions":[{"question":"Which?","default":"blue"},{"question":"Whose?","must":true}]}"#;
            let asks = if dice.roll(3) == 0 {
                asks.replace("true", "false").replace("}]", r#","default":"x"}]"#)
            } else {
                asks.into()
            };
            let input = match [r#"{"a":1}"#, "", "{broken"][dice.roll(3) as usize] {
                "" if tool == ASK => asks,
                input => input.to_owned(),
            };
            let tool = tool.to_owned();
            // The same id twice is a thing that models do.
            Call { id: format!("c{}", n / 2), tool, input }
        })
        .collect();
    let text = if dice.roll(4) == 0 { "" } else { "said" };
    let stop = match dice.roll(10) {
        0 => Stop::Length,
        1 if calls.is_empty() => Stop::Refused("no".into()),
        _ => Stop::Done,
    };
    Reply {
        wire: Wire::Chat,
        items: vec![Item::parse(format!("{{\"n\":{}}}", dice.roll(1000))).unwrap()],
        text: text.into(),
        calls,
        stop,
        usage: Usage::default(),
        by: String::new(),
    }
}

#[test]
fn a_death_at_every_point_of_many_lives() {
    let (mut lives, mut compactions) = (0, 0);
    for seed in 0..16 {
        let mut whole = World::new(seed);
        whole.live(vec![]);
        compactions += whole.store.compactions();
        assert!(whole.points > 10, "seed {seed}: a life of {} points tests nothing", whole.points);
        for point in 0..whole.points {
            World::new(seed).live(vec![point]);
            lives += 1;
        }
    }
    assert!(lives > 1000 && compactions > 5, "{lives} lives, {compactions} compactions");
}

#[test]
fn random_deaths_from_seeds() {
    for seed in 1000..1600 {
        let mut dice = Dice(seed);
        let deaths = (0..1 + dice.roll(8)).map(|_| dice.roll(40) as usize).collect();
        World::new(seed).live(deaths);
    }
}

#[test]
fn a_death_between_two_points_is_as_many_as_there_are() {
    let mut fate = Fate { deaths: vec![2, 0], point: 0 };
    let ends: Vec<bool> = (0..5).map(|_| fate.point().is_err()).collect();
    assert_eq!(ends, [false, false, true, true, false]);
    let seen: HashSet<u64> = (0..100).map(|n| Dice(n).roll(1000)).collect();
    assert!(seen.len() > 80, "the dice are loaded");
}
