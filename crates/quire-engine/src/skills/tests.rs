//! Where skills are found, what is one, and what of it is copied.

use super::*;
use corpus::corpus;

#[path = "../../tests/skills-ref/corpus.rs"]
mod corpus;

struct Tree {
    dir: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Tree {
        let tree = Tree { dir: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, text)| tree.put(path, text));
        tree
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn skill(&self, dir: &str, description: &str) {
        let name = dir.rsplit('/').next().unwrap();
        self.put(
            &format!("{dir}/SKILL.md"),
            &format!("---\nname: {name}\ndescription: {description}\n---\nDo it.\n"),
        );
    }

    fn path(&self, below: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(below)
    }

    fn with<T>(&self, folder: &str, run: impl FnOnce(Reader<'_>) -> T) -> T {
        let (folder, config, home) = (self.path(folder), self.path("config"), self.path("home"));
        run(Reader {
            folder: &folder,
            config_dir: Some(&config),
            home: Some(&home),
            hide: &["*.hidden".to_owned()],
        })
    }

    /// Returns the directories of the skills that count, and those of the others with the reason.
    fn find(&self, folder: &str) -> (String, String) {
        let short = |path: &Path| path.strip_prefix(self.path("")).unwrap().display().to_string();
        let (found, refused) = self.with(folder, find);
        let found: Vec<String> = found.iter().map(|skill| short(&skill.dir)).collect();
        let refused: Vec<String> = refused
            .iter()
            .map(|(dir, why)| format!("{}: {}", short(dir), why.replace(self.path("").to_str().unwrap(), "")))
            .collect();
        (found.join(" "), refused.join("\n"))
    }
}

#[test]
fn skills_of_project_and_person_the_nearest_first() {
    let tree =
        Tree::new(&[("repo/.git/HEAD", ""), ("repo/sub/x", ""), ("home/.claude/skills/notes/README.md", "")]);
    for dir in [
        "repo/.agents/skills/a",
        "repo/.codex/skills/b",
        "repo/sub/.claude/skills/c",
        "repo/sub/.agents/skills/a",
        "config/skills/d",
        "home/.agents/skills/e",
        "home/.codex/skills/f",
        "home/.codex/skills/.system/g",
        "home/.claude/skills/d",
        ".agents/skills/above-the-project",
    ] {
        tree.skill(dir, "does it");
    }
    // The same skill by another way is no clash.
    fs::remove_dir_all(tree.path("home/.claude/skills/notes")).unwrap();
    symlink("../../.agents/skills/e", tree.path("home/.claude/skills/e")).unwrap();
    let clash = |lost: &str, first: &str| format!("{lost}: {first} has the same name and comes first");
    let (found, refused) = tree.find("repo/sub");
    assert_eq!(
        found,
        "repo/sub/.agents/skills/a repo/sub/.claude/skills/c repo/.codex/skills/b config/skills/d \
         home/.agents/skills/e home/.codex/skills/f home/.codex/skills/.system/g"
    );
    assert_eq!(
        refused,
        [
            clash("repo/.agents/skills/a", "repo/sub/.agents/skills/a"),
            clash("home/.claude/skills/d", "config/skills/d")
        ]
        .join("\n")
    );
}

#[test]
fn nothing_is_read_that_leads_out_of_the_project_or_is_hidden() {
    let tree =
        Tree::new(&[("repo/.git/HEAD", ""), ("secret/SKILL.md", "---\nname: x\ndescription: key\n---")]);
    fs::create_dir_all(tree.path("repo/.agents/skills/y")).unwrap();
    symlink("../../../secret", tree.path("repo/.agents/skills/x")).unwrap();
    symlink("../../../../secret/SKILL.md", tree.path("repo/.agents/skills/y/SKILL.md")).unwrap();
    tree.put("repo/.agents/skills/z/note.hidden", "---\nname: z\ndescription: key\n---");
    symlink("note.hidden", tree.path("repo/.agents/skills/z/SKILL.md")).unwrap();
    fs::create_dir_all(tree.path("repo/.agents/skills/p")).unwrap();
    let fifo = tree.path("repo/.agents/skills/p/SKILL.md");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    fs::create_dir_all(tree.path("repo/.agents/skills/u")).unwrap();
    fs::write(tree.path("repo/.agents/skills/u/SKILL.md"), b"---\nname: u\ndescription: caf\xe9\n---")
        .unwrap();
    let (found, refused) = tree.find("repo");
    assert_eq!(found, "");
    assert_eq!(
        refused,
        "repo/.agents/skills/p: it is not a regular file\n\
         repo/.agents/skills/u: its SKILL.md is not UTF-8\n\
         repo/.agents/skills/x: it is a link that leads out of the project\n\
         repo/.agents/skills/y: it is a link that leads out of the project\n\
         repo/.agents/skills/z: it is hidden"
    );
}

#[test]
fn skills_outside_the_folder_are_copied() {
    let tree = Tree::new(&[("home/.agents/skills/out/scripts/run.sh", "#!/bin/sh"), ("secret", "key")]);
    tree.skill("folder/.claude/skills/in", "stays");
    tree.skill("home/.agents/skills/out", "goes\n  along");
    let script = tree.path("home/.agents/skills/out/scripts/run.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    tree.put("home/.agents/skills/out/.env", "KEY=1");
    symlink("scripts/run.sh", tree.path("home/.agents/skills/out/go")).unwrap();
    symlink("../../../../secret", tree.path("home/.agents/skills/out/key")).unwrap();
    let (skills, left_out) =
        tree.with("folder", |reader| give(find(reader).0, reader, &tree.path("given"), Path::new("/inside")));
    let told: Vec<String> =
        skills.iter().map(|s| format!("{} {}: {}", s.name, s.path, s.description)).collect();
    assert_eq!(told, ["in .claude/skills/in/SKILL.md: stays", "out /inside/skills/out/SKILL.md: goes along"]);
    let copy = |path: &str| tree.path("given/skills/out").join(path);
    assert_eq!(fs::read_to_string(copy("go")).unwrap(), "#!/bin/sh");
    let mode = |path: &str| fs::metadata(copy(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(""), mode("SKILL.md"), mode("scripts/run.sh")], [0o755, 0o644, 0o755]);
    assert!(!copy("key").exists() && !copy(".env").exists());
    let mut left_out: Vec<&str> = left_out.iter().map(|line| line.split("/out/").nth(1).unwrap()).collect();
    left_out.sort();
    assert_eq!(left_out, [".env: it is hidden", "key: it is a link that leads out of the skill"]);
    // One that is too large is none.
    fs::File::create(tree.path("home/.agents/skills/out/large")).unwrap().set_len(33 << 20).unwrap();
    let (skills, left_out) = tree
        .with("folder", |reader| give(find(reader).0, reader, &tree.path("given2"), Path::new("/inside")));
    assert_eq!(skills.len(), 1);
    assert!(
        left_out[0].ends_with("it cannot be copied: it has more than 2,000 files or 32 MiB"),
        "{left_out:?}"
    );
}

#[test]
fn the_list_has_a_bound() {
    let skills = |count: usize, length: usize| -> Vec<Skill> {
        (0..count)
            .map(|n| Skill {
                name: format!("s{n}"),
                description: "\u{e4}".repeat(length / 2),
                path: format!("s{n}/SKILL.md"),
            })
            .collect()
    };
    let rows =
        [(0, 10, 0, 0), (7, 1000, 7, 1000), (10, 1000, 10, 511), (30, 1000, 30, 255), (100, 1000, 54, 127)];
    for (count, length, kept, longest) in rows {
        let mut list = skills(count, length);
        let told = bound(&mut list);
        assert_eq!((list.len(), told.is_some()), (kept, kept < count), "{count}");
        assert!(
            list.iter().all(|skill| skill.description.len() <= longest),
            "{count}: {}",
            list[0].description.len()
        );
        let size: usize = list.iter().map(|s| s.name.len() + s.path.len() + s.description.len() + 8).sum();
        assert!(size <= LIST_BYTES_MAX, "{count}: {size}");
    }
}

#[test]
fn what_a_skill_must_say() {
    for (text, expected, dir) in corpus() {
        let said = frontmatter::read(&text, &dir).map_or_else(|why| why, |_| String::new());
        let fits = if expected.ends_with(": ") { said.starts_with(expected) } else { said == expected };
        assert!(fits, "{text}\n{said}");
    }
}
