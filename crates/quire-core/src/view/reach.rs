//! What a task reached and may reach, in words: questions to the person, what the model is told, and how much went where.

use crate::event::{Connection, OTHERS, Refused};
use crate::net::address;
use crate::task::{Reach, Task};
use crate::view::{count, size};
use serde::{Deserialize, Serialize};

/// Destinations that a line names before it only counts.
const NAMED_MAX: usize = 5;
/// What stands before a command. Others may have run beside it, in the background.
pub const WHILE_THIS_RAN: &str = "While this ran:";

/// A question of a task's that waits for its person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub reach: u32,
    pub host: String,
    pub port: u16,
    /// `May it reach example.org:443?`
    pub text: String,
    /// The command that ran when it was tried, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The commands that answer it.
    pub allow: String,
    pub deny: String,
}

impl Question {
    /// Returns `quire allow 3 · quire deny 3`.
    pub fn commands(&self) -> String {
        format!("{} · {}", self.allow, self.deny)
    }
}

/// Returns the questions that a task's person is to answer now. Where there are several, the commands name theirs.
pub fn questions(task: &Task) -> Vec<Question> {
    let open: Vec<(u32, &Reach)> = task.pressing().collect();
    let several = open.len() > 1;
    open.into_iter()
        .map(|(reach, asked)| Question {
            command: asked.command.clone(),
            ..question(task.id, reach, &asked.host, asked.port, several)
        })
        .collect()
}

/// Returns the question of that number; `named` says whether its commands have to name it.
pub fn question(task: u64, reach: u32, host: &str, port: u16, named: bool) -> Question {
    let to = address(host, port);
    let which = match (named, port) {
        (false, _) => String::new(),
        (true, 443) => format!(" {host}"),
        (true, _) => format!(" {to}"),
    };
    Question {
        reach,
        host: host.to_owned(),
        port,
        text: format!("May it reach {to}?"),
        command: None,
        allow: format!("quire allow {task}{which}"),
        deny: format!("quire deny {task}{which}"),
    }
}

/// Returns what the model is told of destinations that were refused while its call ran; `asked` are those of which the person
/// is asked or was asked before.
pub fn refused_text(refused: &[Connection], asked: impl Fn(&Connection) -> bool) -> String {
    let mut text = String::new();
    for row in refused {
        let why = match row.refused {
            Some(Refused::NotListed) if asked(row) => {
                "the person was asked and will answer when they can; go on with what does not need it"
            }
            Some(why) => why.words(),
            None => continue,
        };
        text.push_str(&format!("\n[quire] Refused: {}: {why}.", destination(row)));
    }
    text
}

impl Refused {
    pub fn words(self) -> &'static str {
        match self {
            Refused::NotListed => "not on this task's list",
            Refused::Denied => "denied by the person",
            Refused::Private => "not a public address",
            Refused::Port => "not on this port",
            Refused::Name => "the connection names another host, or none",
            Refused::Malformed => "not the name of a host",
            Refused::Unserved => "asked for in a way that is not served",
            Refused::Limit => "over the task's limits",
        }
    }
}

/// Returns `pypi.org (3 connections, 1.2 MB down, 4.0 kB up)` for each destination, then what was refused; `None` where there
/// was nothing.
pub fn reached_text(connections: &[Connection]) -> Option<String> {
    let (refused, reached): (Vec<_>, Vec<_>) = connections.iter().partition(|row| row.refused.is_some());
    let reached = listed(&reached, |row| {
        let times = count(row.count, "connection");
        format!("{} ({times}, {} down, {} up)", destination(row), size(row.down), size(row.up))
    });
    let refused = listed(&refused, |row| {
        let why = row.refused.map_or("", Refused::words);
        format!("{} ({why})", destination(row))
    });
    match (reached.is_empty(), refused.is_empty()) {
        (true, true) => None,
        (false, true) => Some(reached),
        (true, false) => Some(format!("refused: {refused}")),
        (false, false) => Some(format!("{reached}; refused: {refused}")),
    }
}

/// Returns a destination; the port of the web's own is left out.
fn destination(row: &Connection) -> String {
    match row.port {
        _ if row.host == OTHERS => OTHERS.to_owned(),
        _ if row.host.is_empty() => "something without a name".to_owned(),
        443 => row.host.clone(),
        port => address(&row.host, port),
    }
}

fn listed(rows: &[&Connection], text: impl Fn(&Connection) -> String) -> String {
    let mut all: Vec<String> = rows.iter().take(NAMED_MAX).map(|row| text(row)).collect();
    if rows.len() > NAMED_MAX {
        all.push(format!("{} more", rows.len() - NAMED_MAX));
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: &str, port: u16, refused: Option<Refused>) -> Connection {
        Connection { host: host.into(), port, count: 1, up: 4_000, down: 1_200_000, refused }
    }

    #[test]
    fn what_was_reached_in_a_line() {
        let many: Vec<Connection> = (0..7).map(|n| row(&format!("{n}.org"), 443, None)).collect();
        let rows: &[(&[Connection], Option<&str>)] = &[
            (&[], None),
            (&[row("a.org", 443, None)], Some("a.org (1 connection, 1.2 MB down, 4.0 kB up)")),
            (
                &[row("::1", 80, None), row("b.org", 443, Some(Refused::Denied))],
                Some(
                    "[::1]:80 (1 connection, 1.2 MB down, 4.0 kB up); refused: b.org (denied by the person)",
                ),
            ),
            (
                &[row("", 0, Some(Refused::Malformed))],
                Some("refused: something without a name (not the name of a host)"),
            ),
        ];
        for (connections, expected) in rows {
            assert_eq!(reached_text(connections).as_deref(), *expected);
        }
        assert!(
            reached_text(&many).unwrap().ends_with("4.org (1 connection, 1.2 MB down, 4.0 kB up), 2 more")
        );
    }

    #[test]
    fn what_the_model_is_told_of_refusals() {
        let rows = [
            row("a.org", 443, Some(Refused::NotListed)),
            row("b.org", 22, Some(Refused::NotListed)),
            row("c.org", 443, None),
        ];
        assert_eq!(
            refused_text(&rows, |row| row.host == "a.org"),
            "\n[quire] Refused: a.org: the person was asked and will answer when they can; go on with what does not need it.\
             \n[quire] Refused: b.org:22: not on this task's list."
        );
    }
}
