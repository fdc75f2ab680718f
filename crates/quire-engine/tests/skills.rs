//! Which skills count: the same that the reference validator takes, skills-ref, which `skills-ref/install` installs.

use quire_engine::conventions::told;
use quire_engine::settings::{self, Options, Surroundings};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "skills-ref/corpus.rs"]
mod corpus;

#[test]
fn the_reference_validator_says_the_same() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("QUIRE_TEST_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| here.join("../../target/test-cache")).join("skills-ref");
    let install = here.join("tests/skills-ref/install");
    assert!(cache.join("stamp").exists(), "{} is missing; run {} once.", cache.display(), install.display());

    let (dir, corpus) = (tempfile::tempdir().unwrap(), corpus::corpus());
    let surroundings = Surroundings { cwd: dir.path().to_owned(), ..Surroundings::default() };
    let settings = settings::read(&Options::default(), None, &surroundings).unwrap();
    let folder = |number: usize| dir.path().canonicalize().unwrap().join(number.to_string());
    let mut places = vec![];
    for (number, (text, _, name)) in corpus.iter().enumerate() {
        let place = folder(number).join(".agents/skills").join(name);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("SKILL.md"), text).unwrap();
        places.push(place);
    }
    let script = "import sys, pathlib\nfrom skills_ref.validator import validate\n\
                  for place in sys.argv[1:]: print(len(validate(pathlib.Path(place))))";
    let out = Command::new(cache.join("bin/python")).args(["-c", script]).args(&places).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let verdicts = String::from_utf8(out.stdout).unwrap();
    assert_eq!(verdicts.lines().count(), corpus.len());
    for (number, (verdict, (text, ..))) in verdicts.lines().zip(&corpus).enumerate() {
        let ours = told(&folder(number), &settings, &surroundings);
        assert_eq!(verdict == "0", ours.skills.len() == 1, "{text}\n{:?}", ours.left_out);
        assert_eq!(ours.skills.len() + ours.left_out.len(), 1, "a skill, or told why not");
    }
}
