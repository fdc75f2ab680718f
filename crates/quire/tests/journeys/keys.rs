//! Keys: where they must never be, what is tried when one is refused, and how a proxy's password is asked for.

use crate::model::{Answer, Model, Wire, say, shell};
use crate::stage::Stage;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

const KEY: &str = "sk-planted-in-a-variable-0123456789";
const STORED: &str = "sk-planted-in-a-file-9876543210";

fn with_key(stage: &Stage, model: &Model, wire: Wire) {
    stage.configure(model, wire, "key_env = \"LAB_KEY\"\n");
}

fn store(at: &Path, key: &str) {
    fs::write(at, format!("lab = \"{key}\"\n")).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Returns every file below `dir` whose content is such.
fn files(dir: &Path, such: &dyn Fn(&[u8]) -> bool) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && such(&fs::read(&path).unwrap_or_default()) {
                found.push(path);
            }
        }
    }
    found
}

fn has(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|part| part == needle.as_bytes())
}

/// Whether one of the keys is in there; their middle is enough, and so is its hexadecimal form.
fn has_key(bytes: &[u8]) -> bool {
    [KEY, STORED].iter().any(|key| {
        let part = &key[3..key.len() - 4];
        let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
        has(bytes, part) || has(bytes, &hex)
    })
}

/// A server sends the key back in every way that it can; afterwards it is in nothing that quire keeps, shows or runs.
#[test]
fn a_key_is_nowhere_but_in_its_place() {
    for (wire, is_stored) in [(Wire::Responses, false), (Wire::Chat, true), (Wire::Messages, false)] {
        let mut stage = Stage::set();
        let (key, echo) = if is_stored { (STORED, ECHO_STORED) } else { (KEY, ECHO) };
        let model = Model::new(move |asked| match asked.answered {
            // Said, thought of, and put into a command by the model itself.
            0 => Answer::Reply(
                format!("Your key is {key}."),
                vec![("shell".into(), format!(r#"{{"command":"echo {key} | tee said; env"}}"#))],
            ),
            1 => shell("cat said; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'"),
            2 => Answer::Status(401, echo),
            _ => say(&format!("It was {key}.")),
        });
        with_key(&stage, &model, wire);
        let keys = stage.base().join("config/quire/keys.toml");
        if is_stored {
            store(&keys, STORED);
        } else {
            stage.env = vec![("LAB_KEY".into(), KEY.into()), ("QUIRE_LOG".into(), "trace".into())];
        }
        model.hold_from(0);
        stage.quire(&["run", "-b", "--check", "cat said", "do it"]).exits(0);
        model.wait_for(0, 1);
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            assert!(!has_key(&line), "{wire:?}: on a command line of {:?}", entry.file_name());
        }
        let host = stage.host().pid;
        assert!(
            !has_key(&fs::read(format!("/proc/{host}/environ")).unwrap()),
            "{wire:?}: the host's variables"
        );
        model.let_go();
        let mut said = vec![stage.quire(&["watch", "1"])];
        assert!(said[0].err.contains("Your key is [key]."), "{said:?}");
        assert_eq!(stage.state(1), "needs you: the model's key was refused", "{said:?}");
        for command in [
            &["log", "1"][..],
            &["log", "1", "--json"],
            &["ls", "--json"],
            &["review", "1", "--diff"],
            &["doctor"],
        ] {
            said.push(stage.quire(command));
        }
        for status in [400, 402, 403, 404] {
            let model = Model::new(move |_| Answer::Status(status, echo));
            with_key(&stage, &model, wire);
            said.push(stage.quire(&["run", "once more"]));
            assert!(model.asked().iter().all(|asked| asked.head.contains(key)), "the server has it");
        }
        for ended in &said {
            assert!(!has_key(ended.out.as_bytes()) && !has_key(ended.err.as_bytes()), "{wire:?}: {ended:?}");
        }
        let found: Vec<PathBuf> =
            files(stage.base(), &has_key).into_iter().filter(|path| *path != keys).collect();
        assert!(found.is_empty(), "{wire:?}: {found:#?}");
        assert!(stage.data().join("host.log").exists() && stage.data().join("quire.db").exists());
    }
}

const ECHO: &str = r#"{"error":{"message":"No: sk-planted-in-a-variable-0123456789","type":"sk-planted-in-a-variable-0123456789"}}"#;
const ECHO_STORED: &str =
    r#"{"error":{"message":"No: sk-planted-in-a-file-9876543210","type":"sk-planted-in-a-file-9876543210"}}"#;

/// A key that was replaced while a task ran is taken up at the first refusal, once, without a word from the person.
#[test]
fn a_refused_key_gives_way_to_the_one_that_was_stored_meanwhile() {
    let stage = Stage::set();
    let keys = stage.base().join("config/quire/keys.toml");
    let place = keys.clone();
    let model = Model::new(move |asked| {
        let is_new = asked.head.contains("bearer sk-new");
        match asked.answered {
            // It runs out in the midst of the task.
            1 if !is_new => {
                store(&place, "sk-new-0123456789");
                Answer::Status(401, r#"{"error":{"message":"expired"}}"#)
            }
            0 => shell("echo 1 > one"),
            2 if is_new => Answer::Status(401, r#"{"error":{"message":"no more of that"}}"#),
            _ => shell("echo 2 > two"),
        }
    });
    with_key(&stage, &model, Wire::Chat);
    store(&keys, "sk-old-0123456789");
    stage
        .quire(&["make two files"])
        .exits(4)
        .tells(&["does not accept the key in LAB_KEY (401): no more of that", "quire models add lab"]);
    let sent: Vec<bool> = model.asked().iter().map(|asked| asked.head.contains("sk-new")).collect();
    assert_eq!(
        sent,
        [false, false, true, true],
        "the old one twice, the new one from then on, and no third try"
    );
}

/// A proxy that asks for `me:secret`, and passes on what it is asked in plain HTTP to `to`.
fn proxy(to: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = to.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let asked = heard.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (to, asked) = (to.clone(), asked.clone());
            // A client may go at any time.
            thread::spawn(move || drop(pass_on(stream, &to, &asked)));
        }
    });
    (address, heard)
}

fn pass_on(mut client: TcpStream, to: &str, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(first.clone());
    // me:secret
    if !head.to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0") {
        let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"lab\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(refused.as_bytes());
    }
    let mut server = TcpStream::connect(to)?;
    let path = first.split("/v1/").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let rest = head.split_once("\r\n").map_or("", |(_, rest)| rest);
    server.write_all(format!("POST /v1/{path} HTTP/1.1\r\n{rest}").as_bytes())?;
    let mut up = server.try_clone()?;
    thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut down = server;
    let mut piece = [0; 4096];
    loop {
        let length = down.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        client.write_all(&piece[..length])?;
    }
}

/// With the name and the password that it asks for, the way is free; without them, the task waits and says what to do. In plain HTTP
/// the proxy answers the request itself, with TLS it refuses the tunnel.
#[test]
fn a_proxy_that_wants_a_password_says_so_and_is_given_one() {
    let model = Model::saying(vec![say("Through the proxy.")]);
    let (address, heard) = proxy(&model.url);
    for scheme in ["http", "https"] {
        heard.lock().unwrap().clear();
        let mut stage = Stage::set();
        let settings = format!(
            "model = 'lab/m'\n[providers.lab]\nbase_url = '{scheme}://models.example.test/v1'\nwire = 'chat'\n"
        );
        fs::write(stage.base().join("config/quire/config.toml"), settings).unwrap();
        let set = |to: &str| vec![(format!("{}_proxy", scheme), format!("http://{to}"))];
        for credentials in ["", "me:wrong@"] {
            stage.env = set(&format!("{credentials}{address}"));
            let told =
                ["the proxy on the way to it asks for a name and password", "http://NAME:PASSWORD@HOST:PORT"];
            let ended = stage.quire(&["say hello"]).exits(4).tells(&told);
            assert!(!ended.err.contains("wrong"), "{}", ended.err);
            stage.quire(&["host", "--stop"]).exits(0);
        }
        let asked = heard.lock().unwrap().clone();
        let verb = if scheme == "http" {
            "POST http://models.example.test/v1/chat/completions "
        } else {
            "CONNECT models.example.test:443 "
        };
        assert!(
            asked.len() == 2 && asked.iter().all(|line| line.starts_with(verb)),
            "asked once each time: {asked:?}"
        );
        if scheme == "http" {
            stage.env = set(&format!("me:secret@{address}"));
            stage.quire(&["resume", "1"]).exits(0);
            let ended = stage.quire(&["watch", "1"]).exits(0);
            assert!(ended.out.contains("Through the proxy."), "{ended:?}");
            let held = files(stage.base(), &|bytes| has(bytes, "me:secret"));
            assert!(held.is_empty(), "{held:?}");
        }
    }
}
