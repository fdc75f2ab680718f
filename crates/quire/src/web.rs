//! The page: the same tasks, words and decisions as the commands have, in a browser. The host serves it on loopback, from the
//! first `quire web` on; what it shows comes from the same views, and what it does is done by the same functions.
//!
//! Every form works without scripts: a form is sent, done, and answered by where to look now. Scripts (`web/quire.js`) add what
//! is live: rows and steps as they come, keys, notifications.

mod act;
mod answer;
mod around;
mod assets;
mod bars;
mod changes;
mod code;
mod compare;
mod door;
mod edit;
mod enter;
mod field;
mod find;
mod frame;
mod home;
mod icons;
mod lines;
mod live;
mod missing;
mod multipart;
mod named;
mod notes;
mod pictures;
mod places;
mod points;
mod preview;
pub mod report;
mod result;
mod review;
mod said;
mod served;
mod settings;
mod standing;
mod story;
mod suggest;
mod tables;
mod text;
mod undo;
mod watch;

use crate::cmd::follow::now_ms;
use crate::error::{Exit, Failure};
use axum::Router;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use door::{Door, Ends};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use quire_engine::settings::Surroundings;
use quire_engine::{OpenPage, Quire};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at one time; more wait.
const CONNECTIONS: usize = 256;
/// How long the beginning of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// What all requests share.
pub struct Page {
    quire: Arc<Quire>,
    door: Door,
    previews: preview::Previews,
    servers: served::Servers,
    /// Of the person who opened the page last: tasks begun here are as if begun there.
    here: Mutex<Arc<Surroundings>>,
    /// What tasks at work did so far, so that it is folded once.
    stories: Mutex<HashMap<u64, story::Story>>,
    reviews: changes::Reviews,
    named: named::Kept,
    /// What the last accept or undo of a task said, and the place of the log that it led to: what comes later is news.
    said: Mutex<HashMap<u64, (u64, String)>>,
    streams: live::Streams,
    probe: Mutex<settings::Probe>,
    /// Held from when a new folder is named until a task has it.
    naming: tokio::sync::Mutex<()>,
}

impl Page {
    fn here(&self) -> Arc<Surroundings> {
        lock(&self.here).clone()
    }

    /// Does what reads the store or writes files, beside the other requests.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Page>,
        work: impl FnOnce(&Page) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let page = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&page)).await;
        done.unwrap_or_else(|error| {
            tracing::error!(%error, "a request failed");
            let (what, next) = ("A part of quire failed.", "See the host's log, then try again.");
            Err(Failure::new(Exit::Trouble, what, "Every task is in quire's log, as it was.", next))
        })
    }
}

/// Returns what the host opens the page with. Where it was served before, or a port is named, it is served from now on, so that
/// a page that is open finds the next host.
pub fn opener(quire: Arc<Quire>, port: Option<u16>) -> io::Result<OpenPage> {
    let served: Mutex<Option<Arc<Page>>> = Mutex::new(None);
    let before = last_port(quire.home());
    if port.or(before).is_some() {
        match serve(&quire, port, before) {
            Ok(page) => *lock(&served) = Some(page),
            Err(error) if port.is_some() => return Err(error),
            // Tasks go on without it.
            Err(error) => tracing::warn!(%error, "the page is not served"),
        }
    }
    Ok(Arc::new(move |here| {
        let mut served = lock(&served);
        let page = match served.take() {
            Some(page) => page,
            None => serve(&quire, port, before)?,
        };
        *lock(&page.here) = Arc::new(here);
        let at = page.door.let_in();
        *served = Some(page);
        at
    }))
}

fn port_file(home: &Path) -> std::path::PathBuf {
    home.join("page.port")
}

fn last_port(home: &Path) -> Option<u16> {
    std::fs::read_to_string(port_file(home)).ok()?.trim().parse().ok()
}

/// Listens on loopback, at the port that is wanted, else where it was before, else anywhere.
fn serve(quire: &Arc<Quire>, wanted: Option<u16>, before: Option<u16>) -> io::Result<Arc<Page>> {
    let bound = match (wanted, before) {
        (Some(port), _) => bind(port)?,
        (None, Some(port)) => bind(port).or_else(|_| bind(0))?,
        (None, None) => bind(0)?,
    };
    let port = bound[0].local_addr()?.port();
    // Beside it where that is free, so that both can be guessed by who forwards them.
    let shown = bind(port.wrapping_add(1).max(1024)).or_else(|_| bind(0))?;
    let preview = shown[0].local_addr()?.port();
    let page = Arc::new(Page {
        quire: quire.clone(),
        door: Door::new(quire.home(), port, preview)?,
        previews: preview::Previews::new(preview),
        servers: served::Servers::default(),
        here: Mutex::new(Arc::new(Surroundings::capture())),
        stories: Mutex::default(),
        reviews: changes::Reviews::default(),
        named: named::Kept::default(),
        said: Mutex::default(),
        streams: live::Streams::default(),
        probe: Mutex::default(),
        naming: tokio::sync::Mutex::default(),
    });
    if before != Some(port) {
        std::fs::write(port_file(quire.home()), port.to_string())?;
    }
    let router = router(page.clone());
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let shows = preview::router(page.clone());
    let served = bound.into_iter().map(|listener| (listener, &router));
    for (listener, router) in served.chain(shown.into_iter().map(|listener| (listener, &shows))) {
        tokio::spawn(accept(TcpListener::from_std(listener)?, router.clone(), free.clone()));
    }
    tracing::info!(port, "the page is served");
    Ok(page)
}

fn bind(port: u16) -> io::Result<Vec<std::net::TcpListener>> {
    let four = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let at = SocketAddr::from((Ipv6Addr::LOCALHOST, four.local_addr()?.port()));
    // A machine may be without IPv6; where another program has that port of it, `localhost` would be that one's half the time,
    // and the address that is told is 127.0.0.1.
    let bound: Vec<_> = [Some(four), std::net::TcpListener::bind(at).ok()].into_iter().flatten().collect();
    for listener in &bound {
        listener.set_nonblocking(true)?;
    }
    Ok(bound)
}

async fn accept(listener: TcpListener, router: Router, free: Arc<Semaphore>) {
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            // Where descriptors are short the next try would fail at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(here) = stream.local_addr() else { continue };
        let service = TowerToHyperService::new(router.clone().layer(Extension(Ends { peer, here })));
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // Whoever asked may hang up at any time.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

/// Every address of the page. Reading never changes anything.
fn router(page: Arc<Page>) -> Router {
    Router::new()
        .route("/", get(home::home))
        .route("/rows", get(home::rows))
        .route("/news", get(live::news))
        .route("/enter", get(enter::form).post(enter::enter))
        .route("/style.css", get(assets::style))
        .route("/quire.js", get(assets::script))
        .route("/icon.svg", get(assets::icon))
        .route("/settings", get(settings::settings))
        .route("/settings/test", post(settings::test))
        .route("/settings/check", post(missing::check))
        .route("/settings/keep", post(settings::keep))
        .route("/settings/key", post(settings::key))
        .route("/tasks", post(act::start))
        .route("/tasks/{task}", get(standing::task))
        .route("/tasks/{task}/events", get(live::events))
        .route("/tasks/{task}/plan", get(watch::part))
        .route("/tasks/{task}/compare", get(compare::compare))
        .route("/tasks/{task}/files/{file}", get(changes::file))
        .route("/tasks/{task}/find", get(find::find))
        .route("/tasks/{task}/note", get(notes::page).post(act::note))
        .route("/tasks/{task}/edit", get(edit::page).post(edit::save))
        .route("/tasks/{task}/kept-from", get(result::part))
        .route("/tasks/{task}/report", get(report::report))
        .route("/tasks/{task}/{decision}", post(act::decide))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(axum::middleware::from_fn_with_state(page.clone(), door::guard))
        .with_state(page)
}

async fn nowhere() -> Response {
    let next = "Go back to the tasks.";
    let failure = Failure::new(Exit::WrongUse, "There is no such page.", "Nothing was changed.", next);
    frame::refusal(StatusCode::NOT_FOUND, &failure)
}

async fn not_so() -> Response {
    let next = "Go back to the page it is on.";
    let failure =
        Failure::new(Exit::WrongUse, "This is done by a form of the page.", "Nothing was changed.", next);
    frame::refusal(StatusCode::METHOD_NOT_ALLOWED, &failure)
}

/// Returns when, as a person says it: `now`, `6 min ago`, `2 days ago`.
fn ago(age_ms: u64) -> String {
    match age_ms / 60_000 {
        0 => "now".to_owned(),
        minutes @ 1..60 => format!("{minutes} min ago"),
        minutes @ 60..1440 => format!("{} h ago", minutes / 60),
        minutes @ 1440..2880 => format!("{} day ago", minutes / 1440),
        minutes => format!("{} days ago", minutes / 1440),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
