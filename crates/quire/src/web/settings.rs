//! Settings, which are also the first page of a new home: which models answer, asked themselves; whether a sandbox can be made,
//! by making one; what a task may cost. Asking costs a little and takes a while, so that it is done when it is asked for, and
//! what came of it stays until the next time.

use crate::cmd::models::{listing_said, tried_said};
use crate::error::{Exit, Failure};
use crate::terminal::clean;
use crate::web::door::{Fields, Session};
use crate::web::frame::{self, Frame, Place};
use crate::web::{Page, icons, lock, missing};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use quire_core::charter::Net;
use quire_engine::keys::{Keys, Secret};
use quire_engine::models::{self, Found, Listing, Tried};
use quire_engine::settings::{self, Options, Settings, Surroundings};
use std::sync::Arc;

/// What was found out last.
#[derive(Clone, Default)]
pub struct Probe {
    running: bool,
    found: Option<Arc<Told>>,
    /// Looked for also without the models.
    pub sandbox: Option<Arc<missing::Found>>,
}

struct Told {
    listings: Vec<Listing>,
    tried: Vec<Tried>,
}

impl Told {
    fn answers(&self) -> bool {
        self.tried.iter().any(|tried| tried.trial.is_ok())
    }
}

impl Page {
    /// Returns the models that are known beside the one that is used first: those that the settings name, and those that answered.
    pub fn other_models(&self, settings: Option<&Settings>, first: Option<&str>) -> Vec<String> {
        let named = settings.into_iter().flat_map(|settings| &settings.fallback_models);
        let probe = lock(&self.probe).clone();
        let answered =
            probe.found.iter().flat_map(|told| told.tried.iter().filter(|tried| tried.trial.is_ok()));
        let mut others: Vec<String> = vec![];
        for title in named
            .map(|(provider, name)| format!("{provider}/{name}"))
            .chain(answered.map(|tried| tried.model.title()))
        {
            if Some(title.as_str()) != first && !others.contains(&title) {
                others.push(title);
            }
        }
        others
    }

    /// Begins to find out what works, unless that goes on already.
    pub fn probe(self: &Arc<Page>) {
        {
            let mut probe = lock(&self.probe);
            if probe.running {
                return;
            }
            probe.running = true;
        }
        let page = self.clone();
        tokio::spawn(async move {
            let (told, sandbox) = page.find_out().await.ok().unzip();
            let (found, sandbox) = (told.map(Arc::new), sandbox.map(Arc::new));
            *lock(&page.probe) = Probe { running: false, found, sandbox };
        });
    }

    async fn find_out(self: &Arc<Page>) -> Result<(Told, missing::Found), Failure> {
        let here = self.here();
        let settings = settings::read(&Options::default(), None, &here)?;
        let keys = Keys::read(&here)?;
        let sandbox = self.blocking(|page| Ok(missing::Found::out(page)));
        let asked = async {
            let listings = models::list(&settings, &keys, &here).await;
            let tried = models::try_out(&settings, &keys, &here, &listings, &[]).await;
            (listings, tried)
        };
        let (sandbox, (listings, tried)) = tokio::join!(sandbox, asked);
        if let Err(error) = models::remember(&listings, &here) {
            tracing::warn!(%error, "what models' servers said could not be kept");
        }
        Ok((Told { listings, tried }, sandbox?))
    }
}

pub async fn settings(State(page): State<Arc<Page>>, Extension(session): Extension<Session>) -> Response {
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let here = page.here();
        let settings = settings::read(&Options::default(), None, &here)?;
        let probe = lock(&page.probe).clone();
        let (told, sandbox) = (probe.found.as_deref(), probe.sandbox.as_deref());
        let is_missing = sandbox.is_some_and(|found| found.proof.is_err());
        let first = page.quire.store().tasks().map_err(quire_engine::EngineError::from)?.is_empty();
        let lede = match told {
            None if probe.running => "Each model is sent a short question, and a sandbox is made. One moment.",
            _ if is_missing => "No task can run here yet: there is no sandbox.",
            None => "Nothing was tried yet.",
            Some(told) if told.answers() => "A model answers and the sandbox holds.",
            Some(_) => "No model answers yet: start one on this machine, or give a key.",
        };
        let main = html! {
            main.set id="main" data-probing[probe.running] {
                h1 { (if first { "Ready to start" } else { "Settings" }) }
                p.lede { (lede) }
                div.ready {
                    (model_step(&frame, &settings, told, probe.running))
                    (sandbox_step(&frame, sandbox))
                    (folder_step(&here))
                    (limits_step(&frame, &settings))
                }
            }
            div.accept role="region" aria-label="Continue" { div.narrow {
                p { b { (if told.is_some_and(Told::answers) && !is_missing { "You can start now." } else { "You can look around." }) } span { "Everything here can be changed later." } }
                a.btn.big.pri[!is_missing] href="/" { (if first { "Start first task" } else { "To the tasks" }) }
            } }
        };
        Ok(frame.page(if first { "Ready to start" } else { "Settings" }, Place::Settings, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, "/"))
}

fn model_step(frame: &Frame, settings: &Settings, told: Option<&Told>, running: bool) -> Markup {
    let named = settings.named_model().map(|model| model.title());
    let listings = told.map_or(&[][..], |told| &told.listings);
    let answers = told.is_some_and(Told::answers);
    html! {
        section.step.sheet {
            @if answers { (icons::status("done", "done", "Ready")) } @else { (icons::status("open", "off", "Not ready")) }
            div.wide {
                h2 { "A model to do the work" }
                p.sub {
                    @match &named { Some(named) => { "Used first: " b { (clean(named)) } "." }, None => "None is named; the first that runs on this machine is used." }
                    @if answers { " Each was sent a short test question; choose which to use first." }
                }
                @if let Some(told) = told {
                    ul.prov {
                        @for tried in &told.tried {
                            @let title = tried.model.title();
                            li {
                                @if tried.trial.is_ok() {
                                    form method="post" action="/settings/keep" {
                                        (frame.key())
                                        button.pick name="set" value=(format!("model={title}")) aria-pressed=(named.as_ref() == Some(&title)) aria-label=(format!("Use {} first", clean(&title))) {}
                                    }
                                } @else { (icons::status("fail", "fail", "Does not work")) }
                                span.nm { (clean(&title)) }
                                span.tag.green[tried.trial.is_ok()].red[tried.trial.is_err()] { (if tried.trial.is_ok() { "works" } else { "does not work" }) }
                                span.ds { (clean(&tried_said(tried))) }
                            }
                        }
                        @for listing in listings.iter().filter(|listing| !matches!(listing.found, Found::NotRunning | Found::NoKey { .. })) { (provider(frame, listing, &told.tried)) }
                        (without_key(frame, listings, answers))
                    }
                    @let silent: Vec<&str> = listings.iter().filter(|listing| listing.found == Found::NotRunning).map(|listing| listing.provider.as_str()).collect();
                    @if !silent.is_empty() { p.sub { "Looked for on this machine and not running: " (silent.join(", ")) "." } }
                }
                div.acts {
                    (frame.button("/settings/test", "", &html! { @if running { "Testing" } @else { "Test again" } }, &[]))
                }
            }
        }
    }
}

fn provider(frame: &Frame, listing: &Listing, tried: &[Tried]) -> Markup {
    let name = &listing.provider;
    let models = match &listing.found {
        Found::Models(models) => &models[..],
        _ => &[],
    };
    let known = tried.iter().any(|tried| tried.model.provider == *name);
    html! {
        li {
            @match &listing.found {
                Found::Models(_) => (icons::status("done", "done", "Answers")),
                _ => (icons::status("fail", "fail", "Does not answer")),
            }
            span.nm { (clean(name)) }
            span.tag { @match &listing.found { Found::Models(_) => "answers", _ => "does not answer" } }
            span.ds { (clean(&listing_said(listing))) }
            @if !models.is_empty() && !known {
                form.ds.inline method="post" action="/settings/keep" {
                    (frame.key())
                    label.vh for=(format!("model-{name}")) { "A model of " (clean(name)) }
                    select.field id=(format!("model-{name}")) name="set" {
                        @for listed in models.iter().filter(|listed| !listed.embeds) {
                            option value=(format!("model={}", listed.model.title())) { (clean(&listed.model.name)) }
                        }
                    }
                    button.btn { "Use first" }
                }
            }
            @if matches!(listing.found, Found::Failed(_)) {
                details.ds { summary { "Give another key" } (key_form(frame, &[name.as_str()])) }
            }
        }
    }
}

/// Returns the providers that would answer with a key, as one line.
fn without_key(frame: &Frame, listings: &[Listing], answers: bool) -> Markup {
    let names: Vec<&str> = listings
        .iter()
        .filter(|listing| matches!(listing.found, Found::NoKey { .. }))
        .map(|listing| listing.provider.as_str())
        .collect();
    html! {
        @if !names.is_empty() {
            li {
                (icons::status("open", "off", "No key"))
                span.nm { "With a key" }
                span.tag { "no key" }
                span.ds { (clean(&names.join(", "))) }
                details.ds open[!answers] { summary { "Give a key" } (key_form(frame, &names)) }
            }
        }
    }
}

fn key_form(frame: &Frame, names: &[&str]) -> Markup {
    let id = names.first().copied().unwrap_or_default();
    html! {
        form.inline method="post" action="/settings/key" {
            (frame.key())
            @match names {
                [name] => { input type="hidden" name="provider" value=(name); },
                _ => {
                    label.vh for="provider" { "Provider" }
                    select.field id="provider" name="provider" { @for name in names { option { (name) } } }
                },
            }
            label.vh for=(format!("key-{id}")) { "Key" }
            input.field id=(format!("key-{id}")) name="secret" type="password" placeholder="Key" autocomplete="off" required;
            button.btn { "Test and save" }
        }
    }
}

fn sandbox_step(frame: &Frame, sandbox: Option<&missing::Found>) -> Markup {
    const HEADING: &str = "A safe place to work";
    html! {
        section.step.sheet {
            @match sandbox.map(|found| (found, &found.proof)) {
                Some((found, Ok(proof))) => {
                    (icons::status("done", "done", "Ready"))
                    div {
                        h2 { (HEADING) }
                        p.sub { "Every task gets a private copy of your folder. One was made just now, and what a command in it wrote, changed and deleted did not get out: " (proof.rung) "." }
                        @if Page::is_less(found) { (found.told(frame, "settings")) }
                    }
                },
                Some((found, Err(_))) => {
                    (icons::status("fail", "fail", "Missing"))
                    div { h2 { (found.heading().unwrap_or(HEADING)) } (found.told(frame, "settings")) }
                },
                None => {
                    (icons::status("open", "off", "Not tried yet"))
                    div {
                        h2 { (HEADING) }
                        p.sub { "Every task gets a private copy of your folder." }
                        div.acts { (frame.button("/settings/check", "", &html! { "Try it" }, &[])) }
                    }
                },
            }
        }
    }
}

fn folder_step(here: &Surroundings) -> Markup {
    let folder = settings::resolve(&Options::default(), here)
        .ok()
        .and_then(|resolved| resolved.folders.first().cloned());
    html! {
        section.step.sheet {
            (icons::status("done", "done", "Ready"))
            div {
                h2 { "A folder" }
                p.sub {
                    @match folder {
                        Some(folder) => { (clean(&quire_core::view::short_folder(&folder, here.home().as_deref()))) ". You can use any folder; it does not need to be a Git repository." },
                        None => { "A task makes a new one in " code { "~/Quire" } ", or works in any folder of yours." },
                    }
                }
            }
        }
    }
}

fn limits_step(frame: &Frame, settings: &Settings) -> Markup {
    let amount = |most: Option<quire_core::Usd>| {
        most.map_or_else(String::new, |most| most.to_string().trim_start_matches('$').to_owned())
    };
    let rows = [
        ("budget.task_usd", "Pause a task at", "It keeps its work and asks you.", settings.limits.task_usd),
        ("budget.day_usd", "Stop new work for the day at", "All tasks together.", settings.limits.day_usd),
    ];
    let (chosen, told) = reach(&settings.sandbox.net);
    html! {
        section.step.sheet {
            span {}
            div.wide {
                h2 { "Limits" }
                div.opts {
                    @for (key, label, small, most) in rows {
                        form method="post" action="/settings/keep" {
                            (frame.key())
                            input type="hidden" name="of" value=(key);
                            label for=(key) { (label) small { (small) } }
                            span.inline { span.num { "$" input id=(key) name="value" value=(amount(most)) inputmode="decimal"; } button.btn { "Save" } }
                        }
                    }
                    form method="post" action="/settings/keep" {
                        (frame.key())
                        span { "Downloading packages" small { (told) } }
                        span.seg role="group" aria-label="Downloading packages" {
                            @for (label, value) in DOWNLOADS {
                                button name="set" value=(format!("sandbox.net={value}")) aria-pressed=(label == chosen) { (label) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What tasks may do with package registries, and the setting that says so.
const DOWNLOADS: [(&str, &str); 3] = [("Ask", "[]"), ("Allow", "registries"), ("Never", "off")];

/// Returns which of them is set, where one is, and what tasks may reach then.
fn reach(net: &Net) -> (&'static str, &'static str) {
    match net {
        Net::Off => ("Never", "The network is closed, and no task asks."),
        Net::Only { registries: true, hosts } if hosts.is_empty() => {
            ("Allow", "For everything else on the network a task asks you.")
        }
        Net::Only { registries: false, hosts } if hosts.is_empty() => {
            ("Ask", "A task asks you before it reaches anything.")
        }
        _ => ("", "config.toml names what tasks may reach; a choice here takes its place."),
    }
}

fn back() -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, "/settings")]).into_response()
}

pub async fn test(State(page): State<Arc<Page>>) -> Response {
    page.probe();
    back()
}

/// Settings that the page may store, beside [`DOWNLOADS`].
const KEEPS: [&str; 3] = ["model", "budget.task_usd", "budget.day_usd"];

pub async fn keep(State(page): State<Arc<Page>>, Extension(fields): Extension<Fields>) -> Response {
    let set = match (fields.filled("set"), fields.filled("of"), fields.get("value")) {
        (Some(set), ..) => set.to_owned(),
        (None, Some(key), Some(value)) => format!("{key}={}", value.trim()),
        _ => String::new(),
    };
    let kept = page.blocking(move |page| {
        let is_download = DOWNLOADS.iter().any(|(_, value)| set == format!("sandbox.net={value}"));
        if !is_download && !set.split_once('=').is_some_and(|(key, _)| KEEPS.contains(&key)) {
            let next = "Load the page anew.";
            return Err(Failure::new(
                Exit::WrongUse,
                "This form sets nothing.",
                "Nothing was changed.",
                next,
            ));
        }
        Ok(settings::keep(&[set], &page.here())?)
    });
    match kept.await {
        Ok(_) => back(),
        Err(failure) => frame::failed(&failure, "/settings"),
    }
}

pub async fn key(State(page): State<Arc<Page>>, Extension(fields): Extension<Fields>) -> Response {
    match stored(&page, &fields).await {
        Ok(()) => {
            page.probe();
            back()
        }
        Err(failure) => frame::failed(&failure, "/settings"),
    }
}

/// Asks the provider with the key, and stores it where that works.
async fn stored(page: &Arc<Page>, fields: &Fields) -> Result<(), Failure> {
    const SAFE: &str = "No key was stored.";
    let here = page.here();
    let settings = settings::read(&Options::default(), None, &here)?;
    let name = fields.filled("provider").unwrap_or_default();
    let provider = settings.providers.get(name).ok_or_else(|| {
        Failure::new(Exit::WrongUse, "There is no such provider.", SAFE, "Load the page anew.")
    })?;
    let key = fields.get("secret").and_then(Secret::new).ok_or_else(|| {
        let what = "This is no key: it is empty or holds other characters.";
        Failure::new(Exit::WrongUse, what, SAFE, "Paste it as the provider shows it.")
    })?;
    let found = models::try_key(name, provider, &key).await.map_err(|fault| {
        Failure::new(Exit::NoModel, fault.message, SAFE, "Look at the key, then paste it again.")
    })?;
    let (name, here) = (name.to_owned(), here.clone());
    page.blocking(move |_| {
        Keys::read(&here)?.store(&name, key, &here)?;
        if let Err(error) = models::remember(std::slice::from_ref(&found), &here) {
            tracing::warn!(%error, "what the provider said could not be kept");
        }
        Ok(())
    })
    .await
}
