//! A person changes a file of a version themself: what they made is the next version, which the host checks like any other. Only
//! files that the version itself changes are to be had here, so that nothing that the task hides, and nothing beside it, is shown
//! or written by that name.

use crate::beside;
use crate::decide::path_of;
use crate::freeze::Frozen;
use crate::keys::Keys;
use crate::masked;
use crate::quire::{CLEARED, EngineError, Quire, WRITTEN, is_own};
use crate::settings::Surroundings;
use crate::versions::prefix;
use crate::work::load_snapshot;
use quire_core::event::Part;
use quire_core::{Entry, Event, Hash, Node, Phase, Task, diff};
use quire_sandbox::FolderView;
use std::ffi::OsString;

/// Longest file that is edited, in bytes.
pub const EDITED_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of differences that the agent is told.
const TOLD_BYTES_MAX: usize = 16 << 10;

/// A file of the last version as it is to be edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editable {
    pub file: Part,
    /// As a person names it.
    pub name: String,
    pub content: Vec<u8>,
    pub version: u32,
    /// Names the version's files, for [`Quire::edit`].
    pub seen: Hash,
}

/// An edit that is in the log.
#[derive(Debug)]
pub struct Saved {
    pub task: Task,
    /// Why no host could be had for its checks; they run once there is one.
    pub no_host: Option<EngineError>,
}

impl Quire {
    /// Returns a file that the last version changes, to be edited.
    pub fn editable(&self, id: u64, path: &OsString) -> Result<Editable, EngineError> {
        self.editable_at(id, &path_of(&self.task(id)?, path)?)
    }

    /// The same by its place in the task's folders.
    pub fn editable_at(&self, id: u64, file: &Part) -> Result<Editable, EngineError> {
        let task = self.task(id)?;
        is_own(&task)?;
        rests(&task).map_err(|why| EngineError::Not { task: id, why })?;
        let version = self.reviewable(&task)?;
        let name = format!("{}{}", prefix(&task, file.folder), file.path);
        let entries = load_snapshot(self.store(), &version.snapshot)?.entries;
        let entry = entries.iter().find(|entry| is_it(entry, file));
        let no = |why: String| EngineError::NoPlaceFor { task: id, what: why };
        let entry = entry
            .ok_or_else(|| no(format!("Version {} changes no file `{name}`", version.number)))
            .and_then(|entry| {
            self.may_be_edited(&task, entry).map(|()| entry).map_err(|why| no(format!("`{name}` {why}")))
        })?;
        let (_, content) = self.contents(&self.frozen(&task)?, entry, EDITED_BYTES_MAX)?;
        let content = content.unwrap_or_default();
        if diff::is_binary(&content) {
            return Err(no(format!("`{name}` is no text")));
        }
        Ok(Editable { file: file.clone(), name, content, version: version.number, seen: version.snapshot })
    }

    /// Makes `content` of a file the next version, where the last one is still what was `seen`, and has the host check it. Returns
    /// the task as it then is, or `None` where nothing would change. Without content the file is deleted.
    pub async fn edit(
        &self,
        id: u64,
        editable: &Editable,
        content: Option<&[u8]>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Option<Saved>, EngineError> {
        let Some(task) = tokio::task::block_in_place(|| self.edited(id, editable, content, keys, here))?
        else {
            return Ok(None);
        };
        // What is in the log is saved, whatever becomes of its checks.
        let no_host = self.hand_over(id, &quire_core::view::Uses::of(&task), keys, here).await.err();
        Ok(Some(Saved { task, no_host }))
    }

    /// Returns whether the task's files are what this very edit of what was `seen` made of them: a form may be sent twice.
    pub fn is_saved(&self, id: u64, file: &Part, seen: &Hash, content: &[u8]) -> Result<bool, EngineError> {
        let task = self.task(id)?;
        let last = self.events(id, 0)?.into_iter().rev().find_map(|one| match one.event {
            Event::Edited { version, snapshot, files, .. } => Some((version, snapshot, files)),
            _ => None,
        });
        let Some((version, snapshot, files)) = last else { return Ok(false) };
        let was_seen = task.versions.iter().any(|one| one.number == version && one.snapshot == *seen);
        if !was_seen || task.snapshot != Some(snapshot) || files != [file.clone()] || task.cleared {
            return Ok(false);
        }
        let frozen = self.frozen(&task)?;
        let entry_in = |snapshot: &Hash| -> Result<Option<Entry>, EngineError> {
            let entries = load_snapshot(self.store(), snapshot)?.entries;
            Ok(entries.into_iter().find(|entry| is_it(entry, file)))
        };
        let is = match entry_in(&snapshot)? {
            Some(entry) => self.contents(&frozen, &entry, EDITED_BYTES_MAX)?.1,
            // It is as in the base again.
            None => match entry_in(seen)? {
                Some(entry) => self.contents(&frozen, &entry, EDITED_BYTES_MAX)?.0,
                None => None,
            },
        };
        Ok(is.as_deref() == Some(content))
    }

    fn edited(
        &self,
        id: u64,
        editable: &Editable,
        content: Option<&[u8]>,
        keys: &Keys,
        here: &Surroundings,
    ) -> Result<Option<Task>, EngineError> {
        let Editable { file, seen, name, .. } = editable;
        let task = self.task(id)?;
        rests(&task).map_err(|why| EngineError::Not { task: id, why })?;
        let no = |why: &str| EngineError::NoPlaceFor { task: id, what: format!("`{name}` {why}") };
        match content {
            Some(content) if content.len() as u64 > EDITED_BYTES_MAX => {
                return Err(no("would be longer than 1 MiB"));
            }
            Some(content) if diff::is_binary(content) => return Err(no("would be no text")),
            _ if content == Some(&editable.content) => return Ok(None),
            _ => {}
        }
        let mut files = load_snapshot(self.store(), seen)?;
        let Some(place) = files.entries.iter().position(|entry| is_it(entry, file)) else {
            return Err(no("is no file of this version"));
        };
        self.may_be_edited(&task, &files.entries[place]).map_err(no)?;
        let mut pack = self.store().blobs().pack();
        let before = files.entries[place].clone();
        let now = match (content, &before.now) {
            (Some(content), Some(Node::File { mode, .. })) => {
                let (blob, bytes) = pack.add(content)?;
                Some(Node::File { blob, bytes, mode: *mode })
            }
            _ => None,
        };
        let after = Entry { now, ..before.clone() };
        // What is as in the base again is no change any more.
        match after.was == after.now {
            true => drop(files.entries.remove(place)),
            false => files.entries[place] = after.clone(),
        }
        let (snapshot, _) = pack.add(files.to_blob().as_slice())?;
        pack.finish()?;
        let told =
            self.edit_told(&task, editable, (&before, &after), content, &masks_of(self, &task, keys, here)?);
        self.append(id, |task| {
            rests(task)?;
            match task.version() {
                Some(version) if version.snapshot == *seen => Ok(vec![Event::Edited {
                    version: version.number,
                    snapshot,
                    files: vec![file.clone()],
                    told: told.clone(),
                }]),
                // Nothing is written over what nobody saw.
                _ => Err(OTHER),
            }
        })
        .map_err(|error| match (error, self.task(id)) {
            (EngineError::Not { why: OTHER, .. }, Ok(Task { versions, .. })) => {
                EngineError::Seen { task: id, now: versions.last().map_or(*seen, |version| version.snapshot) }
            }
            (error, _) => error,
        })?;
        Ok(Some(self.task(id)?))
    }

    /// Returns why a path of a version is not edited.
    fn may_be_edited(&self, task: &Task, entry: &Entry) -> Result<(), &'static str> {
        match &entry.now {
            _ if self.hides(task, entry.folder, &entry.path) => Err("is hidden from tasks"),
            Some(Node::File { bytes, .. }) if *bytes > EDITED_BYTES_MAX => {
                Err("is longer than 1 MiB; ask the agent, or edit it after Accept")
            }
            Some(Node::File { .. }) => Ok(()),
            Some(Node::Dir { .. }) => Err("is a folder"),
            Some(Node::Link { .. }) => Err("is a link"),
            None => Err("was deleted in it"),
        }
    }

    fn edit_told(
        &self,
        task: &Task,
        editable: &Editable,
        (before, after): (&Entry, &Entry),
        content: Option<&[u8]>,
        masks: &quire_core::secret::Masks,
    ) -> String {
        let name = &editable.name;
        if content.is_none() {
            return format!(
                "The person deleted {name} themself, from your version. Leave it so unless they say otherwise."
            );
        }
        let change = Entry { was: before.now.clone(), now: after.now.clone(), ..before.clone() };
        let change = diff::unified(
            &prefix(task, change.folder),
            &change,
            &editable.content,
            content.unwrap_or_default(),
        );
        let change = String::from_utf8_lossy(&change).into_owned();
        let change = masks.mask(&change).unwrap_or(change);
        let did = match change.len() {
            0..=TOLD_BYTES_MAX => format!("What they did:\n{}", change.trim_end()),
            _ => "They changed more than can be shown here: read it before you go on.".to_owned(),
        };
        format!(
            "The person changed {name} themself, in your version. Leave that as they made it unless they say otherwise. {did}"
        )
    }
}

const OTHER: &str = "has another version meanwhile";

/// Returns whether the task's last version can be edited: nobody is at work on it.
fn rests(task: &Task) -> Result<(), &'static str> {
    match &task.phase {
        Phase::Discarded => Err("was discarded"),
        _ if task.cleared => Err(CLEARED),
        _ if task.is_being_written() => Err(WRITTEN),
        Phase::Working => Err("is at work; its next version comes first"),
        Phase::Waiting(_) if task.version().is_some() => {
            Err("waits in the midst of its next version; go on with it, or take it back to a version first")
        }
        Phase::Ready | Phase::Accepted if task.version().is_some() => Ok(()),
        _ => Err("has no version to edit"),
    }
}

fn is_it(entry: &Entry, file: &Part) -> bool {
    (entry.folder, &entry.path) == (file.folder, &file.path)
}

/// Returns what finds secrets in what the agent is told, as in the outputs of its commands.
fn masks_of(
    quire: &Quire,
    task: &Task,
    keys: &Keys,
    here: &Surroundings,
) -> Result<quire_core::secret::Masks, EngineError> {
    let frozen: Vec<Frozen> = quire.frozen(task)?;
    let folders = task.charter.folders.iter().zip(&frozen);
    let folders: Vec<FolderView> = folders.map(|(at, frozen)| frozen.view(at)).collect();
    let given = task.charter.secrets.iter().filter_map(|rule| keys.secret(&rule.name, here));
    let given: Vec<String> = given.map(|secret| secret.expose().to_owned()).collect();
    let hide = &task.charter.sandbox.hide;
    let around = beside::around(&task.charter.folders, &frozen, hide);
    Ok(masked::masks(&folders, &around, hide, &given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use quire_core::event::Seq;
    use quire_core::{RelPath, Snapshot};
    use std::path::Path;

    fn path(name: &str) -> RelPath {
        RelPath::new(name.as_bytes()).unwrap()
    }

    /// A task whose version changes `a`, adds `new` and `link`, and deletes `old`.
    async fn presented(dir: &Path) -> (Quire, u64, Surroundings) {
        let (home, folder) = (dir.join("home"), dir.join("folder"));
        std::fs::create_dir(&folder).unwrap();
        for name in ["a", "old", "left"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        let here = Surroundings {
            env: [("QUIRE_HOME".to_owned(), home.to_str().unwrap().to_owned())].into(),
            cwd: folder.clone(),
        };
        let quire = tokio::task::block_in_place(|| Quire::open(&here)).unwrap();
        let id = testing::begun(quire.store(), &home, &folder).await;
        let mut pack = quire.store().blobs().pack();
        let mut file = |content: &str, mode| {
            let (blob, bytes) = pack.add(content.as_bytes()).unwrap();
            Some(Node::File { blob, bytes, mode })
        };
        let entry = |name: &str, was, now| Entry { folder: 0, path: path(name), was, now };
        let link = Node::Link { target: quire_core::change::LinkTarget(b"a".to_vec()) };
        let (was, gone) = (file("a", 0o644), file("old", 0o644));
        let files = Snapshot {
            entries: vec![
                entry("a", was, file("b\n", 0o755)),
                entry("link", None, Some(link)),
                entry("new", None, file("n\n", 0o644)),
                entry("old", gone, None),
            ],
        };
        let (snapshot, _) = pack.add(files.to_blob().as_slice()).unwrap();
        pack.finish().unwrap();
        testing::present(quire.store(), id, snapshot).await;
        (quire, id, here)
    }

    fn edited(
        quire: &Quire,
        id: u64,
        editable: &Editable,
        content: Option<&[u8]>,
        here: &Surroundings,
    ) -> Result<Option<Task>, EngineError> {
        let keys = Keys::read(here).unwrap();
        tokio::task::block_in_place(|| quire.edited(id, editable, content, &keys, here))
    }

    fn entries(quire: &Quire, task: &Task) -> Vec<Entry> {
        load_snapshot(quire.store(), &task.snapshot.unwrap()).unwrap().entries
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_edit_is_the_version_with_one_file_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (quire, id, here) = presented(dir.path()).await;
        let before = entries(&quire, &quire.task(id).unwrap());
        let a = quire.editable(id, &"a".into()).unwrap();
        assert_eq!((&*a.content, a.version, &*a.name), (&b"b\n"[..], 1, "a"));
        let edit = |editable: &Editable, content: Option<&[u8]>| edited(&quire, id, editable, content, &here);
        assert!(edit(&a, Some(b"b\n")).unwrap().is_none(), "nothing changes");
        for refused in [&b"\0"[..], &vec![b'x'; 1 + (1 << 20)]] {
            assert!(matches!(edit(&a, Some(refused)), Err(EngineError::NoPlaceFor { .. })));
        }
        let left = Editable { file: Part { folder: 0, path: path("left") }, ..a.clone() };
        assert!(
            matches!(edit(&left, Some(b"x")), Err(EngineError::NoPlaceFor { .. })),
            "no file of the version"
        );
        for none in ["left", "link", "old", "nowhere", "../a", "/etc/passwd", ".env"] {
            assert!(quire.editable(id, &none.into()).is_err(), "{none}");
        }

        let task = edit(&a, Some(b"c\n")).unwrap().unwrap();
        assert_eq!(task.phase, Phase::Working);
        let after = entries(&quire, &task);
        let differ = before.iter().zip(&after).filter(|(was, now)| was != now).collect::<Vec<_>>();
        let [(was, Entry { now: Some(Node::File { blob, mode: 0o755, .. }), .. })] = *differ else {
            panic!("{differ:?}")
        };
        assert_eq!(
            (was.path.clone(), quire.store().blobs().get(blob).unwrap()),
            (path("a"), b"c\n".to_vec())
        );
        // It is at work on that one now.
        assert!(matches!(edit(&a, Some(b"d\n")), Err(EngineError::Not { .. })));
        let is_saved =
            |file: &Part, seen: &Hash, content: &[u8]| quire.is_saved(id, file, seen, content).unwrap();
        assert!(is_saved(&a.file, &a.seen, b"c\n"));
        assert!(!is_saved(&a.file, &a.seen, b"d\n") && !is_saved(&left.file, &a.seen, b"c\n"));
        assert!(!is_saved(&a.file, &task.snapshot.unwrap(), b"c\n"), "of another version");
        let events: Seq = quire.task(id).unwrap().seq;
        let last = quire.events(id, events - 1).unwrap().pop().unwrap().event;
        let Event::Edited { told, .. } = last else { panic!() };
        assert!(told.contains("-b\n+c"), "{told}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_hidden_from_a_task_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (quire, id, _) = presented(dir.path()).await;
        std::fs::write(dir.path().join("folder/.env"), "TOKEN=abcdefgh1234").unwrap();
        let shown = |version, name: &str| quire.file_of(id, version, 0, &path(name), 99).unwrap();
        assert_eq!(shown(Some(1), "a").as_deref(), Some(&b"b\n"[..]));
        assert!(shown(None, "left").is_some());
        let task = quire.task(id).unwrap();
        let hidden = |name: &str| quire.hides(&task, 0, &path(name));
        assert!(hidden(".env") && !hidden("a") && quire.hides(&task, 7, &path("a")), "no such folder");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_again_as_in_the_folder_or_deleted_is_no_change_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (quire, id, here) = presented(dir.path()).await;
        let new = quire.editable(id, &"new".into()).unwrap();
        let task = edited(&quire, id, &new, None, &here).unwrap().unwrap();
        let left: Vec<String> = entries(&quire, &task).iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(left, ["a", "link", "old"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_written_over_a_version_that_was_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (quire, id, here) = presented(dir.path()).await;
        let a = quire.editable(id, &"a".into()).unwrap();
        let task = edited(&quire, id, &a, Some(b"c\n"), &here).unwrap().unwrap();
        let (layer, snapshot) = (task.layer, task.snapshot.unwrap());
        let apart = quire_core::event::Apart::default();
        let sealed = Event::Sealed { layer, snapshot, apart, checks: vec![], files: None };
        testing::tell(quire.store(), id, vec![sealed, Event::Presented { version: 2, snapshot }]).await;
        let stale = edited(&quire, id, &a, Some(b"d\n"), &here);
        assert!(matches!(&stale, Err(EngineError::Seen { now, .. }) if *now == snapshot), "{stale:?}");
        let a = quire.editable(id, &"a".into()).unwrap();
        assert_eq!((&*a.content, a.version), (&b"c\n"[..], 2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_secret_is_told_to_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let (quire, id, here) = presented(dir.path()).await;
        let a = quire.editable(id, &"a".into()).unwrap();
        let key = format!("ghp_{}", "a1B2c3D4e5F6".repeat(3));
        edited(&quire, id, &a, Some(format!("token = \"{key}\"\n").as_bytes()), &here).unwrap();
        let seq = quire.task(id).unwrap().seq;
        let Event::Edited { told, .. } = quire.events(id, seq - 1).unwrap().pop().unwrap().event else {
            panic!()
        };
        assert!(!told.contains(&key) && told.contains("The person changed a"), "{told}");
    }
}
