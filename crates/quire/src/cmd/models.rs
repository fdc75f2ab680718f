//! `quire models`: which models answer, and `quire models add PROVIDER`: a key, tested and then stored.

use crate::cli::{ModelsArgs, ModelsCommand};
use crate::cmd::{Face, wait};
use crate::error::{Exit, Failure};
use crate::terminal::{clean, count, print, read_secret};
use quire_core::charter::Model;
use quire_engine::keys::{Keys, Secret};
use quire_engine::models::{self, Found, Listing};
use quire_engine::nearest::nearest;
use quire_engine::settings::{self, Options, Settings, Surroundings};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};

/// A key that is longer is none.
const KEY_BYTES_MAX: u64 = 64 << 10;

pub fn models(args: &ModelsArgs, face: &Face) -> Result<Exit, Failure> {
    let surroundings = Surroundings::capture();
    let settings = settings::read(&Options::default(), None, &surroundings)?;
    let keys = Keys::read(&surroundings)?;
    match &args.command {
        None => list(&settings, &keys, &surroundings, face),
        Some(ModelsCommand::Add { provider }) => add(provider, &settings, keys, &surroundings, face),
    }
}

fn list(settings: &Settings, keys: &Keys, surroundings: &Surroundings, face: &Face) -> Result<Exit, Failure> {
    let listings = wait(models::list(settings, keys, surroundings))?;
    if face.json {
        let providers: Vec<Value> = listings.iter().map(|listing| as_json(listing, settings)).collect();
        print(&format!("{}\n", json!({"v": 1, "providers": providers})))?;
    } else {
        let text: String = listings.iter().map(|listing| as_text(listing, settings)).collect();
        print(&clean(&text))?;
    }
    if listings.iter().any(|l| matches!(&l.found, Found::Models(models) if !models.is_empty())) {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        Exit::NoModel,
        "No model answers.",
        "Nothing was changed.",
        "Add a key: quire models add PROVIDER. Without one: start a local model server, or see: quire demo",
    ))
}

fn add(
    name: &str,
    settings: &Settings,
    mut keys: Keys,
    surroundings: &Surroundings,
    face: &Face,
) -> Result<Exit, Failure> {
    let unknown = || {
        let near = nearest(name, settings.providers.keys().map(String::as_str));
        let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
        let next = "See which there are: quire models";
        Failure::new(
            Exit::WrongUse,
            format!("There is no provider `{name}`.{near}"),
            "No key was stored.",
            next,
        )
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
    let first = found.first().map(|model| model.name.as_str());
    if face.json {
        print(&format!("{}\n", json!({"v": 1, "provider": name, "stored": path, "models": names(&found)})))?;
    } else {
        let models = count(found.len(), "model");
        let next =
            first.map(|model| format!("Use one: quire -m {name}/{model} \"TASK\"\n")).unwrap_or_default();
        print(&clean(&format!("The key works: {models} answered. It is in {}.\n{next}", path.display())))?;
    }
    Ok(Exit::Done)
}

fn names(models: &[Model]) -> Vec<&str> {
    models.iter().map(|model| model.name.as_str()).collect()
}

fn as_text(listing: &Listing, settings: &Settings) -> String {
    let Listing { provider, base_url, found } = listing;
    let said = match found {
        Found::Models(models) => count(models.len(), "model"),
        Found::NoKey { variable } => format!("no key: set {variable}, or quire models add {provider}"),
        Found::NotRunning => "nothing answers there".to_owned(),
        Found::Failed(fault) => fault.message.clone(),
    };
    let mut text = format!("{provider:<11} {base_url:<32} {said}\n");
    if let Found::Models(models) = found {
        for model in models {
            let tokens = context_tokens(model, settings)
                .map(|tokens| format!("  {tokens} tokens"))
                .unwrap_or_default();
            let images = if model.images { "  images" } else { "" };
            text.push_str(&format!("  {provider}/{}{tokens}{images}\n", model.name));
        }
    }
    text
}

fn as_json(listing: &Listing, settings: &Settings) -> Value {
    let mut told = json!({"provider": listing.provider, "base_url": listing.base_url});
    let model = |m: &Model| json!({"name": m.name, "images": m.images, "context_tokens": context_tokens(m, settings)});
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

fn context_tokens(model: &Model, settings: &Settings) -> Option<u64> {
    settings.providers.get(&model.provider)?.models.get(&model.name)?.context_tokens
}
