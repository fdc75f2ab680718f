//! The lowest rung, where there are no namespaces: what an overlay and a process tree of its own give elsewhere.

use crate::facts::fingerprint;
use crate::stage::{Live, Stage, quoted};
use quire_sandbox::layer;
use quire_sandbox::protocol::{FromHand, ToHand};
use quire_sandbox::stack::Stack;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};

/// Returns what the layers and the frozen folder show together, each file with its content.
fn shown(stage: &Stage, layers: &[&Path]) -> Vec<String> {
    let uppers: Vec<_> = layers.iter().map(|one| layer::folder(one, 0)).collect();
    let stack = Stack::open(&uppers).unwrap().upon(Stack::open(&stage.spec.folders[0].frozen).unwrap());
    let (mut shown, mut open) = (Vec::new(), vec![stack.top().unwrap()]);
    while let Some(place) = open.pop() {
        for name in stack.names(&place, stack.height()).unwrap() {
            let Some(found) = stack.enter(&place, &name).unwrap() else { continue };
            if !found.layers.is_empty() {
                open.push(found.place());
                continue;
            }
            let content = std::io::read_to_string(stack.content(&found).unwrap()).unwrap();
            shown.push(format!("{}: {}", found.path, content.trim()));
        }
    }
    shown.sort();
    shown
}

/// Returns the paths of a directory, deletions with a minus before them.
fn held(dir: &Path) -> Vec<String> {
    let mut held = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            let kind = entry.file_type().unwrap();
            held.push(if kind.is_char_device() { format!("-{name}") } else { name });
            if kind.is_dir() {
                open.push(path);
            }
        }
    }
    held.sort();
    held
}

pub fn a_copy_becomes_a_layer(stage: &Stage) {
    let frozen = &stage.spec.folders[0].frozen[0];
    fs::create_dir(frozen.join("gone")).unwrap();
    fs::write(frozen.join("gone/x"), "x").unwrap();
    fs::write(frozen.join("still"), "still").unwrap();
    let before = fingerprint(frozen);
    let upper = layer::folder(&stage.spec.layer, 0);
    let live = stage.start();
    assert_eq!(live.yes("cat a.txt deep/b.txt"), "a\nb");
    assert_eq!(held(&upper), [""; 0], "a copy is no change");
    live.yes("echo new > made && echo more >> a.txt && rm -r gone && chmod 700 still && mkdir -p x/y && touch x/y/z");
    // While it lives, when it holds still.
    live.sandbox.send(&ToHand::Freeze).unwrap();
    while !matches!(live.hear(), FromHand::Still) {}
    live.sandbox.settle().unwrap();
    let expected = ["-gone", "a.txt", "made", "still", "x", "x/y", "x/y/z"];
    assert_eq!(held(&upper), expected);
    let first = fs::metadata(upper.join("made")).unwrap().ino();
    live.sandbox.settle().unwrap();
    assert_eq!(
        fs::metadata(upper.join("made")).unwrap().ino(),
        first,
        "what is written is not written again"
    );
    live.sandbox.send(&ToHand::Thaw).unwrap();
    live.yes("rm -r x && mkdir gone && echo again > gone/c && mv made moved");
    live.sandbox.end().unwrap();
    assert_eq!(held(&upper), ["-gone/x", "a.txt", "gone", "gone/c", "moved", "still"]);
    assert_eq!(fs::metadata(upper.join("still")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!stage.spec.layer.join("copy").exists());
    let all = ["a.txt: a\nmore", "deep/b.txt: b", "gone/c: again", "moved: new", "still: still"];
    assert_eq!(shown(stage, &[&stage.spec.layer]), all);

    // The same layer again, and then another on it.
    let live = stage.start();
    assert_eq!(
        live.yes("cat gone/* moved a.txt; ls -A"),
        "again\nnew\na\nmore\na.txt\ndeep\ngone\nmoved\nstill"
    );
    live.yes("rm -r gone");
    live.sandbox.end().unwrap();
    assert_eq!(held(&upper), ["-gone", "a.txt", "moved", "still"]);
    let mut spec = stage.spec.clone();
    spec.layers = vec![std::mem::replace(&mut spec.layer, stage.base.join("data/layer-2"))];
    let live = Live::start(&spec).unwrap();
    live.yes("mkdir gone && echo back > gone/b && echo a > a.txt && rm moved");
    live.sandbox.end().unwrap();
    assert_eq!(
        shown(stage, &[&spec.layer, &spec.layers[0]]),
        ["a.txt: a", "deep/b.txt: b", "gone/b: back", "still: still"]
    );
    assert_eq!(fingerprint(frozen), before);
}

pub fn nothing_real_is_touched(stage: &Stage) {
    let mine = stage.home.join("letters");
    fs::create_dir_all(mine.join("sub")).unwrap();
    fs::write(mine.join("one"), "1\n").unwrap();
    fs::create_dir(stage.home.join(".cargo")).unwrap();
    fs::write(stage.home.join(".cargo/config.toml"), "[net]\n").unwrap();
    let trees = [mine, stage.home.join(".cargo"), stage.folder().to_path_buf(), stage.base.join("data/base")];
    let before = trees.each_ref().map(|tree| fingerprint(tree));
    let live = stage.start();
    for tree in &trees {
        let tree = quoted(tree);
        for what in [
            "echo more >> {}/x",
            "touch {}/one",
            "touch {}",
            "touch -d 2001-01-01 {}",
            "chmod 777 {}",
            "chmod 700 {}/*",
            "mkdir {}/new",
            "ln -s x {}/l",
            "mv {} /var/tmp/moved",
            "ln {}/* .",
            "rm -r {}/*",
            "truncate -s 0 {}/*",
            "rmdir {}",
        ] {
            live.no(&what.replace("{}", &tree));
        }
        // The ways of a program, past every tool.
        live.yes(&format!(
            "python3 - {tree} <<'E'\nimport os, sys\ntop = sys.argv[1]\n\
             def no(f, *a, **k):\n try: f(*a, **k)\n except OSError: return\n raise SystemExit(f'{{f}} {{a}}')\n\
             here = os.open(top, os.O_PATH)\n\
             no(os.chmod, top, 0o777)\nno(os.chmod, '.', 0o777, dir_fd=here)\nno(os.utime, top)\nno(os.utime, top, (1, 1))\n\
             no(os.chmod, f'/proc/self/fd/{{here}}', 0o777)\nno(os.setxattr, top, 'user.x', b'1')\nno(os.mkfifo, top + '/f')\n\
             no(os.utime, '.', (1, 1), dir_fd=here)\nno(os.rename, 'a.txt', top + '/z')\nE"
        ));
    }
    live.yes(
        "chmod 755 a.txt && touch -d 2001-01-01 a.txt && test \"$(stat -c %a:%Y a.txt)\" = 755:978307200",
    );
    live.yes("mkdir d && cd d && touch e && chmod 600 e && chmod -R u+w . && cp -a ../a.txt . && ln -s a.txt l && touch -h l");
    live.yes("python3 -c 'import os; f = open(\"d/e\", \"w\"); os.fchmod(f.fileno(), 0o640); os.utime(f.fileno(), (5, 5))' && test \"$(stat -c %a:%Y d/e)\" = 640:5");
    live.yes("tar cf t.tar d && mkdir u && tar xpf t.tar -C u && test \"$(stat -c %a u/d/e)\" = 640");
    live.sandbox.end().unwrap();
    assert_eq!(before, trees.each_ref().map(|tree| fingerprint(tree)));
}

pub fn only_what_is_listed_can_be_read(stage: &Stage) {
    let frozen = stage.base.join("data/base");
    for file in [".ssh/id", ".cargo/credentials.toml", "letter", "project/.env"] {
        let path = stage.home.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "SECRET").unwrap();
    }
    fs::write(stage.home.join(".cargo/config.toml"), "[net]").unwrap();
    fs::write(stage.home.join(".gitconfig"), "[user]").unwrap();
    for file in [".env", "deep/.env.local", "tls.pem", "notes.private"] {
        fs::write(frozen.join(file), "SECRET PRIVATE KEY").unwrap();
    }
    symlink(stage.home.join("letter"), frozen.join("link")).unwrap();
    let mut spec = stage.spec.clone();
    spec.hide = vec!["*.private".into()];
    let live = Live::start(&spec).unwrap();
    let home = quoted(&stage.home);
    for name in [
        &format!("{home}/.ssh/id"),
        &format!("{home}/.cargo/credentials.toml"),
        &format!("{home}/letter"),
        &format!("{home}/project/.env"),
        ".env",
        "deep/.env.local",
        "tls.pem",
        "notes.private",
        "link",
        "/etc/shadow",
        "/var/log/dpkg.log",
        &format!("/proc/{}/environ", std::process::id()),
        "/proc/1/environ",
    ] {
        live.no(&format!("cat {name}"));
    }
    live.no(&format!("ls {home}"));
    live.no("ls /tmp");
    // What tools need of the home is there.
    assert_eq!(
        live.yes(&format!("cat {home}/.cargo/config.toml ~/.cargo/config.toml ~/.gitconfig")),
        "[net][net][user]"
    );
    live.yes("cat /etc/passwd /etc/hosts > /dev/null && ls /usr/bin > /dev/null && python3 -c 'import ssl'");
    // What becomes of a secret's place is nobody's change.
    live.yes("rm -f .env && echo mine > .env && rm -rf deep");
    live.sandbox.end().unwrap();
    assert_eq!(held(&layer::folder(&spec.layer, 0)), ["-deep/b.txt", "deep"]);
}

pub fn other_processes_are_out_of_reach(stage: &Stage) {
    let mut other = Command::new("sleep").arg("1000").env("SECRET", "x").spawn().map(Other).unwrap();
    let live = stage.start();
    let (pid, me) = (other.0.id(), std::process::id());
    let look = [
        "kill -0 {}",
        "cat /proc/{}/environ | grep .",
        "cat /proc/{}/maps | grep .",
        "readlink /proc/{}/fd/0",
        "readlink /proc/{}/cwd",
    ];
    // Only the one that the test started is done anything to, in case that it can be.
    let act = [
        "kill -STOP {}",
        "python3 -c 'import os, signal; signal.pidfd_send_signal(os.pidfd_open({}), 0)'",
        "prlimit --pid {} --nofile=5:5",
        "renice -n 5 -p {}",
        "python3 -c 'import ctypes; c = ctypes.CDLL(None); exit(c.ptrace(0x4206, {}, 0, 0) == -1)'",
    ];
    let all = [pid, me, 1].into_iter().flat_map(|pid| look.map(|what| (pid, what)));
    for (pid, what) in all.chain(act.map(|what| (pid, what))) {
        live.no(&what.replace("{}", &pid.to_string()));
    }
    drop(live);
    assert!(other.0.try_wait().unwrap().is_none(), "it was killed with the sandbox");
}

/// A process of the test's own.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().expect("a signal");
        self.0.wait().expect("an end");
    }
}

pub fn there_are_no_sockets(stage: &Stage) {
    let path = stage.base.join("service");
    let _service = UnixListener::bind(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let live = stage.start();
    for family in ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"] {
        live.no(&format!("python3 -c 'import socket; socket.socket(socket.{family})'"));
    }
    live.yes(
        "python3 -c 'import socket; a, b = socket.socketpair(); a.send(b\"x\"); assert b.recv(1) == b\"x\"'",
    );
    live.no("python3 -c 'import ctypes; exit(ctypes.CDLL(None).shmget(1, 4096, 0o1600) == -1)'");
}

pub fn work_goes_on(stage: &Stage) {
    let live = stage.start();
    live.yes("git init -q . && git config user.email a@b && git config user.name n && git add -A && git commit -qm one && test -z \"$(git status --short)\"");
    live.yes("printf 'int main(void){return 0;}' > m.c && gcc m.c -o m && ./m");
    live.yes("mkdir -p d/e && mv d f && cp -a f g && tar cf t.tar g && tar xf t.tar && echo x > $TMPDIR/x && echo x > ~/x");
    live.yes("python3 -m venv --without-pip v && v/bin/python -c 'import subprocess; subprocess.run([\"true\"], check=True)'");
    live.yes("diff <(echo a) <(echo a) && apply_patch --help > /dev/null 2>&1 || command -v apply_patch");
    live.yes("ps -o pid= -p $$ && test \"$(cat /proc/self/comm)\" = cat");
    live.sandbox.end().unwrap();
}
