//! A: files.

use crate::catalogue::{Case, Where, case};
use crate::facts::fingerprint;
use crate::ground::Ground;
use crate::stage::{Live, quoted, until};
use quire_sandbox::layer;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    case(
        "A01",
        "canary_write",
        "changes are made inside; bytes, inodes and times outside stay",
        canary_write,
    ),
    case("A02", "state_store", "layers of this and of other tasks are not there, by any name", state_store),
    case("A03", "file_handles", "EPERM: no file is opened but by its name", file_handles),
    case(
        "A04",
        "hidden_directory",
        "stays hidden from listing, moving, linking, mounting and /proc",
        hidden_directory,
    ),
    case("A05", "hidden_file", "stays hidden through links to it and by its other names", hidden_file),
    case("A07", "hidden_through_a_link", "both names are hidden", hidden_through_a_link),
    case("A08", "link_where_a_mount_goes", "the mount does not follow it", link_where_a_mount_goes),
    case("A09", "null_swapped", "the next sandbox has the real one, and masks stay masks", null_swapped),
    case(
        "A10",
        "directory_and_descriptors",
        "nothing is inherited: no directory and no descriptor of the host",
        nothing_inherited,
    ),
    case("A11", "chroot_and_up", "ends at the sandbox's own root", chroot_and_up),
    case("A12", "the_old_root", "is in no mount of the sandbox", the_old_root).nothing_on(
        Where::Copy,
        "the machine's root is the root there, and what may be opened is a list (A01)",
    ),
    case(
        "A13",
        "setuid_in_the_layer",
        "belongs to nobody's root, and others cannot reach it",
        setuid_in_the_layer,
    ),
    case(
        "A14",
        "capabilities_of_files",
        "hold in the sandbox's own user namespace alone",
        capabilities_of_files,
    ),
    case("A16", "forged_whiteout", "is at most a deletion", forged_whiteout),
    case("A17", "endless_file", "EFBIG", endless_file),
    case("A18", "append_to_a_large_file", "EFBIG, and the file outside stays", append_to_a_large_file),
    case(
        "A19",
        "hard_links_and_holes",
        "one copy, whatever the number of names; a hole takes no room",
        hard_links_and_holes,
    ),
    case("A20", "shared_mapping", "is of the copy", shared_mapping),
    case("A21", "opened_before_the_copy", "writes nothing outside", opened_before_the_copy),
    case("A22", "nameless_file_linked", "is in the layer", nameless_file_linked),
    case("A23", "renamed_directory", "works, and is a copy", renamed_directory),
    case(
        "A25",
        "devices_and_setuid_on_mounts",
        "no mount but those of the six devices allows either",
        every_mount_is_quiet,
    )
    .nothing_on(Where::Copy, "its mounts are the machine's; no program gets more rights from its file (G21)"),
    case("A26", "fuse", "no device, no mount", |ground| {
        let inside = ground.inside();
        inside.probe(&["open", "rw", "/dev/fuse", "/dev/cuse"]).all(ground.no_device());
        inside.no("mount -t fuse -o fd=0,rootmode=040000,user_id=0,group_id=0 x /mnt");
    }),
    case("A27", "watching_files", "shows the sandbox's own changes alone", watching_files),
    case("A30", "sockets_of_services", "are not there, and those among files refuse", sockets_of_services),
    case("A31", "folder_changed_outside", "the view stays as it was copied", folder_changed_outside),
    case(
        "A33",
        "forged_overlay_marks",
        "are not the layer's marks, and show nothing hidden",
        forged_overlay_marks,
    ),
    case("A34", "another_sandbox", "shares no /tmp, no memory and no names with it", another_sandbox),
    case("A35", "mounted_twice", "what is hidden is hidden by each of its names", mounted_twice),
    case("A36", "swapped_out_memory", "swap files are hidden", swapped_out_memory),
    case("A37", "quires_own_binary", "cannot be written, by any name", quires_own_binary),
    case("A38", "pipes_among_files", "are the sandbox's own", pipes_among_files),
    case("A39", "flags_of_files", "no immutable file, quota project or swapped boot loader", flags_of_files),
    case(
        "A40",
        "pages_through_pipes",
        "a page that lies in a pipe is not written through it",
        pages_through_pipes,
    ),
];

fn canary_write(ground: &Ground) {
    let stage = &ground.stage;
    let elsewhere = elsewhere(ground);
    fs::write(stage.home.join(".bashrc"), "alias ls=ls\n").unwrap();
    let trees = [elsewhere, stage.home.clone(), stage.base.join("data/base")];
    let before = trees.each_ref().map(|tree| fingerprint(tree));
    let inside = ground.inside();
    let change = "echo x >> one; chmod 4777 one; touch -d 2001-01-01 one; ln one hard; mv two moved; rm three; : > link; \
                  setfattr -n user.quire -v 1 one 2> /dev/null; chmod 700 .; ls | tr '\\n' ' '";
    let (_, changed) = inside.sh(&format!("cd {} && {change}", quoted(&trees[0])));
    assert_eq!(changed == "hard link moved one ", !ground.is_copy(), "{changed}");
    if ground.is_copy() {
        let at = quoted(&trees[0]);
        inside.no(&format!(
            "echo x >> {at}/one || chmod 4777 {at}/one || touch -d 2001-01-01 {at}/one || ln {at}/one hard || \
             mv {at}/two {at}/moved || rm -f {at}/three || : > {at}/link || chmod 700 {at} || mkdir {at}/new"
        ));
    }
    inside.yes("echo x >> a.txt; rm -r deep; echo evil >> ~/.bashrc; echo x > ~/.profile; cat ~/.bashrc");
    if ground.is_copy() {
        // There the rest of the machine is not changed, but closed.
        inside.probe(&["open", "w", "/etc/passwd", "/etc/hosts", "/usr/bin/env"]).all(&["EACCES"]);
        inside.end();
        assert_eq!(before, trees.each_ref().map(|tree| fingerprint(tree)));
        return;
    }
    // Of what the machine needs only what changes nothing is tried.
    inside.probe(&["open", "rw", "/etc/passwd", "/etc/hosts"]).all(&["ok"]);
    drop(inside);
    assert_eq!(before, trees.each_ref().map(|tree| fingerprint(tree)));
}

/// Makes a directory outside of the folder, with files of whoever starts the sandbox.
fn elsewhere(ground: &Ground) -> PathBuf {
    let elsewhere = ground.stage.base.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for file in ["one", "two", "three"] {
        fs::write(elsewhere.join(file), file).unwrap();
    }
    symlink("one", elsewhere.join("link")).unwrap();
    elsewhere
}

fn state_store(ground: &Ground) {
    let stage = &ground.stage;
    // Another task's, in quire's data directory, which the engine hides whole.
    let store = stage.base.join("store");
    fs::create_dir_all(store.join("tasks/9/layers/0/folder-0")).unwrap();
    fs::write(store.join("tasks/9/layers/0/folder-0/theirs"), &ground.word).unwrap();
    fs::create_dir_all(stage.spec.layer.join("folder-0")).unwrap();
    let mut spec = stage.spec.clone();
    spec.hide.push(store.to_str().unwrap().into());
    let inside = ground.inside_of(&spec);
    for own in [&store, &spec.state, &spec.layer, &spec.out, &spec.folders[0].frozen[0]] {
        // A copy's files lie there themselves, and the shared directory is open by its own name.
        if ground.is_copy() && *own == spec.out {
            continue;
        }
        let own = quoted(own);
        assert_eq!(
            inside
                .yes(&format!("ls -A {own} /proc/self/root{own} 2>/dev/null; true"))
                .lines()
                .filter(|l| !l.is_empty() && !l.ends_with(':'))
                .count(),
            0
        );
        inside.no(&format!("touch {own}/x || rmdir {own} || mv {own} /moved || umount {own}"));
    }
    // What the mounts say about where they lie leads nowhere.
    inside.no(
        "sed -E 's/.*(upperdir|workdir|lowerdir\\+?)=/\\1=/' /proc/self/mountinfo | tr ',:' '\\n\\n' | \
         grep -oE '/[^ ]*' | grep -E '^/proc/self/fd|/layer|/work' | while read -r p; do ls -d \"$p\"/* 2>/dev/null; done | grep .",
    );
    let found = inside.yes(&format!(
        "grep -rlsF {} {} /proc/self/cwd /tmp /run 2>/dev/null; true",
        ground.word,
        quoted(&stage.base)
    ));
    assert_eq!(found, "");
}

fn file_handles(ground: &Ground) {
    ground.inside().probe(&["handles"]).are(&[("made", "ok"), ("opened", "EPERM")]);
    if ground.whole {
        ground.outside(&["handles"]).are(&[("opened", "ok")]);
    }
}

fn hidden_directory(ground: &Ground) {
    let keys = ground.stage.base.join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("id"), &ground.word).unwrap();
    let mut spec = ground.stage.spec.clone();
    spec.hide.push(keys.to_str().unwrap().into());
    let inside = ground.inside_of(&spec);
    let keys = quoted(&keys);
    for way in
        ["", "/proc/self/root", "/proc/thread-self/root", "/proc/self/cwd/../../../../..", "/dev/fd/../root"]
    {
        let said = inside.sh(&format!("ls -a {way}{keys}; cat {way}{keys}/id; grep -r . {way}{keys}")).1;
        assert!(!said.contains(&ground.word), "{way}: {said}");
    }
    inside.yes(&format!("test -d {keys}"));
    inside.no(&format!("umount {keys} || umount -l {keys}"));
    inside.no(&format!("mv {keys} ~/moved || rmdir {keys} || rm -rf {keys}"));
    inside.no(&format!("mkdir ~/new && mount --bind ~/new {keys}"));
    inside.no(&format!("ln {keys}/id ~/hard || cp -r {keys}/id ~/copy || touch {keys}/x"));
    // Nor does it come to light with what it lies in.
    let above = format!("$(dirname {keys})");
    inside.no(&format!("mv {above} /moved && grep -rqF {} /moved", ground.word));
    inside.no(&format!("cp -r {above} /tmp/copied; grep -rqF {} /tmp/copied/keys", ground.word));
}

fn hidden_file(ground: &Ground) {
    let frozen = &ground.stage.spec.folders[0].frozen[0];
    fs::write(frozen.join(".env"), &ground.word).unwrap();
    fs::write(frozen.join("deep/.npmrc"), format!("//r/:_authToken={}", ground.word)).unwrap();
    symlink("../.env", frozen.join("deep/way")).unwrap();
    let inside = ground.inside();
    for way in [".env", "deep/way", "deep/.npmrc", "/proc/self/cwd/.env", "$PWD/deep/../.env"] {
        let said = inside.sh(&format!("cat {way}; head -c 9 {way}; tail -n1 < {way}")).1;
        assert!(!said.contains(&ground.word), "{way}: {said}");
    }
    // What stands for it in a copy is an empty file, which may be removed and is nobody's change.
    let change = if ground.is_copy() {
        "ln .env hard && cat hard | grep ."
    } else {
        "ln .env hard || mv .env shown || rm -f .env"
    };
    inside.no(change);
    inside.no(&format!("cp .env copy; cp -r deep copied; mv deep shallow; grep -rF {} .", ground.word));
}

fn hidden_through_a_link(ground: &Ground) {
    let real = ground.stage.base.join("data-keys");
    fs::create_dir_all(real.join("deep")).unwrap();
    fs::write(real.join("deep/id"), &ground.word).unwrap();
    symlink(&real, ground.stage.home.join(".gnupg")).unwrap();
    symlink(ground.stage.home.join(".gnupg/deep"), ground.stage.base.join("again")).unwrap();
    let inside = ground.inside();
    for way in [ground.stage.home.join(".gnupg/deep"), real.join("deep"), ground.stage.base.join("again")] {
        let said = inside.sh(&format!("ls {0}; cat {0}/id", quoted(&way))).1;
        assert!(!said.contains(&ground.word), "{}: {said}", way.display());
    }
}

fn link_where_a_mount_goes(ground: &Ground) {
    let stage = &ground.stage;
    let target = stage.base.join("target");
    fs::create_dir_all(target.join("modules")).unwrap();
    let ignored = stage.folder().join("web/modules");
    fs::create_dir_all(&ignored).unwrap();
    let mut spec = stage.spec.clone();
    // In one turn the agent leads a way elsewhere; in the next something is to be mounted there.
    let inside = ground.inside();
    inside.yes(&format!("rm -rf web && ln -s {} web", quoted(&target)));
    drop(inside);
    spec.folders[0].ignored = vec!["web/modules".into()];
    let inside = ground.inside_of(&spec);
    inside.no(&format!("grep -F ' {}/modules ' /proc/self/mountinfo", target.display()));
    drop(inside);
    // Worse than an agent can: the layer of the root itself has links where the kernel's file systems go.
    for name in ["dev", "tmp", "run", "proc", "sys", "home"] {
        let mut spec = stage.spec.clone();
        spec.layer = stage.base.join(format!("data/layer-{name}"));
        let top = layer::machine(&spec.layer, Path::new("/"));
        fs::create_dir_all(&top).unwrap();
        symlink(&target, top.join(name)).unwrap();
        if let Ok(live) = Live::start(&spec) {
            live.no(&format!("grep -F ' {}' /proc/self/mountinfo", target.display()));
        }
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
}

fn null_swapped(ground: &Ground) {
    fs::write(ground.stage.spec.folders[0].frozen[0].join(".env"), &ground.word).unwrap();
    let inside = ground.inside();
    inside.sh("rm -f /dev/null; ln -s /etc/passwd /dev/null; rm -rf /run/quire/empty; mv /dev /dev2");
    drop(inside);
    let inside = ground.inside();
    assert_eq!(inside.yes("stat -c %t:%T /dev/null"), "1:3");
    assert!(!inside.sh("cat .env").1.contains(&ground.word));
}

fn nothing_inherited(ground: &Ground) {
    // As a careless host would: open for whoever it starts.
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
    let careless = rustix::fs::open("/etc", flags, rustix::fs::Mode::empty()).unwrap();
    let inside = ground.inside();
    assert_eq!(inside.yes("ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/[0-2] | grep -v -e ^pipe: -e ^/dev/null -e ^socket:; true"), "0 1 2 3 ");
    let at = match ground.is_copy() {
        true => ground.stage.spec.layer.join("copy/0/project"),
        false => ground.stage.folder().to_owned(),
    };
    assert_eq!(inside.yes("pwd -P; readlink /proc/self/cwd"), format!("{0}\n{0}", at.display()));
    // The hand has its socket and what it makes for calls; the host's directory would be one more.
    let [_, hand] = crate::c_namespaces::spawner_and_hand();
    if ground.is_shared() {
        let theirs = fs::read_dir(format!("/proc/{hand}/fd")).map(|all| all.count());
        assert!(theirs.is_err() || theirs.is_ok_and(|open| open <= 10));
        inside.no(&format!(
            "cd /proc/self/fd/5 || cd /proc/{hand}/cwd || cd /proc/{hand}/fd/5 || cd /proc/1/cwd"
        ));
    } else {
        let open: u32 = inside.yes("ls /proc/1/fd | wc -l").trim().parse().unwrap();
        assert!(open <= 10, "{open}");
        inside.no("cd /proc/self/fd/5 || cd /proc/1/cwd || cd /proc/1/fd/5");
    }
    drop(careless);
}

fn chroot_and_up(ground: &Ground) {
    let said = ground.inside().probe(&["chroot"]);
    if ground.is_copy() {
        // Who is not root of a tree of his own has no privilege for it.
        said.are(&[("chroot", "EPERM")]);
        return;
    }
    assert_eq!(said.get("chroot"), "ok");
    assert_eq!(said.get("reached"), said.get("root"));
}

fn the_old_root(ground: &Ground) {
    let canary = elsewhere(ground);
    let inside = ground.inside();
    // The machine's own proc would show the processes of all, its own tmp what is in it.
    assert_eq!(inside.yes("grep -c ' / / ' /proc/self/mountinfo"), "1");
    assert_eq!(inside.yes("stat -c %i:%d /.. / /proc/self/root/.. | sort -u | wc -l"), "1");
    inside.yes(&format!("echo x > {}/one", quoted(&canary)));
    drop(inside);
    assert_eq!(fs::read(canary.join("one")).unwrap(), b"one");
}

fn setuid_in_the_layer(ground: &Ground) {
    let inside = ground.inside();
    inside.yes("cp /bin/true su && chmod 6755 su && ./su && cp /bin/true /opt/su && chmod 4755 /opt/su; cp /bin/true ${TMPDIR:-/tmp}/su && chmod 4755 ${TMPDIR:-/tmp}/su");
    let folder = if ground.is_copy() { inside.folder() } else { layer::folder(&ground.stage.spec.layer, 0) };
    for left in [folder.join("su"), ground.stage.spec.state.join("tmp/su")] {
        let stat = fs::metadata(&left).unwrap();
        if ground.is_copy() {
            // It belongs to who started the sandbox, so that others must not come near it.
            others_do_not_reach(&left);
            continue;
        }
        assert!(stat.mode() & 0o4000 != 0 && stat.uid() != 0, "{stat:?}");
        assert_eq!(
            stat.uid(),
            if ground.root { quire_sandbox::INSIDE_BASE } else { rustix::process::geteuid().as_raw() }
        );
        others_do_not_reach(&left);
    }
    for private in [&ground.stage.spec.state, &ground.stage.spec.layer] {
        assert_eq!(fs::metadata(private).unwrap().permissions().mode() & 0o077, 0);
    }
}

/// Checks that a file is not found by another user of the machine, where this one can play him.
fn others_do_not_reach(left: &Path) {
    if rustix::process::geteuid().is_root() {
        let mut other = std::process::Command::new("stat");
        other.arg(left).uid(65_534).gid(65_534);
        assert!(!other.output().unwrap().status.success(), "others reach {}", left.display());
    }
    let closed = left
        .ancestors()
        .skip(1)
        .any(|above| fs::metadata(above).is_ok_and(|stat| stat.permissions().mode() & 0o077 == 0));
    assert!(closed, "{} lies in no closed directory", left.display());
}

fn capabilities_of_files(ground: &Ground) {
    let inside = ground.inside();
    inside.yes("cp /bin/true capable");
    if ground.is_copy() {
        inside.probe(&["capability", "capable"]).are(&[("set", "EOPNOTSUPP")]);
        return;
    }
    inside.probe(&["capability", "capable"]).are(&[("set", "ok")]);
    drop(inside);
    let left = layer::folder(&ground.stage.spec.layer, 0).join("capable");
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&left, "security.capability", &mut value[..]);
    // Whoever looks from where it holds sees it without the owner, so an ordinary user sees what he himself set.
    if ground.root {
        // struct vfs_ns_cap_data, linux/capability.h: revision 3, and last the root that it is for.
        let value = &value[..length.unwrap()];
        let word = |at: usize| u32::from_le_bytes(value[at..at + 4].try_into().unwrap());
        assert_eq!((value.len(), word(0) >> 24, word(20)), (24, 3, quire_sandbox::INSIDE_BASE));
    }
}

fn forged_whiteout(ground: &Ground) {
    let base = &ground.stage.spec.folders[0].frozen[0];
    let before = fingerprint(base);
    let inside = ground.inside();
    inside.sh("mknod made c 0 0; rm a.txt; mknod a.txt c 0 0; mkdir d; mknod d/x c 0 0");
    inside.no("cat a.txt || cat made");
    drop(inside);
    assert_eq!(before, fingerprint(base));
    assert!(ground.stage.folder().join("a.txt").exists());
}

fn endless_file(ground: &Ground) {
    let mut spec = ground.stage.spec.clone();
    spec.disk_bytes = 1 << 20;
    let inside = ground.inside_of(&spec);
    let out = inside.out();
    let copies = [".", "$TMPDIR", "~", out.to_str().unwrap()];
    let trees = [".", "/tmp", "/dev/shm", "/var/tmp", out.to_str().unwrap()];
    for at in if ground.is_copy() { &copies[..] } else { &trees } {
        inside.yes(&format!("truncate -s 1000K {at}/small"));
        inside.no(&format!(
            "truncate -s 8E {at}/endless || truncate -s 2M {at}/large || fallocate -l 2M {at}/large2"
        ));
    }
}

fn append_to_a_large_file(ground: &Ground) {
    let large = elsewhere(ground).join("large");
    fs::File::create(&large).unwrap().set_len(4 << 20).unwrap();
    let mut spec = ground.stage.spec.clone();
    spec.disk_bytes = 1 << 20;
    let inside = ground.inside_of(&spec);
    inside.no(&format!("echo x >> {}", quoted(&large)));
    drop(inside);
    assert_eq!(fs::metadata(&large).unwrap().len(), 4 << 20);
}

fn hard_links_and_holes(ground: &Ground) {
    let mut one = elsewhere(ground).join("one");
    fs::write(&one, vec![7; 1 << 20]).unwrap();
    let inside = ground.inside();
    if ground.is_copy() {
        // Only what is the sandbox's own can be linked there.
        inside.no(&format!("ln {} x", quoted(&one)));
        let links = "import os\nfor i in range(100): os.link(\"one\", f\"l{i}\")";
        inside.yes(&format!("head -c 1M /dev/zero > one && python3 -c '{links}'"));
        inside.yes("truncate -s 200M hole && echo x >> hole");
        inside.end();
        let hole = fs::metadata(layer::folder(&ground.stage.spec.layer, 0).join("hole")).unwrap();
        assert_eq!(hole.len(), (200 << 20) + 2);
        one = layer::folder(&ground.stage.spec.layer, 0).join("one");
        assert_eq!(fs::metadata(&one).unwrap().len(), 1 << 20);
        assert!(kib_of(&ground.stage.spec.layer) < 3 << 10, "{} KiB", kib_of(&ground.stage.spec.layer));
        return;
    }
    let made = inside.yes(&format!("cd $(dirname {}) && python3 -c 'import os\nfor i in range(3000): os.link(\"one\", f\"l{{i}}\")' && ls | wc -l", quoted(&one)));
    assert_eq!(made.trim(), "3004");
    drop(inside);
    let kib = kib_of(&ground.stage.spec.layer);
    assert!(kib < 3 << 10, "{kib} KiB");
    assert_eq!(fs::metadata(&one).unwrap().nlink(), 1);
}

/// Returns what a directory takes on the disk.
fn kib_of(directory: &Path) -> u64 {
    let du = std::process::Command::new("du").arg("-sk").arg(directory).output().unwrap();
    String::from_utf8(du.stdout).unwrap().split_ascii_whitespace().next().unwrap().parse().unwrap()
}

/// Starts a sandbox that may read what lies in this directory, on every kind of stand.
fn showing<'a>(ground: &'a Ground, directory: &Path) -> crate::ground::Inside<'a> {
    let mut spec = ground.stage.spec.clone();
    if ground.is_copy() {
        spec.show.push(directory.to_owned());
    }
    ground.inside_of(&spec)
}

fn shared_mapping(ground: &Ground) {
    let elsewhere = elsewhere(ground);
    let before = fingerprint(&elsewhere);
    let inside = showing(ground, &elsewhere);
    let map = "import mmap; f = open(\"one\", \"r+b\"); m = mmap.mmap(f.fileno(), 3); m[0:3] = b\"two\"; m.flush(); print(open(\"one\").read())";
    let mapped = inside.sh(&format!("cd {} && python3 -c '{map}'", quoted(&elsewhere)));
    if ground.is_copy() {
        assert!(mapped.0 != 0 && mapped.1.contains("PermissionError"), "{mapped:?}");
    } else {
        assert_eq!(mapped.1, "two");
    }
    // A private mapping that is written to by way of /proc is a copy of its own.
    let force = "import mmap, re; f = open(\"two\", \"rb\"); m = mmap.mmap(f.fileno(), 3, prot=mmap.PROT_READ); \
                 a = [l for l in open(\"/proc/self/maps\") if l.endswith(\"/two\\n\")][0].split(\"-\")[0]; \
                 w = open(\"/proc/self/mem\", \"r+b\", 0); w.seek(int(a, 16)); w.write(b\"xxx\")";
    inside.sh(&format!("cd {} && python3 -c '{force}'", quoted(&elsewhere)));
    assert_eq!(inside.yes(&format!("cat {}/two", quoted(&elsewhere))), "two");
    drop(inside);
    assert_eq!(before, fingerprint(&elsewhere));
}

fn opened_before_the_copy(ground: &Ground) {
    let elsewhere = elsewhere(ground);
    let before = fingerprint(&elsewhere);
    let inside = showing(ground, &elsewhere);
    let append = if ground.is_copy() { "! echo x >> one" } else { "echo x >> one" };
    inside.yes(&format!(
        "cd {} && exec 7< one && {append} && (echo y > /proc/self/fd/7; echo z > /dev/fd/7); cat one",
        quoted(&elsewhere)
    ));
    drop(inside);
    assert_eq!(before, fingerprint(&elsewhere));
}

fn nameless_file_linked(ground: &Ground) {
    let elsewhere = elsewhere(ground);
    let before = fingerprint(&elsewhere);
    let inside = showing(ground, &elsewhere);
    let said = inside.probe(&["nameless", elsewhere.to_str().unwrap()]);
    if ground.is_copy() {
        said.all(&["EACCES"]);
        inside.probe(&["nameless", "."]).all(&["ok"]);
    } else {
        said.are(&[("made", "ok"), ("linked", "ok")]);
        inside.yes(&format!("test -e {}/linked", quoted(&elsewhere)));
    }
    drop(inside);
    assert_eq!(before, fingerprint(&elsewhere));
}

fn renamed_directory(ground: &Ground) {
    let base = ground.stage.spec.folders[0].frozen[0].clone();
    let before = fingerprint(&base);
    let inside = ground.inside();
    inside.yes("mv deep moved && test -f moved/b.txt && test ! -e deep && git init -q . && git add . && git mv moved again");
    drop(inside);
    assert_eq!(before, fingerprint(&base));
}

fn every_mount_is_quiet(ground: &Ground) {
    let inside = ground.inside();
    let loud = inside.yes("awk '$6 !~ /nosuid/ || ($6 !~ /nodev/ && $5 !~ \"^/dev\") { print $5, $6 }' /proc/self/mountinfo; true");
    let loud: Vec<&str> = loud.lines().filter(|line| !line.starts_with("/dev/")).collect();
    assert!(loud.is_empty(), "{loud:?}");
    // And none passes on what is mounted to where it came from.
    assert_eq!(inside.yes("grep -c -e shared: -e master: /proc/self/mountinfo; true"), "0");
}

fn watching_files(ground: &Ground) {
    let watched = elsewhere(ground);
    let out = ground.stage.spec.out.clone();
    let inside = showing(ground, &watched);
    if ground.is_copy() {
        // A watch would tell of names that cannot be read, so there are none.
        inside.probe(&["calls", "inotify_init1", "fanotify_init"]).all(&["ENOSYS", "EPERM"]);
        return;
    }
    let shared = inside.out();
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            until("the probe watches", || out.join("ready").exists());
            fs::write(watched.join("one"), "changed outside").unwrap();
            fs::write(out.join("go"), "").unwrap();
        });
        inside.probe(&["watch", watched.to_str().unwrap(), shared.to_str().unwrap()])
    });
    said.are(&[("after-theirs", "0"), ("after-ours", "1")]);
    crate::c_namespaces::refused(ground, "fanotify_init", &["EPERM"]);
}

fn sockets_of_services(ground: &Ground) {
    let ours = elsewhere(ground).join("service");
    let _service = std::os::unix::net::UnixListener::bind(&ours).unwrap();
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o777)).unwrap();
    ground.outside(&["connect", ours.to_str().unwrap()]).all(&["ok"]);
    let inside = showing(ground, ours.parent().unwrap());
    // Where there is no other wall, there are no sockets.
    let refused: &[&str] = if ground.is_copy() { &["EAFNOSUPPORT"] } else { &["ENOENT", "ECONNREFUSED"] };
    inside.probe(&["connect", ours.to_str().unwrap()]).all(&[refused[refused.len() - 1]]);
    let known = [
        "/run/dbus/system_bus_socket",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/run/podman/podman.sock",
        "/run/crio/crio.sock",
        "/run/systemd/private",
        "/run/systemd/notify",
        "/run/systemd/journal/socket",
        "/run/udev/control",
        "/run/snapd.socket",
        "/run/libvirt/libvirt-sock",
        "/run/nscd/socket",
        "/run/cups/cups.sock",
        "/run/acpid.socket",
        "/run/avahi-daemon/socket",
        "/run/lvm/lvmpolld.socket",
        "/run/postgresql/.s.PGSQL.5432",
        "/run/mysqld/mysqld.sock",
        "/run/redis/redis.sock",
        "/run/user/0/bus",
        "/run/user/1000/bus",
        "/run/user/1000/wayland-0",
        "/run/user/1000/pulse/native",
        "/run/user/1000/gnupg/S.gpg-agent",
        "/run/user/1000/keyring/ssh",
        "/run/user/1000/podman/podman.sock",
        "/tmp/.X11-unix/X0",
        "/tmp/.s.PGSQL.5432",
        "/dev/log",
        "@/tmp/.X11-unix/X0",
        "@/tmp/dbus-system",
        "@/org/kernel/linux/storage/multipathd",
    ];
    let probe: Vec<&str> = std::iter::once("connect").chain(known).collect();
    inside.probe(&probe).all(refused);
    if ground.is_copy() {
        return;
    }
    assert_eq!(inside.yes("find /run -type s 2>/dev/null; find /tmp -type s; ls /run"), "lock\nquire");
}

fn folder_changed_outside(ground: &Ground) {
    let folder = ground.stage.folder();
    let inside = ground.inside();
    fs::write(folder.join("new.txt"), "new").unwrap();
    fs::write(folder.join("deep/b.txt"), "changed").unwrap();
    fs::remove_file(folder.join("a.txt")).unwrap();
    assert_eq!(inside.yes("ls; cat a.txt deep/b.txt"), "a.txt\ndeep\na\nb");
}

fn forged_overlay_marks(ground: &Ground) {
    let inside = ground.inside();
    inside.yes("mkdir forged && echo x > forged/f");
    // The marks that count are those of the layer's kind; of the other kind they are anybody's.
    let kind = if ground.root { "trusted.overlay." } else { "user.overlay." };
    let names = ["redirect", "metacopy", "opaque", "origin", "impure", "whiteout", "upper"];
    let marks = ["user.overlay.", "trusted.overlay."]
        .iter()
        .flat_map(|kind| names.map(|name| format!("{kind}{name}")));
    let marks: Vec<String> = marks.collect();
    for at in ["forged", "forged/f", "deep"] {
        let probe: Vec<&str> =
            ["mark", at, "/etc"].into_iter().chain(marks.iter().map(String::as_str)).collect();
        inside.probe(&probe);
    }
    if ground.is_copy() {
        assert_eq!(inside.yes("ls forged; cat forged/f; ls deep"), "f\nx\nb.txt");
        inside.end();
    } else {
        drop(inside);
    }
    let upper = layer::folder(&ground.stage.spec.layer, 0);
    for left in [upper.join("forged"), upper.join("forged/f"), upper.join("deep")] {
        for mark in marks.iter().filter(|mark| mark.starts_with(kind)) {
            let mut value = [0; 64];
            let got = rustix::fs::getxattr(&left, mark.as_str(), &mut value[..]);
            // The kernel's own say one letter.
            let forged = got.is_ok_and(|length| value[..length].starts_with(b"/etc"));
            assert!(!forged, "{} has {mark}", left.display());
        }
    }
    // Under a new layer they redirect nothing.
    let mut spec = ground.stage.spec.clone();
    spec.layers = vec![std::mem::replace(&mut spec.layer, ground.stage.base.join("data/layer-2"))];
    let inside = ground.inside_of(&spec);
    assert_eq!(inside.yes("ls forged; cat forged/f; ls deep"), "f\nx\nb.txt");
}

fn another_sandbox(ground: &Ground) {
    let mut spec = ground.stage.spec.clone();
    spec.state = ground.stage.base.join("data/state-2");
    spec.layer = ground.stage.base.join("data/layer-2");
    let (one, two) = (ground.inside(), ground.inside_of(&spec));
    if ground.is_copy() {
        let theirs = one.yes("echo x > theirs; echo x > $TMPDIR/theirs; echo x > ~/theirs; ls -d $PWD/theirs $TMPDIR/theirs ~/theirs");
        for theirs in theirs.lines() {
            two.no(&format!("cat {theirs} || touch {theirs} || rm -f {theirs}"));
        }
        two.no("ls theirs || ls $TMPDIR/theirs || ls ~/theirs || : > /dev/shm/theirs || : > /tmp/theirs");
        return;
    }
    one.yes("echo x > /tmp/theirs; echo x > /dev/shm/theirs; echo x > /run/theirs; echo x > theirs; echo x > ~/theirs");
    two.no("ls /tmp/theirs || ls /dev/shm/theirs || ls /run/theirs || ls theirs || ls ~/theirs");
    one.yes("python3 -c 'import socket, time\ns = socket.socket(socket.AF_UNIX)\ns.bind(b\"\\0theirs\")\ns.listen()\ntime.sleep(60)' > /dev/null 2>&1 & \
             until grep -q @theirs /proc/net/unix; do :; done");
    two.probe(&["connect", "@theirs"]).all(&["ECONNREFUSED"]);
    one.probe(&["connect", "@theirs"]).all(&["ok"]);
}

fn mounted_twice(ground: &Ground) {
    // Only root can bind a directory; what an ordinary user's sandbox hides is found by the same names.
    let twice = ground.stage.base.join("twice");
    let homes = twice.join("home/project");
    fs::create_dir(&twice).unwrap();
    let keys = ground.stage.base.join("keys");
    fs::create_dir(&keys).unwrap();
    for secret in [ground.stage.home.join("letter"), keys.join("id")] {
        fs::write(secret, &ground.word).unwrap();
    }
    if ground.root {
        use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
        // SAFETY: this process has one thread.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
        mount_bind(&ground.stage.base, &twice).unwrap();
        assert_eq!(fs::read_to_string(twice.join("keys/id")).unwrap(), ground.word);
        assert!(homes.exists());
    }
    let mut spec = ground.stage.spec.clone();
    spec.hide.push(keys.to_str().unwrap().into());
    let inside = ground.inside_of(&spec);
    inside.yes(&format!("test -d {}", quoted(&twice)));
    inside.no(&format!("grep -rsqF {} {}", ground.word, quoted(&twice)));
}

fn swapped_out_memory(ground: &Ground) {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let inside = ground.inside();
    for swap in swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()) {
        inside.no(&format!("head -c1 {} | grep -q .", quoted(swap)));
    }
    assert_eq!(inside.yes("cat /proc/swaps | wc -l").trim().parse::<usize>().unwrap(), swaps.lines().count());
}

fn quires_own_binary(ground: &Ground) {
    let binary = &ground.stage.spec.binary;
    let told = |stat: &fs::Metadata| (stat.ino(), stat.mode(), stat.size(), stat.ctime(), stat.ctime_nsec());
    let before = fs::metadata(binary).unwrap();
    let inside = ground.inside();
    if ground.is_copy() {
        let name = binary.to_str().unwrap();
        inside.probe(&["open", "w", name, "/proc/self/exe"]).all(&["EACCES", "ETXTBSY"]);
        let name = quoted(name);
        inside.no(&format!(
            "rm -f {name} || mv {name} $TMPDIR/q || ln {name} q || chmod 777 {name} || touch {name}"
        ));
        // What stands in the sandbox's own directory is a link, and a new sandbox has it anew.
        inside.sh("rm -f $(command -v apply_patch); ln -sf /bin/true $(dirname $TMPDIR)/bin/apply_patch");
        drop(inside);
        assert_eq!(told(&before), told(&fs::metadata(binary).unwrap()));
        return;
    }
    let quire = "/run/quire/bin/quire";
    inside
        .probe(&["open", "w", quire, "/run/quire/bin/apply_patch", "/proc/self/exe"])
        .all(&["EROFS", "ETXTBSY"]);
    inside.no(&format!(
        "rm -f {quire} || mv {quire} /tmp/q || ln {quire} /tmp/q || chmod 777 {quire} || touch {quire}"
    ));
    inside.no("rm -rf /run/quire/bin || mv /run/quire /run/other || touch /run/quire/bin/ls");
    // By the name that it has on the machine it is a copy.
    inside.sh(&format!("rm -f {0}; echo x > {0}", quoted(binary)));
    drop(inside);
    assert_eq!(told(&before), told(&fs::metadata(binary).unwrap()));
}

fn pipes_among_files(ground: &Ground) {
    let pipe = elsewhere(ground).join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let ours = rustix::fs::open(&pipe, flags, rustix::fs::Mode::empty()).unwrap();
    rustix::io::write(&ours, b"ours").unwrap();
    let inside = ground.inside();
    let said = inside.sh(&format!("exec 7<> {}; echo theirs >&7; head -n1 <&7", quoted(&pipe))).1;
    assert!(!said.contains("ours"), "{said}");
    let mut got = [0; 16];
    let length = rustix::io::read(&ours, &mut got).unwrap();
    assert_eq!(&got[..length], b"ours");
}

fn flags_of_files(ground: &Ground) {
    let inside = ground.inside();
    let temporary = inside.yes("echo ${TMPDIR:-/tmp}") + "/f";
    let out = inside.out().join("f");
    for at in ["a.txt", &temporary, out.to_str().unwrap()] {
        inside.yes(&format!("touch {at}"));
        let said = inside.probe(&["flags", at]);
        for what in ["immutable", "project", "swap-boot", "trim", "shutdown", "resize"] {
            assert_ne!(said.get(what), "ok", "{what} on {at}");
        }
    }
}

fn pages_through_pipes(ground: &Ground) {
    let elsewhere = elsewhere(ground);
    fs::write(elsewhere.join("page"), vec![b'a'; 4096]).unwrap();
    let inside = showing(ground, &elsewhere);
    let said = inside.probe(&["pages", elsewhere.join("page").to_str().unwrap()]);
    said.are(&[("spliced", "ok"), ("written", "ok"), ("same", "true")]);
    drop(inside);
    assert_eq!(fs::read(elsewhere.join("page")).unwrap(), vec![b'a'; 4096]);
}
