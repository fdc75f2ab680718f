//! `quire models` and `quire models add` through the binary, with a provider of the test's own on the loopback address.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

/// A provider with one model, which it lists to whoever sends the key `sk-right`, with context and price; asked itself, the
/// model streams, calls the tool that it is given, and knows the colour of a picture. Returns its base address.
fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    url
}

fn serve(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    let text = |request: &[u8]| String::from_utf8_lossy(request).into_owned();
    loop {
        let n = stream.read(&mut piece).unwrap();
        request.extend_from_slice(&piece[..n]);
        let so_far = text(&request);
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break;
        }
    }
    let request = text(&request);
    let fine = request.to_lowercase().contains("authorization: bearer sk-right\r\n");
    let chunk = |delta: &str, finish: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n")
    };
    let call = r#"{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"picture","arguments":"{}"}}]}"#;
    let list = r#"{"object":"list","data":[{"id":"qwen3-coder","context_length":131072,"pricing":{"prompt":"0.0000002","completion":"0.0000008"},"supported_parameters":["tools"]}]}"#;
    let (status, kind, body) = match fine {
        false => (
            "401 Unauthorized",
            "application/json",
            r#"{"error":{"message":"no such key: sk-wrong"}}"#.to_owned(),
        ),
        true if request.starts_with("GET /v1/models ") => ("200 OK", "application/json", list.to_owned()),
        true if request.contains("image_url") => (
            "200 OK",
            "text/event-stream",
            chunk("{\"content\":\"Magenta.\"}", "null") + &chunk("{}", "\"stop\""),
        ),
        true => ("200 OK", "text/event-stream", chunk(call, "null") + &chunk("{}", "\"tool_calls\"")),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
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
    let home = home(&provider());
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

/// What the list says is shown and kept; what it does not say is asked of the model itself.
#[test]
fn models_are_asked_themselves() {
    let home = home(&provider());
    let config = home.path().join(".config/quire/config.toml");
    let roles = "model = 'lab/qwen3-coder'\nreview_model = 'lab/qwen3-coder'\nfallback_models = ['gone/x']\n";
    let gone = "[providers.gone]\nbase_url = 'http://127.0.0.1:1/v1'\n";
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{roles}{text}{gone}")).unwrap();
    assert_eq!(quire(home.path(), &["models", "add", "lab"], "sk-right\n").status.code(), Some(0));

    let out = quire(home.path(), &["models", "--json", "-m", "lab/other"], "");
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text_of(&out));
    let lab = told["providers"].as_array().unwrap().iter().find(|p| p["provider"] == "lab").unwrap();
    let listed = &lab["models"][0];
    assert_eq!((&listed["context_tokens"], &listed["tools"]), (&131_072.into(), &true.into()));
    assert_eq!(
        (listed["price"]["input"].as_f64(), listed["price"]["output"].as_f64()),
        (Some(0.2), Some(0.8))
    );
    let asked = told["asked"].as_array().unwrap();
    let names: Vec<&str> = asked.iter().map(|asked| asked["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["lab/qwen3-coder", "gone/x", "lab/other"]);
    assert_eq!(asked[0]["roles"], serde_json::json!(["model", "review_model"]));
    for what in ["answers", "streams", "calls_tools", "sees_images"] {
        assert_eq!(asked[0][what], true, "{what}: {told:#}");
    }
    assert_eq!(asked[1]["answers"], false);
    assert!(asked[1]["message"].as_str().unwrap().contains("cannot be reached"), "{told:#}");

    let out = quire(home.path(), &["models"], "");
    let shown = text_of(&out);
    for said in [
        "lab/qwen3-coder  131,072 tokens  $0.20 in, $0.80 out a million  tools",
        "lab/qwen3-coder  answers, streams, calls tools, sees images",
        "(model, review_model)",
        "(fallback_models)",
        "no key: set OPENAI_API_KEY",
    ] {
        assert!(shown.contains(said), "{said:?} is not in:\n{shown}");
    }
    let kept = std::fs::read_to_string(home.path().join(".local/share/quire/models.json")).unwrap();
    assert!(kept.contains("131072") && !kept.contains("sk-right"), "{kept}");

    for (model, said) in [("lab", "is not PROVIDER/MODEL"), ("lba/x", "Did you mean `lab`?")] {
        let out = quire(home.path(), &["models", "-m", model], "");
        assert_eq!(out.status.code(), Some(2));
        assert!(text_of(&out).contains(said), "{}", text_of(&out));
    }
}

fn text_of(out: &Output) -> String {
    text(&out.stdout) + &text(&out.stderr)
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
