//! The agent sees what it made as a person would, on every wire; what it saw is kept with the version, and a version that nobody
//! looked at says so. Needs Chromium and poppler, as `./test` installs them.

use crate::browser::Browser;
use crate::model::{Model, Wire, call, say, shell};
use crate::stage::Stage;
use serde_json::json;
use std::fs;
use std::path::Path;

const PAGE: &str = "cat > index.html <<'X'\n<!doctype html><title>Shop</title><link rel=icon href=data:,><h1 style='width:900px'>Prices</h1>\
<script src=shop.js></script>\nX\necho 'total(1)' > shop.js";
/// A PDF of two empty pages.
pub const PDF: &str = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>endobj\n\
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj\n4 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj\n\
trailer<</Root 1 0 R>>\n";
const MEND: &str = "echo 'const total = 1' > shop.js; sed -i 's/width:900px/width:90px/' index.html";
const SERVE: &str = "python3 -m http.server 8123 >/dev/null 2>&1 & until curl -s localhost:8123 >/dev/null; do sleep 0.1; done";

/// A picture that is shown comes from an origin of previews, and neither another one of that nor another's of the task's does.
#[track_caller]
fn sec_15_a_picture_comes_from_an_origin_of_its_own(browser: &Browser, page: &str, blob: &str) {
    let shown = page.split("src=\"http://").skip(1);
    let host = shown.filter_map(|rest| rest.split('"').next()?.strip_suffix(&format!("/{blob}"))).next();
    let host = host
        .filter(|host| host.contains(".localhost:"))
        .unwrap_or_else(|| panic!("{blob} is not shown: {page}"));
    let port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_ne!(port, browser.port);
    let preview = Browser { port, cookie: None, key: String::new() };
    let get = |path: &str| preview.send("GET", path, &[("host", host), ("sec-fetch-site", "cross-site")], "");
    let picture = get(&format!("/{blob}"));
    assert_eq!((picture.status, picture.header("content-type").as_deref()), (200, Some("image/png")));
    assert!(picture.header("content-security-policy").unwrap().starts_with("sandbox "), "{}", picture.head);
    for other in [&"0".repeat(64), "index.html", "", "../index.html"] {
        assert_eq!(get(&format!("/{other}")).status, 404, "{other}");
    }
    assert_eq!(preview.send("POST", &format!("/{blob}"), &[("host", host)], "").status, 405);
    assert_ne!(browser.get(&format!("/tasks/1/pictures/{blob}")).status, 200, "not from the page");
}

#[test]
fn a_page_a_server_and_a_document_are_seen_and_kept_with_the_version() {
    for wire in Wire::ALL {
        let stage = Stage::set();
        stage.file("paper.pdf", PDF);
        let model = Model::saying(vec![
            shell(PAGE),
            call("look", json!({"target": "index.html", "widths": [1280, 390]})),
            call("look", json!({"target": "paper.pdf"})),
            call("look", json!({"target": "notes.txt"})),
            say("The page is there."),
            // Told of the page's error by quire's own check.
            shell(MEND),
            shell(SERVE),
            call("look", json!({"target": "http://localhost:8123/", "widths": [390]})),
            say("The page is there, and its script is mended."),
        ]);
        let name = if wire == Wire::Responses { "gpt-lab" } else { "lab-model" };
        stage.configure(&model, wire, &format!("[providers.lab.models.{name}]\nimages = true\n"));
        stage.quire(&["make a shop's page"]).exits(0);
        let asked = model.asked();
        let results = &asked.last().unwrap().results;
        for (result, said) in [
            (1, "index.html \"Shop\""),
            (1, "at 390 px, 518 px wider than the window, so it scrolls sideways"),
            (1, "error: ReferenceError: total is not defined (shop.js, line 1)"),
            (1, "printed: 1 page"),
            (2, "paper.pdf: 2 pages when printed"),
            (3, "look: there is no file notes.txt."),
            (6, "no errors on the console"),
        ] {
            assert!(results[result].contains(said), "{wire:?} {said}: {}", results[result]);
        }
        // Two widths, two pages, and one width: five pictures reach the model, as pictures.
        let pictures = asked.last().unwrap().body.matches("iVBORw0KGgo").count();
        assert_eq!(pictures, 5, "{wire:?}");
        let told = asked[5].words.last().unwrap();
        assert!(
            told.contains("`glance index.html` failed (exit 1)") && told.contains("total is not defined"),
            "{told}"
        );
        let lacks = "office documents (no LibreOffice)";
        let has_soffice =
            ["/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join("soffice").exists());
        assert_eq!(asked[0].body.contains(lacks), !has_soffice);
        let review = stage.json(&["review", "1"])["review"].clone();
        assert_eq!(review["looked"].as_array().unwrap().len(), 3, "{review}");
        assert_eq!(
            (&review["looked"][0]["stale"], &review["looked"][2]["stale"]),
            (&json!(true), &json!(null))
        );
        assert_eq!(review["not_looked"], json!(null));
        let text = stage.quire(&["review", "1"]).exits(0).out;
        let lines = "LOOKED  index.html, 2 pictures, 1 error, before its last changes\n        paper.pdf, 2 pictures, before its last";
        assert!(text.contains(lines) && text.contains("glance index.html  passes"), "{text}");
        let browser = Browser::open(&stage);
        let page = browser.get("/tasks/1").body;
        assert!(page.contains("index.html, 2 pictures, 1 error"), "{page}");
        // What quire's own check saw of the page stands below it.
        let shots =
            review["checks"].as_array().unwrap().iter().flat_map(|check| check["shots"].as_array()).next();
        let shots = shots.expect("the check of pages has pictures");
        let widths: Vec<_> =
            shots.iter().map(|shot| (shot["width"].as_u64(), shot["wider"].as_u64())).collect();
        assert_eq!(widths, [(Some(390), None), (Some(768), None), (Some(1280), None)], "{shots:?}");
        assert!(page.contains("Phone, 390 px") && page.contains("Wide, 1280 px"), "{page}");
        for image in [&review["looked"][0]["pictures"][0], &shots[0]["image"]] {
            sec_15_a_picture_comes_from_an_origin_of_its_own(
                &browser,
                &page,
                image["blob"].as_str().unwrap(),
            );
        }
        let dir = stage.base().join("evidence");
        stage.json(&["review", "1", "--evidence", dir.to_str().unwrap()]);
        for name in [
            "look-1-index-html-1.png",
            "look-1-index-html-2.png",
            "look-2-paper-pdf-2.png",
            "look-3-http---localhost-8123-1.png",
            "check-2-390-px.png",
        ] {
            assert!(fs::read(dir.join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
        }
    }
}

#[test]
fn a_page_that_nobody_looked_at_says_so() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo '<p>hello' > a.html"), say("There.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["make a page"]).exits(0);
    let text = stage.quire(&["review", "1"]).exits(0).out;
    assert!(text.contains("LOOKED  \u{25cb} not looked at: a.html\n"), "{text}");
}

/// Pages, and which errors their check tells: pages that go on making errors, or never get quiet, come to the same end each time.
const RESTLESS: &[(&str, &str, &[&str])] = &[
    ("quiet", "<p>hello", &[]),
    ("one", "<script>nope()</script>", &["ReferenceError: nope is not defined (PAGE, line 1)"]),
    (
        "at_once",
        "<script>for (let n = 0; n < 90; n++) console.error('no ' + n)</script>",
        &["console: no 0 (PAGE, line 1)"],
    ),
    (
        "many",
        "<script>for (const a of 'abcdefghijklmnopqrstuvwxyz') console.error(a)</script>",
        &["and more errors"],
    ),
    (
        "later",
        "<script>setTimeout(() => nope(), 50); setTimeout(() => other(), 5000)</script>",
        &["ReferenceError: nope is not defined (PAGE, line 1)"],
    ),
    (
        "goes_on",
        "<script>let n = 0; setInterval(() => console.error('no ' + n++), 20)</script>",
        &["console: no 0 (PAGE, line 1)", "it kept on making errors"],
    ),
    (
        "goes_on_throwing",
        "<script>setInterval(() => nope(), 20)</script>",
        &["ReferenceError: nope is not defined (PAGE, line 1)", "it kept on making errors"],
    ),
    (
        "floods",
        "<script>for (;;) console.error('no')</script>",
        &["console: no (PAGE, line 1)", "it kept on making errors"],
    ),
    ("is_busy", "<script>setInterval(() => document.body.append('x'), 1)</script>", &[]),
    ("reloads", "<script>onload = () => location.reload()</script>", &[]),
    ("asks", "<script>for (let n = 0; n < 5; n++) alert(n)</script>", &[]),
    ("takes_promises", "<script>Promise = setTimeout = null</script>", &[]),
    ("never_ends", "<script>for (;;);</script>", &["it had not loaded after 15 s"]),
    (
        "never_ends_later",
        "<script>onload = () => setTimeout(() => { for (;;); })</script>",
        &["it does not come to rest"],
    ),
    ("quiet_at_last", "<p>hello", &[]),
];

#[test]
fn a_page_that_never_gets_quiet_comes_to_the_same_end_each_time() {
    let stage = Stage::set();
    let mut wrong = vec![];
    let page = |name: &str| format!("{name}.html");
    for (name, body, _) in RESTLESS {
        stage.file(&page(name), &format!("<!doctype html><link rel=icon href=data:,>{body}"));
    }
    let names: Vec<&str> = RESTLESS.iter().map(|(name, ..)| *name).collect();
    // One that hangs takes its time, so these come last and only once.
    let quick: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("never")).collect();
    for names in [&names, &quick, &quick] {
        let pages: Vec<String> = names.iter().map(|name| page(name)).collect();
        let mut command = vec!["sandbox", "--", "glance"];
        command.extend(pages.iter().map(String::as_str));
        let told = stage.quire(&command).out;
        // What one page does is not told of the next.
        for (name, _, errors) in RESTLESS.iter().filter(|(name, ..)| names.contains(name)) {
            let page = page(name);
            let mark = format!("\u{2717} {page}: ");
            let said: Vec<String> = told
                .lines()
                .filter_map(|line| line.strip_prefix(&mark))
                .map(|said| said.replace(&page, "PAGE"))
                .collect();
            let is_right = match *name {
                "many" => said.len() == 21 && said[20] == "and more errors",
                _ => said == *errors,
            };
            if !is_right {
                wrong.push(format!("{name}: {said:#?}"));
            }
        }
        let with =
            RESTLESS.iter().filter(|(name, _, errors)| names.contains(name) && !errors.is_empty()).count();
        assert!(told.contains(&format!("{with} of {} pages with errors\n", names.len())), "{told}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Makes a letter, its like and a table, each with the least that makes it one.
const DOCUMENTS: &str = r#"python3 - <<'X'
import zipfile
def made(name, parts):
    with zipfile.ZipFile(name, 'w') as all:
        for part, text in parts.items(): all.writestr(part, text)
W = 'http://schemas.openxmlformats.org/'
def rels(kind, target): return f'<Relationships xmlns="{W}package/2006/relationships"><Relationship Id="r1" Type="{W}officeDocument/2006/relationships/{kind}" Target="{target}"/></Relationships>'
def types(part, kind): return f'<Types xmlns="{W}package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="{part}" ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/></Types>'
made('a.docx', {'[Content_Types].xml': types('/word/document.xml', 'wordprocessingml.document'), '_rels/.rels': rels('officeDocument', 'word/document.xml'),
    'word/document.xml': f'<w:document xmlns:w="{W}wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>A letter</w:t></w:r></w:p></w:body></w:document>'})
O = 'urn:oasis:names:tc:opendocument:xmlns:'
made('a.odt', {'mimetype': 'application/vnd.oasis.opendocument.text',
    'content.xml': f'<office:document-content xmlns:office="{O}office:1.0" xmlns:text="{O}text:1.0" office:version="1.2"><office:body><office:text><text:p>A letter</text:p></office:text></office:body></office:document-content>',
    'META-INF/manifest.xml': f'<m:manifest xmlns:m="{O}manifest:1.0"><m:file-entry m:full-path="/" m:media-type="application/vnd.oasis.opendocument.text"/><m:file-entry m:full-path="content.xml" m:media-type="text/xml"/></m:manifest>'})
made('a.xlsx', {'[Content_Types].xml': types('/xl/workbook.xml', 'spreadsheetml.sheet').replace('</Types>', f'<Override PartName="/xl/s.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'),
    '_rels/.rels': rels('officeDocument', 'xl/workbook.xml'), 'xl/_rels/workbook.xml.rels': rels('worksheet', 's.xml'),
    'xl/workbook.xml': f'<workbook xmlns="{W}spreadsheetml/2006/main" xmlns:r="{W}officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
    'xl/s.xml': f'<worksheet xmlns="{W}spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1"><v>1</v></c></row></sheetData></worksheet>'})
X"#;

/// `./test --all` looks at office documents with LibreOffice installed inside; here it is whatever the machine has.
#[test]
fn office_documents_are_looked_at_where_libreoffice_is_and_said_not_to_be_elsewhere() {
    let stage = Stage::set();
    let names = ["a.docx", "a.odt", "a.xlsx"];
    let look = |name: &&str| call("look", json!({"target": name}));
    let answers = [shell(DOCUMENTS)].into_iter().chain(names.iter().map(look)).chain([say("There.")]);
    let model = Model::saying(answers.collect());
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["write a letter and a table"]).exits(0);
    let is_here = ["/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join("soffice").exists());
    let asked = model.asked();
    for (name, said) in names.iter().zip(&asked.last().unwrap().results[1..]) {
        let expected = match is_here {
            true => format!("{name}: 1 page when printed"),
            false => "look: LibreOffice is not installed here.".to_owned(),
        };
        assert!(said.contains(&expected), "{name}: {said}");
    }
    let review = stage.quire(&["review", "1"]).exits(0).out;
    let told = match is_here {
        true => "LOOKED  a.docx, 1 picture\n",
        false => "LOOKED  \u{25cb} not looked at: a.docx, a.odt, a.xlsx\n",
    };
    assert!(review.contains(told) && review.contains("wellformed a.xlsx  passes"), "{review}");
}
