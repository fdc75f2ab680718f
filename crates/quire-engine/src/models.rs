//! Which models can be used from here: asked of the servers themselves, never assumed.

use crate::facts::{Fact, Facts};
use crate::keys::{Keys, Secret};
use crate::settings::{LOCAL, Named, Provider, Settings, Surroundings};
use quire_core::charter::Model;
use quire_core::message::{Fault, FaultKind};
pub use quire_model::Trial;
use quire_model::{Client, Offer, Patience};
use std::time::Duration;
use tokio::time::timeout;

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
    Models(Vec<Listed>),
    /// Not asked: it needs a key, and there is none, neither stored nor in this variable.
    NoKey {
        variable: String,
    },
    /// It takes no key, and nothing listens at its address.
    NotRunning,
    Failed(Fault),
}

/// A model that a server has.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub model: Model,
    /// Whether it can call tools, where the server says so.
    pub tools: Option<bool>,
    /// It only turns text into numbers, and cannot do a task.
    pub embeds: bool,
    /// What the server says of it.
    said: Fact,
}

/// A model that was asked itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    pub model: Model,
    /// The settings that name it; none: it is the first of a server on this machine, or was named for the occasion.
    pub roles: Vec<&'static str>,
    pub trial: Result<Trial, Fault>,
}

/// How long one provider may take to say what models it has, and one model to be tried out.
const LISTING: Duration = Duration::from_secs(15);
const TRYING: Duration = Duration::from_secs(90);

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
        let listing = ask(name, provider, keys, surroundings, Closer::First).await;
        if let Found::Models(models) = listing.found
            && let Some(listed) = models.into_iter().find(|listed| !listed.embeds)
        {
            return Ok(listed.model);
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
            tokio::spawn(async move { ask(&name, &provider, &keys, &surroundings, Closer::All).await })
        })
        .collect();
    all(asked).await
}

/// Waits for all of them, in their order.
async fn all<T>(running: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut ended = Vec::with_capacity(running.len());
    for one in running {
        match one.await {
            Ok(one) => ended.push(one),
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }
    ended
}

/// Stores what the servers said of their models, for the tasks to come.
pub fn remember(listings: &[Listing], surroundings: &Surroundings) -> std::io::Result<()> {
    let mut facts = Facts::read(surroundings);
    let before = facts.clone();
    for Listing { provider, base_url, found } in listings {
        if let Found::Models(models) = found {
            facts.hear(
                provider,
                base_url,
                models.iter().map(|listed| (listed.model.name.clone(), listed.said)),
            );
        }
    }
    if facts == before { Ok(()) } else { facts.store(surroundings) }
}

/// Asks the models themselves, all at once: each that the settings or `more` name, and the first of each server that runs on
/// this machine. Costs some hundred tokens each.
pub async fn try_out(
    settings: &Settings,
    keys: &Keys,
    surroundings: &Surroundings,
    listings: &[Listing],
    more: &[Named],
) -> Vec<Tried> {
    let mut wanted: Vec<(Model, Vec<&'static str>)> = vec![];
    let named = settings.named().into_iter().map(|(role, named)| (settings.model_of(named), Some(role)));
    let more = more.iter().map(|named| (settings.model_of(named), None));
    let local = listings.iter().filter(|listing| LOCAL.contains(&listing.provider.as_str()));
    let first = local.filter_map(|listing| match &listing.found {
        Found::Models(models) => {
            models.iter().find(|listed| !listed.embeds).map(|listed| (Some(listed.model.clone()), None))
        }
        _ => None,
    });
    for (model, role) in named.chain(more).chain(first) {
        let Some(model) = model else { continue };
        let same = wanted.iter().position(|(known, _)| known.title() == model.title());
        let place = same.unwrap_or_else(|| {
            wanted.push((model, vec![]));
            wanted.len() - 1
        });
        wanted[place].1.extend(role);
    }
    let patience = Patience {
        tries: 2,
        tries_unreachable: 1,
        connect: Duration::from_secs(5),
        idle: TRYING,
        longest_pause: Duration::from_secs(5),
        ..Patience::default()
    };
    let client = Client::with(patience);
    let trying = wanted.into_iter().map(|(model, roles)| {
        let key = keys.find(&model.provider, model.key_env.as_deref(), surroundings);
        let client = client.clone();
        tokio::spawn(async move {
            let trial = timeout(TRYING, client.try_out(&model, key.as_ref().map(Secret::expose))).await;
            let trial = trial.unwrap_or_else(|_| Err(late(&model.base_url, TRYING)));
            Tried { model, roles, trial }
        })
    });
    all(trying.collect()).await
}

fn late(address: &str, after: Duration) -> Fault {
    let message = format!("{address} did not answer within {} s.", after.as_secs());
    Fault { kind: FaultKind::Broken, message, status: None }
}

/// Returns the models that `provider` lists for this key, which is the proof that it takes the key.
pub async fn try_key(name: &str, provider: &Provider, key: &Secret) -> Result<Listing, Fault> {
    let models = models(name, provider, Some(key), Closer::All).await?;
    let base_url = provider.base_url.clone().unwrap_or_default();
    Ok(Listing { provider: name.to_owned(), base_url, found: Found::Models(models) })
}

/// Of which models a server of one's own is asked what its list does not say.
#[derive(Clone, Copy, PartialEq)]
enum Closer {
    All,
    /// That which would be taken.
    First,
}

async fn ask(
    name: &str,
    provider: &Provider,
    keys: &Keys,
    surroundings: &Surroundings,
    closer: Closer,
) -> Listing {
    let key = keys.find(name, provider.key_env.as_deref(), surroundings);
    let found = match (&provider.key_env, &key) {
        (Some(variable), None) => Found::NoKey { variable: variable.clone() },
        _ => match models(name, provider, key.as_ref(), closer).await {
            Ok(models) => Found::Models(models),
            Err(fault) if fault.kind == FaultKind::Unreachable && key.is_none() => Found::NotRunning,
            Err(fault) => Found::Failed(fault),
        },
    };
    Listing { provider: name.to_owned(), base_url: provider.base_url.clone().unwrap_or_default(), found }
}

async fn models(
    name: &str,
    provider: &Provider,
    key: Option<&Secret>,
    closer: Closer,
) -> Result<Vec<Listed>, Fault> {
    let Some(any) = provider.model(name, "", Fact::default()) else {
        let message = format!("The provider `{name}` has no address.");
        return Err(Fault { kind: FaultKind::Unreachable, message, status: None });
    };
    // A server on this machine answers at once or is not there.
    let connect = if LOCAL.contains(&name) { Duration::from_millis(100) } else { Duration::from_secs(5) };
    let client = Client::with(Patience { connect, idle: Duration::from_secs(10), ..Patience::default() });
    let key = key.map(Secret::expose);
    let listing = timeout(LISTING, client.models(&any, key)).await;
    let mut offers = listing.unwrap_or_else(|_| Err(late(&any.base_url, LISTING)))?;
    let closer = match closer {
        Closer::All => &mut offers[..],
        Closer::First => {
            let first = offers.iter().position(|offer| !offer.embeds);
            first.map_or(&mut [][..], |first| &mut offers[first..=first])
        }
    };
    // What is not told within the time stays unknown.
    let _ = timeout(LISTING, client.look_closer(&any, key, closer)).await;
    let listed = |offer: &Offer| {
        let said = Fact::from(offer);
        let model = provider.model(name, &offer.name, said)?;
        Some(Listed { model, tools: offer.tools, embeds: offer.embeds, said })
    };
    Ok(offers.iter().filter_map(listed).collect())
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
                // Of one that may be a server of one's own more is asked, which this one does not know.
                let known = request.starts_with("get /v1/models ");
                let fine = !needs_key || request.contains("authorization: bearer sk-right\r\n");
                let status = match (known, fine) {
                    (false, _) => "404 Not Found",
                    (true, true) => "200 OK",
                    (true, false) => "401 Unauthorized",
                };
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
            matches!(of("lab"), Found::Models(models) if models.len() == 2 && models[1].model.name == "qwen3-coder")
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
        let listing = try_key("lab", lab, &Secret::new("sk-right").unwrap()).await.unwrap();
        assert!(matches!(listing.found, Found::Models(models) if models.len() == 2));
        let refused = try_key("lab", lab, &Secret::new("sk-wrong").unwrap()).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Key);
        assert!(!refused.message.contains("sk-wrong"));
    }
}
