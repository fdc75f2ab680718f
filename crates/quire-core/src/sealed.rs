//! A value that is used and never shown: a model's key, or a secret that commands may use.

use std::fmt;

/// A secret's value. It can be used, but neither printed nor serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret in `text`, or `None` where it cannot be one: empty, or with characters that no HTTP header holds.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Secret(text.to_owned()))
    }

    /// Returns the secret itself, for the header that it is sent in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
