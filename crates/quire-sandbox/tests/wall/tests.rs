//! The tests, by name.

use crate::stage::{Live, Stage, fingerprint, quoted, runs, runs_line, until};
use quire_sandbox::protocol::{FromHand, ToHand};
use quire_sandbox::{FolderView, Rung, StartError, landlock_version, layer, prove};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub type Test = fn(&Stage);

/// The rungs that promise what a test asks for.
#[derive(Clone, Copy)]
pub enum On {
    Every,
    /// Those with a file tree of their own.
    Tree,
    /// Those with processes of their own as well.
    Full,
    /// Those whose processes are the machine's.
    Shared,
    /// The lowest alone.
    Copy,
}

impl On {
    pub fn holds(self, rung: Rung) -> bool {
        match self {
            On::Every => true,
            On::Tree => rung != Rung::Copy,
            On::Full => rung.has_processes(),
            On::Shared => !rung.has_processes(),
            On::Copy => rung == Rung::Copy,
        }
    }
}

pub const ALL: &[(&str, On, Test)] = &[
    ("nothing_real_changes", On::Tree, nothing_real_changes),
    ("homes_are_empty_but_for_tools", On::Tree, homes_are_empty_but_for_tools),
    ("secrets_are_hidden", On::Tree, secrets_are_hidden),
    ("quires_own_directories_are_hidden", On::Tree, quires_own_directories_are_hidden),
    ("a_folder_in_a_hidden_place_is_refused", On::Tree, a_folder_in_a_hidden_place_is_refused),
    ("there_is_no_network", On::Tree, there_is_no_network),
    ("nothing_is_reached_directly", On::Tree, crate::door::nothing_is_reached_directly),
    ("the_way_out_is_accepted_outside", On::Tree, crate::door::the_way_out_is_accepted_outside),
    ("names_are_resolved_by_the_way_out", On::Tree, crate::door::names_are_resolved_by_the_way_out),
    ("programs_are_told_of_the_way_out", On::Tree, crate::door::programs_are_told_of_the_way_out),
    (
        "ports_are_reached_through_the_hand_only",
        On::Tree,
        crate::door::ports_are_reached_through_the_hand_only,
    ),
    (
        "package_managers_work_through_the_way_out",
        On::Full,
        crate::door::package_managers_work_through_the_way_out,
    ),
    ("the_authority_is_trusted_inside_only", On::Tree, crate::door::the_authority_is_trusted_inside_only),
    ("what_leaves_is_judged_outside", On::Tree, crate::egress::what_leaves_is_judged_outside),
    ("the_kernel_is_closed", On::Tree, the_kernel_is_closed),
    ("the_hand_is_closed", On::Full, the_hand_is_closed),
    ("devices_are_few", On::Tree, devices_are_few),
    ("everything_ends", On::Every, everything_ends),
    ("orphans_are_buried", On::Every, orphans_are_buried),
    ("a_killed_host_leaves_nothing", On::Every, a_killed_host_leaves_nothing),
    ("a_layer_is_mounted_again", On::Tree, a_layer_is_mounted_again),
    ("ignored_directories_are_live", On::Tree, ignored_directories_are_live),
    ("a_folder_can_be_anywhere", On::Tree, a_folder_can_be_anywhere),
    ("folders_can_lie_in_folders", On::Tree, folders_can_lie_in_folders),
    ("a_hostile_layer_cannot_move_a_mount", On::Tree, a_hostile_layer_cannot_move_a_mount),
    ("freeze_holds_files_still", On::Tree, freeze_holds_files_still),
    ("memory_is_bounded", On::Every, memory_is_bounded),
    ("builds_work", On::Tree, builds_work),
    ("packages_replace_and_have_users", On::Full, crate::install::packages_replace_and_have_users),
    ("other_users_are_had", On::Full, crate::install::other_users_are_had),
    ("the_system_is_writable", On::Tree, crate::install::the_system_is_writable),
    ("outputs_come_out", On::Tree, outputs_come_out),
    ("tools_work_inside", On::Tree, crate::tools::tools_work_inside),
    ("the_rung_is_proved", On::Every, the_rung_is_proved),
    (
        "sockets_without_a_file_are_in_reach_of_ones_own",
        On::Full,
        sockets_without_a_file_are_in_reach_of_ones_own,
    ),
    ("many_sandboxes_leave_nothing", On::Full, crate::life::many_sandboxes_leave_nothing),
    ("a_copy_becomes_a_layer", On::Copy, crate::copy::a_copy_becomes_a_layer),
    ("nothing_real_is_touched", On::Copy, crate::copy::nothing_real_is_touched),
    ("only_what_is_listed_can_be_read", On::Copy, crate::copy::only_what_is_listed_can_be_read),
    ("other_processes_are_out_of_reach", On::Shared, crate::copy::other_processes_are_out_of_reach),
    ("there_are_no_sockets", On::Copy, crate::copy::there_are_no_sockets),
    ("work_goes_on", On::Copy, crate::copy::work_goes_on),
];

/// Not tests, but what a test starts as a process of its own.
pub const HELPERS: &[(&str, Test)] = &[("hold", hold)];

fn nothing_real_changes(stage: &Stage) {
    let elsewhere = stage.base.join("elsewhere");
    for made in [&elsewhere, &stage.home.join(".cargo")] {
        fs::create_dir_all(made.join("sub")).unwrap();
        fs::write(made.join("one"), "1\n").unwrap();
        fs::write(made.join("sub/two"), "2\n").unwrap();
        symlink("one", made.join("link")).unwrap();
    }
    let trees = [elsewhere, stage.home.clone(), stage.base.join("data/base")];
    let before = trees.each_ref().map(|tree| fingerprint(tree));
    let live = stage.start();
    for tree in [&trees[0], &stage.home.join(".cargo"), &stage.folder().to_path_buf()] {
        let file = if tree == stage.folder() { "a.txt" } else { "one" };
        // What belongs to others an ordinary user cannot change, not even in the copy.
        let try_it = format!(
            "cd {} && echo more >> {file} && chmod 777 {file} && touch -d 2001-01-01 {file} && ln {file} hard \
             && mv {file} moved && : > moved && chmod 700 . && mkdir new && rm -rf deep sub link new && echo x > fresh",
            quoted(tree)
        );
        if tree == &trees[0] && !rustix::process::geteuid().is_root() {
            live.run(&try_it);
        } else {
            live.yes(&try_it);
        }
    }
    live.yes(&format!("rm -rf {0}/* {0}/.[a-z]* && test -z \"$(ls -A {0})\"", quoted(stage.folder())));
    live.run("echo x >> /etc/passwd; rm -f /etc/hostname; rm -rf /usr/share/doc");
    live.sandbox.end().unwrap();
    assert_eq!(before, trees.each_ref().map(|tree| fingerprint(tree)));
    assert!(Path::new("/usr/share/doc").exists());
}

fn homes_are_empty_but_for_tools(stage: &Stage) {
    for (file, content) in [
        ("letter", "dear"),
        (".cargo/config.toml", "[net]"),
        (".gitconfig", "[user]"),
        (".local/bin/tool", "x"),
    ] {
        let path = stage.home.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir_all(stage.home.join("notes")).unwrap();
    fs::write(stage.home.join("notes/n"), "note").unwrap();
    fs::create_dir_all(stage.home.join("dots/go/bin")).unwrap();
    fs::write(stage.home.join("dots/ignore"), "*.o").unwrap();
    symlink("dots/ignore", stage.home.join(".gitignore")).unwrap();
    symlink(stage.home.join("dots/go"), stage.home.join("go")).unwrap();
    symlink("/usr", stage.home.join(".yarn")).unwrap();
    let mut spec = stage.spec.clone();
    spec.show = ["~/notes", "~/.local/bin", "~/.gitconfig", "~/not-there"].map(PathBuf::from).to_vec();
    let live = Live::start(&spec).unwrap();
    assert_eq!(live.yes("ls -A ~"), ".cargo\n.gitconfig\n.gitignore\n.local\n.yarn\ngo\nnotes\nproject");
    live.yes(
        "test -d ~/go/bin && test -d ~/.yarn/bin && test ! -e ~/dots && test \"$(cat ~/.gitignore)\" = '*.o'",
    );
    assert_eq!(
        live.yes("cat ~/.cargo/config.toml ~/.gitconfig ~/.local/bin/tool ~/notes/n"),
        "[net][user]xnote"
    );
    assert_eq!(
        live.yes("echo mine > ~/.profile && cat ~/.profile && stat -c %u:%g ~ ~/.cargo ~/.gitconfig"),
        "mine\n0:0\n0:0\n0:0"
    );
    assert_eq!(live.yes("ls -A /home; ls -A /root"), "");
    assert!(!stage.home.join(".profile").exists());
}

fn secrets_are_hidden(stage: &Stage) {
    let keys = stage.base.join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("id"), "SECRET").unwrap();
    symlink(&keys, stage.home.join(".ssh")).unwrap();
    let frozen = stage.base.join("data/base");
    for file in
        [".cargo/credentials.toml", ".config/git/credentials", ".local/share/keyrings/login", "shown/.token"]
    {
        let path = stage.home.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SECRET").unwrap();
    }
    for file in [".env", "deep/.env.local", "tls.pem", "notes.private", "only/here.txt"] {
        let path = frozen.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SECRET PRIVATE KEY").unwrap();
    }
    fs::write(stage.base.join("outside.txt"), "SECRET").unwrap();
    symlink(".env", frozen.join("link")).unwrap();
    // A secret by its name, wherever it really lies.
    fs::write(stage.base.join("production"), "SECRET").unwrap();
    for copy in [&frozen, &stage.folder().to_path_buf()] {
        symlink(stage.base.join("production"), copy.join(".env.production")).unwrap();
    }
    let mut spec = stage.spec.clone();
    spec.show = vec!["~/shown".into(), "~/.ssh".into()];
    spec.hide = vec!["*.private".into(), "only/here.txt".into(), "~/shown/.token".into()];
    spec.hide.push(stage.base.join("outside.txt").to_str().unwrap().into());
    // An ignored directory is not in the frozen copy.
    let ignored = stage.folder().join("deploy/prod");
    fs::create_dir_all(&ignored).unwrap();
    fs::write(ignored.join(".env"), "SECRET").unwrap();
    spec.folders[0].ignored = vec!["deploy".into()];
    let live = Live::start(&spec).unwrap();
    let names = [
        "deploy/prod/.env",
        "~/.cargo/credentials.toml",
        "~/.config/git/credentials",
        "~/.local/share/keyrings/login",
        "~/shown/.token",
        ".env",
        "link",
        "deep/.env.local",
        "tls.pem",
        "notes.private",
        "only/here.txt",
        "../../outside.txt",
        "../../production",
        ".env.production",
    ];
    for name in names {
        assert!(!live.run(&format!("cat {name}; grep -s '' {name} ./{name}")).1.contains("SECRET"), "{name}");
        live.no(&format!("echo x >> {name}"));
    }
    live.no("rm .env");
    live.no("mv deep shallow && cat shallow/.env.local | grep SECRET");
    assert!(!live.run("cat /etc/shadow").1.contains('$'));
    // Asked for by name, and so shown.
    assert_eq!(live.yes("cat ~/.ssh/id"), "SECRET");
    drop(live);

    spec.show = Vec::new();
    let live = Live::start(&spec).unwrap();
    for name in ["~/.ssh/id".to_owned(), keys.join("id").to_str().unwrap().to_owned()] {
        live.no(&format!("cat {name}"));
    }
}

fn quires_own_directories_are_hidden(stage: &Stage) {
    let live = stage.start();
    for own in [&stage.spec.state, &stage.spec.layer, &stage.spec.out, &stage.spec.folders[0].frozen[0]] {
        let own = quoted(own);
        live.yes(&format!("test -z \"$(ls -A {own} 2>/dev/null)\""));
        live.no(&format!("touch {own}/x"));
        live.no(&format!("rmdir {own}"));
        live.no(&format!("mv {own} /moved"));
    }
}

fn a_folder_in_a_hidden_place_is_refused(stage: &Stage) {
    let mut spec = stage.spec.clone();
    spec.hide = vec!["~/".into()];
    let error = Live::start(&spec).map(drop).unwrap_err();
    assert!(matches!(error, StartError::Refused(_)), "{error}");
    assert!(error.to_string().contains("a folder of the task lies in it"), "{error}");
}

fn there_is_no_network(stage: &Stage) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let python = |program: &str, name: &str| live.yes(&format!("python3 -c {} {name}", quoted(program)));
    let first = fs::read_to_string(stage.spec.state.join("pid")).unwrap();
    let first = first.split(' ').next().unwrap();
    let mut stranger = Command::new("nsenter")
        .args(["--preserve-credentials", "-U", "-n", "-t", first, "python3", "-c"])
        .args([&format!("{LISTEN} sys.stdin.read()"), "strangers"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    BufReader::new(stranger.stdout.take().unwrap()).read_line(&mut up).unwrap();
    assert_eq!(up, "up\n");
    assert_eq!(python(CONNECT, "strangers"), "EPERM");
    drop(stranger.stdin.take());
    assert!(stranger.wait().unwrap().success());
    assert_eq!(python(CONNECT, "strangers"), "ECONNREFUSED", "nobody is there now");
    assert_eq!(python(&format!("{LISTEN}{CONNECT}"), "own"), "up\nconnected");
}

fn outputs_come_out(stage: &Stage) {
    let live = stage.start();
    live.yes("echo hi > /run/quire/out/said");
    live.no("touch /run/quire/bin/x");
    live.no("rm /run/quire/bin/apply_patch");
    assert_eq!(fs::read(stage.spec.out.join("said")).unwrap(), b"hi\n");
}

fn the_rung_is_proved(stage: &Stage) {
    let (scratch, folder) = (stage.base.join("scratch"), stage.base.join("proof-folder"));
    let proof = prove(&scratch, &folder, &stage.spec.binary).unwrap();
    assert_eq!(proof.rung, stage.rung, "{proof:?}");
    assert!(
        proof.refused.iter().all(|better| better.rung < proof.rung && !better.why.is_empty()),
        "{proof:?}"
    );
    assert!(!scratch.exists() && !folder.exists());
    let error = prove(&scratch, &folder, &stage.base.join("no-such-binary")).unwrap_err();
    assert!(matches!(error, StartError::Spawner(_)), "{error}");
}
