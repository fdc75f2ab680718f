//! Following a task: what happens goes to stderr as it happens, redrawn in place on a terminal and in plain lines elsewhere;
//! what came of it goes to stdout at the end. Ctrl-C leaves the task at work; a second one pauses it.

use crate::cmd::converse::{converse, plan_text, question_text};
use crate::cmd::{Face, event_json, home, listening_text, nudge_host, print_json, review, to_host, wait};
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::layout::{columns, cut, one_line, pad, thousands, wrap};
use crate::terminal::{Look, clean, print, took};
use quire_core::claim;
use quire_core::event::{Event, Seq, Trouble, Why};
use quire_core::message::FaultKind;
use quire_core::task::Phase;
use quire_core::view::{self, Line, Progress, Review, WHILE_THIS_RAN};
use quire_core::{Logged, Task};
use quire_engine::keys::Keys;
use quire_engine::settings::Surroundings;
use quire_engine::{Glimpse, Heard, Link, Port, Quire};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a second Ctrl-C counts as one.
const AGAIN: Duration = Duration::from_millis(1500);
/// Columns up to the time.
const TEXT_COLUMNS: usize = 46;

/// What a follower shows of what happened before it came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// It just began.
    Shown,
    /// The lines of the turn at work.
    ThisTurn,
}

/// Shows what came of a task that rests.
pub type Finish<'a> = &'a dyn Fn(&Quire, u64, &Face) -> Result<Exit, Failure>;

/// Hands a task to the host, follows it until it rests, and shows what came of it.
pub fn follow(
    quire: &Quire,
    task: &Task,
    keys: &Keys,
    here: &Surroundings,
    past: Past,
    finish: Finish<'_>,
    face: &Face,
) -> Result<Exit, Failure> {
    let id = task.id;
    say_opened(task, face);
    let end_of_it = loop {
        let until = wait(async {
            let link = to_host(quire, &quire.task(id)?, keys, here).await?;
            until_rest(quire, link, id, past, face).await
        })??;
        if !matches!(until, Until::Rest) || !converse(quire, id, face)? {
            break until;
        }
    };
    match end_of_it {
        Until::Rest => finish(quire, id, face),
        Until::Left => Ok(Exit::Interrupted),
        Until::LeftAndPaused => {
            quire.pause(id)?;
            nudge_host(quire, id)?;
            say(&format!("Task {id} is paused. Go on: quire resume {id}"));
            Ok(Exit::Interrupted)
        }
    }
}

/// Hands a task to the host and follows it until it rests; what came of it is not shown. Returns false where its person left first.
pub fn attend(
    quire: &Quire,
    id: u64,
    keys: &Keys,
    here: &Surroundings,
    face: &Face,
) -> Result<bool, Failure> {
    let until = wait(async {
        let link = to_host(quire, &quire.task(id)?, keys, here).await?;
        until_rest(quire, link, id, Past::Shown, face).await
    })??;
    Ok(matches!(until, Until::Rest))
}

/// How following ended.
enum Until {
    Rest,
    /// By Ctrl-C.
    Left,
    /// By Ctrl-C, twice.
    LeftAndPaused,
}

async fn until_rest(quire: &Quire, link: Link, id: u64, past: Past, face: &Face) -> Result<Until, Failure> {
    let mut interrupts = Interrupts::begin()?;
    let mut live = Live::new(face, past);
    let mut last: Seq = 0;
    for logged in quire.events(id, 0)? {
        last = logged.seq;
        live.past(&logged, id)?;
    }
    live.draw_past();
    let mut followed = link.follow(quire.store().clone(), id, last).await;
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut works = quire.task(id)?.phase == Phase::Working;
    while works {
        tokio::select! {
            heard = followed.next() => match heard? {
                Heard::Event(logged) => {
                    last = logged.seq;
                    let task = quire.task(id)?;
                    live.cost = view::Cost::of(&task).text();
                    live.event(&logged, id)?;
                    works = task.phase == Phase::Working;
                }
                Heard::Glimpse(glimpse) => live.glimpse(&glimpse),
            },
            _ = tick.tick() => live.redraw(),
            () = interrupts.next() => {
                live.clear();
                let left = format!("Task {id} goes on. Follow it again: quire watch {id}. Ctrl-C now pauses it.");
                say(fitted(&left, face).trim_end());
                let again = tokio::time::timeout(AGAIN, interrupts.next()).await;
                return Ok(if again.is_ok() { Until::LeftAndPaused } else { Until::Left });
            }
        }
    }
    // What was written between the last news and the rest.
    for logged in quire.events(id, last)? {
        live.event(&logged, id)?;
    }
    live.clear();
    Ok(Until::Rest)
}

/// Shows what came of a task that rests.
pub fn end(quire: &Quire, id: u64, face: &Face) -> Result<Exit, Failure> {
    if face.json {
        let (object, exit) = end_json(quire, id)?;
        print_json(object)?;
        return Ok(exit);
    }
    let task = quire.task(id)?;
    match &task.phase {
        Phase::Waiting(Why::Plan) => {
            print(&planned(id, task.plan_to_review().unwrap_or_default(), &face.out))?;
            Ok(Exit::NeedsYou)
        }
        Phase::Waiting(why) => {
            let told = view::why_text(why, &task);
            if *why == Why::Question {
                for question in view::agent_questions(&task).iter().filter(|question| question.waits) {
                    say(question_text(question, face.err.width.clamp(40, 120)).trim_end());
                }
            }
            let what = match why {
                Why::Person => format!("Task {id} is paused."),
                Why::Rewound { step } => format!("Task {id} stands after step {step}."),
                _ => format!("Task {id} {}: {}", standing(why), told.what),
            };
            Err(Failure::new(exit_of(why), what, told.safe, told.next))
        }
        Phase::Ready if task.answer().is_some() => {
            let (answer, next) = claim::next(task.answer().unwrap_or_default());
            let answer = answer.trim();
            if face.out.terminal {
                print(&wrap(&clean(answer), face.out.width, ""))?;
            } else {
                print(&format!("{answer}\n"))?;
            }
            // The answer alone is the result.
            for command in review::next_commands(id, &next).filter(|_| !face.quiet) {
                say(&format!("Ask next: {command}"));
            }
            Ok(Exit::Done)
        }
        Phase::Ready | Phase::Accepted => {
            let review = quire.review(id)?;
            print(&ended(&review, &face.out))?;
            Ok(if review.fails() { Exit::Failed } else { Exit::Done })
        }
        Phase::Working | Phase::Discarded => {
            print(&format!("Task {id} is {}.\n", view::TaskRow::of(&task, now_ms()).state))?;
            Ok(Exit::Done)
        }
    }
}

/// Returns what came of a task that rests, as scripts read it.
pub fn end_json(quire: &Quire, id: u64) -> Result<(Value, Exit), Failure> {
    let task = quire.task(id)?;
    let row = view::TaskRow::of(&task, now_ms());
    let mut object = json!({"task": id, "mark": row.mark, "state": row.state, "tokens": row.tokens});
    if let (Value::Object(all), Value::Object(cost)) = (&mut object, json!(row.cost)) {
        all.extend(cost);
    }
    if !row.questions.is_empty() {
        object["questions"] = json!(row.questions);
    }
    if !row.agent_questions.is_empty() {
        object["agent_questions"] = json!(row.agent_questions);
    }
    object["needed_you"] = json!(row.needed_you);
    let exit = match &task.phase {
        Phase::Waiting(Why::Plan) => {
            object["plan"] = json!(task.plan_to_review().unwrap_or_default());
            Exit::NeedsYou
        }
        Phase::Waiting(why) => {
            object["why"] = json!(view::why_text(why, &task));
            exit_of(why)
        }
        Phase::Ready if task.answer().is_some() => {
            let (answer, next) = claim::next(task.answer().unwrap_or_default());
            object["answer"] = json!(answer.trim());
            if !next.is_empty() {
                object["next"] = json!(next);
            }
            Exit::Done
        }
        Phase::Ready | Phase::Accepted => {
            let review = quire.review(id)?;
            object["review"] = json!(review);
            if review.fails() { Exit::Failed } else { Exit::Done }
        }
        Phase::Working | Phase::Discarded => Exit::Done,
    };
    Ok((object, exit))
}

fn standing(why: &Why) -> &'static str {
    match why {
        Why::Steps | Why::Time | Why::Money | Why::Tokens | Why::Day { .. } | Why::Shared { .. } => {
            "is paused"
        }
        _ => "needs you",
    }
}

/// Returns the exit code for a task that waits.
fn exit_of(why: &Why) -> Exit {
    match why {
        Why::NoModel => Exit::NoModel,
        Why::Model(fault) if fault.kind == FaultKind::TooLong => Exit::Failed,
        Why::Model(_) => Exit::NoModel,
        Why::Person
        | Why::Reach
        | Why::Question
        | Why::Plan
        | Why::Rewound { .. }
        | Why::Steps
        | Why::Time
        | Why::Money
        | Why::Tokens
        | Why::Day { .. }
        | Why::Shared { .. }
        | Why::Loop
        | Why::Hook(_)
        | Why::Silence
        | Why::Refused(_)
        | Why::Copy { .. } => Exit::NeedsYou,
        Why::Trouble(Trouble::Sandbox, _) => Exit::NoSandbox,
        Why::Trouble(Trouble::Folder, _) => Exit::NeedsYou,
        Why::Trouble(Trouble::Disk | Trouble::Other, _) => Exit::Trouble,
    }
}

/// Returns the block that ends a task with its plan.
pub fn planned(id: u64, plan: &str, look: &Look) -> String {
    let next = [
        (format!("quire resume {id}"), "begin with this plan"),
        (format!("quire resume {id} --edit"), "edit it, then begin"),
        (format!("quire revise {id} \"...\""), "have it changed"),
        (format!("quire discard {id}"), "drop it"),
    ];
    let widest = next.iter().map(|(command, _)| columns(command)).max().unwrap_or(0);
    let next: String =
        next.iter().map(|(command, does)| format!("  {}   {does}\n", pad(command, widest))).collect();
    format!("{}{next}", plan_text(id, plan, look.width.clamp(40, 120)))
}

/// Returns the block that ends a followed task.
fn ended(review: &Review, look: &Look) -> String {
    let width = look.width.clamp(40, 120);
    let id = review.task;
    let folder = if review.files.is_empty() { "" } else { review.folder_text() };
    let head = format!("Task {id} {}. {}. {folder}", review.standing(), review.extent());
    let cost = review.cost.text().map_or_else(String::new, |cost| format!(" It cost {cost}."));
    let mut out = format!("{}\n", wrap(&format!("{}{cost}", head.trim_end()), width, ""));
    out.push_str(&review::brief(&review.brief, look, width));
    for assumed in &review.assumed {
        let told = format!("Assumed: {}. {}", assumed.question, view::assumed_text(assumed));
        out.push_str(&format!("  {}\n", cut(&one_line(&told), width - 2)));
    }
    if let Some(reviewed) = &review.reviewer {
        let told = [format!("Review: {}", view::reviewed_text(reviewed))].into_iter();
        let found = reviewed.open.iter().map(|finding| format!("\u{25cb} {}", finding.sentence()));
        out.push_str(&told.chain(found).map(|line| wrap(&one_line(&line), width, "  ")).collect::<String>());
    }
    if !review.not_looked.is_empty() {
        let told = format!("\u{25cb} not looked at: {}", review.not_looked.join(", "));
        out.push_str(&format!("  {}\n", cut(&one_line(&told), width - 2)));
    }
    for check in &review.checks {
        out.push_str(&format!("  {}\n", review::check_line(check, width - 2)));
    }
    if review.checks.is_empty() && !review.files.is_empty() {
        out.push_str("  ○ not checked\n");
    }
    for command in review::next_commands(id, &review.brief.next) {
        out.push_str(&format!("  Ask next: {command}\n"));
    }
    let mut next = vec![format!("Review   quire review {id}")];
    match review.mark {
        view::Mark::Accepted => next.push(format!("Undo   quire undo {id}")),
        _ if review.is_answer() => next = vec![format!("Ask for more   quire revise {id} \"...\"")],
        _ => next.push(format!("Accept   quire accept {id}")),
    }
    out.push_str(&format!("\n  {}\n", next.join("        ")));
    out
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Says something on stderr. Where nobody reads it, the task goes on all the same.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Returns a sentence for stderr, broken between words where a terminal is narrow.
fn fitted(text: &str, face: &Face) -> String {
    if face.err.terminal { wrap(text, face.err.width, "") } else { text.to_owned() }
}

/// Tells where a task works, and what it may use.
fn say_opened(task: &Task, face: &Face) {
    if !face.quiet && !face.json {
        let opened = view::opened_text(task, home().as_deref());
        say(fitted(&clean(&format!("{opened} Ctrl-C leaves it running.")), face).trim_end());
        if let Some(unpriced) = view::unpriced_text(task) {
            say(fitted(&clean(&unpriced), face).trim_end());
        }
    }
}

/// The lines on stderr.
struct Live<'f> {
    face: &'f Face,
    past: Past,
    progress: Progress,
    /// Lines of the turn at work that happened before this follower came.
    kept: Vec<Line>,
    /// What a glimpse says goes on now.
    glimpse: Option<String>,
    listening: Vec<Port>,
    /// The model's visible text since the last event.
    text: String,
    /// What the task has cost so far, where that is known.
    cost: Option<String>,
    drawn: bool,
    /// That its agent asked so far.
    questions: u32,
}

impl<'f> Live<'f> {
    fn new(face: &'f Face, past: Past) -> Live<'f> {
        let (progress, text) = (Progress::default(), String::new());
        Live {
            face,
            past,
            progress,
            kept: vec![],
            glimpse: None,
            listening: vec![],
            text,
            cost: None,
            drawn: false,
            questions: 0,
        }
    }

    fn is_shown(&self) -> bool {
        self.face.is_talkative()
    }

    /// Whether a line is redrawn in place: on a terminal that takes colours, because one without wants no animation either.
    fn moves(&self) -> bool {
        self.is_shown() && self.face.err.color
    }

    fn past(&mut self, logged: &Logged, id: u64) -> Result<(), Failure> {
        self.count_questions(logged);
        let began = self.progress.began_ms();
        let lines = self.progress.apply(logged);
        if self.progress.began_ms() != began {
            self.kept.clear();
        }
        if self.past == Past::ThisTurn {
            self.kept.extend(lines);
            self.stream(logged, id)?;
        }
        Ok(())
    }

    /// Returns the numbers of the questions that were just asked.
    fn count_questions(&mut self, logged: &Logged) -> std::ops::Range<u32> {
        let first = self.questions + 1;
        if let Event::QuestionsAsked { questions, .. } = &logged.event {
            self.questions += questions.len() as u32;
        }
        first..self.questions + 1
    }

    /// With --json a watcher reads the events themselves.
    fn stream(&self, logged: &Logged, id: u64) -> Result<(), Failure> {
        if self.face.json && self.past == Past::ThisTurn {
            print_json(event_json(id, logged))?;
        }
        Ok(())
    }

    fn draw_past(&mut self) {
        for line in std::mem::take(&mut self.kept) {
            self.line(&line);
        }
        self.redraw();
    }

    fn event(&mut self, logged: &Logged, id: u64) -> Result<(), Failure> {
        self.glimpse = None;
        self.text.clear();
        for line in self.progress.apply(logged) {
            self.line(&line);
        }
        if let (Event::ReachAsked { reach, host, port }, true) = (&logged.event, self.is_shown()) {
            // Named, because there may be another question by the time that it is answered.
            let question = view::question(id, *reach, host, *port, true);
            if let Some(command) = self.progress.command() {
                say(&format!("    {WHILE_THIS_RAN} {}", one_line(&command)));
            }
            say(&format!("    {}", one_line(&question.commands())));
        }
        let asked = self.count_questions(logged);
        if !asked.is_empty() && self.is_shown() {
            let each: String = asked.map(|number| format!(" {number}=\"...\"")).collect();
            say(&format!("    quire answer {id}{each}"));
        }
        self.stream(logged, id)?;
        if matches!(logged.event, Event::Presented { .. } | Event::Paused { .. }) {
            self.clear();
        }
        self.redraw();
        Ok(())
    }

    fn glimpse(&mut self, glimpse: &Glimpse) {
        let said = match glimpse {
            Glimpse::Text(more) => {
                self.text.push_str(more);
                let line = self.text.lines().rev().map(str::trim).find(|line| !line.is_empty());
                line.map(str::to_owned)
            }
            Glimpse::Reasoning(_) => Some("Thinking".to_owned()),
            Glimpse::Restarted => {
                self.text.clear();
                None
            }
            Glimpse::Output { text, .. } => {
                let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
                self.progress.now().zip(line).map(|(now, line)| format!("{}: {line}", cut(now, 24)))
            }
            Glimpse::Copying { done, total } => {
                Some(format!("Copying {} of {} files, once per folder", thousands(*done), thousands(*total)))
            }
            Glimpse::Preparing { done, total } => {
                let (done, total) = (thousands(*done), thousands(*total));
                Some(format!("Preparing the machine's view, once: {done} of {total} entries"))
            }
            Glimpse::Retrying { attempt, of, after_ms, why } => {
                let pause = view::count(after_ms.div_ceil(1000).max(1), "second");
                Some(format!("The model does not answer; try {attempt} of {of} in {pause}: {why}"))
            }
            Glimpse::Held(why) => Some(why.clone()),
            Glimpse::Listening(ports) => {
                self.listens(ports);
                None
            }
        };
        let Some(said) = said else { return };
        let matters = matches!(glimpse, Glimpse::Retrying { .. } | Glimpse::Held(_));
        if matters && self.is_shown() && !self.moves() && self.glimpse.as_ref() != Some(&said) {
            say(&format!("    {}", one_line(&said)));
        }
        self.glimpse = Some(said);
        self.redraw();
    }

    /// What programs inside listen on is told once, until it changes.
    fn listens(&mut self, ports: &[Port]) {
        if self.is_shown() && !ports.is_empty() && self.listening != ports {
            self.clear();
            say(&format!("    {}", listening_text(ports)));
            self.redraw();
        }
        self.listening = ports.to_vec();
    }

    fn line(&mut self, line: &Line) {
        if self.is_shown() {
            self.clear();
            say(&row(line.mark.symbol(), &one_line(&line.text), line.at_ms, self.width()));
        }
    }

    fn width(&self) -> usize {
        if self.face.err.terminal { self.face.err.width } else { usize::MAX }
    }

    fn redraw(&mut self) {
        let Some(now) = self.progress.now().filter(|_| self.moves()) else { return };
        let text = one_line(self.glimpse.as_deref().unwrap_or(now));
        let since = now_ms().saturating_sub(self.progress.began_ms());
        // One column less than there are, or the terminal would begin a new line.
        let room = self.width().saturating_sub(1);
        let width = room.min(TEXT_COLUMNS + 14);
        let cost = self.cost.as_ref().map_or_else(String::new, |cost| format!("   {cost}"));
        let line = cut(&format!("{}{cost}", row('◐', &text, since, width)), room);
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        self.drawn = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Returns `  ✓ Read 14 files                                 0:06`, cut to `width`.
fn row(mark: char, text: &str, at_ms: u64, width: usize) -> String {
    let time = took(at_ms);
    let room = width.saturating_sub(columns(&time) + 6);
    format!("  {mark} {}  {time}", pad(&cut(text, room), TEXT_COLUMNS.min(room)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::review::tests::{PLAIN, sample};
    use quire_core::message::Fault;
    use quire_core::view::Brief;

    #[test]
    fn the_end_at_80_columns() {
        insta::assert_snapshot!(ended(&sample(), &PLAIN), @r"
    Task 3 says done, but 1 of 2 checks failed. 6 files, +4 -2. Your folder has not
    changed.

      Tax is now rounded once, after adding.
      ⚑ The failing test passes; I ran all of them twice: `cargo test` passes,
        but: the agent changed tests/tax.rs
      ✗ The code is tidy: `make lint` fails (exit 2)
      ○ It is faster on the largest bill that anybody of us has ever seen, or is
        ever to see: not checked
      Assumed: prices are in euros
      Not done: negative amounts.
      Not done: the letter
      Assumed: 2. this year's (Which rate, the one of this year or the one of the y…
      Review: lab/eyes found 2 things, 1 still open
      ○ wrong, src/tax.rs:3: It rounds twice.
      ○ not looked at: index.html
      ⚑ cargo test  passes, but: the agent changed tests/tax.rs
      ✗ make lint  fails (exit 2)
      Ask next: quire revise 3 'Round the customer'\''s bill too'
      Ask next: quire revise 3 'Tell me which bills were wrong'

      Review   quire review 3        Accept   quire accept 3
    ");
        let nothing = Review {
            files: vec![],
            assumed: vec![],
            checks: vec![],
            state: "ready".into(),
            brief: Brief::of("There was nothing to mend.", &[]),
            ..sample()
        };
        insta::assert_snapshot!(ended(&nothing, &PLAIN), @r#"
    Task 3 is ready. Nothing changed.

      There was nothing to mend.
      Review: lab/eyes found 2 things, 1 still open
      ○ wrong, src/tax.rs:3: It rounds twice.
      ○ not looked at: index.html

      Ask for more   quire revise 3 "..."
    "#);
    }

    #[test]
    fn a_line_is_a_mark_a_sentence_and_a_time() {
        let rows = [
            (
                row('✓', "Read 14 files", 6_000, 80),
                "  ✓ Read 14 files                                   0:06",
            ),
            (row('◐', "Running all 214 tests", 72_000, 40), "  ◐ Running all 214 tests           1:12"),
            (row('◐', "Running all 214 tests and more", 72_000, 30), "  ◐ Running all 214 tes…  1:12"),
        ];
        for (row, expected) in rows {
            assert_eq!(row, expected);
        }
        assert!(columns(&row('◐', &"日本語".repeat(40), 0, 60)) <= 60);
    }

    #[test]
    fn each_reason_to_wait_has_its_exit_code() {
        let fault = |kind| Why::Model(Fault { kind, message: String::new(), status: None });
        let rows = [
            (Why::NoModel, Exit::NoModel),
            (fault(FaultKind::Key), Exit::NoModel),
            (fault(FaultKind::Unreachable), Exit::NoModel),
            (fault(FaultKind::TooLong), Exit::Failed),
            (Why::Steps, Exit::NeedsYou),
            (Why::Refused(String::new()), Exit::NeedsYou),
            (Why::Copy { bytes: 6_000_000_000 }, Exit::NeedsYou),
            (Why::Trouble(Trouble::Sandbox, String::new()), Exit::NoSandbox),
            (Why::Trouble(Trouble::Disk, String::new()), Exit::Trouble),
            (Why::Trouble(Trouble::Folder, String::new()), Exit::NeedsYou),
        ];
        for (why, expected) in rows {
            assert_eq!(exit_of(&why), expected, "{why:?}");
        }
    }
}
