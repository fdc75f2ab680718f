//! `quire serve N`: shows a version's result in a browser, from a fresh sandbox of it. Ctrl-C ends it and leaves nothing.

use crate::cli::ServeArgs;
use crate::cmd::{Face, follow, open, print_json, wait};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::{clean, print};
use quire_engine::Stand;
use serde_json::json;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub fn serve(args: &ServeArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    wait(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut end = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        // Before a sandbox is made in vain.
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port.unwrap_or(0)));
        let listener = TcpListener::bind(at).await.map_err(|error| taken(&at, &error))?;
        let address = listener.local_addr()?;
        let stand = quire.stand(args.task.task, args.version).await?;
        introduce(&stand, args.task.task, face);
        let said = face.is_talkative();
        let live = move |text: String| {
            if said {
                let _ = write!(std::io::stderr(), "{}", clean(&text));
            }
        };
        let ready = || told(&stand, args.task.task, address, face);
        let ended = tokio::select! {
            ended = stand.run(Some(listener), ready, live) => Ok(ended),
            _ = interrupt.recv() => Err(Exit::Interrupted),
            _ = end.recv() => Err(Exit::Done),
            _ = hang_up.recv() => Err(Exit::Done),
        };
        stand.end().await?;
        match ended {
            Ok(error) => Err(error.into()),
            Err(exit) => Ok(exit),
        }
    })?
}

/// Says what is about to run.
fn introduce(stand: &Stand, task: u64, face: &Face) {
    if !face.is_talkative() {
        return;
    }
    let what = match stand.version {
        Some(version) => format!("version {version} of task {task}"),
        None => format!("task {task} as after its last step"),
    };
    let how = if stand.plain { "its pages".to_owned() } else { one_line(&stand.serving.command) };
    follow::say(&format!("Serving {what}: {how}. Ctrl-C ends it."));
}

/// Prints the address, now that something answers there.
fn told(stand: &Stand, task: u64, address: SocketAddr, face: &Face) {
    let url = format!("http://{address}/{}", one_line(stand.serving.path.trim_start_matches('/')));
    let printed = if face.json {
        let command = (!stand.plain).then_some(&stand.serving.command);
        print_json(json!({
            "task": task, "version": stand.version, "address": url, "port": address.port(), "command": command
        }))
    } else {
        print(&format!("{url}\n"))
    };
    // Who closed stdout looks at it all the same.
    let _ = printed;
}

fn taken(at: &SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::WrongUse,
        format!("{at} cannot be listened on: {error}."),
        "Nothing was started or changed.",
        "Name another port, or none, and a free one is taken: quire serve N",
    )
}
