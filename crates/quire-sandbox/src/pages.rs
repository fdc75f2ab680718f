//! Serves the files of a directory to a browser, where a version needs no server of its own: HTML, styles, scripts, images.
//!
//! It runs inside the sandbox, as any other command does, and is no part of the wall: what it can read, every process
//! there can.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Longest request that is read, in bytes.
const REQUEST_MAX: u64 = 16 << 10;

/// Longest time that a browser may take to ask or to read on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves the current directory at the port in `args[0]` of 127.0.0.1. Returns only what stopped it: 3 where there is no
/// page to begin with.
pub fn main(args: &[OsString]) -> i32 {
    if !Path::new("index.html").is_file() {
        return 3;
    }
    let port = args.first().and_then(|port| port.to_str()).and_then(|port| port.parse::<u16>().ok());
    let listener = port.ok_or(io::ErrorKind::InvalidInput.into());
    match listener.and_then(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))) {
        Ok(listener) => serve(&listener, Path::new(".")),
        Err(error) => eprintln!("pages: {error}"),
    }
    1
}

fn serve(listener: &TcpListener, root: &Path) {
    for stream in listener.incoming().flatten() {
        let root = root.to_owned();
        // Who hung up is not told.
        let _ = std::thread::Builder::new().spawn(move || answer(&stream, &root));
    }
}

fn answer(stream: &TcpStream, root: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(REQUEST_MAX));
    let mut request = Vec::new();
    lines.read_until(b'\n', &mut request)?;
    // The rest is read, so that closing does not cut the answer off.
    let mut header = Vec::new();
    while lines.read_until(b'\n', &mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split(|byte| byte.is_ascii_whitespace());
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let body = method != b"HEAD";
    if method != b"GET" && body {
        return say(stream, "405 Method Not Allowed", "Only GET and HEAD.\n", body);
    }
    let asked = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let found = path_of(asked).map(|path| root.join(path));
    if !asked.ends_with(b"/") && found.as_ref().is_some_and(|found| found.is_dir()) {
        let moved = format!("301 Moved Permanently\r\nLocation: {}/", String::from_utf8_lossy(asked));
        return say(stream, &moved, "", body);
    }
    let found = found.map(|found| if found.is_dir() { found.join("index.html") } else { found });
    let Some(found) = found.filter(|found| found.is_file()) else {
        return say(stream, "404 Not Found", "There is no such page.\n", body);
    };
    let mut file = File::open(&found)?;
    head(stream, "200 OK", kind(&found), file.metadata()?.len())?;
    let mut to = stream;
    if body { io::copy(&mut file, &mut to).map(drop) } else { Ok(()) }
}

fn say(mut to: &TcpStream, status: &str, text: &str, body: bool) -> io::Result<()> {
    head(to, status, "text/plain", text.len() as u64)?;
    if body { to.write_all(text.as_bytes()) } else { Ok(()) }
}

fn head(mut to: &TcpStream, status: &str, kind: &str, length: u64) -> io::Result<()> {
    // Nothing is kept by the browser: what is shown is what there is.
    write!(
        to,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n"
    )
}

/// Returns the file that a request's path names, below the root.
fn path_of(asked: &[u8]) -> Option<PathBuf> {
    let mut raw = Vec::new();
    let mut rest = asked.strip_prefix(b"/")?;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            raw.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
        raw.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    let path = PathBuf::from(OsString::from_vec(raw));
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

fn kind(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" | "md" | "csv" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_browser_gets_the_files_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a b")).unwrap();
        for (name, content) in [("index.html", "<p>home"), ("a b/index.html", "<p>sub"), ("s.css", "p{}")] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (at, root) = (listener.local_addr().unwrap(), dir.path().to_owned());
        std::thread::spawn(move || serve(&listener, &root));
        for (request, status, kind, body) in [
            ("GET / HTTP/1.1", "200 OK", "text/html; charset=utf-8", "<p>home"),
            ("GET /?q=1 HTTP/1.1", "200 OK", "text/html; charset=utf-8", "<p>home"),
            ("GET /s.css HTTP/1.1", "200 OK", "text/css; charset=utf-8", "p{}"),
            ("HEAD /s.css HTTP/1.1", "200 OK", "text/css; charset=utf-8", ""),
            ("GET /a%20b/ HTTP/1.1", "200 OK", "text/html; charset=utf-8", "<p>sub"),
            ("GET /a%20b HTTP/1.1", "301 Moved Permanently", "text/plain", ""),
            ("GET /none HTTP/1.1", "404 Not Found", "text/plain", "There is no such page.\n"),
            ("GET /../../etc/passwd HTTP/1.1", "404 Not Found", "text/plain", "There is no such page.\n"),
            ("GET /%2e%2e/x HTTP/1.1", "404 Not Found", "text/plain", "There is no such page.\n"),
            ("POST / HTTP/1.1", "405 Method Not Allowed", "text/plain", "Only GET and HEAD.\n"),
            ("rubbish", "405 Method Not Allowed", "text/plain", "Only GET and HEAD.\n"),
        ] {
            let mut stream = TcpStream::connect(at).unwrap();
            write!(stream, "{request}\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, got) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
            assert!(head.contains(&format!("\r\nContent-Type: {kind}\r\n")), "{request}: {head}");
            assert_eq!(got, body, "{request}");
        }
    }
}
