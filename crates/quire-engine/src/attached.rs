//! Files that a person hands over with their words: read into the store before these are said, so that nothing that becomes of them
//! later matters, and laid out for the task's sandboxes beside the folders.

use crate::blob::{BlobError, Blobs};
use crate::conventions::given_inside;
use crate::plain_file;
use quire_core::Hash;
use quire_core::bytes::escape;
use quire_core::message::Attachment;
use quire_sandbox::Rung;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The most that one file may hold, and all together.
const BYTES_MAX: usize = 64 << 20;
/// The largest picture that models are shown.
const PICTURE_BYTES_MAX: usize = 5 << 20;
const FILES_MAX: usize = 64;
/// In what sandboxes are given.
const DIR: &str = "attached";

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("`{}` cannot be handed over: {why}.", path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error("`{}` cannot be handed over: with it there are more than 64 files or 64 MiB.", path.display())]
    TooMuch { path: PathBuf },
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Reads the files at `paths`, below `cwd` where they are relative, into the store. Nothing is stored where one cannot be read.
pub fn read(paths: &[PathBuf], cwd: &Path, blobs: &Blobs) -> Result<Vec<Attachment>, AttachError> {
    let mut contents = vec![];
    let mut left = BYTES_MAX;
    for path in paths {
        let unreadable = |why| AttachError::Unreadable { path: path.clone(), why };
        let start = plain_file::read_start(&cwd.join(path), left).map_err(unreadable)?;
        let start = start.ok_or_else(|| unreadable(io::ErrorKind::NotFound.into()))?;
        if !start.whole || contents.len() == FILES_MAX {
            return Err(AttachError::TooMuch { path: path.clone() });
        }
        left -= start.bytes.len();
        contents.push((path.clone(), start.bytes));
    }
    keep(&contents, blobs)
}

/// Stores files by their names and contents, as a face was handed them.
pub fn keep(named: &[(PathBuf, Vec<u8>)], blobs: &Blobs) -> Result<Vec<Attachment>, AttachError> {
    let mut files = Vec::<Attachment>::new();
    let mut left = BYTES_MAX;
    for (path, bytes) in named {
        left = match left.checked_sub(bytes.len()).filter(|_| files.len() < FILES_MAX) {
            Some(left) => left,
            None => return Err(AttachError::TooMuch { path: path.clone() }),
        };
        files.push(Attachment {
            name: name_apart(path, &files),
            bytes: bytes.len() as u64,
            media_type: picture_type(bytes).map(str::to_owned),
            blob: Hash::of(bytes),
        });
    }
    let contents: Vec<&[u8]> = named.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    for (file, blob) in files.iter_mut().zip(blobs.put(&contents)?) {
        file.blob = blob;
    }
    Ok(files)
}

/// Returns a file's name, unlike those of `others`.
fn name_apart(path: &Path, others: &[Attachment]) -> String {
    let name = path.file_name().map_or_else(|| "file".to_owned(), |name| escape(name.as_bytes()));
    let is_free = |name: &String| others.iter().all(|other| other.name != *name);
    let numbered = (2..).map(|n| format!("{n}-{name}"));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

/// Returns the type of a picture that models are shown, told by its first bytes.
fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 3] =
        [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif")];
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    let kind = kinds.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, kind)| *kind);
    kind.or(webp.then_some("image/webp")).filter(|_| bytes.len() <= PICTURE_BYTES_MAX)
}

/// Lays `files` out in `given`, which sandboxes show at `inside`, and returns what the model is told of them; nothing where there
/// are none.
pub(crate) fn lay_out(
    files: &[Attachment],
    blobs: &Blobs,
    given: &Path,
    inside: &Path,
) -> Result<Option<String>, AttachError> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut told = String::from(
        "\n\nFiles that the person handed over with the task. They lie outside the folder and can only be read:",
    );
    for file in files {
        lay(file, blobs, given)?;
        told.push_str(&line(file, inside));
    }
    Ok(Some(told))
}

/// Lays files that come with later words beside the `known` ones, each under a name that is free, and returns them with what the
/// model is told of them. `rung` is the task's kind of sandbox. Tasks that began in one another share `given`.
pub(crate) fn add(
    mut files: Vec<Attachment>,
    known: &[Attachment],
    blobs: &Blobs,
    given: &Path,
    rung: &str,
) -> Result<(Vec<Attachment>, String), AttachError> {
    let inside = Rung::named(rung).map_or(given, |rung| given_inside(given, rung));
    let mut told = String::from("The person hands over, to be read only:");
    let mut all = known.to_vec();
    for file in &mut files {
        let there: Vec<Attachment> = names_in(&given.join(DIR))
            .filter(|name| !all.iter().any(|known| known.name == *name))
            .filter(|name| {
                fs::read(given.join(DIR).join(name)).map(|bytes| Hash::of(&bytes)).ok() != Some(file.blob)
            })
            .map(|name| Attachment { name, ..file.clone() })
            .collect();
        let taken = [all.as_slice(), &there].concat();
        file.name = name_apart(Path::new(&file.name), &taken);
        if all.len() == FILES_MAX {
            return Err(AttachError::TooMuch { path: file.name.clone().into() });
        }
        lay(file, blobs, given)?;
        told.push_str(&line(file, inside));
        all.push(file.clone());
    }
    Ok((files, told))
}

fn names_in(dir: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn lay(file: &Attachment, blobs: &Blobs, given: &Path) -> Result<(), AttachError> {
    let dir = given.join(DIR);
    let failed = |why| AttachError::Unreadable { path: dir.clone(), why };
    fs::create_dir_all(&dir).map_err(failed)?;
    // A task that runs as somebody else reads them too.
    for dir in [given, &dir] {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let path = dir.join(&file.name);
    fs::write(&path, blobs.get(&file.blob)?).map_err(failed)?;
    fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(failed)
}

fn line(file: &Attachment, inside: &Path) -> String {
    let kind = file.media_type.as_ref().map_or_else(String::new, |kind| format!("{kind}, "));
    format!("\n- {} ({kind}{} bytes)", inside.join(DIR).join(&file.name).display(), file.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn files_get_names_apart_and_pictures_are_known_by_their_bytes() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("data")).unwrap();
        let rows: [(&str, &[u8], &str, Option<&str>); 8] = [
            ("a.png", b"\x89PNG\r\n\x1a\nrest", "a.png", Some("image/png")),
            ("b/a.png", b"not one", "2-a.png", None),
            ("c/a.png", b"\xff\xd8\xff", "3-a.png", Some("image/jpeg")),
            ("gif", b"GIF89a", "gif", Some("image/gif")),
            ("w", b"RIFF\0\0\0\0WEBP", "w", Some("image/webp")),
            ("w2", b"RIFF\0\0\0\0WAVE", "w2", None),
            ("empty", b"", "empty", None),
            ("with a\nline", b"x", "with a\\x0aline", None),
        ];
        for (path, bytes, ..) in &rows {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let paths: Vec<PathBuf> = rows.iter().map(|(path, ..)| path.into()).collect();
        let files = read(&paths, home.path(), store.blobs()).unwrap();
        for ((path, bytes, name, kind), file) in rows.iter().zip(&files) {
            assert_eq!((file.name.as_str(), file.media_type.as_deref()), (*name, *kind), "{path}");
            assert_eq!(
                (file.bytes, store.blobs().get(&file.blob).unwrap()),
                (bytes.len() as u64, bytes.to_vec())
            );
        }
        let given = home.path().join("given");
        let told = lay_out(&files, store.blobs(), &given, Path::new("/in")).unwrap().unwrap();
        assert!(
            told.contains("\n- /in/attached/a.png (image/png, 12 bytes)\n- /in/attached/2-a.png (7 bytes)"),
            "{told}"
        );
        assert_eq!(fs::read(given.join("attached/2-a.png")).unwrap(), b"not one");
    }

    #[test]
    fn what_is_handed_over_later_lies_beside_what_was_and_takes_no_name_of_another() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("data")).unwrap();
        let given = home.path().join("given");
        let kept = |named: &[(&str, &str)]| {
            let named: Vec<(PathBuf, Vec<u8>)> =
                named.iter().map(|(name, text)| (name.into(), text.as_bytes().to_vec())).collect();
            keep(&named, store.blobs()).unwrap()
        };
        let first = kept(&[("a.txt", "first")]);
        lay_out(&first, store.blobs(), &given, Path::new("/in")).unwrap();
        // By a task that began in this one.
        fs::write(given.join("attached/b.txt"), "another's").unwrap();
        fs::write(given.join("attached/c.txt"), "the same").unwrap();
        let more = kept(&[("a.txt", "second"), ("b.txt", "mine"), ("c.txt", "the same"), ("d.txt", "new")]);
        let (files, told) = add(more.clone(), &first, store.blobs(), &given, "no kind").unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["2-a.txt", "2-b.txt", "c.txt", "d.txt"]);
        assert!(told.ends_with(&format!("\n- {}/attached/d.txt (3 bytes)", given.display())), "{told}");
        for (name, text) in
            [("a.txt", "first"), ("2-a.txt", "second"), ("b.txt", "another's"), ("2-b.txt", "mine")]
        {
            assert_eq!(fs::read_to_string(given.join("attached").join(name)).unwrap(), text, "{name}");
        }
        let whole = quire_sandbox::Rung::named("whole machine");
        if let Some(rung) = whole {
            let (_, told) = add(more, &first, store.blobs(), &given, &rung.to_string()).unwrap();
            assert!(told.contains("\n- /run/quire/"), "{told}");
        }
        let many = vec![first[0].clone(); FILES_MAX];
        assert!(matches!(add(first, &many, store.blobs(), &given, ""), Err(AttachError::TooMuch { .. })));
    }

    #[test]
    fn what_is_no_file_or_too_much_is_refused_and_nothing_is_stored() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("data")).unwrap();
        fs::write(home.path().join("fine"), "fine").unwrap();
        fs::File::create(home.path().join("large")).unwrap().set_len(BYTES_MAX as u64 + 1).unwrap();
        fs::File::create(home.path().join("picture")).unwrap().set_len(BYTES_MAX as u64).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, home.path().join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let rows = [
            (vec!["fine", "absent"], "`absent` cannot be handed over"),
            (vec!["fine", "."], "`.` cannot be handed over: it is not a regular file."),
            (vec!["pipe"], "`pipe` cannot be handed over: it is not a regular file."),
            (vec!["large"], "more than 64 files or 64 MiB"),
            (vec!["fine", "picture"], "more than 64 files or 64 MiB"),
            (vec!["fine"; 65], "more than 64 files or 64 MiB"),
        ];
        for (paths, says) in rows {
            let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
            let error = read(&paths, home.path(), store.blobs()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(!store.blobs().has(&quire_core::Hash::of(b"fine")).unwrap());
    }
}
