//! Code in colours: words of the language, texts, numbers, comments, line by line. The places are told in an attribute of the
//! line, and the script has the browser paint them (CSS Custom Highlight API): a line stays one element, however colourful.
//!
//! It is a few rules for families of languages and no grammar of each, because a change is read as lines out of their file:
//! what began above them no grammar knows either.

use std::ops::Range;

/// How a family of languages is written.
struct Language {
    endings: &'static [&'static str],
    /// What begins a comment to the line's end.
    comments: &'static [&'static str],
    /// What stands around a comment within a line.
    around: Option<(&'static str, &'static str)>,
    quotes: &'static [char],
    words: &'static str,
}

const C: Option<(&str, &str)> = Some(("/*", "*/"));

const LANGUAGES: &[Language] = &[
    Language {
        endings: &["rs"],
        comments: &["//"],
        around: C,
        // A lone ' begins a lifetime.
        quotes: &['"'],
        words: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut \
                pub ref return self Self static struct super trait true type unsafe use where while",
    },
    Language {
        endings: &["js", "mjs", "cjs", "jsx", "ts", "tsx", "mts"],
        comments: &["//"],
        around: C,
        quotes: &['"', '\'', '`'],
        words: "abstract as async await break case catch class const continue debugger default delete do else enum export extends \
                false finally for from function if implements import in instanceof interface let new null of private protected \
                public readonly return static super switch this throw true try type typeof undefined var void while yield",
    },
    Language {
        endings: &[
            "c", "h", "cc", "cpp", "cxx", "hpp", "java", "kt", "kts", "cs", "go", "swift", "scala", "php",
            "dart", "zig",
        ],
        comments: &["//"],
        around: C,
        quotes: &['"', '\'', '`'],
        words: "abstract as bool break case catch chan char class const continue data def default defer delete do double else enum \
                extends extern false final finally float for foreach fun func function go goto guard if implements import in \
                include inline instanceof int interface internal is let long map match mut namespace new nil null object \
                operator override package private protected public range return select short signed sizeof static string struct \
                super switch template this throw throws trait true try type typedef union unsigned using val var virtual void \
                volatile when where while with yield",
    },
    Language {
        endings: &["py", "pyi"],
        comments: &["#"],
        around: None,
        quotes: &['"', '\''],
        words: "False None True and as assert async await break case class continue def del elif else except finally for from global \
                if import in is lambda match nonlocal not or pass raise return self try while with yield",
    },
    Language {
        endings: &["rb", "sh", "bash", "zsh", "pl", "ex", "exs", "cr"],
        comments: &["#"],
        around: None,
        quotes: &['"', '\''],
        words: "and begin case class def defmodule do done elif else elsif end esac export fi for function if in local module my nil \
                not or our readonly require rescue return self set shift sub then true false unless until use when while yield",
    },
    Language {
        endings: &["toml", "yaml", "yml", "ini", "conf", "cfg", "dockerfile", "mk", "cmake"],
        comments: &["#", ";"],
        around: None,
        quotes: &['"', '\''],
        words: "true false null yes no on off",
    },
    Language {
        endings: &["json", "jsonc"],
        comments: &[],
        around: None,
        quotes: &['"'],
        words: "true false null",
    },
    Language {
        endings: &["css", "scss", "less"],
        comments: &[],
        around: C,
        quotes: &['"', '\''],
        words: "important",
    },
    Language {
        endings: &["html", "htm", "xml", "svg", "vue", "svelte"],
        comments: &[],
        around: Some(("<!--", "-->")),
        quotes: &['"'],
        words: "",
    },
    Language {
        endings: &["sql"],
        comments: &["--"],
        around: C,
        quotes: &['\''],
        words: "and as asc begin by case commit create delete desc distinct drop else end exists from group having in index inner \
                insert into is join key left like limit not null on or order outer primary references select set table then \
                union update values view when where with AND AS ASC BEGIN BY CASE COMMIT CREATE DELETE DESC DISTINCT DROP ELSE END \
                EXISTS FROM GROUP HAVING IN INDEX INNER INSERT INTO IS JOIN KEY LEFT LIKE LIMIT NOT NULL ON OR ORDER OUTER PRIMARY \
                REFERENCES SELECT SET TABLE THEN UNION UPDATE VALUES VIEW WHEN WHERE WITH",
    },
    Language {
        endings: &["lua", "hs", "elm", "ada"],
        comments: &["--"],
        around: None,
        quotes: &['"', '\''],
        words: "and break case class data deriving do else elseif end false for function if import in instance let local module nil \
                not of or repeat return then true type until where while",
    },
];

/// What a stretch of code is; as the script names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Comment,
    Text,
    Number,
    Word,
}

/// Returns where in a line of the file of that name what stands, as `start.length.kind`, in UTF-16 units as browsers count.
/// `None` where there is nothing to be painted.
pub fn places(name: &str, line: &str) -> Option<String> {
    let language = language(name)?;
    let mut told = String::new();
    let (mut at, mut units) = (0, 0);
    for (range, kind) in spans(language, line) {
        let count = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
        units += count(&line[at..range.start]);
        let length = count(&line[range.clone()]);
        let kind = match kind {
            Kind::Comment => 'c',
            Kind::Text => 't',
            Kind::Number => 'n',
            Kind::Word => 'w',
        };
        if !told.is_empty() {
            told.push(' ');
        }
        told.push_str(&format!("{units}.{length}.{kind}"));
        units += length;
        at = range.end;
    }
    (!told.is_empty()).then_some(told)
}

fn language(name: &str) -> Option<&'static Language> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let ending = name.rsplit_once('.').map_or(name, |(_, ending)| ending).to_lowercase();
    LANGUAGES.iter().find(|language| language.endings.contains(&ending.as_str()))
}

fn spans(language: &Language, line: &str) -> Vec<(Range<usize>, Kind)> {
    let mut spans = vec![];
    // Within a comment of several lines, as it is usually set.
    if language.around == C && line.trim_start().starts_with("* ") {
        return vec![(0..line.len(), Kind::Comment)];
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    while let Some(first) = line[at..].chars().next() {
        let rest = &line[at..];
        let before = line[..at].chars().next_back();
        // A sign within a word, or of an address, begins no comment.
        let is_free = before.is_none_or(|c| c.is_whitespace() || ";{}()".contains(c));
        let (length, kind) = if language.comments.iter().any(|sign| rest.starts_with(sign)) && is_free {
            (rest.len(), Some(Kind::Comment))
        } else if let Some((open, close)) = language.around.filter(|(open, _)| rest.starts_with(open)) {
            let inner = &rest[open.len()..];
            (inner.find(close).map_or(rest.len(), |end| open.len() + end + close.len()), Some(Kind::Comment))
        } else if language.quotes.contains(&first) {
            (text(rest, first), Some(Kind::Text))
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let word = &rest[..length];
            let kind = match first.is_ascii_digit() {
                true => Some(Kind::Number),
                false => {
                    language.words.split_ascii_whitespace().any(|other| other == word).then_some(Kind::Word)
                }
            };
            (length, kind)
        } else {
            (first.len_utf8(), None)
        };
        if let Some(kind) = kind {
            spans.push((at..at + length, kind));
        }
        at += length;
    }
    spans
}

/// Returns how long the text is that `rest` begins with, to its closing quote or the end of the line.
fn text(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_apart() {
        let rows = [
            ("a.rs", "let a = 1; // one", Some("0.3.w 8.1.n 11.6.c")),
            ("a.rs", "fn f<'a>(b: &'a str)", Some("0.2.w")),
            ("a.rs", "let s = \"a \\\" // b\"; x", Some("0.3.w 8.11.t")),
            ("a.rs", "/* a */ use b;", Some("0.7.c 8.3.w")),
            ("a.rs", " * of a comment", Some("0.15.c")),
            ("a.rs", "letter = other", None),
            ("src/b.py", "if x: # é𝒳", Some("0.2.w 6.5.c")),
            ("b.py", "é𝒳 = None", Some("6.4.w")),
            ("b.py", "'unclosed", Some("0.9.t")),
            ("a.js", "fetch('http://x') // y", Some("6.10.t 18.4.c")),
            ("Dockerfile", "# a", Some("0.3.c")),
            ("a.html", "<a href=\"b\"><!-- c -->", Some("8.3.t 12.10.c")),
            ("notes.txt", "let a = 1;", None),
            ("a.rs", "", None),
        ];
        for (name, line, expected) in rows {
            assert_eq!(places(name, line).as_deref(), expected, "{name}: {line}");
        }
    }
}
