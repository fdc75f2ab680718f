//! Skills: folders with a `SKILL.md` that says how a kind of work is done, beside scripts, references and templates for it
//! (https://agentskills.io). At the start the model is told name and description alone; it reads the rest when it needs it,
//! with the tools that it has anyway.
//!
//! A skill in the task's folder is there in the sandbox as it is. Any other lies where the sandbox shows nothing, so it is
//! copied into the task's own data as it was when the task began, and shown read-only. As with AGENTS.md
//! ([`crate::instructions`]) nothing of a project's is read that leads out of it, and nothing that is hidden.

mod frontmatter;

use crate::instructions::{Reader, root_of, shown, way};
use crate::plain_file::read_start;
use quire_core::event::Skill;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// In a directory of the project, in this order.
const OF_PROJECT: [&str; 3] = [".agents/skills", ".codex/skills", ".claude/skills"];
/// Below a home, after those in quire's own directory.
const OF_HOME: [&str; 4] = [".agents/skills", ".codex/skills", ".claude/skills", ".codex/skills/.system"];
/// Whoever looks after the machine puts skills there.
const OF_MACHINE: &str = "/etc/codex/skills";

/// Directories of one place that are looked at.
const ENTRIES_MAX: usize = 500;
/// The start of a SKILL.md that holds all that is told of it, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most that is copied of one skill: files and directories, and bytes.
const COPIED_MAX: (u32, u64) = (2_000, 32 << 20);
/// The most that the list of skills takes of each request, in bytes.
const LIST_BYTES_MAX: usize = 8 << 10;
/// Descriptions are cut to the first of these, in bytes, with which the list fits.
const DESCRIPTION_BYTES: [usize; 4] = [4096, 512, 256, 128];

/// A skill that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    /// One line.
    pub description: String,
    /// Its directory, as it was found.
    pub dir: PathBuf,
    /// The name of its SKILL.md, which may be in small letters.
    file: &'static str,
    /// The same without links.
    real: PathBuf,
}

impl Found {
    /// Returns where it lies relative to the folder that holds it, or `None` where that is another.
    fn within(&self, folder: &Path) -> Option<&Path> {
        self.real.strip_prefix(folder).ok()
    }
}

/// Returns all skills for a task, the nearest first, and why others are none.
pub fn find(reader: Reader<'_>) -> (Vec<Found>, Vec<(PathBuf, String)>) {
    let root = root_of(reader.folder);
    let project = way(root, reader.folder).into_iter().rev();
    let project = project.flat_map(|dir| OF_PROJECT.map(|at| (dir.join(at), Some(root))));
    let own = reader.config_dir.map(|dir| dir.join("skills"));
    let home = reader.home.into_iter().flat_map(|home| OF_HOME.map(|at| home.join(at)));
    let others = own.into_iter().chain(home).chain([PathBuf::from(OF_MACHINE)]).map(|dir| (dir, None));
    let (mut found, mut refused) = (Vec::<Found>::new(), vec![]);
    for (place, within) in project.chain(others) {
        for dir in entries(&place) {
            match look(&dir, within, reader) {
                Ok(None) => {}
                Err(why) => refused.push((dir, why)),
                Ok(Some(skill)) => match found.iter().find(|other| other.name == skill.name) {
                    None => found.push(skill),
                    // Places are often links to one another.
                    Some(first) if first.real == skill.real => {}
                    Some(first) => {
                        let why = format!("{} has the same name and comes first", shown(&first.dir));
                        refused.push((dir, why));
                    }
                },
            }
        }
    }
    (found, refused)
}

fn entries(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![] };
    let plain = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b".");
    let dirs = entries.flatten().filter(|entry| plain(&entry.file_name())).map(|entry| entry.path());
    let mut dirs: Vec<PathBuf> = dirs.filter(|path| path.is_dir()).take(ENTRIES_MAX).collect();
    dirs.sort();
    dirs
}

/// Returns the skill in `dir`, or `None` where there is none.
fn look(dir: &Path, within: Option<&Path>, reader: Reader<'_>) -> Result<Option<Found>, String> {
    let Some((file, path)) = ["SKILL.md", "skill.md"]
        .map(|name| (name, dir.join(name)))
        .into_iter()
        .find(|(_, path)| path.exists())
    else {
        return Ok(None);
    };
    let real = fs::canonicalize(dir).map_err(|error| error.to_string())?;
    let text = fs::canonicalize(&path).map_err(|error| error.to_string())?;
    if within.is_some_and(|root| !real.starts_with(root) || !text.starts_with(root)) {
        return Err("it is a link that leads out of the project".into());
    }
    if within.is_some() && quire_sandbox::hides(&text, reader.folder, reader.hide, reader.home) {
        return Err("it is hidden".into());
    }
    let head = read_start(&path, HEAD_BYTES_MAX).map_err(|error| error.to_string())?.ok_or("it is gone")?;
    let name =
        dir.file_name().unwrap_or_default().to_str().ok_or("the name of its directory is not UTF-8")?;
    let text = match std::str::from_utf8(&head.bytes) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if !head.whole && error.error_len().is_none() => {
            std::str::from_utf8(&head.bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Err(format!("its {file} is not UTF-8")),
    };
    let said = frontmatter::read(text, name)?;
    let description = said.description.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Some(Found { name: said.name, description, dir: dir.to_owned(), file, real }))
}

/// Returns the skills as the model is told of them, and why some are not told or have not all their files. Those outside the
/// folder are copied into `given`, which the sandbox shows at `inside`.
pub fn give(found: Vec<Found>, reader: Reader<'_>, given: &Path, inside: &Path) -> (Vec<Skill>, Vec<String>) {
    let (mut skills, mut left_out) = (vec![], vec![]);
    for skill in found {
        let path = match skill.within(reader.folder) {
            Some(below) => below.join(skill.file),
            None => {
                let to = given.join("skills").join(&skill.name);
                match copy(&skill.real, &to, reader) {
                    Ok(missing) => {
                        let missing = missing.iter().map(|(path, why)| format!("{}: {why}", shown(path)));
                        left_out.extend(missing);
                    }
                    Err(error) => {
                        left_out.push(format!("{}: it cannot be copied: {error}", shown(&skill.dir)));
                        continue;
                    }
                }
                inside.join("skills").join(&skill.name).join(skill.file)
            }
        };
        skills.push(Skill { name: skill.name, description: skill.description, path: shown(&path) });
    }
    left_out.extend(bound(&mut skills));
    (skills, left_out)
}

/// Cuts the list to its bound, and says what was left out.
fn bound(skills: &mut Vec<Skill>) -> Option<String> {
    let line = |skill: &Skill, most: usize| {
        skill.name.len() + skill.path.len() + skill.description.len().min(most) + 8
    };
    let fits = |most: &usize| skills.iter().map(|skill| line(skill, *most)).sum::<usize>() <= LIST_BYTES_MAX;
    let most = DESCRIPTION_BYTES.into_iter().find(fits).unwrap_or(DESCRIPTION_BYTES[3]);
    let mut left = LIST_BYTES_MAX;
    let room = skills.iter().take_while(|skill| {
        let taken = left.checked_sub(line(skill, most));
        left = taken.unwrap_or(0);
        taken.is_some()
    });
    let room = room.count();
    let all = skills.len();
    skills.truncate(room);
    for skill in skills.iter_mut().filter(|skill| skill.description.len() > most) {
        let end = (0..=most - 4).rev().find(|at| skill.description.is_char_boundary(*at)).unwrap_or(0);
        skill.description.truncate(end);
        skill.description.push('\u{2026}');
    }
    (room < all).then(|| format!("{} skills of {all}: the list of them is too long", all - room))
}

/// Copies a skill, and returns what of it was not: what is no file, leads out of it, or is hidden.
fn copy(from: &Path, to: &Path, reader: Reader<'_>) -> io::Result<Vec<(PathBuf, String)>> {
    let (mut entries_left, mut bytes_left) = COPIED_MAX;
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 2,000 files or 32 MiB");
    let mut missing = vec![];
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        make_dir(&to.join(&below))?;
        for entry in fs::read_dir(from.join(&below))? {
            let entry = entry?;
            entries_left = entries_left.checked_sub(1).ok_or_else(too_large)?;
            let (path, below) = (entry.path(), below.join(entry.file_name()));
            let (kind, to) = (entry.file_type()?, to.join(&below));
            if quire_sandbox::hides(&path, reader.folder, reader.hide, reader.home) {
                missing.push((path, "it is hidden".into()));
            } else if kind.is_dir() {
                if entry.file_name() != ".git" {
                    pending.push(below);
                }
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                let stays =
                    target.is_relative() && fs::canonicalize(&path).is_ok_and(|real| real.starts_with(from));
                match stays {
                    true => symlink(target, to)?,
                    false => missing.push((path, "it is a link that leads out of the skill".into())),
                }
            } else {
                let most = usize::try_from(bytes_left).unwrap_or(usize::MAX);
                let start = match read_start(&path, most) {
                    Ok(Some(start)) => start,
                    Ok(None) => continue,
                    Err(error) => {
                        missing.push((path, error.to_string()));
                        continue;
                    }
                };
                if !start.whole {
                    return Err(too_large());
                }
                bytes_left -= start.bytes.len() as u64;
                let runs = start.file.metadata()?.permissions().mode() & 0o100 != 0;
                fs::write(&to, &start.bytes)?;
                fs::set_permissions(&to, fs::Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
            }
        }
    }
    Ok(missing)
}

/// Makes a directory that everybody may read: inside the owners are others.
fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests;
