//! One layer of settings as a flat list: each setting with its dotted path, its value and the place it came from. A TOML
//! file, the environment, `-c` and the other options all become the same list, so that what a setting means is written once.

use super::SettingsError;
use crate::nearest::nearest;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `line` counts from 1.
    File { path: PathBuf, line: usize },
    /// A `QUIRE_*` variable.
    Variable(String),
    /// An option of the command line, as it was typed.
    Argument(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Origin::Variable(name) => write!(f, "the variable {name}"),
            Origin::Argument(text) => write!(f, "`{text}`"),
        }
    }
}

/// A value as far as settings have use for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    /// A number with a fraction or an exponent, as it was written.
    Decimal(String),
    Flag(bool),
    Texts(Vec<String>),
    /// A table with nothing in it.
    EmptyTable,
    /// Anything else, with TOML's word for it.
    Other(&'static str),
}

impl Value {
    /// Returns what it is, in words for a person.
    pub(super) fn kind(&self) -> String {
        match self {
            Value::Text(text) if text.chars().count() <= 40 => format!("the string \"{text}\""),
            Value::Text(_) => "a long string".to_owned(),
            Value::Number(number) => format!("the number {number}"),
            Value::Decimal(number) => format!("the number {number}"),
            Value::Flag(flag) => flag.to_string(),
            Value::Texts(_) => "a list of strings".to_owned(),
            Value::EmptyTable => "a table".to_owned(),
            Value::Other(kind) => (*kind).to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub path: Vec<String>,
    pub value: Value,
    pub origin: Origin,
}

/// Returns the settings of a TOML file in the order in which they stand there.
pub(super) fn of_file(path: &Path, text: &str) -> Result<Vec<Leaf>, SettingsError> {
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|e| SettingsError::Syntax {
        origin: Origin::File { path: path.to_owned(), line: line(e.span().map_or(0, |s| s.start)) },
        problem: e.message().to_owned(),
    })?;
    let mut leaves = Vec::new();
    flatten(table.get_ref(), &mut Vec::new(), &mut |path, value, at| leaves.push((at, path, value)));
    leaves.sort_by_key(|(at, ..)| *at);
    let origin = |at| Origin::File { path: path.to_owned(), line: line(at) };
    Ok(leaves.into_iter().map(|(at, path, value)| Leaf { path, value, origin: origin(at) }).collect())
}

/// Variables that start so and are no settings: where quire keeps its data, how much its host says, and what its tests use.
const NO_SETTINGS: [&str; 3] = ["QUIRE_HOME", "QUIRE_LOG", "QUIRE_TEST_"];

/// Returns the settings among `env`: `QUIRE_SANDBOX__MEMORY` stands for `sandbox.memory`.
pub(super) fn of_environment(env: &BTreeMap<String, String>) -> Vec<Leaf> {
    // An empty variable counts as not set.
    let set = env.iter().filter(|(_, text)| !text.is_empty());
    set.filter(|(name, _)| !NO_SETTINGS.iter().any(|ours| name.starts_with(ours)))
        .filter_map(|(name, text)| {
            let key = name.strip_prefix("QUIRE_")?.to_lowercase();
            let path = key.split("__").map(str::to_owned).collect();
            Some(of_text(path, text, Origin::Variable(name.clone())))
        })
        .flatten()
        .collect()
}

/// Returns the settings of one `-c KEY=VALUE`.
pub(super) fn of_argument(argument: &str) -> Result<Vec<Leaf>, SettingsError> {
    let origin = Origin::Argument(format!("-c {argument}"));
    let wrong = |problem: &str| SettingsError::Syntax { origin: origin.clone(), problem: problem.to_owned() };
    let (key, text) =
        split(argument).ok_or_else(|| wrong("write it as KEY=VALUE, for example sandbox.memory=2GiB"))?;
    let path = key_path(key).ok_or_else(|| wrong("the key is not a dotted TOML key"))?;
    Ok(of_text(path, text, origin))
}

/// Returns the setting `path` with the value that `text` is as TOML; a table gives several. Text that is not TOML is a
/// string.
fn of_text(path: Vec<String>, text: &str, origin: Origin) -> Vec<Leaf> {
    let document = format!("value = {text}");
    let Some(parsed) = sole_value(&document) else {
        return vec![Leaf { path, value: Value::Text(text.to_owned()), origin }];
    };
    let mut leaves = Vec::new();
    descend(&parsed, 0, &mut path.clone(), &mut |path, value, at| leaves.push((at, path, value)));
    leaves.sort_by_key(|(at, ..)| *at);
    leaves.into_iter().map(|(_, path, value)| Leaf { path, value, origin: origin.clone() }).collect()
}

/// Returns key and value around the first `=` that is not within quotes.
fn split(argument: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in argument.char_indices() {
        match (quote, c) {
            (None, '=') => return Some((argument[..at].trim(), argument[at + 1..].trim())),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Returns the parts of a dotted key, of which TOML's own parser knows best how they may be quoted.
fn key_path(key: &str) -> Option<Vec<String>> {
    let document = format!("{key} = 0");
    let parsed = DeTable::parse(&document).ok()?;
    let mut found = Vec::new();
    flatten(parsed.get_ref(), &mut Vec::new(), &mut |path, value, _| found.push((path, value)));
    match found.as_slice() {
        [(path, Value::Number(0))] => Some(path.clone()),
        _ => None,
    }
}

/// Returns a number that an option has as text; anything else is a string.
pub(super) fn of_decimal(text: &str) -> Value {
    match sole_value(&format!("value = {text}")) {
        Some(value @ (DeValue::Integer(_) | DeValue::Float(_))) => leaf_value(&value),
        _ => Value::Text(text.to_owned()),
    }
}

/// Returns an amount that an option has as text. With a plus it is none: that says "so much more" where there is something to add to.
pub(super) fn of_amount(text: &str) -> Value {
    if text.starts_with('+') { Value::Text(text.to_owned()) } else { of_decimal(text) }
}

fn sole_value(document: &str) -> Option<DeValue<'_>> {
    let mut table = DeTable::parse(document).ok()?.into_inner();
    // More keys than one means that the text has line breaks of its own, so it is no value.
    if table.len() != 1 {
        return None;
    }
    table.remove("value").map(|v| v.into_inner())
}

type Found<'a> = dyn FnMut(Vec<String>, Value, usize) + 'a;

fn flatten(table: &DeTable<'_>, path: &mut Vec<String>, found: &mut Found<'_>) {
    for (key, value) in table {
        path.push(key.get_ref().clone().into_owned());
        descend(value.get_ref(), key.span().start, path, found);
        path.pop();
    }
}

fn descend(value: &DeValue<'_>, at: usize, path: &mut Vec<String>, found: &mut Found<'_>) {
    match value {
        DeValue::Table(table) if !table.is_empty() => flatten(table, path, found),
        value => found(path.clone(), leaf_value(value), at),
    }
}

fn leaf_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(n) => {
            let digits = n.as_str().replace('_', "");
            i64::from_str_radix(&digits, n.radix())
                .map_or(Value::Other("a number out of range"), Value::Number)
        }
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Float(number) => Value::Decimal(number.as_str().to_owned()),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::EmptyTable,
        DeValue::Array(list) => {
            let texts =
                list.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            texts.map_or(Value::Other("a list that holds more than strings"), Value::Texts)
        }
    }
}

/// Returns the known key that is nearest to `path`, with the names of `path` in the place of `*`.
pub(super) fn nearest_key<'a>(
    path: &[String],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let named = |pattern: &str| {
        let parts = pattern.split('.').enumerate();
        parts
            .map(|(i, p)| if p == "*" { path.get(i).map_or("NAME", String::as_str) } else { p })
            .collect::<Vec<_>>()
            .join(".")
    };
    let all: Vec<String> = known.clone().map(named).collect();
    if let Some(key) = nearest(&path.join("."), all.iter().map(String::as_str)) {
        return Some(key.to_owned());
    }
    // The right name at the wrong place, or a wrong name there.
    let last = path.last()?;
    let lasts: Vec<&str> = known.map(|k| k.rsplit('.').next().unwrap_or(k)).collect();
    let meant = nearest(last, lasts.iter().copied().filter(|l| *l != "*"))?;
    lasts.iter().position(|l| *l == meant).map(|at| all[at].clone())
}
