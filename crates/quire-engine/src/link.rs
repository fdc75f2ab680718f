//! A face's way to the host: starts one where none runs, hands over keys and nudges, and follows a task. What a face shows as
//! fact it reads from the store; so a host that dies is only started again.

use crate::glimpse::Glimpse;
use crate::host::{self, FromHost, PageAt, ToHost};
use crate::hostlog;
use crate::keys::Secret;
use crate::quire::EngineError;
use crate::settings::Surroundings;
use crate::store::Store;
use quire_core::Logged;
use quire_core::event::Seq;
use quire_sandbox::protocol::Port;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the host could not be started: {0}")]
    Start(io::Error),
    #[error("the host ended at once; its log is {}", log.display())]
    Ended { log: PathBuf },
    #[error("the host does not answer; its log is {}", log.display())]
    Silent { log: PathBuf },
    #[error("the host cannot serve the page: {0}")]
    NoPage(String),
}

/// A connection to the host.
pub struct Link {
    home: PathBuf,
    log: PathBuf,
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    /// The host's process.
    pid: u32,
    /// What was handed over, for the next host where this one ends.
    keys: Vec<(u64, String, Secret)>,
    secrets: Vec<(u64, String, Secret)>,
}

/// What a follower hears.
#[derive(Clone, Debug)]
pub enum Heard {
    Event(Box<Logged>),
    Glimpse(Glimpse),
}

/// Longest time that a host may take to start or to answer.
const START: Duration = Duration::from_secs(15);
/// How often a follower looks into the store by itself.
const LOOK: Duration = Duration::from_secs(1);
/// How many hosts in a row a follower tries that end at once, and how long it waits before the second; more before the next.
const TRIES: u32 = 5;
const TRY: Duration = Duration::from_millis(100);

/// Variables that a host is started with; keys are never among them.
const HOST_ENV: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "QUIRE_HOME",
    "QUIRE_LOG",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

impl Link {
    /// Connects to the host of `home`, and starts one where none answers. One of another build finishes what
    /// runs and makes room.
    pub async fn to_host(home: &Path, log: &Path) -> Result<Link, LinkError> {
        let mut deadline = Instant::now() + START;
        let mut started: Option<std::process::Child> = None;
        loop {
            if let Some((link, version)) = Link::connect(home, log).await {
                if version == host::build() {
                    return Ok(link);
                }
                let mut old = link;
                old.stop().await;
                // The next one has its own time.
                deadline = Instant::now() + START;
            } else if let Some(child) = &mut started {
                // Another host may have been quicker; then the next try connects to it.
                if let Ok(Some(status)) = child.try_wait()
                    && !status.success()
                {
                    return Err(LinkError::Ended { log: log.to_owned() });
                }
            } else {
                started = Some(start(log).map_err(LinkError::Start)?);
            }
            if Instant::now() > deadline {
                return Err(LinkError::Silent { log: log.to_owned() });
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Connects to a host that runs already.
    pub async fn connect(home: &Path, log: &Path) -> Option<(Link, String)> {
        let stream = host::connect(home).await.ok()?;
        let (read, write) = stream.into_split();
        let lines = BufReader::new(read).lines();
        let mut link = Link {
            home: home.to_owned(),
            log: log.to_owned(),
            lines,
            write,
            pid: 0,
            keys: vec![],
            secrets: vec![],
        };
        link.say(&ToHost::Hello { version: host::build() }).await;
        match timeout(START, link.hear()).await.ok()?? {
            FromHost::Hello { version, pid } => Some((Link { pid, ..link }, version)),
            _ => None,
        }
    }

    pub async fn nudge(&mut self, task: u64) {
        self.say(&ToHost::Nudge(task)).await;
    }

    /// Returns what the programs of each running task listen on; nothing where the host does not answer.
    pub async fn listening(&mut self) -> HashMap<u64, Vec<Port>> {
        self.say(&ToHost::Listening).await;
        match timeout(START, self.hear()).await {
            Ok(Some(FromHost::Listening(all))) => all,
            _ => HashMap::new(),
        }
    }

    /// Has the page served, for a person whose surroundings these are, and one browser let in.
    pub async fn page(&mut self, here: &Surroundings) -> Result<PageAt, LinkError> {
        self.say(&ToHost::Page { env: here.env.clone(), cwd: here.cwd.clone() }).await;
        match timeout(START, self.hear()).await {
            Ok(Some(FromHost::Page(at))) => Ok(at),
            Ok(Some(FromHost::NoPage(why))) => Err(LinkError::NoPage(why)),
            _ => Err(LinkError::Silent { log: self.log.clone() }),
        }
    }

    /// Hands over the key of a provider whose models a task uses; the host keeps it in memory.
    pub async fn key(&mut self, task: u64, provider: &str, key: &Secret) {
        let (provider, exposed) = (provider.to_owned(), key.expose().to_owned());
        self.say(&ToHost::Key { task, provider: provider.clone(), key: exposed }).await;
        self.keys.push((task, provider, key.clone()));
    }

    /// Hands over a secret that a task's commands may use without seeing it; the host keeps it in memory.
    pub async fn secret(&mut self, task: u64, name: &str, value: &Secret) {
        let (name, exposed) = (name.to_owned(), value.expose().to_owned());
        self.say(&ToHost::Secret { task, name: name.clone(), value: exposed }).await;
        self.secrets.push((task, name, value.clone()));
    }

    /// Tells the host to end, and waits until its process is gone.
    pub async fn stop(&mut self) {
        let host = Pid::from_raw(self.pid as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        self.say(&ToHost::Stop).await;
        while self.hear().await.is_some() {}
        // It hangs up before it has closed the store.
        if let Some(host) = host {
            let patience = Timespec { tv_sec: START.as_secs() as i64, tv_nsec: 0 };
            let gone = move || poll(&mut [PollFd::new(&host, PollFlags::IN)], Some(&patience)).map(drop);
            let _ = tokio::task::spawn_blocking(gone).await;
        }
    }

    /// Follows a task from the event after `after`.
    pub async fn follow(mut self, store: Store, task: u64, after: Seq) -> Followed {
        self.say(&ToHost::Follow(task)).await;
        let ready = VecDeque::new();
        Followed { link: self, linked: true, linking: None, tried: 0, store, task, after, ready }
    }

    fn bequest(&self) -> Bequest {
        Bequest {
            home: self.home.clone(),
            log: self.log.clone(),
            keys: self.keys.clone(),
            secrets: self.secrets.clone(),
        }
    }

    /// A host that is gone is found out by whoever listens.
    async fn say(&mut self, what: &ToHost) {
        if let Ok(mut line) = serde_json::to_vec(what) {
            line.push(b'\n');
            let _ = self.write.write_all(&line).await;
        }
    }

    async fn hear(&mut self) -> Option<FromHost> {
        let line = self.lines.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }
}

/// A task that is followed. The stream has no end: whoever follows stops when the task rests.
pub struct Followed {
    link: Link,
    /// False once the host has hung up.
    linked: bool,
    /// The way to the next host, which goes on where whoever follows looks away.
    linking: Option<JoinHandle<Result<Link, LinkError>>>,
    /// Hosts in a row that were tried and said nothing.
    tried: u32,
    store: Store,
    task: u64,
    after: Seq,
    ready: VecDeque<Logged>,
}

impl Followed {
    /// Returns the next event or glimpse; an error also where one host after the other ends at once. Safe to cancel: an event
    /// that was not returned comes again.
    pub async fn next(&mut self) -> Result<Heard, EngineError> {
        loop {
            if self.ready.is_empty() {
                self.ready.extend(self.store.events(self.task, self.after)?);
            }
            if let Some(logged) = self.ready.pop_front() {
                self.after = logged.seq;
                return Ok(Heard::Event(Box::new(logged)));
            }
            if !self.linked {
                self.link_again().await?;
                continue;
            }
            let heard = timeout(LOOK, self.link.hear()).await;
            if matches!(heard, Ok(Some(_))) {
                self.tried = 0;
            }
            match heard {
                Ok(Some(FromHost::Glimpse(glimpse))) => return Ok(Heard::Glimpse(glimpse)),
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => self.linked = false,
            }
        }
    }

    /// Comes to the next host, and gives it what the last one had from here. In a task of its own: cancelled in the midst, it
    /// would start a host with each call.
    async fn link_again(&mut self) -> Result<(), LinkError> {
        if self.linking.is_none() {
            let wait = TRY * self.tried.pow(2);
            self.tried += 1;
            let (old, task) = (self.link.bequest(), self.task);
            self.linking = Some(tokio::spawn(async move {
                sleep(wait).await;
                old.to_next(task).await
            }));
        }
        let Some(linking) = &mut self.linking else { return Ok(()) };
        let linked = linking.await;
        self.linking = None;
        match linked.unwrap_or_else(|error| Err(LinkError::Start(io::Error::other(error)))) {
            Ok(_) if self.tried > TRIES => Err(LinkError::Ended { log: self.link.log.clone() }),
            Ok(link) => {
                (self.link, self.linked) = (link, true);
                Ok(())
            }
            Err(_) if self.tried < TRIES => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the next host is given.
struct Bequest {
    home: PathBuf,
    log: PathBuf,
    keys: Vec<(u64, String, Secret)>,
    secrets: Vec<(u64, String, Secret)>,
}

impl Bequest {
    async fn to_next(&self, task: u64) -> Result<Link, LinkError> {
        let mut link = Link::to_host(&self.home, &self.log).await?;
        for (task, provider, key) in &self.keys {
            link.key(*task, provider, key).await;
        }
        for (task, name, value) in &self.secrets {
            link.secret(*task, name, value).await;
        }
        link.nudge(task).await;
        link.say(&ToHost::Follow(task)).await;
        Ok(link)
    }
}

/// Starts a host that outlives this process, with nothing of its terminal and little of its environment.
fn start(log: &Path) -> io::Result<std::process::Child> {
    let log = hostlog::open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["host", "--background"]).current_dir("/").env_clear();
    command.envs(HOST_ENV.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // SAFETY: setsid is async-signal-safe and touches no memory of this process.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        })
    };
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use tokio::net::UnixStream;

    /// Each tick of who drew the progress gave a start up and began the next, for ever; what was wrong was never told.
    #[tokio::test]
    async fn hosts_that_end_at_once_are_tried_a_few_times_however_often_one_looks_away() {
        let temp = tempfile::tempdir().unwrap();
        let (home, folder) = (temp.path().join("home"), temp.path().join("folder"));
        std::fs::create_dir(&folder).unwrap();
        let store = Store::open(&home).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let (read, write) = ours.into_split();
        let link = Link {
            home: home.clone(),
            // The program of these tests takes no such options, so that as a host it ends at once.
            log: home.join("host.log"),
            lines: BufReader::new(read).lines(),
            write,
            pid: 0,
            keys: vec![],
            secrets: vec![],
        };
        let task = testing::begun(&store, &home, &folder).await;
        let mut followed = link.follow(store, task, 1000).await;
        let error = loop {
            match timeout(Duration::from_millis(20), followed.next()).await {
                Ok(heard) => break heard.unwrap_err(),
                Err(_) => continue,
            }
        };
        assert!(error.to_string().contains("host.log"), "{error}");
        let log = std::fs::read_to_string(home.join("host.log")).unwrap();
        assert_eq!(log.matches("background").count() as u32, TRIES, "{log}");
    }
}
