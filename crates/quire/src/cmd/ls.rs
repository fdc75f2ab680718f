//! `quire ls`: the tasks; those that need a person first.

use crate::cli::{LsArgs, StateArg};
use crate::cmd::{Face, follow, home, listening, listening_text, open, print_json, wait};
use crate::error::{Exit, Failure};
use crate::layout::{columns, cut, framed, one_line, pad, wrap};
use crate::terminal::{Look, ago, print};
use quire_core::view::{self, Group, Mark, Summary, TaskRow, WHILE_THIS_RAN};
use quire_core::{Phase, Usd};
use quire_engine::keys::Keys;
use quire_engine::{EngineError, Hit, Port};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// Questions of one task that are shown; --json has them all.
const QUESTIONS_MAX: usize = 3;
/// Places of one task at which words were found that are shown.
const PLACES_MAX: usize = 3;

pub fn ls(args: &LsArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let mut tasks = quire.summaries()?;
    let hits = quire.search(&args.words.join(" "))?;
    if !args.words.is_empty() {
        tasks.retain(|task| hits.iter().any(|hit| hit.task == task.task));
    }
    if let Some(folder) = &args.folder {
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        tasks.retain(|task| task.folders.iter().any(|its| its.starts_with(&folder)));
    }
    if let Some(state) = args.state {
        let group = match state {
            StateArg::NeedsYou => Group::NeedsYou,
            StateArg::Working => Group::Working,
            StateArg::Done => Group::Done,
        };
        tasks.retain(|task| task.mark.group() == group);
    }
    let is_filtered = !args.words.is_empty() || args.folder.is_some() || args.state.is_some();
    let rows = view::rows(&tasks, follow::now_ms());
    let spent = quire.spent()?;
    let at_work: Vec<&Summary> = tasks.iter().filter(|task| task.phase == Phase::Working).collect();
    let listening = if at_work.is_empty() { HashMap::new() } else { listening(&quire)? };
    if face.json {
        let rows = rows.iter().map(|row| {
            let mut json = json!(row);
            if let Some(ports) = listening.get(&row.task) {
                json["listening"] = json!(ports);
            }
            if !args.words.is_empty() {
                json["found"] = json!(hits.iter().filter(|hit| hit.task == row.task).collect::<Vec<_>>());
            }
            json
        });
        print_json(json!({"tasks": rows.collect::<Vec<_>>(), "day_cost_usd": spent.dollars()}))?;
    } else if rows.is_empty() {
        if is_filtered {
            follow::say("There is no such task. See all: quire ls");
        } else if !face.quiet {
            follow::say("There is no task yet. Start one in its folder: quire \"TASK\"");
        }
    } else {
        let mut table = text(&rows, &listening, home().as_deref(), &face.out);
        if !hits.is_empty() {
            table.push_str(&found(&hits, &face.out));
        }
        if spent > Usd::ZERO {
            table.push_str(&format!("\nIn the last 24 hours: {spent}.\n"));
        }
        print(&table)?;
    }
    // After a reboot nothing drives what is at work until a command asks for it.
    if !at_work.is_empty() {
        // The list is told; a task that wants the key waits for its person and says so.
        let keys = Keys::read(&here).unwrap_or_else(|error| {
            follow::say(&error.to_string());
            Keys::default()
        });
        wait(async {
            for task in at_work {
                quire.hand_over(task.task, &task.uses, &keys, &here).await?;
            }
            Ok::<(), EngineError>(())
        })??;
    }
    Ok(Exit::Done)
}

/// Returns where the words stand, the best place of each task first.
fn found(hits: &[Hit], look: &Look) -> String {
    let mut out = String::from("\nFOUND\n");
    let width = if look.terminal { look.width } else { 120 };
    let mut told: HashMap<u64, usize> = HashMap::new();
    for hit in hits {
        let so_far = told.entry(hit.task).or_default();
        *so_far += 1;
        if *so_far <= PLACES_MAX {
            let place = if hit.place.is_empty() { hit.kind.clone() } else { one_line(&hit.place) };
            out.push_str(&format!(
                "{}\n",
                cut(&format!(" {}  {place}: {}", hit.task, one_line(&hit.text)), width)
            ));
        }
    }
    out
}

/// Returns the table. Only on a terminal are titles cut to fit.
fn text(rows: &[TaskRow], listening: &HashMap<u64, Vec<Port>>, home: Option<&Path>, look: &Look) -> String {
    let folder = |row: &TaskRow| one_line(&row.short_folder(home));
    let widest = |of: &dyn Fn(&TaskRow) -> usize, most| rows.iter().map(of).max().unwrap_or(0).min(most);
    // Under its heading, "needs you" need not be said again.
    let says = |row: &TaskRow| row.state.strip_prefix("needs you: ").unwrap_or(&row.state).to_owned();
    let number = widest(&|row| row.task.to_string().len(), 20);
    let (state_most, place_most) = if look.terminal { (26, 20) } else { (200, 200) };
    let state = widest(&|row| columns(&says(row)), state_most);
    let place = widest(&|row| columns(&folder(row)), place_most);
    let cost = widest(&|row| columns(&its_cost(row)), 30);
    let title = if look.terminal {
        look.width.saturating_sub(number + state + place + 15 + cost).max(16)
    } else {
        widest(&|row| columns(&one_line(&row.title)), 200)
    };
    let cut = |text: &str, most| if look.terminal { cut(text, most) } else { text.to_owned() };
    let mut out = String::new();
    let mut group = None;
    for row in rows {
        let its = row.mark.group();
        if group != Some(its) {
            let among = rows.iter().filter(|row| row.mark.group() == its).count();
            let gap = if group.is_some() { "\n" } else { "" };
            out.push_str(&format!("{gap}{}\n", look.paint(1, &format!("{} {among}", its.heading()))));
            group = Some(its);
        }
        let line = format!(
            " {} {:>number$}  {}  {}  {}  {:>4}",
            row.mark.symbol(),
            row.task,
            pad(&cut(&one_line(&row.title), title), title),
            pad(&cut(&says(row), state), state),
            pad(&cut(&folder(row), place), place),
            ago(row.age_ms)
        );
        let line = format!("{line}{}", its_cost(row));
        out.push_str(line.trim_end());
        out.push('\n');
        let indent = " ".repeat(number + 5);
        if let Some(made) = row.made.as_ref().filter(|_| row.mark == Mark::Ready) {
            out.push_str(&format!(
                "{indent}{}\n",
                look.paint(2, &cut(made, look.width.saturating_sub(number + 5)))
            ));
        }
        if let Some(ports) = listening.get(&row.task) {
            out.push_str(&format!(
                "{indent}{}\n",
                cut(&listening_text(ports), look.width.saturating_sub(number + 5))
            ));
        }
        for question in row.questions.iter().take(QUESTIONS_MAX) {
            let (text, commands) = (one_line(&question.text), one_line(&question.commands()));
            let line = format!("{indent}{text}  {commands}\n");
            if !look.terminal || columns(line.trim_end()) <= look.width {
                out.push_str(&line);
            } else {
                out.push_str(&format!(
                    "{indent}{text}\n{}",
                    wrap(&commands, look.width, &format!("{indent}  "))
                ));
            }
            if let Some(command) = &question.command {
                let told = format!("{WHILE_THIS_RAN} {}", one_line(command));
                out.push_str(&format!("{indent}  {}\n", cut(&told, look.width.saturating_sub(number + 7))));
            }
        }
        if row.plan.is_some() {
            out.push_str(&format!(
                "{indent}Look at it: quire review {0}  Begin: quire resume {0}\n",
                row.task
            ));
        }
        for question in row.agent_questions.iter().take(QUESTIONS_MAX) {
            let width = if look.terminal { look.width } else { 120 };
            out.push_str(&format!("{indent}The agent asks:  {}\n", one_line(&question.answer)));
            question.lines().iter().for_each(|line| out.push_str(&framed(line, width, &indent)));
        }
        if let Some(more) = row.agent_questions.len().checked_sub(QUESTIONS_MAX).filter(|more| *more > 0) {
            out.push_str(&format!("{indent}and {more} more: quire answer {}\n", row.task));
        }
        if let Some(more) = row.questions.len().checked_sub(QUESTIONS_MAX).filter(|more| *more > 0) {
            out.push_str(&format!("{indent}and {more} more: quire allow {}\n", row.task));
        }
    }
    out
}

/// Returns what a task took of its person's: money, and how often it needed them.
fn its_cost(row: &TaskRow) -> String {
    let cost = row.cost.text().map_or_else(String::new, |cost| format!("  {cost}"));
    match row.needed_you.times() {
        0 => cost,
        times => format!("{cost}  you {times}x"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quire_core::task::Needed;
    use quire_core::view::{AgentQuestion, question};

    fn row(task: u64, mark: Mark, state: &str, title: &str, age_ms: u64) -> TaskRow {
        TaskRow {
            committed: false,
            task,
            mark,
            state: state.into(),
            title: title.into(),
            folder: "/home/ada/sites/bakery".into(),
            age_ms,
            worked_ms: 0,
            steps: 0,
            tokens: 0,
            cost: view::Cost::default(),
            questions: vec![],
            agent_questions: vec![],
            plan: None,
            needed_you: Default::default(),
            files: None,
            made: None,
        }
    }

    #[test]
    fn the_list_at_80_columns() {
        let rows = [
            row(
                12,
                Mark::NeedsYou,
                "needs you: the model's server refused the request",
                "Switch\x1b[2J the parser",
                0,
            ),
            row(
                3,
                Mark::Ready,
                "ready",
                "Add opening hours and an order form to the page, please, and a map",
                360_000,
            ),
            row(4, Mark::Working, "working", "日本語の題名", 120_000),
            row(1, Mark::Accepted, "accepted", "Rename\nphotos", 86_400_000),
            row(2, Mark::Discarded, "discarded", "Try a dark header", 3_600_000),
        ];
        let mut rows = rows;
        rows[0].questions = (0..5).map(|n| question(12, n, &format!("{n}.example.org"), 443, true)).collect();
        rows[2].questions = vec![question(4, 0, "example.org", 8443, false)];
        rows[1].agent_questions = vec![AgentQuestion {
            question: 2,
            text: "Which map,\x1b[2J the one of the town or the one of the whole region around it? quire allow 3".into(),
            choices: vec!["town".into(), "region".into()],
            assumed: Some("town".into()),
            waits: false,
            answer: "quire answer 3 2=\"...\"".into(),
        }];
        rows[1].needed_you = Needed { questions: 1, pauses: 1, ..Needed::default() };
        rows[1].made = Some("5 files, works on phones, 1 thing not checked".into());
        rows[2].plan = Some("1. Look.".into());
        let home = Some(Path::new("/home/ada"));
        let look = Look { terminal: true, color: false, width: 80 };
        let node = Port { port: 5173, program: "no\x1bde".into() };
        let listening = HashMap::from([(4, vec![node, Port { port: 8080, program: String::new() }])]);
        let shown = text(&rows, &listening, home, &look);
        assert!(shown.lines().all(|line| columns(line) <= 80), "{shown}");
        insta::assert_snapshot!(shown, @r#"
    NEEDS YOU 2
     ? 12  Switch the parser  the model's server refuse…  sites/bakery   now
           May it reach 0.example.org:443?
             quire allow 12 0.example.org · quire deny 12 0.example.org
           May it reach 1.example.org:443?
             quire allow 12 1.example.org · quire deny 12 1.example.org
           May it reach 2.example.org:443?
             quire allow 12 2.example.org · quire deny 12 2.example.org
           and 2 more: quire allow 12
     ◆  3  Add opening hour…  ready                       sites/bakery    6m  you 2x
           5 files, works on phones, 1 thing not checked
           The agent asks:  quire answer 3 2="..."
           │ Which map, the one of the town or the one of the whole region around
           │ it? quire allow 3
           │ Choices: town | region
           │ Until you answer it assumes: town

    WORKING 1
     ◐  4  日本語の題名       working                     sites/bakery    2m
           listening: 5173 (noe), 8080
           May it reach example.org:8443?  quire allow 4 · quire deny 4
           Look at it: quire review 4  Begin: quire resume 4

    DONE 2
     ✓  1  Rename photos      accepted                    sites/bakery    1d
     –  2  Try a dark header  discarded                   sites/bakery    1h
    "#);
        let whole = text(&rows, &listening, home, &Look { terminal: false, ..look });
        assert!(whole.contains("please, and a map") && whole.contains("refused the request"));
        assert!(!whole.contains('\x1b'));
    }
}
