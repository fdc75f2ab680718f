//! What servers said of their models when `quire models` last asked them, in `models.json`: so a task's charter has the context
//! and the price of its model without a request at its start. What the settings say comes before it.

use crate::rooted::replace;
use crate::settings::Surroundings;
use quire_core::Price;
use quire_model::Offer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// By provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    providers: BTreeMap<String, Said>,
}

/// What the server at one address said, by model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Said {
    base_url: String,
    models: BTreeMap<String, Fact>,
}

/// What is known of one model; what is absent its server did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<bool>,
}

impl From<&Offer> for Fact {
    fn from(offer: &Offer) -> Fact {
        Fact { context_tokens: offer.context_tokens, price: offer.price, images: offer.images }
    }
}

impl Facts {
    /// Returns what was stored. A file that is not there or cannot be read counts as empty: it is only a copy.
    pub fn read(surroundings: &Surroundings) -> Facts {
        let text = place(surroundings).and_then(|path| fs::read(path).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Returns what the server at this address said of a model.
    pub fn of(&self, provider: &str, base_url: &str, model: &str) -> Fact {
        let said = self.providers.get(provider).filter(|said| said.base_url == base_url);
        said.and_then(|said| said.models.get(model)).copied().unwrap_or_default()
    }

    /// Takes in what a server says now, in the place of what it said before.
    pub fn hear(&mut self, provider: &str, base_url: &str, facts: impl Iterator<Item = (String, Fact)>) {
        let models = facts.filter(|(_, fact)| *fact != Fact::default()).collect();
        self.providers.insert(provider.to_owned(), Said { base_url: base_url.to_owned(), models });
    }

    /// Stores all of it; the file is whole at every moment.
    pub fn store(&self, surroundings: &Surroundings) -> io::Result<()> {
        let Some(path) = place(surroundings) else { return Ok(()) };
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        replace(&path, &serde_json::to_vec(self)?, 0o600)
    }
}

/// Its name in the data directory.
pub(crate) const FILE: &str = "models.json";

fn place(surroundings: &Surroundings) -> Option<PathBuf> {
    crate::quire::home(surroundings).ok().map(|home| home.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_there_again_for_the_same_address() {
        let home = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("QUIRE_HOME".to_owned(), home.path().join("q").display().to_string())]);
        let here = Surroundings { env, cwd: "/".into() };
        assert_eq!(Facts::read(&here), Facts::default());
        let known = Fact { context_tokens: Some(8192), ..Fact::default() };
        let said = [("m".to_owned(), known), ("s".to_owned(), Fact::default())];
        let mut facts = Facts::default();
        facts.hear("lab", "http://a/v1", said.into_iter());
        facts.store(&here).unwrap();
        let facts = Facts::read(&here);
        assert_eq!(facts.of("lab", "http://a/v1", "m").context_tokens, Some(8192));
        for (provider, url, model) in
            [("lab", "http://b/v1", "m"), ("lab", "http://a/v1", "s"), ("x", "http://a/v1", "m")]
        {
            assert_eq!(facts.of(provider, url, model), Fact::default());
        }
        fs::write(home.path().join("q/models.json"), "{").unwrap();
        assert_eq!(Facts::read(&here), Facts::default());
    }
}
