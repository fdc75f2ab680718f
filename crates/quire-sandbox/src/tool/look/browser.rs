//! A page in a headless browser: Chromium, led over a pair of pipes by its DevTools protocol, so that nothing listens and one
//! start shows every width.
//!
//! Files are shown as a server would serve them, under a name that leads nowhere else, because a page that is opened from a
//! file may not do what it may when it is served.
//!
//! A page may never get quiet, so it is not waited for until it does: what it does until a moment after it has loaded counts, by
//! the times that the browser itself gives its messages, and what is the same but for numbers counts once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

/// Names that it goes by.
pub(crate) const PROGRAMS: &[&str] =
    &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Where the folder's files are, for a page.
const SITE: &str = "http://folder.localhost/";
/// Longest time that a page may take until it has loaded, and any answer of the browser's.
const LOAD_MAX: Duration = Duration::from_secs(15);
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long after it has loaded what a page does still counts. One that makes an error in the last part of that goes on.
const COUNTED: Duration = Duration::from_millis(500);
const AT_THE_END: Duration = Duration::from_millis(150);
/// More errors than these are not listened to.
const HEARD_MAX: usize = 1_000;
/// How long a page that has loaded may go on changing before it is looked at.
const SETTLE: &str = "Promise.race([new Promise(done => setTimeout(done, 3000)), document.fonts.ready.then(() => new Promise(done => \
                      requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 150)))))])";
/// The tallest picture, in pixels.
const HEIGHT_MAX: f64 = 3_000.0;
const WINDOW_HEIGHT: u32 = 800;
/// Errors that are told of one page.
const ERRORS_MAX: usize = 20;
/// The largest file that a page is given, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// What a page looks like.
pub(crate) struct Seen {
    pub title: String,
    /// What its console says of errors, and what it could not load.
    pub errors: Vec<String>,
    /// What is to be said of errors beside those.
    pub further: Vec<&'static str>,
    /// Hosts from which it would load something; nothing of that is there.
    pub elsewhere: Vec<String>,
    pub shots: Vec<Shot>,
    /// Pages when it is printed.
    pub pages: Option<u64>,
}

pub(crate) struct Shot {
    pub width: u32,
    pub png: Vec<u8>,
    /// The page is wider than the window by so many pixels.
    pub wider: u32,
    /// Its height in pixels, where that is more than is shown.
    pub cut: Option<u32>,
}

pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    /// The tab that is looked at, and what leads to it.
    tab: String,
    session: String,
    has_looked: bool,
    /// Its files, which go with it.
    _home: Home,
    /// Where a page's files come from.
    root: PathBuf,
    errors: Errors,
    elsewhere: BTreeSet<String>,
    /// When the page had loaded.
    loaded: Option<SystemTime>,
}

/// What went wrong in a page, in the order in which it is told.
#[derive(Default)]
struct Errors {
    /// By what it is without numbers, the words of the first of its kind and the time of each in milliseconds.
    all: BTreeMap<String, (String, Vec<f64>)>,
    heard: usize,
}

impl Errors {
    /// `key`: what it is, where its numbers do not count.
    fn add(&mut self, key: &str, told: String, at_ms: Option<f64>) {
        self.heard += 1;
        if self.heard <= HEARD_MAX {
            let kind = self.all.entry(key.to_owned()).or_insert_with(|| (told, vec![]));
            kind.1.push(at_ms.unwrap_or(0.0));
        }
    }

    /// Returns what is told of each, and of all.
    fn told(&self, until_ms: f64) -> (Vec<String>, Vec<&'static str>) {
        let mut further = vec![];
        let kinds = self.all.values().filter(|(_, times)| times.iter().any(|at| *at <= until_ms));
        let mut told: Vec<String> = kinds.map(|(words, _)| words.clone()).collect();
        if told.len() > ERRORS_MAX {
            told.truncate(ERRORS_MAX);
            further.push("and more errors");
        }
        let late = until_ms - AT_THE_END.as_millis() as f64;
        let again = |times: &[f64]| times.len() > 1 && times.iter().any(|at| (late..=until_ms).contains(at));
        if self.heard > HEARD_MAX || self.all.values().any(|(_, times)| again(times)) {
            further.push("it kept on making errors");
        }
        (told, further)
    }
}

struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Browser {
    /// Starts `program` for pages of the folder `root`.
    pub(crate) fn start(program: &Path, root: &Path) -> io::Result<Browser> {
        let home = Home(std::env::temp_dir().join(format!("look-{}", std::process::id())));
        fs::create_dir_all(&home.0)?;
        // Its protocol speaks on descriptors 3 and 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh"]).arg(program);
        command.arg(format!("--user-data-dir={}", home.0.display()));
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            // The wall around it is the sandbox that this runs in, where its own cannot be made.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--disable-domain-reliability",
            "--disable-client-side-phishing-detection",
            "--disable-features=OptimizationHints,OptimizationGuideModelDownloading,MediaRouter,Translate",
            // It calls home whatever it is told, and a person would be asked about that: this leads nowhere, and what is
            // on this machine goes past it.
            "--proxy-server=http://127.0.0.1:9",
            "--hide-scrollbars",
            "--mute-audio",
            "--no-zygote",
        ]);
        command.env("HOME", &home.0).env("XDG_CONFIG_HOME", &home.0).env("XDG_CACHE_HOME", &home.0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(to), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut message = vec![];
            while out.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
                message.pop();
                if let Ok(value) = serde_json::from_slice(&message)
                    && send.send(value).is_err()
                {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Browser {
            child,
            to,
            from,
            last: 0,
            tab: String::new(),
            session: String::new(),
            has_looked: false,
            _home: home,
            root: root.to_owned(),
            errors: Errors::default(),
            elsewhere: BTreeSet::new(),
            loaded: None,
        };
        browser.open_tab()?;
        Ok(browser)
    }

    /// Opens a tab in place of the one before, of which nothing is heard from then on.
    fn open_tab(&mut self) -> io::Result<()> {
        let before = std::mem::take(&mut self.tab);
        self.session = String::new();
        let target = self.ask("Target.createTarget", json!({"url": "about:blank"}))?;
        self.tab = target["targetId"].as_str().unwrap_or_default().to_owned();
        if !before.is_empty() {
            self.send("Target.closeTarget", json!({"targetId": before}))?;
        }
        let attached = self.ask("Target.attachToTarget", json!({"targetId": self.tab, "flatten": true}))?;
        self.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        for (method, input) in [
            ("Page.enable", json!({})),
            ("Runtime.enable", json!({})),
            ("Log.enable", json!({})),
            ("Fetch.enable", json!({"patterns": [{"urlPattern": format!("{SITE}*")}]})),
        ] {
            self.ask(method, input)?;
        }
        (self.errors, self.loaded) = (Errors::default(), None);
        self.elsewhere.clear();
        Ok(())
    }

    /// Returns the address of a file of the folder.
    pub(crate) fn address(path: &Path) -> String {
        let mut address = SITE.to_owned();
        for byte in path.to_string_lossy().bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    address.push(byte as char);
                }
                _ => address.push_str(&format!("%{byte:02X}")),
            }
        }
        address
    }

    /// Opens `address` and returns what it looks like at these widths; `prints`: and on how many pages.
    pub(crate) fn look(&mut self, address: &str, widths: &[u32], prints: bool) -> io::Result<Seen> {
        if self.has_looked {
            self.open_tab()?;
        }
        self.has_looked = true;
        self.window(widths.first().copied().unwrap_or(1280))?;
        let opened = self.ask("Page.navigate", json!({ "url": address }))?;
        if let Some(error) = opened["errorText"].as_str() {
            return Err(io::Error::other(format!("{address}: {error}")));
        }
        let until = Instant::now() + LOAD_MAX;
        while self.loaded.is_none() && self.errors.heard <= HEARD_MAX && self.hear_until(until)? {}
        let has_loaded = self.loaded.is_some();
        if !has_loaded {
            // A script that does not end would keep everything waiting.
            self.send("Runtime.terminateExecution", json!({}))?;
        }
        let counted =
            self.loaded.unwrap_or_else(SystemTime::now) + if has_loaded { COUNTED } else { Duration::ZERO };
        let rest = counted.duration_since(SystemTime::now()).unwrap_or_default();
        let until = Instant::now() + rest;
        while self.hear_until(until)? {}
        let mut shots = vec![];
        for (n, width) in widths.iter().enumerate() {
            if n > 0 {
                self.window(*width)?;
            }
            self.settle()?;
            shots.push(self.shot(*width)?);
        }
        // What it said in time has come when this is answered.
        let title = self.evaluate("document.title")?.as_str().unwrap_or_default().to_owned();
        let pages = match prints {
            true => {
                let printed =
                    self.ask("Page.printToPDF", json!({"preferCSSPageSize": true, "printBackground": true}))?;
                let pdf = STANDARD.decode(printed["data"].as_str().unwrap_or_default()).unwrap_or_default();
                pages_of(&pdf)
            }
            false => None,
        };
        let until_ms =
            counted.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0;
        let (mut errors, further) = self.errors.told(until_ms);
        if !has_loaded && self.errors.heard <= HEARD_MAX {
            errors.push(format!("it had not loaded after {} s", LOAD_MAX.as_secs()));
        }
        let elsewhere = self.elsewhere.iter().take(ERRORS_MAX).cloned().collect();
        Ok(Seen { title, errors, further, elsewhere, shots, pages })
    }

    fn window(&mut self, width: u32) -> io::Result<()> {
        let metrics =
            json!({"width": width, "height": WINDOW_HEIGHT, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", metrics).map(drop)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.evaluate(SETTLE).map(drop)
    }

    /// Returns what an expression comes to; nothing where the page went elsewhere meanwhile.
    fn evaluate(&mut self, expression: &str) -> io::Result<Value> {
        let input = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        match self.ask("Runtime.evaluate", input) {
            Ok(answer) => Ok(answer["result"]["value"].clone()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Value::Null),
            Err(error) => Err(error),
        }
    }

    /// Hears the next message. Returns false where none came before the time is over.
    fn hear_until(&mut self, until: Instant) -> io::Result<bool> {
        let left = until.saturating_duration_since(Instant::now());
        // However much is said: when the time is over it is over.
        if left.is_zero() {
            return Ok(false);
        }
        match self.from.recv_timeout(left) {
            Ok(message) => self.hear(&message).map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    fn shot(&mut self, width: u32) -> io::Result<Shot> {
        let size = self.ask("Page.getLayoutMetrics", json!({}))?["cssContentSize"].clone();
        let (wide, high) = (size["width"].as_f64().unwrap_or(0.0), size["height"].as_f64().unwrap_or(0.0));
        let clip = json!({
            "x": 0, "y": 0, "scale": 1,
            "width": wide.clamp(1.0, 2.0 * f64::from(width)), "height": high.clamp(1.0, HEIGHT_MAX),
        });
        let taken = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.ask("Page.captureScreenshot", taken)?;
        let png = STANDARD.decode(taken["data"].as_str().unwrap_or_default());
        Ok(Shot {
            width,
            png: png.map_err(|_| io::Error::other("the browser sent no picture"))?,
            wider: (wide - f64::from(width)).max(0.0) as u32,
            cut: (high > HEIGHT_MAX).then_some(high as u32),
        })
    }

    /// Sends a request and returns its answer; what comes meanwhile is heard.
    fn ask(&mut self, method: &str, input: Value) -> io::Result<Value> {
        let id = self.send(method, input)?;
        let until = Instant::now() + ANSWER_MAX;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = match self.from.recv_timeout(left) {
                Ok(message) if !left.is_zero() => message,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                _ => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not come to rest")),
            };
            if message["id"].as_u64() == Some(id) {
                return match message["error"]["message"].as_str() {
                    Some(error) => {
                        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{method}: {error}")))
                    }
                    None => Ok(message["result"].clone()),
                };
            }
            self.hear(&message)?;
        }
    }

    fn send(&mut self, method: &str, input: Value) -> io::Result<u64> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": input});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes)?;
        Ok(self.last)
    }

    fn hear(&mut self, message: &Value) -> io::Result<()> {
        let about = &message["params"];
        if message["sessionId"].as_str().unwrap_or_default() != self.session {
            return Ok(());
        }
        let heard = self.errors.heard;
        match message["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loaded = self.loaded.or_else(|| Some(SystemTime::now())),
            "Page.javascriptDialogOpening" => {
                self.send("Page.handleJavaScriptDialog", json!({"accept": false}))?;
            }
            "Runtime.exceptionThrown" => {
                let details = &about["exceptionDetails"];
                let text = details["exception"]["description"].as_str().or(details["text"].as_str());
                let place = place(details["url"].as_str(), details["lineNumber"].as_u64());
                let text = text.unwrap_or("an exception").lines().next().unwrap_or_default();
                let key = format!("{}{place}", without_numbers(text));
                self.errors.add(&key, format!("{text}{place}"), about["timestamp"].as_f64());
            }
            "Runtime.consoleAPICalled"
                if ["error", "assert"].contains(&about["type"].as_str().unwrap_or_default()) =>
            {
                let words = about["args"].as_array().into_iter().flatten();
                let words: Vec<String> = words.map(word).collect();
                let frame = &about["stackTrace"]["callFrames"][0];
                let place = place(frame["url"].as_str(), frame["lineNumber"].as_u64());
                let text = format!("console: {}", words.join(" "));
                let key = format!("{}{place}", without_numbers(&text));
                self.errors.add(&key, format!("{text}{place}"), about["timestamp"].as_f64());
            }
            "Log.entryAdded" if about["entry"]["level"] == "error" => {
                let entry = &about["entry"];
                let url = entry["url"].as_str().unwrap_or_default();
                let elsewhere = elsewhere(url);
                // A browser asks for it whether a page names it or not.
                if elsewhere.is_none() && !url.ends_with("/favicon.ico") {
                    let text = entry["text"].as_str().unwrap_or_default();
                    let told = format!("{text}{}", place(Some(url), entry["lineNumber"].as_u64()));
                    self.errors.add(&without_numbers(&told), told, entry["timestamp"].as_f64());
                }
                self.elsewhere.extend(elsewhere);
            }
            "Fetch.requestPaused" => {
                let url = about["request"]["url"].as_str().unwrap_or_default();
                let answer = match self.file(url) {
                    Some((kind, bytes)) => json!({
                        "requestId": about["requestId"], "responseCode": 200, "body": STANDARD.encode(bytes),
                        "responseHeaders": [{"name": "Content-Type", "value": kind}],
                    }),
                    None => json!({"requestId": about["requestId"], "responseCode": 404}),
                };
                self.send("Fetch.fulfillRequest", answer)?;
            }
            _ => {}
        }
        if (heard..self.errors.heard).contains(&HEARD_MAX) {
            for method in ["Runtime.terminateExecution", "Runtime.disable", "Log.disable"] {
                self.send(method, json!({}))?;
            }
        }
        Ok(())
    }

    /// Returns the file that a server of the folder would answer with, and its type.
    fn file(&self, url: &str) -> Option<(&'static str, Vec<u8>)> {
        let url = url::Url::parse(url).ok()?;
        let path: Vec<u8> = unescaped(url.path().trim_start_matches('/'));
        let path = String::from_utf8(path).ok()?;
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let at = self.root.join(&path);
        let at = if at.is_dir() { at.join("index.html") } else { at };
        let size = fs::metadata(&at).ok().filter(fs::Metadata::is_file)?.len();
        let bytes = (size <= FILE_MAX).then(|| fs::read(&at).ok())??;
        Some((kind_of(&at), bytes))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers end with the pipe that it reads from.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gone() -> io::Error {
    io::Error::other("the browser ended, perhaps for lack of memory")
}

/// Returns the host that an address leads to, where that is not this machine: what is not there now may be there for a person.
fn elsewhere(url: &str) -> Option<String> {
    let host = url::Url::parse(url).ok()?.host_str()?.to_owned();
    let is_here =
        host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]";
    (!is_here).then_some(host)
}

/// Returns ` (app.js, line 3)`.
fn place(url: Option<&str>, line: Option<u64>) -> String {
    let Some(url) = url.filter(|url| !url.is_empty()) else { return String::new() };
    let file = url.strip_prefix(SITE).unwrap_or(url);
    match line {
        Some(line) => format!(" ({file}, line {})", line + 1),
        None => format!(" ({file})"),
    }
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn word(argument: &Value) -> String {
    match (&argument["value"], argument["description"].as_str()) {
        (Value::String(text), _) => text.clone(),
        (Value::Null, Some(text)) => text.lines().next().unwrap_or_default().to_owned(),
        (value, _) => value.to_string(),
    }
}

fn unescaped(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (vec![], 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| path.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()));
        match hex.flatten() {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

fn kind_of(path: &Path) -> &'static str {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" | "mjs" => "text/javascript",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "xml" => "text/xml",
        "txt" | "md" | "csv" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// Returns how many pages a PDF of the browser's has: the count of its page tree's root.
fn pages_of(pdf: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(pdf);
    let counts = text.match_indices("/Count ").filter_map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    });
    counts.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_a_server_names_them() {
        assert_eq!(Browser::address(Path::new("a b/c%.html")), "http://folder.localhost/a%20b/c%25.html");
        assert_eq!(unescaped("a%20b/%zz%"), b"a b/%zz%");
        assert_eq!(pages_of(b"<< /Type /Pages /Count 2 >> << /Type /Pages\n/Count 12 >>"), Some(12));
        assert_eq!(pages_of(b"none"), None);
        assert_eq!(place(Some("http://folder.localhost/a.js"), Some(2)), " (a.js, line 3)");
        for (url, elsewhere) in [
            ("https://cdn.example.org/x.js", true),
            ("http://localhost:8000/x", false),
            ("http://folder.localhost/x", false),
        ] {
            assert_eq!(super::elsewhere(url).is_some(), elsewhere, "{url}");
        }
    }
}
