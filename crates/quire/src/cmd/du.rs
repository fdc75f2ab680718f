//! `quire du`: what takes how much of the disk.

use crate::cmd::{Face, home, open, print_json};
use crate::error::{Exit, Failure};
use crate::layout::{one_line, pad};
use crate::terminal::{clean, print};
use quire_core::view;
use quire_engine::uninstall::{Kind, Share};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// Rows of one kind that are shown; --json has them all.
const ROWS_MAX: usize = 8;

pub fn du(face: &Face) -> Result<Exit, Failure> {
    let (quire, here) = open()?;
    let shares = quire.usage(&here)?;
    if face.json {
        let all: u64 = shares.iter().map(|share| share.bytes).sum();
        print_json(json!({"bytes": all, "shares": shares}))?;
        return Ok(Exit::Done);
    }
    let titles = quire.summaries()?.into_iter().map(|task| (task.task, task.title)).collect();
    print(&clean(&text(&shares, &titles, home().as_deref())))?;
    Ok(Exit::Done)
}

fn text(shares: &[Share], titles: &HashMap<u64, String>, home: Option<&Path>) -> String {
    let line = |indent: &str, bytes: u64, what: &str| {
        format!("{indent}{}  {what}\n", pad(&format!("{:>9}", view::size(bytes)), 9))
    };
    let short = |path: &Path| one_line(&view::short_folder(path, home));
    let mut out = String::new();
    let kinds = [
        (Kind::Task, "what sandboxes wrote, by task", true),
        (Kind::Copy, "private copies of folders", true),
        (Kind::Contents, "versions of files, and what they replaced", false),
        (Kind::Store, "the logs of all tasks", false),
        (Kind::System, "what sandboxes share of the machine", false),
        (Kind::HostLog, "the host's log", false),
        (Kind::Settings, "your settings and keys", false),
        (Kind::Other, "the rest", false),
    ];
    for (kind, name, listed) in kinds {
        let rows: Vec<&Share> = shares.iter().filter(|share| share.kind == kind).collect();
        if rows.is_empty() {
            continue;
        }
        out.push_str(&line("", rows.iter().map(|row| row.bytes).sum(), name));
        let rows: Vec<&&Share> = rows.iter().filter(|row| listed && is_listed(row)).collect();
        for row in rows.iter().take(ROWS_MAX) {
            let what = match row.task {
                Some(task) => format!("{task}  {}", one_line(titles.get(&task).map_or("", String::as_str))),
                None => short(&row.path),
            };
            out.push_str(&line("    ", row.bytes, what.trim_end()));
        }
        if rows.len() > ROWS_MAX {
            let rest = rows.iter().skip(ROWS_MAX);
            let more = format!("{} more", rows.len() - ROWS_MAX);
            out.push_str(&line("    ", rest.map(|row| row.bytes).sum(), &more));
        }
    }
    out.push_str(&line("", shares.iter().map(|share| share.bytes).sum(), "in all"));
    out
}

/// Returns whether a part has a row of its own: directories that only hold such have none.
fn is_listed(share: &Share) -> bool {
    share.task.is_some()
        || share.kind == Kind::Copy && share.path.file_name().is_some_and(|name| name != "folders")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_row() {
        let share = |kind, task, path: &str, bytes| Share { kind, task, path: path.into(), bytes };
        let mut shares = vec![
            share(Kind::Task, Some(12), "/d/tasks/12", 4_000_000),
            share(Kind::Task, None, "/d/tasks", 4096),
            share(Kind::Copy, None, "/home/ada/site", 70_000_000),
            share(Kind::Store, None, "/d/quire.db", 40_960),
        ];
        let titles = HashMap::from([(12, "make me a homepage".to_owned())]);
        assert_eq!(
            text(&shares, &titles, Some(Path::new("/home/ada"))),
            "   4.0 MB  what sandboxes wrote, by task\n       4.0 MB  12  make me a homepage\n    70 MB  private \
             copies of folders\n        70 MB  site\n    41 kB  the logs of all tasks\n    74 MB  in all\n"
        );
        shares.extend((20..30).map(|n| share(Kind::Task, Some(n), "/d/tasks/n", 1000)));
        assert!(text(&shares, &titles, None).contains("\n       3.0 kB  3 more\n"));
    }
}
