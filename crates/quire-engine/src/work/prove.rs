//! Proving: a check is run by quire itself, in fresh sandboxes in which nothing of the agent's is alive, on exactly the files
//! that would be accepted and on the machine as the person has it. So what the agent put on PATH, into a start-up file or into
//! a build directory is not there, because Accept would not bring it either.
//!
//! One run answers in the common case. Further ones are made where there is doubt: with all that the agent left, where it only
//! fails without; with the tests and scripts as they were, where the agent changed what the check consists of; with the new tests on
//! the old code; and, where a check that quire found itself fails, on the folder as it was.

use super::*;
use crate::check::{bend, find, tally};
use quire_core::event::{Before, Shot};
use quire_core::{Entry, Node, RelPath};
use std::time::Duration;

/// What a check is to be proved on.
pub struct Ground {
    /// Of these files.
    pub snapshot: Hash,
    /// All that the agent left, newest first; it shows these files too.
    pub below: Vec<PathBuf>,
    /// What of that lies apart from the folder's files.
    pub apart: Arc<Apart>,
    /// A directory that runs make and drop.
    pub scratch: PathBuf,
    /// Where the sandboxes run, where that is not the task's own place.
    pub run: Option<PathBuf>,
}

/// What a run sees.
#[derive(Clone, Copy)]
enum Sight<'a> {
    /// The person's machine with these files.
    Files(&'a Snapshot),
    /// All that the agent left, which shows these files.
    Left(&'a Snapshot),
}

/// What a run came to.
struct Ran {
    run: check::Run,
    whole: Option<Hash>,
    /// Paths of the folders that it changed by itself.
    touched: Vec<String>,
    /// Of the page that was to be looked at.
    shots: Vec<Shot>,
}

/// Runs that took longer are not made again for a doubt; the doubt is told.
const AGAIN_MAX: Duration = Duration::from_secs(180);
/// Texts longer than this are not looked into, in bytes.
const TEXT_MAX: u64 = 1 << 20;
/// Reasons that are told of one pass.
const BUTS_MAX: usize = 6;

impl Work {
    /// Returns the checks that the project has and that concern what was changed.
    pub(super) async fn find_checks(
        self: &Arc<Work>,
        task: &Task,
        snapshot: Snapshot,
    ) -> Result<Vec<CheckSpec>, Undone> {
        if !task.charter.limits.found_checks || snapshot.entries.is_empty() {
            return Ok(vec![]);
        }
        let (frozen, work, charter) = (self.frozen(task)?, self.clone(), task.charter.clone());
        blocking(move || {
            let runs = |program: &str| on_path(&charter, program);
            let now = |entry: &Entry| work.text_now(entry);
            let found = find::found(&frozen[0], &snapshot, &now, &runs).map_err(disk)?;
            // What the person said already is not said again.
            let said =
                |spec: &CheckSpec| charter.checks.iter().any(|known| known.command.trim() == spec.command);
            Ok(found.into_iter().filter(|spec| !said(spec)).collect())
        })
        .await
    }

    /// Runs a check on what was sealed.
    pub async fn check(self: &Arc<Work>, task: &Task, number: u32) -> Result<Event, Undone> {
        let none =
            || Why::Trouble(Trouble::Other, "A check was asked for before anything was sealed.".into());
        let sealed = task.sealed.as_ref().ok_or_else(none)?;
        let spec = sealed.checks.get(number as usize).ok_or_else(none)?;
        let found = number as usize >= task.charter.checks.len();
        let ground = Ground {
            snapshot: sealed.snapshot,
            below: self.place.layers(&sealed.line),
            apart: sealed.apart.clone(),
            scratch: self.place.dir().join("check"),
            run: None,
        };
        let proof = match task.proved(number) {
            Some(proof) => Proof::clone(&proof),
            None => self.prove(&ground, task, spec, found).await?,
        };
        Ok(Event::Checked { check: number, proof })
    }

    /// Returns the proof of a check. `found`: quire found the check itself.
    pub async fn prove(
        self: &Arc<Work>,
        ground: &Ground,
        task: &Task,
        spec: &CheckSpec,
        found: bool,
    ) -> Result<Proof, Undone> {
        let most = if found { check::FOUND_TIME_MAX } else { check::TIME_MAX };
        let proving = Proving { work: self, ground, task, command: &spec.command, most };
        let version = self.load_snapshot(&ground.snapshot)?;
        let page = find::pictured(spec, &version).filter(|_| found);
        let page = page.as_deref();
        let (mut ran, mut buts) = (proving.run(Sight::Files(&version), page).await?, vec![]);
        let apart = &ground.apart;
        let with_apart = !ran.run.passed() && apart.outside.total + apart.ignored.total > 0;
        if with_apart {
            ran = proving.run(Sight::Left(&version), page).await?;
            buts.push(format!("only with what the agent changed {}", where_apart(apart)));
        }
        let unable = ran.run.unable().filter(|_| found);
        let mut proof = Proof {
            snapshot: ground.snapshot,
            passed: ran.run.passed() && unable.is_none(),
            exit: ran.run.exit,
            millis: ran.run.took.as_millis() as u64,
            output: ran.run.output.clone(),
            whole: ran.whole,
            buts: vec![],
            unable,
            before: None,
            old_code_fails: None,
            shots: ran.shots,
        };
        if proof.unable.is_some() {
            return Ok(proof);
        }
        if !proof.passed {
            if found || ran.run.took <= AGAIN_MAX {
                let before = proving.before(&ran.run).await?;
                // A person who names a check wants it to pass, however it went before.
                proof.before = Some(Before { same: before.same && found, ..before });
            }
            return Ok(proof);
        }
        if !(found && find::is_quick(&spec.name)) {
            proof.old_code_fails = proving.definitions(&version, &ran.run, with_apart, &mut buts).await?;
            match tally::read(&ran.run.output) {
                None if tally::speaks(&spec.command) => {
                    buts.push("its runner did not say how the tests went".to_owned())
                }
                Some(tally) if tally.passed == 0 && tally::speaks(&spec.command) => {
                    buts.push("it ran no test".to_owned())
                }
                _ => {}
            }
        }
        if !ran.touched.is_empty() {
            buts.push(format!("it changed the folder itself: {}", check::listed(&ran.touched)));
        }
        buts.truncate(BUTS_MAX);
        proof.buts = buts;
        Ok(proof)
    }

    /// Makes `layer` show exactly these files over the frozen folders.
    pub(super) fn lay(&self, files: &Snapshot, frozen: &[Frozen], layer: &Path) -> Result<(), Undone> {
        let rung = self.standing()?.rung;
        let owner = rung.shifts_owners().then_some(quire_sandbox::INSIDE_BASE);
        snapshot::lay(files, frozen, layer, owner, self.store.blobs()).map_err(snapshot_trouble)?;
        layer::note_marks(layer, rung.marks()).map_err(disk)
    }

    fn text_now(&self, entry: &Entry) -> Option<String> {
        let Some(Node::File { blob, bytes, .. }) = &entry.now else { return None };
        let content = (*bytes <= TEXT_MAX).then(|| self.store.blobs().get(blob).ok())??;
        String::from_utf8(content).ok()
    }
}

/// A check that is being proved.
struct Proving<'a> {
    work: &'a Arc<Work>,
    ground: &'a Ground,
    task: &'a Task,
    command: &'a str,
    most: Duration,
}

impl Proving<'_> {
    /// Returns how a check that fails now went on the folder as it was before the task.
    async fn before(&self, now: &check::Run) -> Result<Before, Undone> {
        let known = lock(&self.work.before).get(self.command).cloned();
        let run = match known {
            Some(run) => run,
            None => {
                let run = self.run(Sight::Files(&Snapshot::default()), None).await?.run;
                lock(&self.work.before).insert(self.command.to_owned(), run.clone());
                run
            }
        };
        let failed = tally::read(&run.output).map(|tally| tally.failed.max(tally.failing.len() as u32));
        Ok(Before { passed: run.passed(), same: check::fails_as_before(now, &run), failed })
    }

    /// Finds what the agent changed of what a check consists of that passed, and whether it passes without that. `with_apart`: it
    /// passes only with what lies apart. Returns whether the old code fails the new tests, where there are some.
    async fn definitions(
        &self,
        version: &Snapshot,
        ran: &check::Run,
        with_apart: bool,
        buts: &mut Vec<String>,
    ) -> Result<Option<bool>, Undone> {
        let frozen = self.work.frozen(self.task)?;
        let text = |path: &RelPath| match version.entries.iter().find(|e| e.folder == 0 && e.path == *path) {
            Some(entry) => self.work.text_now(entry).or_else(|| snapshot::old_text(&frozen[0], path)),
            None => snapshot::old_text(&frozen[0], path),
        };
        let bent = bend::definitions(self.command, version, &text);
        let is_bent =
            |entry: &Entry| bent.iter().any(|one| (one.folder, &one.path) == (entry.folder, &entry.path));
        for entry in version.entries.iter().filter(|entry| !is_bent(entry)) {
            let Some(frozen) = frozen.get(entry.folder as usize) else { continue };
            let texts = self.work.text_now(entry).zip(snapshot::old_text(frozen, &entry.path));
            buts.extend(texts.and_then(|(now, was)| bend::weakened(&entry.path.to_string(), &was, &now)));
        }
        if bent.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> = bent.iter().map(|entry| entry.path.to_string()).collect();
        let names = check::listed(&names);
        if with_apart || ran.took > AGAIN_MAX {
            buts.push(format!("the agent changed what it runs: {names}"));
            return Ok(None);
        }
        let part = |bent: bool| Snapshot {
            entries: version.entries.iter().filter(|entry| is_bent(entry) == bent).cloned().collect(),
        };
        let as_was = part(false);
        let old = self.run(Sight::Files(&as_was), None).await?.run;
        buts.extend(doubted(&names, ran, &old));
        let is_new_test = |entry: &Entry| {
            matches!(entry.now, Some(Node::File { .. })) && bend::is_test(&entry.path.to_string())
        };
        if as_was.entries.is_empty() || !bent.iter().any(|entry| is_new_test(entry)) {
            return Ok(None);
        }
        Ok(Some(!self.run(Sight::Files(&part(true)), None).await?.run.passed()))
    }

    /// Runs the check once. `page`: that one is looked at afterwards.
    async fn run(&self, sight: Sight<'_>, page: Option<&str>) -> Result<Ran, Undone> {
        let scratch = &self.ground.scratch;
        freeze::remove_tree(scratch).map_err(disk)?;
        let ran = self.run_once(sight, page).await;
        // Whatever it came to: a check that filled the disk must not keep it full.
        let scratch = scratch.clone();
        blocking(move || freeze::remove_tree(&scratch).map_err(disk)).await?;
        ran
    }

    async fn run_once(&self, sight: Sight<'_>, page: Option<&str>) -> Result<Ran, Undone> {
        let (work, frozen) = (self.work, self.work.frozen(self.task)?);
        let (below, files) = match sight {
            Sight::Left(files) => (self.ground.below.clone(), files.clone()),
            Sight::Files(files) => {
                let (work, frozen, files) = (work.clone(), frozen.clone(), files.clone());
                let laid = self.ground.scratch.join("laid");
                let lay = move || {
                    work.lay(&files, &frozen, &laid)?;
                    Ok((vec![laid], files))
                };
                blocking(lay).await?
            }
        };
        let top = self.ground.scratch.join("top");
        let way = work.way(self.task)?;
        let mut inside = work.spec(self.task, top.clone(), below.clone(), way.as_ref())?;
        if let Some(run) = &self.ground.run {
            (inside.state, inside.out) = (run.join("run"), run.join("out"));
            std::fs::create_dir_all(&inside.out).map_err(disk)?;
        }
        let out = inside.out.clone();
        let hands = work.start(inside, way).await?;
        let run = check::run(&hands, self.command, self.most).await;
        // Whatever the outcome: what is not there to be opened, or no browser, shows nothing.
        let pictures = match page {
            Some(page) if run.is_ok() => check::look(&hands, page).await,
            _ => vec![],
        };
        let limits_met = hands.limits_met();
        blocking(move || hands.discard().map_err(disk)).await?;
        let masks = work.masks(self.task).await?;
        let run = match run {
            Ok(run) => run.masked(&masks),
            Err(Gone) => check::Run::lost(&limits_met),
        };
        let (work, name) = (work.clone(), run.whole.clone());
        let (whole, touched, shots) = blocking(move || {
            let mut shots = vec![];
            for check::Picture { window, file } in pictures {
                let left = pictures::shown(vec![file.clone()]).find_map(|file| left_behind(&out, &file.file));
                if let Some(picture) = left.and_then(pictures::bounded) {
                    let blob = keep(&work.store, picture).map_err(blob_trouble)?;
                    let quire_sandbox::protocol::Window { width, wider } = window;
                    shots.push(Shot { width, wider, image: Image { media_type: file.media_type, blob } });
                }
            }
            let file = name.and_then(|name| left_behind(&out, &name));
            let kept = file.map(|file| keep(&work.store, Masked::new(file, &masks)).map_err(blob_trouble));
            let layers: Vec<PathBuf> = [top].into_iter().chain(below).collect();
            let after = snapshot::changes(&frozen, &layers, work.store.blobs()).map_err(snapshot_trouble)?;
            Ok((kept.transpose()?, touched(&files, &after), shots))
        })
        .await?;
        Ok(Ran { run, whole, touched, shots })
    }
}

/// Returns what a run with all definitions as they were says of one with those that the agent changed, `names`.
fn doubted(names: &str, now: &check::Run, old: &check::Run) -> Option<String> {
    let tallies = tally::read(&old.output).zip(tally::read(&now.output));
    let exit = old.exit.map_or("it does not end".to_owned(), |exit| format!("it fails (exit {exit})"));
    match tallies {
        Some((old, _)) if (old.passed, old.failed) == (0, 0) => {
            Some(format!("its only tests are new: {names}"))
        }
        _ if !old.passed() => {
            Some(format!("only since the agent changed what it runs: {names}. As that was before, {exit}"))
        }
        Some((old, now)) if now.passed < old.passed => Some(format!(
            "the agent changed what it runs, and {} fewer tests ran: {names}",
            old.passed - now.passed
        )),
        _ => None,
    }
}

/// Returns what a run changed in the folders that it ran on, `files`. What stands in neither those nor the base are traces, which a
/// check may leave.
fn touched(files: &Snapshot, after: &Snapshot) -> Vec<String> {
    fn by_path(all: &Snapshot) -> HashMap<(u32, &RelPath), &Entry> {
        all.entries.iter().map(|entry| ((entry.folder, &entry.path), entry)).collect()
    }
    let (before, left) = (by_path(files), by_path(after));
    let changed = after.entries.iter().filter(|entry| match before.get(&(entry.folder, &entry.path)) {
        Some(known) => known.now != entry.now,
        None => entry.was.is_some(),
    });
    let undone = files.entries.iter().filter(|entry| !left.contains_key(&(entry.folder, &entry.path)));
    let no_dir = |entry: &&Entry| {
        !matches!((&entry.was, &entry.now), (Some(Node::Dir { .. }), Some(Node::Dir { .. })))
    };
    changed.chain(undone).filter(no_dir).map(|entry| entry.path.to_string()).collect()
}

fn where_apart(apart: &Apart) -> String {
    let count = |n: u64| if n == 1 { "1 path".to_owned() } else { format!("{n} paths") };
    let places = [(&apart.outside, "outside the folder"), (&apart.ignored, "in ignored directories")];
    let told = places
        .iter()
        .filter(|(listing, _)| listing.total > 0)
        .map(|(listing, place)| format!("{place} ({})", count(listing.total)));
    told.collect::<Vec<_>>().join(" and ")
}
