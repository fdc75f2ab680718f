//! What a person is asked where they follow a task, at a terminal: questions of the agent's, and whether its plan is to be
//! carried out. Each has a command as well, and nothing but a typed line is an answer.

use crate::cmd::edit::in_editor;
use crate::cmd::{Face, wait};
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::layout::framed;
use crate::terminal::{clean, read_line};
use quire_core::Hash;
use quire_core::event::Why;
use quire_core::task::Phase;
use quire_core::view::{self, AgentQuestion};
use quire_engine::Quire;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The number of a question, and the answer; `None` takes what was assumed.
pub type Said = (u32, Option<String>);

/// Asks what a task that rests waits for. Returns whether it goes on.
pub fn converse(quire: &Quire, id: u64, face: &Face) -> Result<bool, Failure> {
    if !face.can_ask() {
        return Ok(false);
    }
    let task = quire.task(id)?;
    match &task.phase {
        Phase::Waiting(Why::Question) => {
            let awaited = view::agent_questions(&task).into_iter().filter(|question| question.waits);
            let said = answers(&awaited.collect::<Vec<_>>(), face)?;
            quire.answer_agent(id, &said)?;
        }
        Phase::Waiting(Why::Plan) => {
            let plan = task.plan_to_review().unwrap_or_default();
            show(&plan_text(id, plan, face.err.width));
            match typed("Begin with this plan? [y]es, [e]dit it first, [N]o: ")?.as_deref().map(str::trim) {
                Some("y" | "Y" | "yes") => quire.resume(id, None)?,
                Some("e" | "E" | "edit") => {
                    if let Some(edited) = edit_plan(quire, id, plan)? {
                        let agreed = quire.agree(id, &edited.text, None);
                        edited.after(agreed.map_err(Failure::from))?;
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
    Ok(quire.task(id)?.phase == Phase::Working)
}

/// Asks each of `questions` and returns what was answered. Ctrl-C or the end of the input ends the asking; what was answered
/// until then counts.
pub fn answers(questions: &[AgentQuestion], face: &Face) -> Result<Vec<Said>, Failure> {
    let mut said = vec![];
    for question in questions {
        show(&question_text(question, face.err.width));
        let prompt = match &question.assumed {
            Some(_) => format!("Your answer to {} (Enter takes what it assumes): ", question.question),
            None => format!("Your answer to {}: ", question.question),
        };
        match typed(&prompt)?.map(|line| line.trim().to_owned()) {
            None => break,
            Some(line) if !line.is_empty() => said.push((question.question, Some(line))),
            Some(_) if question.assumed.is_some() => said.push((question.question, None)),
            Some(_) => {}
        }
    }
    Ok(said)
}

/// Returns a question of an agent's, in its frame.
pub fn question_text(question: &AgentQuestion, width: usize) -> String {
    let frame: String = question.lines().iter().map(|line| framed(line, width, "")).collect();
    format!("The agent asks, {}:\n{frame}", question.question)
}

/// Returns a plan, in its frame.
pub fn plan_text(task: u64, plan: &str, width: usize) -> String {
    format!("Task {task} has a plan. Your folder has not changed.\n\n{}\n", framed(plan.trim(), width, "  "))
}

/// A plan as its person edited it. The file stays until the plan is in the log.
pub struct Edited {
    pub text: String,
    path: PathBuf,
}

impl Edited {
    /// Removes the file after what came of the plan, or says where the edits are.
    pub fn after<T>(&self, came: Result<T, Failure>) -> Result<T, Failure> {
        match came {
            Ok(done) => {
                // Left over it does no harm: it goes with the task.
                let _ = std::fs::remove_file(&self.path);
                Ok(done)
            }
            Err(failure) => Err(Failure { safe: kept(&self.path), ..failure }),
        }
    }
}

fn kept(path: &Path) -> String {
    format!("Your edits are in {}; editing the plan again goes on from there.", path.display())
}

/// Lets the person edit a plan in their editor, from where they left it if that came to nothing. Returns `None` where the editor
/// failed.
pub fn edit_plan(quire: &Quire, id: u64, plan: &str) -> Result<Option<Edited>, Failure> {
    let dir = quire.home().join("tasks").join(id.to_string());
    // Another plan has another file.
    let path = dir.join(format!("plan-{}.md", Hash::of(plan.as_bytes()).short()));
    let failed = |error: std::io::Error| {
        let what = format!("The plan could not be edited: {error}.");
        Failure::new(Exit::Trouble, what, kept(&path), format!("Begin with it as it is: quire resume {id}"))
    };
    if !path.exists() {
        std::fs::create_dir_all(&dir).map_err(failed)?;
        std::fs::write(&path, clean(&format!("{}\n", plan.trim()))).map_err(failed)?;
    }
    if !in_editor(&path).map_err(failed)? {
        return Ok(None);
    }
    let text = String::from_utf8(std::fs::read(&path).map_err(failed)?).map_err(|_| {
        Failure::new(
            Exit::WrongUse,
            "The edited plan is not text in UTF-8.",
            kept(&path),
            format!("Edit it again: quire resume {id} --edit"),
        )
    })?;
    Ok(Some(Edited { text: text.trim().to_owned(), path }))
}

fn show(text: &str) {
    let _ = write!(std::io::stderr(), "\n{text}");
}

/// Returns the line that is typed, or `None` for Ctrl-C and the end of the input.
fn typed(prompt: &str) -> Result<Option<String>, Failure> {
    let mut err = std::io::stderr();
    let _ = write!(err, "{prompt}").and_then(|()| err.flush());
    wait(async {
        let mut interrupts = Interrupts::begin()?;
        let (sender, line) = tokio::sync::oneshot::channel();
        // A thread of its own, which may go on reading when nobody waits for it any more.
        std::thread::spawn(move || sender.send(read_line()));
        tokio::select! {
            line = line => Ok(line.unwrap_or(Ok(None))?),
            () = interrupts.next() => {
                let _ = writeln!(std::io::stderr());
                Ok(None)
            }
        }
    })?
}
