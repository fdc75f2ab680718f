//! Providers, and the way from `PROVIDER/MODEL` to a [`Model`] of the charter.

use crate::facts::Fact;
use quire_core::charter::{Edits, Model, Wire};
use quire_core::money::{Price, Usd};
use std::collections::BTreeMap;

/// What is known of a provider; a part that is absent was neither set nor built in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provider {
    pub base_url: Option<String>,
    pub wire: Option<Wire>,
    pub key_env: Option<String>,
    pub models: BTreeMap<String, Traits>,
}

/// What the person says of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traits {
    pub context_tokens: Option<u64>,
    pub images: Option<bool>,
    pub output_tokens: Option<u64>,
    /// USD per million tokens.
    pub price: PriceSaid,
    pub edits: Option<Edits>,
}

/// What the person says that a model costs, in USD per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PriceSaid {
    pub input: Option<Usd>,
    pub cached: Option<Usd>,
    pub cache_write: Option<Usd>,
    pub output: Option<Usd>,
}

impl PriceSaid {
    /// Returns the price, or `None` where input or output has none.
    pub fn price(&self) -> Option<Price> {
        let input = self.input?;
        // Anthropic takes 1.25 times the input's price for what it caches for five minutes, which is what quire asks for (its
        // documentation, "Prompt caching", "Pricing"); others take as much or nothing.
        let write = Usd(input.0.saturating_mul(5).div_ceil(4));
        Some(Price::per_million(input, self.cached, self.cache_write.unwrap_or(write), self.output?))
    }
}

/// Model servers that are looked for where no model is named, in this order.
pub const LOCAL: [&str; 4] = ["ollama", "lmstudio", "llamacpp", "vllm"];

/// The built-in providers: name, wire, address, variable of the key. Addresses and variables are those of each provider's
/// own documentation; the ports are the defaults of Ollama, LM Studio, llama.cpp's server and vLLM.
const BUILT_IN: [(&str, Wire, &str, Option<&str>); 10] = [
    ("openai", Wire::Responses, "https://api.openai.com/v1", Some("OPENAI_API_KEY")),
    ("anthropic", Wire::Messages, "https://api.anthropic.com/v1", Some("ANTHROPIC_API_KEY")),
    ("openrouter", Wire::Chat, "https://openrouter.ai/api/v1", Some("OPENROUTER_API_KEY")),
    ("mistral", Wire::Chat, "https://api.mistral.ai/v1", Some("MISTRAL_API_KEY")),
    ("deepseek", Wire::Chat, "https://api.deepseek.com/v1", Some("DEEPSEEK_API_KEY")),
    ("google", Wire::Chat, "https://generativelanguage.googleapis.com/v1beta/openai", Some("GEMINI_API_KEY")),
    ("ollama", Wire::Chat, "http://127.0.0.1:11434/v1", None),
    ("lmstudio", Wire::Chat, "http://127.0.0.1:1234/v1", None),
    ("llamacpp", Wire::Chat, "http://127.0.0.1:8080/v1", None),
    ("vllm", Wire::Chat, "http://127.0.0.1:8000/v1", None),
];

pub(super) fn built_in() -> BTreeMap<String, Provider> {
    let provider = |(name, wire, url, key_env): (&str, Wire, &str, Option<&str>)| {
        let key_env = key_env.map(str::to_owned);
        (
            name.to_owned(),
            Provider { base_url: Some(url.to_owned()), wire: Some(wire), key_env, models: BTreeMap::new() },
        )
    };
    BUILT_IN.into_iter().map(provider).collect()
}

pub(super) fn wire_of(name: &str) -> Option<Wire> {
    match name {
        "responses" => Some(Wire::Responses),
        "chat" => Some(Wire::Chat),
        "messages" => Some(Wire::Messages),
        _ => None,
    }
}

impl Provider {
    /// Returns the model `name` of this provider, which is called `provider`, or `None` where no address is known. What the
    /// person does not say of it is as its server says (`fact`).
    pub fn model(&self, provider: &str, name: &str, fact: Fact) -> Option<Model> {
        let traits = self.models.get(name).cloned().unwrap_or_default();
        Some(Model {
            provider: provider.to_owned(),
            name: name.to_owned(),
            // What nearly every server of somebody's own speaks.
            wire: self.wire.unwrap_or(Wire::Chat),
            base_url: self.base_url.clone()?,
            key_env: self.key_env.clone(),
            edits: traits.edits.unwrap_or_else(|| edits_of(name)),
            images: traits.images.or(fact.images).unwrap_or(false),
            context_tokens: traits.context_tokens.or(fact.context_tokens),
            output_tokens: traits.output_tokens,
            price: traits.price.price().or(fact.price),
        })
    }
}

/// Returns which tools a model was probably trained on: OpenAI's models on apply_patch, others on replacing text.
fn edits_of(name: &str) -> Edits {
    let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let patches =
        name.contains("gpt") || name.contains("codex") || name.starts_with("o3") || name.starts_with("o4");
    if patches { Edits::ApplyPatch } else { Edits::EditAndWrite }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_by_name_of_the_model() {
        let rows = [
            ("gpt-5.5", Edits::ApplyPatch),
            ("openai/GPT-5.5", Edits::ApplyPatch),
            ("codex-mini", Edits::ApplyPatch),
            ("o3", Edits::ApplyPatch),
            ("o4-mini", Edits::ApplyPatch),
            ("claude-sonnet-4-5", Edits::EditAndWrite),
            ("qwen3-coder", Edits::EditAndWrite),
            ("yolo3", Edits::EditAndWrite),
        ];
        for (name, expected) in rows {
            assert_eq!(edits_of(name), expected, "{name}");
        }
    }
}
