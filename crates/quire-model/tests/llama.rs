//! All wires against the real llama.cpp server, with a tiny random model: what it says is nonsense, how it
//! says it is not.
//!
//! `tests/llama/install` makes what this needs.

use quire_core::charter::{Edits, Model, Wire};
use quire_core::message::{Call, FaultKind, Prompt, PromptItem, Reply, Stop, ToolResult, ToolSpec, Usage};
use quire_core::{Hash, Outcome};
use quire_model::{Client, Glimpse};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const WIRES: [Wire; 3] = [Wire::Responses, Wire::Chat, Wire::Messages];
/// The server's context, in tokens; one byte of the prompt is one token.
const CONTEXT: usize = 4096;

/// The server, for as long as this lives.
struct Llama {
    process: Child,
    address: String,
}

impl Llama {
    fn start() -> Llama {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = std::env::var_os("QUIRE_TEST_CACHE").map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| here.join("../../target/test-cache")).join("llama");
        let install = here.join("tests/llama/install");
        assert!(
            cache.join("stamp").exists(),
            "The llama.cpp server is not installed in {}; run {} once (it uses pip).",
            cache.display(),
            install.display()
        );
        let mut process = Command::new(cache.join("venv/bin/python"))
            .args([here.join("tests/llama/serve.py"), cache.join("tiny.gguf")])
            .arg(CONTEXT.to_string())
            // It ends with its input, so it cannot outlive this process.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "the server did not come up: {address:?}");
        Llama { process, address: address.trim().to_owned() }
    }

    fn model(&self, wire: Wire) -> Model {
        Model {
            provider: "llama".to_owned(),
            name: "tiny".to_owned(),
            wire,
            base_url: format!("{}/v1", self.address),
            key_env: None,
            edits: Edits::EditAndWrite,
            images: false,
            context_tokens: None,
            output_tokens: None,
            price: None,
        }
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn prompt(items: Vec<PromptItem>) -> Prompt {
    let properties = serde_json::json!({ "command": { "type": "string", "description": "A command line." } });
    let input = serde_json::json!({ "type": "object", "properties": properties, "required": ["command"] });
    let tool =
        ToolSpec { name: "shell".to_owned(), description: "Runs a command.".to_owned(), input, reads: false };
    let replies = items.iter().filter(|item| matches!(item, PromptItem::Model(_))).count() as u32;
    Prompt {
        system: "Be brief.".into(),
        tools: vec![tool].into(),
        items: items.into_iter().map(Arc::new).collect(),
        cache_key: "task-7".to_owned(),
        replies,
    }
}

/// A conversation in which a call was made and answered, then `more`.
fn called(more: Vec<PromptItem>) -> Prompt {
    let call =
        Call { id: "c1".to_owned(), tool: "shell".to_owned(), input: r#"{"command": "ls"}"#.to_owned() };
    let reply = Reply {
        wire: Wire::Tape,
        items: vec![],
        text: "I look first.".to_owned(),
        calls: vec![call],
        stop: Stop::Done,
        usage: Usage::default(),
        by: String::new(),
    };
    let outcome = Arc::new(Outcome::said("notes.txt"));
    let result = ToolResult { id: "c1".to_owned(), tool: "shell".to_owned(), outcome };
    let first = [PromptItem::Words("List the files.".to_owned()), PromptItem::Model(Arc::new(reply))];
    prompt(first.into_iter().chain([PromptItem::Results(vec![result])]).chain(more).collect())
}

async fn ask(client: &Client, model: &Model, prompt: &Prompt) -> (Reply, String) {
    let shown = Mutex::new(String::new());
    let glimpse = |glimpse| match glimpse {
        Glimpse::Text(text) => shown.lock().unwrap().push_str(&text),
        Glimpse::Reasoning(_) => {}
        other => panic!("{other:?}"),
    };
    let reply = client.ask(model, None, prompt, &HashMap::new(), &glimpse).await;
    let reply = reply.unwrap_or_else(|fault| panic!("{:?}: {fault}", model.wire));
    (reply, shown.into_inner().unwrap())
}

#[tokio::test]
async fn the_real_server_answers_on_all_wires() {
    let llama = Llama::start();
    let client = Client::new();
    for wire in WIRES {
        let model = llama.model(wire);
        assert_eq!(client.models(&model, None).await.unwrap().len(), 1);

        let (first, shown) = ask(&client, &model, &called(vec![])).await;
        assert_eq!(shown, first.text, "{wire:?}");
        assert!(first.usage.input > 100 && first.usage.output > 0, "{wire:?} {:?}", first.usage);
        assert!(!first.usage.estimated, "{wire:?}");

        let more = vec![PromptItem::Model(Arc::new(first.clone())), PromptItem::Words("Go on.".to_owned())];
        let (second, _) = ask(&client, &model, &called(more)).await;
        assert!(second.usage.input > first.usage.input, "{wire:?} {:?} {:?}", first.usage, second.usage);
        assert!(second.usage.cached > 0, "{wire:?} {:?}", second.usage);

        let long = prompt(vec![PromptItem::Words("x".repeat(2 * CONTEXT))]);
        let images: HashMap<Hash, Vec<u8>> = HashMap::new();
        let fault = client.ask(&model, None, &long, &images, &|_| ()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::TooLong, "{wire:?} {fault}");
    }
}
