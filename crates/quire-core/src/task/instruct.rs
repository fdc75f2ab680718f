//! Instructions of directories within the folder. The model is told them once, after the first call that works there, so that
//! a task in a large repository does not begin with the instructions of every part of it; and again where they went with the
//! beginning of a conversation that was cut short.

use super::{Phase, Task};
use crate::Call;
use std::sync::Arc;

/// The most that all instructions of a folder come to, in bytes.
pub const INSTRUCTIONS_BYTES_MAX: u64 = 32 * 1024;
/// The most words of one command that are taken for paths.
const WORDS_MAX: usize = 200;

impl Task {
    /// Returns whether the model was told the instructions in the file `path`, absolute and escaped, and still has them.
    pub fn is_instructed(&self, path: &str) -> bool {
        self.instructed.contains(path)
    }

    /// Returns how many bytes of the folder's instructions the model may still be told.
    pub fn instructions_left(&self) -> u64 {
        INSTRUCTIONS_BYTES_MAX.saturating_sub(self.conventions.folder_bytes)
    }

    pub(super) fn may_instruct(&self, paths: &[String], text: &str) -> Result<(), &'static str> {
        let new = !paths.is_empty() && !paths.iter().any(|path| self.is_instructed(path));
        let fine = self.phase == Phase::Working && self.system.is_some() && new && !text.is_empty();
        if fine { Ok(()) } else { Err("instructions are told once, at work") }
    }

    pub(super) fn instruct(&mut self, paths: &[String], text: &str) {
        Arc::make_mut(&mut self.instructed).extend(paths.iter().cloned());
        let conventions = Arc::make_mut(&mut self.conventions);
        for path in paths {
            if !conventions.instructions.contains(path) {
                conventions.instructions.push(path.clone());
                conventions.folder_bytes = conventions.folder_bytes.saturating_add(text.len() as u64);
            }
        }
        self.notice(text);
    }
}

/// Returns the paths that a call names, as it names them: relative to the folder or absolute. Of a command every word may be
/// one.
pub fn paths_of(call: &Call) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Input {
        path: Option<String>,
        patch: Option<String>,
        command: Option<String>,
    }
    let Ok(Input { path, patch, command }) = serde_json::from_str(&call.input) else { return vec![] };
    let patched = patch.as_deref().map(crate::view::patched).unwrap_or_default();
    let is_break = |c: char| c.is_whitespace() || ";|&()<>\"'`=$:,{}".contains(c);
    let words = command.iter().flat_map(|line| line.split(is_break));
    let words = words.filter(|word| !word.is_empty() && !word.starts_with('-')).take(WORDS_MAX);
    path.iter().map(String::as_str).chain(patched).chain(words).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_that_calls_name() {
        let patch =
            "*** Begin Patch\n*** Update File: web/a.css\n@@\n-x\n+y\n*** Add File: web/b\n+z\n*** End Patch";
        let rows = [
            ("read", json!({"path": "src/a.rs"}), "src/a.rs"),
            ("edit", json!({"path": "/f/src/a.rs", "old": "web/x", "new": "y"}), "/f/src/a.rs"),
            ("apply_patch", json!({"patch": patch}), "web/a.css web/b"),
            (
                "shell",
                json!({"command": "cd web && make -C lib 'x/y z'>out/log"}),
                "cd web make lib x/y z out/log",
            ),
            ("shell", json!({"command": "A=b/c d;e"}), "A b/c d e"),
            ("plan", json!({"steps": []}), ""),
            ("read", json!({"path": 3}), ""),
        ];
        for (tool, input, expected) in rows {
            let call = Call { id: "c".into(), tool: tool.into(), input: input.to_string() };
            assert_eq!(paths_of(&call).join(" "), expected, "{input}");
        }
    }
}
