//! `write`: a whole file.

use super::files::{Change, FileError, commit, landing, shown};
use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use quire_core::charter::Edits;
use schemars::JsonSchema;
use serde::Deserialize;

/// Write a whole file, new or in place of the one there; missing folders are made, the mode is kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    /// From the task's folder, or absolute.
    path: String,
    content: String,
}

impl Tool for Write {
    const NAME: &'static str = "write";
    const FOR: Option<Edits> = Some(Edits::EditAndWrite);

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let path = here.inside.at(&self.path);
        let (bytes, lines) = (self.content.len(), self.content.lines().count());
        let write = || -> Result<bool, FileError> {
            let place = landing(&path).map_err(|e| FileError::io(&path, e))?;
            if place.is_dir() {
                return Err(FileError::Folder { path: shown(&path) });
            }
            let there = place.exists();
            commit(&[Change { path: place, content: Some(self.content.into_bytes()), like: None }])?;
            Ok(there)
        };
        match write() {
            Ok(there) => {
                let how = if there { "Replaced" } else { "Wrote the new file" };
                said(format!("{how} {}: {lines} lines, {bytes} bytes.", self.path))
            }
            Err(error) => refused(format!("{error} Nothing was written.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Place;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn writes() {
        let place = Place::new();
        let write =
            |path: &str, content: &str| place.call("write", json!({"path": path, "content": content})).text;
        assert_eq!(write("a/b/c.txt", "one\ntwo\n"), "Wrote the new file a/b/c.txt: 2 lines, 8 bytes.");
        assert_eq!(place.get("a/b/c.txt"), b"one\ntwo\n");
        fs::set_permissions(place.path("a/b/c.txt"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(write("a/b/c.txt", ""), "Replaced a/b/c.txt: 0 lines, 0 bytes.");
        assert_eq!(place.get("a/b/c.txt"), b"");
        assert_eq!(fs::metadata(place.path("a/b/c.txt")).unwrap().permissions().mode() & 0o777, 0o755);
        let absolute = place.path("abs");
        write(absolute.to_str().unwrap(), "x");
        assert_eq!(place.get("abs"), b"x");
        symlink("later", place.path("dangling")).unwrap();
        write("dangling", "through");
        assert_eq!(place.get("later"), b"through");
        assert!(fs::symlink_metadata(place.path("dangling")).unwrap().is_symlink());
        write("missing/../here", "y");
        assert_eq!(place.get("here"), b"y");
        assert!(!fs::exists(place.path("missing")).unwrap());
        let names = fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name());
        assert!(!names.into_iter().any(|n| n.to_string_lossy().contains("quire")), "nothing is left beside");
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let place = Place::new();
        place.put("file", "x");
        symlink("loop", place.path("loop")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(place.path("fifo")).status().unwrap().success());
        for (path, expect) in [
            ("", "is a folder"),
            ("file/below", "Not a directory"),
            ("fifo", "a named pipe"),
            ("/dev/null", "is a device"),
            ("/proc/self/new", "."),
            ("loop", "symbolic links"),
            ("a\0b", "NUL byte"),
        ] {
            let outcome = place.call("write", json!({"path": path, "content": "y"}));
            assert!(!outcome.ok && outcome.text.contains(expect), "{path:?}: {}", outcome.text);
            assert!(outcome.text.ends_with("Nothing was written."), "{path:?}: {}", outcome.text);
        }
        assert_eq!(place.get("file"), b"x");
    }
}
