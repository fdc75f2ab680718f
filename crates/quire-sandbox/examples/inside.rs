//! Runs one command line in a sandbox, to try the wall by hand: `cargo run -p quire-sandbox --example inside -- SCRATCH
//! COMMAND`. SCRATCH is a directory on disk that is used again by the next run, so that changes stay; it starts with an
//! empty folder. HOME and PATH are taken over.

use quire_sandbox::protocol::{FromHand, ToHand};
use quire_sandbox::{FolderView, Rung, Spec, skeleton, start};
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::channel;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = quire_sandbox::private_main(&args) {
        std::process::exit(code);
    }
    let mut args = std::env::args().skip(1);
    let (Some(scratch), Some(command)) = (args.next(), args.next()) else {
        return Err("give a directory and a command line".into());
    };
    fs::create_dir_all(&scratch)?;
    let scratch: PathBuf = fs::canonicalize(scratch)?;
    for made in ["folder", "base", "out"] {
        fs::create_dir_all(scratch.join(made))?;
    }
    let env =
        ["HOME", "PATH", "LANG"].iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?)));
    let skeleton = skeleton(&scratch.join("system"), &|_, _| ())?;
    let spec = Spec {
        state: scratch.join("state"),
        layer: scratch.join("layer"),
        layers: Vec::new(),
        skeleton: skeleton.layers.clone(),
        out: scratch.join("out"),
        given: None,
        binary: std::env::current_exe()?,
        folders: vec![FolderView {
            at: scratch.join("folder"),
            frozen: vec![scratch.join("base")],
            ignored: Vec::new(),
            suspects: None,
            git_of: None,
        }],
        hide: Vec::new(),
        show: Vec::new(),
        env: env.collect(),
        memory_bytes: 8 << 30,
        processes: 4096,
        disk_bytes: 16 << 30,
        rung: if rustix::process::geteuid().is_root() { Rung::Idmapped } else { Rung::OneUid },
        gate: None,
    };
    let (say, heard) = channel();
    let sandbox = start(&spec, move |words| drop(say.send(words)))?;
    let input = format!("{{\"command\":{command:?}}}");
    sandbox.send(&ToHand::Call { id: 1, tool: "shell".into(), input })?;
    loop {
        if let FromHand::Done { outcome, .. } = heard.recv()? {
            println!("{}", outcome.text);
            break;
        }
    }
    Ok(sandbox.end()?)
}
