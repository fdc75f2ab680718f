//! Secrets that turn up in what a sandbox says are masked before it is written down or leaves the machine.
//!
//! The files that hold them are hidden inside, but git's history has copies, and a test may print what it was given. So the
//! values in the folder's hidden files are looked for too: quire reads these files for nothing else.

use crate::beside::Around;
use crate::rooted::Rooted;
use quire_core::RelPath;
use quire_core::secret::{self, Masks};
use quire_sandbox::{FolderView, folder_secrets};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A file of settings is longer than this only by mistake.
const SETTINGS_MAX: u64 = 64 << 10;
/// Values that are shorter are words, numbers and names of environments more often than secrets.
const VALUE_MIN: usize = 12;
/// The same, where the name of the value says that it is one.
const NAMED_MIN: usize = 8;
/// What is read at once. A secret ends within a line or, a private key, within a few dozen of them.
const CHUNK: usize = 256 << 10;
/// What is kept back until more was read, because a secret may begin in it.
const KEPT_BACK: usize = 40 << 10;

/// Returns what to look for in the outputs of a task on `folders`: the values that were `given` to it, and what stands in the
/// hidden files, which are read for that. Those `around` a folder are read where the person has them.
pub fn masks(folders: &[FolderView], around: &[Around], hide: &[String], given: &[String]) -> Masks {
    let mut values = vec![];
    for Around { top, secrets, .. } in around {
        let texts = secrets.iter().filter_map(|secret| settings(top, secret));
        texts.for_each(|text| values.extend(values_in(&text)));
    }
    for folder in folders {
        for secret in folder_secrets(folder, hide) {
            let Some(secret) = RelPath::new(secret.as_os_str().as_bytes()) else { continue };
            let texts = folder.frozen.iter().filter_map(|layer| settings(layer, &secret));
            texts.for_each(|text| values.extend(values_in(&text)));
        }
    }
    values.sort();
    values.dedup();
    Masks::new(given.iter().map(String::as_str), values.iter().map(String::as_str))
}

fn settings(layer: &Path, secret: &RelPath) -> Option<String> {
    // A link in it leads to where other rules hold.
    let mut file = Rooted::open(layer).ok()?.file(secret).ok()?;
    if file.metadata().ok()?.len() > SETTINGS_MAX {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Returns the values of `NAME=value` lines that are worth hiding.
fn values_in(text: &str) -> Vec<String> {
    let value = |line: &str| {
        let line = line.trim().trim_start_matches("export ");
        let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let name = name.trim().to_ascii_uppercase();
        let named = ["KEY", "TOKEN", "SECRET", "PASS", "PWD"].iter().any(|word| name.contains(word));
        let value = bare(value);
        // Of an address with a password, the password.
        let value = match value.split_once("://").and_then(|(_, rest)| rest.split_once('@')) {
            Some((who, _)) => who.split_once(':').map_or("", |(_, password)| password),
            None if value.contains("://") || value.starts_with('/') => "",
            // Several words are a sentence, or a passphrase.
            None if value.contains(' ') && !named => "",
            None => value,
        };
        let varied = value.chars().any(|c| c.is_ascii_digit()) && value.chars().any(char::is_alphabetic);
        let worth = if named { value.len() >= NAMED_MIN } else { value.len() >= VALUE_MIN && varied };
        worth.then(|| value.to_owned())
    };
    text.lines().filter_map(value).collect()
}

/// Returns a value without its quotes, and without a comment behind it.
fn bare(value: &str) -> &str {
    let Some(quote) = value.trim().chars().next().filter(|first| ['"', '\''].contains(first)) else {
        return value.find(" #").map_or(value, |comment| &value[..comment]).trim();
    };
    let inner = &value.trim()[1..];
    inner.split_once(quote).map_or(inner, |(inner, _)| inner)
}

/// Reads `from` with masks in the place of secrets.
pub struct Masked<'m, R> {
    from: R,
    masks: &'m Masks,
    /// Read, and not looked at to its end.
    raw: Vec<u8>,
    /// Ready to be given on, from `given`.
    ready: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<'m, R: Read> Masked<'m, R> {
    pub fn new(from: R, masks: &'m Masks) -> Masked<'m, R> {
        Masked { from, masks, raw: vec![], ready: vec![], given: 0, ended: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        let want = (CHUNK - self.raw.len().min(CHUNK)) as u64;
        self.ended = self.from.by_ref().take(want).read_to_end(&mut self.raw)? == 0;
        let safe = if self.ended { self.raw.len() } else { self.raw.len().saturating_sub(KEPT_BACK) };
        self.ready.clear();
        self.given = 0;
        let mut from = 0;
        for found in self.masks.find(&self.raw) {
            // It may go on in what was not read yet.
            if found.at.start >= safe {
                break;
            }
            self.ready.extend_from_slice(&self.raw[from..found.at.start]);
            self.ready.extend_from_slice(secret::mask_of(found.kind).as_bytes());
            from = found.at.end;
        }
        if from < safe {
            self.ready.extend_from_slice(&self.raw[from..safe]);
            from = safe;
        }
        self.raw.drain(..from);
        Ok(())
    }
}

impl<R: Read> Read for Masked<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() && !self.ended {
            self.fill()?;
        }
        let n = into.len().min(self.ready.len() - self.given);
        into[..n].copy_from_slice(&self.ready[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn values_worth_hiding() {
        let text = "# A=commented-out-1234\nPORT=8080\nNODE_ENV=development\nexport API_KEY='hunter2hunter2'\n\
                    DATABASE_URL=postgres://app:p4ssw0rd-p4ss@db.example/app\nHOMEPAGE=https://example.org/1234567\n\
                    PASSWORD=letmein!\nSALT=9f8e7d6c5b4a39281706\nTITLE=My page no 1 of all\nCERT=/etc/ssl/cert-2024.pem\nTOKEN=x\n";
        assert_eq!(values_in(text), ["hunter2hunter2", "p4ssw0rd-p4ss", "letmein!", "9f8e7d6c5b4a39281706"]);
    }

    #[test]
    fn a_value_with_a_comment_quotes_or_blanks_is_a_value_too() {
        let rows = [
            ("API_KEY=sk_abc123 # staging", Some("sk_abc123")),
            ("API_KEY = 'sk_abc123' # staging", Some("sk_abc123")),
            ("API_KEY=\"sk_abc # 123\"", Some("sk_abc # 123")),
            ("API_KEY=sk#abc123", Some("sk#abc123")),
            ("DB_PASS=correct horse battery", Some("correct horse battery")),
            ("DB_PASS=\"correct horse battery", Some("correct horse battery")),
            ("DB_PASS=\"it's a secret\"", Some("it's a secret")),
            ("TITLE=\"My page no 1 of all\"", None),
            ("API_KEY= # none yet, see the wiki", None),
            ("API_KEY=", None),
            ("API_KEY='", None),
        ];
        for (line, expected) in rows {
            assert_eq!(values_in(line).first().map(String::as_str), expected, "{line}");
        }
    }

    #[test]
    fn what_hidden_files_hold_is_masked_in_outputs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".env"), "API_KEY=hunter2hunter2\n").unwrap();
        fs::write(dir.path().join("readme"), "API_KEY=not-in-a-hidden-file\n").unwrap();
        let view = FolderView {
            at: "/folder".into(),
            frozen: vec![dir.path().to_owned()],
            ignored: vec![],
            suspects: None,
            git_of: None,
        };
        let masks = masks(&[view], &[], &[], &[]);
        assert_eq!(masks.mask("k=hunter2hunter2").as_deref(), Some("k=[quire hid a secret: known value]"));
        assert_eq!(masks.mask("not-in-a-hidden-file"), None);
    }

    /// Gives what it holds in pieces of a few bytes.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn a_whole_output_is_masked_wherever_its_pieces_end() {
        let masks = Masks::new(["hunter2hunter2"], []);
        for before in
            [0, 1, CHUNK - KEPT_BACK - 7, CHUNK - KEPT_BACK, CHUNK - 7, CHUNK - 1, CHUNK, 2 * CHUNK + 3]
        {
            let text = format!("{}hunter2hunter2 end", "x".repeat(before));
            let expected = format!("{}[quire hid a secret: known value] end", "x".repeat(before));
            for piece in [3, 1 << 20] {
                let mut read = String::new();
                Masked::new(Slow(text.as_bytes(), piece), &masks).read_to_string(&mut read).unwrap();
                assert!(read == expected, "{before} bytes before, in pieces of {piece}");
            }
        }
    }
}
