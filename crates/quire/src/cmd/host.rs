//! `quire host`: drives tasks in the foreground. It starts by itself in the background when a command needs it.

use crate::cli::HostArgs;
use crate::cmd::{Face, runtime, say_recovered, wait};
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::terminal::print;
use crate::web;
use quire_engine::Quire;
use quire_engine::settings::Surroundings;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long what the page was asked for may go on when the host ends. What is being written then is ended by whoever comes next.
const LINGER: Duration = Duration::from_secs(5);

pub fn host(args: &HostArgs, face: &Face) -> Result<Exit, Failure> {
    let quire = Arc::new(Quire::open(&Surroundings::capture())?);
    say_recovered(&quire);
    if args.stop {
        let stopped = wait(async {
            match quire.running_host().await {
                Some(mut link) => {
                    link.stop().await;
                    true
                }
                None => false,
            }
        })?;
        let text = match stopped {
            true => "The host has stopped. Its tasks go on with the next one.\n",
            false => "No host was running.\n",
        };
        print(&if face.json {
            format!("{}\n", json!({"v": 1, "stopped": stopped}))
        } else {
            text.to_owned()
        })?;
        return Ok(Exit::Done);
    }
    log(args.background);
    if !args.background && !face.quiet {
        eprintln!(
            "Driving the tasks of {}. Ctrl-C stops; they go on with the next host.",
            quire.home().display()
        );
    }
    let runtime = runtime()?;
    let mut linger = LINGER;
    let ended = runtime.block_on(async {
        let page = web::opener(quire.clone(), args.port).map_err(|error| no_page(&error))?;
        let mut host = std::pin::pin!(quire.host(args.background, Some(page)));
        let mut interrupts = Interrupts::begin()?;
        tokio::select! {
            biased;
            () = interrupts.next() => {}
            ended = &mut host => {
                ended?;
                // An idle host that hears of it as well has ended at once, and may be looked at first.
                return Ok(tokio::select! {
                    biased;
                    () = interrupts.next() => Exit::Interrupted,
                    () = std::future::ready(()) => Exit::Done,
                });
            }
        }
        // The host heard of it too, and brings what runs to an end.
        if !args.background && !face.quiet {
            eprintln!("Ending what runs; Ctrl-C again ends it at once.");
        }
        tokio::select! {
            ended = &mut host => ended.map(|()| Exit::Interrupted).map_err(Failure::from),
            () = interrupts.next() => {
                linger = Duration::ZERO;
                Ok(Exit::Interrupted)
            }
        }
    });
    // Checks of an accept that runs for the page may take as long as they want, and a lock may never come free.
    runtime.shutdown_timeout(linger);
    ended
}

fn no_page(error: &std::io::Error) -> Failure {
    let what = format!("The page cannot be served: {error}.");
    Failure::new(Exit::Trouble, what, "Nothing was started.", "Name another port: quire host --port P")
}

/// What happens goes to stderr, which of a host in the background is its log.
fn log(background: bool) {
    let level = std::env::var("QUIRE_LOG").unwrap_or_else(|_| "info".into());
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_default();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(!background)
        .with_writer(std::io::stderr)
        // It would be told on stderr as well, and that panics where the log's disk is full.
        .log_internal_errors(false)
        .init();
}
