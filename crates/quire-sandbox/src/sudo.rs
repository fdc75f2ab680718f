//! `sudo`, as commands know it, where everybody is root already: it starts the command, as another user where it is told to
//! and there is one. The real one cannot work, since no program inside gains privileges by being started.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

const USAGE: &str = "usage: sudo [-EHnS] [-u USER] [-D DIRECTORY] [VARIABLE=VALUE...] COMMAND...\n\
                     You are root in this sandbox: sudo only starts the command.";

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    user: Option<String>,
    directory: Option<OsString>,
    env: Vec<(OsString, OsString)>,
    /// A shell runs the command, or waits for some.
    shell: bool,
    home: bool,
    background: bool,
    /// Only about passwords and rights, of which there are none.
    nothing: bool,
    command: Vec<OsString>,
}

/// Becomes the command; returns the exit code of what went wrong.
pub fn main(args: &[OsString]) -> i32 {
    let Some(asked) = read(args) else {
        eprintln!("{USAGE}");
        return 1;
    };
    if asked.nothing {
        return 0;
    }
    let mut words = asked.command.iter();
    let mut command = if asked.shell {
        let mut shell = Command::new(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
        if !asked.command.is_empty() {
            shell.arg("-c").arg(asked.command.join(OsStr::new(" ")));
        }
        shell
    } else {
        let Some(program) = words.next() else {
            eprintln!("{USAGE}");
            return 1;
        };
        let mut command = Command::new(program);
        command.args(words);
        command
    };
    command.envs(asked.env).env("SUDO_USER", "root").env("SUDO_UID", "0").env("SUDO_GID", "0");
    if let Some(directory) = asked.directory {
        command.current_dir(directory);
    }
    let name = asked.user.as_deref().unwrap_or("root");
    let Some(user) = user(name, &fs::read_to_string("/etc/passwd").unwrap_or_default()) else {
        eprintln!("sudo: there is no user {name:?} in this sandbox");
        return 1;
    };
    command.env("USER", &user.name).env("LOGNAME", &user.name);
    if asked.home {
        command.env("HOME", &user.home);
    }
    if user.uid != 0 {
        // SAFETY: between fork and exec these take plain numbers and touch no memory.
        unsafe {
            command.pre_exec(move || {
                let done = libc::setgroups(0, std::ptr::null()) == 0
                    && libc::setgid(user.gid) == 0
                    && libc::setuid(user.uid) == 0;
                if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
    }
    let error = if asked.background {
        match command.spawn() {
            Ok(_) => return 0,
            Err(error) => error,
        }
    } else {
        command.exec()
    };
    eprintln!("sudo: {}: {error}", command.get_program().display());
    if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Reads sudo(8)'s arguments; `None` for what this one does not know.
fn read(args: &[OsString]) -> Option<Asked> {
    let mut asked = Asked::default();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next_if(|arg| arg.as_encoded_bytes().starts_with(b"-")) {
        let arg = arg.to_str()?;
        let mut value = |attached: &str| match attached {
            "" => args.next().cloned(),
            attached => Some(OsString::from(attached)),
        };
        if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, attached) = long.split_once('=').unwrap_or((long, ""));
            match name {
                "user" => asked.user = Some(value(attached)?.into_string().ok()?),
                "chdir" => asked.directory = Some(value(attached)?),
                "group" | "prompt" | "other-user" | "host" | "close-from" => drop(value(attached)?),
                "login" => (asked.shell, asked.home) = (true, true),
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
                'u' => asked.user = Some(value(rest)?.into_string().ok()?),
                'D' => asked.directory = Some(value(rest)?),
                'g' | 'p' | 'U' | 'C' | 'r' | 't' | 'T' => drop(value(rest)?),
                'i' => (asked.shell, asked.home) = (true, true),
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
    // `sudo -k COMMAND` forgets the password and runs.
    asked.nothing &= asked.command.is_empty();
    Some(asked)
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Returns the user of that name, or of that number written as `#N`, by passwd(5).
fn user(name: &str, passwd: &str) -> Option<User> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, _, home, ..] = fields[..] else { return None };
        let meant = name.strip_prefix('#').map_or(found == name, |number| number == uid);
        let user =
            User { name: found.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.into() };
        meant.then_some(user)
    };
    passwd.lines().find_map(of).or_else(|| {
        let is_root = name == "root" || name == "#0";
        is_root.then(|| User { name: "root".into(), uid: 0, gid: 0, home: "/root".into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_as_they_are_written() {
        let asked = |line: &str| read(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
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
        assert_eq!(asked("-i").unwrap(), Asked { shell: true, home: true, ..plain("") });
        for line in ["-v", "-k", "-n -l"] {
            assert!(asked(line).unwrap().nothing, "{line}");
        }
        assert!(!asked("-k ls").unwrap().nothing);
        assert_eq!(asked("-e /etc/hosts"), None);
        assert_eq!(asked("-u"), None);
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
