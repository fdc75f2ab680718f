//! One conversation as each kind of server sends it, with what is odd about that server: thoughts, words and a call come out
//! the same.

use super::server::Server;
use super::*;
use quire_core::Usage;

/// A server, the wire it speaks, the bytes of its stream, and the id and tokens that come of them.
struct Row {
    server: &'static str,
    wire: Wire,
    bytes: &'static str,
    id: &'static str,
    /// Read, of that cached, and written; all 0: the server does not say.
    tokens: (u64, u64, u64),
    /// What goes back with the next request, besides words and call.
    goes_back: &'static str,
}

/// Returns each wire with the stream of a server that speaks it.
pub(crate) fn streams() -> Vec<(Wire, &'static str)> {
    ROWS.iter().map(|row| (row.wire, row.bytes)).collect()
}

const ROWS: [Row; 12] = [
    Row {
        server: "OpenAI, Chat",
        wire: Wire::Chat,
        bytes: r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x"}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"I look."},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_abc","type":"function","function":{"name":"shell","arguments":""}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"command\":"}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"ls\"}"}}]},"finish_reason":null}],"usage":null}

data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}

data: {"id":"c","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":64}}}

data: [DONE]

"#,
        id: "call_abc",
        tokens: (100, 64, 9),
        goes_back: "",
    },
    Row {
        // The whole call in one chunk, always at index 0, and `stop` for its end.
        server: "Ollama",
        wire: Wire::Chat,
        bytes: r#"data: {"id":"c","model":"qwen3","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Hm"},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"I look."},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"id":"call_o1","index":0,"type":"function","function":{"name":"shell","arguments":"{\"command\":\"ls\"}"}}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop"}]}

data: {"id":"c","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109}}

data: [DONE]

"#,
        id: "call_o1",
        tokens: (100, 0, 9),
        goes_back: r#""reasoning":"Hm""#,
    },
    Row {
        // Before 0.5 or so: no id.
        server: "Ollama of old",
        wire: Wire::Chat,
        bytes: r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"I look."},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"shell","arguments":"{\"command\":\"ls\"}"}}]},"finish_reason":"stop"}]}

data: [DONE]

"#,
        id: "q00000000",
        tokens: (0, 0, 0),
        goes_back: "",
    },
    Row {
        server: "llama.cpp",
        wire: Wire::Chat,
        bytes: r#"data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1,"id":"c","model":"m","system_fingerprint":"b1","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"reasoning_content":"Hm"}}],"id":"c"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"I look."}}],"id":"c"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"id":"S9l","type":"function","function":{"name":"shell","arguments":"{\"command\":\""}}]}}],"id":"c"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ls\"}"}}]}}],"id":"c"}

data: {"choices":[{"finish_reason":"tool_calls","index":0,"delta":{}}],"id":"c"}

data: {"choices":[],"id":"c","usage":{"completion_tokens":9,"prompt_tokens":100,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":96}},"timings":{"cache_n":96,"prompt_n":4,"predicted_n":9}}

data: [DONE]

"#,
        id: "S9l",
        tokens: (100, 96, 9),
        goes_back: r#""reasoning_content":"Hm""#,
    },
    Row {
        server: "vLLM",
        wire: Wire::Chat,
        bytes: r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null}

data: {"id":"c","choices":[{"index":0,"delta":{"reasoning":"Hm","reasoning_content":"Hm"},"finish_reason":null,"token_ids":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"I look."},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"id":"chatcmpl-tool-5c0","type":"function","index":0,"function":{"name":"shell"}}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"command\": \"ls\"}"}}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"tool_calls","stop_reason":null}]}

data: {"id":"c","choices":[],"usage":{"prompt_tokens":100,"total_tokens":109,"completion_tokens":9,"prompt_tokens_details":null}}

data: [DONE]

"#,
        id: "chatcmpl-tool-5c0",
        tokens: (100, 0, 9),
        goes_back: r#""reasoning_content":"Hm""#,
    },
    Row {
        // Its parser took the call for words.
        server: "vLLM with the wrong parser",
        wire: Wire::Chat,
        bytes: r#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"I look.\n\n<tool_"},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"call>\n{\"name\": \"shell\", \"arguments\": {\"command\": \"ls\"}}\n</tool_call>"},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop","stop_reason":null}]}

data: {"id":"c","choices":[],"usage":{"prompt_tokens":100,"total_tokens":109,"completion_tokens":9}}

data: [DONE]

"#,
        id: "q00000000",
        tokens: (100, 0, 9),
        goes_back: "",
    },
    Row {
        // The role in each delta.
        server: "LM Studio",
        wire: Wire::Chat,
        bytes: r#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"I "},"logprobs":null,"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"look."},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"377","type":"function","function":{"name":"shell","arguments":""}}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":null,"type":"function","function":{"name":null,"arguments":"{\"command\":\"ls\"}"}}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: [DONE]

"#,
        id: "377",
        tokens: (0, 0, 0),
        goes_back: "",
    },
    Row {
        server: "OpenRouter",
        wire: Wire::Chat,
        bytes: r#": OPENROUTER PROCESSING

: OPENROUTER PROCESSING

data: {"id":"gen-1","provider":"X","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"H","reasoning_details":[{"type":"reasoning.text","text":"H","format":"f","index":0}]},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"m","reasoning_details":[{"type":"reasoning.text","text":"m","signature":"c2ln","index":0}]},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":"I look."},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"toolu_1","type":"function","function":{"name":"shell","arguments":"{\"command\":\"ls\"}"}}]},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"tool_calls","native_finish_reason":"tool_use"}]}

data: {"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null}],"usage":{"prompt_tokens":100,"completion_tokens":9,"cost":0.0004,"prompt_tokens_details":{"cached_tokens":64,"cache_write_tokens":10}}}

data: [DONE]

"#,
        id: "toolu_1",
        tokens: (100, 64, 9),
        goes_back: r#""reasoning_details":[{"format":"f","index":0,"signature":"c2ln","text":"Hm","type":"reasoning.text"}]"#,
    },
    Row {
        server: "DeepSeek",
        wire: Wire::Chat,
        bytes: r#": keep-alive



: keep-alive

data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":null,"reasoning_content":"Hm"},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"I look.","reasoning_content":null},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_00_x","type":"function","function":{"name":"shell","arguments":"{\"command\":\"ls\"}"}}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"","reasoning_content":null},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":100,"completion_tokens":9,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}}

data: [DONE]

"#,
        id: "call_00_x",
        tokens: (100, 64, 9),
        goes_back: r#""reasoning_content":"Hm""#,
    },
    Row {
        // Content as a list of parts, an end and usage in the last chunk of all.
        server: "Mistral",
        wire: Wire::Chat,
        bytes: r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}]},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"I look."},"finish_reason":null}]}

data: {"id":"c","choices":[{"index":0,"delta":{"content":"","tool_calls":[{"id":"D681PevKs","function":{"name":"shell","arguments":"{\"command\":\"ls\"}"},"index":0}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":100,"total_tokens":109,"completion_tokens":9}}

data: [DONE]

"#,
        id: "D681PevKs",
        tokens: (100, 0, 9),
        goes_back: "",
    },
    Row {
        // A signature in a field of the call that nobody else has, and no last line.
        server: "Google",
        wire: Wire::Chat,
        bytes: r#"data: {"choices":[{"delta":{"content":"I look.","role":"assistant"},"index":0}],"created":1,"id":"c","model":"gemini","object":"chat.completion.chunk","usage":{"completion_tokens":2,"prompt_tokens":100,"total_tokens":102}}

data: {"choices":[{"delta":{"role":"assistant","tool_calls":[{"extra_content":{"google":{"thought_signature":"c2ln"}},"function":{"arguments":"{\"command\":\"ls\"}","name":"shell"},"id":"function-call-1","type":"function","index":0}]},"finish_reason":"tool_calls","index":0}],"id":"c","usage":{"completion_tokens":9,"prompt_tokens":100,"total_tokens":109}}

data: [DONE]"#,
        id: "function-call-1",
        tokens: (100, 0, 9),
        goes_back: r#""extra_content":{"google":{"thought_signature":"c2ln"}}"#,
    },
    Row {
        server: "Anthropic",
        wire: Wire::Messages,
        bytes: r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":26,"cache_creation_input_tokens":10,"cache_read_input_tokens":64,"output_tokens":1}}}

event: ping
data: {"type": "ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"I look."}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_01","name":"shell","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"command\":\"ls\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}

event: message_stop
data: {"type":"message_stop"}

"#,
        id: "toolu_01",
        tokens: (100, 64, 9),
        goes_back: r#"{"data":"ZGF0YQ==","type":"redacted_thinking"}"#,
    },
];

#[tokio::test]
async fn as_each_server_sends_it() {
    for row in ROWS {
        let Row { server: name, wire, bytes, id, tokens, goes_back } = row;
        let server = Server::start().await;
        let (client, model) = (client(), model(wire, &server.url()));
        let first = prompt(vec![words("Look")]);
        let (asked, _) = tokio::join!(ask(&client, &model, &first), server.stream(bytes));
        let thinks = bytes.contains("Hm") || bytes.contains("\"m\"");
        assert_eq!(asked.reasoning(), if thinks { "Hm" } else { "" }, "{name}");
        let reply = Arc::new(asked.reply());
        assert_eq!(reply.text, "I look.", "{name}");
        let [call] = &reply.calls[..] else { panic!("{name}: {:?}", reply.calls) };
        let input: Value = serde_json::from_str(&call.input).unwrap();
        assert_eq!((call.id.as_str(), &input["command"]), (id, &json!("ls")), "{name}");
        let Usage { input, cached, output, estimated, .. } = reply.usage;
        assert_eq!(estimated, tokens == (0, 0, 0), "{name}");
        assert!(estimated || (input, cached, output) == tokens, "{name}: {:?}", reply.usage);

        let next = prompt(vec![words("Look"), PromptItem::Model(reply.clone()), results(&reply, "a.txt")]);
        let (asked, exchange) = tokio::join!(ask(&client, &model, &next), server.stream(bytes));
        asked.reply();
        assert!(exchange.body.contains(goes_back), "{name}: {goes_back} is not in {}", exchange.body);
        assert_eq!(exchange.body.matches(&format!("\"{id}\"")).count(), 2, "{name}: {}", exchange.body);
    }
}
