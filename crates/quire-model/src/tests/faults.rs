//! What goes wrong, whether it is tried again, and what a person is told.

use super::server::Server;
use super::*;
use quire_core::message::FaultKind;

const SAID: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn hello() -> Prompt {
    prompt(vec![words("Hello")])
}

#[tokio::test]
async fn a_refused_connection_is_tried_four_times() {
    let address = {
        let server = Server::start().await;
        server.url()
    };
    let asked = ask(&client(), &model(Wire::Chat, &address), &hello()).await;
    let retries =
        asked.shown.iter().filter(|glimpse| matches!(glimpse, Glimpse::Retrying { of: 4, .. })).count();
    assert_eq!(retries, 3);
    let fault = asked.fault();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    let start = format!("{address}/chat/completions cannot be reached, after 4 tries: Connection refused");
    assert!(fault.message.starts_with(&start), "{}", fault.message);
}

/// Faults that asking again does not mend: one request, and a sentence with the server's own words.
#[tokio::test]
async fn what_is_not_tried_again() {
    let rows = [
        (
            "401 Unauthorized",
            r#"{"error":{"message":"Wrong key sk-very-secret-0123"}}"#,
            FaultKind::Key,
            "does not accept the key in TEST_KEY (401): Wrong key [key]",
        ),
        ("403 Forbidden", "no", FaultKind::Key, "TEST_KEY (403): no"),
        (
            "400 Bad Request",
            r#"{"error":{"message":"Bad sk-very-secret-0123"}}"#,
            FaultKind::Request,
            "refused the request (400): Bad [key]",
        ),
        (
            "404 Not Found",
            r#"{"error":{"message":"no model"}}"#,
            FaultKind::NoModel,
            "does not know model tiny, or is not the right address (404): no model",
        ),
        ("402 Payment Required", "", FaultKind::Credit, "(402): it gave no reason"),
        (
            "400 Bad Request",
            r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"too long"}}"#,
            FaultKind::TooLong,
            "longer than model tiny takes",
        ),
        ("307 Temporary Redirect", "", FaultKind::Request, "sends on to http://elsewhere.test/"),
        (
            "200 OK",
            "<!DOCTYPE html><p>Log in, sk-very-secret-0123",
            FaultKind::Broken,
            "It begins: <!DOCTYPE html><p>Log in, [key]",
        ),
        ("200 OK", "Welcome", FaultKind::Broken, "It begins: Welcome"),
        ("200 OK", r#"{"error":{"code":401,"message":"no"}}"#, FaultKind::Key, "(401): no"),
    ];
    for (status, body, kind, says) in rows {
        let server = Server::start().await;
        let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
        let headers =
            "content-type: text/html\r\nlocation: http://me:sk-very-secret-0123@elsewhere.test/\r\n";
        let (asked, _) = tokio::join!(ask(&client, &model, &prompt), server.answer(status, headers, body));
        assert!(!format!("{:?} {:?}", asked.shown, asked.result).contains(KEY));
        let fault = asked.fault();
        assert_eq!(fault.kind, kind, "{}", fault.message);
        assert!(fault.message.contains(says), "{}", fault.message);
        assert!(fault.message.contains(&server.url()), "{}", fault.message);
    }
}

#[tokio::test]
async fn what_is_tried_again() {
    let overloaded =
        "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
    let rows = [
        ("429 Too Many Requests", "retry-after: 0\r\n", r#"{"error":{"message":"slow"}}"#, 0),
        ("429 Too Many Requests", "retry-after-ms: 7\r\n", "", 7),
        ("429 Too Many Requests", "", r#"{"error":{"message":"Please try again in 9ms"}}"#, 9),
        // More than the client waits at most (40 ms here).
        ("503 Service Unavailable", "retry-after: 3600\r\n", "", 40),
        ("500 Internal Server Error", "", "", -1),
        ("529 Overloaded", "", "", -1),
        ("408 Request Timeout", "", "", -1),
        ("200 OK", "content-type: text/event-stream\r\n", overloaded, -1),
        ("200 OK", "content-type: text/event-stream\r\n", "", -1),
        ("200 OK", "content-type: text/event-stream\r\n", ": PROCESSING\n\n", -1),
        ("200 OK", "content-type: application/json\r\n", "{\"choices\": [{\"mess", -1),
        ("200 OK", "content-type: text/event-stream\r\n", SAID, -1),
        ("200 OK", "content-type: text/event-stream\r\ncontent-length: 9999\r\n", SAID, -1),
    ];
    for (status, headers, body, after) in rows {
        let server = Server::start().await;
        let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
        let answering = async {
            let first = server.answer(status, headers, body).await;
            let second = server.stream(&format!("{SAID}{END}")).await;
            assert_eq!(first.body, second.body, "the same request again");
        };
        let (asked, ()) = tokio::join!(ask(&client, &model, &prompt), answering);
        let was_shown = body == SAID;
        assert_eq!(asked.shown.contains(&Glimpse::Restarted), was_shown, "{status} {body}");
        let retry = asked.shown.iter().find_map(|glimpse| match glimpse {
            Glimpse::Retrying { attempt: 2, of: 6, after_ms, .. } => Some(*after_ms),
            _ => None,
        });
        let retry = retry.expect("a retry is shown");
        assert!(
            after < 0 && retry <= 2 || u64::try_from(after).is_ok_and(|after| after == retry),
            "{status} {retry}"
        );
        assert_eq!(asked.reply().text, "Hello");
    }
}

#[tokio::test]
async fn tries_come_to_an_end() {
    let server = Server::start().await;
    let (client, model, prompt) = (client(), model(Wire::Messages, &server.url()), hello());
    let answering = async {
        for _ in 0..6 {
            server.answer("500 Internal Server Error", "", "sk-very-secret-0123 crashed").await;
        }
    };
    let (asked, ()) = tokio::join!(ask(&client, &model, &prompt), answering);
    assert!(!format!("{:?} {:?}", asked.shown, asked.result).contains(KEY));
    let fault = asked.fault();
    assert_eq!((fault.kind, fault.status), (FaultKind::Busy, Some(500)));
    assert!(
        fault.message.ends_with("cannot answer now (500), after 6 tries: [key] crashed"),
        "{}",
        fault.message
    );
}

/// The start of a call that broke off must not be in the reply of the next try.
#[tokio::test]
async fn nothing_of_a_broken_answer_is_kept() {
    let server = Server::start().await;
    let (client, model, prompt) = (client(), model(Wire::Responses, &server.url()), hello());
    let item = json!({ "type": "function_call", "call_id": "a", "name": "shell", "arguments": "{}" });
    let call = sse(&[json!({ "type": "response.output_item.done", "output_index": 0, "item": item })]);
    let end = sse(&[json!({ "type": "response.completed", "response": { "status": "completed" } })]);
    let answering = async {
        server.stream(&call).await;
        server.stream(&end).await;
    };
    let (asked, ()) = tokio::join!(ask(&client, &model, &prompt), answering);
    assert!(asked.reply().calls.is_empty());
}

#[tokio::test]
async fn a_stream_that_stalls_is_asked_for_again() {
    let server = Server::start().await;
    let client = Client::with(Patience { idle: Duration::from_millis(50), ..patience() });
    let (model, prompt) = (model(Wire::Chat, &server.url()), hello());
    let answering = async {
        let mut exchange = server.next().await;
        exchange.begin().await;
        exchange.chunk(SAID.as_bytes()).await;
        exchange.closed().await;
        // On a busy machine even an answer that is sent at once may come too late for so short a patience.
        loop {
            server.stream(&format!("{SAID}{END}")).await;
        }
    };
    let asked = tokio::select! {
        asked = ask(&client, &model, &prompt) => asked,
        () = answering => unreachable!(),
    };
    assert!(asked.shown.contains(&Glimpse::Restarted));
    assert_eq!(asked.reply().text, "Hello");
}

#[tokio::test]
async fn dropping_the_question_closes_the_connection() {
    let server = Server::start().await;
    let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
    let shown = tokio::sync::Notify::new();
    let images = HashMap::new();
    let glimpse = |_| shown.notify_one();
    let asking = async {
        tokio::select! {
            _ = client.ask(&model, Some(KEY), &prompt, &images, &glimpse) => panic!("it has no end"),
            () = shown.notified() => {}
        }
    };
    let answering = async {
        let mut exchange = server.next().await;
        exchange.begin().await;
        exchange.chunk(SAID.as_bytes()).await;
        exchange.closed().await;
    };
    tokio::join!(asking, answering);
}

#[tokio::test]
async fn lines_that_are_no_json_are_passed_over() {
    let server = Server::start().await;
    let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
    let body = format!("data: {{\"cho\n\n{SAID}data: nonsense\n\n{END}");
    let (asked, _) = tokio::join!(ask(&client, &model, &prompt), server.stream(&body));
    assert_eq!(asked.reply().text, "Hello");
}

/// What a server does not take is left out from then on, and the request is sent again at once.
#[tokio::test]
async fn parameters_that_are_not_taken_are_left_out() {
    let rows: &[(Wire, &str, &[&str])] = &[
        (
            Wire::Chat,
            r#"{"error":{"message":"Unknown parameter: 'parallel_tool_calls'","param":"parallel_tool_calls"}}"#,
            &["parallel_tool_calls"],
        ),
        (
            Wire::Chat,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]},{"loc":["body","prompt_cache_key"]}]}"#,
            &["stream_options", "prompt_cache_key"],
        ),
        (
            Wire::Responses,
            r#"{"error":{"message":"Encrypted content is not supported with this model.","param":"include"}}"#,
            &["include"],
        ),
        (
            Wire::Responses,
            r#"{"error":{"message":"Unsupported parameter: 'reasoning.summary'","param":"reasoning.summary"}}"#,
            &["reasoning"],
        ),
        (
            Wire::Chat,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens"}}"#,
            &["max_tokens"],
        ),
        (
            Wire::Responses,
            r#"{"error":{"message":"Unknown parameter: 'max_output_tokens'"}}"#,
            &["max_output_tokens"],
        ),
        (
            Wire::Messages,
            r#"{"error":{"message":"tools.0.cache_control: Extra inputs are not permitted"}}"#,
            &["cache_control"],
        ),
    ];
    for (wire, body, names) in rows {
        let server = Server::start().await;
        let (client, model, prompt) = (client(), model(*wire, &server.url()), hello());
        let fine = match wire {
            Wire::Chat => format!("{SAID}{END}"),
            Wire::Responses => {
                sse(&[json!({ "type": "response.completed", "response": { "status": "completed" } })])
            }
            _ => sse(&[json!({ "type": "message_stop" })]),
        };
        let asking = async {
            ask(&client, &model, &prompt).await.reply();
            ask(&client, &model, &prompt).await.reply();
        };
        let answering = async {
            let first = server.answer("400 Bad Request", "", body).await;
            let second = server.stream(&fine).await;
            let third = server.stream(&fine).await;
            for name in *names {
                let name = format!("\"{name}\":");
                assert!(first.body.contains(&name), "{name}");
                assert!(!second.body.contains(&name), "{name}");
            }
            assert_eq!(second.body, third.body);
            assert!(second.body.contains("shell"));
        };
        tokio::join!(asking, answering);
    }
}

/// A complaint about something else that only mentions such a word is a fault, at once.
#[tokio::test]
async fn a_word_is_no_complaint() {
    for body in [
        r#"{"error":{"message":"input must include a user message","param":"input"}}"#,
        r#"{"error":{"message":"Item of type 'reasoning' was provided without its following item"}}"#,
    ] {
        let server = Server::start().await;
        let (client, model, prompt) = (client(), model(Wire::Responses, &server.url()), hello());
        let (asked, _) =
            tokio::join!(ask(&client, &model, &prompt), server.answer("400 Bad Request", "", body));
        assert_eq!(asked.fault().kind, FaultKind::Request);
    }
}

#[tokio::test]
async fn less_output_is_asked_for_where_a_model_allows_less() {
    let server = Server::start().await;
    let (client, model, prompt) = (client(), model(Wire::Messages, &server.url()), hello());
    let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 16384 > 8192, which is the maximum allowed number of output tokens for tiny"}}"#;
    let answering = async {
        server.answer("400 Bad Request", "", body).await;
        server.stream(&sse(&[json!({ "type": "message_stop" })])).await.json()
    };
    let (asked, request) = tokio::join!(ask(&client, &model, &prompt), answering);
    asked.reply();
    assert_eq!(request["max_tokens"], 8192);
}

/// Mistral takes no words right after a tool's outcome, and says so.
#[tokio::test]
async fn something_stands_between_a_tool_and_words_where_a_server_wants_it() {
    let server = Server::start().await;
    let (client, model) = (client(), model(Wire::Chat, &server.url()));
    let said = streamed_reply();
    let prompt =
        prompt(vec![words("Hello"), PromptItem::Model(said.clone()), results(&said, "x"), words("More")]);
    let body = r#"{"object":"error","message":"Unexpected role 'user' after role 'tool'","type":"invalid_request_message_order","code":"3230"}"#;
    let answering = async {
        server.answer("400 Bad Request", "", body).await;
        server.stream(&format!("{SAID}{END}")).await.json()
    };
    let (asked, request) = tokio::join!(ask(&client, &model, &prompt), answering);
    asked.reply();
    let messages = request["messages"].as_array().unwrap().clone();
    let roles: Vec<String> = messages.iter().map(|m| m["role"].as_str().unwrap().to_owned()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant", "user"]);
}

/// DeepSeek's older models refuse the thoughts that its newer ones demand.
#[tokio::test]
async fn thoughts_stay_away_where_a_server_refuses_them() {
    let server = Server::start().await;
    let (client, model) = (client(), model(Wire::Chat, &server.url()));
    let mut said = (*streamed_reply()).clone();
    let item = said.items[0].get().replace("\"content\"", "\"reasoning_content\":\"Hm\",\"content\"");
    said.items = vec![quire_core::Item::parse(item).unwrap()];
    let said = Arc::new(said);
    let prompt = prompt(vec![words("Hello"), PromptItem::Model(said.clone()), results(&said, "x")]);
    let body = r#"{"error":{"message":"The reasoning_content is an intermediate result for display purposes only and will not be included in the context for inference. Please remove the reasoning_content from your message to reduce network traffic.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#;
    let answering = async {
        let first = server.answer("400 Bad Request", "", body).await.json();
        (first, server.stream(&format!("{SAID}{END}")).await.json())
    };
    let (asked, (first, second)) = tokio::join!(ask(&client, &model, &prompt), answering);
    asked.reply();
    assert_eq!(first["messages"][2]["reasoning_content"], "Hm");
    let mut rest = first["messages"].clone();
    rest[2].as_object_mut().unwrap().remove("reasoning_content");
    assert_eq!(second["messages"], rest);
}

/// Only whole calls at the very end of a text are taken for calls.
#[tokio::test]
async fn what_only_looks_like_a_call_stays_words() {
    for said in [
        "Write <tool_call>{\"name\":\"shell\",\"arguments\":{}}</tool_call> for a call.",
        "<tool_call>{\"name\":\"shell\",\"arguments\":{\"command\":\"rm",
        "<tool_call>{\"name\":\"shell\",\"arguments\":{\"command\":\"rm</tool_call>",
        "<tool_call>{\"name\":\"shell\"}</tool_call>",
        "<tool_call>shell</tool_call>",
        "<tool_call>{\"name\":\"nothing\",\"arguments\":{}}</tool_call>",
        "```\n<tool_call>{\"name\":\"shell\",\"arguments\":{}}</tool_call>",
        "</tool_call>",
    ] {
        let server = Server::start().await;
        let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
        let chunk = json!({ "choices": [{ "delta": { "content": said }, "finish_reason": "stop" }] });
        let stream = sse(&[chunk]);
        let (asked, _) = tokio::join!(ask(&client, &model, &prompt), server.stream(&stream));
        let reply = asked.reply();
        assert_eq!((reply.text.as_str(), reply.calls.len()), (said, 0));
    }
}

/// A reply of the same model with one call.
fn streamed_reply() -> Arc<Reply> {
    let call =
        quire_core::Call { id: "abcdefghi".to_owned(), tool: "shell".to_owned(), input: "{}".to_owned() };
    let item = r#"{"role":"assistant","content":"","tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"shell","arguments":"{}"}}]}"#;
    let item = quire_core::Item::parse(item.to_owned()).unwrap();
    let (wire, stop) = (Wire::Chat, quire_core::message::Stop::Done);
    let (usage, by) = (quire_core::Usage::default(), "test/tiny".to_owned());
    Arc::new(Reply { wire, items: vec![item], text: String::new(), calls: vec![call], stop, usage, by })
}

/// Where a price is known, a reply is always bounded: a server that will not have the parameter is not asked without it.
#[tokio::test]
async fn what_costs_is_never_asked_without_a_bound() {
    let server = Server::start().await;
    let a_token = quire_core::Usd(1_000_000);
    let price = quire_core::Price { input: a_token, cached: a_token, cache_write: a_token, output: a_token };
    let (client, prompt) = (client(), hello());
    let model = Model { price: Some(price), ..model(Wire::Responses, &server.url()) };
    let body = r#"{"error":{"message":"Unknown parameter: 'max_output_tokens'"}}"#;
    let answering = async {
        server.answer("400 Bad Request", "", body).await;
        server.answer("400 Bad Request", "", body).await.json()
    };
    let (asked, request) = tokio::join!(ask(&client, &model, &prompt), answering);
    assert_eq!(asked.fault().kind, FaultKind::Request);
    assert_eq!(request["max_output_tokens"], 4096);
}

/// Where input and the output asked for do not fit together, less output is asked for before the input is said to be too long.
#[tokio::test]
async fn output_gives_way_to_input() {
    let server = Server::start().await;
    let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
    let body = r#"{"error":{"message":"This model's maximum context length is 2048 tokens. However, you requested 16400 tokens (16 in the messages, 16384 in the completion)."}}"#;
    let answering = async {
        server.answer("400 Bad Request", "", body).await;
        let second = server.answer("400 Bad Request", "", body).await.json();
        let third = server.answer("400 Bad Request", "", body).await.json();
        (second["max_tokens"].clone(), third["max_tokens"].clone())
    };
    let (asked, tokens) = tokio::join!(ask(&client, &model, &prompt), answering);
    assert_eq!(asked.fault().kind, FaultKind::TooLong);
    assert_eq!(tokens, (json!(4096), json!(1024)));
}

/// Only a try that may have cost something needs leave for the next, and a `no` ends the asking.
#[tokio::test]
async fn leave_is_asked_after_a_try_that_may_have_cost() {
    let rows = [("503 Service Unavailable", 0, false), ("200 OK", 1, true)];
    for (status, asked_leave, charged) in rows {
        let server = Server::start().await;
        let (client, model, prompt) = (client(), model(Wire::Chat, &server.url()), hello());
        let leaves = std::sync::atomic::AtomicU32::new(0);
        let no = || -> crate::Leave {
            leaves.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Box::pin(std::future::ready(false))
        };
        let images = std::collections::HashMap::new();
        let asking = client.ask_within(&model, Some("sk-test"), &prompt, &images, &|_| {}, &no);
        let cut = "content-type: text/event-stream\r\n";
        let answering = async {
            server.answer(status, cut, "data: {}\n\n").await;
            // Where leave was not needed, the server is asked again, and has nothing more to say.
            if asked_leave == 0 {
                loop {
                    server.answer(status, cut, "").await;
                }
            }
            std::future::pending::<()>().await
        };
        let unanswered =
            tokio::select! { asked = asking => asked.unwrap_err(), () = answering => unreachable!() };
        let leaves = leaves.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((leaves, unanswered.charged), (asked_leave, charged), "{status}");
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let model = model(Wire::Chat, "https://api.example.test/v1");
    for key in [None, Some(""), Some(" \n")] {
        let fault = client().ask(&model, key, &hello(), &HashMap::new(), &|_| ()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::NoKey);
        let says = "https://api.example.test/v1/chat/completions needs a key, and TEST_KEY is not set.";
        assert_eq!(fault.message, says);
    }
    let fault = client().ask(&model, Some("sk\nvery"), &hello(), &HashMap::new(), &|_| ()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Key);
    assert!(!fault.message.contains("very"));
}

#[tokio::test]
async fn addresses_that_are_none() {
    for address in ["", "nonsense", "ftp://x/", "http://", "file:///etc", "/v1"] {
        let fault = ask(&client(), &model(Wire::Chat, address), &hello()).await.fault();
        assert_eq!(fault.kind, FaultKind::Request, "{address}");
        assert!(fault.message.contains("the model's address is none"), "{}", fault.message);
    }
}

#[tokio::test]
async fn models_are_listed_by_name() {
    let rows = [
        (Wire::Chat, r#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#),
        (Wire::Messages, r#"{"data":[{"type":"model","id":"a"},{"id":"b"}],"has_more":false}"#),
        (Wire::Responses, r#"{"models":[{"name":"a"},{"name":"b"}]}"#),
    ];
    for (wire, body) in rows {
        let server = Server::start().await;
        let (client, model) = (client(), model(wire, &server.url()));
        let (models, exchange) =
            tokio::join!(client.models(&model, Some(KEY)), server.answer("200 OK", "", body));
        let names: Vec<String> = models.unwrap().into_iter().map(|offer| offer.name).collect();
        assert_eq!(names, ["a", "b"]);
        let path = if wire == Wire::Messages { "/v1/models?limit=1000" } else { "/v1/models" };
        assert!(exchange.head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{}", exchange.head);
        assert!(exchange.head.contains(KEY));
    }
    let server = Server::start().await;
    let (client, model) = (client(), model(Wire::Chat, &server.url()));
    let (models, _) = tokio::join!(client.models(&model, Some(KEY)), server.answer("401 No", "", KEY));
    let fault = models.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Key);
    assert!(!fault.message.contains(KEY), "{}", fault.message);
}

#[test]
fn a_client_shows_no_key_when_printed() {
    assert!(format!("{:?}", Client::new()).starts_with("Client { patience: "));
}
