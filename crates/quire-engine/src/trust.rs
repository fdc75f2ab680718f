//! Trust: what a folder brings of its own (settings that allow more than its person does, hooks) counts only once its person
//! said so, and only as long as it stays what they saw. So a folder from anybody, and one in which an agent's work was
//! accepted, asks for nothing by itself.
//!
//! What is trusted is a hash of exactly the files that want something. It lies in quire's data directory, where no sandbox
//! looks, one small file for each folder.

use crate::hooks;
use crate::plain_file::read_start;
use crate::rooted::replace_file;
use quire_core::Hash;
use quire_core::bytes::escape;
use quire_core::charter::Hook;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a project's hooks stand: our own place, and those of other agents, in the same form.
const HOOKS: [&str; 3] = [".quire/hooks.json", ".codex/hooks.json", ".claude/settings.json"];

/// A file of hooks that is longer is none.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What a folder wants to count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wants {
    pub folder: PathBuf,
    /// Settings that allow more, each as `KEY (why)`.
    pub settings: Vec<String>,
    pub hooks: Vec<Hook>,
    /// The files that want it, with what is in them.
    files: Vec<(&'static str, Vec<u8>)>,
    /// The person trusted other contents before.
    pub changed: bool,
}

/// Returns the hooks of a file, and what in it has no effect; none where there is no file, or it is not one.
pub(crate) fn hooks_of(path: &Path, from: &str) -> (Vec<u8>, Vec<Hook>, Vec<String>) {
    let none = |why: String| (vec![], vec![], vec![why]);
    let start = match read_start(path, FILE_BYTES_MAX) {
        Ok(None) => return (vec![], vec![], vec![]),
        Ok(Some(start)) if start.whole => start,
        Ok(Some(_)) => return none(format!("{from}: it is longer than 1 MiB")),
        Err(error) => return none(format!("{from}: {error}")),
    };
    match hooks::parse(&start.bytes, from) {
        Ok((hooks, idle)) => (start.bytes, hooks, idle),
        Err(why) => none(why),
    }
}

impl Wants {
    /// Returns what the folder's hooks want, and what of them has no effect.
    pub(crate) fn of_hooks(folder: &Path) -> (Wants, Vec<String>) {
        let mut wants = Wants { folder: folder.to_owned(), ..Wants::default() };
        let mut idle = vec![];
        for name in HOOKS {
            let (bytes, hooks, none) = hooks_of(&folder.join(name), name);
            // The settings of another agent hold much that is none of ours.
            if name == HOOKS[0] || !hooks.is_empty() {
                idle.extend(none);
            }
            if !hooks.is_empty() {
                wants.files.push((name, bytes));
                wants.hooks.extend(hooks);
            }
        }
        (wants, idle)
    }

    /// Adds a setting of the folder's quire.toml, whose text is `content`.
    pub(crate) fn add_setting(&mut self, setting: String, content: &[u8]) {
        if self.settings.is_empty() {
            self.files.push(("quire.toml", content.to_owned()));
        }
        self.settings.push(setting);
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns what it comes to, in few words: `sandbox.net of quire.toml and 2 hooks of .claude/settings.json`.
    pub fn brief(&self) -> String {
        let keys: Vec<&str> = self.settings.iter().filter_map(|setting| setting.split(' ').next()).collect();
        let mut parts = vec![];
        if !keys.is_empty() {
            parts.push(format!("{} of quire.toml", keys.join(", ")));
        }
        for (name, _) in self.files.iter().filter(|(name, _)| *name != "quire.toml") {
            let number = self.hooks.iter().filter(|hook| hook.from == *name).count();
            parts.push(format!("{} of {name}", quire_core::view::count(number as u64, "hook")));
        }
        parts.join(", ")
    }

    fn hash(&self) -> Hash {
        let mut all = vec![];
        for (name, content) in &self.files {
            all.extend_from_slice(format!("{name}\0{}\0", content.len()).as_bytes());
            all.extend_from_slice(content);
        }
        Hash::of(&all)
    }

    /// Returns whether the person trusts exactly this; notes whether they trusted something else.
    pub(crate) fn is_trusted(&mut self, home: &Path) -> bool {
        let trusted = fs::read_to_string(dir(home).join(name(&self.folder))).ok();
        let trusted = trusted.as_deref().and_then(|text| text.lines().next());
        let is = trusted == Some(&self.hash().to_string());
        self.changed = trusted.is_some() && !is;
        is
    }

    /// Trusts it from now on.
    pub fn trust(&self, home: &Path) -> io::Result<()> {
        let dir = dir(home);
        fs::create_dir_all(&dir)?;
        let text = format!("{}\n{}\n", self.hash(), escape(self.folder.as_os_str().as_bytes()));
        replace_file(&dir, &name(&self.folder), text.as_bytes())
    }
}

/// Takes back whatever was trusted of a folder; returns whether anything was.
pub fn distrust(home: &Path, folder: &Path) -> io::Result<bool> {
    match fs::remove_file(dir(home).join(name(folder))) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Its name in the data directory.
pub(crate) const DIR: &str = "trusted";

fn dir(home: &Path) -> PathBuf {
    home.join(DIR)
}

fn name(folder: &Path) -> String {
    Hash::of(folder.as_os_str().as_bytes()).to_string()
}
