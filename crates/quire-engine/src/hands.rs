//! A running sandbox, as async code sees it: calls go in, and each comes back once, or is known to be lost.

use quire_sandbox::egress::{Egress, EgressError};
use quire_sandbox::protocol::{FRAME_MAX, FromHand, HandOutcome, Port, ToHand};
use quire_sandbox::{Sandbox, Skeleton, Spec, StartError, skeleton};
use serde_json::json;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

/// One sandbox and what is awaited from it.
pub struct Hands {
    sandbox: Sandbox,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU32,
    state: PathBuf,
    ports: watch::Receiver<Vec<Port>>,
    /// Open while this is kept; it ends after the sandbox.
    way: Option<Arc<Egress>>,
    /// What it stands on.
    _skeleton: Skeleton,
}

/// Longest time that a hand may take to stop everything; it kills what has not stopped after five seconds.
const STILL: Duration = Duration::from_secs(20);

/// How often one looks whether nobody else holds a sandbox any more, which is a matter of moments.
pub(crate) const LETS_GO: Duration = Duration::from_millis(1);

/// Most ports of a sandbox that are told of.
const PORTS_MAX: usize = 64;

/// Longest time that a hand may take to connect to a port inside.
const CONNECT: Duration = Duration::from_secs(10);

/// The sandbox is gone, and with it whatever was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox ended unexpectedly")]
pub struct Gone;

#[derive(Default)]
struct Waiting {
    calls: HashMap<u32, Call>,
    still: Option<oneshot::Sender<()>>,
    connections: HashMap<u32, oneshot::Sender<std::net::TcpStream>>,
    gone: bool,
}

struct Call {
    done: oneshot::Sender<HandOutcome>,
    live: Arc<Mutex<dyn Fn(String) + Send>>,
}

/// Tells everybody who waits when the thread that listens to the hand ends.
struct Ear {
    waiting: Arc<Mutex<Waiting>>,
    ports: watch::Sender<Vec<Port>>,
}

impl Ear {
    fn hear(&self, said: FromHand) {
        let mut waiting = lock(&self.waiting);
        match said {
            FromHand::Ready => {}
            FromHand::Live { id, text } => {
                let live = waiting.calls.get(&id).map(|call| call.live.clone());
                // It may look through the text for long, and calls begin and end meanwhile.
                drop(waiting);
                if let Some(live) = live {
                    (*lock(&live))(text);
                }
            }
            FromHand::Done { id, outcome } => {
                if let Some(call) = waiting.calls.remove(&id) {
                    let _ = call.done.send(outcome);
                }
            }
            FromHand::Still => {
                if let Some(still) = waiting.still.take() {
                    let _ = still.send(());
                }
            }
            FromHand::Listening { mut ports } => {
                ports.truncate(PORTS_MAX);
                self.ports.send_replace(ports);
            }
            FromHand::Connected { id, socket, .. } => {
                // Where there is no socket, that nothing can be sent any more says so.
                let waits = waiting.connections.remove(&id);
                if let (Some(waits), Some(socket)) = (waits, socket) {
                    let _ = waits.send(socket);
                }
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        *lock(&self.waiting) = Waiting { gone: true, ..Waiting::default() };
    }
}

/// Sees to it, once, that this process may bound its sandboxes by cgroups where systemd allows that; blocks until that is
/// decided, so that no sandbox starts without the bounds that others have.
pub fn delegated() {
    static DECIDED: OnceLock<bool> = OnceLock::new();
    DECIDED.get_or_init(quire_sandbox::delegate);
}

impl Hands {
    /// Starts a sandbox; blocks until it takes calls. The machine's skeleton is kept below the data directory `home`;
    /// where it has to be made, `progress` is told entries made and entries to make.
    pub fn start(mut spec: Spec, home: &Path, progress: &dyn Fn(u64, u64)) -> Result<Hands, StartError> {
        let system = home.join("system");
        let skeleton = match spec.rung.has_tree() {
            true => skeleton(&system, progress).map_err(StartError::at(&system))?,
            false => Skeleton::default(),
        };
        spec.skeleton.clone_from(&skeleton.layers);
        delegated();
        let waiting = Arc::<Mutex<Waiting>>::default();
        let (said, ports) = watch::channel(Vec::new());
        let ear = Ear { waiting: waiting.clone(), ports: said };
        let sandbox = quire_sandbox::start(&spec, move |said| ear.hear(said))?;
        let next = AtomicU32::new(1);
        Ok(Hands { sandbox, waiting, next, state: spec.state, ports, way: None, _skeleton: skeleton })
    }

    /// Lets the sandbox out by `way`, which begins to accept what waits at its door. Must be called within the async runtime.
    pub fn open(&mut self, way: Arc<Egress>) -> Result<(), EgressError> {
        if let Some(gate) = self.sandbox.gate() {
            way.serve(gate)?;
        }
        self.way = Some(way);
        Ok(())
    }

    /// Runs a shell command as the first call of a fresh sandbox, and waits for its end, at most about `most` long; after
    /// that the outcome has no exit code.
    pub async fn command(
        &self,
        command: &str,
        most: Duration,
        live: impl Fn(String) + Send + Clone + 'static,
    ) -> Result<HandOutcome, Gone> {
        let begun = Instant::now();
        let mut said = self.call("shell", &json!({ "command": command }).to_string(), live.clone()).await?;
        // The shell tool lets long commands go on as jobs; the first command of a sandbox is job 1.
        while said.exit.is_none() && said.ok && begun.elapsed() < most {
            let poll = json!({ "id": 1, "action": "poll", "wait": 120 }).to_string();
            said = self.call("job", &poll, live.clone()).await?;
        }
        Ok(said)
    }

    /// Runs a tool inside and returns what came of it. `live` is given output on the way. Dropping the future ends the call.
    pub async fn call(
        &self,
        tool: &str,
        input: &str,
        live: impl Fn(String) + Send + 'static,
    ) -> Result<HandOutcome, Gone> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, outcome) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.gone {
                return Err(Gone);
            }
            waiting.calls.insert(id, Call { done, live: Arc::new(Mutex::new(live)) });
        }
        let cancel = Cancel { hands: self, id };
        let call = ToHand::Call { id, tool: tool.to_owned(), input: input.to_owned() };
        match self.sandbox.send(&call) {
            // The sandbox stands; the model can send its file in parts.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(too_long()),
            sent => sent.map_err(|_| Gone)?,
        }
        let outcome = outcome.await.map_err(|_| Gone);
        std::mem::forget(cancel);
        outcome
    }

    /// Stops every process inside until [`Hands::go_on`], so that files hold still. A hand that does not answer counts as
    /// gone, and who asked lets go of it, which ends it.
    pub async fn hold_still(&self) -> Result<(), Gone> {
        let (sender, still) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.gone {
                return Err(Gone);
            }
            waiting.still = Some(sender);
        }
        self.sandbox.send(&ToHand::Freeze).map_err(|_| Gone)?;
        match tokio::time::timeout(STILL, still).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Brings the layer up to what is inside, which must hold still; blocks.
    pub fn settle(&self) -> io::Result<()> {
        self.sandbox.settle()
    }

    /// Returns lines about the limits that were met since the last outcome: why a sandbox that is gone may have gone.
    pub fn limits_met(&self) -> String {
        self.sandbox.breaches().iter().map(|breach| format!("\n{breach}")).collect()
    }

    /// Connects to a port inside. Whatever keeps it from that, there is nothing to talk to.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let nobody = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, connected) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.gone {
                return Err(nobody());
            }
            waiting.connections.insert(id, sender);
        }
        self.sandbox.send(&ToHand::Connect { id, port })?;
        let connected = tokio::time::timeout(CONNECT, connected).await;
        lock(&self.waiting).connections.remove(&id);
        TcpStream::from_std(connected?.map_err(|_| nobody())?)
    }

    /// Returns what programs inside listen on, as the hand last told it.
    pub fn listening(&self) -> Vec<Port> {
        self.ports.borrow().clone()
    }

    /// Returns a way to be told of what programs inside listen on; it closes when the sandbox is gone.
    pub fn ports(&self) -> watch::Receiver<Vec<Port>> {
        self.ports.clone()
    }

    /// Waits until the sandbox is gone.
    pub async fn gone(&self) {
        let mut ports = self.ports.clone();
        while ports.changed().await.is_ok() {}
    }

    pub fn go_on(&self) {
        // A sandbox that is gone needs no thaw, and the next call finds out.
        let _ = self.sandbox.send(&ToHand::Thaw);
    }

    /// Ends everything inside and makes the layer durable; blocks.
    pub fn end(self) -> io::Result<()> {
        let ended = self.sandbox.end();
        crate::freeze::remove_tree(&self.state)?;
        ended
    }

    /// Ends everything inside, whose layer nobody will want again; blocks.
    pub fn discard(self) -> std::io::Result<()> {
        let ended = self.sandbox.discard();
        crate::freeze::remove_tree(&self.state)?;
        ended
    }
}

fn too_long() -> HandOutcome {
    let most = FRAME_MAX >> 20;
    let text = format!("Not run: the input is longer than {most} MiB. Do it in smaller parts.");
    HandOutcome { text, ok: false, exit: None, millis: 0, whole: None, images: vec![] }
}

struct Cancel<'a> {
    hands: &'a Hands,
    id: u32,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        lock(&self.hands.waiting).calls.remove(&self.id);
        let _ = self.hands.sandbox.send(&ToHand::Cancel { id: self.id });
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
