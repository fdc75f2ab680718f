//! What others may rely on: names that a file offers to the outside, and that a change takes away or offers in another form.

use crate::bytes::RelPath;
use crate::diff::{Hunk, Kind};
use std::collections::BTreeMap;

/// Names that are told of one file.
const NAMES_MAX: usize = 20;

/// Returns the names that the hunks of a file take away or change the form of, in their order in the file.
pub fn changed(path: &RelPath, hunks: &[Hunk]) -> Vec<String> {
    let path = path.to_string();
    let Some((_, ending)) = path.rsplit_once('.') else { return vec![] };
    let lines = |kind| hunks.iter().flat_map(|hunk| &hunk.lines).filter(move |line| line.kind == kind);
    let offers = |text: &str| offered(ending, text).map(|name| (name, form(text)));
    let now: BTreeMap<String, String> =
        lines(Kind::Added).filter_map(|line| offers(String::from_utf8_lossy(&line.text).as_ref())).collect();
    let gone = lines(Kind::Removed).filter_map(|line| offers(String::from_utf8_lossy(&line.text).as_ref()));
    let mut names: Vec<String> = vec![];
    for (name, _) in gone.filter(|(name, form)| now.get(name) != Some(form)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(NAMES_MAX);
    names
}

/// Returns the name that a line offers to the outside, where it does, by the customs of the file's language.
fn offered(ending: &str, line: &str) -> Option<String> {
    let (bare, top) = (line.trim(), !line.starts_with([' ', '\t']));
    let after = match ending {
        "rs" => {
            let rest = bare.strip_prefix("pub ")?;
            let rest = ["const ", "async ", "unsafe "].iter().fold(rest, |rest, word| {
                match rest.strip_prefix(word) {
                    Some(more)
                        if more.starts_with("fn ")
                            || more.starts_with("unsafe ")
                            || more.starts_with("async ") =>
                    {
                        more
                    }
                    _ => rest,
                }
            });
            after_one(rest, &["fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "mod "])?
        }
        "py" => {
            after_one(bare.strip_prefix("async ").unwrap_or(bare), &["def ", "class "]).filter(|_| top)?
        }
        "js" | "mjs" | "cjs" | "ts" | "tsx" | "jsx" => {
            let rest = bare.strip_prefix("exports.").or_else(|| bare.strip_prefix("module.exports."));
            let rest = rest.or_else(|| {
                let rest = bare.strip_prefix("export ")?;
                let rest = rest.strip_prefix("default ").unwrap_or(rest);
                let rest = rest.strip_prefix("async ").unwrap_or(rest);
                after_one(rest, &["function ", "class ", "const ", "let ", "interface ", "type ", "enum "])
            });
            rest?
        }
        "go" => {
            let rest = after_one(bare, &["func ", "type ", "const ", "var "]).filter(|_| top)?;
            // A method's name stands after who it belongs to.
            let rest = match rest.strip_prefix('(') {
                Some(of) => of.split_once(')')?.1.trim_start(),
                None => rest,
            };
            rest.starts_with(char::is_uppercase).then_some(rest)?
        }
        "java" | "kt" | "cs" | "php" => {
            let rest = bare.strip_prefix("public ")?;
            let head = rest.split(['(', '{', '=', ';']).next()?.trim();
            head.rsplit(' ').next()?
        }
        _ => return None,
    };
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty() && !name.starts_with('_')).then_some(name)
}

fn after_one<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    words.iter().find_map(|word| text.strip_prefix(word)).map(str::trim_start)
}

/// Returns what of a line its users see: not what follows the head.
fn form(line: &str) -> String {
    let head = line.split(['{', '=']).next().unwrap_or(line);
    head.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches([':', ';', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff;

    #[test]
    fn names_that_go_or_change_their_form_are_told_in_each_language() {
        for (path, was, now, names) in [
            (
                "a.rs",
                "pub fn total(a: u8) {\n    x\n}\n",
                "pub fn total(a: u16) {\n    x\n}\n",
                &["total"][..],
            ),
            ("a.rs", "pub const fn total() {}\n", "", &["total"]),
            ("a.rs", "fn total(a: u8) {}\n", "fn total() {}\n", &[]),
            ("a.rs", "pub fn total() { 1 }\n", "pub fn total() { 2 }\n", &[]),
            ("a.rs", "pub(crate) fn total() {}\n", "", &[]),
            ("a.py", "def total(a):\n    pass\n", "def total(a, b):\n    pass\n", &["total"]),
            (
                "a.py",
                "class T:\n    def total(a):\n        pass\n",
                "class T:\n    def sum(a):\n        pass\n",
                &[],
            ),
            ("a.py", "def _own(a): pass\n", "", &[]),
            ("a.ts", "export async function total(a) {\n", "export async function sum(a) {\n", &["total"]),
            ("a.js", "exports.total = 1\n", "exports.total = 2\n", &[]),
            ("a.go", "func (s *Shop) Total() int {\n", "func (s *Shop) Total() int64 {\n", &["Total"]),
            ("a.go", "func total() int {\n", "", &[]),
            ("A.java", "  public static int total(int a) {\n", "", &["total"]),
            ("a.md", "pub fn total() {}\n", "", &[]),
        ] {
            let path = RelPath::new(path.as_bytes().to_vec()).unwrap();
            let hunks = diff::hunks(0, &path, was.as_bytes(), now.as_bytes());
            assert_eq!(changed(&path, &hunks), names, "{path}: {was}");
        }
    }
}
