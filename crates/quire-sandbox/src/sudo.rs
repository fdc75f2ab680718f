//! `sudo`, `su` and `runuser`, as commands know them, where everybody is root already: they start the command, as another user
//! where they are told to and there is one. The real `sudo` cannot work, since no program inside gains privileges by being
//! started; the real others cannot where root is the only user ([`crate::others`]).

use crate::others;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::iter::Peekable;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::slice::Iter;

const USAGE: &str = "usage: sudo [-EHnS] [-u USER] [-D DIRECTORY] [VARIABLE=VALUE...] COMMAND...\n       \
                     su [-] [-c COMMAND] [-s SHELL] [USER]\n       \
                     runuser -u USER COMMAND...\n\
                     You are root in this sandbox: these only start the command.";

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    user: Option<String>,
    directory: Option<OsString>,
    env: Vec<(OsString, OsString)>,
    /// A shell runs the first word of the command, or waits for some.
    shell: bool,
    /// Which one.
    with: Option<OsString>,
    /// `HOME` is to be the user's.
    home: bool,
    login: bool,
    background: bool,
    /// Only about passwords and rights, of which there are none.
    nothing: bool,
    command: Vec<OsString>,
}

/// Becomes the command where this program was started by one of the three names; returns the exit code of what went wrong.
pub fn private_main(args: &[OsString]) -> Option<i32> {
    let name = Path::new(args.first()?).file_name()?.to_str()?;
    let read = match name {
        "sudo" => sudo,
        "su" | "runuser" => su,
        _ => return None,
    };
    Some(read(&args[1..]).map_or_else(
        || {
            eprintln!("{USAGE}");
            1
        },
        |asked| start(name, asked),
    ))
}

fn start(name: &str, asked: Asked) -> i32 {
    if asked.nothing {
        return 0;
    }
    let who = asked.user.as_deref().unwrap_or("root");
    let Some(user) = user(who, &fs::read_to_string("/etc/passwd").unwrap_or_default()) else {
        eprintln!("{name}: there is no user {who:?} in this sandbox");
        return 1;
    };
    let mut words = asked.command.iter();
    let program = if asked.shell {
        let own = || std::env::var_os("SHELL").filter(|_| name == "sudo" && !asked.login);
        asked.with.clone().or_else(own).unwrap_or_else(|| user.shell.as_str().into())
    } else if let Some(program) = words.next() {
        program.clone()
    } else {
        eprintln!("{USAGE}");
        return 1;
    };
    let mut command = Command::new(program);
    if asked.shell && !asked.command.is_empty() {
        command.arg("-c");
    }
    command.args(words).envs(asked.env).env("USER", &user.name).env("LOGNAME", &user.name);
    if name == "sudo" {
        command.env("SUDO_USER", "root").env("SUDO_UID", "0").env("SUDO_GID", "0");
    }
    if asked.home {
        command.env("HOME", &user.home);
    }
    let home = asked.login.then(|| OsString::from(&user.home)).filter(|home| Path::new(home).is_dir());
    if let Some(directory) = asked.directory.or(home) {
        command.current_dir(directory);
    }
    if user.uid != 0
        && let Err(error) = others::become_user(user.uid, user.gid)
    {
        eprintln!("{name}: {who} cannot be had: {error}");
        return 1;
    }
    let error = if asked.background {
        match command.spawn() {
            Ok(_) => return 0,
            Err(error) => error,
        }
    } else {
        command.exec()
    };
    eprintln!("{name}: {}: {error}", command.get_program().display());
    if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Returns the value of an option: what is attached to it, or else the next word.
fn value(attached: &str, args: &mut Peekable<Iter<OsString>>) -> Option<OsString> {
    if attached.is_empty() { args.next().cloned() } else { Some(attached.into()) }
}

/// Reads sudo(8)'s arguments; `None` for what this one does not know.
fn sudo(args: &[OsString]) -> Option<Asked> {
    let mut asked = Asked::default();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next_if(|arg| arg.as_encoded_bytes().starts_with(b"-")) {
        let arg = arg.to_str()?;
        if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, attached) = long.split_once('=').unwrap_or((long, ""));
            match name {
                "user" => asked.user = Some(value(attached, &mut args)?.into_string().ok()?),
                "chdir" => asked.directory = Some(value(attached, &mut args)?),
                "group" | "prompt" | "other-user" | "host" | "close-from" => {
                    drop(value(attached, &mut args)?)
                }
                "login" => (asked.shell, asked.home, asked.login) = (true, true, true),
                "shell" => asked.shell = true,
                "set-home" => asked.home = true,
                "background" => asked.background = true,
                "preserve-env" | "non-interactive" | "stdin" | "preserve-groups" | "askpass"
                | "no-update" => {}
                "validate" | "reset-timestamp" | "remove-timestamp" | "list" | "version" => {
                    asked.nothing = true
                }
                _ => return None,
            }
            continue;
        }
        if arg == "--" {
            break;
        }
        let letters = &arg[1..];
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            match letter {
                'u' => asked.user = Some(value(rest, &mut args)?.into_string().ok()?),
                'D' => asked.directory = Some(value(rest, &mut args)?),
                'g' | 'p' | 'U' | 'C' | 'r' | 't' | 'T' => drop(value(rest, &mut args)?),
                'i' => (asked.shell, asked.home, asked.login) = (true, true, true),
                's' => asked.shell = true,
                'H' => asked.home = true,
                'b' => asked.background = true,
                'E' | 'n' | 'S' | 'P' | 'A' | 'B' | 'N' => continue,
                'v' | 'k' | 'K' | 'l' | 'V' => asked.nothing = true,
                _ => return None,
            }
            if "uDgpUCrtT".contains(letter) {
                break;
            }
        }
    }
    while let Some(arg) = args.peek() {
        let Some((name, value)) = arg.to_str().and_then(|arg| arg.split_once('=')) else { break };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            break;
        }
        asked.env.push((name.into(), value.into()));
        args.next();
    }
    asked.command = args.cloned().collect();
    if asked.shell && !asked.command.is_empty() {
        asked.command = vec![asked.command.join(OsStr::new(" "))];
    }
    // `sudo -k COMMAND` forgets the password and runs.
    asked.nothing &= asked.command.is_empty();
    Some(asked)
}

/// Reads the arguments of su(1), or of runuser(1), which may have a command and no shell.
fn su(args: &[OsString]) -> Option<Asked> {
    let mut asked = Asked { shell: true, home: true, ..Asked::default() };
    let (mut args, mut script, mut plain) = (args.iter().peekable(), None, Vec::new());
    while let Some(arg) = args.next() {
        // Options may follow the user, but not a command.
        if !arg.as_encoded_bytes().starts_with(b"-") {
            plain.push(arg.clone());
            if asked.shell {
                continue;
            }
            break;
        }
        let arg = arg.to_str()?;
        if arg == "--" {
            break;
        }
        let (name, attached) = match arg.strip_prefix("--") {
            Some(long) => long.split_once('=').unwrap_or((long, "")),
            None if arg == "-" => ("l", ""),
            None => arg.get(1..)?.split_at_checked(1)?,
        };
        match name {
            "c" | "command" | "session-command" => script = Some(value(attached, &mut args)?),
            "s" | "shell" => asked.with = Some(value(attached, &mut args)?),
            "u" | "user" => {
                asked.user = Some(value(attached, &mut args)?.into_string().ok()?);
                asked.shell = false;
            }
            "g" | "G" | "w" | "group" | "supp-group" | "whitelist-environment" => {
                value(attached, &mut args)?;
            }
            "l" | "login" => asked.login = true,
            "m" | "p" | "preserve-environment" => asked.home = false,
            "P" | "f" | "pty" | "fast" => {}
            _ => return None,
        }
    }
    plain.extend(args.cloned());
    let mut plain = plain.into_iter();
    if asked.shell {
        asked.user = Some(plain.next().unwrap_or_else(|| "root".into()).into_string().ok()?);
    }
    asked.command = script.into_iter().chain(plain).collect();
    Some(asked)
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

/// Returns the user of that name, or of that number written as `#N`, by passwd(5).
fn user(name: &str, passwd: &str) -> Option<User> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, _, home, shell] = fields[..] else { return None };
        let meant = name.strip_prefix('#').map_or(found == name, |number| number == uid);
        let user = User {
            name: found.into(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: home.into(),
            shell: if shell.is_empty() { "/bin/sh".into() } else { shell.into() },
        };
        meant.then_some(user)
    };
    passwd.lines().find_map(of).or_else(|| {
        let is_root = name == "root" || name == "#0";
        is_root.then(|| User {
            name: "root".into(),
            uid: 0,
            gid: 0,
            home: "/root".into(),
            shell: "/bin/sh".into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_as_they_are_written() {
        let asked = |line: &str| sudo(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let plain = |line: &str| Asked {
            command: line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect(),
            ..Asked::default()
        };
        assert_eq!(asked("apt-get install -y x").unwrap(), plain("apt-get install -y x"));
        assert_eq!(asked("-E -n -- ls -l").unwrap(), plain("ls -l"));
        for line in [
            "-u postgres psql -l",
            "-nupostgres psql -l",
            "--user=postgres psql -l",
            "--user postgres psql -l",
        ] {
            assert_eq!(
                asked(line).unwrap(),
                Asked { user: Some("postgres".into()), ..plain("psql -l") },
                "{line}"
            );
        }
        let env = vec![("DEBIAN_FRONTEND".into(), "noninteractive".into())];
        assert_eq!(
            asked("DEBIAN_FRONTEND=noninteractive apt x=y").unwrap(),
            Asked { env, ..plain("apt x=y") }
        );
        assert_eq!(asked("-i").unwrap(), Asked { shell: true, home: true, login: true, ..plain("") });
        for line in ["-v", "-k", "-n -l"] {
            assert!(asked(line).unwrap().nothing, "{line}");
        }
        assert!(!asked("-k ls").unwrap().nothing);
        assert_eq!(asked("-e /etc/hosts"), None);
        assert_eq!(asked("-u"), None);
    }

    #[test]
    fn su_and_runuser_as_they_are_written() {
        let asked = |words: &[&str]| su(&words.iter().map(OsString::from).collect::<Vec<_>>()).unwrap();
        let ann = |shell, login, command: &[&str]| Asked {
            user: Some("ann".into()),
            shell,
            login,
            home: true,
            command: command.iter().map(OsString::from).collect(),
            ..Asked::default()
        };
        assert_eq!(asked(&["ann", "-c", "ls -l"]), ann(true, false, &["ls -l"]));
        assert_eq!(asked(&["-", "ann"]), ann(true, true, &[]));
        assert_eq!(asked(&["-c", "ls -l", "ann"]), ann(true, false, &["ls -l"]));
        assert_eq!(asked(&["-l", "-c", "ls", "ann", "x"]), ann(true, true, &["ls", "x"]));
        assert_eq!(asked(&["-u", "ann", "--", "ls", "-l"]), ann(false, false, &["ls", "-l"]));
        assert_eq!(asked(&[]).user, Some("root".into()));
    }

    #[test]
    fn users_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n";
        let found = |name| user(name, passwd).map(|user| (user.name, user.uid, user.gid));
        assert_eq!(found("ann"), Some(("ann".into(), 1000, 100)));
        assert_eq!(found("#1000"), Some(("ann".into(), 1000, 100)));
        assert_eq!(found("bob"), None);
        assert_eq!(user("root", "").map(|user| user.uid), Some(0));
    }
}
