//! The sandbox's file tree: the whole machine, each part copy-on-write.
//!
//! Started by root it is built outside of the new user namespace, where real file systems may be shown with other owners
//! (`idmap`) and one overlay takes all of `/`. An ordinary user builds it inside; there the kernel lets no overlay stand
//! on a directory that has mounts below it, so `/` is made of an overlay for each of its directories. What is masked is
//! masked last, over everything else.

use crate::hide::{self, FolderSecrets};
use crate::links;
use crate::machine::{self, Mount};
use crate::mounts::{self, During, Overlay};
use crate::pieces::{Changes, Pieces};
use crate::rooted::Rooted;
use crate::tool;
use crate::twice::Mounts;
use crate::{
    BIN_INSIDE, FolderView, GIVEN_INSIDE, INSIDE_BASE, OUT_INSIDE, QUIRE_INSIDE, Spec, cover, door, idmap,
    layer, nameless, others, tidy,
};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Why no sandbox came to be: what was being done, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// A file of a home that is larger than this is not shown: it is copied into memory.
const SHOWN_FILE_MAX: u64 = 8 << 20;

/// Builds the tree and returns the place of its root. Changes this process's mount namespace, which must be its own.
pub fn build(spec: &Spec, real_root: bool) -> Result<OwnedFd, Broken> {
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .during("parting from the machine's mounts (a user namespace may be allowed and yet give no rights, as AppArmor does on Ubuntu)")?;
    let mut tree = Tree::plant(spec, real_root)?;
    let home = Home::of(spec);
    tree.machine(&home)?;
    tree.special()?;
    tree.folders()?;
    tree.mask(&home)?;
    Ok(tree.root)
}

struct Tree<'a> {
    spec: &'a Spec,
    real_root: bool,
    /// Root inside, as this process must write it.
    owner: u32,
    mounts: Vec<Mount>,
    /// How the task's layers are cut, the writable one first.
    pieces: Pieces,
    /// A file system in memory for everything that lives as long as the mounts: it goes with them.
    scratch: PathBuf,
    root: OwnedFd,
    maps: BTreeMap<(u32, u32), OwnedFd>,
    lowers: u32,
    works: u32,
    empty_file: Option<OwnedFd>,
    empty_directory: Option<OwnedFd>,
}

/// The caller's home, and all areas in which people live.
pub struct Home {
    pub mine: PathBuf,
    areas: Vec<PathBuf>,
}

impl Home {
    pub fn of(spec: &Spec) -> Home {
        let mine = spec.env.iter().find(|(key, _)| key == "HOME").map_or("/root", |(_, value)| value);
        let mine = fs::canonicalize(mine).unwrap_or_else(|_| PathBuf::from(mine));
        let mut areas = vec![PathBuf::from("/home"), PathBuf::from("/root")];
        areas.extend(machine::homes(&String::from_utf8_lossy(&fs::read("/etc/passwd").unwrap_or_default())));
        if mine.components().count() > 1 {
            areas.push(mine.clone());
        }
        let mut areas: Vec<PathBuf> = areas.iter().filter_map(|area| fs::canonicalize(area).ok()).collect();
        let mounts =
            Mounts::of(&fs::read("/proc/self/mountinfo").unwrap_or_default()).apart_from(&spec.state);
        areas.extend(areas.iter().flat_map(|area| mounts.others(area)).collect::<Vec<_>>());
        areas.retain(|area| area.is_dir() && area.components().count() > 1);
        areas.sort();
        areas.dedup_by(|inner, outer| inner.starts_with(outer));
        Home { mine, areas }
    }

    /// Returns every home whose secrets could be reached by a link, readable or not.
    fn all(&self) -> Vec<PathBuf> {
        let mut homes = self.areas.clone();
        homes.extend(fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path()));
        homes.push(self.mine.clone());
        homes.retain(|home| home != Path::new("/home"));
        homes.sort();
        homes.dedup();
        homes
    }

    pub fn holds(&self, path: &Path) -> bool {
        self.areas.iter().any(|area| path.starts_with(area))
    }
}

impl<'a> Tree<'a> {
    /// Prepares scratch and lays the overlay of `/`.
    fn plant(spec: &'a Spec, real_root: bool) -> Result<Tree<'a>, Broken> {
        let owner = if real_root { INSIDE_BASE } else { 0 };
        // Before our own are among them.
        let mounts =
            machine::mounts(&fs::read("/proc/self/mountinfo").during("reading the machine's mounts")?);
        let scratch = spec.state.join("scratch");
        fs::create_dir_all(&scratch).during("making the sandbox's directory")?;
        let memory = mounts::fresh("tmpfs", &[("mode", "0755")], MountAttrFlags::empty())
            .during("mounting scratch")?;
        let place = mounts::place(&scratch).during("opening scratch")?;
        mounts::attach(&memory, &place).during("mounting scratch")?;
        let root = mounts::place(&scratch).during("opening scratch")?;
        let mut tree = Tree {
            spec,
            real_root,
            owner,
            mounts,
            pieces: Pieces::of(std::iter::once(&spec.layer).chain(&spec.layers))
                .during("reading the layers")?,
            scratch,
            root,
            maps: BTreeMap::new(),
            lowers: 0,
            works: 0,
            empty_file: None,
            empty_directory: None,
        };
        let door = tree.made("door")?;
        let shift = if real_root { owner } else { 0 };
        door::fill(&door, spec, shift)?;
        nameless::fill(&door, shift).during("laying out a name for the machine")?;
        let mut below = if real_root {
            let cover = tree.made("cover")?;
            cover::fill(&cover, owner)?;
            vec![open(&cover)?, tree.real(Path::new("/"))?]
        } else {
            let skeleton = tree.made("root")?;
            outline(&skeleton)?;
            vec![open(&skeleton)?]
        };
        below.insert(0, open(&door)?);
        let new_root = tree.made("new")?;
        let place = mounts::place(&new_root).during("opening the new root")?;
        let changes = tree.changes(Path::new("/"))?;
        tree.root = tree.lay_piece(Path::new("/"), &place, changes, below)?;
        Ok(tree)
    }

    /// Lays the machine's own disks and, over them, homes in which only tools are left.
    fn machine(&mut self, home: &Home) -> Result<(), Broken> {
        let mut parts: Vec<PathBuf> = if self.real_root {
            let own = self.mounts.iter().filter(|mount| mount.is_own_disk() && mount.point != Path::new("/"));
            own.map(|mount| mount.point.clone()).filter(|point| point.is_dir()).collect()
        } else {
            let mut parts = Vec::new();
            self.split(Path::new("/"), home, &mut parts)?;
            parts
        };
        // As finely as the layers are, whatever was mounted when they were made: what is in a piece is seen in that alone.
        let pieces = self.pieces.all();
        parts.extend(pieces.iter().filter(|piece| **piece != Path::new("/")).cloned());
        let not_shown = |part: &PathBuf| home.holds(part) || is_fresh(part);
        parts.retain(|part| !not_shown(part));
        // Outer ones come first.
        parts.sort();
        parts.dedup();
        for part in parts {
            let below = self.machines(&part)?;
            self.lay_machine(&part, below)?;
        }
        for area in &home.areas {
            self.home(area, home, &pieces)?;
        }
        Ok(())
    }

    /// Returns what there is of a directory below the task's layers, newest first: what quire lays over the machine, and the
    /// machine's own. Nothing where the machine has none there, or one that is not shown.
    fn machines(&mut self, part: &Path) -> Result<Vec<OwnedFd>, Broken> {
        let inside = part.strip_prefix("/").unwrap_or(part);
        let on = self.mounts.iter().filter(|mount| part.starts_with(&mount.point));
        let on = on.max_by_key(|mount| mount.point.components().count());
        let shown = on.is_none_or(|mount| mount.point == Path::new("/") || mount.is_own_disk());
        // What is a link by now leads to where it is shown by itself.
        if !shown || !fs::canonicalize(part).is_ok_and(|real| real == part) || !part.is_dir() {
            return Ok(Vec::new());
        }
        let machine = if self.can_be_below(part) {
            match self.real(part) {
                // Gone since it was listed: the machine is in use.
                Err(_) if !part.exists() => return Ok(Vec::new()),
                real => real?,
            }
        } else {
            let outlined = self.scratch.join("root").join(inside);
            match mounts::place(&outlined) {
                Err(Errno::NOENT) => return Ok(Vec::new()),
                outlined => outlined.during(format_args!("opening an outline of {}", part.display()))?,
            }
        };
        let mut below = Vec::new();
        let skeleton: &[PathBuf] = if self.real_root { &[] } else { &self.spec.skeleton };
        for over in std::iter::once(&self.scratch.join("door")).chain(skeleton) {
            let over = over.join(inside);
            if over.is_dir() {
                below.push(open(&over)?);
            }
        }
        below.push(machine);
        Ok(below)
    }

    /// Collects the directories below `dir` that an ordinary user can lay an overlay on. A directory with mounts below
    /// it is only outlined, and its directories are taken one by one.
    fn split(&self, dir: &Path, home: &Home, parts: &mut Vec<PathBuf>) -> Result<(), Broken> {
        for entry in fs::read_dir(dir).during(format_args!("reading {}", dir.display()))?.flatten() {
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir())
                || FRESH
                    .iter()
                    .chain(&["/media", "/mnt", "/lost+found"])
                    .any(|fresh| path == Path::new(fresh))
                || home.areas.contains(&path)
                || self.mounts.iter().any(|mount| mount.point == path && !mount.is_own_disk())
            {
                continue;
            }
            let Ok(mut inside) = fs::read_dir(&path) else { continue };
            if !self.can_be_below(&path) {
                let skeleton = self.scratch.join("root").join(path.strip_prefix("/").unwrap_or(&path));
                outline_like(&path, &skeleton)?;
                self.split(&path, home, parts)?;
            } else if inside.next().is_some() {
                parts.push(path);
            }
        }
        Ok(())
    }

    /// Lays an empty home area with the known tools, and the ways to the task's folders, in it.
    fn home(&mut self, area: &Path, home: &Home, pieces: &BTreeSet<PathBuf>) -> Result<(), Broken> {
        let skeleton = self.made(&format!("home-{}", self.lowers))?;
        self.lowers += 1;
        if let Ok(real) = fs::metadata(area) {
            fs::set_permissions(&skeleton, fs::Permissions::from_mode(real.mode() & 0o7777))
                .during("making a home")?;
        }
        let way = |path: &Path| -> Result<Option<PathBuf>, Broken> {
            let Ok(below) = path.strip_prefix(area) else { return Ok(None) };
            let made = skeleton.join(below);
            self.directories(&skeleton, below.parent().unwrap_or(Path::new("")))?;
            Ok(Some(made))
        };
        let mut shown = Vec::new();
        if let Some(mine) = way(&home.mine)? {
            self.directory(&mine)?;
        }
        for folder in &self.spec.folders {
            if let Some(made) = way(&folder.at)? {
                self.directory(&made)?;
            }
        }
        for path in self.shown_of(home) {
            let Some(made) = way(&path)? else { continue };
            // A link to what is visible stays one; a link within the homes is shown as what it leads to.
            let (Ok(link), Ok(real)) = (fs::symlink_metadata(&path), fs::metadata(&path)) else { continue };
            let outside = || fs::canonicalize(&path).is_ok_and(|end| !home.holds(&end));
            if link.is_symlink() && outside() {
                let linked = fs::read_link(&path).and_then(|target| symlink(target, &made));
                linked.during(format_args!("showing {}", path.display()))?;
            } else if real.is_dir() {
                self.directory(&made)?;
                shown.push(path);
            } else if real.is_file() && real.len() <= SHOWN_FILE_MAX && fs::copy(&path, &made).is_ok() {
                chown(&made, Some(self.owner), Some(self.owner)).during("showing a file of the home")?;
            }
        }
        let below = vec![open(&skeleton)?];
        self.lay_machine(area, below)?;
        // What was a tool's once and is none now has what the task made of it, and nothing of the machine's.
        let mut parts: BTreeSet<&PathBuf> = pieces.iter().filter(|piece| piece.starts_with(area)).collect();
        parts.extend(&shown);
        for path in parts.into_iter().filter(|path| *path != area) {
            // What cannot be read by the person is no tool of his.
            let is_tool = shown.contains(path) && fs::read_dir(path).is_ok() && self.can_be_below(path);
            let below = if is_tool { vec![self.real(path)?] } else { Vec::new() };
            self.lay_machine(path, below)?;
        }
        Ok(())
    }

    /// Returns what is visible of the caller's home, none of it within another. Folders show themselves.
    fn shown_of(&self, home: &Home) -> Vec<PathBuf> {
        let asked = self.spec.show.iter().map(|path| home.mine.join(path.strip_prefix("~").unwrap_or(path)));
        let mut shown: Vec<PathBuf> =
            hide::TOOLS.iter().map(|tool| home.mine.join(tool)).chain(asked).collect();
        shown.retain(|path| path.exists() && !self.is_frozen(path));
        shown.sort();
        shown.dedup_by(|inner, outer| inner.starts_with(outer));
        shown
    }

    /// Lays what the kernel makes up, quire's own corner, and a private `/tmp`.
    fn special(&mut self) -> Result<(), Broken> {
        let owned = [("uid", self.owner.to_string()), ("gid", self.owner.to_string())];
        let with_owner = |more: &[(&'static str, &'static str)]| -> Vec<(&'static str, String)> {
            let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
            owned.iter().cloned().chain(more).collect()
        };
        let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        // Together less than all memory, or full ones would leave processes nothing.
        let mut run = with_owner(&[("mode", "0755")]);
        run.push(("size", (self.spec.memory_bytes / 8).min(64 << 20).to_string()));
        let run = self.memory(Path::new("/run"), &run, quiet)?;
        self.locks(run.as_fd()).during("making /run/lock")?;
        self.memory(
            Path::new("/dev"),
            &[("mode", "0755".into()), ("size", "64k".into())],
            MountAttrFlags::MOUNT_ATTR_NOSUID,
        )?;
        self.devices()?;
        let shared = (self.spec.memory_bytes / 2).max(1 << 20).to_string();
        let mut shm = with_owner(&[("mode", "1777")]);
        shm.push(("size", shared));
        self.memory(Path::new("/dev/shm"), &shm, quiet)?;

        let tmp = self.spec.state.join("tmp");
        fs::create_dir_all(&tmp).during("making /tmp")?;
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).during("making /tmp")?;
        self.bind(&tmp, Path::new("/tmp"))?;
        self.corner()
    }

    /// Lays `/run/lock`, where `/var/lock` leads and which services take for granted.
    fn locks(&self, run: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let owner = rustix::fs::Uid::from_raw(self.owner);
        let group = rustix::fs::Gid::from_raw(self.owner);
        rustix::fs::mkdirat(run, "lock", Mode::RWXU)?;
        rustix::fs::chownat(run, "lock", Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::chmodat(run, "lock", Mode::from_raw_mode(0o1777), AtFlags::empty())
    }

    /// Lays `/run/quire`: the binary, the out directory, and what masks are made of.
    fn corner(&mut self) -> Result<(), Broken> {
        let corner = Path::new(QUIRE_INSIDE);
        let memory =
            self.memory(corner, &[("mode", "0755".into()), ("size", "64k".into())], MountAttrFlags::empty())?;
        for (name, mode) in
            [("bin", 0o755), ("first", 0o755), ("out", 0o755), ("empty", 0o755), ("empty/directory", 0)]
        {
            rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(mode)).during("making quire's corner")?;
        }
        for name in tool::COMMANDS.iter().map(|name| format!("bin/{name}")) {
            rustix::fs::symlinkat("quire", &memory, name).during("making quire's corner")?;
        }
        rustix::fs::symlinkat("../bin/quire", &memory, "first/sudo").during("making quire's corner")?;
        if !self.real_root {
            rustix::fs::mkdirat(&memory, "users", Mode::from_raw_mode(0o755))
                .during("making quire's corner")?;
            for place in others::PLACES {
                file(memory.as_fd(), Path::new(place), 0o444).during("making quire's corner")?;
            }
            for name in ["su", "runuser"] {
                let name = format!("first/{name}");
                rustix::fs::symlinkat("../bin/quire", &memory, name).during("making quire's corner")?;
            }
        }
        file(memory.as_fd(), Path::new("bin/quire"), 0o755).during("making quire's corner")?;
        file(memory.as_fd(), Path::new("empty/file"), 0).during("making quire's corner")?;
        nameless::boot(memory.as_fd()).during("making quire's corner")?;

        let binary = self.real(&self.spec.binary)?;
        let binary = mounts::copy(&binary).during("binding the quire binary")?;
        let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        mounts::restrict(&binary, read_only, None).during("binding the quire binary")?;
        let target = mounts::within(&self.root, &Path::new(BIN_INSIDE).join("quire"))
            .during("binding the quire binary")?;
        mounts::attach(&binary, &target).during("binding the quire binary")?;
        if let Some(given) = &self.spec.given {
            rustix::fs::mkdirat(&memory, "given", Mode::from_raw_mode(0o755))
                .during("making quire's corner")?;
            let given = self.real(given)?;
            let given = mounts::copy(&given).during("binding what is given")?;
            mounts::restrict(&given, read_only, None).during("binding what is given")?;
            let target =
                mounts::within(&self.root, Path::new(GIVEN_INSIDE)).during("binding what is given")?;
            mounts::attach(&given, &target).during("binding what is given")?;
        }
        fs::create_dir_all(&self.spec.out).during("making the out directory")?;
        self.bind(&self.spec.out, Path::new(OUT_INSIDE))?;

        mounts::restrict(&memory, read_only, None).during("closing quire's corner")?;
        self.empty_file =
            Some(mounts::within(&memory, Path::new("empty/file")).during("opening the empty file")?);
        let directory = mounts::within(&memory, Path::new("empty/directory"));
        self.empty_directory = Some(directory.during("opening the empty directory")?);
        Ok(())
    }

    fn devices(&self) -> Result<(), Broken> {
        let dev = mounts::within(&self.root, Path::new("dev")).during("opening /dev")?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let real =
                mounts::place(&Path::new("/dev").join(name)).during(format_args!("opening /dev/{name}"))?;
            file(dev.as_fd(), Path::new(name), 0o666).during(format_args!("making /dev/{name}"))?;
            let target = mounts::within(&dev, Path::new(name)).during(format_args!("opening /dev/{name}"))?;
            let device = mounts::copy(&real).during(format_args!("binding /dev/{name}"))?;
            mounts::attach(&device, &target).during(format_args!("binding /dev/{name}"))?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            rustix::fs::symlinkat(target, &dev, name).during(format_args!("making /dev/{name}"))?;
        }
        rustix::fs::mkdirat(&dev, "pts", Mode::from_raw_mode(0o755)).during("making /dev/pts")
    }

    /// Lays the task's folders, outer ones first, and their ignored directories.
    fn folders(&mut self) -> Result<(), Broken> {
        let mut order: Vec<(usize, &FolderView)> = self.spec.folders.iter().enumerate().collect();
        order.sort_by_key(|(_, folder)| folder.at.components().count());
        for (index, folder) in order {
            // The lowest layer holds nothing but the ways to what will be mounted within, so that these do not show up
            // as changes of the agent's.
            let ways = self.made(&format!("ways-{index}"))?;
            let nested = self.spec.folders.iter().filter_map(|other| other.at.strip_prefix(&folder.at).ok());
            for way in folder.ignored.iter().map(PathBuf::as_path).chain(nested) {
                self.directories(&ways, way)?;
            }
            let mut below = Vec::new();
            for frozen in &folder.frozen {
                below.push(self.real(frozen).during_path(frozen)?);
            }
            below.push(open(&ways)?);
            let target = self.target(&folder.at)?;
            self.lay(&folder.at, &target, |of| layer::of(of, index, folder), below)?;
            for ignored in &folder.ignored {
                let at = folder.at.join(ignored);
                // Where it is gone on either side there is nothing to show.
                if !at.is_dir() || !self.can_be_below(&at) {
                    continue;
                }
                let Ok(target) = mounts::within(&self.root, &at) else { continue };
                let below = vec![self.real(&at)?];
                self.lay(&at, &target, |of| layer::ignored(of, index, ignored), below)?;
            }
        }
        Ok(())
    }

    /// Puts nothing in the place of every secret, and of quire's own directories.
    fn mask(&mut self, home: &Home) -> Result<(), Broken> {
        let spec = self.spec;
        let mut names = secrets_of_machine(spec, home);
        let (_, patterns) = hide::patterns(&spec.hide);

        let secrets = FolderSecrets::new(&patterns)
            .map_err(|error| Broken(format!("a pattern to hide files by cannot be used: {error}")))?;
        for folder in &spec.folders {
            // A link in the folder leads to a file of the machine's, or to another name in the folder.
            names.extend(secrets.frozen(folder).iter().map(|secret| folder.at.join(secret)));
            // Ignored directories are not in the frozen copy, but shown as they are.
            for ignored in folder.ignored.iter().filter(|ignored| !hide::is_of_packages(ignored)) {
                names.extend(secrets.below(&folder.at, ignored).iter().map(|secret| folder.at.join(secret)));
            }
        }
        names.extend(links::to(&names, &spec.folders));
        names.extend(
            [&spec.state, &spec.layer, &spec.out]
                .into_iter()
                .chain(&spec.layers)
                .chain(&spec.skeleton)
                .cloned(),
        );
        names.extend(spec.folders.iter().flat_map(|folder| &folder.frozen).cloned());

        // What the real machine does not have cannot be seen; that most are missing is to be found out quickly.
        names.retain(|name| fs::symlink_metadata(name).is_ok() || self.is_frozen(name));
        let resolved: Vec<PathBuf> = names.iter().filter_map(|name| fs::canonicalize(name).ok()).collect();
        names.extend(resolved);
        let mountinfo = fs::read("/proc/self/mountinfo").during("reading the machine's mounts")?;
        let mounts = Mounts::of(&mountinfo).apart_from(&spec.state);
        names.extend(names.iter().flat_map(|name| mounts.others(name)).collect::<Vec<_>>());
        names.sort();
        names.dedup();
        if let Some(name) =
            names.iter().find(|name| spec.folders.iter().any(|folder| folder.at.starts_with(name)))
        {
            return Err(Broken(format!(
                "{} is to be hidden, and a folder of the task lies in it",
                name.display()
            )));
        }
        names.iter().try_for_each(|name| self.mask_one(name))
    }

    /// Returns whether a path lies in a folder, where the frozen content counts and not the real one.
    fn is_frozen(&self, path: &Path) -> bool {
        self.spec.folders.iter().any(|folder| path.starts_with(&folder.at))
    }

    fn mask_one(&self, path: &Path) -> Result<(), Broken> {
        let target = match mounts::within(&self.root, path) {
            Ok(target) => target,
            // Not there, behind another mask, or a link, whose end has a mask of its own.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(()),
            Err(error) => return Err(error).during(format_args!("hiding {}", path.display())),
        };
        let kind =
            rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&target).during("hiding a file")?.st_mode);
        let nothing = match kind {
            kind if kind.is_symlink() => return Ok(()),
            kind if kind.is_dir() => &self.empty_directory,
            _ => &self.empty_file,
        };
        let nothing =
            nothing.as_ref().ok_or_else(|| Broken("there is nothing to hide secrets with".into()))?;
        let nothing = mounts::copy(nothing).during("copying an empty mount")?;
        mounts::attach(&nothing, &target).during(format_args!("hiding {}", path.display()))
    }

    /// Returns a new directory of scratch, owned by root inside.
    fn made(&self, name: &str) -> Result<PathBuf, Broken> {
        let made = self.scratch.join(name);
        self.directory(&made)?;
        Ok(made)
    }

    fn directory(&self, path: &Path) -> Result<(), Broken> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made
                .and_then(|()| chown(path, Some(self.owner), Some(self.owner)))
                .during("making a directory"),
        }
    }

    fn directories(&self, from: &Path, below: &Path) -> Result<(), Broken> {
        let mut here = from.to_path_buf();
        below.components().try_for_each(|part| {
            here.push(part);
            self.directory(&here)
        })
    }

    /// Opens a directory or file of the real machine, with its owner shown as root inside.
    fn real(&mut self, path: &Path) -> Result<OwnedFd, Broken> {
        let real = mounts::place(path).during(format_args!("opening {}", path.display()))?;
        if !self.real_root {
            return Ok(real);
        }
        let stat = rustix::fs::fstat(&real).during(format_args!("looking at {}", path.display()))?;
        let owner = (stat.st_uid, stat.st_gid);
        if let std::collections::btree_map::Entry::Vacant(missing) = self.maps.entry(owner) {
            missing.insert(idmap::namespace(owner.0, owner.1)?);
        }
        let shown = mounts::copy(&real).during(format_args!("copying the mount of {}", path.display()))?;
        let map = self.maps.get(&owner).map(AsFd::as_fd);
        mounts::restrict(&shown, MountAttrFlags::empty(), map).during(format_args!(
            "showing {} with other owners (its file system must allow idmapped mounts)",
            path.display()
        ))?;
        self.keep(&shown, rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())?;
        Ok(shown)
    }

    /// Mounts a detached mount in scratch, because an overlay takes only what is mounted somewhere.
    fn keep(&mut self, mount: &OwnedFd, is_directory: bool) -> Result<(), Broken> {
        let name = self.scratch.join(format!("lower-{}", self.lowers));
        self.lowers += 1;
        let made = if is_directory { fs::create_dir(&name) } else { fs::write(&name, "") };
        made.during("making a mount point")?;
        let place = mounts::place(&name).during("opening a mount point")?;
        mounts::attach(mount, place).during("mounting a lower layer")
    }

    /// Returns whether an overlay can stand on this directory: without real privilege, on none with mounts below it.
    fn can_be_below(&self, path: &Path) -> bool {
        self.real_root
            || !self.mounts.iter().any(|mount| mount.point != path && mount.point.starts_with(path))
    }

    /// Lays a piece of the machine. Where neither the machine nor the task has anything there, there is none.
    fn lay_machine(&mut self, at: &Path, below: Vec<OwnedFd>) -> Result<(), Broken> {
        let upper = layer::machine(&self.spec.layer, at);
        let changes = self.changes(at)?;
        if below.is_empty() || changes.hides {
            let own = upper.exists().then(|| Rooted::open(&upper)).transpose().during_path(at)?;
            let mut nothing = true;
            for dir in changes.dirs.iter().map(|(dir, _)| dir).chain(&own) {
                nothing &= dir.names(None).during_path(at)?.is_empty();
            }
            if nothing {
                return Ok(());
            }
        }
        let target = match self.target(at) {
            // In an earlier turn the agent put something else there: its own work stays as it is.
            Err(_) if !self.spec.layers.is_empty() || upper.exists() => return Ok(()),
            target => target?,
        };
        self.lay_piece(at, &target, changes, below).map(drop)
    }

    /// Returns what the task's layers have of a directory of the machine below what it will write there.
    fn changes(&self, at: &Path) -> Result<Changes, Broken> {
        let own = layer::machine(&self.spec.layer, at);
        let changes = self.pieces.changes(at, &|upper| upper == own);
        changes.during(format_args!("reading what the layers have of {}", at.display()))
    }

    fn lay_piece(
        &mut self,
        at: &Path,
        target: &OwnedFd,
        changes: Changes,
        below: Vec<OwnedFd>,
    ) -> Result<OwnedFd, Broken> {
        let below = if changes.hides { Vec::new() } else { below };
        let sealed = changes.dirs.into_iter().map(|(dir, _)| dir.into()).collect();
        self.lay_parts(at, target, &layer::machine(&self.spec.layer, at), sealed, below).during_path(at)
    }

    /// Lays an overlay onto `target`, which is the place of `at`: the writable layer, the sealed ones, and what is
    /// `below` them all.
    fn lay(
        &mut self,
        at: &Path,
        target: &OwnedFd,
        part: impl Fn(&Path) -> PathBuf,
        below: Vec<OwnedFd>,
    ) -> Result<OwnedFd, Broken> {
        let mut sealed = Vec::new();
        for layer in &self.spec.layers {
            match mounts::place(&part(layer)) {
                Ok(part) => sealed.push(part),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error).during("opening a sealed layer"),
            }
        }
        self.lay_parts(at, target, &part(&self.spec.layer), sealed, below).during_path(at)
    }

    fn lay_parts(
        &mut self,
        at: &Path,
        target: &OwnedFd,
        upper: &Path,
        sealed: Vec<OwnedFd>,
        below: Vec<OwnedFd>,
    ) -> Result<OwnedFd, Broken> {
        let (user_marks, spare) = (!self.real_root, self.made("spare")?);
        let lies_within = |layers: &[PathBuf]| layers.iter().any(|layer| layer.starts_with(at));
        let of_task = lies_within(&self.spec.layers) || self.spec.layer.starts_with(at);
        let tangled =
            (!sealed.is_empty() && of_task) || (below.len() > 1 && lies_within(&self.spec.skeleton));
        let has_machine = !below.is_empty();
        let mut lowers: Vec<OwnedFd> = sealed.into_iter().chain(below).collect();
        if !has_machine {
            lowers.push(open(&self.made("nothing")?)?);
        } else if tangled && let Some(machine) = lowers.pop() {
            // No overlay takes a lower directory that lies in another one, as quire's layers lie in the machine. An overlay
            // of the machine alone is a file system of its own, in which they do not lie.
            let alone = [machine, open(&self.made(&format!("nothing-{}", self.lowers))?)?];
            let machine = Overlay { lowers: &alone, writable: None, user_marks }.mount(&spare)?;
            self.keep(&machine, true)?;
            lowers.push(machine);
        }
        if !upper.exists() {
            self.begin(upper, lowers.first())?;
        }
        // Never one that was used before: it would carry the mark of a volatile mount that was not ended in order.
        let name = format!("{}-{}", std::process::id(), self.works);
        self.works += 1;
        let work = self.spec.state.join("work").join(name);
        if work.exists() {
            tidy::empty(&work).during("clearing a work directory")?;
        }
        fs::create_dir_all(&work).during("making a work directory")?;
        let (upper, work) = (open(upper)?, open(&work)?);
        let mount = Overlay { lowers: &lowers, writable: Some((&upper, &work)), user_marks }.mount(&spare)?;
        mounts::attach(&mount, target).during("attaching")?;
        Ok(mount)
    }

    /// Makes the upper directory of an overlay, whose top shows the owner and mode of it: aside, because whoever dies in the midst must
    /// leave none. The next sandbox of the layer would take it as it is.
    fn begin(&self, upper: &Path, lower: Option<&OwnedFd>) -> Result<(), Broken> {
        let aside = self.spec.state.join(format!("upper-{}-{}", std::process::id(), self.works));
        fs::create_dir(&aside).during("making the layer")?;
        if let Some(lower) = lower {
            let like = rustix::fs::fstat(lower).during("looking at a lower layer")?;
            fs::set_permissions(&aside, fs::Permissions::from_mode(like.st_mode & 0o7777))
                .during("making the layer")?;
            if self.real_root {
                chown(&aside, Some(like.st_uid), Some(like.st_gid)).during("making the layer")?;
            }
        }
        if let Some(parent) = upper.parent() {
            fs::create_dir_all(parent).during("making the layer")?;
        }
        fs::rename(&aside, upper).during("making the layer")
    }

    /// Opens the directory to mount on, which may have to be made.
    fn target(&self, at: &Path) -> Result<OwnedFd, Broken> {
        mounts::directory_within(self.root.as_fd(), at, self.owner)
            .during(format_args!("finding {} in the sandbox", at.display()))
    }

    fn memory(
        &self,
        at: &Path,
        options: &[(&str, String)],
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd, Broken> {
        let options: Vec<(&str, &str)> = options.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let memory =
            mounts::fresh("tmpfs", &options, attributes).during(format_args!("mounting {}", at.display()))?;
        mounts::attach(&memory, self.target(at)?).during(format_args!("mounting {}", at.display()))?;
        Ok(memory)
    }

    /// Shows a directory of the real machine as it is, writable, given to root inside.
    fn bind(&self, real: &Path, at: &Path) -> Result<(), Broken> {
        chown(real, Some(self.owner), Some(self.owner))
            .during(format_args!("giving away {}", real.display()))?;
        let place = mounts::place(real).during(format_args!("opening {}", real.display()))?;
        let mount = mounts::copy(&place).during(format_args!("binding {}", real.display()))?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        mounts::restrict(&mount, attributes, None).during(format_args!("binding {}", real.display()))?;
        mounts::attach(&mount, self.target(at)?).during(format_args!("binding {}", real.display()))
    }
}

/// Returns what is hidden of the machine and its homes, as it is named; most of it is not there.
pub fn secrets_of_machine(spec: &Spec, home: &Home) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = Vec::new();
    for person in home.all() {
        names.extend(hide::HOME_SECRETS.iter().map(|secret| person.join(secret)));
    }
    names.extend(hide::MACHINE_SECRETS.iter().map(PathBuf::from));
    names.extend(hide::host_keys());
    let (machine, _) = hide::patterns(&spec.hide);
    let below_home = |entry: &str| entry.strip_prefix("~/").map(|below| home.mine.join(below));
    names.extend(machine.iter().map(|entry| below_home(entry).unwrap_or_else(|| entry.into())));
    let shown: Vec<PathBuf> =
        spec.show.iter().map(|path| home.mine.join(path.strip_prefix("~").unwrap_or(path))).collect();
    names.retain(|name| !shown.contains(name));
    names
}

/// What is not taken from the machine but made anew.
const FRESH: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];

/// Returns whether of what the machine has at a path nothing is there inside, unless it is shown by itself.
pub fn is_fresh(path: &Path) -> bool {
    FRESH.iter().any(|fresh| path.starts_with(fresh))
}

/// Adds the path to what went wrong.
trait DuringPath<T> {
    fn during_path(self, path: &Path) -> Result<T, Broken>;
}

impl<T, E: std::fmt::Display> DuringPath<T> for Result<T, E> {
    fn during_path(self, path: &Path) -> Result<T, Broken> {
        self.map_err(|what| Broken(format!("laying {}: {what}", path.display())))
    }
}

fn open(path: &Path) -> Result<OwnedFd, Broken> {
    mounts::place(path).during(format_args!("opening {}", path.display()))
}

fn file(at: BorrowedFd<'_>, name: &Path, mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::from_raw_mode(mode)).map(drop)
}

/// Fills `skeleton` with the directories, links and small files of `/`.
fn outline(skeleton: &Path) -> Result<(), Broken> {
    outline_like(Path::new("/"), skeleton)
}

fn outline_like(real: &Path, skeleton: &Path) -> Result<(), Broken> {
    let outlined = || -> std::io::Result<()> {
        fs::create_dir_all(skeleton)?;
        for entry in fs::read_dir(real)?.flatten() {
            let (kind, made) = (entry.file_type()?, skeleton.join(entry.file_name()));
            if kind.is_dir() {
                fs::create_dir_all(&made)?;
            } else if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, &made)?;
            } else if kind.is_file() && entry.metadata()?.len() <= SHOWN_FILE_MAX {
                // One that the person cannot read is not there.
                let _ = fs::copy(entry.path(), &made);
            }
        }
        Ok(())
    };
    outlined().during(format_args!("outlining {}", real.display()))
}
