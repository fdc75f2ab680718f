//! What servers say of the models they have: context, price, and what they can be shown. Each does so in its own words; what
//! none says stays unknown, and nothing is assumed.
//!
//! The words are those of each server's documentation: OpenRouter (`context_length`, `pricing` in USD a token), Anthropic
//! (`max_input_tokens`, `capabilities`), Mistral (`max_context_length`, `capabilities`), vLLM (`max_model_len`), Groq and others
//! (`context_window`); and some tell more in APIs of their own: llama.cpp (`/props`), LM Studio (`/api/v0/models`), Ollama
//! (`/api/show`, `/api/ps`), Google (`/v1beta/models`, <https://ai.google.dev/api/models>).

use quire_core::{Price, Usd};
use serde_json::Value;

/// A model that a server has. What is absent the server did not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    pub name: String,
    pub context_tokens: Option<u64>,
    pub price: Option<Price>,
    pub images: Option<bool>,
    pub tools: Option<bool>,
    /// It turns text into numbers, and says nothing.
    pub embeds: bool,
    /// Whose it is, as the server says: several kinds of server are known by that.
    pub(crate) owner: String,
}

/// A server that tells more in an API of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Native {
    Google,
    LlamaCpp,
    LmStudio,
    Ollama,
}

/// Returns the models of a list as servers give it, or `None` where it is no such list.
pub(crate) fn offers(list: &Value) -> Option<Vec<Offer>> {
    let entries = ["data", "models"].iter().find_map(|key| list.get(key)).and_then(Value::as_array)?;
    Some(entries.iter().filter_map(offer).collect())
}

fn offer(entry: &Value) -> Option<Offer> {
    let text = |path: &str| entry.pointer(path).and_then(Value::as_str);
    // Google's ids say that they are models.
    let name = ["/id", "/name"].iter().find_map(|path| text(path))?.trim_start_matches("models/").to_owned();
    let contexts = [
        "/top_provider/context_length",
        "/context_length",
        "/max_input_tokens",
        "/max_context_length",
        "/max_model_len",
        "/context_window",
        "/meta/n_ctx",
    ];
    let has = |path: &str, word: &str| {
        let list = entry.pointer(path)?.as_array()?;
        Some(list.iter().any(|item| item.as_str() == Some(word)))
    };
    let flag = |path: &str| entry.pointer(path).and_then(Value::as_bool);
    let price = |name: &str| entry.pointer(&format!("/pricing/{name}"))?.as_str().and_then(Usd::parse);
    Some(Offer {
        context_tokens: contexts.iter().find_map(|path| count(entry.pointer(path)?)),
        price: price("prompt").zip(price("completion")).map(|(input, output)| Price {
            input,
            cached: price("input_cache_read").unwrap_or(input),
            cache_write: price("input_cache_write").unwrap_or(input),
            output,
        }),
        images: has("/architecture/input_modalities", "image")
            .or_else(|| flag("/capabilities/image_input/supported"))
            .or_else(|| flag("/capabilities/vision")),
        tools: has("/supported_parameters", "tools").or_else(|| flag("/capabilities/function_calling")),
        embeds: name.contains("embed") || has("/architecture/output_modalities", "embeddings") == Some(true),
        owner: text("/owned_by").unwrap_or_default().to_owned(),
        name,
    })
}

impl Native {
    /// Returns what the addresses of that API begin with.
    pub(crate) fn root(self, base_url: &str) -> &str {
        let base = base_url.trim_end_matches('/');
        match self {
            Native::Google => base.trim_end_matches("/openai"),
            _ => base.trim_end_matches("/v1"),
        }
    }
}

/// Returns which such server this is, as far as its list and the provider's name tell.
pub(crate) fn native(provider: &str, offers: &[Offer]) -> Option<Native> {
    let owned_by = |owner: &str| offers.first().is_some_and(|offer| offer.owner == owner);
    match provider {
        "google" => Some(Native::Google),
        "llamacpp" => Some(Native::LlamaCpp),
        "lmstudio" => Some(Native::LmStudio),
        "ollama" => Some(Native::Ollama),
        _ if owned_by("google") => Some(Native::Google),
        _ if owned_by("llamacpp") => Some(Native::LlamaCpp),
        _ if owned_by("organization_owner") => Some(Native::LmStudio),
        _ if owned_by("library") => Some(Native::Ollama),
        _ => None,
    }
}

impl Offer {
    /// Takes over what Google says of this model among all.
    pub(crate) fn hear_google(&mut self, list: &Value) {
        let mut all = list.get("models").and_then(Value::as_array).into_iter().flatten();
        let is_this = |entry: &&Value| {
            entry["name"].as_str().is_some_and(|name| name.trim_start_matches("models/") == self.name)
        };
        let Some(entry) = all.find(is_this) else { return };
        // What is written has a limit of its own beside this.
        self.context_tokens = count(&entry["inputTokenLimit"]).or(self.context_tokens);
        if let Some(does) = entry["supportedGenerationMethods"].as_array() {
            self.embeds |= !does.iter().any(|does| does == "generateContent");
        }
    }

    /// Takes over what llama.cpp's server says of the one model it has.
    pub(crate) fn hear_llamacpp(&mut self, props: &Value) {
        // What a conversation may hold, which the training's figure in the list is not.
        let context = props.pointer("/default_generation_settings/n_ctx").and_then(count);
        self.context_tokens = context.or(self.context_tokens);
        self.images = props.pointer("/modalities/vision").and_then(Value::as_bool).or(self.images);
    }

    /// Takes over what LM Studio says of this model among all.
    pub(crate) fn hear_lmstudio(&mut self, list: &Value) {
        let all = list.get("data").and_then(Value::as_array).into_iter().flatten();
        let Some(entry) = all.into_iter().find(|entry| entry["id"] == self.name.as_str()) else { return };
        // One that is not loaded yet is given less than the most, and nobody says how much.
        self.context_tokens = entry.get("loaded_context_length").and_then(count);
        match entry["type"].as_str() {
            Some("embeddings") => self.embeds = true,
            Some(kind) => self.images = Some(kind == "vlm"),
            None => {}
        }
        if let Some(can) = entry["capabilities"].as_array() {
            self.tools = Some(can.iter().any(|can| can == "tool_use"));
        }
    }

    /// Takes over what Ollama says: `shown` of this model, `running` of those in memory.
    pub(crate) fn hear_ollama(&mut self, shown: &Value, running: &Value) {
        if let Some(can) = shown["capabilities"].as_array() {
            self.tools = Some(can.iter().any(|can| can == "tools"));
            self.images = Some(can.iter().any(|can| can == "vision"));
            self.embeds |= can.iter().any(|can| can == "embedding");
        }
        // Ollama cuts a prompt that is longer than what the model was loaded with, and says nothing. What the model could
        // hold (`model_info`) is mostly far more than that.
        let mut loaded = running["models"].as_array().into_iter().flatten();
        let loaded =
            loaded.find(|entry| entry["name"] == self.name.as_str() || entry["model"] == self.name.as_str());
        let set = shown["parameters"].as_str().into_iter().flat_map(str::lines);
        let set = set.filter_map(|line| line.trim().strip_prefix("num_ctx")?.trim().parse().ok()).next();
        self.context_tokens = loaded.and_then(|entry| count(&entry["context_length"])).or(set);
    }
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Lists as such servers send them, cut to the fields that matter.
    #[test]
    fn what_lists_say() {
        let price = |input, cached, cache_write, output| {
            Some(Price {
                input: Usd(input),
                cached: Usd(cached),
                cache_write: Usd(cache_write),
                output: Usd(output),
            })
        };
        type Row = (&'static str, Value, Option<u64>, Option<Price>, Option<bool>, Option<bool>);
        let rows: Vec<Row> = vec![
            (
                "OpenAI",
                json!({ "id": "gpt-5.5", "object": "model", "owned_by": "openai" }),
                None,
                None,
                None,
                None,
            ),
            (
                "OpenRouter",
                json!({
                    "id": "a/b", "context_length": 200000, "top_provider": { "context_length": 131072 },
                    "pricing": { "prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.00000025", "request": "0" },
                    "architecture": { "input_modalities": ["text", "image"] }, "supported_parameters": ["tools", "stop"],
                }),
                Some(131_072),
                price(2_500_000, 250_000, 2_500_000, 10_000_000),
                Some(true),
                Some(true),
            ),
            (
                "OpenRouter's router, which has no price of its own",
                json!({ "id": "openrouter/auto", "context_length": 2000000, "pricing": { "prompt": "-1", "completion": "-1" } }),
                Some(2_000_000),
                None,
                None,
                None,
            ),
            (
                "Anthropic",
                json!({ "id": "claude", "max_input_tokens": 200000, "max_tokens": 64000, "capabilities": { "image_input": { "supported": true } } }),
                Some(200_000),
                None,
                Some(true),
                None,
            ),
            (
                "Mistral",
                json!({ "id": "codestral", "max_context_length": 32768, "capabilities": { "function_calling": true, "vision": false } }),
                Some(32_768),
                None,
                Some(false),
                Some(true),
            ),
            (
                "vLLM",
                json!({ "id": "Qwen/Q", "owned_by": "vllm", "max_model_len": 8192 }),
                Some(8192),
                None,
                None,
                None,
            ),
            ("Groq", json!({ "id": "g", "context_window": 131072 }), Some(131_072), None, None, None),
            (
                "llama.cpp",
                json!({ "id": "m.gguf", "owned_by": "llamacpp", "meta": { "n_ctx_train": 4096 } }),
                None,
                None,
                None,
                None,
            ),
            ("Google", json!({ "id": "models/gemini", "owned_by": "google" }), None, None, None, None),
            (
                "nonsense",
                json!({ "id": "n", "context_length": "many", "pricing": 3, "capabilities": [] }),
                None,
                None,
                None,
                None,
            ),
        ];
        for (server, entry, context, price, images, tools) in rows {
            let offer = offers(&json!({ "data": [entry] })).unwrap().remove(0);
            assert_eq!(
                (offer.context_tokens, offer.price, offer.images, offer.tools),
                (context, price, images, tools),
                "{server}"
            );
        }
        let names = |list: &Value| {
            offers(list).map(|all| all.into_iter().map(|offer| offer.name).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&json!({ "models": [{ "name": "models/gemini-x" }, 3, {}] })),
            Some(vec!["gemini-x".to_owned()])
        );
        assert_eq!(names(&json!({ "detail": "Not Found" })), None);
    }

    #[test]
    fn what_they_say_in_apis_of_their_own() {
        let offer = || Offer { name: "qwen3:4b".to_owned(), ..Offer::default() };
        let mut llama = offer();
        llama.hear_llamacpp(
            &json!({ "default_generation_settings": { "n_ctx": 16384 }, "modalities": { "vision": true } }),
        );
        assert_eq!((llama.context_tokens, llama.images), (Some(16_384), Some(true)));

        let mut studio = offer();
        studio.hear_lmstudio(&json!({ "data": [{ "id": "x" }, { "id": "qwen3:4b", "type": "vlm", "state": "loaded", "max_context_length": 262144, "loaded_context_length": 8192, "capabilities": ["tool_use"] }] }));
        assert_eq!(
            (studio.context_tokens, studio.images, studio.tools),
            (Some(8192), Some(true), Some(true))
        );
        let mut studio = offer();
        studio.hear_lmstudio(
            &json!({ "data": [{ "id": "qwen3:4b", "type": "embeddings", "max_context_length": 2048 }] }),
        );
        assert_eq!((studio.context_tokens, studio.embeds), (None, true));

        let shown = json!({ "capabilities": ["completion", "tools"], "parameters": "temperature 0.6\nnum_ctx                        16384\n", "model_info": { "qwen3.context_length": 262144 } });
        let running = json!({ "models": [{ "name": "qwen3:4b", "context_length": 4096 }] });
        let rows = [(json!({}), Some(16_384)), (running, Some(4096))];
        for (running, context) in rows {
            let mut ollama = offer();
            ollama.hear_ollama(&shown, &running);
            assert_eq!(
                (ollama.context_tokens, ollama.images, ollama.tools),
                (context, Some(false), Some(true))
            );
        }
        let mut ollama = offer();
        ollama.hear_ollama(&Value::Null, &Value::Null);
        assert_eq!(ollama, offer());

        // As its reference shows it.
        let list = json!({ "models": [
            { "name": "models/gemini-x", "inputTokenLimit": 1048576, "outputTokenLimit": 65536, "supportedGenerationMethods": ["generateContent", "countTokens"] },
            { "name": "models/turns-into-numbers", "inputTokenLimit": 2048, "outputTokenLimit": 1, "supportedGenerationMethods": ["embedContent"] },
        ] });
        let rows = [
            ("gemini-x", Some(1_048_576), false),
            ("turns-into-numbers", Some(2_048), true),
            ("other", None, false),
        ];
        for (name, context, embeds) in rows {
            let mut gemini = Offer { name: name.to_owned(), ..Offer::default() };
            gemini.hear_google(&list);
            assert_eq!((gemini.context_tokens, gemini.embeds), (context, embeds), "{name}");
        }
    }
}
