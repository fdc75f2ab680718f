//! Files that a person hands over with their words: read into the store before these are said, so that nothing that becomes of them
//! later matters, and laid out for the task's sandboxes beside the folders.

use crate::blob::{BlobError, Blobs};
use crate::conventions::given_inside;
use crate::plain_file;
use crate::rooted::{lock_file, lock_within, replace};
use quire_core::Hash;
use quire_core::bytes::escape;
use quire_core::message::Attachment;
use quire_sandbox::Rung;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that one file may hold, and all together.
const BYTES_MAX: usize = 64 << 20;
/// The largest picture that models are shown.
const PICTURE_BYTES_MAX: usize = 5 << 20;
const FILES_MAX: usize = 64;
/// The longest name, in bytes: there is room for a number and for what a file is called while it is written.
const NAME_MAX: usize = 200;
/// In what sandboxes are given.
pub(crate) const DIR: &str = "attached";
/// The longest that others may take to lay files out.
const OTHERS_MAX: Duration = Duration::from_secs(60);

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
            name: name_apart(name_of(path), &files),
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

/// Returns the name under which a file is laid out; of a very long one its end.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| "file".to_owned(), |name| escape(name.as_bytes()));
    let from = name.len().saturating_sub(NAME_MAX);
    let from = (from..=name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name[from..].to_owned()
}

/// Returns `name`, with a number before it where one of `others` has it.
fn name_apart(name: String, others: &[Attachment]) -> String {
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
    let _held = hold(given)?;
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
    let _held = hold(given)?;
    for file in &mut files {
        let there: Vec<Attachment> = names_in(&given.join(DIR))
            .filter(|name| !all.iter().any(|known| known.name == *name))
            .filter(|name| !is_there(file, &given.join(DIR).join(name)))
            .map(|name| Attachment { name, ..file.clone() })
            .collect();
        let taken = [all.as_slice(), &there].concat();
        file.name = name_apart(file.name.clone(), &taken);
        let bytes = all.iter().fold(file.bytes, |sum, known| sum.saturating_add(known.bytes));
        if all.len() >= FILES_MAX || bytes > BYTES_MAX as u64 {
            return Err(AttachError::TooMuch { path: file.name.clone().into() });
        }
        lay(file, blobs, given)?;
        told.push_str(&line(file, inside));
        all.push(file.clone());
    }
    Ok((files, told))
}

/// Lays out anew what is not there any more as it was, of what a task was handed.
pub(crate) fn restore(files: &[Attachment], blobs: &Blobs, given: &Path) -> Result<(), AttachError> {
    let is_lost = |file: &&Attachment| {
        !fs::metadata(given.join(DIR).join(&file.name)).is_ok_and(|there| there.len() == file.bytes)
    };
    let lost: Vec<&Attachment> = files.iter().filter(is_lost).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let _held = hold(given)?;
    lost.into_iter().try_for_each(|file| lay(file, blobs, given))
}

/// Makes the directory, and holds it until what is returned is dropped: others that hand over at the same time choose their
/// names after that. The lock lies beside it, where no sandbox sees it and could hold it.
fn hold(given: &Path) -> Result<File, AttachError> {
    let dir = given.join(DIR);
    let held = || {
        fs::create_dir_all(&dir)?;
        // A task that runs as somebody else reads them too.
        for dir in [given, &dir] {
            fs::set_permissions(dir, Permissions::from_mode(0o755))?;
        }
        let lock = lock_file(&given.with_extension("lock"))?;
        lock_within(&lock, OTHERS_MAX)?;
        Ok(lock)
    };
    held().map_err(|why| AttachError::Unreadable { path: dir.clone(), why })
}

fn names_in(dir: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Lays one out, whole or not at all, in a directory that is held. What is there already as it should be stays.
fn lay(file: &Attachment, blobs: &Blobs, given: &Path) -> Result<(), AttachError> {
    let path = given.join(DIR).join(&file.name);
    if is_there(file, &path) {
        return Ok(());
    }
    let laid = replace(&path, &blobs.get(&file.blob)?, 0o644)
        // Whatever is masked off when files are made.
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
    laid.map_err(|why| AttachError::Unreadable { path, why })
}

fn is_there(file: &Attachment, path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| Hash::of(&bytes) == file.blob)
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
        let (long, end) = ("x".repeat(250), "x".repeat(NAME_MAX));
        let rows: [(&str, &[u8], &str, Option<&str>); 9] = [
            ("a.png", b"\x89PNG\r\n\x1a\nrest", "a.png", Some("image/png")),
            ("b/a.png", b"not one", "2-a.png", None),
            ("c/a.png", b"\xff\xd8\xff", "3-a.png", Some("image/jpeg")),
            ("gif", b"GIF89a", "gif", Some("image/gif")),
            ("w", b"RIFF\0\0\0\0WEBP", "w", Some("image/webp")),
            ("w2", b"RIFF\0\0\0\0WAVE", "w2", None),
            ("empty", b"", "empty", None),
            ("with a\nline", b"x", "with a\\x0aline", None),
            (&long, b"y", &end, None),
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
        let more = kept(&[
            ("a.txt", "second"),
            ("b.txt", "mine"),
            ("c.txt", "the same"),
            ("e\n.txt", "escaped"),
            ("d.txt", "new"),
        ]);
        let (files, told) = add(more.clone(), &first, store.blobs(), &given, "no kind").unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["2-a.txt", "2-b.txt", "c.txt", "e\\x0a.txt", "d.txt"]);
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
        let large = Attachment { bytes: BYTES_MAX as u64 - 4, ..first[0].clone() };
        for known in [vec![first[0].clone(); FILES_MAX], vec![large]] {
            let error = add(first.clone(), &known, store.blobs(), &given, "").unwrap_err();
            assert!(matches!(error, AttachError::TooMuch { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_handed_over_at_once_is_all_there() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("data")).unwrap();
        let given = home.path().join("given");
        let hand = |n: usize| {
            let bytes = format!("{n}").into_bytes();
            let files = keep(&[("a.txt".into(), bytes.clone())], store.blobs()).unwrap();
            let (files, _) = add(files, &[], store.blobs(), &given, "").unwrap();
            (files[0].name.clone(), bytes)
        };
        let laid: Vec<(String, Vec<u8>)> = std::thread::scope(|scope| {
            let hand = &hand;
            let all: Vec<_> = (0..16).map(|n| scope.spawn(move || hand(n))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (name, bytes) in laid {
            assert_eq!(fs::read(given.join(DIR).join(&name)).unwrap(), bytes, "{name}");
        }
        assert_eq!(names_in(&given.join(DIR)).count(), 16);
    }

    #[test]
    fn what_was_lost_is_laid_out_anew_and_what_is_there_stays() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("data")).unwrap();
        let given = home.path().join("given");
        restore(&[], store.blobs(), &given).unwrap();
        assert!(!given.exists());
        let named = ["a", "b", "c"].map(|name| (name.into(), name.as_bytes().to_vec()));
        let files = keep(&named, store.blobs()).unwrap();
        lay_out(&files, store.blobs(), &given, Path::new("/in")).unwrap();
        let at = |name: &str| given.join(DIR).join(name);
        let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(at(name)).unwrap());
        let before = inode("c");
        fs::remove_file(at("a")).unwrap();
        // As a power cut leaves it.
        fs::write(at("b"), "").unwrap();
        restore(&files, store.blobs(), &given).unwrap();
        for name in ["a", "b", "c"] {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), name);
            assert_eq!(fs::metadata(at(name)).unwrap().permissions().mode() & 0o777, 0o644);
        }
        assert_eq!(inode("c"), before);
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
