//! Driving one task: take a want, do it, append what came of it, until the task waits for a person.
//!
//! Two commits stand in a step's path. The first holds the reply, the judgements and the beginnings of its calls, and no call
//! starts before it is on the disk. The second holds the outcomes, the snapshot and the beginning of the next request, which
//! leaves after it. A person may write to the log at any time: the driver then folds again, keeps the answers it has, and
//! begins anew whatever still follows.

use crate::glimpse::Glimpse;
use crate::store::{AppendError, ReadError, Writer};
use crate::work::{Undone, Work};
use quire_core::event::{Connection, Seq, Trouble, Why};
use quire_core::view::refused_text;
use quire_core::{Event, Phase, Task, Want, settle};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Why a driver ended before its task came to rest.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("another process drives the task now")]
    Fenced,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Append(AppendError),
    /// A bug in quire: the fold refused what the driver made of it.
    #[error("{0}")]
    Refused(#[from] quire_core::Refusal),
}

/// How long an outcome may wait in memory while other calls of its step still run.
const OUTCOME_WAITS: Duration = Duration::from_millis(250);
/// Between two tries to write when the disk is full.
const DISK_PAUSE: Duration = Duration::from_secs(2);
/// Between two looks whether other processes' requests have left room in the day's budget; this one's are heard of.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Drives a task until it rests, or until `retire` says that another driver will: then what runs is brought to its end,
/// except for a request, which is asked again. `nudge` says that somebody wrote to the task's log.
pub async fn drive(work: Arc<Work>, nudge: Arc<Notify>, retire: watch::Receiver<bool>) -> Result<(), Ended> {
    let (epoch, _) = loop {
        match work.store.take(work.task).await {
            Ok(taken) => break taken,
            Err(AppendError::Disk(error)) => held(&work, &error.to_string()).await,
            Err(error) => return Err(Ended::Append(error)),
        }
    };
    let task = work.store.task(work.task)?;
    work.reach.heed(&task.answers());
    let (done, answers) = mpsc::unbounded_channel();
    let (leave, leaves) = mpsc::unbounded_channel();
    let commits = work.store.commits();
    let committed = task.seq;
    let mut driver = Driver {
        work,
        epoch,
        task,
        committed,
        batch: vec![],
        kept: vec![],
        running: vec![],
        jobs: JoinSet::new(),
        done,
        answers,
        retire,
        flush: None,
        leave,
        leaves,
        leaving: vec![],
        room: Room::Free,
        commits,
    };
    let ended = driver.run(&nudge).await;
    driver.jobs.shutdown().await;
    // What is left of the sandbox dies with it; its layer stays for the next driver.
    if let Err(why) = driver.work.end_hands().await {
        tracing::warn!(task = driver.task.id, ?why, "the sandbox did not end well");
    }
    driver.write_rest().await;
    if ended.is_ok() && driver.task.phase == Phase::Discarded {
        let (place, store, id) = (driver.work.place.clone(), driver.work.store.clone(), driver.task.id);
        let clear = move || match crate::rewind::lent(&store) {
            Ok(lent) => place.clear(lent.contains(&id)),
            // What clears up next looks again.
            Err(_) => place.clear(true),
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(clear).await {
            tracing::warn!(task = driver.task.id, %error, "what a discarded task left stays on the disk");
        }
    }
    ended
}

struct Driver {
    work: Arc<Work>,
    epoch: u64,
    /// The fold of what is committed and of `batch`.
    task: Task,
    committed: Seq,
    batch: Vec<Event>,
    /// Those of `batch` that answer a want: they survive when the beginnings among them have to be made anew.
    kept: Vec<Event>,
    running: Vec<Want>,
    jobs: JoinSet<()>,
    done: mpsc::UnboundedSender<(Want, Result<Event, Undone>)>,
    answers: mpsc::UnboundedReceiver<(Want, Result<Event, Undone>)>,
    retire: watch::Receiver<bool>,
    /// When outcomes that wait for others of their step are written at the latest.
    flush: Option<Instant>,
    /// Requests that ask whether they may be tried once more; the answer is given once it is on the disk.
    leave: mpsc::UnboundedSender<oneshot::Sender<bool>>,
    leaves: mpsc::UnboundedReceiver<oneshot::Sender<bool>>,
    leaving: Vec<oneshot::Sender<bool>>,
    room: Room,
    commits: watch::Receiver<u64>,
}

/// Whether the day's budget has room for the next request.
enum Room {
    Free,
    /// It will have, once requests of other tasks have come to what they cost: of this budget.
    Held(&'static str),
    /// It has not: the task waits for its person.
    Used(Why),
}

impl Driver {
    async fn run(&mut self, nudge: &Notify) -> Result<(), Ended> {
        if self.task.phase == Phase::Working {
            self.open_layer().await;
        }
        loop {
            let asks = |want: &Want| matches!(want, Want::Ask | Want::Compact | Want::AskReviewer);
            if *self.retire.borrow() && self.running.iter().all(asks) {
                while !self.batch.is_empty() && !self.commit().await? {}
                return Ok(());
            }
            if let Room::Held(budget) = self.room {
                self.wait_for_room(budget, nudge).await?;
            }
            if let Room::Used(why) = std::mem::replace(&mut self.room, Room::Free) {
                self.rest(why);
            }
            let (begun, todo) = settle(&mut self.task, now_ms())?;
            self.batch.extend(begun);
            let fresh: Vec<Want> = todo.into_iter().filter(|want| !self.running.contains(want)).collect();
            // A snapshot changes nothing outside, so it need not wait for the outcomes before it to be on the disk.
            let hold = self.task.phase == Phase::Working
                && (fresh == [Want::Snap] || fresh.is_empty() && self.flush.is_some());
            if !hold && !self.batch.is_empty() && !self.commit().await? {
                continue;
            }
            // Trouble with one want ends the others: a call that ran on would run in a task that waits.
            if self.batch.is_empty() && self.task.phase != Phase::Working && !self.running.is_empty() {
                self.stop_running().await;
            }
            let calls =
                fresh.iter().filter(|want| matches!(want, Want::Call(_))).cloned().collect::<Vec<_>>();
            self.running.extend(fresh.iter().cloned());
            if !calls.is_empty() {
                self.start_calls(calls);
            }
            for want in fresh {
                self.start(want);
            }
            if self.running.is_empty() && self.batch.is_empty() && self.task.phase != Phase::Working {
                return Ok(());
            }
            let flush = self.flush.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let time_left = Duration::from_millis(self.task.time_left_ms(now_ms()));
            tokio::select! {
                Some((want, answer)) = self.answers.recv() => self.take(&want, answer),
                // One that panicked would never be answered.
                Some(Err(error)) = self.jobs.join_next() => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
                () = nudge.notified() => self.look_again().await?,
                () = self.work.reach.asked() => self.ask_person(),
                Some(leave) = self.leaves.recv() => self.ask_again(leave),
                _ = self.retire.changed() => {}
                () = sleep_until(flush), if self.flush.is_some() => self.flush = None,
                // A long call or check does not overrun the person's limit.
                () = sleep(time_left), if self.task.phase == Phase::Working => {
                    self.answer(Event::Paused { why: Why::Time });
                }
            }
        }
    }

    /// After a power cut the layer that was not sealed is made anew.
    async fn open_layer(&mut self) {
        match self.work.open_layer(&self.task).await {
            Ok(None) => {}
            Ok(Some(event)) => self.answer(event),
            Err(why) => return self.answer(Event::Paused { why }),
        }
        // The sandbox to come stands on it, as none did that is still there.
        let (work, task) = (self.work.clone(), self.task.clone());
        if let Ok(Some(shifted)) = tokio::task::spawn_blocking(move || work.shifted(&task)).await {
            self.answer(shifted);
        }
    }

    /// Takes the answer to a want. One that no longer follows, because a person paused the task meanwhile, is dropped.
    fn take(&mut self, want: &Want, answer: Result<Event, Undone>) {
        self.running.retain(|running| running != want);
        // What the task is given lies there once it is equipped; where that comes later, the request makes the sandbox.
        if *want == Want::Freeze && answer.is_ok() && self.task.system.is_some() {
            self.make_sandbox();
        }
        self.ask_person();
        let mut event = answer.unwrap_or_else(|why| Event::Paused { why });
        self.tell_of_refusals(&mut event);
        if let Some(reached) = self.work.reach.event() {
            self.answer(reached);
        }
        let returned = matches!(event, Event::Returned { .. });
        self.answer(event);
        if let Want::Call(place) = want
            && returned
            && let Some(instructed) = self.work.instruct(&self.task, *place)
        {
            self.answer(instructed);
        }
        let calls_run = self.running.iter().any(|want| matches!(want, Want::Call(_)));
        self.flush = calls_run.then(|| self.flush.unwrap_or_else(|| Instant::now() + OUTCOME_WAITS));
    }

    /// Turns refused destinations into questions. What is refused while the sandbox ends is nothing that anybody waits for.
    fn ask_person(&mut self) {
        let seals = self.running.iter().any(|want| matches!(want, Want::Seal | Want::Drop));
        for (host, port) in self.work.reach.asks() {
            if let Some(reach) = self.task.may_ask_of(&host, port).filter(|_| !seals) {
                self.answer(Event::ReachAsked { reach, host, port });
            }
        }
    }

    /// The model hears of what was refused in the outcome of the call that it most likely belongs to.
    fn tell_of_refusals(&self, event: &mut Event) {
        let text = match event {
            Event::Returned { outcome, .. } => &mut outcome.text,
            Event::Checked { proof, .. } if !proof.passed => &mut proof.output,
            _ => return,
        };
        let reaches = &self.task.reaches;
        let is_open = |row: &Connection| {
            reaches.iter().any(|asked| (&asked.host, asked.port) == (&row.host, row.port) && asked.is_open())
        };
        text.push_str(&refused_text(&self.work.reach.refused(), is_open));
    }

    /// A try broke off where it may have cost all that was reserved for it: another needs as much anew.
    fn ask_again(&mut self, leave: oneshot::Sender<bool>) {
        match self.task.ask_again() {
            Ok(event) => {
                self.answer(event);
                self.leaving.push(leave);
            }
            Err(why) => self.rest(why),
        }
    }

    /// Waits for a person, because there is no money for what is owed; a review is done without.
    fn rest(&mut self, why: Why) {
        let whose = if matches!(why, Why::Day { .. }) { "day's" } else { "task's" };
        self.answer(match self.task.is_reviewing() {
            true => {
                let why = format!("the {whose} budget had no room for it");
                Event::ReviewFailed { why, spent: true }
            }
            false => Event::Paused { why },
        });
    }

    /// Waits until requests of other tasks may have left room in the day's budget, with what is known so far on the disk.
    async fn wait_for_room(&mut self, budget: &str, nudge: &Notify) -> Result<(), Ended> {
        self.room = Room::Free;
        if !self.batch.is_empty() && !self.commit().await? {
            return Ok(());
        }
        (self.work.show)(Glimpse::Held(format!("Other tasks hold what is left of {budget}; waiting")));
        self.commits.borrow_and_update();
        tokio::select! {
            () = nudge.notified() => self.look_again().await?,
            _ = self.retire.changed() => {}
            _ = self.commits.changed() => {}
            () = sleep(ROOM_PAUSE) => {}
        }
        Ok(())
    }

    /// Forgets what was begun and not written, and keeps the answers: a budget that others spend of too has no room for the request among them.
    async fn step_back(&mut self, why: Why, may_come: bool) -> Result<(), Ended> {
        let budget = if matches!(why, Why::Day { .. }) { "the day's budget" } else { "the attempts' budget" };
        self.room = if may_come { Room::Held(budget) } else { Room::Used(why.clone()) };
        if self.leaving.is_empty() {
            self.task = self.work.store.task(self.work.task)?;
            self.committed = self.task.seq;
            self.batch.clear();
            let kept = std::mem::take(&mut self.kept);
            kept.into_iter().for_each(|event| self.answer(event));
            return Ok(());
        }
        // A further try cannot be put off: what it was asked for is given up, and asked anew when there is room.
        self.stop_running().await;
        self.leaving.clear();
        self.task = self.work.store.task(self.work.task)?;
        self.committed = self.task.seq;
        self.batch.clear();
        let kept = std::mem::take(&mut self.kept);
        let kept = kept.into_iter().filter(|event| !matches!(event, Event::AskedAgain { .. }));
        kept.for_each(|event| self.answer(event));
        self.room = Room::Used(why);
        Ok(())
    }

    fn answer(&mut self, event: Event) {
        match self.task.push(event.clone(), now_ms()) {
            Ok(()) => {
                self.batch.push(event.clone());
                self.kept.push(event);
            }
            Err(refusal) => tracing::debug!(task = self.task.id, %refusal, "an answer came too late"),
        }
    }

    /// Writes the batch. Returns whether it was written as it stands; if a person wrote first, the task was folded again.
    async fn commit(&mut self) -> Result<bool, Ended> {
        loop {
            let by = Writer::Driver { epoch: self.epoch };
            match self.work.store.append(self.work.task, self.committed, by, self.batch.clone()).await {
                Ok(seq) => {
                    self.committed = seq;
                    self.batch.clear();
                    self.kept.clear();
                    self.flush = None;
                    for leave in self.leaving.drain(..) {
                        let _ = leave.send(true);
                    }
                    return Ok(true);
                }
                Err(AppendError::Conflict { .. }) => {
                    self.look_again().await?;
                    return Ok(false);
                }
                Err(AppendError::Day { spent, needs, limit, .. }) => {
                    self.step_back(Why::Day { spent }, spent.plus(needs) <= limit).await?;
                    return Ok(false);
                }
                Err(AppendError::Shared { spent, needs, limit, .. }) => {
                    self.step_back(Why::Shared { spent }, spent.plus(needs) <= limit).await?;
                    return Ok(false);
                }
                Err(AppendError::Fenced { .. }) => return Err(Ended::Fenced),
                Err(AppendError::Disk(error)) => held(&self.work, &error.to_string()).await,
                Err(error) => return Err(Ended::Append(error)),
            }
        }
    }

    /// Writes what was still reached when the sandbox ended. Nothing depends on it, so it is tried once.
    async fn write_rest(&mut self) {
        let Some(event) = self.work.reach.event() else { return };
        let by = Writer::Driver { epoch: self.epoch };
        let Ok(task) = self.work.store.task(self.work.task) else { return };
        if let Err(error) = self.work.store.append(task.id, task.seq, by, vec![event]).await {
            tracing::debug!(task = task.id, %error, "the last connections are not in the log");
        }
    }

    /// Folds what others wrote, and keeps the answers that still follow. Whatever runs is ended where a person stopped it.
    async fn look_again(&mut self) -> Result<(), Ended> {
        let fresh = self.work.store.task(self.work.task)?;
        if fresh.seq == self.committed {
            return Ok(());
        }
        if fresh.epoch != self.epoch {
            return Err(Ended::Fenced);
        }
        let news = self.work.store.events(self.work.task, self.committed)?;
        // From there on it stands on another layer than what runs.
        let back = news.iter().any(|n| matches!(n.event, Event::Rewound { .. } | Event::Edited { .. }));
        let stopped =
            back || news.iter().any(|n| matches!(n.event, Event::Paused { .. } | Event::Discarded {}));
        self.committed = fresh.seq;
        self.work.reach.heed(&fresh.answers());
        self.task = fresh;
        self.batch.clear();
        let kept = std::mem::take(&mut self.kept);
        if stopped {
            self.stop_running().await;
        }
        if back {
            self.work.go_back();
            if self.task.phase == Phase::Working {
                self.open_layer().await;
            }
            return Ok(());
        }
        kept.into_iter().for_each(|event| self.answer(event));
        Ok(())
    }

    /// Ends what runs, and the sandbox with it; no answer to it is taken any more.
    async fn stop_running(&mut self) {
        self.jobs.shutdown().await;
        while self.answers.try_recv().is_ok() {}
        while self.leaves.try_recv().is_ok() {}
        self.leaving.clear();
        self.running.clear();
        self.flush = None;
        if let Err(why) = self.work.end_hands().await {
            tracing::warn!(task = self.task.id, ?why, "the sandbox did not end well");
        }
    }

    fn start(&mut self, want: Want) {
        let (work, task, done) = (self.work.clone(), self.task.clone(), self.done.clone());
        match want {
            // Started together; begun and done in the fold; or of no effect.
            Want::Call(_)
            | Want::Judge(_)
            | Want::FallBack(_)
            | Want::Shorten
            | Want::Warn
            | Want::Question(_)
            | Want::PassReview(_)
            | Want::Present
            | Want::Pause(_) => {}
            Want::Equip => {
                self.jobs.spawn(async move {
                    let equip = tokio::task::spawn_blocking(move || work.equip(&task)).await;
                    let _ = done.send((Want::Equip, equip.unwrap_or_else(|e| Err(failed(&e)))));
                });
            }
            Want::Freeze => {
                self.jobs.spawn(async move {
                    let worker = work.clone();
                    let freeze = tokio::task::spawn_blocking(move || worker.freeze(&task)).await;
                    let _ = done.send((Want::Freeze, freeze.unwrap_or_else(|e| Err(failed(&e)))));
                });
            }
            Want::Ask => {
                if task.is_frozen() {
                    self.make_sandbox();
                }
                let leave = self.leave.clone();
                self.jobs.spawn(async move {
                    let answer = work.ask(&task, &|| may_ask_again(&leave)).await;
                    let _ = done.send((Want::Ask, answer));
                });
            }
            Want::Compact => {
                let leave = self.leave.clone();
                self.jobs.spawn(async move {
                    let answer = work.compact(&task, &|| may_ask_again(&leave)).await;
                    let _ = done.send((Want::Compact, answer));
                });
            }
            Want::TellReviewer => {
                self.jobs.spawn(async move {
                    let answer = work.tell_reviewer(&task).await;
                    let _ = done.send((Want::TellReviewer, answer));
                });
            }
            Want::AskReviewer => {
                let leave = self.leave.clone();
                self.jobs.spawn(async move {
                    let answer = work.ask_reviewer(&task, &|| may_ask_again(&leave)).await;
                    let _ = done.send((Want::AskReviewer, answer));
                });
            }
            Want::LookUp => {
                self.jobs.spawn(async move {
                    let answer = work.look_up(&task).await;
                    let _ = done.send((Want::LookUp, answer));
                });
            }
            Want::Hook(point) => {
                self.jobs.spawn(async move {
                    let answer = work.hook(&task, point).await;
                    let _ = done.send((Want::Hook(point), answer));
                });
            }
            Want::Snap => {
                self.jobs.spawn(async move {
                    let answer = work.snap(&task).await;
                    let _ = done.send((Want::Snap, answer));
                });
            }
            Want::Seal => {
                self.jobs.spawn(async move {
                    let answer = work.seal(&task).await;
                    let _ = done.send((Want::Seal, answer));
                });
            }
            Want::Drop => {
                self.jobs.spawn(async move {
                    let answer = work.drop_layers(&task).await;
                    let _ = done.send((Want::Drop, answer));
                });
            }
            Want::Check(number) => {
                self.jobs.spawn(async move {
                    let answer = work.check(&task, number).await;
                    let _ = done.send((Want::Check(number), answer));
                });
            }
        }
    }

    /// Makes the sandbox beside the request, so that its first call finds it there.
    fn make_sandbox(&mut self) {
        let (work, task) = (self.work.clone(), self.task.clone());
        self.jobs.spawn(async move {
            // Trouble is met again, and told, by the first call.
            let _ = work.hands(&task).await;
        });
    }

    /// Runs the calls of a step in the order given; only those that do nothing but read overlap.
    fn start_calls(&mut self, wants: Vec<Want>) {
        let (work, task, done) = (self.work.clone(), Arc::new(self.task.clone()), self.done.clone());
        self.jobs.spawn(async move {
            let mut reading = JoinSet::new();
            for want in wants {
                let Want::Call(place) = want else { continue };
                let Some(call) = task.call_to_run(place) else { continue };
                let reads = task.tools.iter().any(|tool| tool.name == call.tool && tool.reads);
                let (work, task, done) = (work.clone(), task.clone(), done.clone());
                let run = async move {
                    let answer = work.call(&task, place, &call).await;
                    let _ = done.send((Want::Call(place), answer));
                };
                if reads {
                    reading.spawn(run);
                } else {
                    while reading.join_next().await.is_some() {}
                    run.await;
                }
            }
            while reading.join_next().await.is_some() {}
        });
    }
}

/// Asks the driver whether a request may be tried once more.
fn may_ask_again(leave: &mpsc::UnboundedSender<oneshot::Sender<bool>>) -> quire_model::Leave {
    let leave = leave.clone();
    Box::pin(async move {
        let (asks, answer) = oneshot::channel();
        leave.send(asks).is_ok() && answer.await.unwrap_or(false)
    })
}

async fn held(work: &Work, why: &str) {
    (work.show)(Glimpse::Held(why.to_owned()));
    tracing::warn!(task = work.task, why, "nothing can be written");
    sleep(DISK_PAUSE).await;
}

fn failed(error: &tokio::task::JoinError) -> Undone {
    Undone::Trouble(Trouble::Other, format!("A part of quire failed: {error}."))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
