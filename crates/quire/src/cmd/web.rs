//! `quire web`: opens the page in a browser. The host serves it; this gets a token that lets one browser in.

use crate::cli::WebArgs;
use crate::cmd::{Face, follow, open, print_json, wait};
use crate::error::{Exit, Failure};
use crate::terminal::{clean, print};
use quire_engine::desktop;
use quire_engine::settings::Surroundings;
use serde_json::json;

pub fn web(args: &WebArgs, face: &Face) -> Result<Exit, Failure> {
    if args.install {
        return install(face);
    }
    let (quire, here) = open()?;
    let at = wait(async { quire.link().await?.page(&here).await.map_err(quire_engine::EngineError::from) })??;
    let address = format!("http://127.0.0.1:{}/enter#t={}", at.port, at.token);
    if face.json {
        print_json(json!({"address": address, "port": at.port}))?;
        return Ok(Exit::Done);
    }
    if !args.print && desktop::has_a_screen(&here) && desktop::open_address(&address, &here) {
        if face.is_talkative() {
            // Whether a browser came up nobody can see from here.
            follow::say(&format!("The page opens in your browser; if not: {address}"));
        }
        return Ok(Exit::Done);
    }
    print(&format!("{address}\n"))?;
    if face.is_talkative() {
        follow::say("It lets one browser in, within a minute.");
        if let Some(forward) = forward(&here, &[at.port, at.preview]) {
            follow::say(&format!("From the machine you sit at, first: {forward}"));
        }
    }
    Ok(Exit::Done)
}

fn install(face: &Face) -> Result<Exit, Failure> {
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    let icon = include_str!("../web/icon.svg");
    let entry = program.and_then(|program| desktop::install(&Surroundings::capture(), &program, icon));
    let entry = entry.map_err(|error| {
        let what = format!("The desktop entry could not be written: {error}.");
        Failure::new(Exit::Trouble, what, "Nothing else was changed.", "Open the page from here: quire web")
    })?;
    if face.json {
        print_json(json!({"entry": entry}))?;
    } else {
        print(&clean(&format!("quire is among your programs now: {}\n", entry.display())))?;
    }
    Ok(Exit::Done)
}

/// Returns the command that leads here from the machine at which a person sits who came over SSH (sshd sets
/// `SSH_CONNECTION` to both addresses and ports).
fn forward(here: &Surroundings, ports: &[u16]) -> Option<String> {
    let server = here.env.get("SSH_CONNECTION")?.split(' ').nth(2)?.to_owned();
    let user = here.env.get("USER").map_or_else(String::new, |user| format!("{user}@"));
    let ports: String = ports.iter().map(|port| format!("-L {port}:127.0.0.1:{port} ")).collect();
    Some(format!("ssh -N {ports}{user}{server}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ssh_the_way_to_the_page_is_told() {
        let env = [("SSH_CONNECTION", "192.0.2.7 51000 192.0.2.9 22"), ("USER", "ada")];
        let env = env.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let here = Surroundings { env, cwd: "/".into() };
        assert_eq!(
            forward(&here, &[7777, 7778]).as_deref(),
            Some("ssh -N -L 7777:127.0.0.1:7777 -L 7778:127.0.0.1:7778 ada@192.0.2.9")
        );
        assert!(!desktop::has_a_screen(&here));
        assert_eq!(forward(&Surroundings::default(), &[7777]), None);
    }
}
