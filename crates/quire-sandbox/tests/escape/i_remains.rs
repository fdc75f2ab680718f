//! I: staying after the end. A sandbox ends with its hand or its host; what was started in it ends with it, and what was
//! written in it is in its layer alone.

use crate::catalogue::{Case, case, elsewhere, not_here};
use crate::ground::Ground;
use crate::stage::{Live, runs, until};
use quire_sandbox::layer;
use std::fs;
use std::path::Path;

pub const CASES: &[Case] = &[
    case("I01", "daemon", "ended with the sandbox", daemon),
    case(
        "I03",
        "at_cron_and_user_services",
        "nobody is there to ask, and what is written stays inside",
        jobs,
    ),
    case("I04", "start_files", "changed in the layer only", start_files),
    case("I06", "death_signal_cleared", "ended with the sandbox all the same", death_signal_cleared),
    case("I07", "stopped", "ended all the same", stopped),
    not_here(
        "I08",
        "asleep_in_the_kernel",
        "waited for up to 20 s, then told",
        "it takes a file system that hangs, and none can be mounted inside (A26, C02)",
    ),
    case("I09", "layer_of_a_killed_task", "mounted again, with all that was written", layer_of_a_killed_task),
    elsewhere(
        "I10",
        "resume",
        "brings back files, never processes",
        "crates/quire/tests/journeys/life.rs::after_everything_was_killed_the_next_start_cleans_up",
    ),
];

/// Returns a time to sleep that no other process of the machine sleeps for.
fn nap(n: u32) -> String {
    format!("864{n:02}.{}", std::process::id())
}

/// Ends the sandbox, and proves that what slept in it is gone.
fn ends(live: Live, nap: &str) {
    assert!(runs(nap), "it ran");
    live.sandbox.end().unwrap();
    assert!(!runs(nap), "it still runs");
}

fn daemon(ground: &Ground) {
    let inside = ground.inside();
    let nap = nap(1);
    inside.yes(&format!("(setsid sh -c 'setsid sleep {nap} & exit' > /dev/null 2>&1 < /dev/null &) ; true"));
    until("it runs", || runs(&nap));
    ends(inside.live, &nap);
}

fn jobs(ground: &Ground) {
    let inside = ground.inside();
    let found =
        inside.sh("ls -A /run/dbus /run/user /run/systemd /run/crond.pid /run/atd.pid 2> /dev/null; true").1;
    assert!(found.is_empty(), "{found}");
    inside.no("systemd-run --user --on-active=1 true");
    // Where they can be written they are only files, in a layer.
    inside
        .sh("mkdir -p /var/spool/cron/crontabs; echo '* * * * * true' > /var/spool/cron/crontabs/quire-i03");
    inside.live.sandbox.end().unwrap();
    assert!(!Path::new("/var/spool/cron/crontabs/quire-i03").exists());
}

fn start_files(ground: &Ground) {
    let files =
        [".bashrc", ".profile", ".config/autostart/x.desktop", ".ssh/authorized_keys", ".local/bin/tool"];
    for file in [".bashrc", ".profile"] {
        fs::write(ground.stage.home.join(file), "mine\n").unwrap();
    }
    let inside = ground.inside();
    for file in files {
        inside.sh(&format!("mkdir -p ~/$(dirname {file}); echo theirs >> ~/{file}"));
    }
    assert!(inside.yes("cat ~/.bashrc").contains("theirs"), "it was written inside");
    inside.live.sandbox.end().unwrap();
    for file in files {
        let now = fs::read_to_string(ground.stage.home.join(file)).unwrap_or_default();
        assert!(!now.contains("theirs"), "{file}: {now}");
    }
}

fn death_signal_cleared(ground: &Ground) {
    let inside = ground.inside();
    let nap = nap(6);
    // 1 is PR_SET_PDEATHSIG. Process 1 ends, and the kernel ends its namespace whatever each asked for.
    let python = format!(
        "import ctypes, os; ctypes.CDLL(None).prctl(1, 0); os.setsid(); os.execvp(\"sleep\", [\"sleep\", \"{nap}\"])"
    );
    inside.yes(&format!("python3 -c '{python}' > /dev/null 2>&1 < /dev/null & true"));
    until("it runs", || runs(&nap));
    ends(inside.live, &nap);
}

fn stopped(ground: &Ground) {
    let inside = ground.inside();
    let nap = nap(7);
    inside.yes(&format!(
        "sleep {nap} > /dev/null 2>&1 < /dev/null & until grep -qx sleep /proc/$!/comm; do :; done; kill -STOP $!; (sh -c 'kill -STOP $$' &); true"
    ));
    until("it runs", || runs(&nap));
    ends(inside.live, &nap);
}

fn layer_of_a_killed_task(ground: &Ground) {
    let inside = ground.inside();
    inside.yes("echo kept > kept; rm a.txt; mkdir made; echo x > made/x");
    // Dropped without an end in order: what a killed host leaves. Its overlay still says that it was not synced.
    drop(inside.live);
    if ground.is_copy() {
        assert!(quire_sandbox::has_left(&ground.stage.spec.layer));
        quire_sandbox::settle_left(&ground.stage.spec).unwrap();
    }
    assert!(layer::folder(&ground.stage.spec.layer, 0).join("kept").exists());
    let again = ground.inside();
    assert_eq!(again.yes("cat kept made/x; ls a.txt 2> /dev/null || echo gone"), "kept\nx\ngone");
}
