//! The head of a SKILL.md: what it must say and may say (https://agentskills.io/specification), with the verdicts of the
//! reference validator, `skills-ref` 0.1.1: it reads the strict part of YAML, without flow style, anchors, tags and keys that
//! come twice, in which every value is text.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// What is told of a skill at the start.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub name: String,
    pub description: String,
}

const FIELDS: [&str; 6] = ["name", "description", "license", "allowed-tools", "metadata", "compatibility"];

/// In characters.
const NAME_MAX: usize = 64;
const DESCRIPTION_MAX: usize = 1024;
const COMPATIBILITY_MAX: usize = 500;

/// Values within values; the specification has two.
const DEPTH_MAX: usize = 16;

/// Reads the head of a SKILL.md in a directory of this name, or returns why it is none.
pub fn read(text: &str, dir: &str) -> Result<Said, String> {
    let rest = text.strip_prefix("---").ok_or("it does not begin with ---")?;
    let (head, _) = rest.split_once("---").ok_or("its head does not end with ---")?;
    let fields = fields(head)?;
    if let Some((key, _)) = fields.iter().find(|(key, _)| !FIELDS.contains(&key.as_str())) {
        return Err(format!("there is no field `{key}`; there are {}", FIELDS.join(", ")));
    }
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_deref());
    let text = |name: &str| {
        let text = field(name).ok_or(format!("it has no {name}"))?;
        text.map(str::trim).filter(|text| !text.is_empty()).ok_or(format!("its {name} is empty or no text"))
    };
    let name = normal(text("name")?);
    let plain = |c: char| c.is_alphanumeric() || c == '-';
    if name.chars().count() > NAME_MAX {
        return Err(format!("its name is longer than {NAME_MAX} characters"));
    }
    if name != name.to_lowercase() || !name.chars().all(plain) {
        return Err(format!("its name `{name}` holds more than small letters, digits and hyphens"));
    }
    if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        return Err(format!("its name `{name}` begins or ends with a hyphen, or has two in a row"));
    }
    if normal(dir) != name {
        return Err(format!("its name `{name}` is not that of its directory"));
    }
    let description = text("description")?;
    // White space around it counts too.
    let length = field("description").flatten().map_or(0, |whole| whole.chars().count());
    if length > DESCRIPTION_MAX {
        return Err(format!("its description is longer than {DESCRIPTION_MAX} characters"));
    }
    match field("compatibility") {
        Some(None) => return Err("its compatibility is no text".into()),
        Some(Some(text)) if text.chars().count() > COMPATIBILITY_MAX => {
            return Err(format!("its compatibility is longer than {COMPATIBILITY_MAX} characters"));
        }
        _ => {}
    }
    Ok(Said { name, description: description.to_owned() })
}

/// Returns a name as it is compared.
fn normal(name: &str) -> String {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(name).into_owned()
}

/// Returns the fields with their text; `None` stands for a value that is no text.
fn fields(head: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let chars: Vec<char> = head.chars().collect();
    let line = |span: Span| span.start.line();
    let mut fields: Vec<(String, Option<String>)> = vec![];
    // Keys of the mappings that are open, and whether the next scalar of each is a key; a list has none.
    let mut open: Vec<(Option<Vec<String>>, bool)> = vec![];
    for event in Parser::new_from_str(head) {
        let (event, span) = event.map_err(|error| format!("its head is no YAML: {error}"))?;
        let refuse = |what: &str| Err(format!("its head has {what} in line {}", line(span)));
        let ugly = |anchor: usize, tag: bool| anchor != 0 || tag;
        let (value, opens) = match &event {
            Event::Alias(_) => return refuse("an alias"),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag)
                if ugly(*anchor, tag.is_some()) =>
            {
                return refuse("an anchor or a tag");
            }
            Event::SequenceStart(..) | Event::MappingStart(..)
                if chars.get(span.start.index()).is_some_and(|c| "[{".contains(*c)) =>
            {
                return refuse("flow style");
            }
            Event::Scalar(text, style, ..) => (Some((text.as_ref(), *style)), None),
            Event::MappingStart(..) => (None, Some(Some(vec![]))),
            Event::SequenceStart(..) => (None, Some(None)),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            Event::DocumentStart(_) if !fields.is_empty() => return refuse("a second document"),
            _ => continue,
        };
        let depth = open.len();
        if depth == 0 && !matches!(opens, Some(Some(_))) || depth > DEPTH_MAX {
            return refuse("something other than fields");
        }
        if let Some((Some(keys), awaits_key)) = open.last_mut() {
            if *awaits_key {
                let Some((key, style)) = value else { return refuse("a key that is no text") };
                if keys.iter().any(|known| known == key) || (key == "<<" && style == ScalarStyle::Plain) {
                    return refuse(&format!("`{key}` twice, or as a key that merges"));
                }
                keys.push(key.to_owned());
                if depth == 1 {
                    fields.push((key.to_owned(), None));
                }
            } else if depth == 1
                && let (Some((text, _)), Some((_, field))) = (value, fields.last_mut())
            {
                *field = Some(text.to_owned());
            }
            *awaits_key = !*awaits_key;
        }
        if let Some(keys) = opens {
            let awaits_key = keys.is_some();
            open.push((keys, awaits_key));
        }
    }
    Ok(fields)
}
