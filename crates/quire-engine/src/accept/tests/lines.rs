//! A person goes on working in the very files that a task changed: what does not touch is merged, what does is told, undo takes
//! back only what the accept brought, and in long random lives nothing that either wrote is lost without a word.

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
    AcceptFile(u8),
    AcceptHunks(u64),
    Undo,
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
        1 => any::<u8>().prop_map(Step::AcceptFile),
        2 => any::<u64>().prop_map(Step::AcceptHunks),
        2 => Just(Step::Undo),
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
    /// What was accepted and not undone: its number, whether a whole version, and its entries.
    accepts: Vec<(u32, bool, Vec<Entry>)>,
    next: u32,
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
        if whole && !matches!(step, Step::AcceptAll) {
            return false;
        }
        let Ok(chosen) = part::choose(&version, &only, &hunks, &read, &|error| error) else { return false };
        blobs.put(&chosen.contents.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        let mut earlier = vec![];
        for (_, whole, entries) in &self.accepts {
            if *whole {
                earlier.clear();
            }
            earlier.extend(entries.clone());
        }
        let entries = following(chosen.entries.clone(), whole, &earlier);
        let folders = std::slice::from_ref(&self.folder);
        let plan = match plan(&self.desk, self.next, folders, &entries, &|_, _| Ok(None), blobs) {
            Err(AcceptError::Drift(_)) => return false,
            plan => plan.unwrap(),
        };
        carry_out(plan, blobs, &mut |_| {}).unwrap();
        self.accepts.push((self.next, whole, chosen.entries));
        self.next += 1;
        true
    }

    fn undo(&mut self, blobs: &Blobs) -> bool {
        let Some((number, ..)) = self.accepts.last() else { return false };
        let plan = match plan_undo(&self.desk, *number, blobs) {
            Err(AcceptError::Drift(_)) => return false,
            plan => plan.unwrap(),
        };
        carry_out(plan, blobs, &mut |_| {}).unwrap();
        self.accepts.pop();
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
    let mut life = Life { desk, folder, agent: base.clone(), left, base, accepts: vec![], next: 0 };
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
            Step::Undo | Step::AcceptAll | Step::AcceptFile(_) | Step::AcceptHunks(_) => {
                let undo = matches!(step, Step::Undo);
                let wrote = if undo { life.undo(blobs) } else { life.accept(*step, blobs) };
                let after = read_tree(&life.folder);
                if !wrote {
                    refused += 1;
                    prop_assert_eq!(before, after, "nothing is written where it does not fit");
                    continue;
                }
                done += 1;
                let (had, has) = (lines_of(&before), lines_of(&after));
                for line in had.iter().filter(|line| line.starts_with("person")) {
                    prop_assert!(has.contains(line), "{:?} of the person is gone", line);
                }
                if matches!(step, Step::AcceptAll) {
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
                let new = has.difference(&had).filter(|line| line.starts_with("person"));
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
