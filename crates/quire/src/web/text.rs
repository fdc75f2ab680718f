//! Text from elsewhere, made visible as it is: whatever a model, a file or a name holds is text and nothing else, and what
//! would hide or reorder it is shown as a mark.

use crate::terminal::clean;
use maud::{Markup, html};
use pulldown_cmark::{Event, Options, Parser, Tag};
use quire_core::view::marks::{Piece, pieces};
use std::collections::HashSet;

pub const EXTENSIONS: Options = Options::ENABLE_TABLES.union(Options::ENABLE_STRIKETHROUGH);

/// Returns a line of a file or a path, with hidden characters as marks.
pub fn marked(text: &str) -> Markup {
    html! {
        @for piece in pieces(text) {
            @match piece {
                Piece::Plain(text) => (text),
                Piece::Hidden { short, name } => { span.ctl title=(name) { (short) } },
                Piece::Alike { text, name } => { span.alike title=(name) { (text) } },
            }
        }
    }
}

/// Returns a line of quire's, in which backticks stand around code.
pub fn quoting(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    html! {
        @if parts.len().is_multiple_of(2) { (text) }
        @else { @for (n, part) in parts.iter().enumerate() { @if n.is_multiple_of(2) { (part) } @else { code { (part) } } } }
    }
}

/// Returns words of the person's as paragraphs, as they were written.
pub fn prose(text: &str) -> Markup {
    let text = clean(text);
    html! {
        @for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
            p { @for (n, line) in paragraph.lines().enumerate() { @if n > 0 { br; } (line) } }
        }
    }
}

/// Returns Markdown as HTML: paragraphs, headings, lists, tables, code, emphasis, and links to the web and to mail. HTML in it is
/// text, and images are links: nothing is fetched.
pub fn markdown(text: &str) -> Markup {
    let text = clean(text);
    let mut events = Parser::new_ext(&text, EXTENSIONS);
    html! { @for part in children(&mut events) { (part) } }
}

/// Returns a document as HTML, in which the passages are marked that were not in the document before.
pub fn document(was: Option<&str>, now: &str) -> Markup {
    let (was, now) = (was.map(clean), clean(now));
    let old: Option<HashSet<&str>> =
        was.as_deref().map(|was| blocks(was).into_iter().map(|(source, _)| source).collect());
    html! {
        @for (source, block) in blocks(&now) {
            @if old.as_ref().is_some_and(|old| !old.contains(source)) { div.changed { span.vh { "Changed: " } (block) } }
            @else { (block) }
        }
    }
}

/// Returns the passages of a document: as they are written, and as HTML.
pub fn blocks(text: &str) -> Vec<(&str, Markup)> {
    let mut events = Parser::new_ext(text, EXTENSIONS).into_offset_iter();
    let mut blocks = vec![];
    while let Some((event, at)) = events.next() {
        let block = match event {
            Event::Start(tag) => element(&tag, &children(&mut events.by_ref().map(|(event, _)| event))),
            Event::Rule => html! { hr; },
            _ => continue,
        };
        blocks.push((text[at].trim(), block));
    }
    blocks
}

/// Returns what stands up to the end of the element that is open.
fn children<'t>(events: &mut impl Iterator<Item = Event<'t>>) -> Vec<Markup> {
    let mut parts = vec![];
    while let Some(event) = events.next() {
        parts.push(match event {
            Event::End(_) => break,
            Event::Start(tag) => element(&tag, &children(events)),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => html! { (&*text) },
            Event::Code(text) => html! { code { (&*text) } },
            Event::HardBreak => html! { br; },
            Event::Rule => html! { hr; },
            _ => html! { " " },
        });
    }
    parts
}

fn element(tag: &Tag<'_>, inner: &[Markup]) -> Markup {
    let inner = html! { @for part in inner { (part) } };
    match tag {
        // Its own headings lie below those of the page.
        Tag::Heading { level, .. } if *level as usize == 1 => html! { h3 { (inner) } },
        Tag::Heading { .. } => html! { h4 { (inner) } },
        Tag::BlockQuote(_) => html! { blockquote { (inner) } },
        Tag::CodeBlock(_) => html! { pre.out tabindex="0" { (inner) } },
        Tag::List(None) => html! { ul { (inner) } },
        Tag::List(Some(first)) => html! { ol start=(first) { (inner) } },
        Tag::Item => html! { li { (inner) } },
        Tag::Table(_) => html! { div.grid tabindex="0" { table { (inner) } } },
        Tag::TableHead => html! { thead { tr { (inner) } } },
        Tag::TableRow => html! { tr { (inner) } },
        Tag::TableCell => html! { td { (inner) } },
        Tag::Emphasis => html! { em { (inner) } },
        Tag::Strong => html! { strong { (inner) } },
        Tag::Strikethrough => html! { s { (inner) } },
        Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } if is_safe(dest_url) => {
            html! { a.txt href=(&**dest_url) rel="noopener noreferrer" target="_blank" { (inner) } }
        }
        Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock => inner,
        _ => html! { p { (inner) } },
    }
}

fn is_safe(address: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| address.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_13_markdown_brings_no_html_no_image_and_no_script() {
        let rows = [
            ("Hello **you** & `a<b`", "<p>Hello <strong>you</strong> &amp; <code>a&lt;b</code></p>"),
            ("- one\n- two", "<ul><li>one</li><li>two</li></ul>"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("a <b onclick=x>c</b>", "<p>a &lt;b onclick=x&gt;c&lt;/b&gt;</p>"),
            ("[x](javascript:alert(1))", "<p>x</p>"),
            ("[x](data:text/html,y)", "<p>x</p>"),
            ("[x](//evil.test)", "<p>x</p>"),
            (
                "![p](https://evil.test/p.png)",
                "<p><a class=\"txt\" href=\"https://evil.test/p.png\" rel=\"noopener noreferrer\" target=\"_blank\">p</a></p>",
            ),
            ("# One\n\n## Two", "<h3>One</h3><h4>Two</h4>"),
        ];
        for (text, expected) in rows {
            assert_eq!(markdown(text).into_string().trim_end(), expected, "{text}");
        }
    }

    #[test]
    fn a_document_shows_which_passages_are_new() {
        let rows = [
            (None, "One.\n\nTwo.", "<p>One.</p><p>Two.</p>"),
            (
                Some("One.\n\nTwo."),
                "One.\n\nTwo and *a half*.",
                "<p>One.</p><div class=\"changed\"><span class=\"vh\">Changed: </span><p>Two and <em>a half</em>.</p></div>",
            ),
            (Some("# A\n\n- x\n- y"), "# A\n\n- x\n- y", "<h3>A</h3><ul><li>x</li><li>y</li></ul>"),
            (Some(""), "---", "<div class=\"changed\"><span class=\"vh\">Changed: </span><hr></div>"),
        ];
        for (was, now, expected) in rows {
            assert_eq!(document(was, now).into_string(), expected, "{now}");
        }
    }
}
