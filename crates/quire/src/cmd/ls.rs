//! `quire ls`: the tasks; those that need a person first.

use crate::cmd::{Face, follow, home, open, print_json};
use crate::error::{Exit, Failure};
use crate::layout::{columns, cut, one_line, pad};
use crate::terminal::{Look, ago, print};
use quire_core::bytes::unescape;
use quire_core::view::{self, TaskRow};
use serde_json::json;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub fn ls(face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open(face)?;
    let rows = view::rows(&quire.tasks()?, follow::now_ms());
    if face.json {
        print_json(json!({"tasks": rows}))?;
    } else if rows.is_empty() {
        if !face.quiet {
            follow::say("There is no task yet. Start one in its folder: quire \"TASK\"");
        }
    } else {
        print(&text(&rows, home().as_deref(), &face.out))?;
    }
    Ok(Exit::Done)
}

/// Returns the table. Only on a terminal are titles cut to fit.
fn text(rows: &[TaskRow], home: Option<&Path>, look: &Look) -> String {
    let folder = |row: &TaskRow| {
        let raw = unescape(&row.folder).unwrap_or_else(|| row.folder.clone().into_bytes());
        one_line(&view::short_folder(&PathBuf::from(OsString::from_vec(raw)), home))
    };
    let widest = |of: &dyn Fn(&TaskRow) -> usize, most| rows.iter().map(of).max().unwrap_or(0).min(most);
    let number = widest(&|row| row.task.to_string().len(), 20);
    let state = widest(&|row| columns(&row.state), 26);
    let place = widest(&|row| columns(&folder(row)), 20);
    let title = if look.terminal {
        look.width.saturating_sub(number + state + place + 14).max(16)
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
            pad(&cut(&row.state, state), state),
            pad(&cut(&folder(row), place), place),
            ago(row.age_ms)
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
