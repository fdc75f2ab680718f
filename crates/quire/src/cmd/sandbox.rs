//! `quire sandbox -- CMD`: runs one command on a copy of the machine and shows what it would change.

use crate::cli::SandboxArgs;
use crate::cmd::{Face, follow, resolve, say_recovered, say_unset, wait};
use crate::error::{Exit, Failure};
use crate::layout::quoted;
use crate::terminal::{clean, print};
use quire_core::Entry;
use quire_core::charter::Net;
use quire_core::event::{Connection, Listing, Refused};
use quire_core::net::{address, is_host};
use quire_core::view::reached_text;
use quire_engine::keys::Keys;
use quire_engine::settings::Surroundings;
use quire_engine::{Once, Quire};
use serde_json::json;
use std::path::PathBuf;

pub fn sandbox(args: &SandboxArgs, face: &Face) -> Result<Exit, Failure> {
    let surroundings = Surroundings::capture();
    let resolved = resolve(&args.settings.options(), &surroundings, face)?;
    let quire = Quire::open(&surroundings)?;
    say_recovered(&quire);
    let words: Vec<String> =
        args.command.iter().map(|word| word.to_str().map(quoted)).collect::<Option<_>>().ok_or_else(
            || {
                Failure::new(
                    Exit::WrongUse,
                    "The command is not UTF-8.",
                    "Nothing was run.",
                    "Put it into a script and run that.",
                )
            },
        )?;
    let keys = Keys::read(&surroundings)?;
    say_unset(&resolved.settings.secrets, &keys, &surroundings, face);
    let secret = |name: &str| keys.secret(name, &surroundings);
    let once = wait(quire.once((&resolved, args.settings.yes), &words.join(" "), secret, |_| {}))??;
    if face.json {
        let exit = once.exit;
        let (changes, apart) = (&once.changes.entries, &once.apart);
        print(&format!(
            "{}\n",
            json!({
                "v": 1, "exit": exit, "output": once.output, "changes": changes, "apart": apart, "reached": once.reached
            })
        ))?;
    } else {
        // The command's own words are the result; quire's go where they are told from them.
        print(&clean(&once.output))?;
        follow::say(clean(&changes(&once, &resolved.settings.sandbox.net)).trim_end());
    }
    Ok(if once.exit == Some(0) { Exit::Done } else { Exit::Failed })
}

fn changes(once: &Once, net: &Net) -> String {
    let mut text = String::from("\nIt would change:\n");
    let before = text.len();
    let what = |entry: &Entry| match (&entry.was, &entry.now) {
        (None, _) => "new",
        (_, None) => "deleted",
        _ => "changed",
    };
    for entry in &once.changes.entries {
        let folder = &once.folders[entry.folder as usize];
        text.push_str(&format!("  {:8} {}/{}\n", what(entry), folder.display(), entry.path));
    }
    for (kind, listing) in [
        ("outside", &once.apart.outside),
        ("ignored", &once.apart.ignored),
        ("git", &once.apart.git),
        ("special", &once.apart.special),
    ] {
        text.push_str(&apart(kind, listing, &once.folders));
    }
    if text.len() == before {
        text = "\nIt would change nothing.\n".into();
    }
    if let Some(reached) = reached_text(&once.reached) {
        text.push_str(&format!("Reached: {reached}.\n"));
    }
    if let Some(wider) = wider(&once.reached, net) {
        text.push_str(&format!("To let it: --net {wider}\n"));
    }
    text.push_str("Your machine is as it was.\n");
    text
}

/// Returns the `--net` that would have let out what was refused for not being on the list.
fn wider(reached: &[Connection], net: &Net) -> Option<Net> {
    let Net::Only { registries, hosts } = net else { return None };
    let mut wider = hosts.clone();
    for row in reached.iter().filter(|row| row.refused == Some(Refused::NotListed) && is_host(&row.host)) {
        let host = match row.port {
            80 | 443 if row.host.contains('.') => row.host.clone(),
            port => address(&row.host, port),
        };
        if !wider.contains(&host) {
            wider.push(host);
        }
    }
    (wider.len() > hosts.len()).then_some(Net::Only { registries: *registries, hosts: wider })
}

/// Lists what is beside the folders' files; what is kept with a folder's number before it as it lies on the machine.
fn apart(kind: &str, listing: &Listing, folders: &[PathBuf]) -> String {
    let whole = |path: &String| {
        let parts = path
            .split_once('/')
            .and_then(|(folder, rest)| Some((folders.get(folder.parse::<usize>().ok()?)?, rest)));
        parts.map_or_else(|| path.clone(), |(folder, rest)| format!("{}/{rest}", folder.display()))
    };
    let mut text: String =
        listing.paths.iter().take(20).map(|path| format!("  {kind:8} {}\n", whole(path))).collect();
    let shown = listing.paths.len().min(20) as u64;
    if listing.total > shown {
        text.push_str(&format!("  {kind:8} and {} more\n", listing.total - shown));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_is_listed_as_it_lies_on_the_machine() {
        let paths = ["1/.git/index", "/etc/hosts", "7/x"].map(str::to_owned).to_vec();
        let told = apart("git", &Listing { paths, total: 4 }, &["/a".into(), "/b".into()]);
        assert_eq!(
            told,
            "  git      /b/.git/index\n  git      /etc/hosts\n  git      7/x\n  git      and 1 more\n"
        );
    }

    #[test]
    fn what_would_let_it_out() {
        let row = |host: &str, port, refused| Connection {
            host: host.into(),
            port,
            count: 1,
            up: 0,
            down: 0,
            refused: Some(refused),
        };
        let reached = [
            row("a.org", 443, Refused::NotListed),
            row("a.org", 80, Refused::NotListed),
            row("::1", 443, Refused::NotListed),
            row("b.org", 22, Refused::NotListed),
            row("c.org", 443, Refused::Denied),
            row("", 443, Refused::NotListed),
        ];
        let told = |reached: &[Connection], net: &Net| wider(reached, net).map(|net| net.to_string());
        assert_eq!(
            told(&reached, &Net::registries()).as_deref(),
            Some("registries,a.org,[::1]:443,b.org:22")
        );
        assert_eq!(told(&reached[4..], &Net::registries()), None);
        assert_eq!(told(&reached, &Net::Off), None);
    }
}
