//! Making files replaceable where an ordinary user is the only one there is.
//!
//! dpkg keeps a hard link to what it replaces until the new version is whole. The kernel makes none to a file of root's,
//! which belongs to nobody inside. So dpkg's settings, as [`crate::skeleton`] writes them, run this before anything is
//! unpacked: it puts a copy, which is the person's, in the place of each file that an older version of a package left.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What dpkg's settings call it with.
pub const NAME: &str = "sandbox-own";

/// Where dpkg knows what each package has put where.
const KNOWN: &str = "/var/lib/dpkg/info";

/// Runs for the dpkg that started it. Where something fails dpkg itself will say what it could not replace.
pub fn main() -> i32 {
    if std::env::var_os("DPKG_HOOK_ACTION").is_some_and(|action| action == "unpack" || action == "install")
        && let Some(dpkg) = dpkg()
    {
        for package in archives(&dpkg).iter().filter_map(|archive| package(archive)) {
            for file in files(&package) {
                let _ = own(Path::new(&file));
            }
        }
    }
    0
}

/// Returns the nearest ancestor of this process that is dpkg, as its place in `/proc`.
fn dpkg() -> Option<PathBuf> {
    let mut pid = rustix::process::getppid()?.as_raw_nonzero().get();
    // dpkg may have started a shell for it.
    for _ in 0..3 {
        let process = PathBuf::from(format!("/proc/{pid}"));
        if fs::read_to_string(process.join("comm")).ok()?.trim_end() == "dpkg" {
            return Some(process);
        }
        let status = fs::read_to_string(process.join("status")).ok()?;
        pid = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
    }
    None
}

/// Returns the archives that a dpkg was told to unpack, by name or by directory.
fn archives(dpkg: &Path) -> Vec<PathBuf> {
    let cwd = fs::read_link(dpkg.join("cwd")).unwrap_or_default();
    let arguments = fs::read(dpkg.join("cmdline")).unwrap_or_default();
    let arguments =
        arguments.split(|byte| *byte == 0).filter(|word| !word.is_empty() && !word.starts_with(b"-"));
    let named: Vec<PathBuf> =
        arguments.skip(1).map(|word| cwd.join(OsString::from_vec(word.to_vec()))).collect();
    let mut archives = Vec::new();
    for path in named {
        if path.is_dir() {
            let inside = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
            archives.extend(inside.filter(|path| path.extension().is_some_and(|end| end == "deb")));
        } else if path.is_file() {
            archives.push(path);
        }
    }
    archives
}

/// Returns the name of the package in an archive, as dpkg writes it.
fn package(archive: &Path) -> Option<String> {
    let mut show = Command::new("dpkg-deb");
    show.args(["--show", "--showformat=${Package} ${Architecture}"]).arg(archive);
    let told = show.output().ok().filter(|told| told.status.success())?;
    String::from_utf8(told.stdout).ok()
}

/// Returns the files of the installed package that is named as [`package`] does; none where it is new.
fn files(package: &str) -> Vec<String> {
    let Some((name, architecture)) = package.split_once(' ') else { return Vec::new() };
    let lists = [format!("{name}.list"), format!("{name}:{architecture}.list")];
    let text = lists.iter().find_map(|list| fs::read_to_string(Path::new(KNOWN).join(list)).ok());
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Puts a copy in the place of a file that is somebody else's.
fn own(path: &Path) -> io::Result<()> {
    let stat = fs::symlink_metadata(path)?;
    if !stat.is_file() || stat.uid() == 0 {
        return Ok(());
    }
    let mut copy = path.as_os_str().to_owned();
    copy.push(".quire-own");
    let copied = fs::copy(path, &copy).and_then(|_| {
        let file = fs::File::open(&copy)?;
        file.set_modified(stat.modified()?)?;
        fs::rename(&copy, path)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&copy);
    }
    copied
}
