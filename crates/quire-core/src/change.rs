//! What a task changed in its folders, as a value: a [`Snapshot`] names every path whose content, kind or mode differs from
//! the frozen base, with what it was and what it is now. Review, accept and undo all read this and nothing else. What a
//! person should know of a path before it is theirs is in the modules below: each is one rule, and pure.

pub mod generated;
pub mod inert;
pub mod interfaces;
pub mod programs;
pub mod renames;
pub mod unseen;

use crate::bytes::{Hash, RelPath};
use serde::{Deserialize, Serialize};

/// The folders of a task at one moment, as differences from their frozen bases. Stored as a blob of canonical JSON, whose
/// hash is the snapshot's name: what a person saw is what is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Sorted by folder and path; no entry in which `was == now`.
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// Index into the charter's folders.
    pub folder: u32,
    pub path: RelPath,
    /// In the base; absent: not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Node>,
    /// In the snapshot; absent: deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Node>,
}

/// What stands at a path. Other kinds (devices, sockets, pipes) are left out of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// `mode` holds only the nine rwx bits, without write for others.
    File {
        blob: Hash,
        bytes: u64,
        mode: u32,
    },
    /// The target as it stands in the link; never followed.
    Link {
        target: LinkTarget,
    },
    Dir {
        mode: u32,
    },
}

/// A symlink's target: any bytes. In JSON a string with the escapes of [`RelPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkTarget(pub Vec<u8>);

impl Serialize for LinkTarget {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&crate::bytes::escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<LinkTarget, D::Error> {
        let text = String::deserialize(d)?;
        crate::bytes::unescape(&text)
            .map(LinkTarget)
            .ok_or_else(|| serde::de::Error::custom("bad escape in a link target"))
    }
}

impl Snapshot {
    /// Returns the canonical bytes that are stored and hashed.
    pub fn to_blob(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a snapshot is plain data")
    }

    pub fn from_blob(blob: &[u8]) -> Result<Snapshot, serde_json::Error> {
        serde_json::from_slice(blob)
    }

    pub fn id(&self) -> Hash {
        Hash::of(&self.to_blob())
    }

    /// Returns how many files changed, as a person counts them: one that was renamed once, and no folders. `None`: folders alone did.
    pub fn files(&self) -> Option<u32> {
        let is_dir =
            |entry: &&Entry| matches!(entry.now.as_ref().or(entry.was.as_ref()), Some(Node::Dir { .. }));
        let all = self.entries.len() - self.entries.iter().filter(is_dir).count();
        let files = all - renames::renames(&self.entries).len();
        (files > 0 || self.entries.is_empty()).then_some(files as u32)
    }
}
