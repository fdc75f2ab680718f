//! Showing what a version is: its command runs in a fresh sandbox of the version, and a loopback address of the machine leads
//! to it. Nothing outlives a turn, so what ran while the agent worked is not shown; what is accepted is.

use crate::freeze;
use crate::hands::{Gone, Hands, LETS_GO};
use crate::keys::Keys;
use crate::once;
use crate::quire::{EngineError, Quire, is_own};
use crate::settings::Surroundings;
use crate::work::{Undone, Work};
use quire_core::charter::Charter;
use quire_core::event::Why;
use quire_core::{Phase, Serving};
use quire_sandbox::protocol::{HandOutcome, Port};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

/// Longest time until something listens.
const OPEN: Duration = Duration::from_secs(120);
/// How often that is tried.
const TRY: Duration = Duration::from_millis(50);
/// Connections at one time; more wait.
const CONNECTIONS: usize = 128;
/// Where plain pages are served inside.
const PAGES_PORT: u16 = 8000;
/// How [`quire_sandbox::pages`] says that there is no page to begin with.
const NO_PAGES: i32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("Task {task} has no version {version}; its last is {last}.")]
    NoSuchVersion { task: u64, version: u32, last: u32 },
    #[error("Task {0} has no files yet that could be served.")]
    TooEarly(u64),
    #[error("Nothing says how the result of task {0} is served, and it has no index.html.")]
    NoRecord(u64),
    #[error("`{command}` ended by itself, {}.", exit.map_or("with its sandbox".into(), |code| format!("exit {code}")))]
    Ended { command: String, exit: Option<i32>, output: String },
    #[error("`{command}` does not listen on port {port}.")]
    Silent { command: String, port: u16, listening: Vec<Port> },
    #[error("{0}")]
    Undone(String),
}

impl From<Undone> for ServeError {
    fn from(why: Undone) -> ServeError {
        match why {
            Why::Trouble(_, what) => ServeError::Undone(what),
            other => ServeError::Undone(format!("{other:?}")),
        }
    }
}

/// A version that stands in a sandbox and can be run.
pub struct Stand {
    hands: Arc<Hands>,
    scratch: PathBuf,
    _held: File,
    task: u64,
    /// `None`: the files as they are after the last step of a turn that goes on.
    pub version: Option<u32>,
    pub serving: Serving,
    /// The model recorded nothing: the pages of the folder are served as they are.
    pub plain: bool,
}

/// A command that runs, and how it ended. Dropping it ends it.
struct Running(JoinHandle<Result<HandOutcome, Gone>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Quire {
    /// Starts a sandbox of a version, or of what the task has now where it has none yet.
    pub async fn stand(&self, id: u64, version: Option<u32>) -> Result<Stand, ServeError> {
        let task = self.task(id)?;
        if task.phase == Phase::Discarded {
            return Err(EngineError::Not { task: id, why: "was discarded" }.into());
        }
        is_own(&task)?;
        let last = task.versions.len() as u32;
        let number = version.or((last > 0).then_some(last));
        let version = match number {
            Some(number) => {
                let found = task.versions.iter().find(|version| version.number == number).cloned();
                Some(found.ok_or(ServeError::NoSuchVersion { task: id, version: number, last })?)
            }
            None if task.snapshot.is_none() => return Err(ServeError::TooEarly(id)),
            None => None,
        };
        // Who clears up after killed commands leaves what is held.
        let (scratch, held) = once::begin(self.home())?;
        let failed = |why| EngineError::Home { path: scratch.clone(), why };
        std::fs::create_dir_all(scratch.join("out")).map_err(failed)?;
        let work = self.visit(id).map_err(failed)?;
        let hands = match work.stand(&task, &scratch, version.as_ref().map(|version| &version.line)).await {
            Ok(hands) => hands,
            Err(why) => {
                remove(&scratch)?;
                return Err(why.into());
            }
        };
        let recorded = match &version {
            Some(version) => version.serving.clone(),
            None => task.serving.clone(),
        };
        let plain = recorded.is_none();
        let serving = recorded.map_or_else(pages, |recorded| Serving::clone(&recorded));
        let version = version.map(|version| version.number);
        Ok(Stand { hands: Arc::new(hands), scratch, _held: held, task: id, version, serving, plain })
    }

    /// Returns what makes sandboxes of a task that its log never hears of.
    pub(crate) fn visit(&self, id: u64) -> io::Result<Arc<Work>> {
        let (client, show) = (quire_model::Client::new(), Arc::new(|_| {}));
        let (store, home) = (self.store().clone(), self.home().to_owned());
        // Whoever asks for it is the task's person, with their variables.
        let secret = Box::new(|_: &Charter, name: &str| {
            let here = Surroundings::capture();
            Keys::read(&here).ok()?.secret(name, &here)
        });
        Ok(Arc::new(Work::new(store, home, id, client, Box::new(|_, _, _| None), secret, show)?))
    }
}

/// How the pages of a folder are served where nothing was recorded.
fn pages() -> Serving {
    Serving { command: quire_sandbox::pages(PAGES_PORT), port: PAGES_PORT, path: String::new() }
}

fn remove(scratch: &Path) -> Result<(), EngineError> {
    freeze::remove_tree(scratch).map_err(|why| EngineError::Home { path: scratch.to_owned(), why })
}

impl Stand {
    /// Runs the command and forwards what `listener` accepts to its port, where there is one; calls `ready` once that port is
    /// open. Returns only what ended it. `live` is given the command's output as it comes.
    pub async fn run(
        &self,
        listener: Option<TcpListener>,
        ready: impl FnOnce(),
        live: impl Fn(String) + Send + Clone + 'static,
    ) -> ServeError {
        let (hands, command) = (self.hands.clone(), self.serving.command.clone());
        let mut running =
            Running(tokio::spawn(async move { hands.command(&command, Duration::MAX, live).await }));
        match self.wait_until_open(&mut running).await {
            Ok(()) => {
                ready();
                self.forward(listener.as_ref(), &mut running).await
            }
            Err(error) => error,
        }
    }

    async fn wait_until_open(&self, running: &mut Running) -> Result<(), ServeError> {
        let begun = Instant::now();
        while self.hands.connect(self.serving.port).await.is_err() {
            if running.0.is_finished() {
                // It may have left its server behind, which then had the time to begin.
                let ended = self.ended(running).await;
                return self.hands.connect(self.serving.port).await.map(drop).map_err(|_| ended);
            }
            if begun.elapsed() > OPEN {
                let listening = self.hands.listening();
                let command = self.serving.command.clone();
                return Err(ServeError::Silent { command, port: self.serving.port, listening });
            }
            sleep(TRY).await;
        }
        Ok(())
    }

    /// Leads into the sandbox, to the command's port.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        self.hands.connect(self.serving.port).await
    }

    async fn forward(&self, listener: Option<&TcpListener>, running: &mut Running) -> ServeError {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut left_behind = running.0.is_finished();
        loop {
            tokio::select! {
                ended = self.ended(running), if !left_behind => {
                    if self.hands.connect(self.serving.port).await.is_err() {
                        return ended;
                    }
                    left_behind = true;
                }
                () = self.hands.gone() => {
                    let command = self.serving.command.clone();
                    return ServeError::Ended { command, exit: None, output: self.hands.limits_met() };
                }
                Some(_) = connections.join_next() => {}
                accepted = accept(listener, &free) => {
                    let Some((outside, permit)) = accepted else { continue };
                    let (hands, port) = (self.hands.clone(), self.serving.port);
                    connections.spawn(async move {
                        // Either side may hang up at any time, which the other sees.
                        if let Ok(inside) = hands.connect(port).await {
                            let (mut outside, mut inside) = (outside, inside);
                            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                        }
                        drop(permit);
                    });
                }
            }
        }
    }

    /// Waits for the end of the command.
    async fn ended(&self, running: &mut Running) -> ServeError {
        let said = (&mut running.0).await;
        let (exit, output) = match said {
            Ok(Ok(said)) => (said.exit, said.text),
            Ok(Err(_)) | Err(_) => (None, self.hands.limits_met()),
        };
        if self.plain && exit == Some(NO_PAGES) {
            return ServeError::NoRecord(self.task);
        }
        ServeError::Ended { command: self.serving.command.clone(), exit, output }
    }

    /// Ends everything in the sandbox and removes it.
    pub async fn end(self) -> Result<(), ServeError> {
        let mut hands = self.hands;
        let hands = loop {
            match Arc::try_unwrap(hands) {
                Ok(hands) => break hands,
                // A connection that was just dropped still lets go of it.
                Err(shared) => {
                    hands = shared;
                    tokio::time::sleep(LETS_GO).await;
                }
            }
        };
        let scratch = self.scratch;
        let ended = tokio::task::spawn_blocking(move || {
            let ended = hands.discard();
            remove(&scratch)?;
            ended.map_err(|why| EngineError::Home { path: scratch, why })
        });
        match ended.await {
            Ok(ended) => Ok(ended?),
            Err(error) => Err(ServeError::Undone(format!("A part of quire failed: {error}."))),
        }
    }
}

/// Accepts a connection when there is room for it.
async fn accept(
    listener: Option<&TcpListener>,
    free: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let Some(listener) = listener else { return std::future::pending().await };
    let permit = free.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(_) => {
            // Where descriptors are short the next try would fail at once.
            sleep(TRY).await;
            None
        }
    }
}
