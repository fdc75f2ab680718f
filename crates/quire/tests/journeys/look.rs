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
const PDF: &str = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>endobj\n\
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj\n4 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>endobj\n\
trailer<</Root 1 0 R>>\n";
const MEND: &str = "echo 'const total = 1' > shop.js; sed -i 's/width:900px/width:90px/' index.html";
const SERVE: &str = "python3 -m http.server 8123 >/dev/null 2>&1 & until curl -s localhost:8123 >/dev/null; do sleep 0.1; done";

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
        assert_eq!(asked[0].body.contains(lacks), !Path::new("/usr/bin/soffice").exists());
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
        let at =
            format!("/tasks/1/pictures/{}", review["looked"][0]["pictures"][0]["blob"].as_str().unwrap());
        let page = browser.get("/tasks/1").body;
        assert!(
            page.contains(&format!("src=\"{at}\"")) && page.contains("index.html, 2 pictures, 1 error"),
            "{page}"
        );
        let picture = browser.get(&at);
        assert_eq!((picture.status, picture.header("content-type").as_deref()), (200, Some("image/png")));
        let other = format!("/tasks/1/pictures/{}", review["seen"].as_str().unwrap());
        assert_ne!(browser.get(&other).status, 200, "only what was looked at");
        let dir = stage.base().join("evidence");
        stage.json(&["review", "1", "--evidence", dir.to_str().unwrap()]);
        for name in [
            "look-1-index-html-1.png",
            "look-1-index-html-2.png",
            "look-2-paper-pdf-2.png",
            "look-3-http---localhost-8123-1.png",
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
