//! A person goes on working while a task runs. What a live overlay would have shown is in `freeze.rs`; here each way of
//! changing a folder is done to a real one, between the agent's work and the accept. The task sees its frozen copy, whatever
//! happens, and accept says what drifted; a person's edit is never overwritten.

use super::*;
use crate::freeze::Frozen;
use crate::rooted::Kind;
use std::io::{Read, Write};

/// A replaced file is a new one: an access list and attributes of the person's were lost with the old.
#[test]
fn what_a_person_put_on_a_file_is_on_it_after_accept_and_undo() {
    let case = case();
    let entries = case.prepare(|f| put(f, "a", "a"), |f| put(f, "a", "changed"));
    let file = case.folder.join("a");
    // One named user may read: version 2 of the access list, as the kernel takes it.
    let entry = |tag: u16, may: u16, id: u32| {
        [&tag.to_le_bytes()[..], &may.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let list =
        [entry(1, 6, none), entry(2, 4, 1234), entry(4, 4, none), entry(16, 4, none), entry(32, 4, none)];
    let list = [2_u32.to_le_bytes().to_vec(), list.concat()].concat();
    let on = [("user.note", b"mine".to_vec()), ("system.posix_acl_access", list)];
    for (name, value) in &on {
        rustix::fs::setxattr(&file, *name, value, rustix::fs::XattrFlags::empty()).unwrap();
    }
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    let is_kept = |when: &str| {
        for (name, value) in &on {
            let mut found = vec![0; 4096];
            let length = rustix::fs::getxattr(&file, *name, &mut found).unwrap_or(0);
            assert_eq!(&found[..length], value.as_slice(), "{name} {when}");
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode(), mode, "{when}");
    };
    case.accept(0, &entries).unwrap();
    is_kept("after accept");
    assert_eq!(fs::read(&file).unwrap(), b"changed");
    case.undo(0).unwrap();
    is_kept("after undo");
    assert_eq!(fs::read(&file).unwrap(), b"a");
}

struct Meanwhile {
    case: Case,
    frozen: Frozen,
    layers: Vec<PathBuf>,
}

/// A folder, its copy, and an agent that appended to `a` and `dir/f` and made `dir/new`.
fn begun() -> Meanwhile {
    let case = case();
    for (path, content) in [("a", "one\n"), ("dir/f", "f\n"), ("dir/g", "g\n"), ("other/x", "x\n")] {
        put(&case.folder, path, content);
    }
    let frozen = freeze(&case.desk.home, &case.folder, &|_, _| {}).unwrap();
    let layer = case.temp.path().join("layer");
    let upper = layer.join("folder-0");
    put(&upper, "a", "one\nagent\n");
    put(&upper, "dir/f", "f\nagent\n");
    put(&upper, "dir/new", "agent\n");
    Meanwhile { case, frozen, layers: vec![layer] }
}

impl Meanwhile {
    /// Returns every file of the copy, as a sandbox's folder shows it below the agent's changes.
    fn copy(&self) -> BTreeMap<String, String> {
        let stack = self.frozen.stack().unwrap();
        let (mut tree, mut open) = (BTreeMap::new(), vec![stack.top().unwrap()]);
        while let Some(place) = open.pop() {
            for name in stack.names(&place, stack.height()).unwrap() {
                let Some(found) = stack.enter(&place, &name).unwrap() else { continue };
                if found.print.kind == Kind::Dir {
                    open.push(found.place());
                    continue;
                }
                let mut content = String::new();
                stack.content(&found).unwrap().read_to_string(&mut content).unwrap();
                tree.insert(found.path.to_string(), content);
            }
        }
        tree
    }

    fn version(&self) -> Vec<Entry> {
        let frozen = std::slice::from_ref(&self.frozen);
        snapshot(frozen, &self.layers, &mut Seen::default(), self.case.store.blobs()).unwrap().1.entries
    }
}

/// The person does `edit`; the task sees none of it, and accept tells exactly `drifted`, or writes where there is none.
#[track_caller]
fn check(edit: Make, drifted: &[(&str, Drifted)]) {
    let meanwhile = begun();
    let (copy, version) = (meanwhile.copy(), meanwhile.version());
    let case = &meanwhile.case;
    edit(&case.folder);
    assert_eq!(meanwhile.copy(), copy, "the task sees its copy");
    assert_eq!(meanwhile.version(), version, "what the agent did is what it was");
    let person = tree_of(&case.folder);
    match case.accept(0, &version) {
        Err(AcceptError::Drift(found)) => {
            let found: Vec<(String, Drifted)> = found.iter().map(|d| (d.path.to_string(), d.what)).collect();
            let drifted: Vec<(String, Drifted)> =
                drifted.iter().map(|(p, d)| ((*p).to_owned(), *d)).collect();
            assert_eq!(found, drifted);
            assert_eq!(tree_of(&case.folder), person, "nothing was written");
        }
        Ok(_) => {
            assert_eq!(drifted, []);
            let now = tree_of(&case.folder);
            let touched = ["a", "dir/f", "dir/new"];
            let rest = |tree: &BTreeMap<String, String>| {
                tree.iter()
                    .filter(|(path, _)| !touched.contains(&path.as_str()))
                    .map(|(p, w)| (p.clone(), w.clone()))
                    .collect::<BTreeMap<_, _>>()
            };
            assert_eq!(rest(&now), rest(&person), "what the person did elsewhere stays");
            case.undo(0).unwrap();
            assert_eq!(tree_of(&case.folder), person);
        }
        Err(error) => panic!("{error}"),
    }
}

fn save_by_rename(folder: &Path, path: &str, content: &str) {
    put(folder, ".save~", content);
    fs::rename(folder.join(".save~"), folder.join(path)).unwrap();
}

#[test]
fn an_edit_in_place_is_drift() {
    let edit: Make = |f| {
        let mut file = File::options().append(true).open(f.join("a")).unwrap();
        file.write_all(b"person\n").unwrap();
    };
    check(edit, &[("a", Drifted::Changed)]);
    check(|f| put(f, "other/x", "person\n"), &[]);
}

#[test]
fn a_save_by_rename_is_drift() {
    check(|f| save_by_rename(f, "a", "person\n"), &[("a", Drifted::Changed)]);
    check(|f| save_by_rename(f, "other/x", "person\n"), &[]);
    check(|f| save_by_rename(f, "a", "one\n"), &[]);
}

#[test]
fn a_deletion_is_drift_only_where_the_agent_changed_the_file() {
    check(|f| fs::remove_file(f.join("a")).unwrap(), &[("a", Drifted::Gone)]);
    check(|f| fs::remove_file(f.join("dir/g")).unwrap(), &[]);
}

#[test]
fn a_file_created_where_the_agent_made_one_is_drift() {
    check(|f| put(f, "dir/new", "person\n"), &[("dir/new", Drifted::Appeared)]);
    check(|f| put(f, "dir/new", "agent\n"), &[]);
    check(|f| put(f, "dir/elsewhere", "person\n"), &[]);
}

#[test]
fn a_file_replaced_while_the_agent_appends_keeps_both_sides() {
    check(|f| save_by_rename(f, "dir/f", "quite another\n"), &[("dir/f", Drifted::Changed)]);
}

/// As `git checkout` and `git stash` do it.
#[test]
fn a_directory_removed_and_made_again_is_drift_where_it_differs() {
    let again: Make = |f| {
        fs::remove_dir_all(f.join("dir")).unwrap();
        put(f, "dir/f", "f\n");
        put(f, "dir/g", "g\n");
    };
    check(again, &[]);
    let otherwise: Make = |f| {
        fs::remove_dir_all(f.join("dir")).unwrap();
        put(f, "dir/f", "A\n");
    };
    check(otherwise, &[("dir/f", Drifted::Changed)]);
    check(
        |f| fs::remove_dir_all(f.join("dir")).unwrap(),
        &[("dir/f", Drifted::Gone), ("dir/new", Drifted::ParentGone)],
    );
}

#[test]
fn a_directory_renamed_is_drift_for_what_was_in_it() {
    check(
        |f| fs::rename(f.join("dir"), f.join("moved")).unwrap(),
        &[("dir/f", Drifted::Gone), ("dir/new", Drifted::ParentGone)],
    );
    check(|f| fs::rename(f.join("other"), f.join("moved")).unwrap(), &[]);
}

/// A repository whose other branch has other files, switched while the task runs, and back.
#[test]
fn a_branch_switched_is_drift_and_switched_back_is_none() {
    let git = |f: &Path, arguments: &[&str]| {
        let identity = ["-c", "user.name=n", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        let mut command = Command::new("git");
        let done = command.args(identity).args(arguments).current_dir(f).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let meanwhile = begun();
    let (copy, version) = (meanwhile.copy(), meanwhile.version());
    let case = &meanwhile.case;
    let folder = &case.folder;
    git(folder, &["init", "-q"]);
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-qm", "one"]);
    git(folder, &["checkout", "-qb", "other"]);
    put(folder, "a", "of the other branch\n");
    fs::remove_dir_all(folder.join("dir")).unwrap();
    git(folder, &["commit", "-qam", "two"]);
    let switched = tree_of(folder);
    assert_eq!((meanwhile.copy(), meanwhile.version()), (copy, version.clone()), "the task sees its copy");
    let Err(AcceptError::Drift(drift)) = case.accept(0, &version) else { panic!("it drifted") };
    assert_eq!(drift.len(), 3, "{drift:?}");
    assert_eq!(tree_of(folder), switched);
    git(folder, &["checkout", "-q", "main"]);
    case.accept(0, &version).unwrap();
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"one\nagent\n");
}

/// A file that is too large to copy is shared with the folder; what a task saw of it is then no longer known.
#[test]
fn a_large_file_edited_in_place_is_drift_though_the_copy_shows_it() {
    let case = case();
    put(&case.folder, "large", "l".repeat(9 << 20));
    let frozen = freeze(&case.desk.home, &case.folder, &|_, _| {}).unwrap();
    let layer = case.temp.path().join("layer");
    put(&layer.join("folder-0"), "large", "agent's");
    let mut file = File::options().append(true).open(case.folder.join("large")).unwrap();
    file.write_all(b"person").unwrap();
    drop(file);
    let layers = [layer];
    let blobs = case.store.blobs();
    let version = snapshot(std::slice::from_ref(&frozen), &layers, &mut Seen::default(), blobs).unwrap().1;
    assert!(matches!(case.accept(0, &version.entries), Err(AcceptError::Drift(_))));
    assert!(fs::read(case.folder.join("large")).unwrap().ends_with(b"person"));
}
