//! Every setting that there is, in one table: its key, what it takes, and what it does. A new setting is a row here.

use super::layer::{self, Leaf, Value, nearest_key};
use super::models::{PriceSaid, Provider, wire_of};
use super::{Settings, SettingsError, units};
use crate::nearest::nearest;
use quire_core::charter::{CheckSpec, Edits, Net, SecretRule};
use quire_core::money::{Budget, Usd};
use quire_core::net::{HostRule, NoHostRule};
use std::path::{Component, PathBuf};

struct Known {
    /// Dotted; `*` stands for a name that the person chooses.
    key: &'static str,
    takes: &'static str,
    /// Puts the value into its place. `path` is the key as it was written.
    put: fn(&mut Settings, path: &[String], value: &Value) -> Result<(), Refusal>,
}

/// Why a value is not taken.
enum Refusal {
    /// Not of the kind that `takes` says.
    Kind,
    /// Of the right kind, but: ...
    Problem(String),
}

use Refusal::{Kind, Problem};

const KNOWN: &[Known] = &[
    Known {
        key: "model",
        takes: "a string: PROVIDER/MODEL",
        put: |s, _, v| {
            s.model = Some(named(text(v)?)?);
            Ok(())
        },
    },
    Known {
        key: "review_model",
        takes: "a string: PROVIDER/MODEL",
        put: |s, _, v| {
            s.review_model = Some(named(text(v)?)?);
            Ok(())
        },
    },
    Known {
        key: "review",
        takes: "true or false: whether a reviewer looks at every version, or at none",
        put: |s, _, v| {
            let Value::Flag(review) = v else { return Err(Kind) };
            s.review = Some(*review);
            Ok(())
        },
    },
    Known {
        key: "compact_model",
        takes: "a string: PROVIDER/MODEL",
        put: |s, _, v| {
            s.compact_model = Some(named(text(v)?)?);
            Ok(())
        },
    },
    Known {
        key: "fallback_models",
        takes: "a list of strings, each PROVIDER/MODEL",
        put: |s, _, v| {
            s.fallback_models = match v {
                // From a variable, where a list is awkward to write.
                Value::Text(text) => {
                    text.split(',').map(|one| named(one.trim())).collect::<Result<_, _>>()?
                }
                _ => texts(v)?.iter().map(|one| named(one)).collect::<Result<_, _>>()?,
            };
            Ok(())
        },
    },
    Known {
        key: "providers.*.base_url",
        takes: "a string: an http or https address",
        put: |s, path, v| {
            provider(s, path)?.base_url = Some(base_url(text(v)?)?);
            Ok(())
        },
    },
    Known {
        key: "providers.*.wire",
        takes: "a string: responses, chat or messages",
        put: |s, path, v| {
            let wire = wire_of(text(v)?).ok_or(Kind)?;
            provider(s, path)?.wire = Some(wire);
            Ok(())
        },
    },
    Known {
        key: "providers.*.key_env",
        takes: "a string: the name of the variable that holds the key",
        put: |s, path, v| {
            let name = text(v)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return Err(Problem("it must be the name of a variable, never the key itself".to_owned()));
            }
            provider(s, path)?.key_env = Some(name.to_owned());
            Ok(())
        },
    },
    Known {
        key: "providers.*.models.*.context_tokens",
        takes: "a whole number above 0",
        put: |s, path, v| {
            let tokens = number(v, 1)?;
            provider(s, path)?.models.entry(path[3].clone()).or_default().context_tokens = Some(tokens);
            Ok(())
        },
    },
    Known {
        key: "providers.*.models.*.output_tokens",
        takes: "a whole number above 0",
        put: |s, path, v| {
            let tokens = number(v, 1)?;
            provider(s, path)?.models.entry(path[3].clone()).or_default().output_tokens = Some(tokens);
            Ok(())
        },
    },
    Known {
        key: "providers.*.models.*.price.input",
        takes: PRICE,
        put: |s, path, v| price(s, path, v, |price| &mut price.input),
    },
    Known {
        key: "providers.*.models.*.price.cached",
        takes: PRICE,
        put: |s, path, v| price(s, path, v, |price| &mut price.cached),
    },
    Known {
        key: "providers.*.models.*.price.cache_write",
        takes: PRICE,
        put: |s, path, v| price(s, path, v, |price| &mut price.cache_write),
    },
    Known {
        key: "providers.*.models.*.price.output",
        takes: PRICE,
        put: |s, path, v| price(s, path, v, |price| &mut price.output),
    },
    Known {
        key: "providers.*.models.*.images",
        takes: "true or false",
        put: |s, path, v| {
            let Value::Flag(images) = *v else { return Err(Kind) };
            provider(s, path)?.models.entry(path[3].clone()).or_default().images = Some(images);
            Ok(())
        },
    },
    Known {
        key: "providers.*.models.*.edits",
        takes: "a string: apply_patch or edit",
        put: |s, path, v| {
            let edits = match text(v)? {
                "apply_patch" => Edits::ApplyPatch,
                "edit" => Edits::EditAndWrite,
                _ => return Err(Kind),
            };
            provider(s, path)?.models.entry(path[3].clone()).or_default().edits = Some(edits);
            Ok(())
        },
    },
    Known {
        key: "budget.task_usd",
        takes: BUDGET,
        put: |s, _, v| {
            s.limits.task_usd = budget(v)?;
            Ok(())
        },
    },
    Known {
        key: "budget.day_usd",
        takes: BUDGET,
        put: |s, _, v| {
            s.limits.day_usd = budget(v)?;
            Ok(())
        },
    },
    Known {
        key: "budget.tokens",
        takes: "a whole number above 0, or \"none\"",
        put: |s, _, v| {
            s.limits.tokens = match v {
                Value::Text(text) if text == "none" => None,
                _ => Some(number(v, 1)?),
            };
            Ok(())
        },
    },
    Known {
        key: "budget.steps",
        takes: "a whole number above 0",
        put: |s, _, v| {
            s.limits.steps = u32::try_from(number(v, 1)?).map_err(|_| Kind)?;
            Ok(())
        },
    },
    Known {
        key: "budget.time",
        takes: "a string: a time above zero, like \"60m\" or \"1h30m\"",
        put: |s, _, v| {
            s.limits.time_ms = units::millis(text(v)?).filter(|ms| *ms > 0).ok_or(Kind)?;
            Ok(())
        },
    },
    Known {
        key: "sandbox.net",
        takes: "off, registries, all, or a list of hosts",
        put: |s, _, v| {
            s.sandbox.net = match v {
                Value::Text(text) => net(text.split(','))?,
                Value::Texts(texts) => net(texts.iter().map(String::as_str))?,
                _ => return Err(Kind),
            };
            Ok(())
        },
    },
    Known {
        key: "sandbox.hide",
        takes: "a list of strings: globs of files",
        put: |s, _, v| {
            for glob in texts(v)? {
                globset::Glob::new(glob)
                    .map_err(|e| Problem(format!("`{glob}` is not a glob: {}", e.kind())))?;
                // Added, whatever the layer: what one of them hides stays hidden.
                if !s.sandbox.hide.contains(glob) {
                    s.sandbox.hide.push(glob.clone());
                }
            }
            Ok(())
        },
    },
    Known {
        key: "sandbox.show",
        takes: "a list of strings: absolute paths, or below ~",
        put: |s, _, v| {
            s.sandbox.show =
                texts(v)?.iter().map(|path| shown(path, s.home.as_ref())).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Known {
        key: "sandbox.memory",
        takes: "a string: a size of at least 64MiB, like \"4GiB\"",
        put: |s, _, v| {
            s.sandbox.memory_bytes = size(v, 64 << 20)?;
            Ok(())
        },
    },
    Known {
        key: "sandbox.processes",
        takes: "a whole number from 16 on",
        put: |s, _, v| {
            s.sandbox.processes = u32::try_from(number(v, 16)?).map_err(|_| Kind)?;
            Ok(())
        },
    },
    Known {
        key: "sandbox.disk",
        takes: "a string: a size of at least 16MiB, like \"10GiB\"",
        put: |s, _, v| {
            s.sandbox.disk_bytes = size(v, 16 << 20)?;
            Ok(())
        },
    },
    Known {
        // Before the names that the person chooses.
        key: "checks.found",
        takes: "true or false: whether quire looks for checks that the project has",
        put: |s, _, v| {
            let Value::Flag(found) = v else { return Err(Kind) };
            s.limits.found_checks = *found;
            Ok(())
        },
    },
    Known {
        key: "checks.*",
        takes: "a string: a shell command",
        put: |s, path, v| {
            let command = text(v)?;
            if command.trim().is_empty() {
                return Err(Problem("the command is empty".to_owned()));
            }
            let check = CheckSpec { name: path[1].clone(), command: command.to_owned() };
            match s.checks.iter_mut().find(|c| c.name == check.name) {
                Some(known) => *known = check,
                None => s.checks.push(check),
            }
            Ok(())
        },
    },
    Known {
        key: "secrets.*.hosts",
        takes: "a list of strings: the hosts that are sent the secret",
        put: |s, path, v| {
            let secret = SecretRule { name: variable(&path[1])?, hosts: secret_hosts(texts(v)?)? };
            match s.secrets.iter_mut().find(|known| known.name == secret.name) {
                Some(known) => *known = secret,
                None => s.secrets.push(secret),
            }
            Ok(())
        },
    },
];

/// Settings of later versions, and everything below them, with what helps in this one.
const LATER: &[(&str, &str)] =
    &[("mcp_servers", "leave it out: the agent has a shell and the tools installed on this machine")];

impl Settings {
    /// Takes one setting in, or says why not.
    pub(super) fn put(&mut self, leaf: &Leaf) -> Result<(), SettingsError> {
        let Leaf { path, value, origin } = leaf;
        let key = || path.join(".");
        let kind_is_wrong = |takes: &str| SettingsError::Kind {
            origin: origin.clone(),
            key: key(),
            takes: takes.to_owned(),
            // It may be the secret itself, by mistake.
            found: if path[0] == "secrets" {
                "something that is not shown here".to_owned()
            } else {
                value.kind()
            },
        };
        if let Some(known) = KNOWN.iter().find(|k| matches(k.key, path)) {
            self.origins.insert(key(), origin.clone());
            return (known.put)(self, path, value).map_err(|refusal| match refusal {
                Kind => kind_is_wrong(known.takes),
                Problem(problem) => SettingsError::Value { origin: origin.clone(), key: key(), problem },
            });
        }
        if let Some((_, instead)) = LATER.iter().find(|(k, _)| starts_with(path, k)) {
            return Err(SettingsError::Later { origin: origin.clone(), key: key(), instead });
        }
        if let Some(known) = KNOWN.iter().find(|k| starts_with(path, k.key)) {
            // `model.name = ...`: a table where a plain value stands.
            return Err(SettingsError::Kind {
                origin: origin.clone(),
                key: path[..known.key.split('.').count()].join("."),
                takes: known.takes.to_owned(),
                found: "a table".to_owned(),
            });
        }
        if KNOWN.iter().any(|k| is_start_of(path, k.key)) {
            let fine = *value == Value::EmptyTable;
            return if fine { Ok(()) } else { Err(kind_is_wrong("a table")) };
        }
        let nearest = nearest_key(path, KNOWN.iter().map(|k| k.key));
        Err(SettingsError::Unknown { origin: origin.clone(), key: key(), nearest })
    }
}

fn matches(pattern: &str, path: &[String]) -> bool {
    pattern.split('.').count() == path.len() && starts_with(path, pattern)
}

/// Returns whether `path` is what `pattern` names or lies below it.
fn starts_with(path: &[String], pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('.').collect();
    parts.len() <= path.len() && parts.iter().zip(path).all(|(part, name)| *part == "*" || part == name)
}

/// Returns whether settings lie below `path`.
fn is_start_of(path: &[String], pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('.').collect();
    path.len() < parts.len() && parts.iter().zip(path).all(|(part, name)| *part == "*" || part == name)
}

fn text(value: &Value) -> Result<&str, Refusal> {
    if let Value::Text(text) = value { Ok(text) } else { Err(Kind) }
}

fn texts(value: &Value) -> Result<&[String], Refusal> {
    if let Value::Texts(texts) = value { Ok(texts) } else { Err(Kind) }
}

fn number(value: &Value, least: u64) -> Result<u64, Refusal> {
    let Value::Number(number) = value else { return Err(Kind) };
    u64::try_from(*number).ok().filter(|n| *n >= least).ok_or(Kind)
}

const PRICE: &str = "a number: USD per million tokens";
const BUDGET: &str = "a number of USD above 0, or \"none\"";

fn usd(value: &Value) -> Result<Usd, Refusal> {
    match value {
        Value::Number(number) => Usd::parse(&number.to_string()).ok_or(Kind),
        Value::Decimal(number) => Usd::parse(number).ok_or(Kind),
        _ => Err(Kind),
    }
}

/// Returns what a budget that stands in an option means, or what it may be: the same as in settings.
pub fn budget_of(text: &str) -> Result<Budget, &'static str> {
    let parsed = budget(&layer::of_amount(text.trim())).map_err(|_| BUDGET)?;
    Ok(parsed.map_or(Budget::Unlimited, Budget::UpTo))
}

/// Returns a limit in money, or `None` where the person wants none.
fn budget(value: &Value) -> Result<Option<Usd>, Refusal> {
    if *value == Value::Text("none".to_owned()) {
        return Ok(None);
    }
    usd(value).and_then(|usd| if usd > Usd::ZERO { Ok(Some(usd)) } else { Err(Kind) })
}

fn price(
    settings: &mut Settings,
    path: &[String],
    value: &Value,
    part: fn(&mut PriceSaid) -> &mut Option<Usd>,
) -> Result<(), Refusal> {
    let usd = usd(value)?;
    let traits = provider(settings, path)?.models.entry(path[3].clone()).or_default();
    *part(&mut traits.price) = Some(usd);
    Ok(())
}

fn size(value: &Value, least: u64) -> Result<u64, Refusal> {
    units::bytes(text(value)?).filter(|bytes| *bytes >= least).ok_or(Kind)
}

/// Returns provider and model of `PROVIDER/MODEL`.
fn named(text: &str) -> Result<(String, String), Refusal> {
    let named = text.split_once('/').filter(|(provider, name)| !provider.is_empty() && !name.is_empty());
    let (provider, name) =
        named.ok_or_else(|| Problem(format!("`{text}` is not PROVIDER/MODEL, like ollama/qwen3-coder")))?;
    Ok((provider.to_owned(), name.to_owned()))
}

fn provider<'s>(settings: &'s mut Settings, path: &[String]) -> Result<&'s mut Provider, Refusal> {
    let name = &path[1];
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Problem("a provider's name has letters, digits, `-` and `_` only".to_owned()));
    }
    Ok(settings.providers.entry(name.clone()).or_default())
}

/// Returns what words and hosts let a task reach.
fn net<'t>(words: impl Iterator<Item = &'t str>) -> Result<Net, Refusal> {
    let words: Vec<&str> = words.map(str::trim).collect();
    match words.as_slice() {
        ["off"] => return Ok(Net::Off),
        ["all"] => return Ok(Net::All),
        _ => {}
    }
    let (mut registries, mut hosts) = (false, Vec::<String>::new());
    for word in words {
        match word {
            "registries" => registries = true,
            "off" | "all" => return Err(Problem(format!("`{word}` stands alone, or not at all"))),
            host => {
                let host = self::host(host, &["off", "registries", "all"])?;
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            }
        }
    }
    Ok(Net::Only { registries, hosts })
}

/// Returns a host in lower case; where it is none, what it probably should be, `words` being what else may stand there.
fn host(text: &str, words: &[&str]) -> Result<String, Refusal> {
    let wrong = |NoHostRule { problem, meant }| {
        let meant = meant.or_else(|| nearest(text, words.iter().copied()).map(str::to_owned));
        let meant = meant.map_or_else(String::new, |meant| format!("; perhaps `{meant}`"));
        Problem(format!("`{text}` names no host: {problem}{meant}"))
    };
    HostRule::parse(text).map(|_| text.to_ascii_lowercase()).map_err(wrong)
}

/// Returns the hosts that a secret is for, each of them one host: a pattern could be met by somebody else's.
fn secret_hosts(texts: &[String]) -> Result<Vec<String>, Refusal> {
    if texts.is_empty() {
        return Err(Problem("there is no host in it".to_owned()));
    }
    if let Some(pattern) = texts.iter().find(|text| text.contains('*')) {
        return Err(Problem(format!(
            "`{pattern}` is a pattern; a secret is sent to hosts that are named one by one"
        )));
    }
    texts.iter().map(|text| host(text, &[])).collect()
}

/// Returns the name of a variable that commands may find a secret's placeholder in.
fn variable(name: &str) -> Result<String, Refusal> {
    let plain = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Problem("a secret is called as its variable is, like GITHUB_TOKEN".to_owned()));
    }
    if super::is_inside(name) {
        return Err(Problem(format!("{name} is a variable that commands see as it is")));
    }
    Ok(name.to_owned())
}

fn base_url(text: &str) -> Result<String, Refusal> {
    let url = text.trim().trim_end_matches('/');
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or(Kind)?;
    let host = rest.split('/').next().unwrap_or(rest);
    if host.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Kind);
    }
    if host.contains('@') {
        return Err(Problem(
            "a name and password do not belong into an address, which is logged; use key_env".to_owned(),
        ));
    }
    let names = url.split_once('?').map_or("", |(_, query)| query).split('&');
    let mut names = names.map(|field| field.split('=').next().unwrap_or(field).to_lowercase());
    if names
        .any(|name| ["key", "token", "secret", "passw", "sig", "auth"].iter().any(|part| name.contains(part)))
    {
        return Err(Problem(
            "a key does not belong into an address, which is logged; use key_env".to_owned(),
        ));
    }
    for end in ["/responses", "/chat/completions", "/messages"] {
        if url.ends_with(end) {
            return Err(Problem(format!("leave `{end}` out, the wire adds it")));
        }
    }
    Ok(url.to_owned())
}

fn shown(text: &str, home: Option<&PathBuf>) -> Result<PathBuf, Refusal> {
    let path = match (text.strip_prefix('~'), home) {
        (Some(below), Some(home)) if below.is_empty() || below.starts_with('/') => {
            home.join(below.trim_start_matches('/'))
        }
        (Some(_), None) => return Err(Problem("there is no HOME that `~` could stand for".to_owned())),
        _ => PathBuf::from(text),
    };
    if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
        return Err(Problem(format!(
            "`{text}` is neither an absolute path nor one below `~`, or it holds `..`"
        )));
    }
    Ok(path)
}
