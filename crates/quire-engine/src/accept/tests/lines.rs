//! A person goes on working in the very files that a task changed: what does not touch is merged, what does is told, undo takes
//! back only what the accept brought, and in long random lives nothing that either wrote is lost without a word.

use super::journal::What;
use super::*;
use quire_core::diff;
use quire_core::merge::Overlap;

const TEN: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";

/// A folder in which the task and then the person changed `a`; returns what accept made of it, and the file.
fn both(base: &str, agent: &str, person: &str) -> (Case, Result<Report, AcceptError>, String) {
    let case = case();
    put(&case.folder, "a", base);
    put(&case.wanted, "a", agent);
    let entries = case.entries();
    case.store.blobs().put(&[base.as_bytes()]).unwrap();
    put(&case.folder, "a", person);
    let done = case.accept(1, &entries);
    let is = fs::read_to_string(case.folder.join("a")).unwrap();
    (case, done, is)
}

#[test]
fn j16_lines_that_do_not_touch_are_merged_and_undone_alone() {
    let agent = TEN.replace("2\n", "two\n");
    let person = TEN.replace("9\n", "nine\n");
    let (case, done, is) = both(TEN, &agent, &person);
    done.unwrap();
    assert_eq!(is, agent.replace("9\n", "nine\n"));
    // Straight back: exactly the person's.
    case.undo(1).unwrap();
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), person);

    let (case, done, is) = both(TEN, &agent, &person);
    done.unwrap();
    // After later edits: those stay, and only what the accept brought goes.
    put(&case.folder, "a", is.replace("5\n", "five\n"));
    let plan = plan_undo(&case.desk, 1, case.store.blobs()).unwrap();
    assert_eq!(plan.merged().len(), 1);
    carry_out(plan, case.store.blobs(), &mut |_| {}).unwrap();
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), person.replace("5\n", "five\n"));
}

#[test]
fn j16_lines_that_touch_are_shown_with_both_sides_and_nothing_is_written() {
    let (agent, person) = (TEN.replace("5\n", "five\n"), TEN.replace("5\n", "V\n"));
    let (case, done, is) = both(TEN, &agent, &person);
    let Err(AcceptError::Drift(drift)) = done else { panic!("{done:?}") };
    let overlap = Overlap { line: 5, base: b"5\n".into(), mine: b"V\n".into(), theirs: b"five\n".into() };
    assert_eq!(
        drift,
        [Drift { overlaps: vec![overlap], ..Drift::of(0, RelPath::new("a").unwrap(), Drifted::Changed) }]
    );
    assert_eq!(is, person);
    drop(case);

    // The same for an undo whose lines the person changed since.
    let (case, done, is) = both(TEN, &agent, TEN);
    done.unwrap();
    put(&case.folder, "a", is.replace("five\n", "FIVE\n"));
    let Err(AcceptError::Drift(drift)) = case.undo(1) else { panic!() };
    assert_eq!(drift[0].overlaps.len(), 1);
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), TEN.replace("5\n", "FIVE\n"));
}

#[test]
fn what_both_made_alike_and_what_one_side_left_needs_no_merge() {
    let agent = TEN.replace("2\n", "two\n");
    // The person took the change over by hand, and more.
    let (_case, done, is) = both(TEN, &agent, &agent.replace("9\n", "nine\n"));
    assert_eq!(done.unwrap().written, []);
    assert_eq!(is, agent.replace("9\n", "nine\n"));
}

#[test]
fn a_mode_is_merged_with_a_content() {
    let case = case();
    put(&case.folder, "run", "x\n");
    put(&case.wanted, "run", "y\n");
    let entries = case.entries();
    mode(&case.folder, "run", 0o755);
    case.accept(1, &entries).unwrap();
    let made = fs::metadata(case.folder.join("run")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read(case.folder.join("run")).unwrap(), b"y\n");
    case.undo(1).unwrap();
    assert_eq!(fs::read(case.folder.join("run")).unwrap(), b"x\n");
}

#[test]
fn two_tasks_are_accepted_one_after_the_other() {
    let case = case();
    put(&case.folder, "a", TEN);
    case.store.blobs().put(&[TEN.as_bytes()]).unwrap();
    let of = |content: String| {
        put(&case.wanted, "a", content);
        case.entries()
    };
    let (first, second) = (of(TEN.replace("2\n", "two\n")), of(TEN.replace("9\n", "nine\n")));
    case.accept(1, &first).unwrap();
    case.accept(2, &second).unwrap();
    let both = TEN.replace("2\n", "two\n").replace("9\n", "nine\n");
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), both);
    // Taken back in whichever order.
    case.undo(1).unwrap();
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), TEN.replace("9\n", "nine\n"));
    case.undo(2).unwrap();
    assert_eq!(fs::read_to_string(case.folder.join("a")).unwrap(), TEN);
}

/// What happens next in a life. Places are taken modulo what is there.
#[derive(Clone, Copy, Debug)]
enum Step {
    Person(Edit),
    Agent(Edit),
    AcceptAll,
    /// With the agent's side wherever both changed the same.
    AcceptOver,
    AcceptFile(u8),
    AcceptHunks(u64),
    Undo,
    UndoFile(u8),
    /// Back to how the agent had it after one of its steps.
    Rewind(u8),
}

#[derive(Clone, Copy, Debug)]
struct Edit {
    file: u8,
    line: u8,
    what: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let edit = || any::<(u8, u8, u8)>().prop_map(|(file, line, what)| Edit { file, line, what });
    prop_oneof![
        4 => edit().prop_map(Step::Person),
        4 => edit().prop_map(Step::Agent),
        2 => Just(Step::AcceptAll),
        1 => Just(Step::AcceptOver),
        1 => any::<u8>().prop_map(Step::AcceptFile),
        2 => any::<u64>().prop_map(Step::AcceptHunks),
        2 => Just(Step::Undo),
        1 => any::<u8>().prop_map(Step::UndoFile),
        1 => any::<u8>().prop_map(Step::Rewind),
    ]
}

const FILES: [&str; 3] = ["a", "b", "d/c"];

/// Three files' lines; none: no file.
type Tree = BTreeMap<&'static str, Vec<String>>;

fn read_tree(dir: &Path) -> Tree {
    let read = |file: &&'static str| {
        let text = fs::read_to_string(dir.join(file)).ok()?;
        Some((*file, text.split_inclusive('\n').map(str::to_owned).collect()))
    };
    FILES.iter().filter_map(read).collect()
}

/// Does an edit, whose lines nobody wrote before.
fn do_edit(tree: &mut Tree, edit: Edit, who: &str, serial: usize) {
    let file = FILES[edit.file as usize % FILES.len()];
    if edit.what % 16 == 15 {
        tree.remove(file);
        return;
    }
    let lines = tree.entry(file).or_default();
    let at = edit.line as usize % (lines.len() + 1);
    let new = format!("{who} {serial}\n");
    match edit.what % 3 {
        0 if at < lines.len() => lines[at] = new,
        1 if at < lines.len() && lines.len() > 1 => drop(lines.remove(at)),
        _ => lines.insert(at, new),
    }
}

struct Life {
    desk: Desk,
    folder: PathBuf,
    base: Tree,
    agent: Tree,
    /// What the agent had after each of its steps, to which a person may go back.
    left: Vec<Tree>,
    accepts: Vec<Accepted>,
    next: u32,
    /// Lines of the person's that gave way, and that an undo may bring back.
    aside: BTreeSet<String>,
}

/// What was accepted, and what was undone of it.
struct Accepted {
    number: u32,
    whole: bool,
    entries: Vec<Entry>,
    back: Vec<Vec<Part>>,
}

impl Life {
    fn version(&self, blobs: &Blobs) -> Snapshot {
        let node = |tree: &Tree, file: &str| {
            let content = tree.get(file)?.concat();
            Some(Node::File { blob: Hash::of(content.as_bytes()), bytes: content.len() as u64, mode: 0o644 })
        };
        let contents: Vec<String> =
            self.base.values().chain(self.agent.values()).map(|lines| lines.concat()).collect();
        blobs.put(&contents.iter().map(String::as_bytes).collect::<Vec<_>>()).unwrap();
        let entry = |file: &&str| Entry {
            folder: 0,
            path: RelPath::new(*file).unwrap(),
            was: node(&self.base, file),
            now: node(&self.agent, file),
        };
        Snapshot { entries: FILES.iter().map(entry).filter(|e| e.was != e.now).collect() }
    }

    /// Accepts as the command does; true where it was written.
    fn accept(&mut self, step: Step, blobs: &Blobs) -> bool {
        let version = self.version(blobs);
        let text = |node: &Option<Node>| match node {
            Some(Node::File { blob, .. }) => blobs.get(blob).unwrap(),
            _ => vec![],
        };
        let read = |e: &Entry| Ok::<_, AcceptError>(Some((text(&e.was), text(&e.now))));
        let part = |file: &str| Part { folder: 0, path: RelPath::new(file).unwrap() };
        let (only, hunks) = match step {
            Step::AcceptFile(file) => (vec![part(FILES[file as usize % FILES.len()])], vec![]),
            Step::AcceptHunks(mask) => {
                let names = |e: &Entry| diff::names(0, &e.path, &text(&e.was), &text(&e.now));
                let all = version.entries.iter().flat_map(names).enumerate();
                (vec![], all.filter(|(n, _)| mask >> (n % 64) & 1 == 1).map(|(_, name)| name).collect())
            }
            _ => (vec![], vec![]),
        };
        let whole = only.is_empty() && hunks.is_empty();
        if whole && !matches!(step, Step::AcceptAll | Step::AcceptOver) {
            return false;
        }
        let Ok(chosen) = part::choose(&version, &only, &hunks, &read, &|error| error) else { return false };
        blobs.put(&chosen.contents.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        let mut earlier = vec![];
        for accepted in &self.accepts {
            let is_back = |entry: &Entry| accepted.back.iter().flatten().any(|part| part.path == entry.path);
            if accepted.whole {
                earlier.retain(is_back);
            }
            earlier.extend(accepted.entries.iter().filter(|entry| !is_back(entry)).cloned());
        }
        let entries = following(chosen.entries.clone(), whole, &earlier);
        let folders = std::slice::from_ref(&self.folder);
        let over = matches!(step, Step::AcceptOver);
        let sides = Sides { over: &|_, _| over, ..NONE };
        let plan = match plan(&self.desk, self.next, folders, &entries, &sides, blobs) {
            Err(AcceptError::Drift(_)) => return false,
            plan => plan.unwrap(),
        };
        // What is not in the folder any more has to be where an undo finds it.
        for item in plan.journal.operations.iter().filter(|_| !plan.over.is_empty()).flat_map(|o| &o.old) {
            if let What::File { blob } = &item.what {
                let content = String::from_utf8(blobs.get(blob).unwrap()).unwrap();
                let persons = content.split_inclusive('\n').filter(|line| line.starts_with("person"));
                self.aside.extend(persons.map(str::to_owned));
            }
        }
        carry_out(plan, blobs, &mut |_| {}).unwrap();
        let (number, entries) = (self.next, chosen.entries);
        self.accepts.push(Accepted { number, whole, entries, back: vec![] });
        self.next += 1;
        true
    }

    /// Undoes the last accept, or what it did to one file.
    fn undo(&mut self, file: Option<u8>, blobs: &Blobs) -> bool {
        let Some(last) = self.accepts.last_mut() else { return false };
        let back = Back::of(&self.desk, last.number, &last.back).unwrap();
        let part =
            |file| Part { folder: 0, path: RelPath::new(FILES[usize::from(file) % FILES.len()]).unwrap() };
        let paths = match file.map(|file| back.named(&[part(file)])) {
            None => back.all(),
            Some(Ok(paths)) => paths,
            Some(Err(_)) => return false,
        };
        let plan = match back.plan(&self.desk, &paths, blobs) {
            Err(AcceptError::Drift(_)) => return false,
            plan => plan.unwrap(),
        };
        carry_out(plan, blobs, &mut |_| {}).unwrap();
        if paths == back.all() {
            self.accepts.pop();
        } else {
            last.back.push(paths.into_iter().map(|(folder, path)| Part { folder, path }).collect());
        }
        true
    }
}

fn lines_of(tree: &Tree) -> BTreeSet<&str> {
    tree.values().flatten().map(String::as_str).collect()
}

/// One life, looked at after each step.
fn live(home: &Path, dir: &Path, steps: &[Step], blobs: &Blobs) -> Result<(u32, u32), TestCaseError> {
    let folder = dir.join("folder");
    let base: Tree = FILES.iter().map(|f| (*f, (0..9).map(|n| format!("{f} {n}\n")).collect())).collect();
    for (file, lines) in &base {
        put(&folder, file, lines.concat());
    }
    let desk = Desk { home: home.to_owned(), dir: dir.join("task") };
    fs::create_dir_all(&desk.dir).unwrap();
    let left = vec![base.clone()];
    let (accepts, aside) = (vec![], BTreeSet::new());
    let mut life = Life { desk, folder, agent: base.clone(), left, base, accepts, next: 0, aside };
    // As it was before an accept that took the agent's side, while nothing was done since.
    let mut was: Option<Tree> = None;
    let (mut done, mut refused) = (0, 0);
    // Lines of the agent's that the person took away: they had them, and do not want them.
    let mut unwanted: BTreeSet<String> = BTreeSet::new();
    for (serial, step) in steps.iter().enumerate() {
        let before = read_tree(&life.folder);
        match *step {
            Step::Agent(edit) => {
                do_edit(&mut life.agent, edit, "agent", serial);
                life.left.push(life.agent.clone());
            }
            Step::Rewind(to) => {
                life.agent = life.left[usize::from(to) % life.left.len()].clone();
                prop_assert_eq!(before, read_tree(&life.folder), "going back writes nothing");
            }
            Step::Person(edit) => {
                was = None;
                let mut tree = before.clone();
                do_edit(&mut tree, edit, "person", serial);
                unwanted
                    .extend(lines_of(&before).difference(&lines_of(&tree)).map(|line| (*line).to_owned()));
                for file in FILES {
                    match tree.get(file) {
                        Some(lines) => put(&life.folder, file, lines.concat()),
                        None => drop(fs::remove_file(life.folder.join(file))),
                    }
                }
            }
            _ => {
                let wrote = match *step {
                    Step::Undo => life.undo(None, blobs),
                    Step::UndoFile(file) => life.undo(Some(file), blobs),
                    step => life.accept(step, blobs),
                };
                let after = read_tree(&life.folder);
                if !wrote {
                    refused += 1;
                    prop_assert_eq!(before, after, "nothing is written where it does not fit");
                    continue;
                }
                done += 1;
                let (had, has) = (lines_of(&before), lines_of(&after));
                let over = matches!(step, Step::AcceptOver);
                for line in had.iter().filter(|line| line.starts_with("person")) {
                    let kept = has.contains(line) || over && life.aside.contains(*line);
                    prop_assert!(kept, "{:?} of the person is gone", line);
                }
                if let (Step::Undo, Some(was)) = (step, was.take()) {
                    prop_assert_eq!(&was, &after, "an undo brings back what gave way, exactly");
                }
                was = over.then(|| before.clone());
                if matches!(step, Step::AcceptAll | Step::AcceptOver) {
                    // All that the agent wrote is there, and of what it took away only what the person has made anew.
                    for line in lines_of(&life.agent).iter().filter(|line| line.starts_with("agent")) {
                        let there = has.contains(line) || unwanted.contains(*line);
                        prop_assert!(there, "{:?} of the agent is missing", line);
                    }
                    // What was accepted and left by going back is not in the folder any more.
                    let left = has.iter().filter(|line| line.starts_with("agent"));
                    let left: Vec<_> = left.filter(|line| !lines_of(&life.agent).contains(*line)).collect();
                    prop_assert_eq!(
                        left,
                        Vec::<&&str>::new(),
                        "a line that the agent does not have any more"
                    );
                }
                let undo = matches!(step, Step::Undo | Step::UndoFile(_));
                let new = has.difference(&had).filter(|line| line.starts_with("person"));
                let new = new.filter(|line| !(undo && life.aside.contains(**line)));
                // A file that they deleted comes back as it was before the accept, and that is told.
                let deleted = after.iter().filter(|(file, _)| undo && !before.contains_key(*file));
                let deleted: BTreeSet<&String> = deleted.flat_map(|(_, lines)| lines).collect();
                let new = new.filter(|line| !deleted.iter().any(|back| back.as_str() == **line));
                prop_assert_eq!(new.count(), 0, "no line of the person comes back that they took away");
            }
        }
    }
    Ok((done, refused))
}

/// 200 lives, or 10,000 with QUIRE_TEST_ALL; on a disk of memory, where there is one.
#[test]
fn in_long_lives_nothing_of_either_is_silently_lost() {
    let all = std::env::var_os("QUIRE_TEST_ALL").is_some();
    let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(temp.path()).unwrap();
    let (number, told) = (std::cell::Cell::new(0), std::cell::Cell::new((0, 0)));
    let config = ProptestConfig { cases: if all { 10_000 } else { 200 }, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let ran = runner.run(&proptest::collection::vec(step(), 4..24), |steps| {
        let dir = temp.path().join(format!("life-{}", number.replace(number.get() + 1)));
        let (done, refused) = live(temp.path(), &dir, &steps, store.blobs())?;
        told.set((told.get().0 + done, told.get().1 + refused));
        fs::remove_dir_all(dir).unwrap();
        Ok(())
    });
    ran.unwrap_or_else(|e| panic!("{e}"));
    let (done, refused) = told.get();
    println!("{} lives: {done} accepts and undos were written, {refused} refused", number.get());
    assert!(done > number.get() && refused > 0);
}
