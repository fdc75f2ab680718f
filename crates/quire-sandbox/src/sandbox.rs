//! The host's side of a sandbox: starting it, talking with its hand, ending it.

use crate::copy::{Copies, Places};
use crate::limits::{Breach, Ledger};
use crate::protocol::{FromHand, ToHand};
use crate::spawner::{Order, Outset};
use crate::tree::Home;
use crate::{
    BIN_INSIDE, FIRST_INSIDE, Gate, OUT_INSIDE, Rung, SPAWNER, Spec, door, durable, frame, gate, hand, layer,
    ports, tidy,
};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why no sandbox stands. Nothing of the real machine was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the sandbox was not started, because {path} {why}; nothing was run or changed")]
    Spec { path: PathBuf, why: &'static str },
    #[error("the sandbox's directory {} could not be made: {why}; nothing was run or changed", at.display())]
    Directory { at: PathBuf, why: io::Error },
    #[error("the disk that holds quire's data is full, so no sandbox was made; nothing was run or changed")]
    Full,
    #[error("the process that makes sandboxes could not be started: {0}; nothing was run or changed")]
    Spawner(io::Error),
    #[error("this machine does not let quire make a sandbox: {0}; nothing was run or changed")]
    Refused(String),
    #[error("the sandbox ended before it stood; nothing was run or changed")]
    Ended,
    #[error("the sandbox did not stand within {} seconds; nothing was run or changed", START_TIME.as_secs())]
    Slow,
}

impl StartError {
    /// Says why something of the sandbox's at this path could not be written, or removed.
    pub fn at(path: &Path) -> impl Fn(io::Error) -> StartError + '_ {
        |why| match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StartError::Full,
            _ => StartError::Directory { at: path.to_owned(), why },
        }
    }

    /// Says why the spawner gave up, which it told in words. Those of a system error end with its number.
    fn told(what: String) -> StartError {
        let full = [libc::ENOSPC, libc::EDQUOT].iter().any(|n| what.contains(&format!("(os error {n})")));
        if full { StartError::Full } else { StartError::Refused(what) }
    }
}

/// Longest time that a sandbox may take to stand.
const START_TIME: Duration = Duration::from_secs(60);

/// Longest time that the hand may leave a message unread.
const SEND_TIME: Duration = Duration::from_secs(10);

/// A sandbox that stands. Dropping it ends it.
pub struct Sandbox {
    voice: Mutex<UnixStream>,
    gate: Mutex<Option<Gate>>,
    /// On the rung [`Rung::Copy`].
    copies: Mutex<Option<Copies>>,
    ledger: Arc<Mutex<Ledger>>,
    reader: Option<JoinHandle<()>>,
    state: PathBuf,
    layer: PathBuf,
}

/// Starts a sandbox and returns when its hand takes calls. `heard` is called, from a thread of its own, with all that
/// the hand says after that; it is dropped when the sandbox has ended, for whatever reason.
pub fn start(spec: &Spec, heard: impl Fn(FromHand) + Send + 'static) -> Result<Sandbox, StartError> {
    // Without a network of its own a sandbox has none at all.
    let spec = &Spec { gate: spec.gate.clone().filter(|_| spec.rung.has_tree()), ..spec.clone() };
    check(spec)?;
    for directory in [&spec.state, &spec.layer] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(StartError::at(directory))?;
    }
    let at_layer = StartError::at(&spec.layer);
    layer::note_marks(&spec.layer, spec.rung.marks()).map_err(&at_layer)?;
    let copies = (spec.rung == Rung::Copy).then(|| Copies::make(spec)).transpose();
    let copies = copies.map_err(&at_layer)?;
    let (ours, theirs) = UnixStream::pair().map_err(StartError::Spawner)?;
    ours.set_write_timeout(Some(SEND_TIME)).map_err(StartError::Spawner)?;
    let ear = ours.try_clone().map_err(StartError::Spawner)?;
    let order = Order { spec: spec.clone(), host: std::process::id() };
    let brief = brief(spec);
    let binary = spec.binary.clone();
    let (stands, outset) = mpsc::channel();
    let (channel, watcher) = UnixStream::pair().map_err(StartError::Spawner)?;
    let ledger = Arc::new(Mutex::new(Ledger::new(channel, spec.memory_bytes, spec.processes)));
    let met = ledger.clone();
    // The kernel ties a child to the thread that started it, so the thread that listens starts it.
    let reader = std::thread::Builder::new().name("sandbox".into()).spawn(move || {
        let outcome =
            listen(&binary, &ear, [theirs.into(), watcher.into()], (&order, &brief), &met, &stands, heard);
        let _ = ear.shutdown(Shutdown::Both);
        // Where it stood already, nobody waits for this.
        if let Err(error) = outcome {
            let _ = stands.send(Err(error));
        }
    });
    let reader = reader.map_err(StartError::Spawner)?;
    let mut sandbox = Sandbox {
        voice: Mutex::new(ours),
        gate: Mutex::default(),
        copies: Mutex::new(copies),
        ledger,
        reader: Some(reader),
        state: spec.state.clone(),
        layer: spec.layer.clone(),
    };
    match outset.recv_timeout(START_TIME) {
        Ok(Ok(gate)) => {
            sandbox.gate = Mutex::new(gate);
            Ok(sandbox)
        }
        Ok(Err(error)) => Err(error),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(StartError::Slow),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(StartError::Ended),
    }
}

/// Returns whether a sandbox that was not ended left working copies in its layer, which [`settle_left`] brings in.
pub fn has_left(layer: &Path) -> bool {
    layer.join("copy").is_dir()
}

/// Brings the working copies that a sandbox of this spec left into its layer. It must be over ([`crate::bury()`]).
pub fn settle_left(spec: &Spec) -> io::Result<()> {
    Copies::make(spec)?.end()?;
    tidy::empty(&spec.state)
}

fn check(spec: &Spec) -> Result<(), StartError> {
    let wrong = |path: &Path, why| Err(StartError::Spec { path: path.to_path_buf(), why });
    let folders = spec.folders.iter().flat_map(|folder| folder.frozen.iter().chain([&folder.at]));
    for path in [&spec.state, &spec.layer, &spec.out, &spec.binary]
        .into_iter()
        .chain(&spec.given)
        .chain(&spec.layers)
        .chain(&spec.skeleton)
        .chain(folders)
    {
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return wrong(path, "is not an absolute path");
        }
    }
    for folder in &spec.folders {
        match std::fs::canonicalize(&folder.at) {
            Ok(real) if real == folder.at => {}
            Ok(_) => return wrong(&folder.at, "is reached through a symbolic link"),
            Err(_) if may_be_new(spec, &folder.at) => {}
            Err(_) => return wrong(&folder.at, "cannot be reached"),
        }
        if folder.frozen.is_empty() {
            return wrong(&folder.at, "has no frozen content");
        }
        let inside =
            |path: &PathBuf| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if let Some(ignored) = folder.ignored.iter().find(|path| !inside(path)) {
            return wrong(ignored, "is to be a directory within a folder and is not");
        }
    }
    if spec.folders.is_empty() {
        return wrong(&spec.state, "would have no folder to work in");
    }
    Ok(())
}

/// Returns whether a folder is not there and can be shown all the same: in a home, which inside is made anew.
fn may_be_new(spec: &Spec, at: &Path) -> bool {
    let is_missing =
        |path: &Path| path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let around = at.ancestors().find(|path| !is_missing(path));
    let plain = around.is_some_and(|path| std::fs::canonicalize(path).is_ok_and(|real| real == path));
    plain && is_missing(at) && Home::of(spec).holds(at)
}

/// The environment of commands: as given, with quire's own commands found first where they stand for others, else last.
/// Whoever starts it, inside it is root, whose tools an ordinary user's path does not have.
fn brief(spec: &Spec) -> hand::Brief {
    let mut env = spec.env.clone();
    let (mut first, mut bin) = (FIRST_INSIDE.to_owned(), BIN_INSIDE.to_owned());
    let (mut folder, mut out) = (spec.folders[0].at.clone(), OUT_INSIDE.into());
    if spec.rung == Rung::Copy {
        let places = Places::of(spec);
        env.retain(|(key, _)| !["HOME", "TMPDIR", "TMP", "TEMP"].contains(&key.as_str()));
        for (key, place) in [("HOME", &places.home), ("TMPDIR", &places.tmp)] {
            env.push((key.to_owned(), place.to_string_lossy().into_owned()));
        }
        first.clear();
        bin = places.bin.to_string_lossy().into_owned();
        (folder, out) = (places.folders[0].clone(), places.out);
    }
    env.retain(|(key, _)| key != "PATH");
    let given = spec.env.iter().find(|(key, _)| key == "PATH").map_or("", |(_, path)| path.as_str());
    let mut path: Vec<&str> =
        std::iter::once(&*first).chain(given.split(':')).filter(|part| !part.is_empty()).collect();
    for usual in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", &*bin] {
        if !path.contains(&usual) {
            path.push(usual);
        }
    }
    env.push(("PATH".into(), path.join(":")));
    door::tell(spec, &mut env);
    let text = |path: &Path| quire_core::bytes::escape(path.as_os_str().as_bytes());
    hand::Brief {
        folder: text(&folder),
        out: text(&out),
        env,
        alone: spec.rung.has_processes(),
        network: spec.rung.has_tree(),
    }
}

/// Starts the spawner, and passes on what is heard until everything in the sandbox has ended.
fn listen(
    binary: &Path,
    ear: &UnixStream,
    [theirs, watcher]: [OwnedFd; 2],
    (order, brief): (&Order, &hand::Brief),
    met: &Mutex<Ledger>,
    stands: &mpsc::Sender<Result<Option<Gate>, StartError>>,
    heard: impl Fn(FromHand),
) -> Result<(), StartError> {
    let mut command = Command::new(binary);
    command.arg(SPAWNER).env_clear().current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::from(watcher));
    let mut spawner = command.stderr(Stdio::null()).spawn().map_err(StartError::Spawner)?;
    drop(command); // which holds their ends of the sockets
    let outcome = (|| {
        let told = frame::write(ear, order).and_then(|()| frame::write(ear, brief));
        let (mut sockets, mut shares) = (Vec::new(), None);
        // Where the spawner ended early it may have said why.
        loop {
            match frame::read_with::<Outset, { gate::COUNT }>(ear) {
                Ok(Some((Outset::Gate { shared }, passed))) => (sockets, shares) = (passed, shared),
                Ok(Some((Outset::Ready, _))) => break told.map_err(StartError::Spawner)?,
                Ok(Some((Outset::Broken(what), _))) => return Err(StartError::told(what)),
                Ok(None) | Err(_) => return Err(StartError::Ended),
            }
        }
        let gate = order.spec.gate.as_ref().map(|_| Gate::of(sockets, shares));
        let gate = gate.transpose().map_err(|error| StartError::Refused(error.to_string()))?;
        lock(met).hear_what_holds().map_err(StartError::Spawner)?;
        let _ = stands.send(Ok(gate));
        // A frame that is none is the end: nothing that follows could be understood.
        while let Ok(Some((mut words, passed))) = frame::read_with::<FromHand, 1>(ear) {
            match &mut words {
                FromHand::Connected { socket, .. } => *socket = ports::connected(passed).ok(),
                // A breach is told before anything ends by it, so it is here by now.
                FromHand::Done { outcome, .. } => {
                    let mut met = lock(met);
                    met.news().iter().for_each(|breach| outcome.add(breach));
                    met.done();
                }
                _ => {}
            }
            heard(words);
        }
        Ok(())
    })();
    let _ = ear.shutdown(Shutdown::Both);
    let _ = spawner.wait();
    outcome
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Says something to the hand. Fails where the sandbox has ended.
    pub fn send(&self, words: &ToHand) -> io::Result<()> {
        if matches!(words, ToHand::Call { .. }) {
            lock(&self.ledger).begun();
        }
        frame::write(&*lock(&self.voice), words)
    }

    /// Returns what was met of the limits since the last outcome, which is why a sandbox ended that ended by itself.
    pub fn breaches(&self) -> Vec<Breach> {
        lock(&self.ledger).news()
    }

    /// Takes the sockets of the way out, once; `None` where [`Spec::gate`] is. Until they are served, whoever connects
    /// inside waits.
    pub fn gate(&self) -> Option<Gate> {
        lock(&self.gate).take()
    }

    /// Brings the layer up to what the sandbox's files are, where that does not happen by itself. They must hold still
    /// ([`ToHand::Freeze`]).
    pub fn settle(&self) -> io::Result<()> {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.as_mut().map_or(Ok(()), Copies::settle)
    }

    /// Kills every process inside, waits until all are gone, brings the layer onto the disk, and empties the state
    /// directory. Must not be called from `heard`.
    pub fn end(mut self) -> io::Result<()> {
        self.stop();
        self.end_copies()?;
        durable::sync(&self.layer)?;
        tidy::empty(&self.state)
    }

    /// As [`Sandbox::end`], for a layer that nobody will want again: it is not brought onto the disk.
    pub fn discard(mut self) -> io::Result<()> {
        self.stop();
        self.end_copies()?;
        tidy::empty(&self.state)
    }

    fn end_copies(&mut self) -> io::Result<()> {
        let copies = self.copies.get_mut().unwrap_or_else(PoisonError::into_inner);
        copies.take().map_or(Ok(()), Copies::end)
    }

    fn stop(&mut self) {
        let voice = self.voice.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = voice.shutdown(Shutdown::Both);
        let reader = self.reader.take();
        if let Some(reader) = reader.filter(|reader| reader.thread().id() != std::thread::current().id()) {
            // It panics only where `heard` did; the spawner is waited for by its own end of the socket all the same.
            let _ = reader.join();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop();
    }
}
