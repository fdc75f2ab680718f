//! The tests, by name.

use crate::stage::Stage;

pub type Test = fn(&Stage);

pub const ALL: &[(&str, Test)] = &[("it_stands_and_runs", it_stands_and_runs), ("scratch", scratch)];

fn it_stands_and_runs(stage: &Stage) {
    let live = stage.start();
    println!("{}", live.yes("id; pwd; ls -la; cat a.txt; echo $HOME; ls -la ~; ls -la / /run/quire /run/quire/bin; ps aux | head; mount | head -50; cat /proc/self/status | grep -i cap; ls -la /home /root"));
    live.sandbox.end().expect("an end");
}

fn scratch(stage: &Stage) {
    let live = stage.start();
    live.no("false");
    println!("{:?} {:?} {:?}", stage.base, stage.home, stage.folder());
}
