//! Checks are run by quire itself, on exactly what would be accepted: one that fails goes back to the model, and one that
//! the agent could have bent says so.

use crate::model::{Model, Wire, say, shell};
use crate::stage::Stage;
use crate::tree::Tree;
use quire_core::Event;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn check(stage: &Stage) -> Value {
    stage.json(&["review", "1"])["review"]["checks"][0].clone()
}

#[test]
fn one_that_passes_is_shown_with_its_output() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo right > answer"), say("It is right.")]);
    stage.use_model(&model, Wire::Chat);
    let command = "grep right answer && echo trace > trace";
    let run = stage.quire(&["mend", "--check", command]).exits(2);
    assert!(run.err.contains("quire run mend"), "a single word is no task: {}", run.err);
    let run = stage.quire(&["run", "answer", "--check", command]).exits(0);
    assert!(run.out.contains('✓') && !run.out.contains("not checked"), "{}", run.out);
    let check = check(&stage);
    assert_eq!((&check["passed"], &check["outcome"]), (&true.into(), &"passes".into()), "{check}");
    assert!(check["output"].as_str().unwrap().contains("right"), "{check}");
    // What a check leaves behind is not part of the version.
    stage.quire(&["accept", "1"]).exits(0);
    assert!(stage.folder.join("answer").exists() && !stage.folder.join("trace").exists());
    assert_eq!(model.asked()[0].words, ["answer"]);
}

#[test]
fn one_that_fails_goes_back_to_the_model() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo wrong > answer"),
        say("It is right."),
        shell("echo right > answer"),
        say("Now it is."),
    ]);
    stage.use_model(&model, Wire::Messages);
    stage.quire(&["run", "answer", "--check", "grep -c right answer"]).exits(0);
    let asked = model.asked();
    assert_eq!(asked.len(), 4);
    let told = asked[2].words.last().unwrap();
    assert!(told.contains("`grep -c right answer` failed (exit 1)"), "{told}");
    assert!(asked[2].items.starts_with(&asked[1].items[..]));
    assert_eq!(check(&stage)["passed"], true);
    assert_eq!(stage.json(&["review", "1"])["review"]["version"], 1);
}

#[test]
fn one_that_goes_on_failing_is_shown_and_exits_1() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo wrong > answer"), say("It is right.")]);
    stage.use_model(&model, Wire::Responses);
    let run = stage.quire(&["run", "answer", "--check", "grep right answer", "--check", "true"]).exits(1);
    assert!(run.out.contains("✗ ") && run.out.contains("fails (exit 1)"), "{}", run.out);
    assert_eq!(stage.state(1), "says done, but 1 of 2 checks failed");
    let checks = stage.json(&["review", "1"])["review"]["checks"].clone();
    assert_eq!((&checks[0]["passed"], &checks[1]["passed"]), (&false.into(), &true.into()), "{checks}");
    // A person may take it all the same.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("answer")).unwrap(), "wrong\n");
}

#[test]
fn what_the_model_says_is_shown_with_what_quire_saw() {
    let stage = Stage::set();
    let words = "I mended it. All tests pass!\n\nClaim: The answer is there. [ls answer]\nClaim: It is fast. [none]\n\
                 Assumed: the answer is a word\nNot done: the second question";
    let model = Model::saying(vec![shell("echo wrong > answer"), say(words), say(words), say(words)]);
    stage.use_model(&model, Wire::Chat);
    stage.file("test.sh", "grep right answer\n");
    let run = stage.quire(&["mend it", "--check", "sh test.sh", "--check", "ls answer"]).exits(1);
    let shown = "Task 1 says done, but 1 of 2 checks failed. 1 file, +1. Your folder has not\nchanged.\n\n  \
                 I mended it.\n  \
                 ✗ All tests pass: `sh test.sh` fails (exit 1); it failed before too\n  \
                 ✓ The answer is there: `ls answer` passes\n  \
                 ○ It is fast: not checked\n  \
                 Assumed: the answer is a word\n  \
                 Not done: the second question\n  \
                 ✗ sh test.sh  fails (exit 1); it failed before too\n  \
                 ✓ ls answer  passes\n";
    assert!(run.out.starts_with(shown), "{}", run.out);
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!(review["summary"], "I mended it.");
    assert_eq!(
        (&review["claims"][0]["passed"], &review["claims"][2]["passed"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(stage.state(1), "says done, but 1 of 2 checks failed");
}

#[test]
fn one_that_the_agent_bent_passes_but() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 'exit 0' > check.sh; echo x > a"), say("All pass.")]);
    stage.use_model(&model, Wire::Chat);
    stage.file("check.sh", "exit 1\n");
    let run = stage.quire(&["make it pass", "--check", "sh check.sh", "--check", "echo y > a"]).exits(0);
    let checks = stage.json(&["review", "1"])["review"]["checks"].clone();
    assert_eq!(
        checks[0]["outcome"],
        "passes, but: only since the agent changed what it runs: check.sh. As that was before, it fails (exit 1)"
    );
    assert_eq!(checks[1]["outcome"], "passes, but: it changed the folder itself: a");
    assert!(run.out.contains("passes, but") || run.out.contains("but: "), "{}", run.out);
    // What the check did to the folder did not reach the version.
    stage.quire(&["accept", "1"]).exits(0);
    assert_eq!(fs::read_to_string(stage.folder.join("a")).unwrap(), "x\n");
}

#[test]
fn nothing_of_the_agents_runs_while_checks_do() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell(
            "(while true; do echo cheat > answer; sleep 0.01; done) > /dev/null 2>&1 & sleep 0.1; echo right > answer",
        ),
        say("It is right."),
    ]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["run", "answer", "--check", "cp answer /tmp/1; sleep 0.2; cmp answer /tmp/1"]).exits(0);
    let before = Tree::of(&stage.folder);
    assert_eq!(check(&stage)["outcome"], "passes");
    Tree::of(&stage.folder).assert_is(&before, "after the check");
}

#[test]
fn where_nothing_changed_nothing_is_checked() {
    let stage = Stage::set();
    let model = Model::saying(vec![say("There is nothing to do.")]);
    stage.use_model(&model, Wire::Chat);
    let run = stage.quire(&["look around", "--check", "false"]).exits(0);
    assert!(run.out.contains("Nothing changed"), "{}", run.out);
    assert_eq!(check(&stage)["passed"], Value::Null);
}

/// Waits until a process with this argument runs, or none does.
fn wait_for_process(argument: &str, runs: bool) {
    let has = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    let begun = Instant::now();
    while fs::read_dir("/proc").expect("/proc").flatten().any(|entry| has(&entry)) != runs {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long for {argument}: {runs}");
        std::thread::yield_now();
    }
}

#[test]
fn one_that_is_cut_off_in_its_second_run_is_run_again() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo 'exit 0' > check.sh; echo wrong > answer"), say("All pass.")]);
    stage.use_model(&model, Wire::Chat);
    // The second run, with the script as it was, is the one that takes its time.
    stage.file("check.sh", "sleep 4.718281; grep right answer\n");
    stage.quire(&["run", "-b", "make it pass", "--check", "sh check.sh"]).exits(0);
    wait_for_process("4.718281", true);
    stage.host().kill();
    let mut watch = stage.start(&["watch", "1"]);
    wait_for_process("4.718281", false);
    wait_for_process("4.718281", true);
    // Ctrl-C twice pauses the task.
    watch.signal(libc::SIGINT);
    while !watch.next_line_of_stderr().contains("Ctrl-C now pauses it") {}
    watch.signal(libc::SIGINT);
    watch.end().exits(130);
    wait_for_process("4.718281", false);
    stage.quire(&["resume", "1"]).exits(0);
    stage.quire(&["watch", "1"]).exits(0);
    let outcome = "passes, but: only since the agent changed what it runs: check.sh. As that was before, it fails (exit 1)";
    assert_eq!(check(&stage)["outcome"], outcome);
    let checked =
        stage.log(1).iter().filter(|logged| matches!(logged.event, Event::Checked { check: 0, .. })).count();
    assert_eq!(checked, 1);
}

/// A kind of project, its files, what breaks it, and the check that is found for it.
type Kind = (&'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);

const KINDS: &[Kind] = &[
    (
        "make",
        &[("Makefile", "test:\n\tgrep -q right answer.c\n"), ("answer.c", "right\n")],
        "echo wrong > answer.c",
        "make test",
    ),
    (
        "npm",
        &[
            ("package.json", r#"{"scripts": {"test": "node --test"}}"#),
            ("sum.js", "module.exports = (a, b) => a + b;\n"),
            (
                "sum.test.js",
                "require('node:test')('adds', () => require('node:assert').strictEqual(require('./sum.js')(2, 3), 5));\n",
            ),
        ],
        "sed -i 's/a + b/a - b/' sum.js",
        "npm test",
    ),
    (
        "unittest",
        &[
            ("shop.py", "def total(a, b):\n    return a + b\n"),
            (
                "test_shop.py",
                "import unittest, shop\n\nclass T(unittest.TestCase):\n    def test_sum(self):\n        self.assertEqual(shop.total(2, 3), 5)\n",
            ),
        ],
        "sed -i 's/a + b/a - b/' shop.py",
        "python3 -m unittest discover",
    ),
    ("a script", &[], "echo 'if true' > run.sh", "sh -n run.sh"),
    ("JSON", &[("a.json", "{}")], "echo '{\"a\": }' > a.json", "wellformed a.json"),
    ("TOML", &[], "echo 'a = ' > a.toml", "wellformed a.toml"),
    ("YAML", &[], "echo 'a: [1' > a.yaml", "wellformed a.yaml"),
    ("CSV", &[], "printf 'a,b\\n1\\n' > a.csv", "wellformed a.csv"),
    ("XLSX", &[], "echo no > a.xlsx", "wellformed a.xlsx"),
    ("a picture", &[], "echo no > a.png", "wellformed a.png"),
    ("a page", &[], "echo '<a href=gone.html>x</a>' > index.html", "wellformed index.html"),
    ("a page's console", &[], "echo '<script>nope()</script>' > index.html", "glance index.html"),
    (
        "a page that leads to what is deleted",
        &[("index.html", "<a href=b.html>b</a>"), ("b.html", "b")],
        "rm b.html",
        "wellformed index.html",
    ),
];

/// Kinds that few machines have the tools for: these, and the program that a machine must have.
const FURTHER_KINDS: &[(&str, Kind)] = &[
    (
        "go",
        (
            "go",
            &[
                ("go.mod", "module sum\n\ngo 1.19\n"),
                ("sum.go", "package sum\n\nfunc Sum(a, b int) int { return a + b }\n"),
                (
                    "sum_test.go",
                    "package sum\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum(2, 3) != 5 {\n\t\tt.Fatal(\"wrong\")\n\t}\n}\n",
                ),
            ],
            "sed -i 's/a + b/a - b/' sum.go",
            "go test ./...",
        ),
    ),
    (
        "ctest",
        (
            "ctest",
            &[
                (
                    "CMakeLists.txt",
                    "cmake_minimum_required(VERSION 3.13)\nproject(a NONE)\nenable_testing()\nadd_test(NAME a COMMAND grep -q right ${CMAKE_SOURCE_DIR}/answer.c)\n",
                ),
                ("answer.c", "right\n"),
            ],
            "echo wrong > answer.c",
            "cmake -S . -B /tmp/build && cmake --build /tmp/build && ctest --test-dir /tmp/build --output-on-failure",
        ),
    ),
    (
        "gradle",
        (
            "gradle",
            &[
                (
                    "build.gradle",
                    "task test {\n  doLast {\n    if (!file('answer.java').text.contains('right')) throw new GradleException('wrong')\n  }\n}\n",
                ),
                ("answer.java", "right\n"),
            ],
            "echo wrong > answer.java",
            "gradle test",
        ),
    ),
    (
        "pytest",
        (
            "pytest",
            &[
                ("shop.py", "def total(a, b):\n    return a + b\n"),
                ("test_shop.py", "import shop\n\ndef test_sum():\n    assert shop.total(2, 3) == 5\n"),
            ],
            "sed -i 's/a + b/a - b/' shop.py",
            "python3 -m pytest -q",
        ),
    ),
];

#[test]
fn of_each_kind_that_is_found_a_model_that_says_that_all_tests_pass_is_not_believed() {
    not_believed(KINDS);
}

/// `./test --all` installs what they need; else those are tried that the machine has, and the others are named.
#[test]
fn nor_of_the_kinds_that_need_further_tools() {
    let has = |tool: &str| match tool {
        "pytest" => Command::new("/usr/bin/python3")
            .args(["-c", "import pytest"])
            .output()
            .is_ok_and(|o| o.status.success()),
        tool => ["/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(tool).exists()),
    };
    let (here, missing): (Vec<_>, Vec<_>) = FURTHER_KINDS.iter().copied().partition(|(tool, _)| has(tool));
    let missing: Vec<&str> = missing.into_iter().map(|(tool, _)| tool).collect();
    if !missing.is_empty() {
        println!("not tried, because this machine has no {}", missing.join(", "));
    }
    assert!(std::env::var_os("QUIRE_TEST_ALL").is_none() || missing.is_empty(), "{missing:?}");
    let here: Vec<Kind> = here.into_iter().map(|(_, kind)| kind).collect();
    not_believed(&here);
}

fn not_believed(kinds: &[Kind]) {
    let mut wrong = vec![];
    for (kind, files, agent, command) in kinds {
        let stage = Stage::set();
        files.iter().for_each(|(path, content)| stage.file(path, content));
        let end = || say("Done. All tests pass.");
        let model = Model::saying(vec![shell(agent), end(), end(), end()]);
        stage.use_model(&model, Wire::Chat);
        let run = stage.quire(&["do the work"]);
        let review = stage.json(&["review", "1"])["review"].clone();
        let checks = review["checks"].as_array().cloned().unwrap_or_default();
        let failed: Vec<&Value> = checks.iter().filter(|check| check["passed"] == false).collect();
        let told = model
            .asked()
            .iter()
            .any(|asked| asked.words.iter().any(|words| words.contains(&format!("`{command}` failed"))));
        let state = review["state"].as_str().unwrap_or_default();
        let is_right = failed.len() == 1
            && failed[0]["command"] == *command
            && review["claims"][0]["text"] == "All tests pass."
            && review["claims"][0]["passed"] != true
            && !run.out.contains("\u{2713} All tests pass")
            && state.starts_with("says done, but ")
            && told
            && run.code == Some(1);
        if !is_right {
            wrong.push(format!(
                "{kind}: {state}, told: {told}, exit {:?}\n{checks:#?}\n{}",
                run.code, run.out
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_failed_before_is_told_apart() {
    let stage = Stage::set();
    let (_, files, _, command) = KINDS[2];
    files.iter().for_each(|(path, content)| stage.file(path, content));
    stage.file("shop.py", "def total(a, b):\n    return a * b\n");
    let model = Model::saying(vec![shell("echo '# prices' >> shop.py"), say("I noted it. All tests pass.")]);
    stage.use_model(&model, Wire::Chat);
    let run = stage.quire(&["note it"]).exits(0);
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!(
        (&review["state"], &review["checks"][1]["command"]),
        (&"ready".into(), &command.into()),
        "{review}"
    );
    assert_eq!(review["checks"][1]["outcome"], "fails (exit 1), as before (1 failed)");
    assert!(run.out.contains("\u{2717} All tests pass: "), "{}", run.out);
    assert_eq!(model.asked().len(), 2, "it is not sent back for what it did not break");
}

#[test]
fn a_new_test_is_tried_on_the_old_code() {
    let stage = Stage::set();
    let (_, files, ..) = KINDS[2];
    files.iter().for_each(|(path, content)| stage.file(path, content));
    stage.file("shop.py", "def total(a, b):\n    return a + b if a else 0\n");
    let agent = "sed -i 's/ if a else 0//' shop.py; printf '    def test_zero(self):\\n        self.assertEqual(shop.total(0, 3), 3)\\n' >> test_shop.py";
    let model =
        Model::saying(vec![shell(agent), say("I mended it.\nClaim: Zero counts. [python3 -m unittest]")]);
    stage.use_model(&model, Wire::Chat);
    let run = stage.quire(&["mend it"]).exits(0);
    assert!(run.out.contains("passes; the old code fails the new tests"), "{}", run.out);
}

#[test]
fn a_folder_of_notes_has_no_checks_and_found_ones_can_be_left_out() {
    for (arguments, agent, checks) in [
        (&["note it"][..], "echo more > notes.md; echo x > paper.pdf", 0),
        (&["note it", "--check", "none"], "echo '{' > a.json", 0),
        (&["note it", "-c", "checks.found=false"], "echo '{' > a.json", 0),
        (&["note it", "--check", "none", "--check", "true"], "echo '{' > a.json", 1),
    ] {
        let stage = Stage::set();
        stage.file("notes.md", "notes\n");
        let model = Model::saying(vec![shell(agent), say("Noted.")]);
        stage.use_model(&model, Wire::Chat);
        stage.quire(arguments).exits(0);
        let review = stage.json(&["review", "1"])["review"].clone();
        assert_eq!(review["checks"].as_array().unwrap().len(), checks, "{arguments:?}");
    }
}

/// Two pixels by two.
const PICTURE: &str = "echo right > answer; echo iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGM8IafBwMDAxMDAwMDAAAANcgESOXKF8gAAAABJRU5ErkJggg== \
                       | base64 -d > a.png";

#[test]
fn it_is_accepted_by_itself_only_where_all_is_proved() {
    for (agent, end, check, refused) in [
        (
            "echo right > answer",
            "It is there.\nClaim: It is right. [grep right answer]",
            "grep right answer",
            None,
        ),
        (
            "echo right > answer",
            "It is there. I tested it by hand.",
            "grep right answer",
            Some("not checked"),
        ),
        ("echo right > answer; rm old", "Done.", "grep right answer", Some("old is deleted")),
        (
            "echo right > answer; chmod +x answer",
            "Done.",
            "grep right answer",
            Some("can now be run as a program"),
        ),
        (
            "echo right > answer",
            "Done.\nNot done: the second half",
            "grep right answer",
            Some("not done: the second half"),
        ),
        ("echo right > answer; echo true > t.sh", "Done.", "sh t.sh", Some("only since the agent changed")),
        ("echo right > answer", "Done.", "none", Some("it is not checked")),
        (PICTURE, "Done.", "grep right answer", None),
        (
            "echo right > answer; head -c 9 /dev/zero > a.bin",
            "Done.",
            "grep right answer",
            Some("a.bin is no text, or too large"),
        ),
    ] {
        let stage = Stage::set();
        stage.file("old", "old\n");
        stage.file("t.sh", "false\n");
        let model = Model::saying(vec![shell(agent), say(end)]);
        stage.use_model(&model, Wire::Chat);
        let run = stage.quire(&["do it", "--check", check, "--accept-if-checks-pass"]);
        let accepted = stage.folder.join("answer").exists();
        // A script reads one object, with the same outcome.
        let script = Stage::set();
        script.file("old", "old\n");
        script.file("t.sh", "false\n");
        script.use_model(&model, Wire::Chat);
        let json = script.quire(&["do it", "--check", check, "--accept-if-checks-pass", "--json"]);
        let lines = json.lines();
        let [last] = lines.as_slice() else { panic!("one object: {}", json.out) };
        assert!(last["review"].is_object(), "{last}");
        match refused {
            None => assert!(last["accepted"]["files"].is_array() && json.code == Some(0), "{last}"),
            Some(why) => {
                assert!(last["not_accepted"].as_str().is_some_and(|told| told.contains(why)), "{last}");
                assert_eq!(json.code, Some(3));
            }
        }
        assert_eq!(script.folder.join("answer").exists(), accepted);
        match refused {
            None => {
                run.exits(0);
                assert!(accepted);
                stage.quire(&["undo", "1"]).exits(0);
                assert!(!stage.folder.join("answer").exists());
            }
            Some(why) => {
                run.exits(3).tells(&["was not accepted", why]);
                assert!(!accepted, "{why}");
            }
        }
    }
}

#[test]
fn what_quire_saw_can_be_sent_on() {
    let stage = Stage::set();
    let model = Model::saying(vec![shell("echo right > answer"), say("It is there.")]);
    stage.use_model(&model, Wire::Chat);
    stage.quire(&["do it", "--check", "seq 100000; grep right answer"]).exits(0);
    let dir = stage.base().join("evidence");
    let told = stage.json(&["review", "1", "--evidence", dir.to_str().unwrap()]);
    assert_eq!(told["files"].as_array().unwrap().len(), 4, "{told}");
    let check = fs::read_to_string(dir.join("check-1-seq-100000--grep-right-answer.txt")).unwrap();
    let review = stage.json(&["review", "1"])["review"].clone();
    let head = "command:  seq 100000; grep right answer\noutcome:  passes\nexit:     0\ntook:     0:0";
    assert!(check.starts_with(head), "{}", &check[..200]);
    assert!(
        check.contains(review["seen"].as_str().unwrap())
            && check.contains("\n50000\n")
            && check.ends_with("right\n")
    );
    assert!(fs::read_to_string(dir.join("summary.txt")).unwrap().contains("Asked for: do it"));
    assert!(fs::read_to_string(dir.join("changes.diff")).unwrap().contains("+right"));
    // What is there is never written over.
    stage.quire(&["review", "1", "--evidence", dir.to_str().unwrap()]).exits(2).tells(&["cannot be written"]);
}

/// What a slow check said of the last version: something else each time it runs.
fn said(stage: &Stage, version: u64) -> String {
    let review = stage.json(&["review", "1"])["review"].clone();
    assert_eq!(review["version"], version, "{review}");
    assert_eq!(review["checks"][0]["outcome"], "passes", "{review}");
    review["checks"][0]["output"].as_str().unwrap().to_owned()
}

#[test]
fn a_slow_one_runs_again_only_where_something_is_different_whoever_drives() {
    let stage = Stage::set();
    let model = Model::saying(vec![
        shell("echo right > answer"),
        say("It is right."),
        say("It is still right."),
        shell("echo right, and more > answer"),
        say("There is more."),
        shell("echo right > answer"),
        say("As it was."),
    ]);
    stage.use_model(&model, Wire::Chat);
    let slow = "sleep 10.1; grep right answer && cat /proc/sys/kernel/random/uuid";
    stage.quire(&["run", "answer", "--check", slow]).exits(0);
    let first = said(&stage, 1);
    stage.host().kill();
    let mut last = first.clone();
    for (version, words, is_again) in [(2, "is it?", true), (3, "more", false), (4, "as it was", true)] {
        stage.quire(&["revise", "1", words]);
        stage.quire(&["watch", "1"]).exits(0);
        let now = said(&stage, version);
        assert_eq!(now == first, is_again, "{words}: {now}, and {first} at first");
        last = now;
    }
    assert_eq!(last, first, "what was proved before stands again");
}
