//! Doing what a task wants: each want outside the fold, from the fold's facts to the event that answers it. Deciding what is
//! wanted is the fold's part, and when it is written the driver's (`driver.rs`).

use crate::beside::{self, Whose};
use crate::blob::BlobError;
use crate::check::find;
use crate::freeze::{self, FreezeError, Frozen};
use crate::glimpse::Glimpse;
use crate::hands::{Gone, Hands, LETS_GO};
use crate::hooks;
use crate::instructions::Reader;
use crate::keys::Secret;
use crate::ladder::{self, Standing};
use crate::masked::{self, Masked};
use crate::new_folder;
use crate::place::Place;
use crate::reach::{Reach, Way};
use crate::settings::Surroundings;
use crate::snapshot::{self, Seen, SnapshotError};
use crate::stack::Stack;
use crate::store::Store;
use crate::{check, conventions, instructions, live};
use quire_core::beside::Beside;
use quire_core::bytes::escape;
use quire_core::charter::{Charter, CheckSpec, Model};
use quire_core::event::{Apart, Base, HookRun, Point, Proof, Trouble, Why};
use quire_core::message::{Fault, FaultKind, Image, Reply};
use quire_core::secret::Masks;
use quire_core::task::{Line, Version, ask_spec, paths_of};
use quire_core::{Call, Event, Hash, Outcome, Prompt, Snapshot, Task, prompt};
use quire_model::{MayRepeat, Unanswered};
use quire_sandbox::protocol::HandOutcome;
use quire_sandbox::tool::Eyes;
use quire_sandbox::{FolderView, Spec, StartError, layer};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

mod anew;
mod handed;
mod lay;
mod pictures;
mod prove;
mod reviewer;

use prove::Ground;

/// What the work on one task shares while its driver lives.
pub struct Work {
    pub store: Store,
    pub home: PathBuf,
    pub task: u64,
    pub place: Place,
    pub client: quire_model::Client,
    /// The quire binary: the hand is this, started again.
    pub binary: PathBuf,
    pub key: KeyFor,
    pub secret: SecretFor,
    /// What its sandboxes reach.
    pub reach: Reach,
    pub show: Arc<dyn Fn(Glimpse) + Send + Sync>,
    frozen: Mutex<Option<Arc<Vec<Frozen>>>>,
    seen: Mutex<Seen>,
    masks: OnceLock<Arc<Masks>>,
    /// How checks went on the folder as it was before the task, by command.
    before: Mutex<HashMap<String, check::Run>>,
    standing: Mutex<Option<Standing>>,
    /// Paths that calls named, by how often the conversation had been cut short, whose instructions were looked for.
    looked: Mutex<HashSet<(u32, String)>>,
    /// The turn's sandbox. The lock is held while it is started, so that it is started once.
    hands: tokio::sync::Mutex<Option<Arc<Hands>>>,
    /// Layers below this are sealed, or about to be: no sandbox writes in them any more.
    open: AtomicU32,
}

/// Returns the key for a model of a task's charter; where one was refused, another, if there is one meanwhile.
pub type KeyFor = Box<dyn Fn(&Charter, &Model, Option<&Secret>) -> Option<Secret> + Send + Sync>;

/// Returns the value of a secret of a task's charter.
pub type SecretFor = Box<dyn Fn(&Charter, &str) -> Option<Secret> + Send + Sync>;

/// Why a want could not be done: what a person is told.
pub type Undone = Why;

/// More than this of one folder is copied only when its person says so, in bytes.
pub(crate) const COPIED_BYTES_MAX: u64 = 5_000_000_000;
/// Longest whole output that is kept, in bytes.
const WHOLE_BYTES_MAX: u64 = 1 << 30;

impl Work {
    pub fn new(
        store: Store,
        home: PathBuf,
        task: u64,
        client: quire_model::Client,
        key: KeyFor,
        secret: SecretFor,
        show: Arc<dyn Fn(Glimpse) + Send + Sync>,
    ) -> io::Result<Work> {
        Ok(Work {
            place: Place::of(&home, task),
            binary: std::env::current_exe()?,
            store,
            home,
            task,
            client,
            key,
            secret,
            reach: Reach::default(),
            show,
            frozen: Mutex::default(),
            seen: Mutex::default(),
            masks: OnceLock::new(),
            before: Mutex::default(),
            standing: Mutex::default(),
            looked: Mutex::default(),
            hands: tokio::sync::Mutex::default(),
            open: AtomicU32::new(0),
        })
    }

    /// What the model is told once.
    pub fn equip(&self, task: &Task) -> Result<Event, Undone> {
        let charter = &task.charter;
        let model = charter.model.as_ref().ok_or(Why::NoModel)?;
        let surroundings =
            Surroundings { env: charter.env.iter().cloned().collect(), cwd: charter.folders[0].clone() };
        let (home, config_dir) = (surroundings.home(), surroundings.config_dir());
        let reader = Reader {
            folder: &charter.folders[0],
            config_dir: config_dir.as_deref(),
            home: home.as_deref(),
            hide: &charter.sandbox.hide,
        };
        let standing = self.standing()?;
        let mut tools = quire_sandbox::tool::specs(model.edits, model.images);
        tools.push(ask_spec());
        let given = self.place.given();
        let (instructions, mut conventions) = conventions::gather(reader, &given, standing.rung);
        let mut system = prompt::system(charter, &instructions, &conventions.skills);
        if let Some(lacks) = Eyes::of(&|program| on_path(charter, program)).told() {
            system.push_str(&format!("\n\n{lacks}"));
        }
        system.extend(self.hand_over(task, &given, standing.rung, &mut conventions)?);
        if let Some(told) = standing.rung.told() {
            system.push_str(&format!("\n\n{told}"));
        }
        Ok(Event::Equipped {
            system,
            tools,
            rung: standing.rung.to_string(),
            weak: standing.weak,
            conventions,
            attached: Some(task.attached().len()),
        })
    }

    /// Returns what the model is told of the directories that the open reply's call of that number worked in, once.
    pub fn instruct(&self, task: &Task, place: u32) -> Option<Event> {
        let paths = paths_of(task.call(place)?);
        let mut looked = lock(&self.looked);
        // Cut short, a conversation has lost what it was told.
        let paths: Vec<String> =
            paths.into_iter().filter(|path| looked.insert((task.compactions(), path.clone()))).collect();
        if paths.is_empty() {
            return None;
        }
        let frozen = self.frozen(task).ok()?;
        let stacks: Vec<Stack> = frozen.iter().map(Frozen::stack).collect::<Result<_, _>>().ok()?;
        let home = task.charter.env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| Path::new(home));
        let (paths, text) = instructions::within(task, &paths, &stacks, home);
        (!paths.is_empty()).then_some(Event::Instructed { paths, text })
    }

    /// Returns what the sandboxes of this task stand on from now on.
    fn standing(&self) -> Result<Standing, Undone> {
        let mut standing = lock(&self.standing);
        if let Some(standing) = &*standing {
            return Ok(standing.clone());
        }
        let found = ladder::standing(&self.home, &self.binary).map_err(sandbox_trouble)?;
        Ok(standing.insert(found).clone())
    }

    /// Copies the folders.
    pub fn freeze(&self, task: &Task) -> Result<Event, Undone> {
        let most = if task.copies_all { u64::MAX } else { COPIED_BYTES_MAX };
        let mut all = vec![];
        for number in 0..task.charter.folders.len() {
            let show = self.show.clone();
            let progress = move |done, total| show(Glimpse::Copying { done, total });
            let frozen = new_folder::freeze(&self.home, &task.charter, number, most, &progress);
            all.push(frozen.map_err(freeze_trouble)?);
        }
        let (show, before) = (self.show.clone(), task.bases.as_deref());
        let progress = move |done, total| show(Glimpse::Copying { done, total });
        let whose = Whose::of(&self.home, &task.charter);
        let git = whose.freeze(&mut all, before, most, &progress).map_err(freeze_trouble)?;
        if task.bases.is_some() {
            let (old, rung) = (self.frozen(task)?, self.standing()?.rung);
            self.renew_indexes(task, &old, &all, rung).map_err(disk)?;
        }
        let base = |(f, git): (&Frozen, Option<Beside>)| {
            let Frozen { id, delta, files, bytes, .. } = *f;
            Base { id, delta, files, bytes, git }
        };
        let bases = all.iter().zip(git).map(base).collect();
        let at = |(folder, frozen): (&PathBuf, &Frozen)| -> Vec<PathBuf> {
            frozen.ignored.iter().map(|ignored| folder.join(ignored)).collect()
        };
        let ignored = task.charter.folders.iter().zip(&all).flat_map(at);
        live::note(self.place.dir(), ignored).map_err(disk)?;
        *lock(&self.frozen) = Some(Arc::new(all));
        Ok(Event::Frozen { bases })
    }

    /// Returns the task's frozen folders, opened anew where an earlier driver made them.
    pub fn frozen(&self, task: &Task) -> Result<Arc<Vec<Frozen>>, Undone> {
        let mut frozen = lock(&self.frozen);
        if let Some(frozen) = &*frozen {
            return Ok(frozen.clone());
        }
        let opened = beside::open(&self.home, task.bases.as_deref().unwrap_or_default());
        let opened = Arc::new(opened.map_err(freeze_trouble)?);
        *frozen = Some(opened.clone());
        Ok(opened)
    }

    /// Asks the model. `again` is asked before a further try where the one before may have cost something.
    pub async fn ask(&self, task: &Task, again: MayRepeat<'_>) -> Result<Event, Undone> {
        let model = task.asked_model().ok_or(Why::NoModel)?;
        Ok(match self.ask_model(&task.charter, &model, &task.prompt(), again).await? {
            Ok(reply) => Event::Replied { reply },
            Err(Unanswered { fault, charged }) => Event::AskFailed { fault, spent: charged },
        })
    }

    /// Has a model write the ledger of a conversation that grows too long.
    pub async fn compact(&self, task: &Task, again: MayRepeat<'_>) -> Result<Event, Undone> {
        let Some((model, prompt)) = task.compact_request() else { return Ok(task.compacted_by_quire()) };
        Ok(match self.ask_model(&task.charter, &model, &prompt, again).await? {
            Ok(reply) => task.compacted(&reply),
            Err(Unanswered { fault, charged }) => Event::CompactFailed { fault, spent: charged },
        })
    }

    async fn ask_model(
        &self,
        charter: &Charter,
        model: &Model,
        prompt: &Prompt,
        again: MayRepeat<'_>,
    ) -> Result<Result<Reply, Unanswered>, Undone> {
        let key = (self.key)(charter, model, None);
        if let (Some(variable), None) = (&model.key_env, &key) {
            let message =
                format!("There is no key for {}: {variable} is not set, and none is stored.", model.provider);
            let fault = Fault { kind: FaultKind::NoKey, message, status: None };
            return Ok(Err(Unanswered { fault, charged: false }));
        }
        let images = self.images(prompt).map_err(blob_trouble)?;
        let show = self.show.clone();
        let glimpse = move |glimpse: quire_model::Glimpse| show(glimpse.into());
        let ask = |key: Option<Secret>| {
            let (images, glimpse) = (&images, &glimpse);
            async move {
                let key = key.as_ref().map(Secret::expose);
                self.client.ask_within(model, key, prompt, images, glimpse, again).await
            }
        };
        let asked = ask(key.clone()).await;
        // The person may have stored another one since this came.
        if let Err(Unanswered { fault: Fault { kind: FaultKind::Key, .. }, charged: false }) = &asked
            && let Some(other) = (self.key)(charter, model, key.as_ref())
        {
            return Ok(ask(Some(other)).await);
        }
        Ok(asked)
    }

    /// Returns the turn's sandbox, started where there is none.
    pub async fn hands(self: &Arc<Work>, task: &Task) -> Result<Arc<Hands>, Undone> {
        let mut hands = self.hands.lock().await;
        // Made ahead for a turn that has ended meanwhile, it would serve the next one on a layer that is sealed.
        if task.layer < self.open.load(Ordering::Relaxed) {
            let late = "A sandbox was asked for after its turn had ended.";
            return Err(Why::Trouble(Trouble::Other, late.into()));
        }
        if let Some(hands) = &*hands {
            return Ok(hands.clone());
        }
        let (place, layer, line) = (self.place.clone(), task.layer, task.line().clone());
        let (id, frozen, folders) = (self.task, self.frozen(task)?, task.charter.folders.clone());
        let begin = move || {
            // The stack is right as it is, only higher.
            if let Err(error) = place.squash(&line, &|part| under(part, &frozen, &folders)) {
                tracing::warn!(task = id, %error, "the task's layers could not be made one");
            }
            place.begin_layer(layer).map_err(disk)
        };
        blocking(begin).await?;
        let way = self.way(task)?;
        let spec =
            self.spec(task, self.place.layer(task.layer), self.place.layers(task.line()), way.as_ref())?;
        let started = Arc::new(self.start(spec, way).await?);
        let (mut ports, show) = (started.ports(), self.show.clone());
        tokio::spawn(async move {
            while ports.changed().await.is_ok() {
                show(Glimpse::Listening(ports.borrow_and_update().clone()));
            }
            show(Glimpse::Listening(vec![]));
        });
        *hands = Some(started.clone());
        Ok(started)
    }

    async fn start(&self, spec: Spec, way: Option<Way>) -> Result<Hands, Undone> {
        let (home, show) = (self.home.clone(), self.show.clone());
        let progress = move |done, total| show(Glimpse::Preparing { done, total });
        blocking(move || {
            let started = Hands::start(spec, &home, &progress);
            if let Err(StartError::Refused(_)) = &started {
                ladder::forget(&home);
            }
            let mut hands = started.map_err(sandbox_trouble)?;
            if let Some(way) = way {
                hands.open(way.egress).map_err(|error| Why::Trouble(Trouble::Sandbox, error.to_string()))?;
            }
            Ok(hands)
        })
        .await
    }

    /// Forgets a sandbox that is gone, unless the next one stands in its place already.
    async fn let_go_of(&self, gone: &Arc<Hands>) {
        let mut hands = self.hands.lock().await;
        if hands.as_ref().is_some_and(|now| Arc::ptr_eq(now, gone)) {
            hands.take();
        }
    }

    /// Returns a way out for one of the task's sandboxes, where it may have one.
    fn way(&self, task: &Task) -> Result<Option<Way>, Undone> {
        let seed = format!("{} {}", task.id, task.opened_ms);
        let way = self.reach.way(&task.charter, &seed, |name| (self.secret)(&task.charter, name));
        way.map_err(|error| Why::Trouble(Trouble::Sandbox, error.to_string()))
    }

    fn spec(
        &self,
        task: &Task,
        layer: PathBuf,
        layers: Vec<PathBuf>,
        way: Option<&Way>,
    ) -> Result<Spec, Undone> {
        let state = self.place.run().map_err(disk)?;
        std::fs::create_dir_all(self.place.out()).map_err(disk)?;
        let frozen = self.frozen(task)?;
        let charter = &task.charter;
        let given = Place::of(&self.home, task.first()).given();
        self.hand_over_anew(task, &given);
        let rung = self.standing()?.rung;
        let shown = beside::Given::of(rung, &charter.folders, &frozen);
        let env = shown.env_upon(charter.env.iter().chain(way.iter().flat_map(|way| &way.env)));
        Ok(Spec {
            rung,
            state,
            layer,
            layers,
            skeleton: vec![], // where the sandbox is started
            out: self.place.out(),
            given: Some(given).filter(|given| given.is_dir()),
            binary: self.binary.clone(),
            folders: shown.folders,
            hide: hidden(&charter.sandbox.hide, &self.home),
            show: charter.sandbox.show.iter().cloned().chain(shown.leads).collect(),
            env,
            memory_bytes: charter.sandbox.memory_bytes,
            processes: charter.sandbox.processes,
            disk_bytes: charter.sandbox.disk_bytes,
            gate: way.map(Way::door),
        })
    }

    /// Runs a tool call in the turn's sandbox.
    pub async fn call(self: &Arc<Work>, task: &Task, place: u32, call: &Call) -> Result<Event, Undone> {
        let hands = self.hands(task).await?;
        let (show, masks) = (self.show.clone(), self.masks(task).await?);
        let seen = masks.clone();
        let live = move |text: String| {
            let text = seen.mask(&text).unwrap_or(text);
            show(Glimpse::Output { call: place, text });
        };
        let outcome = match hands.call(&call.tool, &call.input, live).await {
            Ok(outcome) => self.take_over(outcome, masks).await?,
            Err(Gone) => {
                self.let_go_of(&hands).await;
                Outcome::refused(format!(
                    "The sandbox ended while this ran, perhaps for lack of memory; every process in it is gone. A new one \
                     with the same files is there for your next call.{}",
                    hands.limits_met()
                ))
            }
        };
        Ok(Event::Returned { call: place, outcome })
    }

    /// Runs the hooks of a point, one after the other; what refuses or stops ends the row. A hook that fails holds nothing up.
    pub async fn hook(self: &Arc<Work>, task: &Task, point: Point) -> Result<Event, Undone> {
        let (hands, masks) = (self.hands(task).await?, self.masks(task).await?);
        let folder = &task.charter.folders[0];
        let input = hooks::input(task, point).to_string();
        let call = match point {
            Point::Before(place) => task.call_to_run(place),
            _ => None,
        };
        let mut runs = vec![];
        for (number, hook) in task.hooks_at(point) {
            let order = json!({ "command": hook.command, "input": input, "millis": hook.timeout_ms });
            let run = match hands.call(quire_sandbox::HOOK, &order.to_string(), |_| ()).await {
                Ok(said) => {
                    let run = HookRun { hook: number, millis: said.millis, ..HookRun::default() };
                    hooks::heard(run, point, call.as_ref(), folder, (&said, &*masks))
                }
                Err(Gone) => {
                    self.let_go_of(&hands).await;
                    let note = "the sandbox ended while it ran, perhaps for lack of memory".to_owned();
                    HookRun { hook: number, note: Some(note), ..HookRun::default() }
                }
            };
            let ends = run.block.is_some() || run.halt.is_some();
            runs.push(run);
            if ends {
                break;
            }
        }
        Ok(Event::Hooked { point, runs })
    }

    /// Returns what finds secrets in the task's outputs.
    async fn masks(self: &Arc<Work>, task: &Task) -> Result<Arc<Masks>, Undone> {
        if let Some(masks) = self.masks.get() {
            return Ok(masks.clone());
        }
        let frozen = self.frozen(task)?;
        let folders = task.charter.folders.iter().zip(frozen.iter());
        let folders: Vec<FolderView> = folders.map(|(at, frozen)| frozen.view(at)).collect();
        let (work, hide) = (self.clone(), task.charter.sandbox.hide.clone());
        let secrets = task.charter.secrets.iter().filter_map(|rule| (self.secret)(&task.charter, &rule.name));
        // A server may send back what it was sent.
        let secrets: Vec<String> = secrets.map(|secret| secret.expose().to_owned()).collect();
        let at = task.charter.folders.clone();
        let made = move || {
            let around = beside::around(&at, &frozen, &hide);
            Arc::new(masked::masks(&folders, &around, &hide, &secrets))
        };
        let masks = move || work.masks.get_or_init(made).clone();
        blocking(move || Ok(masks())).await
    }

    /// Turns what the hand said into an outcome without secrets. Files it names are opened without following links, and
    /// bounded.
    async fn take_over(self: &Arc<Work>, said: HandOutcome, masks: Arc<Masks>) -> Result<Outcome, Undone> {
        let mut outcome = Outcome {
            text: masks.mask(&said.text).unwrap_or(said.text),
            ok: said.ok,
            exit: said.exit,
            millis: said.millis,
            whole: None,
            images: vec![],
        };
        if said.whole.is_none() && said.images.is_empty() {
            return Ok(outcome);
        }
        let work = self.clone();
        blocking(move || {
            if let Some(file) = said.whole.and_then(|name| left_behind(&work.place.out(), &name)) {
                let kept = keep(&work.store, Masked::new(file, &masks)).map_err(blob_trouble)?;
                outcome.whole = Some(kept);
            }
            for image in pictures::shown(said.images) {
                let left = left_behind(&work.place.out(), &image.file);
                if let Some(file) = left.and_then(pictures::bounded) {
                    let blob = keep(&work.store, file).map_err(blob_trouble)?;
                    outcome.images.push(Image { media_type: image.media_type, blob });
                }
            }
            Ok(outcome)
        })
        .await
    }

    /// Records the folders, holding every process in the sandbox still for the moment.
    pub async fn snap(self: &Arc<Work>, task: &Task) -> Result<Event, Undone> {
        let mut hands = self.hands.lock().await.clone();
        if let Some(live) = &hands
            && live.hold_still().await.is_err()
        {
            // It is gone, or ends with the last who holds it, so nothing in it moves.
            self.let_go_of(live).await;
            hands = None;
        }
        let snapshot = match &hands {
            Some(live) => {
                let live = live.clone();
                match blocking(move || live.settle().map_err(disk)).await {
                    Ok(()) => self.snapshot(task).await,
                    Err(why) => Err(why),
                }
            }
            None => self.snapshot(task).await,
        };
        if let Some(hands) = hands {
            hands.go_on();
        }
        Ok(Event::Snapped { snapshot: snapshot?.0 })
    }

    async fn snapshot(self: &Arc<Work>, task: &Task) -> Result<(Hash, Snapshot), Undone> {
        let frozen = self.frozen(task)?;
        let layers = self.layers_now(task);
        let work = self.clone();
        blocking(move || {
            let mut seen = lock(&work.seen);
            snapshot::snapshot(&frozen, &layers, &mut seen, work.store.blobs()).map_err(snapshot_trouble)
        })
        .await
    }

    /// Ends the turn's sandbox and records what it leaves.
    pub async fn seal(self: &Arc<Work>, task: &Task) -> Result<Event, Undone> {
        self.open.store(task.layer + 1, Ordering::Relaxed);
        self.end_hands().await?;
        let layer = self.place.layer(task.layer);
        std::fs::create_dir_all(&layer).map_err(disk)?;
        // What is accepted is read whole: a store into a mapped page need not show in a file's times.
        *lock(&self.seen) = Seen::default();
        let (snapshot, changed) = self.snapshot(task).await?;
        let (frozen, layers) = (self.frozen(task)?, self.layers_now(task));
        let apart = blocking(move || snapshot::apart(&frozen, &layers).map_err(snapshot_trouble)).await?;
        let files = changed.files();
        let checks = self.find_checks(task, changed).await?;
        Ok(Event::Sealed { layer: task.layer, snapshot, apart, checks, files })
    }

    /// Ends the turn's sandbox and drops all that the task wrote so far.
    pub async fn drop_layers(self: &Arc<Work>, task: &Task) -> Result<Event, Undone> {
        self.open.store(task.layer + 1, Ordering::Relaxed);
        self.end_hands().await?;
        *lock(&self.seen) = Seen::default();
        let place = self.place.clone();
        blocking(move || place.drop_layers().map_err(disk)).await?;
        Ok(task.dropped())
    }

    /// Ends the sandbox, if one runs.
    pub async fn end_hands(&self) -> Result<(), Undone> {
        let Some(mut hands) = self.hands.lock().await.take() else { return Ok(()) };
        loop {
            match Arc::try_unwrap(hands) {
                Ok(hands) => return blocking(move || hands.end().map_err(disk)).await,
                // A call that was just dropped still lets go of it.
                Err(shared) => {
                    hands = shared;
                    tokio::time::sleep(LETS_GO).await;
                }
            }
        }
    }

    /// Proves the version's checks on the real folders as they would be with `built` written into them, the rest of the machine
    /// as the layers up to `version`'s show it. What it makes lies in `scratch`.
    pub async fn check_built(
        self: &Arc<Work>,
        task: &Task,
        version: &Version,
        built: &Snapshot,
        scratch: &Path,
    ) -> Result<Vec<(CheckSpec, Proof)>, Undone> {
        let layers = self.place.layers(&version.line);
        let (work, charter, built, sealed) =
            (self.clone(), task.charter.clone(), built.clone(), layers.clone());
        let (laid, made) = (scratch.join("laid"), scratch.join("built"));
        let (shown, bases) = (made.clone(), task.bases.clone());
        let snapshot = blocking(move || {
            let one = |number| new_folder::freeze(&work.home, &charter, number, u64::MAX, &|_, _| {});
            let frozen = (0..charter.folders.len()).map(|number| one(number).map_err(freeze_trouble));
            let mut frozen = frozen.collect::<Result<Vec<Frozen>, Undone>>()?;
            let only = Some(bases.as_deref().unwrap_or_default());
            let git = Whose::of(&work.home, &charter).freeze(&mut frozen, only, u64::MAX, &|_, _| {});
            git.map_err(freeze_trouble)?;
            // From the folders as they are now, and not from the base that the task began with.
            work.lay(&built, &frozen, &laid)?;
            let seen = &mut Seen::default();
            let (id, _) =
                snapshot::snapshot(&frozen, &[laid], seen, work.store.blobs()).map_err(snapshot_trouble)?;
            work.lay_out(&id, &frozen, &sealed, &shown)?;
            *lock(&work.frozen) = Some(Arc::new(frozen));
            Ok(id)
        })
        .await?;
        let ground = Ground {
            snapshot,
            below: [made].into_iter().chain(layers).collect(),
            apart: version.apart.clone(),
            scratch: scratch.join("check"),
            run: Some(scratch.to_owned()),
        };
        self.reach.heed(&task.answers());
        let anew = self.find_checks(task, self.load_snapshot(&snapshot)?).await?;
        let mut proofs = vec![];
        for (number, spec) in version.checks.iter().enumerate() {
            let found = number >= task.charter.checks.len();
            // quire's own looks name the files that they look at, and a part need not have them all.
            let spec = match anew.iter().find(|new| new.name == spec.name) {
                _ if !found || !find::is_quick(&spec.name) => spec,
                Some(new) => new,
                None => {
                    let unable = Proof::unable(snapshot, "nothing that it looks at is taken".to_owned());
                    proofs.push((spec.clone(), unable));
                    continue;
                }
            };
            proofs.push((spec.clone(), self.prove(&ground, task, spec, found).await?));
        }
        Ok(proofs)
    }

    fn load_snapshot(&self, id: &Hash) -> Result<Snapshot, Undone> {
        load_snapshot(&self.store, id).map_err(blob_trouble)
    }

    /// Returns what changed on the real machine, of what the task sees of it as it is, and was not told yet.
    pub fn shifted(&self, task: &Task) -> Option<Event> {
        // Where that cannot be told, nothing depends on it: review tells it too.
        let moved = live::moved(self.place.dir()).ok()?.into_iter();
        let paths = moved.map(|path| escape(path.as_os_str().as_bytes()));
        let paths: Vec<String> = paths.filter(|path| !task.shifted.contains(path)).collect();
        (!paths.is_empty()).then_some(Event::Shifted { paths })
    }

    /// Starts a fresh sandbox that the task never hears of, in the directory `scratch`: of the sealed layers of `line`,
    /// or, where there is none, of the last snapshot.
    pub async fn stand(
        self: &Arc<Work>,
        task: &Task,
        scratch: &Path,
        line: Option<&Line>,
    ) -> Result<Hands, Undone> {
        let layers = self.place.layers(line.unwrap_or(task.line()));
        let top = scratch.join("layer");
        if let (None, Some(id)) = (line, task.snapshot) {
            let (work, frozen, layers, top) = (self.clone(), self.frozen(task)?, layers.clone(), top.clone());
            blocking(move || work.lay_out(&id, &frozen, &layers, &top)).await?;
        }
        self.reach.heed(&task.answers());
        let way = self.way(task)?;
        let spec = self.spec(task, top, layers, way.as_ref())?;
        self.start(Spec { state: scratch.join("run"), out: scratch.join("out"), ..spec }, way).await
    }
}

/// Opens what a layer's directory of changes stands on.
fn under(part: &Path, frozen: &[Frozen], folders: &[PathBuf]) -> io::Result<Stack> {
    let mut names = part.iter().map(|name| name.to_string_lossy());
    let (kind, inner) = (names.next().unwrap_or_default(), part.file_name().map(layer::path_of));
    let index = |prefix: &str| kind.strip_prefix(prefix).and_then(|index| index.parse::<usize>().ok());
    if let Some(base) = index("folder-").and_then(|index| frozen.get(index)) {
        return base.stack();
    }
    if let Some(beside) = index("git-").and_then(|index| frozen.get(index)?.beside.as_ref()) {
        return beside.frozen.stack();
    }
    let inner = inner.unwrap_or_default();
    match index("ignored-").and_then(|index| folders.get(index)) {
        Some(folder) => Stack::open(&[folder.join(inner)]),
        None => Stack::open(&[inner]),
    }
}

/// Returns whether the person's machine runs a program of that name.
fn on_path(charter: &Charter, program: &str) -> bool {
    let path = charter.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    std::env::split_paths(path).any(|dir| dir.join(program).is_file())
}

/// Returns what a sandbox hides: what the person said, and quire's own data, in which other tasks' files lie.
pub fn hidden(hide: &[String], home: &Path) -> Vec<String> {
    let home = home.to_str().map(str::to_owned);
    hide.iter().cloned().chain(home).collect()
}

/// Reads a snapshot from its blob.
pub fn load_snapshot(store: &Store, id: &Hash) -> Result<Snapshot, BlobError> {
    let blob = store.blobs().get(id)?;
    Snapshot::from_blob(&blob).map_err(|e| BlobError::Source(io::Error::new(io::ErrorKind::InvalidData, e)))
}

fn keep(store: &Store, content: impl Read) -> Result<Hash, BlobError> {
    let mut pack = store.blobs().pack();
    let (hash, _) = pack.add(content)?;
    pack.finish()?;
    Ok(hash)
}

/// Opens a file that the hand says it left, if it is a plain file of that name in the out directory.
fn left_behind(out: &Path, name: &str) -> Option<std::io::Take<File>> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return None;
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = File::options().read(true).custom_flags(flags).open(out.join(name)).ok()?;
    file.metadata().ok()?.is_file().then(|| file.take(WHOLE_BYTES_MAX))
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Undone> + Send + 'static,
) -> Result<T, Undone> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Why::Trouble(Trouble::Other, format!("A part of quire failed: {error}."))),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sandbox_trouble(error: StartError) -> Undone {
    let kind = if matches!(error, StartError::Full) { Trouble::Disk } else { Trouble::Sandbox };
    Why::Trouble(kind, error.to_string())
}

fn disk(error: io::Error) -> Undone {
    Why::Trouble(Trouble::Disk, format!("quire's data directory cannot be written: {error}."))
}

fn freeze_trouble(error: FreezeError) -> Undone {
    let kind = match error {
        FreezeError::Large { bytes } => return Why::Copy { bytes },
        FreezeError::Folder { .. } => Trouble::Folder,
        FreezeError::Disk { .. } | FreezeError::Home { .. } => Trouble::Disk,
    };
    Why::Trouble(kind, error.to_string())
}

fn blob_trouble(error: BlobError) -> Undone {
    Why::Trouble(Trouble::Disk, error.to_string())
}

fn snapshot_trouble(error: SnapshotError) -> Undone {
    Why::Trouble(Trouble::Disk, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// What asks for a sandbox beside the request may come to it only after the turn was sealed.
    #[tokio::test]
    async fn a_sandbox_that_is_asked_for_after_its_turn_is_not_made() {
        let temp = tempfile::tempdir().unwrap();
        let (home, folder) = (temp.path().join("home"), temp.path().join("folder"));
        std::fs::create_dir(&folder).unwrap();
        let store = Store::open(&home).unwrap();
        let id = testing::begun(&store, &home, &folder).await;
        let task = store.task(id).unwrap();
        let client = quire_model::Client::new();
        let work = Work::new(
            store,
            home,
            id,
            client,
            Box::new(|_, _, _| None),
            Box::new(|_, _| None),
            Arc::new(|_| {}),
        )
        .unwrap();
        let work = Arc::new(work);
        work.seal(&task).await.unwrap();
        assert!(matches!(work.hands(&task).await, Err(Why::Trouble(Trouble::Other, _))));
        assert!(!work.place.dir().join("run").exists(), "nothing was started");
    }

    #[test]
    fn only_plain_files_of_the_out_directory_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir_all(out.join("sub")).unwrap();
        for file in ["secret", "out/said", "out/sub/deep", "out/.hidden"] {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("../secret", out.join("link")).unwrap();
        std::os::unix::fs::symlink("said", out.join("near")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, out.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let rows = [
            ("said", true),
            (".hidden", true),
            ("", false),
            (".", false),
            ("..", false),
            ("/etc/passwd", false),
            ("../secret", false),
            ("sub/deep", false),
            ("sub", false),
            ("link", false),
            ("near", false),
            ("pipe", false),
            ("gone", false),
            ("said\0", false),
        ];
        for (name, expected) in rows {
            assert_eq!(left_behind(&out, name).is_some(), expected, "{name:?}");
        }
    }
}
