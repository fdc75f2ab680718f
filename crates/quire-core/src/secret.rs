//! Secrets in text: tokens that show by their form what they are, and values that are known to be secret.
//!
//! What a command prints goes into the log and to the model's provider. Files with secrets are hidden from it, but a secret
//! may stand in a file of any name, in git's history, in a test's output. Only forms that hardly mean anything else are
//! looked for, and what stands right after a word or sign that says so: a mask in the wrong place costs the model a line of code that it cannot read.

use aho_corasick::{AhoCorasick, MatchKind};
use std::ops::Range;
use std::sync::LazyLock;

/// What a mask begins with; the kind of secret and `]` follow.
pub const MASK: &str = "[quire hid a secret: ";

/// Found values that are shorter are not looked for: they would be met in ordinary words.
const FOUND_MIN: usize = 8;
/// Found values beyond this many are not looked for.
const FOUND_MAX: usize = 1000;
/// A token is judged by this many of its bytes, so that what is full of its beginnings costs no more than other text.
const JUDGED_MAX: usize = 512;

/// A secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In bytes.
    pub at: Range<usize>,
    /// In words for a person, such as `GitHub token`.
    pub kind: &'static str,
}

/// Looks for secrets. Making one costs more than looking with it.
pub struct Masks {
    automaton: AhoCorasick,
    known: usize,
}

/// What follows the beginning of a token: how many bytes of which kind, at least.
struct Form {
    kind: &'static str,
    begins: &'static str,
    at_least: usize,
    of: fn(u8) -> bool,
}

const fn form(kind: &'static str, begins: &'static str, at_least: usize, of: fn(u8) -> bool) -> Form {
    Form { kind, begins, at_least, of }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    plain(byte) || byte == b'_' || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    word(byte) || byte == b'.'
}

/// As the issuers describe their tokens; lengths are somewhat below theirs, because they grow and vary.
const FORMS: &[Form] = &[
    form("AWS access key", "AKIA", 16, upper),
    form("AWS access key", "ASIA", 16, upper),
    form("GitHub token", "ghp_", 36, plain),
    form("GitHub token", "gho_", 36, plain),
    form("GitHub token", "ghu_", 36, plain),
    form("GitHub token", "ghs_", 36, plain),
    form("GitHub token", "ghr_", 36, plain),
    form("GitHub token", "github_pat_", 60, word),
    form("GitLab token", "glpat-", 20, word),
    form("Anthropic key", "sk-ant-", 30, word),
    form("OpenAI key", "sk-proj-", 40, word),
    form("OpenAI key", "sk-svcacct-", 40, word),
    form("OpenRouter key", "sk-or-v1-", 40, plain),
    form("API key", "sk-", 40, plain),
    form("Google API key", "AIza", 35, word),
    form("Slack token", "xoxb-", 20, word),
    form("Slack token", "xoxp-", 20, word),
    form("Slack token", "xapp-", 20, word),
    form("Stripe key", "sk_live_", 20, plain),
    form("Stripe key", "rk_live_", 20, plain),
    form("npm token", "npm_", 36, plain),
    form("PyPI token", "pypi-AgE", 50, word),
    form("Hugging Face token", "hf_", 34, plain),
    form("DigitalOcean token", "dop_v1_", 64, plain),
    form("SendGrid key", "SG.", 60, dotted),
    form("Shopify token", "shpat_", 32, plain),
    form("Vault token", "hvs.", 24, word),
    form("age key", "AGE-SECRET-KEY-1", 58, upper),
];

/// Where the name or the sign before it tells that a secret follows.
const TOLD: &[(&str, Told)] = &[
    ("aws_secret_access_key", aws_secret),
    ("AWS_SECRET_ACCESS_KEY", aws_secret),
    ("SecretAccessKey", aws_secret),
    ("secretAccessKey", aws_secret),
    ("Bearer ", bearer),
    ("bearer ", bearer),
    ("eyJ", web_token),
    ("://", url_password),
];

/// Reads what follows such a beginning: the text, and where that begins and ends. Returns where the secret is.
type Told = fn(&[u8], Range<usize>) -> Option<(Range<usize>, &'static str)>;

/// Values that stand for one in manuals and in settings of tests.
const PLACEHOLDERS: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "changeme",
    "change-me",
    "your-password",
    "your_password",
    "mypassword",
    "postgres",
];
/// Longest user and password that are looked for in an address.
const USER_MAX: usize = 64;
const PASSWORD_MAX: usize = 256;

const PEM: &str = "-----BEGIN ";
const PEM_IS_PRIVATE: &[u8] = b"PRIVATE KEY";
/// Longest first line of a key in PEM (RFC 7468), and longest key.
const PEM_LINE_MAX: usize = 64;
const PEM_MAX: usize = 32 << 10;

impl Masks {
    /// Looks for tokens by their form, for the values that a person gave as secret, whatever they are, and for those found
    /// where secrets are kept.
    pub fn new<'a>(
        given: impl IntoIterator<Item = &'a str>,
        found: impl IntoIterator<Item = &'a str>,
    ) -> Masks {
        let found = found.into_iter().filter(|value| value.len() >= FOUND_MIN).take(FOUND_MAX);
        let mut patterns: Vec<&str> =
            given.into_iter().filter(|value| !value.is_empty()).chain(found).collect();
        let known = patterns.len();
        patterns.extend(FORMS.iter().map(|form| form.begins));
        patterns.extend(TOLD.iter().map(|(begins, _)| begins));
        patterns.push(PEM);
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
        Masks { automaton: automaton.expect("bounded patterns"), known }
    }

    /// Returns the secrets in `text`, in order; none overlaps another.
    pub fn find(&self, text: &[u8]) -> Vec<Found> {
        let mut all = vec![];
        let mut from = 0;
        while let Some(hit) = self.automaton.find(aho_corasick::Input::new(text).range(from..)) {
            let (pattern, start) = (hit.pattern().as_usize(), hit.start());
            let found = match pattern.checked_sub(self.known) {
                None => Some((start..hit.end(), "known value")),
                Some(form) => match (FORMS.get(form), TOLD.get(form.wrapping_sub(FORMS.len()))) {
                    (Some(form), _) => token_end(text, start, form).map(|end| (start..end, form.kind)),
                    (None, Some((_, told))) => {
                        told(text, start..hit.end()).filter(|(at, _)| !self.knows(text, at))
                    }
                    (None, None) => key_end(text, start).map(|end| (start..end, "private key")),
                },
            };
            from = match found {
                Some((at, kind)) => {
                    let end = at.end;
                    all.push(Found { at, kind });
                    end
                }
                None => start + 1,
            };
        }
        all
    }

    /// Returns whether a part of the text holds what is known, which has a name of its own.
    fn knows(&self, text: &[u8], at: &Range<usize>) -> bool {
        let input = aho_corasick::Input::new(text).range(at.clone());
        self.known > 0 && self.automaton.find(input).is_some_and(|hit| hit.pattern().as_usize() < self.known)
    }

    /// Returns the text with a mask in the place of each secret; `None` where there is none.
    pub fn mask(&self, text: &str) -> Option<String> {
        let found = self.find(text.as_bytes());
        if found.is_empty() {
            return None;
        }
        let mut masked = String::with_capacity(text.len());
        let mut from = 0;
        for Found { at, kind } in found {
            // Secrets begin and end with ASCII, or are whole known strings, so these are borders of characters.
            masked.push_str(text.get(from..at.start).unwrap_or_default());
            masked.push_str(&mask_of(kind));
            from = at.end;
        }
        masked.push_str(text.get(from..).unwrap_or_default());
        Some(masked)
    }
}

/// Returns the kind of the first secret in `text` that shows by its form.
pub fn first_by_form(text: &[u8]) -> Option<&'static str> {
    static BY_FORM: LazyLock<Masks> = LazyLock::new(|| Masks::new([], []));
    BY_FORM.find(text).first().map(|found| found.kind)
}

/// Returns what stands in the place of a secret of this kind.
pub fn mask_of(kind: &str) -> String {
    format!("{MASK}{kind}]")
}

fn token_end(text: &[u8], start: usize, form: &Form) -> Option<usize> {
    // In the midst of a longer word it is something else, such as a piece of base64.
    if start.checked_sub(1).is_some_and(|before| plain(text[before]) || text[before] == b'_') {
        return None;
    }
    let rest = &text[start + form.begins.len()..];
    let judged = &rest[..rest.len().min(JUDGED_MAX)];
    let length = judged.iter().take_while(|byte| (form.of)(**byte)).count();
    let token = &judged[..length];
    // Manuals have examples of the right form; what repeats one letter is a placeholder.
    let example = || token.windows(7).any(|part| part.eq_ignore_ascii_case(b"example"));
    if length < form.at_least || !is_varied(token) || example() {
        return None;
    }
    let more = rest[length..].iter().take_while(|byte| (form.of)(**byte)).count();
    Some(start + form.begins.len() + length + more)
}

/// Returns the end of what is of a kind from `start` on, looking no farther than `most`.
fn run(text: &[u8], start: usize, most: usize, of: impl Fn(u8) -> bool) -> usize {
    let rest = &text[start.min(text.len())..];
    start + rest.iter().take(most).take_while(|byte| of(**byte)).count()
}

/// `name = "value"`, in any notation of settings.
fn aws_secret(text: &[u8], name: Range<usize>) -> Option<(Range<usize>, &'static str)> {
    let blank = |byte: u8| b" \t\"'".contains(&byte);
    let sign = run(text, name.end, 8, blank);
    let set = matches!(text.get(sign), Some(b'=' | b':'));
    let start = run(text, sign + 1, 8, blank);
    let end = run(text, start, JUDGED_MAX, |byte| plain(byte) || b"/+=".contains(&byte));
    let value = text.get(start..end).filter(|_| set)?;
    let is_example = value.windows(7).any(|part| part.eq_ignore_ascii_case(b"example"));
    (value.len() >= 40 && is_varied(value) && !is_example).then_some((start..end, "AWS secret key"))
}

/// What a request proves itself with.
fn bearer(text: &[u8], word: Range<usize>) -> Option<(Range<usize>, &'static str)> {
    let end = run(text, word.end, text.len(), |byte| plain(byte) || b"._~+/=-".contains(&byte));
    let token = &text[word.end..end];
    let has = |of: fn(&u8) -> bool| token.iter().any(of);
    let is_token = token.len() >= 20 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let is_example = token.windows(7).any(|part| part.eq_ignore_ascii_case(b"example"));
    (is_token && is_varied(token) && !is_example).then_some((word.end..end, "bearer token"))
}

/// A JSON Web Token (RFC 7519): a header and claims, which both begin as an object does, and a signature.
fn web_token(text: &[u8], begins: Range<usize>) -> Option<(Range<usize>, &'static str)> {
    let start = begins.start;
    if start.checked_sub(1).is_some_and(|before| dotted(text[before])) {
        return None;
    }
    let head = run(text, start, JUDGED_MAX, word);
    let claims = head + 1;
    if text.get(head) != Some(&b'.') || head - start < 13 || !text[claims..].starts_with(b"eyJ") {
        return None;
    }
    let claimed = run(text, claims, text.len(), word);
    let end = run(text, claimed + 1, text.len(), word);
    let is_signed = text.get(claimed) == Some(&b'.') && end - claimed > 16;
    is_signed.then_some((start..end, "JSON Web Token"))
}

/// `scheme://user:password@host`.
fn url_password(text: &[u8], sign: Range<usize>) -> Option<(Range<usize>, &'static str)> {
    let of = |byte: u8| byte.is_ascii_graphic() && !b"/@\"'`<>(){}[]$\\".contains(&byte);
    let user = run(text, sign.end, USER_MAX, |byte| of(byte) && byte != b':');
    let start = user + 1;
    let end = run(text, start, PASSWORD_MAX, |byte| of(byte) || byte == b':');
    let has_host =
        text.get(end) == Some(&b'@') && text.get(end + 1).is_some_and(|byte| plain(*byte) || *byte == b'[');
    let password = text.get(start..end).filter(|_| text.get(user) == Some(&b':') && has_host)?;
    let is_placeholder = PLACEHOLDERS.iter().any(|word| password.eq_ignore_ascii_case(word.as_bytes()))
        || password == &text[sign.end..user]
        || password.contains(&b'*')
        || password.contains(&b'%') && password.len() < 4;
    (is_varied(password) && !is_placeholder).then_some((start..end, "password of an address"))
}

/// Returns whether a token has more than four different bytes.
fn is_varied(token: &[u8]) -> bool {
    let mut seen = [false; 256];
    token.iter().filter(|byte| !std::mem::replace(&mut seen[**byte as usize], true)).nth(4).is_some()
}

fn key_end(text: &[u8], start: usize) -> Option<usize> {
    let rest = &text[start..text.len().min(start + PEM_MAX)];
    let line = &rest[..rest.len().min(PEM_LINE_MAX)];
    let dashes = line.windows(5).skip(PEM.len()).position(|part| part == b"-----")? + PEM.len();
    if !line[..dashes].windows(PEM_IS_PRIVATE.len()).any(|part| part == PEM_IS_PRIVATE) {
        return None;
    }
    let end = b"-----END ";
    let body = &rest[dashes + 5..];
    // There are no dashes within a key, so the next ones end it, or begin the next.
    let last = body.windows(5).position(|part| part == b"-----").map(|last| &body[last..]);
    Some(match last.and_then(|last| last.strip_prefix(end)) {
        Some(after) => {
            let close = after.windows(5).take(PEM_LINE_MAX).position(|part| part == b"-----");
            start + rest.len() - after.len() + close.map_or(0, |close| close + 5)
        }
        // Cut off: what is there of it is secret all the same, as long as it looks like it.
        None => {
            let coded = |byte: &&u8| plain(**byte) || b"+/=\r\n \\".contains(byte);
            start + dashes + 5 + body.iter().take_while(coded).count()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In two pieces, so that no scanner takes this file for a leak.
    fn token(begins: &str, rest: &str) -> String {
        format!("{begins}{rest}")
    }

    const BODY: &str = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g3H4";

    #[test]
    fn tokens_show_by_their_form() {
        let masks = Masks::new([], []);
        let github = token("ghp_", &BODY[..36]);
        let aws = token("AKIA", "Z7Q2M4N8X1C5V9B3");
        let rows = [
            (format!("token={github}\n"), Some("token=[quire hid a secret: GitHub token]\n")),
            (
                format!("a {github} b {aws}."),
                Some("a [quire hid a secret: GitHub token] b [quire hid a secret: AWS access key]."),
            ),
            (token("ghp_", "short"), None),
            (token("xghp_", &BODY[..36]), None),
            (token("ghp_", &"x".repeat(36)), None),
            (token("AKIA", "IOSFODNN7EXAMPLE"), None),
            (token("sk-ant-", BODY), Some("[quire hid a secret: Anthropic key]")),
            (token("sk-", "is-not-a-key-but-a-css-class-with-many-parts-in-it"), None),
            ("a risk-averse, disk-based ask".into(), None),
            (
                "é-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----é".into(),
                Some("é[quire hid a secret: private key]é"),
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIEabc+/\n".into(), Some("[quire hid a secret: private key]")),
            ("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----".into(), None),
            ("-----BEGIN ".into(), None),
            (
                "-----BEGIN PRIVATE KEY-----\nMIIE\n-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----.".into(),
                Some("[quire hid a secret: private key][quire hid a secret: private key]."),
            ),
            (String::new(), None),
        ];
        for (text, expected) in rows {
            assert_eq!(masks.mask(&text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_told_to_be_a_secret_is_one() {
        let masks = Masks::new([], []);
        let key = &BODY[..40];
        let jwt = token(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
            &format!("{}.{}", token("eyJ", "zdWIiOiIxMjM0NTY3ODkwIn0"), &BODY[..43]),
        );
        let masked = |what: &str| format!("[quire hid a secret: {what}]");
        let rows = [
            (
                format!("aws_secret_access_key = {key}\n"),
                format!("aws_secret_access_key = {}\n", masked("AWS secret key")),
            ),
            (
                format!("{{\"SecretAccessKey\": \"{key}\"}}"),
                format!("{{\"SecretAccessKey\": \"{}\"}}", masked("AWS secret key")),
            ),
            (
                format!("Authorization: Bearer {key}"),
                format!("Authorization: Bearer {}", masked("bearer token")),
            ),
            (format!("cookie={jwt}; x"), format!("cookie={}; x", masked("JSON Web Token"))),
            (
                "db://me:corre:ct-horse@host/x".into(),
                format!("db://me:{}@host/x", masked("password of an address")),
            ),
            (
                "https://:tok3nish@[::1]/".into(),
                format!("https://:{}@[::1]/", masked("password of an address")),
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(masks.mask(&text).as_deref(), Some(expected.as_str()), "{text}");
            assert_eq!(masks.mask(&expected), None, "{text}");
        }
        for ordinary in [
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = os.environ[\"AWS_SECRET_ACCESS_KEY\"]",
            "the AWS_SECRET_ACCESS_KEY is forty characters long and stands in a file of yours",
            "a Bearer token is sent; Bearer authentication-and-authorization; Bearer $TOKEN; Bearer {token}",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9 alone, eyJhbGciOiJIUzI1.eyJzdWIiOi.short",
            "see https://host:8080/a@b, https://x.org/a:b@c and http://localhost:3000",
            "postgres://postgres:postgres@localhost/db, db://user:password@host, https://user:$PASS@host",
            "https://user:${PASSWORD}@host, ftp://user:*****@host, https://user:<password>@host, redis://u:%s@host",
            "https://me@host:22/x, git@host:user/repo, http://a:b@c",
        ] {
            assert_eq!(masks.mask(ordinary), None, "{ordinary}");
        }
        // Full of beginnings.
        for many in ["eyJ", "eyJaaaaaaaaaaaa.", "://", "://a:", "Bearer ", "aws_secret_access_key="] {
            assert_eq!(masks.find(many.repeat(20_000).as_bytes()), [], "{many}");
        }
    }

    /// A line of 300 kB that was full of beginnings took a minute: each was read to the line's end.
    #[test]
    fn a_token_is_judged_by_its_beginning_however_long_it_is() {
        let masks = Masks::new([], []);
        let far = "a1B2c3D4".repeat(JUDGED_MAX / 8);
        let rows = [
            (token("AIza", &format!("{far}-example-{far}")), Some("[quire hid a secret: Google API key]")),
            (token("AIza", &format!("-example-{far}")), None),
            (token("AIza", &format!("{}{far}", "x".repeat(JUDGED_MAX))), None),
        ];
        for (text, expected) in rows {
            assert_eq!(masks.mask(&text).as_deref(), expected, "{text}");
        }
        assert_eq!(masks.find("-AIza-example".repeat(20_000).as_bytes()), []);
    }

    #[test]
    fn what_a_person_gave_is_masked_however_short_it_is_and_however_much_else_is_found() {
        let found: Vec<String> = (0..FOUND_MAX + 5).map(|n| format!("found-value-{n:05}")).collect();
        let masks = Masks::new(["", "p1n", "zz-the-last"], found.iter().map(String::as_str));
        let rows = [
            ("p1n", Some("[quire hid a secret: known value]")),
            ("zz-the-last", Some("[quire hid a secret: known value]")),
            ("found-value-00999", Some("[quire hid a secret: known value]")),
            ("found-value-01000", None),
        ];
        for (text, expected) in rows {
            assert_eq!(masks.mask(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn known_values_are_masked_wherever_they_stand() {
        let masks = Masks::new([], ["correct-horse-battery", "short", "naïve-päss"]);
        let rows = [
            (
                "url: db://me:correct-horse-battery@host",
                Some("url: db://me:[quire hid a secret: known value]@host"),
            ),
            ("a short word", None),
            ("xnaïve-pässx", Some("x[quire hid a secret: known value]x")),
        ];
        for (text, expected) in rows {
            assert_eq!(masks.mask(text).as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_masked_holds_no_secret_any_more(before in "[ -~é\n]{0,40}", after in "[ -~é\n]{0,40}") {
            let secret = token("glpat-", &BODY[..24]);
            let masks = Masks::new(["a known value"], []);
            let text = format!("{before} {secret} {after}a known value");
            let masked = masks.mask(&text).expect("there are two");
            proptest::prop_assert!(!masked.contains(&secret) && !masked.contains("a known value"));
            proptest::prop_assert_eq!(masks.mask(&masked), None);
        }
    }
}
