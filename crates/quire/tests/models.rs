//! `quire models` and `quire models add` through the binary, with a provider of the test's own on the loopback address.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// A provider that lists one model to whoever sends the key `sk-right`, `times` times. Returns its base address.
fn provider(times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                let n = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..n]);
            }
            let fine = String::from_utf8(request)
                .unwrap()
                .to_lowercase()
                .contains("authorization: bearer sk-right\r\n");
            let (status, body) = match fine {
                true => ("200 OK", r#"{"object":"list","data":[{"id":"qwen3-coder"}]}"#),
                false => ("401 Unauthorized", r#"{"error":{"message":"no such key"}}"#),
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

/// Runs quire in `home`, where no model server is looked for at a usual port, with `input` on its stdin.
fn quire(home: &Path, arguments: &[&str], input: &str) -> Output {
    // A port that was free a moment ago: nothing listens there.
    let nowhere = format!("http://{}/v1", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(arguments).env_clear().env("HOME", home).current_dir(home);
    for name in ["OLLAMA", "LMSTUDIO", "LLAMACPP", "VLLM"] {
        command.env(format!("QUIRE_PROVIDERS__{name}__BASE_URL"), &nowhere);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that is refused at once does not wait for its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn home(url: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".config/quire")).unwrap();
    let config = format!("[providers.lab]\nbase_url = '{url}'\nkey_env = 'LAB_KEY'\n");
    std::fs::write(home.path().join(".config/quire/config.toml"), config).unwrap();
    home
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_key_is_tested_stored_and_used() {
    let home = home(&provider(3));
    let keys = home.path().join(".config/quire/keys.toml");

    let out = quire(home.path(), &["models", "add", "lab"], "sk-wrong\n");
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(4), String::new()), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("No key was stored.") && !text(&out.stderr).contains("sk-wrong"));
    assert!(!keys.exists());

    let out = quire(home.path(), &["models", "add", "lab"], "sk-right\n");
    assert_eq!((out.status.code(), text(&out.stderr)), (Some(0), String::new()));
    assert!(text(&out.stdout).contains("quire -m lab/qwen3-coder"), "{}", text(&out.stdout));
    assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);

    let out = quire(home.path(), &["models", "--json"], "");
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &told["v"]), (Some(0), &1.into()));
    let lab = told["providers"].as_array().unwrap().iter().find(|p| p["provider"] == "lab").unwrap();
    assert_eq!((&lab["state"], &lab["models"][0]["name"]), (&"answers".into(), &"qwen3-coder".into()));
}

#[test]
fn without_a_model_the_list_is_shown_with_exit_4() {
    let home = tempfile::tempdir().unwrap();
    let out = quire(home.path(), &["models"], "");
    assert_eq!(out.status.code(), Some(4));
    assert!(text(&out.stdout).contains("no key: set OPENAI_API_KEY"), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains("quire demo"), "{}", text(&out.stderr));
}

#[test]
fn a_key_for_nobody_is_wrong_use() {
    let home = home("http://127.0.0.1:9/v1");
    let rows = [
        (["models", "add", "lba"], "sk-1", "There is no provider `lba`. Did you mean `lab`?"),
        (["models", "add", "ollama"], "sk-1", "`ollama` takes no key."),
        (["models", "add", "lab"], "", "What was read is no key"),
        (["models", "add", "lab"], "two words", "What was read is no key"),
    ];
    for (arguments, input, said) in rows {
        let out = quire(home.path(), &arguments, input);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(2), String::new()), "{arguments:?}");
        assert!(text(&out.stderr).contains(said), "{arguments:?}: {}", text(&out.stderr));
    }
}
