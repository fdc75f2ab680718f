//! Asking a model: the connection, the stream, and asking again.
//!
//! A request that failed is sent again whole, and nothing of the answer that broke off is kept: a call that
//! was not closed must never run. The key goes to the host of the model's address and nowhere else, so
//! redirects are not followed; and it is cut out of every sentence that leaves this file.

mod answer;
mod quirks;

use crate::fault::{Again, Trouble, masked};
use crate::offer::{self, Native, Offer};
use crate::wire::{self, Ask, Dialect, Quirks, Show, without_halves};
use crate::{Glimpse, tape};
use answer::{Came, deepest, no_stream, read, rest, send};
use quire_core::charter::Model;
use quire_core::message::{Fault, FaultKind, Item, Prompt, Reply, Stop};
use quire_core::{Hash, Usage};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

/// How long to wait, and how often to try. The numbers of [`Patience::default`] are for real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries where a server answers, but not well.
    pub tries: u32,
    /// Tries where nothing answers: fewer, because a wrong address does not mend itself.
    pub tries_unreachable: u32,
    /// The pause before the second try; it doubles with each further one.
    pub first_pause: Duration,
    /// No pause is longer, whatever a server asks for.
    pub longest_pause: Duration,
    /// How long a connection may take to stand.
    pub connect: Duration,
    /// How long a server may send nothing. Models may think for minutes before their first word.
    pub idle: Duration,
    /// How long to wait for the tokens used, once the reply is whole.
    pub linger: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            tries: 6,
            tries_unreachable: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(300),
            linger: Duration::from_secs(5),
        }
    }
}

/// The way to all models. Cheap to clone; clones share connections and what was learnt about servers.
#[derive(Clone, Default)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    patience: Patience,
    /// Built at the first request: reading the certificates takes several milliseconds.
    http: OnceLock<Result<reqwest::Client, String>>,
    /// For this machine's own servers, which no proxy can reach.
    loopback: OnceLock<Result<reqwest::Client, String>>,
    /// By base address and model.
    quirks: Mutex<HashMap<(String, String), Quirks>>,
}

/// A key of so many bytes is in a reply only because the server put it there. A shorter one (`test`, `ollama`) may be a word.
const SURE_KEY_BYTES: usize = 16;
/// Whether a request may be tried once more.
pub type Leave = std::pin::Pin<Box<dyn Future<Output = bool> + Send>>;

/// Asked before a further try where the one before may have cost something: a stream that broke off, or a request that left and
/// was never answered. A `no` ends the asking.
pub type MayRepeat<'a> = &'a (dyn Fn() -> Leave + Send + Sync);

/// Why no reply came, and whether the last try may have cost something all the same.
#[derive(Debug)]
pub struct Unanswered {
    pub fault: Fault,
    pub charged: bool,
}

/// The most that is read of an answer that is no stream, and of an error.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The most that is read of a stream: far above any model's longest answer.
const STREAM_BYTES_MAX: usize = 64 << 20;

impl Client {
    /// Returns a client that has done nothing yet.
    pub fn new() -> Client {
        Client::default()
    }

    /// Returns a client that waits and tries as `patience` says.
    pub fn with(patience: Patience) -> Client {
        Client { shared: Arc::new(Shared { patience, ..Shared::default() }) }
    }

    /// Asks `model` and returns its whole reply, or why none came after all tries.
    ///
    /// `images` holds the content of the pictures in the prompt's outcomes; one that is missing is left out.
    /// Dropping the future closes the connection.
    pub async fn ask(
        &self,
        model: &Model,
        key: Option<&str>,
        prompt: &Prompt,
        images: &HashMap<Hash, Vec<u8>>,
        glimpse: &(dyn Fn(Glimpse) + Send + Sync),
    ) -> Result<Reply, Fault> {
        let always: MayRepeat<'_> = &|| Box::pin(std::future::ready(true));
        let asked = self.ask_within(model, key, prompt, images, glimpse, always).await;
        asked.map_err(|unanswered| unanswered.fault)
    }

    /// The same, where a budget has to hold: see [`MayRepeat`].
    pub async fn ask_within(
        &self,
        model: &Model,
        key: Option<&str>,
        prompt: &Prompt,
        images: &HashMap<Hash, Vec<u8>>,
        glimpse: &(dyn Fn(Glimpse) + Send + Sync),
        again: MayRepeat<'_>,
    ) -> Result<Reply, Unanswered> {
        self.ask_heard(model, key, prompt, images, glimpse, again).await.map(|(reply, _)| reply)
    }

    /// Asks without showing anything, and returns besides the reply whether it came as a stream.
    pub(crate) async fn ask_once(
        &self,
        model: &Model,
        key: Option<&str>,
        prompt: &Prompt,
        images: &HashMap<Hash, Vec<u8>>,
    ) -> Result<(Reply, bool), Fault> {
        let always: MayRepeat<'_> = &|| Box::pin(std::future::ready(true));
        let asked = self.ask_heard(model, key, prompt, images, &|_| (), always).await;
        asked.map_err(|unanswered| unanswered.fault)
    }

    async fn ask_heard(
        &self,
        model: &Model,
        key: Option<&str>,
        prompt: &Prompt,
        images: &HashMap<Hash, Vec<u8>>,
        glimpse: &(dyn Fn(Glimpse) + Send + Sync),
        again: MayRepeat<'_>,
    ) -> Result<(Reply, bool), Unanswered> {
        let free = |fault| Unanswered { fault, charged: false };
        let Some(dialect) = wire::of(model.wire) else {
            return tape::play(&model.base_url, prompt, glimpse)
                .await
                .map(|reply| (reply, true))
                .map_err(|t| free(t.told(model, &model.base_url, 1)));
        };
        let way = self.way(dialect, model, key).map_err(free)?;
        let ask = Ask { model, prompt, images };
        let patience = &self.shared.patience;
        let mut tries = 0;
        loop {
            tries += 1;
            let shown = AtomicBool::new(false);
            let show = |piece: Glimpse| {
                shown.store(true, Ordering::Relaxed);
                glimpse(match piece {
                    Glimpse::Text(text) => Glimpse::Text(way.masked_said(without_halves(text))),
                    Glimpse::Reasoning(text) => Glimpse::Reasoning(way.masked_said(without_halves(text))),
                    other => other,
                });
            };
            let quirks = self.quirks_of(model);
            let trouble = match way.attempt(&ask, &quirks, patience, &show).await {
                Ok((reply, streams)) => {
                    return Ok((Reply { by: model.title(), ..way.without_key(reply) }, streams));
                }
                Err(trouble) => trouble,
            };
            if shown.into_inner() {
                glimpse(Glimpse::Restarted);
            }
            // A parameter can be learnt away once, and a number only sinks, so this ends.
            if self.learn(model, dialect, &trouble) {
                tries -= 1;
                continue;
            }
            let of = match trouble.kind {
                FaultKind::Unreachable => patience.tries_unreachable,
                _ => patience.tries,
            };
            let pause = match trouble.again {
                Again::After(asked) if tries < of => pause(patience, tries, asked),
                _ => {
                    let charged = trouble.charged;
                    return Err(Unanswered { fault: way.told(trouble, model, tries), charged });
                }
            };
            tracing::debug!(address = %way.address, tries, ?pause, kind = ?trouble.kind, "asking again");
            let after_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            glimpse(Glimpse::Retrying { attempt: tries + 1, of, after_ms, why: way.masked(&trouble.why) });
            tokio::time::sleep(pause).await;
            if trouble.charged && !again().await {
                return Err(Unanswered { fault: way.told(trouble, model, tries), charged: true });
            }
        }
    }

    /// Returns the models that the server has, as it lists them. Tried once.
    pub async fn models(&self, model: &Model, key: Option<&str>) -> Result<Vec<Offer>, Fault> {
        let Some(dialect) = wire::of(model.wire) else {
            return Ok(vec![Offer { name: model.name.clone(), ..Offer::default() }]);
        };
        let mut way = self.way(dialect, model, key)?;
        way.url = extended(&model.base_url, "models").map_err(|trouble| way.told(trouble, model, 1))?;
        if way.url.query().is_none() {
            way.url.set_query(dialect.models_query());
        }
        way.address = shown(&way.url);
        way.models(&self.shared.patience).await.map_err(|trouble| way.told(trouble, model, 1))
    }

    /// Asks a server, in an API of its own, what its list does not say of these models of it. What it does not tell stays as it
    /// is. `model` names the server.
    pub async fn look_closer(&self, model: &Model, key: Option<&str>, offers: &mut [Offer]) {
        let Some(dialect) = wire::of(model.wire) else { return };
        let Some(native) = offer::native(&model.provider, offers) else { return };
        let Ok(mut way) = self.way(dialect, model, key) else { return };
        let patience = &self.shared.patience;
        let root = native.root(&model.base_url).to_owned();
        if native == Native::Google {
            // It takes a bearer for a person's token, which a key is not.
            way.headers.remove(AUTHORIZATION);
            if let Some(mut key) = key.and_then(|key| HeaderValue::from_str(key.trim()).ok()) {
                key.set_sensitive(true);
                way.headers.insert("x-goog-api-key", key);
            }
        }
        let mut said = async |path: &str, body: Option<Value>| {
            let Ok(mut url) = extended(&root, path) else { return Value::Null };
            if native == Native::Google {
                url.set_query(Some("pageSize=1000"));
            }
            way.url = url;
            way.value(body, patience).await.unwrap_or_default()
        };
        match native {
            Native::Google => {
                let list = said("models", None).await;
                offers.iter_mut().for_each(|offer| offer.hear_google(&list));
            }
            Native::LlamaCpp => {
                let props = said("props", None).await;
                offers.iter_mut().for_each(|offer| offer.hear_llamacpp(&props));
            }
            Native::LmStudio => {
                let list = said("api/v0/models", None).await;
                offers.iter_mut().for_each(|offer| offer.hear_lmstudio(&list));
            }
            Native::Ollama => {
                let running = said("api/ps", None).await;
                for offer in offers {
                    let shown = said("api/show", Some(json!({ "model": offer.name }))).await;
                    offer.hear_ollama(&shown, &running);
                }
            }
        }
    }

    fn way<'a>(
        &self,
        dialect: &'static dyn Dialect,
        model: &'a Model,
        key: Option<&'a str>,
    ) -> Result<Way<'a>, Fault> {
        let key = key.map(str::trim).filter(|key| !key.is_empty());
        let fault = |trouble: Trouble| {
            let trouble = Trouble { why: masked(&trouble.why, key), ..trouble };
            trouble.told(model, &masked(&model.base_url, key), 1)
        };
        let url = extended(&model.base_url, dialect.path()).map_err(fault)?;
        if let (Some(name), None) = (&model.key_env, key) {
            let why = format!("{} needs a key, and {name} is not set.", shown(&url));
            return Err(fault(Trouble::new(FaultKind::NoKey, why)));
        }
        let mut headers = HeaderMap::new();
        let mut value = key.map(HeaderValue::from_str).transpose().map_err(|_| {
            fault(Trouble::new(FaultKind::Key, "it holds characters that no key has, so it was not sent"))
        })?;
        value.iter_mut().for_each(|value| value.set_sensitive(true));
        dialect.sign(&mut headers, value);
        let is_loopback = is_loopback(&url);
        let place = if is_loopback { &self.shared.loopback } else { &self.shared.http };
        let http = place.get_or_init(|| build(&self.shared.patience, is_loopback));
        let http = http.clone().map_err(|why| fault(Trouble::new(FaultKind::Unreachable, why)))?;
        Ok(Way { dialect, http, address: shown(&url), url, headers, key })
    }

    fn quirks_of(&self, model: &Model) -> Quirks {
        let quirks = self.shared.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        quirks.get(&(model.base_url.clone(), model.name.clone())).cloned().unwrap_or_default()
    }

    /// Returns whether the server named something it does not take, which from now on it is not sent.
    fn learn(&self, model: &Model, dialect: &dyn Dialect, trouble: &Trouble) -> bool {
        let mut quirks = self.shared.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        quirks.entry((model.base_url.clone(), model.name.clone())).or_default().learn(
            dialect.optional(),
            model,
            trouble,
        )
    }
}

/// Everything that is known before the first byte is sent.
struct Way<'a> {
    dialect: &'static dyn Dialect,
    http: reqwest::Client,
    url: Url,
    /// The address as it may be shown: without user, password and query.
    address: String,
    headers: HeaderMap,
    key: Option<&'a str>,
}

impl Way<'_> {
    fn masked(&self, text: &str) -> String {
        masked(text, self.key)
    }

    /// Returns what a model said without the key.
    fn masked_said(&self, text: String) -> String {
        match self.key {
            Some(key) if key.len() >= SURE_KEY_BYTES && text.contains(key) => self.masked(&text),
            _ => text,
        }
    }

    /// Returns the reply as it came, unless it repeats the key: a server that sends back what it is sent must not
    /// bring it into the log, nor to another server.
    fn without_key(&self, mut reply: Reply) -> Reply {
        let Some(key) = self.key.filter(|key| key.len() >= SURE_KEY_BYTES) else { return reply };
        let has_key = |text: &str| text.contains(key);
        if !reply.items.iter().any(|item| has_key(item.get())) && !has_key(&reply.text) {
            return reply;
        }
        for item in &mut reply.items {
            // Within a string a mask is as good as a key, so this is JSON still.
            if let Ok(masked) = Item::parse(self.masked(item.get())) {
                *item = masked;
            }
        }
        reply.text = self.masked(&reply.text);
        for call in &mut reply.calls {
            call.input = self.masked(&call.input);
        }
        if let Stop::Refused(why) = &mut reply.stop {
            *why = self.masked(why);
        }
        reply
    }

    fn told(&self, trouble: Trouble, model: &Model, tries: u32) -> Fault {
        let fault = trouble.told(model, &self.address, tries);
        Fault { message: self.masked(&fault.message), ..fault }
    }

    async fn attempt(
        &self,
        ask: &Ask<'_>,
        quirks: &Quirks,
        patience: &Patience,
        show: Show<'_>,
    ) -> Result<(Reply, bool), Trouble> {
        let items = wire::items(self.dialect, ask);
        let body = self.dialect.body(ask, items, quirks);
        let body =
            body.map_err(|error| Trouble::new(FaultKind::Request, format!("it cannot be written: {error}")))?;
        let sent_bytes = body.len();
        let request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(ACCEPT, "text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let response = send(request, patience).await?;
        let mut reading = self.dialect.reading(ask.prompt.replies as usize, &ask.prompt.tools);
        // From here on the server works for what it is paid for, whatever of it arrives.
        let charged = |trouble| Trouble { charged: true, ..trouble };
        let Came { streams, unreadable } =
            read(response, reading.as_mut(), patience, show).await.map_err(charged)?;
        let mut reply = reading.reply().map_err(charged)?;
        // Where a call comes in pieces, one that was skipped may be a part of it.
        if unreadable > 0 && !reply.calls.is_empty() && !self.dialect.sends_whole_items() {
            let why = format!("{unreadable} of its events were unreadable, and its calls may lack a part");
            return Err(charged(Trouble::broken(why)));
        }
        reply.usage = settled(reply.usage, sent_bytes, &reply);
        Ok((reply, streams))
    }

    async fn models(&self, patience: &Patience) -> Result<Vec<Offer>, Trouble> {
        let list = self.value(None, patience).await?;
        offer::offers(&list).ok_or_else(|| no_stream(list.to_string().as_bytes()))
    }

    /// Returns the JSON that lies at the address, or that answers `body` there.
    async fn value(&self, body: Option<Value>, patience: &Patience) -> Result<Value, Trouble> {
        let request = match body {
            None => self.http.get(self.url.clone()),
            Some(body) => {
                let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
                request.body(body.to_string())
            }
        };
        let mut response = send(request.headers(self.headers.clone()), patience).await?;
        let body = rest(&mut response, Vec::new(), patience).await?;
        serde_json::from_slice(&body).map_err(|_| no_stream(&body))
    }
}

/// Returns the pause after `tries` failed ones: what the server asked for, or doubling, of which a random
/// part up to a half is left out, so that many tasks do not come back at once.
fn pause(patience: &Patience, tries: u32, asked: Option<Duration>) -> Duration {
    let doubled = patience.first_pause.saturating_mul(1 << (tries - 1).min(16));
    let jittered = doubled.min(patience.longest_pause).mul_f64(1.0 - random_half());
    asked.unwrap_or(jittered).min(patience.longest_pause)
}

/// Returns a random number from 0 to a half; 0 where the system has no randomness.
fn random_half() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) / 2.0,
        Err(_) => 0.0,
    }
}

/// Returns usage that adds up: quire's estimate (4 bytes a token) stands for what the server left out, and
/// what it says of its cache is part of what was read.
fn settled(said: Usage, sent_bytes: usize, reply: &Reply) -> Usage {
    let tokens = |bytes: usize| (bytes as u64).div_ceil(4);
    let came = reply.items.iter().map(|item| item.get().len()).sum();
    let input = if said.input == 0 { tokens(sent_bytes) } else { said.input };
    let cached = said.cached.min(input);
    Usage {
        input,
        cached,
        cache_write: said.cache_write.min(input - cached),
        output: if said.output == 0 { tokens(came) } else { said.output },
        estimated: said.input == 0 || said.output == 0,
    }
}

/// Returns the base address with `path` added; its query stays.
fn extended(base: &str, path: &str) -> Result<Url, Trouble> {
    let wrong = |why: String| Trouble::new(FaultKind::Request, format!("the model's address is none: {why}"));
    let mut url = Url::parse(base).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it must begin with http:// or https://".to_owned()));
    }
    let joined = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&joined);
    Ok(url)
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for addresses without a host, which have none of it.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let named = host == "localhost" || host.ends_with(".localhost");
    named || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Builds the connection pool. Roots of Mozilla's are added to the platform's: without any, as in slim
/// containers, the platform's verifier refuses to be built even for plain HTTP.
fn build(patience: &Patience, is_loopback: bool) -> Result<reqwest::Client, String> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that another part of the process chose a provider before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    let roots = roots.iter().map(|root| reqwest::Certificate::from_der(root)).collect::<Result<Vec<_>, _>>();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("quire/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(patience.connect)
        // A connection that died silently is found long before `idle` is over.
        .http2_keep_alive_interval(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_merge(roots.map_err(|error| error.to_string())?);
    let builder = if is_loopback { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| format!("no connection can be made at all: {}", deepest(&error)))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("patience", &self.shared.patience).finish_non_exhaustive()
    }
}
