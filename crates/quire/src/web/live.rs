//! What is live, as server-sent events. A task's stream is its log from any place on, so that a browser which was away goes on
//! where it was (`Last-Event-ID`), with glimpses in between; the other stream only says that something happened.

use crate::cmd::follow::now_ms;
use crate::error::Failure;
use crate::terminal::{clean, took};
use crate::web::door::Session;
use crate::web::home::gathered;
use crate::web::{Page, frame, icons, lock};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use quire_core::Phase;
use quire_core::event::Seq;
use quire_core::view::{self, Cost, Group, Progress};
use quire_engine::{EngineError, Glimpse, Heard};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Streams of one browser at one time.
const STREAMS_MAX: usize = 16;
/// How often what goes on is told at most.
const PACE: Duration = Duration::from_millis(250);
/// How often other processes' writing is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often a quiet stream says that it is there.
const BEAT: Duration = Duration::from_secs(15);
/// Output that is told at once; of more its end.
const OUTPUT_BYTES_MAX: usize = 1024;

/// Streams by browser.
#[derive(Default)]
pub struct Streams(Mutex<HashMap<String, usize>>);

/// One stream, counted while it lasts.
struct Counted(Arc<Page>, String);

impl Drop for Counted {
    fn drop(&mut self) {
        let mut streams = lock(&self.0.streams.0);
        if let Some(count) = streams.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.1);
            }
        }
    }
}

fn counted(page: &Arc<Page>, session: Session) -> Option<Counted> {
    let mut streams = lock(&page.streams.0);
    let count = streams.entry(session.0.clone()).or_insert(0);
    if *count >= STREAMS_MAX {
        return None;
    }
    *count += 1;
    Some(Counted(page.clone(), session.0))
}

/// Where a stream's events go. An error: nobody listens any more.
#[derive(Clone)]
struct Out(Sender<Bytes>);

impl Out {
    async fn say(&self, event: &str, id: Option<Seq>, data: &Value) -> Result<(), ()> {
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        self.raw(format!("event: {event}\n{id}data: {data}\n\n")).await
    }

    async fn raw(&self, text: String) -> Result<(), ()> {
        self.0.send(Bytes::from(text)).await.map_err(drop)
    }
}

fn stream<F: Future<Output = Result<(), ()>> + Send + 'static>(
    counted: Option<Counted>,
    work: impl FnOnce(Out) -> F,
) -> Response {
    let Some(counted) = counted else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
    let (sender, receiver) = channel(16);
    let work = work(Out(sender));
    tokio::spawn(async move {
        let _counted = counted;
        let _ = work.await;
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(Events(receiver))).into_response()
}

/// An answer's body that ends when nobody sends any more.
struct Events(Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Tells that tasks have news, and how many need the person.
pub async fn news(State(page): State<Arc<Page>>, Extension(session): Extension<Session>) -> Response {
    stream(counted(&page, session), |out| async move {
        // The host stays while somebody looks.
        let _company = page.quire.running_host().await;
        let mut commits = page.quire.store().commits();
        let mut mark = page.quire.store().mark().map_err(drop)?;
        let mut beat = Instant::now();
        out.say("news", None, &count(&page).await?).await?;
        loop {
            tokio::select! {
                changed = commits.changed() => changed.map_err(drop)?,
                () = sleep(LOOK) => {}
            }
            let (tasks, now) = page.quire.store().news(mark).map_err(drop)?;
            mark = now;
            if !tasks.is_empty() {
                out.say("news", None, &count(&page).await?).await?;
                beat = Instant::now();
                sleep(PACE).await;
            } else if beat.elapsed() > BEAT {
                out.raw(":\n\n".to_owned()).await?;
                beat = Instant::now();
            }
        }
    })
}

async fn count(page: &Arc<Page>) -> Result<Value, ()> {
    let counted = page.blocking(|page| {
        let tasks = page.quire.summaries()?;
        let rows = gathered(view::rows(&tasks, now_ms()), &tasks);
        let needs: Vec<_> = rows.iter().filter(|row| row.mark().group() == Group::NeedsYou).collect();
        // The one that came last is the one to be told of, wherever it stands among them.
        let last = needs.iter().min_by_key(|row| row.age_ms()).map(|row| {
            json!({"at": row.at(), "title": clean(row.title()), "state": clean(&view::capital(&row.state()))})
        });
        Ok(json!({"needs": needs.len(), "last": last}))
    });
    counted.await.map_err(drop)
}

/// Tells what a task does, from the event after `Last-Event-ID` or `after` on.
pub async fn events(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after =
        last.or_else(|| asked.get("after").cloned()).and_then(|after| after.parse().ok()).unwrap_or(0);
    if let Err(error) = page.quire.store().task(id) {
        return frame::failed(&Failure::from(EngineError::from(error)), "/");
    }
    stream(counted(&page, session), move |out| told(page, id, after, out))
}

async fn told(page: Arc<Page>, id: u64, after: Seq, out: Out) -> Result<(), ()> {
    let mut progress = Progress::default();
    for logged in page.quire.events(id, 0).map_err(drop)?.iter().take_while(|logged| logged.seq <= after) {
        progress.apply(logged);
    }
    let link = page.quire.link().await.map_err(drop)?;
    let mut followed = link.follow(page.quire.store().clone(), id, after).await;
    let mut tick = interval(PACE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut output, mut now_said, mut beat) = (String::new(), None, Instant::now());
    let mut glimpsed: Option<String> = None;
    let mut plan = vec![];
    loop {
        tokio::select! {
            heard = followed.next() => match heard.map_err(drop)? {
                Heard::Event(logged) => {
                    glimpsed = None;
                    for line in progress.apply(&logged) {
                        let data = json!({"mark": icons::line_class(line.mark), "text": clean(&line.text), "at": took(line.at_ms)});
                        out.say("line", Some(logged.seq), &data).await?;
                    }
                    let task = page.quire.store().task(id).map_err(drop)?;
                    if task.phase != Phase::Working && task.seq <= logged.seq {
                        let data = json!({"state": clean(&view::state(&task))});
                        return out.say("rest", Some(logged.seq), &data).await;
                    }
                    if task.plan != plan {
                        plan = task.plan.clone();
                        out.say("plan", None, &json!({})).await?;
                    }
                    if matches!(logged.event, quire_core::Event::ReachAsked { .. }) {
                        out.say("asks", Some(logged.seq), &json!({})).await?;
                    }
                }
                Heard::Glimpse(Glimpse::Output { text, .. }) => {
                    output.push_str(&text);
                    let mut over = output.len().saturating_sub(OUTPUT_BYTES_MAX);
                    while !output.is_char_boundary(over) {
                        over += 1;
                    }
                    output.drain(..over);
                }
                Heard::Glimpse(Glimpse::Copying { done, total }) => {
                    glimpsed = Some(format!("Copying {} of {} files, once per folder", view::thousands(done), view::thousands(total)));
                }
                Heard::Glimpse(Glimpse::Held(why)) => glimpsed = Some(why),
                Heard::Glimpse(Glimpse::Retrying { why, .. }) => glimpsed = Some(why),
                Heard::Glimpse(_) => {}
            },
            _ = tick.tick() => {
                // What a command printed comes before what follows it.
                if !output.is_empty() {
                    out.say("output", None, &json!({"text": clean(&std::mem::take(&mut output))})).await?;
                    beat = Instant::now();
                }
                let now = glimpsed.clone().or_else(|| progress.now().map(str::to_owned));
                if now != now_said {
                    let cost = Cost::of(&page.quire.store().task(id).map_err(drop)?).text();
                    out.say("now", None, &json!({"text": now.as_deref().map(clean), "cost": cost})).await?;
                    (now_said, beat) = (now, Instant::now());
                }
                if beat.elapsed() > BEAT {
                    out.raw(":\n\n".to_owned()).await?;
                    beat = Instant::now();
                }
            }
        }
    }
}
