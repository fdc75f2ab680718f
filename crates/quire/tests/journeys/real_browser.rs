//! The page in Chromium: `browser/run.mjs` goes the way of a person, `browser/attempts.mjs` that of one who has several attempts, and each
//! screen is looked at in both themes and two widths. The pictures stay in `target/page`.

use crate::bare;
use crate::browser::opened;
use crate::look::PDF;
use crate::model::{Answer, Asked, Model, Wire, call, calls, say, shell};
use crate::stage::{Stage, can_make_users};
use crate::tree::Tree;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const HOMEPAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Fenwick Bakery</title>\n\
    <link rel=\"stylesheet\" href=\"style.css\">\n<h1>Bread, every morning</h1>\n<p>Slow rye, country loaves and buns, baked before six.</p>\n</html>\n";
/// A picture of one white pixel, in base64.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg==";
const SUMMARY: &str = "Your homepage greets visitors with what you bake and when. It is one page, `index.html`, with its style \
    beside it.\n\n- The opening time in your notes is now 6.\n- How it looks on your own phone I could not try.";

/// What the model answers, by what it was asked for.
fn script(asked: &Asked) -> Answer {
    if asked.words.iter().any(|words| words.contains("make it large")) {
        return match asked.answered {
            0 => shell(
                "seq 1 100000 | sed 's/.*/let v& = &;/' > big.rs; echo new > small.txt; sed -i 's/3.90/4.20/; s/1.10/1.25/' prices.csv; \
                 echo 'We bake at night, so that bread is warm at six.' >> about.md; mkdir archive; mv photo.txt archive/photo-2019.txt",
            ),
            _ => say("It is large now."),
        };
    }
    match asked.answered {
        0 => {
            let step = |step: &str, status: &str| json!({"step": step, "status": status});
            let steps = [
                step("Read the notes", "done"),
                step("Draw the page", "doing"),
                step("Look it over", "pending"),
            ];
            calls(&[("plan", json!({"steps": steps})), ("shell", json!({"command": "cat notes.txt"}))])
        }
        1 => calls(&[
            ("write", json!({"path": "index.html", "content": HOMEPAGE})),
            (
                "write",
                json!({"path": "style.css", "content": "body { font-family: Georgia, serif; margin: 2rem }\nh1 { font-size: 3rem }\n"}),
            ),
            ("shell", json!({"command": "sed -i 's/at 7/at 6/' notes.txt; rm -f old.html"})),
        ]),
        2 => call("shell", json!({"command": "test -s index.html"})),
        _ => say(SUMMARY),
    }
}

/// Returns where the tools lie, which `browser/install` puts there.
fn cache() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    let cache = std::env::var_os("QUIRE_TEST_CACHE").map_or(target, PathBuf::from).join("browser");
    let there = cache.join("stamp").exists();
    assert!(there, "Chromium and what steers it are missing: run crates/quire/tests/browser/install");
    cache
}

#[test]
fn sec_08_from_nothing_to_an_accepted_homepage_in_chromium() {
    let cache = cache();
    let stage = Stage::set();
    let model = Model::new(script);
    stage.configure(&model, Wire::Chat, "[checks]\npage = \"test -s index.html\"\n");
    stage.file("notes.txt", "Fenwick Bakery\nopens at 7\n");
    stage.file("old.html", "<p>old</p>\n");
    stage.file("prices.csv", "bread,price\nrye,3.90\nbun,0.60\nbaguette,1.10\n");
    stage.file("about.md", "# The bakery\n\nThree ovens, one street.\n\n");
    stage.file("photo.txt", "the shop window, 2019\n");
    model.hold_from(2);
    go("run.mjs", &stage, &cache, model);
}

/// Goes the way of a script of `browser/`, which lets the model go on.
fn go(script: &str, stage: &Stage, cache: &Path, model: Model) {
    go_with(script, stage, cache, model, &[]);
}

/// The same, told further variables.
fn go_with(script: &str, stage: &Stage, cache: &Path, model: Model, more: &[(&str, String)]) {
    // Who connects here lets the model go on.
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = held.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut one in held.incoming().flatten() {
            let _ = one.read(&mut [0; 4096]);
            model.let_go();
            let _ = one.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let (at, token) = opened(stage);
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/page");
    let quire = stage.command(&[]);
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let env: HashMap<String, String> =
        quire.get_envs().filter_map(|(key, value)| Some((text(key), text(value?)))).collect();
    let ran = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script))
        .arg(format!("http://127.0.0.1:{at}/enter#t={token}"))
        .args([&out, cache, &stage.folder])
        .env("HELD", port.to_string())
        .env("HOST", stage.host().pid.to_string())
        .env("PNG", PNG)
        .envs(more.iter().map(|(name, value)| (name, value)))
        .env("QUIRE", json!({"program": text(quire.get_program()), "env": env}).to_string())
        .output()
        .expect("node runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "{said}");
}

/// An answer with a table, which is also drawn as bars.
const PRICES: &str = "**Baguettes** cost most: 4.10 each, in row 4 of `prices.csv`. Buns cost least, 0.60.\n\n\
    | Bread | Against rye |\n|---|---|\n| rye | 0.00 |\n| bun | −3.30 |\n| baguette | 0.20 |\n\n\
    Next: Which bread sells least?\nNext: Put this in a one-page report\n";

/// What the model answers to a question about a table, and to who wants something painted or printed.
fn answers(asked: &Asked) -> Answer {
    let words = asked.words.last().map_or("", String::as_str);
    match asked.answered {
        0 if words.contains("Which bread") => shell("sort -t, -k2 -n prices.csv | tail -1"),
        0 if words.contains("paint it") => {
            call("ask", json!({"questions": [{"question": "Which colour?", "must": true}]}))
        }
        0 if words.contains("note it") => shell(&format!("echo new > note-{}.txt", words.len())),
        0 => call("write", json!({"path": "paper.pdf", "content": PDF})),
        _ if words.contains("Which bread") => say(PRICES),
        _ => say("It is printed."),
    }
}

#[test]
fn sec_08_a_question_is_answered_and_what_needs_its_person_is_told_in_chromium() {
    let cache = cache();
    let stage = Stage::set();
    let model = Model::new(answers);
    stage.use_model(&model, Wire::Chat);
    stage.file("prices.csv", "bread,price\nrye,3.90\nbun,0.60\nbaguette,4.10\n");
    let before = Tree::of(&stage.folder);
    go("answer.mjs", &stage, &cache, model);
    assert_eq!(stage.state(1), "accepted");
    // A key that was held accepted one, a press the next.
    assert_eq!(stage.state(5), "accepted");
    let pressed = [3, 4].into_iter().find(|task| stage.state(*task) == "accepted").expect("the next");
    assert_eq!(stage.state(7 - pressed), "ready");
    for task in [pressed, 5] {
        stage.quire(&["undo", &task.to_string()]).exits(0);
    }
    assert!(Tree::of(&stage.folder) == before, "a question changes nothing");
}

const PAGE_OF_MINE: &str = "<!doctype html>\n<html lang=\"en\">\n<title>x</title>\n<h1>buns</h1>\n</html>\n";

/// What the model answers to tasks of which something comes in the way.
fn in_the_way(asked: &Asked) -> Answer {
    let words = asked.words.first().map_or("", String::as_str);
    let question =
        json!({"questions": [{"question": "Which colour?", "choices": ["blue", "red"], "must": true}]});
    match asked.answered {
        _ if words.contains("with a key") => Answer::Status(401, "{}"),
        _ if words.contains("ask in vain") => Answer::Nonsense,
        0 if words.contains("paint") => call("ask", question),
        0 if words.contains("look it up") => shell("curl -s -m 20 http://docs.example.org/; echo tried"),
        0 if words.contains("change it") => shell("sed -i 's/one/uno/' list.txt"),
        0 => shell("sed -i 's/bread/cakes/' index.html; echo new > new.txt"),
        _ => say("It is done."),
    }
}

#[test]
fn sec_08_whatever_is_in_the_way_is_told_in_chromium() {
    let cache = cache();
    let stage = Stage::set();
    stage.file("index.html", &PAGE_OF_MINE.replace("buns", "bread"));
    stage.file("list.txt", "one\ntwo\nthree\nfour\nfive\nsix\n");
    stage.quire(&["run", "-b", "begin without a model"]).exits(4);
    let model = Model::new(in_the_way);
    let price = "price = { input = 1000.0, output = 1000.0 }\n";
    stage.configure(&model, Wire::Chat, &format!("[providers.lab.models.dear]\n{price}"));
    for (words, more) in [
        ("ask with a key", &[][..]),
        ("work beyond the limit", &["-m", "lab/dear", "--budget", "0.50"]),
        ("paint it", &[]),
        ("say that it is done", &["--check", "false"]),
        ("change what is changed meanwhile", &["--check", "none"]),
        ("change it", &["--check", "none"]),
        ("look it up", &[]),
        ("ask in vain", &[]),
    ] {
        let ended = stage.quire(&[&["run", words][..], more].concat());
        assert!(matches!(ended.code, Some(0 | 1 | 3 | 4)), "{words}: {ended:?}");
    }
    stage.quire(&["accept", "7"]).exits(0);
    // What the person does meanwhile: on the lines that task 6 changes too, and on others than task 7 changed.
    stage.file("index.html", PAGE_OF_MINE);
    stage.file("list.txt", "uno\ntwo\nthree\nfour\nfive\nsix\nmine\n");
    // Another person's machine, on which no sandbox can be made.
    let bare = can_make_users().then(bare::set);
    let more = bare.iter().map(|stage| {
        let (port, token) = opened(stage);
        ("BARE", format!("http://127.0.0.1:{port}/enter#t={token}"))
    });
    go_with("states.mjs", &stage, &cache, model, &more.collect::<Vec<_>>());
}

#[test]
fn sec_08_a_version_is_taken_over_in_chromium() {
    let cache = cache();
    let stage = Stage::set();
    let left =
        r"printf '\357\273\277h1 {\r\n  color: rde\r\n}' > style.css; echo '<h1>Bread</h1>' > index.html";
    let model = Model::new(move |asked| match asked.answered {
        0 => shell(left),
        _ => say("The heading is red now.\n\nChecked: `grep -q red style.css`"),
    });
    stage.configure(&model, Wire::Chat, "[checks]\nred = \"grep -q red style.css\"\n");
    stage.file("notes.txt", "Fenwick Bakery\n");
    stage.quire(&["run", "make the heading red"]).exits(1);
    let asked = model.asked().len();
    go("edit.mjs", &stage, &cache, model.clone());
    assert_eq!(model.asked().len(), asked, "a model was asked");
    let content = fs::read(stage.folder.join("style.css")).expect("the file");
    assert_eq!(content, b"\xef\xbb\xbfh1 {\r\n  color: red;\r\n  margin: 0\r\n}");
}

#[test]
fn sec_20_fifty_tasks_at_work_say_little_in_chromium() {
    let cache = cache();
    let stage = Stage::set();
    // Each prints a line a second, and a step is done now and then.
    let model = Model::new(|asked| match asked.answered {
        0..100 => shell("for n in 1 2 3 4 5; do echo at work; sleep 1; done"),
        _ => say("Done."),
    });
    stage.use_model(&model, Wire::Chat);
    for task in 0..50 {
        stage.quire(&["run", "-b", &format!("do part {task}"), "--check", "none"]).exits(0);
    }
    go("many.mjs", &stage, &cache, model);
}

/// What the model answers that makes attempts: to each another thing, told apart by the task's number in the key of its cache.
fn attempt(asked: &Asked) -> Answer {
    let key = asked.body.split("\"prompt_cache_key\":\"quire-").nth(1).and_then(|key| key.split('-').next());
    let begun = key.and_then(|task| task.parse::<usize>().ok()).map_or(0, |task| task - 1);
    let says = |what: &str| asked.words.iter().any(|words| words.contains(what));
    if says("ATTEMPT K") {
        return say("L\nL is smaller.");
    }
    let last = asked.words.last().map_or("", String::as_str);
    if last.contains("Name the bakery.") {
        let done = asked.results.last().is_some_and(|result| result.contains("named"));
        return match done {
            false => shell("sed -i 's/bread/bread of Fenwick/' index.html && echo named"),
            true => say("It is named.\n\nNote 1: done: in the heading"),
        };
    }
    if last.contains("with the heading of A") {
        let done = asked.results.last().is_some_and(|result| result.contains("mixed"));
        return if done { say("Mixed.") } else { shell("sed -i 's/cakes/bread/' index.html && echo mixed") };
    }
    if asked.answered > 0 {
        return say(["Three plans side by side.", "One plan.", "A plain list of plans."][begun % 3]);
    }
    let heading = ["Prices of bread", "One price for bread", "Only cakes"][begun % 3];
    let style = ["#fff;color:#0a5c43", "#1d1440;color:#e8e2ff", "#fdf6ec;color:#7a2e08"][begun % 3];
    let style = format!("<style>body{{background:{style};font:28px Inter,sans-serif;margin:60px}}</style>");
    let prices = "<p>Rye 4.20, country loaf 5.10, bun 0.70.</p>";
    let html = format!(
        "<!doctype html>\\n<html lang=\"en\">\\n<title>Prices</title>\\n{style}\\n<h1>{heading}</h1>\\n{prices}\\n</html>\\n"
    );
    shell(&format!("printf '{html}' > index.html; printf 'rye\\nbun\\n' > list.txt"))
}

#[test]
fn sec_08_attempts_are_compared_mixed_and_taken_in_chromium() {
    let cache = cache();
    let stage = Stage::set();
    let model = Model::new(attempt);
    stage.configure(&model, Wire::Responses, "models.gpt-lab.images = true\n");
    let config = stage.base().join("config/quire/config.toml");
    let set = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("fallback_models = [\"lab/second\"]\n{set}")).unwrap();
    model.hold_from(0);
    let asked = model.clone();
    go("attempts.mjs", &stage, &cache, model);
    let asked = asked.asked();
    assert!(stage.quire(&["log", "3"]).exits(0).out.contains("handed over: plan.png, notes.txt"));
    let shown = |body: &str| body.contains(&PNG[..32]);
    assert_eq!(
        asked.iter().filter(|one| one.answered == 0 && shown(&one.body)).count(),
        3,
        "each is shown the picture"
    );
    let mixed =
        asked.iter().find(|one| one.words.iter().any(|words| words.contains("heading of A"))).unwrap();
    let told = mixed.words.last().unwrap();
    assert!(told.contains("Your files are those of attempt C") && told.contains("ATTEMPT A"), "{told}");
    // One change of it was left out on the page.
    let (html, list) = (stage.folder.join("index.html"), stage.folder.join("list.txt"));
    assert!(fs::read_to_string(html).unwrap().contains("bread of Fenwick"), "what was accepted is there");
    assert!(!list.exists(), "what was left out is not");
    for id in [1, 2, 3] {
        assert_eq!(stage.state(id), "discarded");
    }
}

/// A page that tries what a page in a frame could: each attempt ends as `reached` or as `no: ` and why.
const TRIES: &str = r#"<!doctype html><html lang="en"><title>x</title><body><script>
const tried = {}
const attempt = async (what, does) => {
  try { await does(); tried[what] = 'reached' } catch (error) { tried[what] = 'no: ' + error }
}
const fails = message => { throw new Error(message) }
const loads = (element, name, address) => new Promise((done, failed) => {
  const one = document.createElement(element)
  one.onload = done
  one.onerror = () => failed(new Error('not loaded'))
  one[name] = address
  document.body.append(one)
})
const page = `http://127.0.0.1:PAGE`
;(async () => {
  await attempt('own file', async () => (await fetch('own.txt')).ok || fails('not there'))
  await attempt('the page around it', () => parent.document.body.innerHTML)
  await attempt('leading the page away', () => { top.location = page + '/settings' })
  await attempt('the page by fetch', async () => (await fetch(page + '/', { credentials: 'include' })).text())
  await attempt('a form of the page', async () => fetch(page + '/tasks/1/accept', { method: 'POST', mode: 'no-cors', credentials: 'include' }))
  await attempt('cookies', () => document.cookie || fails('none'))
  await attempt('storage', () => localStorage.setItem('a', 'b'))
  await attempt('a window', () => window.open(page + '/') || fails('not opened'))
  await attempt('a worker that stays', () => navigator.serviceWorker.register('own.js'))
  await attempt('an image elsewhere', () => loads('img', 'src', 'ELSEWHERE/x.png'))
  await attempt('a script elsewhere', () => loads('script', 'src', 'ELSEWHERE/x.js'))
  await attempt('anything elsewhere', () => fetch('ELSEWHERE/x', { mode: 'no-cors' }))
  await attempt('a message box', () => { alert('Accept all files?'); fails('not shown') })
  document.body.dataset.tried = JSON.stringify(tried)
  document.body.dataset.done = 'yes'
})()
</script></body></html>"#;

#[test]
fn sec_09_10_15_a_page_that_tries_everything_reaches_nothing_and_it_is_told() {
    let cache = cache();
    let stage = Stage::set();
    // Who is asked here was reached.
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", elsewhere.local_addr().expect("an address"));
    let (at, _) = opened(&stage);
    let page = TRIES.replace("PAGE", &at.to_string()).replace("ELSEWHERE", &address);
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><script>top.drawn = 1; alert(1)</script></svg>";
    let write = |path: &str, content: &str| ("write", json!({"path": path, "content": content}));
    let files =
        [write("index.html", &page), write("own.txt", "own"), write("own.js", "//"), write("drawn.svg", svg)];
    let model = Model::new(move |asked| if asked.answered == 0 { calls(&files) } else { say("Made.") });
    stage.use_model(&model, Wire::Chat);
    // Some of what it tries may be on its console by the time that quire has looked.
    let made = stage.quire(&["make a page"]);
    assert!(matches!(made.code, Some(0 | 1)), "{made:?}");
    let (at, token) = opened(&stage);
    let ran = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/closed.mjs"))
        .arg(format!("http://127.0.0.1:{at}/enter#t={token}"))
        .arg(&cache)
        .arg(&address)
        .output()
        .expect("node runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "{said}");
    elsewhere.set_nonblocking(true).expect("an answer at once");
    assert!(elsewhere.accept().is_err(), "somebody was asked elsewhere");
}
