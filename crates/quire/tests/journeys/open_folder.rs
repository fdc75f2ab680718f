//! "Open folder": the desktop's file manager is started with the folder and nothing else, or the page says where the folder is.

use crate::browser::Browser;
use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// An opener that writes down its arguments, and fails where it is told to.
fn with_opener(ends: i32) -> Stage {
    let mut stage = Stage::set();
    let bin = stage.base().join("bin");
    fs::create_dir(&bin).unwrap();
    let opened = stage.base().join("opened");
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" >> '{}'\nexit {ends}\n", opened.display());
    for name in ["xdg-open", "wslview"] {
        fs::write(bin.join(name), &script).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    stage.own(&bin);
    stage
        .env
        .push(("PATH".into(), format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", bin.display())));
    stage.use_model(&Model::saying(vec![shell("echo n > new"), say("Done.")]), Wire::Chat);
    stage
}

/// A folder whose name would be an option, or run something, for who is careless with it.
fn accepted(stage: &Stage) -> std::path::PathBuf {
    let folder = stage.base().join("home/--help $(touch run) `touch run`; \"%s\" 'é\n'");
    fs::create_dir(&folder).unwrap();
    stage.own(&folder);
    stage.quire(&["-C", folder.to_str().unwrap(), "make it"]).exits(0);
    stage.quire(&["accept", "1"]).exits(0);
    folder
}

#[test]
fn the_folder_is_opened_as_it_is_called() {
    let mut stage = with_opener(0);
    stage.env.push(("DISPLAY".into(), ":7".into()));
    let folder = accepted(&stage);
    let browser = Browser::open(&stage);
    let page = browser.get("/tasks/1").body;
    assert!(page.contains(">Open folder</button>") && page.contains("action=\"/tasks/1/open\""), "{page}");
    assert_eq!(browser.get("/tasks/1/open").status, 405, "looking opens nothing");
    assert!(!stage.base().join("opened").exists());
    assert_eq!(browser.post("/tasks/1/open", &[("folder", "0")]).status, 303);
    let opened = fs::read_to_string(stage.base().join("opened")).unwrap();
    assert_eq!(opened, format!("1\n{}\n", folder.display()));
    assert!(!folder.join("run").exists() && !stage.folder.join("run").exists());
    assert!(!browser.get("/tasks/1").body.contains("cannot be opened from here"));
    assert_eq!(browser.post("/tasks/1/open", &[("folder", "1")]).status, 400);
}

#[test]
fn where_nothing_opens_it_the_page_says_where_it_is() {
    for (has_screen, ends) in [(false, 0), (true, 3)] {
        let mut stage = with_opener(ends);
        if has_screen {
            stage.env.push(("DISPLAY".into(), ":7".into()));
        }
        stage.quire(&["make it"]).exits(0);
        let browser = Browser::open(&stage);
        let page = browser.get("/tasks/1").body;
        assert!(!page.contains("Open folder"), "nothing of it is there yet: {page}");
        stage.quire(&["accept", "1"]).exits(0);
        assert_eq!(browser.post("/tasks/1/open", &[]).status, 303);
        assert_eq!(stage.base().join("opened").exists(), has_screen);
        let page = browser.get("/tasks/1").body;
        let told = format!("It cannot be opened from here. The folder is {}.", stage.folder.display());
        assert!(page.contains(&told), "{page}");
    }
}
