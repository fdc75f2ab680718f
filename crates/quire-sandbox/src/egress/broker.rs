//! Placeholders become secrets on the way out, and secrets placeholders on the way back.
//!
//! Only headers are looked at on the way out: a body may be of any size, and what a host keeps of a body it may show to others. A
//! host that sends a secret back in another encoding than those here is beyond this; it is one that the person gave the secret to.

use super::{Brokered, Secret};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, STANDARD_NO_PAD};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;

/// Below this, a secret is not looked for in what comes back: so few characters stand there by chance.
const SCRUBBED_BYTES_MIN: usize = 8;

/// The secrets of one host.
pub struct Broker {
    held: Vec<Held>,
}

struct Held {
    placeholder: String,
    value: Secret,
}

/// With padding or without, as clients send it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Broker {
    pub fn new(secrets: &[&Brokered]) -> Broker {
        let held = secrets.iter().filter(|secret| !secret.placeholder.is_empty());
        let held = held.map(|s| Held { placeholder: s.placeholder.clone(), value: s.value.clone() });
        Broker { held: held.collect() }
    }

    /// Puts the secrets into a request's headers. Returns what has to be found in its response, and whether anything was put in.
    pub fn put_in(&self, headers: &mut HeaderMap) -> (Scrub, bool) {
        let mut scrub = Scrub { pairs: self.held.iter().flat_map(Held::forms).collect() };
        let mut is_put_in = false;
        for value in headers.values_mut() {
            let Some(real) = self.real(value.as_bytes(), &mut scrub) else { continue };
            // A secret has no character that a header has not.
            if let Ok(mut real) = HeaderValue::from_bytes(&real) {
                real.set_sensitive(true);
                *value = real;
                is_put_in = true;
            }
        }
        (scrub, is_put_in)
    }

    /// Returns a header's value with the secrets in it, or `None` where it has no placeholder.
    fn real(&self, value: &[u8], scrub: &mut Scrub) -> Option<Vec<u8>> {
        const BASIC: &[u8] = b"basic ";
        let is_basic = value.len() > BASIC.len() && value[..BASIC.len()].eq_ignore_ascii_case(BASIC);
        if let Some(login) =
            is_basic.then(|| LENIENT.decode(value[BASIC.len()..].trim_ascii()).ok()).flatten()
        {
            let real = self.filled(&login)?;
            let (real, shown) = (STANDARD.encode(real), STANDARD.encode(login));
            scrub.pairs.push((real.clone().into(), shown.into()));
            return Some([&value[..BASIC.len()], real.as_bytes()].concat());
        }
        self.filled(value)
    }

    fn filled(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut filled = text.to_vec();
        let mut is_filled = false;
        for held in &self.held {
            let placeholder = held.placeholder.as_bytes();
            if memmem::find(&filled, placeholder).is_some() {
                let pairs = vec![(placeholder.to_vec(), held.value.expose().as_bytes().to_vec())];
                filled = Scrub { pairs }.all(&filled);
                is_filled = true;
            }
        }
        is_filled.then_some(filled)
    }
}

impl Held {
    /// The forms of the secret that may come back, each with what is shown in its place.
    fn forms(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (value, placeholder) = (self.value.expose(), &self.placeholder);
        if value.len() < SCRUBBED_BYTES_MIN {
            return Vec::new();
        }
        let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pairs = [
            (value.to_owned(), placeholder.clone()),
            (STANDARD_NO_PAD.encode(value), STANDARD_NO_PAD.encode(placeholder)),
            (escaped(value), escaped(placeholder)),
        ];
        pairs.into_iter().map(|(real, shown)| (real.into(), shown.into())).collect()
    }
}

/// What is replaced, and by what.
pub struct Scrub {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Scrub {
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Replaces in the whole of a text.
    pub fn all(&self, text: &[u8]) -> Vec<u8> {
        let (mut done, rest) = self.replace(text);
        done.extend(&text[rest..]);
        done
    }

    pub fn headers(&self, headers: &mut HeaderMap) {
        // A name has no case, so a secret in one is found in any, and has no place there.
        let holds = |name: &HeaderName| {
            self.pairs
                .iter()
                .any(|(real, _)| memmem::find(name.as_str().as_bytes(), &real.to_ascii_lowercase()).is_some())
        };
        let named: Vec<HeaderName> = headers.keys().filter(|name| holds(name)).cloned().collect();
        named.iter().for_each(|name| drop(headers.remove(name)));
        for value in headers.values_mut() {
            if self.first(value.as_bytes()).is_some() {
                // What cannot be shown is not shown.
                let shown = HeaderValue::from_bytes(&self.all(value.as_bytes()));
                *value = shown.unwrap_or_else(|_| HeaderValue::from_static(""));
            }
        }
    }

    /// Replaces in a part of a text. `kept` holds what may be the beginning of a secret, from one part to the next; after the last
    /// part it is the end of the text.
    pub fn part(&self, kept: &mut Vec<u8>, part: &[u8]) -> Vec<u8> {
        kept.extend(part);
        let (mut done, rest) = self.replace(kept);
        let begun = self.begun(&kept[rest..]);
        let end = kept.len() - begun;
        done.extend(&kept[rest..end]);
        kept.drain(..end);
        done
    }

    /// Returns the text up to the end of the last match, replaced, and where that is.
    fn replace(&self, text: &[u8]) -> (Vec<u8>, usize) {
        let mut done = Vec::new();
        let mut at = 0;
        while let Some((begin, real, shown)) = self.first(&text[at..]) {
            done.extend(&text[at..at + begin]);
            done.extend(shown);
            at += begin + real.len();
        }
        (done, at)
    }

    /// Returns the first match: the longest one there.
    fn first(&self, text: &[u8]) -> Option<(usize, &[u8], &[u8])> {
        let found = self
            .pairs
            .iter()
            .filter_map(|(real, shown)| Some((memmem::find(text, real)?, &real[..], &shown[..])));
        found.min_by_key(|(at, real, _)| (*at, std::cmp::Reverse(real.len())))
    }

    /// Returns how many bytes at the end of a text may be the beginning of a match.
    fn begun(&self, text: &[u8]) -> usize {
        let longest = self.pairs.iter().map(|(real, _)| real.len() - 1).max().unwrap_or_default();
        let begins =
            |end: &[u8]| self.pairs.iter().any(|(real, _)| real.len() > end.len() && real.starts_with(end));
        (1..=longest.min(text.len()))
            .rev()
            .find(|count| begins(&text[text.len() - count..]))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: &str = "ghp_real/value+1234567890";
    const PLACEHOLDER: &str = "quire-placeholder-GITHUB";

    fn broker() -> Broker {
        Broker { held: vec![Held { placeholder: PLACEHOLDER.into(), value: Secret::new(VALUE).unwrap() }] }
    }

    fn put_in(value: &str) -> (String, bool) {
        let mut headers =
            HeaderMap::from_iter([(hyper::header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        let (_, is_put_in) = broker().put_in(&mut headers);
        (headers[hyper::header::AUTHORIZATION].to_str().unwrap().to_owned(), is_put_in)
    }

    #[test]
    fn e22_a_placeholder_in_a_header_becomes_the_secret() {
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        let rows = [
            (format!("Bearer {PLACEHOLDER}"), format!("Bearer {VALUE}")),
            (format!("token {PLACEHOLDER},{PLACEHOLDER}"), format!("token {VALUE},{VALUE}")),
            (basic(&format!("user:{PLACEHOLDER}")), basic(&format!("user:{VALUE}"))),
            (basic(&format!("{PLACEHOLDER}:x-oauth")), basic(&format!("{VALUE}:x-oauth"))),
            (
                basic(&format!("user:{PLACEHOLDER}")).trim_end_matches('=').to_owned(),
                basic(&format!("user:{VALUE}")),
            ),
            (
                basic(&format!("u:{PLACEHOLDER}")).replace("Basic", "BASIC"),
                basic(&format!("u:{VALUE}")).replace("Basic", "BASIC"),
            ),
        ];
        for (asked, sent) in rows {
            assert_eq!(put_in(&asked), (sent, true), "{asked}");
        }
        for asked in ["Bearer other", "Basic dXNlcjpwYXNz", "Basic ???", "Basic"] {
            assert_eq!(put_in(asked), (asked.to_owned(), false));
        }
    }

    #[test]
    fn e22_what_comes_back_holds_no_secret() {
        let basic = format!("Basic {}", STANDARD.encode(format!("user:{PLACEHOLDER}")));
        let mut headers =
            HeaderMap::from_iter([(hyper::header::AUTHORIZATION, HeaderValue::from_str(&basic).unwrap())]);
        let (scrub, _) = broker().put_in(&mut headers);
        let sent = headers[hyper::header::AUTHORIZATION].to_str().unwrap().to_owned();
        let rows = [
            (format!("you sent {VALUE}!"), format!("you sent {PLACEHOLDER}!")),
            (format!("{VALUE}{VALUE}"), format!("{PLACEHOLDER}{PLACEHOLDER}")),
            (format!("{{\"authorization\": \"{sent}\"}}"), format!("{{\"authorization\": \"{basic}\"}}")),
            ("ghp_real%2Fvalue%2B1234567890".to_owned(), PLACEHOLDER.to_owned()),
            (STANDARD.encode(VALUE), STANDARD_NO_PAD.encode(PLACEHOLDER) + "=="),
            ("nothing of the kind".to_owned(), "nothing of the kind".to_owned()),
        ];
        for (came, shown) in rows {
            assert_eq!(String::from_utf8(scrub.all(came.as_bytes())).unwrap(), shown);
        }
        scrub.headers(&mut headers);
        assert_eq!(headers[hyper::header::AUTHORIZATION], basic);
    }

    #[test]
    fn a_part_without_the_beginning_of_a_secret_is_not_held_back() {
        let scrub = Scrub { pairs: broker().held[0].forms() };
        let mut kept = Vec::new();
        assert_eq!(scrub.part(&mut kept, b"data: one\n\n"), b"data: one\n\n");
        assert_eq!(scrub.part(&mut kept, b"data: ghp_r"), b"data: ");
        assert_eq!(scrub.part(&mut kept, b"est"), b"ghp_rest");
        assert!(kept.is_empty());
    }

    #[test]
    fn nothing_shows_the_secret() {
        let brokered = Brokered {
            name: "GITHUB".into(),
            placeholder: PLACEHOLDER.into(),
            value: Secret::new(VALUE).unwrap(),
            hosts: vec!["api.example.org".into()],
        };
        assert!(!format!("{brokered:?}").contains(VALUE));
        let mut headers =
            HeaderMap::from_iter([(hyper::header::AUTHORIZATION, HeaderValue::from_static(PLACEHOLDER))]);
        Broker::new(&[&brokered]).put_in(&mut headers);
        assert!(!format!("{headers:?}").contains(VALUE));
    }

    proptest! {
        #[test]
        fn in_parts_as_in_whole(
            pieces in proptest::collection::vec("(ghp_real/value\\+1234567890|ghp_real|gh|[a-z]{0,9})", 0..8),
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let scrub = Scrub { pairs: broker().held[0].forms() };
            let text = pieces.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let (mut kept, mut shown) = (Vec::new(), Vec::new());
            for pair in cuts.windows(2) {
                shown.extend(scrub.part(&mut kept, &text[pair[0]..pair[1]]));
            }
            shown.extend(kept);
            prop_assert_eq!(&shown, &scrub.all(&text));
            prop_assert!(memmem::find(&shown, VALUE.as_bytes()).is_none());
        }
    }
}
