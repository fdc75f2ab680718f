//! Sealed layers made one. Each turn of a task seals another, overlayfs refuses a stack of 500, and every layer makes the
//! first look at a path slower.

use crate::layer::{self, Marks};
use crate::pieces::Pieces;
use crate::rooted::Rooted;
use crate::stack::Stack;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Makes the new layer `made` of sealed ones, newest first, so that it shows what they show. `under` opens what stands below
/// one of their directories of changes, named as in [`crate::layer`]. Durable when this returns. The layers stay: a file that
/// shows has a second name in the new one. An error leaves a part of it behind.
pub fn squash(layers: &[PathBuf], made: &Path, under: &dyn Fn(&Path) -> io::Result<Stack>) -> io::Result<()> {
    let marks: BTreeSet<bool> =
        layers.iter().map(|layer| layer::marks_of(&layer.join("part")) == Marks::Trusted).collect();
    // What is a mark in one space is content of an agent's in the other.
    let marks = match (marks.contains(&true), marks.contains(&false)) {
        (true, true) => return Err(io::Error::other("the layers have their marks in different places")),
        (true, false) => Marks::Trusted,
        _ => Marks::User,
    };
    let make = |dir: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    make(made)?;
    layer::note_marks(made, marks)?;
    let pieces = Pieces::of(layers)?;
    for part in parts(layers)? {
        let stack = Stack::open(&layers.iter().map(|layer| layer.join(&part)).collect::<Vec<_>>())?;
        let to = made.join(&part);
        make(&to)?;
        stack.merge(&Rooted::open(&to)?, &ground(&pieces, &part, under(&part))?)?;
    }
    Ok(rustix::fs::syncfs(fs::File::open(made)?)?)
}

/// Opens what a directory of changes will stand on: `machine`, and upon that what the layers have of a piece of the machine in
/// pieces that were cut more coarsely.
fn ground(layers: &Pieces, part: &Path, machine: io::Result<Stack>) -> io::Result<Stack> {
    let machine = match machine {
        // What the person may not enter is not shown: there is nothing of it below.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Stack::open(&[]),
        machine => machine,
    }?;
    let Ok(piece) = part.strip_prefix("machine") else { return Ok(machine) };
    let coarser = layers.changes(&layer::path_of(piece.as_os_str()), &|upper| upper.ends_with(part))?;
    let ground = Stack::of(coarser.dirs);
    Ok(if coarser.hides { ground } else { ground.upon(machine) })
}

/// Returns the upper directories that any of the layers has, relative to it.
fn parts(layers: &[PathBuf]) -> io::Result<BTreeSet<PathBuf>> {
    let mut parts = BTreeSet::new();
    for layer in layers {
        for entry in fs::read_dir(layer)? {
            let entry = entry?;
            let name = entry.file_name();
            if !entry.file_type()?.is_dir() {
                continue;
            }
            if ["folder-", "git-"].iter().any(|kind| name.as_encoded_bytes().starts_with(kind.as_bytes())) {
                parts.insert(name.into());
                continue;
            }
            if name != "machine" && !name.as_encoded_bytes().starts_with(b"ignored-") {
                return Err(io::Error::other("a layer has a part that cannot be in a sealed one"));
            }
            for inner in fs::read_dir(entry.path())? {
                parts.insert(Path::new(&name).join(inner?.file_name()));
            }
        }
    }
    Ok(parts)
}
