//! The host: the process that drives tasks in the background. It starts by itself with the first command that needs it, and
//! ends by itself when nothing has been owed or asked for a while.
//!
//! The socket carries nudges, glimpses and keys, and nothing that matters: every fact goes through the store, so a host can
//! be killed at any moment, and the next one finds in the logs what is owed. The socket lies in the data directory, beside
//! the store it belongs to, so that two homes never meet; a path longer than a socket's name may be is reached through the
//! directory's descriptor.

use crate::driver::{self, Ended};
use crate::gc::{self, Cleared};
use crate::glimpse::Glimpse;
use crate::hands;
use crate::hostlog;
use crate::keys::{Keys, Secret};
use crate::place::Place;
use crate::quire::Quire;
use crate::settings::Surroundings;
use crate::store::{Store, Writer};
use crate::work::Work;
use quire_core::charter::{Charter, Model};
use quire_core::event::{Seq, Trouble, Why};
use quire_core::view::Summary;
use quire_core::{Event, Phase};
use quire_sandbox::protocol::Port;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What a face says to the host: one JSON object a line. It cannot be printed, since it may be a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    Hello {
        version: String,
    },
    /// The task's log has news, or wants to be driven.
    Nudge(u64),
    /// The key of a provider whose models a task uses, kept in memory.
    Key {
        task: u64,
        provider: String,
        key: String,
    },
    /// A secret that a task's commands may use, kept in memory.
    Secret {
        task: u64,
        name: String,
        value: String,
    },
    /// Send what is to be seen of this task from now on.
    Follow(u64),
    /// Say what the tasks' programs listen on.
    Listening,
    /// Serve the page, and let one browser in. Tasks begun there see these variables, and this folder first.
    Page {
        env: BTreeMap<String, String>,
        cwd: PathBuf,
    },
    /// End; a newer quire takes over, or a person says so. Tasks go on with the next host.
    Stop,
}

/// What the host says: one JSON object a line. It cannot be printed, since it may be what lets a browser in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHost {
    Hello {
        version: String,
        pid: u32,
    },
    /// Something was written to a log.
    News,
    Glimpse(Glimpse),
    /// What each task's programs listen on now, where there are any.
    Listening(HashMap<u64, Vec<Port>>),
    Page(PageAt),
    /// Why there is none.
    NoPage(String),
}

/// Where the page is, and what lets one browser in, once and soon.
#[derive(Serialize, Deserialize)]
pub struct PageAt {
    /// Of 127.0.0.1, and of ::1 where the machine has it.
    pub port: u16,
    /// Where results are shown.
    pub preview: u16,
    pub token: String,
}

/// Serves the page where it is not served yet, and lets one more browser in. The page is a face, of which the host knows no
/// more than this.
pub type OpenPage = Arc<dyn Fn(Surroundings) -> io::Result<PageAt> + Send + Sync>;

/// The most that a face may say in one connection, in bytes.
const HEARD_BYTES_MAX: u64 = 1 << 20;
/// A host that started by itself ends after this long without work or company.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long running tool calls may go on when a host is told to end; after that they count as interrupted.
const RETIRE: Duration = Duration::from_secs(10);
/// How often a host clears away what is past its age, while it drives nothing.
const CLEARED: Duration = Duration::from_secs(24 * 3600);
/// How often a host that has work or company looks whether it may end, and whether other processes wrote.
const ROUND: Duration = Duration::from_secs(1);
/// The same while it has neither: the kernel says when something is written, and nobody waits for anything else.
const QUIET: Duration = Duration::from_secs(60);
/// How long a host leaves a task that nobody nudged about to the face that wrote: it may be about to hand over a key.
const KEY_WAITS: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("a host is running already")]
    Running,
    #[error("the host's socket {} cannot be used: {why}", path.display())]
    Socket { path: PathBuf, why: io::Error },
    #[error(transparent)]
    Read(#[from] crate::store::ReadError),
}

/// Returns which quire this is: its version, and its binary's time and size, since one that was replaced on the disk cannot
/// be started again as a sandbox's hand.
pub fn build() -> String {
    let print =
        std::fs::metadata("/proc/self/exe").map(|meta| format!("{:x}.{:x}", meta.mtime(), meta.len()));
    format!("{}+{}", env!("CARGO_PKG_VERSION"), print.unwrap_or_default())
}

/// Returns where the host of `home` listens.
pub fn socket(home: &Path) -> PathBuf {
    home.join("host.sock")
}

struct Host {
    store: Store,
    home: PathBuf,
    client: quire_model::Client,
    /// By task and provider: a key goes to nobody but its provider.
    keys: Mutex<HashMap<u64, HashMap<String, Secret>>>,
    /// By task and name.
    secrets: Mutex<HashMap<u64, HashMap<String, Secret>>>,
    /// The tasks that are driven now, with the way to nudge each driver.
    driven: Mutex<HashMap<u64, Arc<Notify>>>,
    /// Where the logs of tasks stood when their drivers failed. What a driver wrote before it failed is no reason to drive
    /// the task again; a nudge is, and whatever a person writes.
    failed: Mutex<HashMap<u64, Seq>>,
    seen: broadcast::Sender<(u64, Glimpse)>,
    listening: Mutex<HashMap<u64, Vec<Port>>>,
    /// Tells every driver to come to an end.
    retire: watch::Sender<bool>,
    company: Mutex<usize>,
    /// Absent: this host serves no page.
    page: Option<OpenPage>,
    /// As it was when the host started.
    build: String,
}

/// Drives what is owed, and writes to stderr, which may be `log`, until told to stop, or, where `leaves` says so, until there has been nothing to do for a while.
pub async fn run(
    store: Store,
    home: &Path,
    log: &Path,
    leaves: bool,
    page: Option<OpenPage>,
) -> Result<(), HostError> {
    let path = socket(home);
    let failed = |why| HostError::Socket { path: path.clone(), why };
    let lock = File::create(home.join("host.lock")).map_err(failed)?;
    let deadline = Instant::now() + RETIRE + Duration::from_secs(2);
    while rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        // One that listens stays; one that is ending makes room.
        if connect(home).await.is_ok() || Instant::now() > deadline {
            return Err(HostError::Running);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut listener = listen(home).map_err(failed)?;
    let mut bound = inode(&path);
    let host = Arc::new(Host::new(store, home, page));
    let mut mark = host.store.mark()?;
    // Beside other work: whoever started this host waits to be heard, however many tasks there are.
    let looker = host.clone();
    drop(tokio::task::spawn_blocking(move || looker.find_all()));
    // Beside other work: the first sandbox waits for it.
    std::thread::spawn(hands::delegated);
    let mut retire = host.retire.subscribe();
    let mut end = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut idle_since = Instant::now();
    let mut clearing: Option<JoinHandle<()>> = None;
    let stir = stir(home);
    let (mut stirred, mut looked) = (true, Instant::now());
    loop {
        let is_busy = !lock_of(&host.driven).is_empty() || *lock_of(&host.company) > 0;
        let rest = if is_busy || stirred || stir.is_none() { ROUND } else { QUIET };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => host.clone().welcome(stream),
                Err(error) => {
                    tracing::warn!(%error, "a face could not be heard");
                    // Where descriptors are short the next try would fail at once, and fill the log.
                    tokio::time::sleep(ROUND).await;
                }
            },
            () = next_stir(stir.as_ref()), if !is_busy && !stirred => stirred = true,
            () = tokio::time::sleep_until(looked + rest) => {
                (stirred, looked) = (false, Instant::now());
                // A socket that somebody cleaned away would leave the host running and out of reach.
                if inode(&path) != bound {
                    listener = listen(home).map_err(failed)?;
                    bound = inode(&path);
                }
                if let Err(error) = hostlog::rotate(log, std::io::stderr()) {
                    tracing::warn!(%error, "the log cannot be begun anew");
                }
                // Whoever wrote may have died before it nudged.
                match host.store.news(mark) {
                    Ok((tasks, now)) => {
                        mark = now;
                        let news = tasks.into_iter().filter(|task| !host.failed_at_its_end(*task));
                        news.for_each(|task| host.hear_of(task));
                    }
                    Err(error) => tracing::warn!(%error, "the logs cannot be read"),
                }
                if lock_of(&host.driven).is_empty()
                    && clearing.as_ref().is_none_or(|clearing| clearing.is_finished())
                    && gc::is_due(home, CLEARED)
                {
                    clearing = Some(clear(Quire::of_host(host.store.clone(), home, log)));
                }
                if !lock_of(&host.driven).is_empty() || *lock_of(&host.company) > 0 {
                    idle_since = Instant::now();
                } else if leaves && idle_since.elapsed() > IDLE {
                    break;
                }
            }
            _ = retire.changed() => break,
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // Nobody new is heard from here on; whoever comes starts the next host, which waits for the lock.
    drop(listener);
    let _ = std::fs::remove_file(&path);
    host.retire.send_replace(true);
    let deadline = Instant::now() + RETIRE;
    while !lock_of(&host.driven).is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Returns what the kernel tells of writing in the data directory by; `None` where it has no more of these.
fn stir(home: &Path) -> Option<AsyncFd<OwnedFd>> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let fd = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
    add_watch(&fd, home, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE)
        .ok()?;
    // SAFETY: it owns the descriptor, which nobody else has.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok()
}

/// Waits until something was written since the last time.
async fn next_stir(stir: Option<&AsyncFd<OwnedFd>>) {
    let Some(stir) = stir else { return std::future::pending().await };
    let Ok(mut ready) = stir.readable().await else { return };
    // What it was does not matter, so that it is only taken out.
    let mut events = [0; 4096];
    while rustix::io::read(stir.get_ref(), &mut events).is_ok_and(|length| length > 0) {}
    ready.clear_ready();
}

/// Clears away what is past its age, beside everything else.
fn clear(quire: Quire) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || match quire.clear(false) {
        Ok(cleared) if cleared == Cleared::default() => {}
        Ok(cleared) => tracing::info!(?cleared, "cleared away"),
        Err(error) => tracing::warn!(%error, "what is past its age could not be cleared away"),
    })
}

/// Binds the socket, in the place of one that a dead host left.
fn listen(home: &Path) -> io::Result<UnixListener> {
    let dir = File::open(home)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/host.sock", dir.as_raw_fd()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(&path)
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}

/// Connects to the host of `home`.
pub async fn connect(home: &Path) -> io::Result<UnixStream> {
    let dir = File::open(home)?;
    UnixStream::connect(format!("/proc/self/fd/{}/host.sock", dir.as_raw_fd())).await
}

impl Host {
    fn new(store: Store, home: &Path, page: Option<OpenPage>) -> Host {
        Host {
            store,
            home: home.to_owned(),
            client: quire_model::Client::new(),
            keys: Mutex::default(),
            secrets: Mutex::default(),
            driven: Mutex::default(),
            failed: Mutex::default(),
            seen: broadcast::channel(4096).0,
            listening: Mutex::default(),
            retire: watch::channel(false).0,
            company: Mutex::new(0),
            page,
            build: build(),
        }
    }

    /// Looks at a task in whose log there is news. A face that wrote it hands a key over and nudges by itself; so where no
    /// driver waits for the news, this only makes up for a face that died in between.
    fn hear_of(self: &Arc<Host>, task: u64) {
        match lock_of(&self.driven).get(&task) {
            Some(nudge) => nudge.notify_one(),
            None => self.look_at_later(task),
        }
    }

    /// Looks at the tasks that are there when the host starts: of those that rest no log is read.
    fn find_all(self: &Arc<Host>) {
        let all = match self.store.summaries() {
            Ok(all) => all,
            // One log that cannot be read keeps no other from being driven.
            Err(_) => {
                let tasks = self.store.tasks().unwrap_or_default();
                return tasks.into_iter().for_each(|task| self.find(task));
            }
        };
        for Summary { task, phase, .. } in all {
            let left = || Place::of(&self.home, task).dir().exists();
            if phase == Phase::Working || phase == Phase::Discarded && left() {
                self.find(task);
            }
        }
    }

    fn find(self: &Arc<Host>, task: u64) {
        if self.lacks_key(task) {
            // The face that started this host, or follows the task, has it and hands it over first.
            self.look_at_later(task);
        } else {
            self.look_at(task);
        }
    }

    fn look_at_later(self: &Arc<Host>, task: u64) {
        let host = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEY_WAITS).await;
            host.look_at(task);
        });
    }

    /// Nudges the task's driver; where none is and one is owed, there is one after this.
    fn look_at(self: &Arc<Host>, task: u64) {
        if let Some(nudge) = lock_of(&self.driven).get(&task) {
            nudge.notify_one();
            return;
        }
        match self.store.summary(task).map(|task| task.phase) {
            Ok(Phase::Working) => self.drive(task),
            // Discarded while no host was there to clear up after it.
            Ok(Phase::Discarded) => {
                let is_free = crate::rewind::lent(&self.store).is_ok_and(|lent| !lent.contains(&task));
                if is_free && let Err(error) = Place::of(&self.home, task).clear(false) {
                    tracing::warn!(task, %error, "what a discarded task left stays on the disk");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::error!(task, %error, "a task cannot be read"),
        }
    }

    fn failed_at_its_end(&self, task: u64) -> bool {
        let Some(failed) = lock_of(&self.failed).get(&task).copied() else { return false };
        let stands = self.store.summary(task).is_ok_and(|task| task.seq == failed);
        if !stands {
            lock_of(&self.failed).remove(&task);
        }
        stands
    }

    fn drive(self: &Arc<Host>, task: u64) {
        let nudge = Arc::new(Notify::new());
        match lock_of(&self.driven).entry(task) {
            // Somebody else was quicker; two drivers would fence each other off.
            Entry::Occupied(driven) => return driven.get().notify_one(),
            Entry::Vacant(free) => free.insert(nudge.clone()),
        };
        lock_of(&self.failed).remove(&task);
        let host = self.clone();
        tokio::spawn(async move {
            let (keys, secrets, seen, shown) = (host.clone(), host.clone(), host.seen.clone(), host.clone());
            let key =
                Box::new(move |charter: &Charter, model: &Model, refused: Option<&Secret>| match refused {
                    None => keys.key(task, charter, model),
                    Some(refused) => keys.other_key(task, charter, model, refused),
                });
            let secret = Box::new(move |charter: &Charter, name: &str| secrets.secret(task, charter, name));
            let show = Arc::new(move |glimpse| {
                shown.keep_ports(task, &glimpse);
                // Nobody watches: nothing is lost.
                let _ = seen.send((task, glimpse));
            });
            let client = host.client.clone();
            let ended =
                match Work::new(host.store.clone(), host.home.clone(), task, client, key, secret, show) {
                    // In a task of its own, so that one that panics ends alone.
                    Ok(work) => {
                        match tokio::spawn(driver::drive(Arc::new(work), nudge, host.retire.subscribe()))
                            .await
                        {
                            Ok(Err(Ended::Fenced)) => Err(None),
                            Ok(ended) => ended.map_err(|e| Some(e.to_string())),
                            Err(e) => Err(Some(e.to_string())),
                        }
                    }
                    Err(error) => Err(Some(error.to_string())),
                };
            match &ended {
                Ok(()) => tracing::info!(task, "the task rests"),
                Err(None) => tracing::info!(task, "{}", Ended::Fenced),
                Err(Some(error)) => {
                    tracing::error!(task, error, "the task's driver ended");
                    host.tell_of(task, error).await;
                }
            }
            host.forget_key(task);
            lock_of(&host.driven).remove(&task);
            // Words that came between the driver's last look and its end.
            if ended.is_ok() && !*host.retire.borrow() {
                host.look_at(task);
            }
        });
    }

    /// Lets a task whose driver failed wait for its person, who would else see it at work for ever.
    async fn tell_of(&self, task: u64, error: &str) {
        let Ok(now) = self.store.task(task) else { return self.hold(task, error) };
        let why = Why::Trouble(Trouble::Other, format!("quire could not go on with it: {error}."));
        let told = match now.phase {
            Phase::Working => {
                self.store.append(task, now.seq, Writer::Person, vec![Event::Paused { why }]).await.is_ok()
            }
            _ => true,
        };
        if !told {
            self.hold(task, error);
        }
    }

    /// Tells whoever follows of what cannot be written down.
    fn hold(&self, task: u64, error: &str) {
        let at = self.store.summary(task).map_or(0, |task| task.seq);
        lock_of(&self.failed).insert(task, at);
        let why = format!(
            "Nobody drives the task: {error}. Nothing of it is lost. Drive it again: quire watch {task}"
        );
        let _ = self.seen.send((task, Glimpse::Held(why)));
    }

    /// Forgets the key of a task that owes nothing any more; whoever begins its next turn brings it again.
    fn forget_key(&self, task: u64) {
        // Whoever brings a key has begun the turn before: while this is held, none comes in between.
        let mut keys = lock_of(&self.keys);
        if !self.store.summary(task).is_ok_and(|task| may_ask(&task.phase)) {
            keys.remove(&task);
            lock_of(&self.secrets).remove(&task);
        }
    }

    /// Keeps what a task's programs listen on for whoever asks.
    fn keep_ports(&self, task: u64, glimpse: &Glimpse) {
        let Glimpse::Listening(ports) = glimpse else { return };
        let mut listening = lock_of(&self.listening);
        if ports.is_empty() {
            listening.remove(&task);
        } else {
            listening.insert(task, ports.clone());
        }
    }

    /// Returns whether the task's model needs a key that is not here, or its commands a secret.
    fn lacks_key(&self, task: u64) -> bool {
        self.store.task(task).is_ok_and(|task| {
            let model = task.charter.model.as_ref().filter(|model| model.key_env.is_some());
            let lacks = |name: &str| self.secret(task.id, &task.charter, name).is_none();
            model.is_some_and(|model| self.key(task.id, &task.charter, model).is_none())
                || task.charter.secrets.iter().any(|rule| lacks(&rule.name))
        })
    }

    /// Returns the secret that a face gave for the task, else the stored one of its person.
    fn secret(&self, task: u64, charter: &Charter, name: &str) -> Option<Secret> {
        if let Some(secret) = lock_of(&self.secrets).get(&task).and_then(|secrets| secrets.get(name)) {
            return Some(secret.clone());
        }
        let surroundings = stored_by(charter);
        stored(&surroundings)?.secret(name, &surroundings)
    }

    /// Returns the key that a face gave for the task, else the stored one of its person.
    fn key(&self, task: u64, charter: &Charter, model: &Model) -> Option<Secret> {
        if let Some(key) = lock_of(&self.keys).get(&task).and_then(|keys| keys.get(&model.provider)) {
            return Some(key.clone()).filter(|_| model.key_env.is_some());
        }
        let surroundings = stored_by(charter);
        stored(&surroundings)?.find(&model.provider, model.key_env.as_deref(), &surroundings)
    }

    /// Returns the stored key in the place of a refused one, and from then on uses it for the task; `None` where it is the same.
    fn other_key(&self, task: u64, charter: &Charter, model: &Model, refused: &Secret) -> Option<Secret> {
        let surroundings = stored_by(charter);
        let stored = stored(&surroundings)?;
        let other = stored.find(&model.provider, model.key_env.as_deref(), &surroundings)?;
        if other == *refused {
            return None;
        }
        lock_of(&self.keys).entry(task).or_default().insert(model.provider.clone(), other.clone());
        Some(other)
    }

    fn welcome(self: Arc<Host>, stream: UnixStream) {
        let ours = rustix::process::geteuid().as_raw();
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == ours || peer.uid() == 0 => {}
            _ => return,
        }
        *lock_of(&self.company) += 1;
        tokio::spawn(async move {
            if let Err(error) = self.clone().talk(stream).await {
                tracing::debug!(%error, "a face left");
            }
            *lock_of(&self.company) -= 1;
        });
    }

    async fn talk(self: Arc<Host>, stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let hello = FromHost::Hello { version: self.build.clone(), pid: std::process::id() };
        say(&mut write, &hello).await?;
        let mut lines = BufReader::new(tokio::io::AsyncReadExt::take(read, HEARD_BYTES_MAX)).lines();
        let mut followed = None;
        let mut seen = self.seen.subscribe();
        let mut commits = self.store.commits();
        loop {
            tokio::select! {
                line = lines.next_line() => {
                    let Some(line) = line? else { return Ok(()) };
                    let Ok(said) = serde_json::from_str(&line) else { return Ok(()) };
                    match said {
                        ToHost::Hello { .. } => {}
                        ToHost::Nudge(task) => self.look_at(task),
                        ToHost::Key { task, provider, key } => {
                            if let Some(key) = Secret::new(&key) {
                                lock_of(&self.keys).entry(task).or_default().insert(provider, key);
                                self.forget_key(task);
                            }
                        }
                        ToHost::Secret { task, name, value } => {
                            if let Some(value) = Secret::new(&value) {
                                lock_of(&self.secrets).entry(task).or_default().insert(name, value);
                                self.forget_key(task);
                            }
                        }
                        ToHost::Follow(task) => {
                            followed = Some(task);
                            let ports = lock_of(&self.listening).get(&task).cloned();
                            if let Some(ports) = ports {
                                say(&mut write, &FromHost::Glimpse(Glimpse::Listening(ports))).await?;
                            }
                        }
                        ToHost::Listening => {
                            let all = lock_of(&self.listening).clone();
                            say(&mut write, &FromHost::Listening(all)).await?;
                        }
                        ToHost::Page { env, cwd } => {
                            let opened = self.page.as_ref().map(|open| open(Surroundings { env, cwd }));
                            let answer = match opened {
                                Some(Ok(at)) => FromHost::Page(at),
                                Some(Err(why)) => FromHost::NoPage(why.to_string()),
                                None => FromHost::NoPage("this one drives tasks alone".to_owned()),
                            };
                            say(&mut write, &answer).await?;
                        }
                        ToHost::Stop => {
                            self.retire.send_replace(true);
                        }
                    }
                }
                glimpse = seen.recv() => match glimpse {
                    Ok((task, glimpse)) if followed == Some(task) => {
                        say(&mut write, &FromHost::Glimpse(glimpse)).await?;
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                changed = commits.changed(), if followed.is_some() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    say(&mut write, &FromHost::News).await?;
                }
            }
        }
    }
}

/// Returns the stored keys. That they cannot be read is told in the log: the task will only say that there is none.
fn stored(surroundings: &Surroundings) -> Option<Keys> {
    Keys::read(surroundings).inspect_err(|error| tracing::warn!(%error, "stored keys are not used")).ok()
}

/// Returns where the person of a task keeps what is stored.
fn stored_by(charter: &Charter) -> Surroundings {
    Surroundings { env: charter.env.iter().cloned().collect(), cwd: PathBuf::new() }
}

/// Returns whether a task's model may be asked without another word of its person's.
fn may_ask(phase: &Phase) -> bool {
    matches!(phase, Phase::Working | Phase::Waiting(_))
}

async fn say(to: &mut (impl AsyncWriteExt + Unpin), what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use quire_core::Hash;

    struct Case {
        host: Host,
        task: u64,
        _temp: tempfile::TempDir,
    }

    async fn case() -> Case {
        let temp = tempfile::tempdir().unwrap();
        let (home, folder) = (temp.path().join("home"), temp.path().join("folder"));
        std::fs::create_dir(&folder).unwrap();
        let host = Host::new(Store::open(&home).unwrap(), &home, None);
        let task = testing::begun(&host.store, &home, &folder).await;
        Case { host, task, _temp: temp }
    }

    #[tokio::test]
    async fn a_key_is_kept_only_while_its_task_may_ask() {
        let Case { host, task, _temp } = case().await;
        let keys = || lock_of(&host.keys).len();
        let bring = || {
            lock_of(&host.keys)
                .entry(task)
                .or_default()
                .insert("lab".to_owned(), Secret::new("sk-1").unwrap());
            host.forget_key(task);
        };
        bring();
        assert_eq!(keys(), 1, "at work");
        testing::tell(&host.store, task, vec![Event::Paused { why: Why::Person }]).await;
        host.forget_key(task);
        assert_eq!(keys(), 1, "a resume in another terminal need not bring it");
        testing::tell(&host.store, task, vec![Event::Resumed { model: None }]).await;
        testing::present(&host.store, task, Hash::of(b"v")).await;
        host.forget_key(task);
        assert_eq!(keys(), 0, "ready");
        bring();
        assert_eq!(keys(), 0, "brought by one who only looks");
        testing::tell(&host.store, task, vec![Event::Said { words: "again".into() }]).await;
        bring();
        assert_eq!(keys(), 1, "its next turn");
        testing::tell(&host.store, task, vec![Event::Discarded {}]).await;
        host.forget_key(task);
        assert_eq!(keys(), 0, "discarded");
    }

    #[tokio::test]
    async fn a_task_whose_driver_failed_waits_for_its_person() {
        let Case { host, task, _temp } = case().await;
        host.tell_of(task, "a wheel came off").await;
        let phase = host.store.task(task).unwrap().phase;
        let Phase::Waiting(Why::Trouble(Trouble::Other, why)) = &phase else { panic!("{phase:?}") };
        assert_eq!(why, "quire could not go on with it: a wheel came off.");
        // One that was paused or ended meanwhile is left so.
        let at = host.store.task(task).unwrap().seq;
        host.tell_of(task, "again").await;
        assert_eq!(host.store.task(task).unwrap().seq, at);
        assert!(!host.failed_at_its_end(task));
    }

    #[tokio::test]
    async fn that_a_driver_failed_is_known_until_the_log_goes_on() {
        let Case { host, task, _temp } = case().await;
        host.hold(task, "no space on the disk");
        assert!(host.failed_at_its_end(task), "what it wrote before it failed drives nothing");
        testing::tell(&host.store, task, vec![Event::Said { words: "again".into() }]).await;
        assert!(!host.failed_at_its_end(task), "a word of its person's does");
        assert!(lock_of(&host.failed).is_empty());
    }
}
