//! Forms with files, as browsers send them (RFC 7578; HTML, multipart form data): parts between lines that begin with a boundary, each
//! with a head that names its field, and the file's name where it is one. The whole is in memory and bounded by the door, so that
//! reading it is finding places in it; whatever is not as browsers write it is no form.
//!
//! ```text
//! --BOUNDARY CRLF (head line CRLF)* CRLF content CRLF --BOUNDARY ... --BOUNDARY--
//! ```

use std::path::PathBuf;

/// Longest boundary (RFC 2046, 5.1.1), and the most parts and head lines of one.
const BOUNDARY_MAX: usize = 70;
const PARTS_MAX: usize = 1000;
const HEAD_MAX: usize = 8;

/// What a form holds, each in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub fields: Vec<(String, String)>,
    /// By the name that the browser says; none for an input in which no file was chosen.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// Returns the boundary of a content type that says such a form.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    let boundary = rest.split(';').find_map(|one| one.trim().strip_prefix("boundary="))?.trim_matches('"');
    let fine = kind.trim().eq_ignore_ascii_case("multipart/form-data")
        && (1..=BOUNDARY_MAX).contains(&boundary.len())
        && boundary.bytes().all(|byte| byte.is_ascii_graphic());
    fine.then(|| boundary.to_owned())
}

/// Returns what a form holds; `None` where it is cut short or not one.
pub fn read(boundary: &str, body: &[u8]) -> Option<Form> {
    let between = format!("\r\n--{boundary}");
    let mut form = Form::default();
    let mut rest = body.strip_prefix(&between.as_bytes()[2..])?;
    for _ in 0..PARTS_MAX {
        if rest == b"--" || rest == b"--\r\n" {
            return Some(form);
        }
        let (name, file, content) = head(rest.strip_prefix(b"\r\n")?)?;
        let end = find(content, between.as_bytes())?;
        let (content, after) = content.split_at(end);
        rest = &after[between.len()..];
        match file {
            None => form.fields.push((name, String::from_utf8_lossy(content).into_owned())),
            Some(file) if file.is_empty() && content.is_empty() => {}
            Some(file) => form.files.push((file.into(), content.to_vec())),
        }
    }
    None
}

/// Returns the name of a part's field, that of its file where it is one, and what follows the head.
fn head(mut rest: &[u8]) -> Option<(String, Option<String>, &[u8])> {
    let mut named = None;
    for _ in 0..HEAD_MAX {
        let end = find(rest, b"\r\n")?;
        let (line, after) = rest.split_at(end);
        rest = &after[2..];
        if line.is_empty() {
            return named.map(|(name, file)| (name, file, rest));
        }
        let line = std::str::from_utf8(line).ok()?;
        let (header, value) = line.split_once(':')?;
        if header.eq_ignore_ascii_case("content-disposition") {
            let parameters = value.trim().strip_prefix("form-data;")?;
            named = Some((parameter(parameters, " name=\"")?, parameter(parameters, " filename=\"")));
        }
    }
    None
}

/// Returns a quoted value, in which browsers write `"` and line breaks as `%22`, `%0D` and `%0A`.
fn parameter(parameters: &str, named: &str) -> Option<String> {
    let (value, _) = parameters.split_once(named)?.1.split_once('"')?;
    Some(value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(within, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_is_read_and_nothing_else() {
        let part = |head: &str, content: &str| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let words = part("name=\"words\"", "a\r\n--not\r\nä");
        let file = part("name=\"file\"; filename=\"a%22b.png\"\r\nContent-Type: image/png", "\u{1}--b\r\n--");
        let none = part("name=\"file\"; filename=\"\"\r\nContent-Type: application/octet-stream", "");
        let whole = format!("{words}{file}{none}--b--\r\n");
        let read_as = |form: Option<Form>| {
            form.map(|form| {
                let fields = form.fields.iter().map(|(name, value)| format!("{name}={value}"));
                let files =
                    form.files.iter().map(|(name, bytes)| format!("{}:{}", name.display(), bytes.len()));
                fields.chain(files).collect::<Vec<_>>().join(" ")
            })
        };
        let rows = [
            (whole.as_str(), Some("words=a\r\n--not\r\nä a\"b.png:8")),
            ("--b--", Some("")),
            ("", None),
            ("--c--", None),
            ("x--b--", None),
            ("--b\r\nno colon\r\n\r\nx\r\n--b--", None),
            ("--b\r\nContent-Type: text/plain\r\n\r\nunnamed\r\n--b--", None),
            ("--b\r\nContent-Disposition: attachment; name=\"x\"\r\n\r\nx\r\n--b--", None),
        ];
        for (body, expected) in rows {
            assert_eq!(read_as(read("b", body.as_bytes())).as_deref(), expected, "{body:?}");
        }
        // However it is cut, it is whole or nothing.
        for end in 0..whole.len() - 2 {
            assert_eq!(read("b", &whole.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(read("b", part("name=\"x\"", "y").repeat(PARTS_MAX + 1).as_bytes()), None);
    }

    #[test]
    fn a_boundary_is_one_of_a_form() {
        let rows = [
            ("multipart/form-data; boundary=----x1", Some("----x1")),
            ("multipart/form-data; charset=utf-8; boundary=\"x y\"", None),
            ("multipart/mixed; boundary=x", None),
            ("multipart/form-data; boundary=", None),
            ("application/x-www-form-urlencoded", None),
        ];
        for (text, expected) in rows {
            assert_eq!(boundary(text).as_deref(), expected, "{text}");
        }
    }
}
