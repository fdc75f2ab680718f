//! `quire models`: which models answer, and `quire models add PROVIDER`: a key, tested and then stored.

use crate::cli::{ModelsArgs, ModelsCommand};
use crate::cmd::follow::say;
use crate::cmd::{Face, wait};
use crate::error::{Exit, Failure};
use crate::layout::thousands;
use crate::terminal::{clean, count, print, read_secret};
use quire_core::Usd;
use quire_core::charter::Model;
use quire_engine::keys::{Keys, Secret};
use quire_engine::models::{self, Found, Listed, Listing, Trial, Tried};
use quire_engine::nearest::nearest;
use quire_engine::settings::{self, Named, Options, Settings, Surroundings};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};

/// A key that is longer is none.
const KEY_BYTES_MAX: u64 = 64 << 10;

pub fn models(args: &ModelsArgs, face: &Face) -> Result<Exit, Failure> {
    let surroundings = Surroundings::capture();
    let settings = settings::read(&Options::default(), None, &surroundings)?;
    let keys = Keys::read(&surroundings)?;
    match &args.command {
        None => list(&args.model, &settings, &keys, &surroundings, face),
        Some(ModelsCommand::Add { provider }) => add(provider, &settings, keys, &surroundings, face),
    }
}

fn list(
    more: &[String],
    settings: &Settings,
    keys: &Keys,
    surroundings: &Surroundings,
    face: &Face,
) -> Result<Exit, Failure> {
    let more: Vec<Named> = more.iter().map(|text| named(text, settings)).collect::<Result<_, _>>()?;
    let (listings, tried) = wait(async {
        let listings = models::list(settings, keys, surroundings).await;
        let tried = models::try_out(settings, keys, surroundings, &listings, &more).await;
        (listings, tried)
    })?;
    remember(&listings, surroundings);
    if face.json {
        let providers: Vec<Value> = listings.iter().map(as_json).collect();
        let asked: Vec<Value> = tried.iter().map(tried_json).collect();
        print(&format!("{}\n", json!({"v": 1, "providers": providers, "asked": asked})))?;
    } else {
        let mut text: String = listings.iter().map(as_text).collect();
        if !tried.is_empty() {
            text.push_str("\nasked:\n");
            tried.iter().for_each(|tried| text.push_str(&tried_text(tried)));
        }
        print(&clean(&text))?;
    }
    let lists = listings.iter().any(|l| matches!(&l.found, Found::Models(models) if !models.is_empty()));
    if lists || tried.iter().any(|tried| tried.trial.is_ok()) {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        Exit::NoModel,
        "No model answers.",
        "Nothing was changed.",
        "Add a key: quire models add PROVIDER. Without one: start a local model server, or see: quire demo",
    ))
}

/// Returns provider and model of `-m`.
fn named(text: &str, settings: &Settings) -> Result<Named, Failure> {
    let wrong = |what: String| {
        Failure::new(Exit::WrongUse, what, "Nothing was asked.", "See which there are: quire models")
    };
    match text.split_once('/') {
        Some((provider, name)) if !name.is_empty() => match settings.providers.get(provider) {
            Some(_) => Ok((provider.to_owned(), name.to_owned())),
            None => Err(wrong(no_provider(provider, settings))),
        },
        _ => Err(wrong(format!("`{text}` is not PROVIDER/MODEL."))),
    }
}

fn no_provider(name: &str, settings: &Settings) -> String {
    let near = nearest(name, settings.providers.keys().map(String::as_str));
    let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
    format!("There is no provider `{name}`.{near}")
}

/// Keeps what servers said; a task that does without loses no more than that.
fn remember(listings: &[Listing], surroundings: &Surroundings) {
    if let Err(error) = models::remember(listings, surroundings) {
        say(&format!("What they said could not be kept for later tasks: {error}."));
    }
}

fn add(
    name: &str,
    settings: &Settings,
    mut keys: Keys,
    surroundings: &Surroundings,
    face: &Face,
) -> Result<Exit, Failure> {
    let unknown = || {
        let next = "See which there are: quire models";
        Failure::new(Exit::WrongUse, no_provider(name, settings), "No key was stored.", next)
    };
    let provider = settings.providers.get(name).ok_or_else(unknown)?;
    if provider.key_env.is_none() {
        let next = format!("If it needs one, set providers.{name}.key_env to the name of a variable.");
        return Err(Failure::new(
            Exit::WrongUse,
            format!("`{name}` takes no key."),
            "No key was stored.",
            next,
        ));
    }
    let mut typed = String::new();
    if std::io::stdin().is_terminal() {
        match read_secret(&format!("Key of {name} (not shown): "))? {
            Some(text) => typed = text,
            None => return Ok(Exit::Interrupted),
        }
    } else {
        std::io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut typed)?;
    }
    let no_key = || {
        let next = format!("Give it on stdin: quire models add {name} < FILE");
        Failure::new(
            Exit::WrongUse,
            "What was read is no key: it is empty or holds other characters.",
            "No key was stored.",
            next,
        )
    };
    let key = Secret::new(&typed).ok_or_else(no_key)?;
    let found = wait(models::try_key(name, provider, &key))?.map_err(|fault| {
        Failure::new(
            Exit::NoModel,
            fault.message,
            "No key was stored.",
            format!("Then again: quire models add {name}"),
        )
    })?;
    let path = keys.store(name, key, surroundings)?;
    remember(std::slice::from_ref(&found), surroundings);
    let names = names(&found);
    let first = names.first();
    if face.json {
        print(&format!("{}\n", json!({"v": 1, "provider": name, "stored": path, "models": names})))?;
    } else {
        let models = count(names.len(), "model");
        let next =
            first.map(|model| format!("Use one: quire -m {name}/{model} \"TASK\"\n")).unwrap_or_default();
        print(&clean(&format!("The key works: {models} answered. It is in {}.\n{next}", path.display())))?;
    }
    Ok(Exit::Done)
}

fn names(listing: &Listing) -> Vec<&str> {
    match &listing.found {
        Found::Models(models) => models.iter().map(|listed| listed.model.name.as_str()).collect(),
        _ => vec![],
    }
}

/// Returns what a provider said, in a few words.
pub fn listing_said(listing: &Listing) -> String {
    match &listing.found {
        Found::Models(models) => count(models.len(), "model"),
        Found::NoKey { variable } => {
            format!("no key: set {variable}, or quire models add {}", listing.provider)
        }
        Found::NotRunning => "nothing answers there".to_owned(),
        Found::Failed(fault) => fault.message.clone(),
    }
}

fn as_text(listing: &Listing) -> String {
    let Listing { provider, base_url, found } = listing;
    let said = listing_said(listing);
    let mut text = format!("{provider:<11} {base_url:<32} {said}\n");
    if let Found::Models(models) = found {
        for Listed { model, tools, embeds, .. } in models {
            text.push_str(&format!("  {}{}\n", model.title(), facts(model, *tools, *embeds)));
        }
    }
    text
}

/// Returns what is known of a model, each after two blanks.
fn facts(model: &Model, tools: Option<bool>, embeds: bool) -> String {
    let context = model.context_tokens.map(|tokens| format!("{} tokens", thousands(tokens)));
    let price = model.price.map(|price| {
        let million = |part: Usd| Usd(part.0.saturating_mul(1_000_000));
        format!("{} in, {} out a million", million(price.input), million(price.output))
    });
    let tools = tools.map(|tools| if tools { "tools" } else { "no tools" }.to_owned());
    let images = model.images.then(|| "images".to_owned());
    let embeds = embeds.then(|| "embeddings only".to_owned());
    [context, price, tools, images, embeds].into_iter().flatten().map(|fact| format!("  {fact}")).collect()
}

fn tried_text(tried: &Tried) -> String {
    let roles = &tried.roles;
    let roles = if roles.is_empty() { String::new() } else { format!("  ({})", roles.join(", ")) };
    format!("  {}  {}{roles}\n", tried.model.title(), tried_said(tried))
}

/// Returns what a model that was asked itself can do, or why it did not answer.
pub fn tried_said(tried: &Tried) -> String {
    let Tried { model, trial, .. } = tried;
    match trial {
        Ok(Trial { streams, calls_tools, sees_images }) => {
            let streams = if *streams { "streams" } else { "does not stream" };
            let tools = if *calls_tools { "calls tools" } else { "called no tool" };
            let images = match sees_images {
                Some(true) => "sees images",
                Some(false) => "sees no images",
                None => "images: not found out",
            };
            format!(
                "answers, {streams}, {tools}, {images}{}",
                facts(&Model { images: false, ..model.clone() }, None, false)
            )
        }
        Err(fault) => fault.message.clone(),
    }
}

fn as_json(listing: &Listing) -> Value {
    let mut told = json!({"provider": listing.provider, "base_url": listing.base_url});
    let model = |listed: &Listed| {
        let mut told = model_json(&listed.model);
        told["tools"] = json!(listed.tools);
        told
    };
    let (state, more) = match &listing.found {
        Found::Models(models) => ("answers", ("models", models.iter().map(model).collect())),
        Found::NoKey { variable } => ("no_key", ("key_env", json!(variable))),
        Found::NotRunning => ("not_running", ("models", json!([]))),
        Found::Failed(fault) => ("failed", ("message", json!(fault.message))),
    };
    told["state"] = json!(state);
    told[more.0] = more.1;
    told
}

/// Prices are in USD for a million tokens.
fn model_json(model: &Model) -> Value {
    let million = |part: Usd| Usd(part.0.saturating_mul(1_000_000)).dollars();
    let price = model.price.map(|price| {
        json!({
            "input": million(price.input),
            "cached": million(price.cached),
            "cache_write": million(price.cache_write),
            "output": million(price.output),
        })
    });
    json!({"name": model.name, "images": model.images, "context_tokens": model.context_tokens, "price": price})
}

fn tried_json(tried: &Tried) -> Value {
    let Tried { model, roles, trial } = tried;
    let mut told = json!({"model": model.title(), "roles": roles, "answers": trial.is_ok()});
    match trial {
        Ok(Trial { streams, calls_tools, sees_images }) => {
            told["streams"] = json!(streams);
            told["calls_tools"] = json!(calls_tools);
            told["sees_images"] = json!(sees_images);
        }
        Err(fault) => told["message"] = json!(fault.message),
    }
    told
}
