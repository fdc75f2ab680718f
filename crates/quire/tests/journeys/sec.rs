//! Who is not let in, and what cannot be done through the page: its must-haves, one row each, `sec_NN`. `./test --page` prints
//! them as a table; row 12 is of what is not there yet.

use crate::browser::{Browser, Events, Page, form, opened};
use crate::model::{Model, Wire, call, say, shell};
use crate::page::{ready, until};
use crate::stage::Stage;
use crate::texts::{hostile, tags, unquoted};
use crate::tree::{Tree, walk};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Every address that does something.
const DOES: [&str; 21] = [
    "/settings/test",
    "/settings/check",
    "/settings/keep",
    "/settings/key",
    "/tasks",
    "/tasks/1/accept",
    "/tasks/1/undo",
    "/tasks/1/revise",
    "/tasks/1/discard",
    "/tasks/1/stop",
    "/tasks/1/resume",
    "/tasks/1/answer",
    "/tasks/1/reply",
    "/tasks/1/serve",
    "/tasks/1/fit",
    "/tasks/1/note",
    "/tasks/1/unnote",
    "/tasks/1/suggest",
    "/tasks/1/mix",
    "/tasks/1/discard-attempts",
    "/tasks/1/edit",
];

/// Every address of the page that only reads.
const READS: [&str; 18] = [
    "/",
    "/rows",
    "/news",
    "/enter",
    "/style.css",
    "/quire.js",
    "/icon.svg",
    "/tasks/1",
    "/tasks/1/files/0",
    "/tasks/1/plan",
    "/tasks/1/find",
    "/tasks/1/note",
    "/tasks/1/kept-from",
    "/tasks/1/edit",
    "/tasks/1/edit?file=a.txt",
    "/tasks/1/report",
    "/tasks/1/compare",
    "/settings",
];

#[test]
fn sec_01_it_listens_on_loopback_alone() {
    let (stage, _model) = ready();
    let browser = Browser::open(&stage);
    let port = format!(":{:04X}", browser.port);
    let mut seen = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A: it listens.
            if fields[3] == "0A" && fields[1].ends_with(&port) {
                let address = fields[1].trim_end_matches(&port);
                assert!(["0100007F", "00000000000000000000000001000000"].contains(&address), "{line}");
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn sec_02_another_host_is_refused_everywhere() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let port = browser.port;
    let all = READS.iter().map(|path| ("GET", *path)).chain(DOES.iter().map(|path| ("POST", *path)));
    for (method, path) in all.chain([("GET", "/nowhere"), ("OPTIONS", "/"), ("GET", "/tasks/1/events")]) {
        for host in [
            format!("evil.test:{port}"),
            "127.0.0.1".to_owned(),
            format!("127.0.0.1:{}", port ^ 1),
            format!("localhost.:{port}"),
        ] {
            let page = browser.send(method, path, &[("host", &host)], "");
            assert_eq!(page.status, 421, "{method} {path} {host}");
            the_policy_is_on(&page);
        }
    }
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        assert_eq!(
            browser.send("GET", "/", &[("host", &format!("{host}:{port}"))], "").status,
            200,
            "{host}"
        );
    }
}

#[test]
fn sec_03_a_browser_gets_in_by_a_token_once() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let (port, token) = opened(&stage);
    let stranger = Browser { port, cookie: None, key: String::new() };
    let public = ["/enter", "/style.css", "/quire.js", "/icon.svg"];
    for path in READS.iter().chain(&["/tasks/1/events", "/nowhere"]).filter(|path| !public.contains(path)) {
        let page = stranger.get(path);
        assert_eq!(page.status, 401, "{path}");
        the_policy_is_on(&page);
    }
    for path in DOES {
        assert_eq!(stranger.post(path, &[]).status, 401, "{path}");
    }
    assert_eq!(stranger.get("/enter").status, 200);
    assert_eq!(stranger.send("POST", "/enter", &[], "t=00").status, 401);
    let entered = stranger.send("POST", "/enter", &[], &form(&[("t", &token)]));
    assert_eq!((entered.status, entered.header("location").as_deref()), (303, Some("/")));
    assert_eq!(stranger.send("POST", "/enter", &[], &form(&[("t", &token)])).status, 401, "a second time");
    let log = fs::read_to_string(stage.data().join("host.log")).unwrap_or_default();
    assert!(!log.contains(&token) && !entered.head.contains(&token));
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(stage.data().join("page.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn sec_04_the_cookie_is_closed() {
    let (stage, _model) = ready();
    let (port, token) = opened(&stage);
    let stranger = Browser { port, cookie: None, key: String::new() };
    let cookie = stranger.send("POST", "/enter", &[], &form(&[("t", &token)])).header("set-cookie").unwrap();
    assert!(
        cookie.starts_with(&format!("quire-{port}="))
            && cookie.ends_with("; httponly; samesite=strict; path=/"),
        "{cookie}"
    );
}

#[test]
fn sec_05_a_form_is_the_pages_own() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let before = stage.log(1).len();
    let other = Browser::open(&stage);
    let own = format!("http://127.0.0.1:{}", browser.port);
    for path in DOES {
        // One browser may not ask as often as this.
        let browser = Browser::open(&stage);
        let key = form(&[("key", &browser.key)]);
        for origin in [
            "",
            "null",
            "http://evil.test",
            "https://127.0.0.1",
            &own.replace("127.0.0.1", "localhost"),
            &own[..own.len() - 1],
        ] {
            assert_eq!(
                browser.send("POST", path, &[("origin", origin)], &key).status,
                403,
                "{path} {origin}"
            );
        }
        for key in ["", "key=", "key=00", &form(&[("key", &other.key)])] {
            assert_eq!(browser.send("POST", path, &[], key).status, 403, "{path} {key}");
        }
    }
    assert_eq!(stage.log(1).len(), before);
    // The same with the key in a header is the script's way.
    let stopped = browser.send("POST", "/tasks/1/discard", &[("x-quire", &browser.key)], "");
    assert_eq!(stopped.status, 303, "{}", stopped.body);
}

#[test]
fn sec_06_no_other_site_asks() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    for (from, status) in
        [("same-origin", 200), ("none", 200), ("", 200), ("same-site", 403), ("cross-site", 403), ("x", 403)]
    {
        for path in ["/", "/rows", "/style.css", "/tasks/1"] {
            let page = browser.send("GET", path, &[("sec-fetch-site", from)], "");
            assert_eq!(page.status, status, "{path} {from}");
            the_policy_is_on(&page);
        }
    }
    assert_eq!(browser.send("GET", "/enter", &[("sec-fetch-site", "cross-site")], "").status, 200);
}

#[test]
fn sec_07_reading_changes_nothing_and_no_other_origin_may_read() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let (before, log) = (Tree::of(&stage.folder), stage.log(1).len());
    for path in READS.iter().chain(&DOES).filter(|path| **path != "/news") {
        for method in ["GET", "HEAD"] {
            browser.send(method, path, &[], "");
        }
        let options = browser.send(
            "OPTIONS",
            path,
            &[("origin", "http://evil.test"), ("access-control-request-method", "POST")],
            "",
        );
        assert!(!options.head.contains("access-control"), "{path}: {}", options.head);
    }
    assert!(Tree::of(&stage.folder) == before && stage.log(1).len() == log);
}

/// What every answer has to say.
#[track_caller]
fn the_policy_is_on(page: &Page) {
    let policy = page.header("content-security-policy").unwrap_or_else(|| panic!("{page:?}"));
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    // Frames and images come also from previews, whose names nobody knows before.
    let previews = policy.split(' ').filter(|part| part.starts_with("http://*.localhost:")).count();
    assert!(
        !policy.contains("unsafe") && policy.matches('*').count() == previews && previews == 2,
        "{policy}"
    );
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(page.header(name).as_deref(), Some(value));
    }
    assert!(page.header("permissions-policy").is_some());
}

#[test]
fn sec_08_the_policy_is_on_every_answer() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    for path in READS.iter().filter(|path| **path != "/news").chain(&[
        "/nowhere",
        "/tasks/9",
        "/tasks/x",
        "/tasks/1/accept",
    ]) {
        let page = browser.get(path);
        the_policy_is_on(&page);
        // Nothing that the policy would have to forbid is there.
        let body = page.body.to_lowercase();
        let inline = [" style=", "<style", " onclick", " onload", "javascript:", "<script>"];
        let found: Vec<_> = inline
            .iter()
            .filter(|part| !path.ends_with(".js") && !path.ends_with(".svg") && body.contains(**part))
            // A file to keep has its style in it; it is not shown here.
            .filter(|part| !(path.ends_with("/report") && **part == "<style"))
            .collect();
        assert!(found.is_empty(), "{path}: {found:?}");
    }
    for path in DOES {
        the_policy_is_on(&browser.post(path, &[]));
    }
}

#[test]
fn sec_09_a_preview_is_another_origin_that_has_nothing_but_its_version() {
    let stage = Stage::set();
    let page = "<!doctype html><title>x</title><h1>Hello</h1>";
    let model = Model::saying(vec![
        call("write", json!({"path": "sub/index.html", "content": page})),
        say("Made."),
        shell("echo two > sub/index.html"),
        say("Again."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("kept.txt", "kept\n");
    fs::write(stage.base().join("home/outside.txt"), "outside\n").unwrap();
    std::os::unix::fs::symlink("../outside.txt", stage.folder.join("link.txt")).unwrap();
    stage.quire(&["make a page"]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1");
    let shown =
        review.body.split(" src=\"http://").nth(1).and_then(|rest| rest.split('"').next()).expect("a frame");
    let (host, path) = shown.split_once('/').unwrap();
    assert_eq!(path, "sub/index.html");
    let (name, port) = host.split_once(".localhost:").unwrap();
    // What it shows, and a proof of 128 bits that this name was given out.
    let (shows, proof) = name.rsplit_once('-').unwrap();
    assert!(shows == "t-1-f1" && proof.len() == 32 && proof.bytes().all(|c| c.is_ascii_hexdigit()), "{name}");
    let port: u16 = port.parse().unwrap();
    assert_ne!(port, browser.port);
    let preview = Browser { port, cookie: None, key: String::new() };
    let get = |host: &str, path: &str| {
        preview.send("GET", path, &[("host", host), ("sec-fetch-site", "cross-site")], "")
    };
    let whole = get(host, "/sub/");
    assert_eq!((whole.status, whole.body.as_str()), (200, page));
    let policy = whole.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("sandbox allow-scripts allow-forms; default-src 'self'")
            && !policy.contains("allow-same-origin"),
        "{policy}"
    );
    assert!(!whole.head.contains("set-cookie"));
    // What the version did not change is there as it was copied; what lies outside is not.
    assert_eq!(get(host, "/kept.txt").body, "kept\n");
    for path in [
        "/link.txt",
        "/..%2foutside.txt",
        "/%2e%2e/outside.txt",
        "//etc/passwd",
        "/sub/index.html/x",
        "/sub",
        "/nothing",
        "/tasks/1",
        "/rows",
    ] {
        assert_eq!(get(host, path).status, 404, "{path}");
    }
    let end = if proof.ends_with('0') { "1" } else { "0" };
    for other in
        [format!("{shows}-{}{end}", &proof[..31]), format!("t-2-f1-{proof}"), format!("t-1-f2-{proof}")]
    {
        assert_eq!(get(&format!("{other}.localhost:{port}"), "/kept.txt").status, 404, "{other}");
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "evil.test".to_owned()] {
        assert_eq!(get(&host, "/kept.txt").status, 421, "{host}");
    }
    assert_eq!(preview.send("POST", "/sub/", &[("host", host)], "").status, 405);
    // And it asks the page for nothing: neither by its name nor as what it is.
    assert_eq!(
        browser.send("GET", "/", &[("host", &format!("{name}.localhost:{}", browser.port))], "").status,
        421
    );
    assert_eq!(
        browser
            .send(
                "POST",
                "/tasks/1/accept",
                &[("origin", &format!("http://{host}"))],
                &form(&[("key", &browser.key)])
            )
            .status,
        403
    );
    // Each version has an address of its own.
    stage.quire(&["revise", "1", "again"]).exits(0);
    let again = browser.get("/tasks/1");
    assert!(!again.body.contains(&format!(" src=\"http://{host}")), "{}", again.body);
    assert_eq!(get(host, "/sub/").body, page);
}

#[test]
fn sec_13_whatever_a_text_says_it_is_text() {
    let texts = hostile();
    assert_eq!(texts.len(), 200);
    let stage = Stage::set();
    let content: String = texts.iter().map(|text| format!("{}\n", text.replace('\0', "\u{1}"))).collect();
    let name = "<img src=x onerror=alert(1)>\"'&.txt";
    let model = Model::saying(vec![
        call("write", json!({"path": name, "content": content})),
        say(&texts.join("\n\n")),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    let words = format!("{} {}", texts[0], texts[2]);
    stage.quire(&["run", &words, "--check", "echo '<b>bold</b>'; exit 1"]);
    let browser = Browser::open(&stage);
    // The way to the file of that name, which is edited as it is.
    let choice = browser.get("/tasks/1/edit").body;
    let edit = &choice[choice.find("/tasks/1/edit?").expect("a way to edit it")..];
    let edit = edit[..edit.find('"').expect("its end")].replace("&amp;", "&");
    for path in [
        "/",
        "/rows",
        "/tasks/1",
        "/tasks/1/files/0",
        "/tasks/1/files/0?from=0",
        "/?q=%22%3E%3Cscript%3E",
        "/tasks/1/edit",
        &edit,
    ] {
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{path}");
        // What its check says is sent back by one button.
        assert_eq!(path == "/tasks/1", page.body.contains("Send it back"), "{path}");
        let tags = tags(&page.body);
        let own = ["script src=\"/quire.js\" defer", "meta charset=\"utf-8\""];
        for tag in &tags {
            let name = tag.split([' ', '/', '>']).next().unwrap_or_default().to_lowercase();
            let forbidden = ["img", "iframe", "base", "style", "object", "embed"].contains(&name.as_str())
                || (name == "script" && tag != own[0])
                || tag.contains("http-equiv")
                || unquoted(tag).to_lowercase().contains(" on")
                || ["action", "href", "src"].iter().any(|name| tag.contains(&format!(" {name}=\"//")));
            assert!(!forbidden, "{path}: <{tag}>");
        }
        let hides = page.body.contains('\u{202e}') || page.body.contains('\x1b');
        assert_eq!(hides, path == edit, "{path}");
        assert_eq!(hides, page.body.contains("not seen, or taken for others"), "{path}");
    }
    // The file to keep has a policy and a style of its own, and nothing else that could do anything wherever it is opened.
    let kept = browser.get("/tasks/1/report");
    assert_eq!(kept.status, 200, "{}", kept.body);
    the_policy_is_on(&kept);
    let disposition = kept.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename=\"script-alert-1-script"), "{disposition}");
    let own = [
        "meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"",
        "style",
    ];
    let tags = tags(&kept.body);
    for (count, own) in own.iter().map(|own| (tags.iter().filter(|tag| tag == own).count(), own)) {
        assert_eq!(count, 1, "{own}");
    }
    for tag in tags.iter().filter(|tag| !own.contains(&tag.as_str())) {
        let name = tag.split([' ', '/', '>']).next().unwrap_or_default().to_lowercase();
        let forbidden = [
            "script", "img", "iframe", "base", "style", "object", "embed", "form", "input", "link", "svg",
            "button",
        ];
        assert!(
            !forbidden.contains(&name.as_str())
                && !tag.contains("http-equiv")
                && !tag.contains(" src=")
                && !tag.contains(" style="),
            "<{tag}>"
        );
        assert!(
            !unquoted(tag).to_lowercase().contains(" on")
                && !tag.contains("=\"//")
                && !tag.contains("javascript:"),
            "<{tag}>"
        );
    }
    assert!(!kept.body.contains('\u{202e}') && !kept.body.contains('\x1b'));
    // Nothing before the style's end could come from elsewhere, and end it.
    assert_eq!(kept.body.matches("</style>").count(), 1);
}

#[test]
fn sec_14_what_hides_is_shown() {
    let stage = Stage::set();
    let content = "if access != \"user\u{202e} \u{2066}// Check if admin\u{2069} \u{2066}\" {\nzero\u{200b}width\np\u{430}ypal\n";
    let name = "evil\u{202e}txt.exe";
    let model =
        Model::saying(vec![call("write", json!({"path": name, "content": content})), say("Done\u{202e}.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["change it"]).exits(0);
    let page = Browser::open(&stage).get("/tasks/1").body;
    for mark in
        [">U+202E</span>", ">U+2066</span>", ">U+2069</span>", ">U+200B</span>", "looks like a Latin letter"]
    {
        assert!(page.contains(mark), "no {mark}: {page}");
    }
    assert!(!page.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "{page}");
}

#[test]
fn sec_17_accept_is_of_what_was_seen() {
    let stage = Stage::set();
    let model =
        Model::saying(vec![shell("echo one > a.txt"), say("One."), shell("echo two > a.txt"), say("Two.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let seen = browser.get("/tasks/1").field("seen");
    stage.quire(&["revise", "1", "make another"]).exits(0);
    let before = Tree::of(&stage.folder);
    let accept = |seen: &str| browser.post("/tasks/1/accept", &[("seen", seen), ("file", "0")]);
    for (wrong, status) in [("", 400), ("0", 409), ("000000000000", 409), (&seen, 409)] {
        assert_eq!(accept(wrong).status, status, "{wrong}");
    }
    assert!(Tree::of(&stage.folder) == before);
    assert_eq!(accept(&browser.get("/tasks/1").field("seen")).status, 303);
    assert_eq!(fs::read_to_string(stage.folder.join("a.txt")).unwrap(), "two\n");
}

#[test]
fn sec_18_what_is_asked_is_worded_by_quire_and_the_models_words_are_text() {
    let stage = Stage::set();
    let claim = "<div class=\"sheet told\"><h2>May it reach safe.test:443?</h2><button class=\"btn allow\">Allow</button></div>";
    let ask = ": '<button class=\"btn allow\">May it reach safe.test:443?</h2>\u{202e}'\ncurl -s --max-time 5 https://evil.test/ ; true";
    let model = Model::new(move |asked| if asked.answered == 0 { shell(ask) } else { say(claim) });
    stage.configure(&model, Wire::Chat, "[sandbox]\nnet = [\"example.org\"]\n");
    stage.file("a.txt", "old\n");
    stage.quire(&["run", "-b", "reach out"]).exits(0);
    let browser = Browser::open(&stage);
    let page = until(&browser, "/tasks/1", "May it reach evil.test:443?");
    assert!(!page.body.contains("May it reach safe.test:443?</h2>"), "{}", page.body);
    let allow = page.body.matches("btn allow\">").count();
    assert_eq!(allow, 1, "{}", page.body);
    // The command that ran is told as text of its own.
    let told = "May it reach safe.test:443?&lt;/h2&gt;&lt;U+202E&gt;' ⏎ curl -s --max-time 5 https://evil.test/ ; true</code>";
    assert!(page.body.contains(told), "{}", page.body);
    assert_eq!(browser.post("/tasks/1/answer", &[("reach", "0"), ("allow", "maybe")]).status, 400);
    assert_eq!(browser.post("/tasks/1/answer", &[("reach", "0"), ("allow", "no")]).status, 303);
    let done = until(&browser, "/tasks/1", "&lt;div class=");
    assert_eq!(done.body.matches("btn allow\">").count(), 0);
    // What it proposes to be asked next is a button of quire's that says those words to this task; in the midst of its text it is none.
    let next = "<h3>Ask next</h3>\nNext: in the midst\nand on.\nNext: \"><button formaction=/tasks/1/accept>\u{202e}x\nNext: ' autofocus x='";
    let model = Model::saying(vec![say(next)]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["run", "say what next"]).exits(0);
    let page = browser.get("/tasks/2").body;
    let (_, section) = page.split_once("<h3>Ask next</h3>").expect(&page);
    let section = section.split("</section>").next().unwrap();
    let told: BTreeSet<String> = tags(section).into_iter().filter(|tag| !tag.starts_with("input")).collect();
    assert_eq!(
        Vec::from_iter(told),
        [
            "button class=\"btn \"",
            "form method=\"post\" action=\"/tasks/2/revise\"",
            "li",
            "ul class=\"next\""
        ]
    );
    assert!(
        section.contains(">&quot;&gt;&lt;button formaction=/tasks/1/accept&gt;&lt;U+202E&gt;x</button>"),
        "{section}"
    );
    assert!(!section.contains('\u{202e}') && page.contains("Next: in the midst"), "{page}");
    assert_eq!(page.matches("<h3>Ask next</h3>").count(), 1, "{page}");
}

#[test]
fn sec_20_what_is_too_much_is_refused() {
    let (stage, _model) = ready();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    // A body over the limit, and one that never comes.
    let long = "x".repeat((1 << 20) + 1);
    assert_eq!(browser.send("POST", "/tasks", &[], &long).status, 413);
    // Files of 25 MiB are not too much where they are taken, and nowhere else.
    let files = ("content-type", "multipart/form-data; boundary=b");
    for (path, mib, status) in [
        ("/tasks", 24, 400),
        ("/tasks", 26, 413),
        ("/tasks/1/revise", 24, 400),
        ("/tasks/1/revise", 26, 413),
        ("/tasks/1/edit", 24, 400),
        ("/tasks/1/edit", 26, 413),
        ("/tasks/x/revise", 2, 413),
        ("/tasks/x/edit", 2, 413),
        ("/tasks/1/note", 2, 413),
    ] {
        assert_eq!(
            browser.send("POST", path, &[files], &"x".repeat(mib << 20)).status,
            status,
            "{path} {mib}"
        );
    }
    let begun = Instant::now();
    let slow = browser.send("POST", "/tasks", &[("content-length", "100")], "key=");
    assert_eq!(slow.status, 408);
    assert!(begun.elapsed() < Duration::from_secs(30));
    // Streams of one browser.
    let streams: Vec<Events> = (0..16).map(|_| browser.events("/news", &[])).collect();
    assert_eq!(browser.get("/news").status, 429);
    drop(streams);
    // A burst.
    let flood = (0..300).map(|_| browser.get("/icon.svg").status).find(|status| *status != 200);
    assert_eq!(flood, Some(429));
    let other = Browser { cookie: None, ..browser };
    assert_eq!(other.get("/icon.svg").status, 200, "nobody else is held up");
}

#[test]
fn sec_11_a_server_of_a_tasks_is_reached_through_its_preview_alone() {
    let stage = Stage::set();
    let server = r#"import http.server
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("host " + self.headers["Host"] + " hop " + str(self.headers["Upgrade"])).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "a=b; Domain=127.0.0.1; Path=/")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("0.0.0.0", 8123), Answers).serve_forever()
"#;
    let serve = json!({"command": "python3 server.py", "port": 8123, "path": "/hello"});
    let model = Model::saying(vec![
        call("write", json!({"path": "server.py", "content": server})),
        shell(
            "(python3 server.py & sleep 1; curl -s http://127.0.0.1:8123/ | grep -q host) && echo it answers",
        ),
        call("serve", serve),
        say("It answers."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    stage.quire(&["make a server"]).exits(0);
    let listens = || {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        tables.iter().flat_map(|table| table.lines()).any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 1FBB: its port. 0A: it listens.
            fields[3] == "0A" && fields[1].ends_with(":1FBB")
        })
    };
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1");
    assert!(review.body.contains("Run it here"), "{}", review.body);
    assert_eq!(browser.post("/tasks/1/serve", &[]).status, 303);
    let shown = until(&browser, "/tasks/1", "name=\"served\"").body;
    assert!(!listens(), "it can be reached from the machine");
    let source =
        shown.split("name=\"served\"").nth(1).and_then(|rest| rest.split("src=\"http://").nth(1)).unwrap();
    let (host, path) = source.split('"').next().unwrap().split_once('/').unwrap();
    assert_eq!(path, "hello");
    let port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
    let preview = Browser { port, cookie: None, key: String::new() };
    let answer = preview.send("GET", "/hello", &[("host", host), ("upgrade", "websocket")], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "host localhost:8123 hop None"));
    assert_eq!(answer.header("set-cookie").as_deref(), Some("a=b; path=/"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("sandbox allow-scripts allow-forms") && !policy.contains("'none'"),
        "{policy}"
    );
    let unknown = format!("t-{}.localhost:{port}", "0".repeat(32));
    assert_eq!(preview.send("GET", "/hello", &[("host", &unknown)], "").status, 404);
}

/// A PNG's head: enough to say how large it is, and no more.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    head.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
    head
}

#[test]
fn sec_15_images_come_from_the_preview_alone_and_none_is_vast() {
    let stage = Stage::set();
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"><script>alert(1)</script></svg>";
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let draw = format!(
        "printf '{}' > vast.png; printf '{}' > small.png; cat > drawn.svg <<'E'\n{svg}\nE\n",
        hex(png(50_000, 10)),
        hex(png(10, 10))
    );
    let model = Model::saying(vec![shell(&draw), say("Drawn.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    // A square of one colour, which is handed over.
    let handed = stage.base().join("square.png");
    fs::write(&handed, png(20_000, 20_000)).unwrap();
    stage.own(stage.base());
    stage.quire(&["run", "draw", "--check", "none", "-i", handed.to_str().unwrap()]).exits(0);
    let browser = Browser::open(&stage);
    let review = browser.get("/tasks/1").body;
    let sources: Vec<&str> = review
        .split("<img ")
        .skip(1)
        .filter_map(|tag| tag.split("src=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(sources.len(), 4, "{review}");
    assert!(!review.contains("<script>") && !review.contains("onload=\"alert"), "{review}");
    // What was handed over is named by its hash.
    let is_vast = |path: &str| path == "vast.png" || path.len() == 64;
    for source in sources {
        let (host, path) = source.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
        let port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
        assert_ne!(port, browser.port, "{source}");
        let preview = Browser { port, cookie: None, key: String::new() };
        let shown = preview.send("GET", &format!("/{path}"), &[("host", host)], "");
        assert_eq!(shown.status, if is_vast(path) { 413 } else { 200 }, "{path}");
        let policy = shown.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox allow-scripts"), "{path}: {policy}");
    }
}

#[test]
fn sec_16_what_can_run_things_is_written_after_a_yes_of_its_own() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("mkdir -p .vscode; echo '{\"tasks\": []}' > .vscode/tasks.json; echo new > a.txt"),
        say("Done."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let before = Tree::of(&stage.folder);
    let review = browser.get("/tasks/1");
    let boxes = review.body.matches("name=\"file\"").count();
    let numbers: Vec<String> = (0..boxes).map(|number| number.to_string()).collect();
    let seen = review.field("seen");
    let mut form = vec![("seen", seen.as_str())];
    form.extend(numbers.iter().map(|number| ("file", number.as_str())));
    let refused = browser.post("/tasks/1/accept", &form);
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.body.contains("tasks.json") && refused.body.contains("Accept these files too"),
        "{}",
        refused.body
    );
    assert!(Tree::of(&stage.folder) == before);
    // Without them nothing is asked; and the folder that was swapped for a link is not followed.
    fs::rename(&stage.folder, stage.base().join("home/away")).unwrap();
    std::os::unix::fs::symlink("/etc", &stage.folder).unwrap();
    form.push(("programs", "yes"));
    let swapped = browser.post("/tasks/1/accept", &form);
    assert_ne!(swapped.status, 303, "{}", swapped.body);
    assert!(!std::path::Path::new("/etc/.vscode").exists() && !std::path::Path::new("/etc/a.txt").exists());
    fs::remove_file(&stage.folder).unwrap();
    fs::rename(stage.base().join("home/away"), &stage.folder).unwrap();
    assert!(Tree::of(&stage.folder) == before);
    assert_eq!(browser.post("/tasks/1/accept", &form).status, 303);
    assert!(stage.folder.join(".vscode/tasks.json").exists());
}

#[test]
fn sec_16_a_folder_that_is_swapped_for_a_link_all_the_time_is_never_left_by_a_write() {
    let (stage, _model) = ready();
    let elsewhere = stage.base().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    // As the folder is, so that a path alone would find there what it looks for.
    fs::copy(stage.folder.join("a.txt"), elsewhere.join("a.txt")).unwrap();
    stage.quire(&["change it"]).exits(0);
    let browser = Browser::open(&stage);
    let (theirs, before) = (Tree::of(&elsewhere), Tree::of(&stage.folder));
    let link = stage.base().join("link");
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    let stop = AtomicBool::new(false);
    let (swaps, written, refused) = thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let exchange = || {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                renameat_with(CWD, &link, CWD, &stage.folder, RenameFlags::EXCHANGE).unwrap();
            };
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                // An accept meets either, and a change of it in its midst.
                exchange();
                thread::sleep(Duration::from_millis(swaps % 7));
                exchange();
                thread::sleep(Duration::from_millis(10 + swaps % 5));
                swaps += 1;
            }
            swaps
        });
        let seen = browser.get("/tasks/1").field("seen");
        let (mut written, mut refused) = (0, 0);
        for _ in 0..40 {
            let accept = browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "0"), ("file", "1")]);
            let is_written = accept.status == 303;
            written += usize::from(is_written);
            refused += usize::from(!is_written);
            // It may be refused as well, until the folder stands there again.
            for _ in 0..200 {
                if !is_written || browser.post("/tasks/1/undo", &[]).status == 303 {
                    break;
                }
            }
            assert!(Tree::of(&elsewhere) == theirs, "something was written elsewhere");
        }
        stop.store(true, Ordering::Relaxed);
        (swapper.join().unwrap(), written, refused)
    });
    println!("{swaps} swaps: {written} written, {refused} refused");
    assert!(swaps > 0 && written > 0);
    assert!(Tree::of(&elsewhere) == theirs && Tree::of(&stage.folder) == before);
}

#[test]
fn sec_19_a_key_is_in_its_file_and_in_no_page_and_no_sandbox() {
    const KEY: &str = "sk-planted-0123456789abcdefghijkl";
    const MARK: &str = "mark-that-can-be-found";
    let stage = Stage::set();
    let look = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat ~/.config/quire/keys.toml; true";
    let again = format!("(env; cat /proc/*/environ; echo {MARK}) > seen.txt 2>&1; true");
    let model = Model::saying(vec![
        shell(&format!("{look}; env > seen.txt")),
        say("Looked."),
        shell(&again),
        say("Looked again."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.file("a.txt", "old\n");
    let browser = Browser::open(&stage);
    let kept = browser.post("/settings/key", &[("provider", "lab"), ("secret", KEY)]);
    assert_eq!(kept.status, 303, "{}", kept.body);
    let keys = stage.base().join("config/quire/keys.toml");
    assert!(fs::read_to_string(&keys).unwrap().contains(KEY));
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    browser.post("/tasks", &[("words", "look"), ("folder", stage.folder.to_str().unwrap())]);
    until(&browser, "/tasks/1", "Accept ");
    let part = &KEY[3..];
    for path in ["/", "/rows", "/settings", "/tasks/1", "/tasks/1/files/0", "/tasks/1/find?q=planted"] {
        let page = browser.get(path);
        assert!(page.status == 200 && !page.body.contains(part), "{path}: {}", page.body);
    }
    let log = fs::read_to_string(stage.data().join("host.log")).unwrap_or_default();
    assert!(!log.contains(part), "{log}");
    let told = model.asked().iter().any(|asked| asked.body.contains(part));
    assert!(!told, "the model was told the key");

    // A version further, written and taken back, a look for the key in every byte that was kept.
    browser.post("/tasks/1/note", &[("file", "seen.txt"), ("text", "Look again.")]);
    browser.post("/tasks/1/revise", &[("words", &format!("look for {MARK} too"))]);
    until(&browser, "/tasks/1", "Version 2");
    let seen = until(&browser, "/tasks/1", "id=\"accept-button\"").field("seen");
    assert_eq!(browser.post("/tasks/1/accept", &[("seen", &seen), ("file", "0")]).status, 303);
    assert_eq!(browser.post("/tasks/1/undo", &[]).status, 303);
    let (mut holding, mut marked, mut bytes) = (vec![], BTreeSet::new(), 0);
    for file in walk(stage.base()) {
        // A lock or a journal may be gone by now.
        let content = fs::read(&file).unwrap_or_default();
        bytes += content.len();
        let holds = |text: &str| content.windows(text.len()).any(|at| at == text.as_bytes());
        if holds(part) && file != keys {
            holding.push(file.display().to_string());
        }
        if let (true, Ok(kept)) = (holds(MARK), file.strip_prefix(stage.data())) {
            marked.insert(kept.components().next().unwrap().as_os_str().to_string_lossy().into_owned());
        }
    }
    assert!(holding.is_empty(), "{holding:?}");
    // What is there can be found so: the words in the database, a file in what is kept of files and in the private copy.
    println!("{bytes} bytes: {marked:?}");
    assert!(marked.len() > 2, "{marked:?}");
}
