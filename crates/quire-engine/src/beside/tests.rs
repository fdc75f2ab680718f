//! Which repositories are shown, beside those that a planted `.git` leads to, and that git works in a narrowed one.

use super::*;
use crate::testing;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

/// A person's home with `r`, a repository that has a submodule `sub` and a linked worktree `w`.
struct Case {
    _temp: tempfile::TempDir,
    at: PathBuf,
}

fn sh(dir: &Path, script: &str) -> String {
    testing::sh(dir, dir, script)
}

impl Case {
    fn new() -> Case {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().canonicalize().unwrap();
        sh(
            &at,
            "git init -qb main s; cd s; echo s > s; git add .; git commit -qm s; cd ..
             git init -qb main r; cd r; mkdir -p a/deep b; echo x > a/x; echo z > a/deep/z; echo y > b/y; echo '*.o' > .gitignore
             git -c protocol.file.allow=always submodule --quiet add ../s sub; git add .; git commit -qm first
             git worktree add -q ../w; mkdir new; touch a/made.o",
        );
        Case { _temp: temp, at }
    }

    fn find(&self, folder: &str, others: &[&str], hide: &[&str]) -> Option<Result<Found, NoGit>> {
        let folders: Vec<PathBuf> =
            [&[folder], others].concat().iter().map(|one| self.at.join(one)).collect();
        let hide: Vec<String> = hide.iter().map(|one| (*one).to_owned()).collect();
        let (data, env) = (self.at.join("data"), [("HOME".to_owned(), self.at.to_str().unwrap().to_owned())]);
        find::find(&Whose::new(&data, &folders, &hide, &env), &folders[0])
    }

    fn found(&self, at: &str, dir: Option<&str>, prefix: Option<&str>) -> Option<Result<Found, NoGit>> {
        let path = |path: &str| RelPath::new(path).unwrap();
        Some(Ok(Found { at: self.at.join(at), dir: dir.map(path), prefix: prefix.map(path) }))
    }
}

#[test]
fn a_repository_that_names_the_folder_as_its_own_is_found() {
    let case = Case::new();
    sh(
        &case.at,
        "mkdir bare; git clone -q --bare r bare/.bare; echo 'gitdir: ./.bare' > bare/.git; git -C bare worktree add -q t main",
    );
    let rows = [
        ("r", None),
        ("new", None),
        ("bare", None),
        ("r/new", None),
        ("w", case.found("r/.git", Some("worktrees/w"), None)),
        ("r/sub", case.found("r/.git/modules/sub", None, None)),
        ("bare/t", case.found("bare/.bare", Some("worktrees/t"), None)),
        ("r/a", case.found("r/.git", None, Some("a"))),
        ("r/a/deep", case.found("r/.git", None, Some("a/deep"))),
        ("w/a", case.found("r/.git", Some("worktrees/w"), Some("a"))),
    ];
    fs::create_dir(case.at.join("new")).unwrap();
    for (folder, expected) in rows {
        assert_eq!(case.find(folder, &[], &[]), expected, "{folder}");
    }
    assert_eq!(case.find("w", &["r"], &[]), None, "shown with the other folder");
    for hide in ["~/r", "~/r/.git", "r"] {
        assert_eq!(case.find("w", &[], &[hide]), Some(Err(NoGit::Hidden)), "{hide}");
    }
    assert!(matches!(case.find("w", &[], &["~/r/a", "*.key"]), Some(Ok(_))));
}

/// A `.git` that came with a folder leads to whatever its maker likes.
#[test]
fn a_repository_that_is_not_the_folders_own_is_not_shown() {
    let case = Case::new();
    let at = |name: &str| case.at.join(name);
    let planted = |name: &str, leads: &str| {
        fs::create_dir_all(at(name)).unwrap();
        fs::write(at(name).join(".git"), format!("gitdir: {leads}\n")).unwrap();
    };
    planted("main", "../r/.git");
    planted("worktree", "../r/.git/worktrees/w");
    planted("submodule", "../r/.git/modules/sub");
    planted("broken", "../nowhere");
    // With a directory of its own that says so, and takes all else from the other.
    planted("forged", "../forge/worktrees/f");
    sh(
        &case.at,
        "mkdir -p forge/worktrees/f; cd forge/worktrees/f; cp ../../../r/.git/worktrees/w/HEAD .; echo ../../../r/.git > commondir
         echo ../../../forged/.git > gitdir; mkdir -p ../../../settings; echo 'gitdir: ../forged-settings' > ../../../settings/.git
         cd ../../..; mkdir forged-settings; cp r/.git/HEAD forged-settings; echo ../r/.git > forged-settings/commondir
         printf '[core]\\n\\tworktree = ../settings\\n' > forged-settings/config",
    );
    fs::create_dir(at("link")).unwrap();
    symlink("../r/.git", at("link/.git")).unwrap();
    // One that says that its working tree is another: of a folder around it.
    sh(&case.at, "git init -q q; cd q; mkdir a; echo x > a/x; git add .; git config core.worktree ../../r");
    // A home in a repository of the person's settings.
    sh(&case.at, "git init -q .; touch .profile; git add .profile; mkdir -p unrelated/project");
    for name in ["main", "worktree", "submodule", "forged", "settings", "link"] {
        assert_eq!(case.find(name, &[], &[]), Some(Err(NoGit::Foreign)), "{name}");
    }
    assert_eq!(case.find("broken", &[], &[]), Some(Err(NoGit::Closed)));
    assert_eq!(case.find("q/a", &[], &[]), None);
    assert_eq!(case.find("unrelated/project", &[], &[]), None);
    // A worktree that was moved by hand is named by nobody.
    sh(&case.at, "mv w moved");
    assert_eq!(case.find("moved", &[], &[]), Some(Err(NoGit::Foreign)));
}

#[test]
fn where_a_git_file_leads_is_told() {
    let case = Case::new();
    let at = |name: &str| case.at.join(name);
    fs::create_dir_all(at("bare/.bare")).unwrap();
    fs::create_dir(at("gone")).unwrap();
    fs::write(at("bare/.git"), "gitdir: ./.bare\n").unwrap();
    fs::write(at("gone/.git"), "gitdir: ./nowhere\n").unwrap();
    let folders = ["r", "new", "bare", "gone", "w"].map(at);
    let leads = |folders: &[PathBuf], name: &str| leads_within(&at(name).join(".git"), folders);
    let rows = [("r", None), ("new", None), ("bare", Some(true)), ("gone", Some(false)), ("w", Some(true))];
    for (name, expected) in rows {
        assert_eq!(leads(&folders, name), expected, "{name}");
    }
    assert_eq!(leads(&folders[1..], "w"), Some(false));
}

#[test]
fn another_persons_repository_is_not_shown() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let case = Case::new();
    sh(&case.at, "chown -R 54321 r/.git");
    for folder in ["w", "r/sub"] {
        assert_eq!(case.find(folder, &[], &[]), Some(Err(NoGit::Closed)), "{folder}");
    }
    assert_eq!(case.find("r/a", &[], &[]), Some(Err(NoGit::Closed)), "around the folder");
}

#[test]
fn one_that_borrows_objects_which_are_not_shown_is_told() {
    let case = Case::new();
    sh(&case.at, "git clone -q --shared r shared; git -C shared worktree add -q ../t; git clone -q r own");
    for folder in ["shared", "t", "shared/a"] {
        assert_eq!(case.find(folder, &[], &[]), Some(Err(NoGit::Borrows)), "{folder}");
    }
    assert_eq!(case.find("own", &[], &[]), None);
    assert_eq!(case.find("shared", &["r"], &[]), None, "shown with the other folder");
}

/// Lays the copy of a repository out as a sandbox shows it, beside the folder alone.
fn laid_out(case: &Case, found: &Found) -> Result<PathBuf, io::Error> {
    let home = case.at.join("data");
    // A base alone: laid out by hand, nothing in it can be deleted.
    let _ = fs::remove_dir_all(&home);
    let git = freeze::freeze_git(&home, &found.at, u64::MAX, &|_, _| {}).unwrap();
    let prefix = found.prefix.clone().unwrap();
    let layer = narrow::narrow(&home, &git, &[(found.dir.clone(), Some(prefix.clone()))])?;
    assert_eq!(narrow::narrow(&home, &git, &[(found.dir.clone(), Some(prefix.clone()))])?, layer, "once");
    let inside = case.at.join("inside");
    let _ = fs::remove_dir_all(&inside);
    let prefix = inside.join(OsStr::from_bytes(prefix.as_bytes()));
    fs::create_dir_all(&prefix).unwrap();
    let stack = crate::stack::Stack::open(&[&[layer], &git.lowers[..]].concat())?;
    let to = inside.join(".git");
    fs::create_dir(&to)?;
    let mut open = vec![stack.top()?];
    while let Some(place) = open.pop() {
        for name in stack.names(&place, stack.height())? {
            let Some(found) = stack.enter(&place, &name)? else { continue };
            let at = to.join(OsStr::from_bytes(found.path.as_bytes()));
            if found.place().layers.is_empty() {
                io::copy(&mut stack.content(&found)?, &mut fs::File::create(at)?)?;
            } else {
                fs::create_dir(at)?;
                open.push(found.place());
            }
        }
    }
    Ok(inside)
}

#[test]
fn what_is_around_a_folder_does_not_count_as_deleted() {
    let case = Case::new();
    let odd = r"we[i]r* d\ir!";
    sh(
        &case.at.join("r"),
        r"mkdir 'we[i]r* d\ir!'; echo o > 'we[i]r* d\ir!/o'; git add .; git commit -qm odd",
    );
    let ways = [
        "true",
        "git update-index --split-index",
        "git sparse-checkout set --cone --sparse-index --skip-checks a 'we[i]r* d\\ir!'",
        "git sparse-checkout disable; git config extensions.worktreeConfig true; git sparse-checkout set --no-cone /a/ /we*/",
        "git sparse-checkout disable; echo s > b/staged; git rm -q --cached b/y; git add b/staged; echo s > sub/s; mkdir c; echo c > c/c; git add c",
        "git rm -q --cached -r c; git checkout -qb one; git stash -q; echo 1 > b/y; git commit -qam 1; git checkout -qb two HEAD~1; \
         echo 2 > b/y; git commit -qam 2; ! git merge -q one >/dev/null 2>&1; git ls-files -u | grep -q b/y",
        "git merge --abort; git pack-refs --all; printf '[core]\\n\\tquotepath = false' >> .git/config",
    ];
    for way in ways {
        sh(&case.at.join("r"), way);
        for prefix in ["a", odd] {
            let Some(Ok(found)) = case.find(&format!("r/{prefix}"), &[], &[]) else { panic!("{way}") };
            let inside = laid_out(&case, &found).unwrap();
            sh(&case.at, &format!("cp -a 'r/{prefix}/.' 'inside/{prefix}/'"));
            assert_eq!(sh(&inside, "git status --porcelain"), "", "{way}, {prefix}");
            sh(
                &inside,
                &format!(
                    "echo more >> \"$(ls -d '{prefix}'/? | head -n1)\"; echo n > '{prefix}/n'; git add .; git commit -qam mine"
                ),
            );
            let changed = sh(&inside, "git show --format= --name-only -z HEAD");
            let name = if prefix == "a" { "x" } else { "o" };
            let mut changed: Vec<&str> = changed.split_terminator('\0').collect();
            changed.sort();
            assert_eq!(changed, [format!("{prefix}/n"), format!("{prefix}/{name}")], "{way}");
            sh(&inside, &format!("echo stash > '{prefix}/n'; git stash -q; git checkout -qb other HEAD~1"));
            assert_eq!(sh(&inside, "git status --porcelain; ls"), prefix, "{way}");
        }
    }
    fs::remove_file(case.at.join("r/.git/index")).unwrap();
    let found = Found { at: case.at.join("r/.git"), dir: None, prefix: RelPath::new("a") };
    laid_out(&case, &found).unwrap_err();
}

/// A commit would be one of a merge, without what the other side changed outside.
#[test]
fn what_is_under_way_in_a_working_tree_does_not_show_in_a_folder_of_it() {
    let ways = [
        ("git merge -q one", "MERGE_HEAD"),
        ("git cherry-pick one", "CHERRY_PICK_HEAD"),
        ("git rebase -q one", "rebase-merge"),
        ("git rebase -q --apply one", "rebase-apply"),
        ("git revert --no-edit HEAD~1", "REVERT_HEAD"),
    ];
    for (way, holds) in ways {
        for tree in ["r", "w"] {
            let case = Case::new();
            sh(
                &case.at.join(tree),
                &format!(
                    "git checkout -qb one; echo 1 > a/x; echo 1 > b/new; git add .; git commit -qm 1; git checkout -qb two HEAD~1; \
                     echo 2 > a/x; git commit -qam 2; echo 3 > a/x; git commit -qam 3; ! {way} >/dev/null 2>&1; \
                     test -e \"$(git rev-parse --git-path {holds})\"; test -n \"$(git ls-files -u a/x)\""
                ),
            );
            let Some(Ok(found)) = case.find(&format!("{tree}/a"), &[], &[]) else { panic!("{way}") };
            let git = freeze::freeze_git(&case.at.join("data"), &found.at, u64::MAX, &|_, _| {}).unwrap();
            let parts = [(found.dir.clone(), found.prefix.clone())];
            let layer = narrow::narrow(&case.at.join("data"), &git, &parts).unwrap();
            let narrowed = crate::stack::Stack::open(&[&[layer], &git.lowers[..]].concat()).unwrap();
            let has = |stack: &crate::stack::Stack| {
                let path = quire_core::bytes::RelPath::new(match &found.dir {
                    Some(dir) => format!("{dir}/{holds}"),
                    None => holds.to_owned(),
                });
                stack.find(&path.unwrap()).unwrap().is_some()
            };
            assert_eq!((has(&git.stack().unwrap()), has(&narrowed)), (true, false), "{way}, {tree}");
        }
    }
}

#[test]
fn before_the_first_commit_what_is_staged_elsewhere_is_not_the_agents() {
    let case = Case::new();
    sh(&case.at, "git init -qb main n; cd n; mkdir in; echo y > y; echo x > in/x; git add .");
    let found = case.find("n/in", &[], &[]).unwrap().unwrap();
    let inside = laid_out(&case, &found).unwrap();
    sh(&inside, "echo x > in/x; echo z > in/z; git add in/z; git commit -qm first");
    assert_eq!(sh(&inside, "git ls-tree -r --name-only HEAD; git status --porcelain"), "in/x\nin/z");
}

/// What cannot be read at the moment is still the folder's own, and commits stand on it.
#[test]
fn a_repository_that_was_shown_is_kept_where_another_copy_fails() {
    let troubles = [
        "cp .git/config config; echo '[' > .git/config",
        "cp .git/index index; rm .git/index",
        "mv ../w ../gone; git worktree prune",
    ];
    for (folder, trouble) in ["w", "r/a"].into_iter().flat_map(|folder| troubles.map(|one| (folder, one))) {
        let case = Case::new();
        let (data, folders) = (case.at.join("data"), [case.at.join(folder)]);
        let whose = Whose::new(&data, &folders, &[], &[]);
        let freeze = |only: Option<&[Base]>| {
            fs::create_dir_all(&folders[0]).unwrap();
            let mut frozen = vec![freeze::freeze(&data, &folders[0], &|_, _| {}).unwrap()];
            let git = whose.freeze(&mut frozen, only, u64::MAX, &|_, _| {}).unwrap().remove(0);
            let Frozen { id, delta, files, bytes, .. } = frozen[0];
            assert!(frozen[0].beside.is_some(), "{folder}, {trouble}");
            Base { id, delta, files, bytes, git }
        };
        fs::create_dir_all(&data).unwrap();
        let first = freeze(None);
        sh(&case.at.join("r"), trouble);
        let second = freeze(Some(std::slice::from_ref(&first)));
        assert!(matches!(&second.git, Some(Told::Shown(_))), "{folder}, {trouble}");
        sh(&case.at.join("r"), "[ ! -e config ] || mv config .git/config; echo more > .git/description");
        let third = freeze(Some(&[second]));
        let delta = |base: &Base| shown(base.git.as_ref()).unwrap().delta;
        assert!(
            delta(&third) > delta(&first) || trouble.contains(" .git/index") || trouble.contains("prune")
        );
    }
}

/// git shows what was committed anywhere in the working tree.
#[test]
fn secrets_in_the_rest_of_a_working_tree_are_masked_and_named() {
    let case = Case::new();
    sh(
        &case.at.join("r"),
        "echo TOKEN=hunter22secret > b/.env; echo KEY=inner33secret > a/.env; echo TOKEN=loose44secret > b/.env.local
         mkdir -p a/deep; echo PASS=outer55secret > a/.env.prod; git add b/.env a; git commit -qm secrets",
    );
    let rows = [
        ("r", &[][..], &[][..], 0),
        ("r/a", &[], &["b/.env"], 1),
        ("r/a", &["y"], &["b/.env", "b/y"], 1),
        ("r/a/deep", &[], &["a/.env", "a/.env.prod", "b/.env"], 2),
    ];
    for (folder, hide, secrets, up) in rows {
        let (data, folders) = (case.at.join("data"), [case.at.join(folder)]);
        fs::create_dir_all(&data).unwrap();
        let mut frozen = vec![freeze::freeze(&data, &folders[0], &|_, _| {}).unwrap()];
        Whose::new(&data, &folders, &[], &[]).freeze(&mut frozen, None, u64::MAX, &|_, _| {}).unwrap();
        let hide: Vec<String> = hide.iter().map(|one| (*one).to_owned()).collect();
        let found = around(&folders, &frozen, &hide);
        let named: Vec<String> =
            found.iter().flat_map(|around| &around.secrets).map(RelPath::to_string).collect();
        assert_eq!(named, secrets, "{folder}, {hide:?}");
        assert!(found.iter().all(|around| (around.folder, around.up) == (0, up)), "{folder}");
        let masks = crate::masked::masks(&[], &found, &hide, &[]);
        for (value, file) in [("hunter22secret", "b/.env"), ("outer55secret", "a/.env.prod")] {
            assert_eq!(masks.mask(value).is_some(), secrets.contains(&file), "{folder}, {value}");
        }
    }
}

/// Of other submodules neither files nor history is the agent's.
#[test]
fn only_submodules_of_the_folder_are_shown() {
    let case = Case::new();
    let add = "git -c protocol.file.allow=always submodule --quiet add";
    sh(
        &case.at.join("r"),
        &format!(
            "{add} ../s a/lib; {add} --name odd/name ../s a/odd; {add} --name in/a/lib ../s b/a/lib; git commit -qm subs; cd ../w
             git merge -q main; git -c protocol.file.allow=always submodule --quiet update --init"
        ),
    );
    let all = ["modules/a/lib", "modules/in/a/lib", "modules/odd/name", "modules/sub"];
    let rows = [
        (None, Some("a"), &["modules/a/lib", "modules/odd/name"][..]),
        (None, Some("b"), &["modules/in/a/lib"]),
        (Some("worktrees/w"), Some("a"), &["worktrees/w/modules/a/lib", "worktrees/w/modules/odd/name"]),
        (
            Some("worktrees/w"),
            None,
            &[
                "worktrees/w/modules/a/lib",
                "worktrees/w/modules/in/a/lib",
                "worktrees/w/modules/odd/name",
                "worktrees/w/modules/sub",
            ],
        ),
    ];
    let data = case.at.join("data");
    let git = freeze::freeze_git(&data, &case.at.join("r/.git"), u64::MAX, &|_, _| {}).unwrap();
    for (dir, prefix, expected) in rows {
        let path = |path: &str| RelPath::new(path).unwrap();
        let layer = narrow::narrow(&data, &git, &[(dir.map(path), prefix.map(path))]).unwrap();
        let narrowed = crate::stack::Stack::open(&[&[layer], &git.lowers[..]].concat()).unwrap();
        let has = |stack: &crate::stack::Stack, dir: &str| stack.find(&path(dir)).unwrap().is_some();
        let every: Vec<String> =
            all.iter().flat_map(|one| [one.to_string(), format!("worktrees/w/{one}")]).collect();
        assert!(every.iter().all(|one| has(&git.stack().unwrap(), one)));
        let shown: Vec<&String> = every.iter().filter(|one| has(&narrowed, one)).collect();
        assert_eq!(shown, expected, "{dir:?}, {prefix:?}");
    }
}

/// Many turns make many layers, of which one is made.
#[test]
fn what_layers_have_of_a_repository_is_kept_where_they_are_made_one() {
    let case = Case::new();
    let at = |name: &str| case.at.join(name);
    for (layer, files) in [("new", &["HEAD"][..]), ("old", &["HEAD", "index"])] {
        fs::create_dir_all(at(layer).join("git-0")).unwrap();
        files.iter().for_each(|file| fs::write(at(layer).join("git-0").join(file), layer).unwrap());
    }
    let under = |_: &Path| crate::stack::Stack::open(&[at("r/.git")]);
    quire_sandbox::squash(&[at("new"), at("old")], &at("one"), &under).unwrap();
    let held = |file: &str| fs::read_to_string(at("one/git-0").join(file)).unwrap();
    assert_eq!((held("HEAD"), held("index")), ("new".to_owned(), "old".to_owned()));
}

#[test]
fn what_a_copy_of_a_repository_lacks_is_told_once() {
    let case = Case::new();
    sh(&case.at, "mkfifo r/.git/pipe");
    let home = case.at.join("data");
    let folders = ["r/a", "r/b"].map(|name| case.at.join(name));
    let mut frozen: Vec<Frozen> =
        folders.iter().map(|folder| freeze::freeze(&home, folder, &|_, _| {}).unwrap()).collect();
    let env = [("HOME".to_owned(), case.at.to_str().unwrap().to_owned())];
    Whose::new(&home, &folders, &[], &env).freeze(&mut frozen, None, u64::MAX, &|_, _| {}).unwrap();
    let told: Vec<_> = left_out(&frozen).iter().map(|left| (left.folder, left.path.to_string())).collect();
    assert_eq!(told, [(0, ".git/pipe".to_owned())]);
}
