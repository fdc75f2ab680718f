//! What a person is asked where they follow a task, at a terminal: questions of the agent's, and whether its plan is to be
//! carried out. Each has a command as well, and nothing but a typed line is an answer.

use crate::cmd::{Face, wait};
use crate::error::Failure;
use crate::layout::framed;
use crate::terminal::{clean, read_line};
use quire_core::event::Why;
use quire_core::task::Phase;
use quire_core::view::{self, AgentQuestion};
use quire_engine::Quire;
use std::io::{IsTerminal, Write};
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// The number of a question, and the answer; `None` takes what was assumed.
pub type Said = (u32, Option<String>);

/// Returns whether a person can be asked here.
pub fn can(face: &Face) -> bool {
    face.err.terminal && !face.json && std::io::stdin().is_terminal()
}

/// Asks what a task that rests waits for. Returns whether it goes on.
pub fn converse(quire: &Quire, id: u64, face: &Face) -> Result<bool, Failure> {
    if !can(face) {
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
                        quire.agree(id, &edited, None)?;
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

/// Lets the person edit a plan in their editor. Returns `None` where the editor failed.
pub fn edit_plan(quire: &Quire, id: u64, plan: &str) -> Result<Option<String>, Failure> {
    let dir = quire.home().join("tasks").join(id.to_string());
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("plan.md");
    std::fs::write(&path, clean(&format!("{}\n", plan.trim())))?;
    let edited = edit(&path);
    let text = std::fs::read_to_string(&path);
    std::fs::remove_file(&path)?;
    if !edited? {
        return Ok(None);
    }
    Ok(Some(text?.trim().to_owned()))
}

/// Runs the person's editor on a file, as git does. Returns whether it ended well.
fn edit(path: &Path) -> std::io::Result<bool> {
    let named = |name: &str| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(path);
    Ok(command.status()?.success())
}

fn show(text: &str) {
    let _ = write!(std::io::stderr(), "\n{text}");
}

/// Returns the line that is typed, or `None` for Ctrl-C and the end of the input.
fn typed(prompt: &str) -> Result<Option<String>, Failure> {
    let mut err = std::io::stderr();
    let _ = write!(err, "{prompt}").and_then(|()| err.flush());
    wait(async {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let (sender, line) = tokio::sync::oneshot::channel();
        // A thread of its own, which may go on reading when nobody waits for it any more.
        std::thread::spawn(move || sender.send(read_line()));
        tokio::select! {
            line = line => Ok(line.unwrap_or(Ok(None))?),
            _ = interrupts.recv() => {
                let _ = writeln!(std::io::stderr());
                Ok(None)
            }
        }
    })?
}
