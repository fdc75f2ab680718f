//! Which models can be used from here: asked of the servers themselves, never assumed.

use crate::keys::{Keys, Secret};
use crate::settings::{LOCAL, Provider, Settings, Surroundings};
use quire_core::charter::Model;
use quire_core::message::{Fault, FaultKind};
use quire_model::{Client, Patience};
use std::time::Duration;

/// What is known of a provider after it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    pub provider: String,
    pub base_url: String,
    pub found: Found,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// In the provider's order.
    Models(Vec<Model>),
    /// Not asked: it needs a key, and there is none, neither stored nor in this variable.
    NoKey {
        variable: String,
    },
    /// It takes no key, and nothing listens at its address.
    NotRunning,
    Failed(Fault),
}

/// No model was named, and none found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("No model is set, and no model server runs on this machine (looked for {}).", self.looked_for())]
pub struct NoModel {
    /// Providers whose server was looked for, with its address.
    pub servers: Vec<(String, String)>,
    /// Providers for which there is a key, so that only the model's name is missing.
    pub with_key: Vec<String>,
}

impl NoModel {
    fn looked_for(&self) -> String {
        self.servers.iter().map(|(name, url)| format!("{name} at {url}")).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the model that the person named, else the first one of the first model server that runs on this machine.
pub async fn find_model(
    settings: &Settings,
    keys: &Keys,
    surroundings: &Surroundings,
) -> Result<Model, NoModel> {
    if let Some(model) = settings.named_model() {
        return Ok(model);
    }
    let mut servers = Vec::new();
    for name in LOCAL {
        let Some(provider) = settings.providers.get(name) else { continue };
        let listing = ask(name, provider, keys, surroundings).await;
        if let Found::Models(models) = listing.found {
            // A model that only turns text into numbers cannot do a task.
            if let Some(model) = models.into_iter().find(|m| !m.name.contains("embed")) {
                return Ok(model);
            }
        }
        servers.push((listing.provider, listing.base_url));
    }
    let has_key = |name: &str, p: &Provider| keys.find(name, p.key_env.as_deref(), surroundings).is_some();
    let with_key = settings
        .providers
        .iter()
        .filter(|(name, p)| has_key(name, p))
        .map(|(name, _)| name.clone())
        .collect();
    Err(NoModel { servers, with_key })
}

/// Asks every provider that can be asked, all at once, and returns them by name.
pub async fn list(settings: &Settings, keys: &Keys, surroundings: &Surroundings) -> Vec<Listing> {
    let asked: Vec<_> = settings
        .providers
        .clone()
        .into_iter()
        .map(|(name, provider)| {
            let (keys, surroundings) = (keys.clone(), surroundings.clone());
            tokio::spawn(async move { ask(&name, &provider, &keys, &surroundings).await })
        })
        .collect();
    let mut listings = Vec::with_capacity(asked.len());
    for listing in asked {
        match listing.await {
            Ok(listing) => listings.push(listing),
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }
    listings
}

/// Returns the models that `provider` lists for this key, which is the proof that it takes the key.
pub async fn try_key(name: &str, provider: &Provider, key: &Secret) -> Result<Vec<Model>, Fault> {
    models(name, provider, Some(key)).await
}

async fn ask(name: &str, provider: &Provider, keys: &Keys, surroundings: &Surroundings) -> Listing {
    let key = keys.find(name, provider.key_env.as_deref(), surroundings);
    let found = match (&provider.key_env, &key) {
        (Some(variable), None) => Found::NoKey { variable: variable.clone() },
        _ => match models(name, provider, key.as_ref()).await {
            Ok(models) => Found::Models(models),
            Err(fault) if fault.kind == FaultKind::Unreachable && key.is_none() => Found::NotRunning,
            Err(fault) => Found::Failed(fault),
        },
    };
    Listing { provider: name.to_owned(), base_url: provider.base_url.clone().unwrap_or_default(), found }
}

async fn models(name: &str, provider: &Provider, key: Option<&Secret>) -> Result<Vec<Model>, Fault> {
    let Some(any) = provider.model(name, "") else {
        let message = format!("The provider `{name}` has no address.");
        return Err(Fault { kind: FaultKind::Unreachable, message, status: None });
    };
    // A server on this machine answers at once or is not there.
    let connect = if LOCAL.contains(&name) { Duration::from_millis(100) } else { Duration::from_secs(5) };
    let client = Client::with(Patience { connect, idle: Duration::from_secs(10), ..Patience::default() });
    let names = client.models(&any, key.map(Secret::expose)).await?;
    Ok(names.iter().filter_map(|model| provider.model(name, model)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Options, read};
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// Serves one list of models for each of `answers`, in their order, to whoever sends the key `sk-right` where one is
    /// needed, and returns its base address.
    fn server(needs_key: bool, answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        thread::spawn(move || {
            for models in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 1024];
                while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                    let n = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..n]);
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                assert!(request.starts_with("get /v1/models "), "{request}");
                let fine = !needs_key || request.contains("authorization: bearer sk-right\r\n");
                let status = if fine { "200 OK" } else { "401 Unauthorized" };
                let body = if fine { models } else { r#"{"error":{"message":"wrong key"}}"# };
                let length = body.len();
                write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
            }
        });
        url
    }

    /// Returns an address at which nothing listens.
    fn nowhere() -> String {
        format!("http://{}/v1", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
    }

    fn settings(set: &[(&str, String)]) -> (Settings, Surroundings) {
        let nothing = LOCAL.map(|name| (name, nowhere()));
        let url = |(name, url): &(&str, String)| format!("providers.{name}.base_url={url}");
        let set =
            nothing.iter().map(url).chain(set.iter().map(|(key, value)| format!("{key}={value}"))).collect();
        let here = Surroundings { env: BTreeMap::new(), cwd: "/".into() };
        (read(&Options { set, ..Options::default() }, None, &here).unwrap(), here)
    }

    const TWO: &str = r#"{"object":"list","data":[{"id":"nomic-embed-text"},{"id":"qwen3-coder"}]}"#;
    const NONE: &str = r#"{"object":"list","data":[]}"#;

    #[tokio::test]
    async fn the_first_server_with_a_model_is_taken() {
        let (found, here) = settings(&[
            ("providers.ollama.base_url", server(false, &[NONE])),
            ("providers.llamacpp.base_url", server(false, &[TWO])),
        ]);
        let model = find_model(&found, &Keys::default(), &here).await.unwrap();
        assert_eq!((model.provider.as_str(), model.name.as_str()), ("llamacpp", "qwen3-coder"));
        let (named, here) = settings(&[("model", "openai/gpt-5.5".to_owned())]);
        assert_eq!(find_model(&named, &Keys::default(), &here).await.unwrap().name, "gpt-5.5");
    }

    #[tokio::test]
    async fn without_any_it_is_told_what_was_looked_for() {
        let (found, mut here) = settings(&[]);
        here.env.insert("OPENAI_API_KEY".to_owned(), "sk-1".to_owned());
        let none = find_model(&found, &Keys::default(), &here).await.unwrap_err();
        assert_eq!(none.servers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), LOCAL);
        assert_eq!(none.with_key, ["openai"]);
        assert!(none.to_string().contains(&format!("ollama at {}", none.servers[0].1)), "{none}");
    }

    #[tokio::test]
    async fn each_provider_is_told_as_it_is() {
        let (found, mut here) = settings(&[
            ("providers.lab.base_url", server(true, &[TWO])),
            ("providers.lab.key_env", "LAB_KEY".to_owned()),
            ("providers.old.base_url", server(true, &[TWO])),
            ("providers.old.key_env", "OLD_KEY".to_owned()),
        ]);
        here.env.insert("LAB_KEY".to_owned(), "sk-right".to_owned());
        here.env.insert("OLD_KEY".to_owned(), "sk-wrong".to_owned());
        let listings = list(&found, &Keys::default(), &here).await;
        let of = |name: &str| &listings.iter().find(|l| l.provider == name).unwrap().found;
        assert!(
            matches!(of("lab"), Found::Models(models) if models.len() == 2 && models[1].name == "qwen3-coder")
        );
        assert!(matches!(of("old"), Found::Failed(Fault { kind: FaultKind::Key, .. })), "{:?}", of("old"));
        assert_eq!(*of("openai"), Found::NoKey { variable: "OPENAI_API_KEY".to_owned() });
        assert_eq!(*of("ollama"), Found::NotRunning);
    }

    #[tokio::test]
    async fn a_key_is_proved_by_asking() {
        let (found, _) = settings(&[
            ("providers.lab.base_url", server(true, &[TWO, TWO])),
            ("providers.lab.key_env", "LAB_KEY".to_owned()),
        ]);
        let lab = &found.providers["lab"];
        assert_eq!(try_key("lab", lab, &Secret::new("sk-right").unwrap()).await.unwrap().len(), 2);
        let refused = try_key("lab", lab, &Secret::new("sk-wrong").unwrap()).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Key);
        assert!(!refused.message.contains("sk-wrong"));
    }
}
