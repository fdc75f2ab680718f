//! The files of the page that are the same for everybody. They are in the binary; no build step makes them.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use std::sync::LazyLock;

pub async fn style() -> impl IntoResponse {
    static STYLE: LazyLock<String> = LazyLock::new(|| compact(include_str!("style.css")));
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE.as_str())
}

/// Returns the stylesheet without what only its writers read: comments, breaks and indents. A twentieth of what is sent.
fn compact(css: &str) -> String {
    let told = css.split("*/").map(|part| part.split_once("/*").map_or(part, |(rule, _)| rule));
    let mut compact = String::with_capacity(css.len());
    for line in told.collect::<String>().lines().map(str::trim) {
        if !compact.is_empty() && !compact.ends_with(['{', '}', ';', ',']) {
            compact.push(' ');
        }
        compact.push_str(line);
    }
    compact
}

pub async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("quire.js"))
}

pub async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml")], include_str!("icon.svg"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_compact_stylesheet_says_the_same() {
        let css = "/* Why. */\n.a,\n.b{\n  font:1em\n    serif; /* over\n two lines */\n  margin:0\n}\n\n.c .d{top:0}\n";
        insta::assert_snapshot!(super::compact(css), @".a,.b{font:1em serif;margin:0 }.c .d{top:0}");
    }
}
