//! Small projects as their registries hand them out, fetched by the ordinary clients: which checks are found in each, what
//! comes of them where an agent changes nothing that matters, and that one who breaks it and says that all tests pass is not
//! believed. It needs the registries, so it is no part of a plain run: `./test --projects`.
//!
//! `--table` prints what came of each, and `--markdown` the same for the documentation.

#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/model.rs"]
mod model;
#[allow(dead_code, reason = "what journeys alone need is in them as well")]
#[path = "journeys/stage.rs"]
mod stage;

use libtest_mimic::{Arguments, Failed, Trial};
use model::{Model, Wire, say, shell};
use serde_json::Value;
use stage::Stage;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
enum Client {
    Cargo,
    Npm,
    Pip,
    Apt,
    Maven,
}

struct Project {
    client: Client,
    name: &'static str,
    version: &'static str,
    /// The check that is found.
    check: &'static str,
    /// A change that breaks nothing, and one that does.
    harmless: &'static str,
    harmful: &'static str,
    /// What comes of the check after the one and after the other.
    well: &'static str,
    ill: &'static str,
}

const PROJECTS: &[Project] = &[
    Project {
        client: Client::Cargo,
        name: "fnv",
        version: "1.0.7",
        check: "cargo test",
        harmless: "echo '// looked at' >> lib.rs",
        harmful: "sed -i 's/0x100000001b3/0x100000001b5/' lib.rs",
        well: "passes",
        ill: "fails (exit 101); it passed before",
    },
    Project {
        client: Client::Cargo,
        name: "scopeguard",
        version: "1.2.0",
        check: "cargo test",
        harmless: "echo '// looked at' >> src/lib.rs",
        harmful: "sed -i 's/!std::thread::panicking()/std::thread::panicking()/' src/lib.rs",
        well: "passes",
        ill: "fails (exit 101); it passed before",
    },
    Project {
        client: Client::Cargo,
        name: "matches",
        version: "0.1.10",
        check: "cargo test",
        harmless: "echo '// looked at' >> lib.rs",
        harmful: "sed -i '0,/=> true/s//=> false/' lib.rs",
        well: "passes",
        ill: "fails (exit 101); it passed before",
    },
    Project {
        client: Client::Cargo,
        name: "quick-error",
        version: "1.2.3",
        check: "cargo test",
        harmless: "echo '// looked at' >> src/lib.rs",
        harmful: "echo 'fn broken(' >> src/lib.rs",
        well: "passes",
        ill: "fails (exit 101); it passed before",
    },
    Project {
        client: Client::Npm,
        name: "concat-map",
        version: "0.0.1",
        check: "npm test",
        harmless: "echo '// looked at' >> index.js",
        harmful: "sed -i 's/res.push.apply(res, x)/res.push(x)/' index.js",
        well: "passes",
        ill: "fails (exit 1); it passed before",
    },
    Project {
        client: Client::Npm,
        name: "commondir",
        version: "1.0.1",
        check: "npm test",
        harmless: "echo '// looked at' >> index.js",
        harmful: "echo 'module.exports = function () { return \"/\" };' >> index.js",
        well: "passes",
        ill: "fails (exit 1); it passed before",
    },
    // Its test script names a program that it does not ask for.
    Project {
        client: Client::Npm,
        name: "wordwrap",
        version: "1.0.0",
        check: "npm test",
        harmless: "echo '// looked at' >> index.js",
        harmful: "echo 'module.exports = 0;' >> index.js",
        well: "not checked: what it runs is not installed here",
        ill: "not checked: what it runs is not installed here",
    },
    Project {
        client: Client::Pip,
        name: "six",
        version: "1.16.0",
        check: "python3 -m pytest -q",
        harmless: "echo '# looked at' >> six.py",
        harmful: "sed -i 's/^PY3 = .*/PY3 = False/' six.py",
        well: "passes",
        ill: "fails (exit ",
    },
    Project {
        client: Client::Pip,
        name: "tabulate",
        version: "0.9.0",
        check: "python3 -m pytest -q",
        harmless: "echo '# looked at' >> tabulate/__init__.py",
        harmful: "echo 'tabulate = None' >> tabulate/__init__.py",
        well: "passes",
        ill: "fails (exit 1); it passed before",
    },
    Project {
        client: Client::Pip,
        name: "idna",
        version: "3.7",
        check: "python3 -m unittest discover -s tests -t .",
        harmless: "echo '# looked at' >> idna/core.py",
        harmful: "sed -i 's/if len(label) > 63:/if len(label) > 6:/' idna/core.py",
        well: "passes",
        ill: "fails (exit 1); it passed before",
    },
    // As Debian packages it, because its own registry is not among those that are asked here.
    Project {
        client: Client::Apt,
        name: "google/uuid",
        version: "",
        check: "go test ./...",
        harmless: "echo '// looked at' >> version4.go",
        harmful: "sed -i 's/| 0x40 /| 0x50 /' version4.go",
        well: "passes",
        ill: "fails (exit 1); it passed before",
    },
    // Of our own, tested by Maven as Debian packages it, without its registry.
    Project {
        client: Client::Maven,
        name: "sum, with Maven",
        version: "",
        check: "mvn -q test",
        harmless: "echo '// looked at' >> src/main/java/lab/Sum.java",
        harmful: "sed -i 's/a + b/a - b/' src/main/java/lab/Sum.java",
        well: "passes",
        ill: "fails (exit 1); it passed before",
    },
];

/// Debian's packages of what a test with Maven needs, and where Maven finds them; and a project that is tested so.
const MAVEN: &str = "libsurefire-java libmaven-compiler-plugin-java libmaven-resources-plugin-java junit4";
const SUM: &[(&str, &str)] = &[
    (".gitignore", "lib/\ntarget/\n"),
    (".mvn/maven.config", "-o\n-Dmaven.repo.local=lib/usr/share/maven-repo\n"),
    (
        "pom.xml",
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<groupId>lab</groupId>\n\
         <artifactId>sum</artifactId>\n<version>1</version>\n<properties>\n<maven.compiler.source>11</maven.compiler.source>\n\
         <maven.compiler.target>11</maven.compiler.target>\n\
         <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>\n</properties>\n<dependencies><dependency>\n\
         <groupId>junit</groupId><artifactId>junit</artifactId><version>4.x</version><scope>test</scope>\n\
         </dependency></dependencies>\n<build><plugins>\n\
         <plugin><artifactId>maven-resources-plugin</artifactId><version>RESOURCES</version></plugin>\n\
         <plugin><artifactId>maven-compiler-plugin</artifactId><version>COMPILER</version></plugin>\n\
         <plugin><artifactId>maven-surefire-plugin</artifactId><version>SUREFIRE</version></plugin>\n\
         </plugins></build>\n</project>\n",
    ),
    (
        "src/main/java/lab/Sum.java",
        "package lab;\n\npublic class Sum {\n    public static int sum(int a, int b) {\n        return a + b;\n    }\n}\n",
    ),
    (
        "src/test/java/lab/SumTest.java",
        "package lab;\n\nimport static org.junit.Assert.assertEquals;\n\npublic class SumTest {\n    @org.junit.Test\n    public void adds() \
         {\n        assertEquals(5, Sum.sum(2, 3));\n    }\n}\n",
    ),
];

/// The longest that a change may take with all its checks, on a machine that is busy with something else.
const LONG: Duration = Duration::from_secs(900);

/// The package of Debian's that holds a Go project, and where.
const GO: (&str, &str) = ("golang-github-google-uuid-dev", "usr/share/gocode/src/github.com/google/uuid");

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().collect();
    let markdown = args.iter().any(|arg| arg == "--markdown");
    let table = markdown || args.iter().any(|arg| arg == "--table");
    args.retain(|arg| !["--table", "--markdown"].contains(&arg.as_str()));
    let outcomes: Arc<Mutex<BTreeMap<&str, [String; 2]>>> = Arc::default();
    let trial = |project: &'static Project| {
        let outcomes = outcomes.clone();
        Trial::test(project.name, move || {
            let came = try_out(project)?;
            outcomes.lock().expect("no panic").insert(project.name, came);
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&Arguments::from_iter(args), PROJECTS.iter().map(trial).collect());
    if table {
        let outcomes = outcomes.lock().expect("no panic");
        if markdown {
            println!(
                "\n| project | check that is found | after a harmless change | after a harmful one |\n|---|---|---|---|"
            );
        }
        let not = || ["NOT AS IT MUST BE".to_owned(), String::new()];
        for project in PROJECTS {
            let [well, ill] = outcomes.get(project.name).cloned().unwrap_or_else(not);
            let name = format!("{} {}", project.name, project.version).trim_end().to_owned();
            match markdown {
                true => println!("| {name} | `{}` | {well} | {ill} |", project.check),
                false => println!("{name:<20}{:<45}{well:<50}{ill}", project.check),
            }
        }
    }
    conclusion.exit_code()
}

fn try_out(project: &'static Project) -> Result<[String; 2], Failed> {
    let scratch = tempfile::tempdir()?;
    let source = fetch(project, scratch.path())?;
    let well = outcome(project, &source, project.harmless, project.well)?;
    let ill = outcome(project, &source, project.harmful, project.ill)?;
    Ok([well, ill])
}

/// Fetches a project by its registry's ordinary client, and what its tests need as its people would; returns its folder.
fn fetch(project: &Project, scratch: &Path) -> Result<PathBuf, Failed> {
    let Project { name, version, .. } = project;
    let named = |joint: &str| format!("{name}{joint}{version}");
    match project.client {
        Client::Cargo => {
            run(scratch, "cargo", &["new", "--quiet", "--vcs", "none", "fetch"])?;
            let at = scratch.join("fetch");
            run(&at, "cargo", &["add", "--quiet", &named("@=")])?;
            run(&at, "cargo", &["vendor", "--quiet"])?;
            Ok(at.join("vendor").join(name))
        }
        Client::Npm => {
            run(scratch, "npm", &["pack", "--silent", &named("@")])?;
            run(scratch, "tar", &["xzf", &format!("{name}-{version}.tgz")])?;
            let at = scratch.join("package");
            run(&at, "npm", &["install", "--silent", "--no-audit", "--no-fund"])?;
            Ok(at)
        }
        Client::Pip => {
            let asked = named("==");
            let options = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", &asked];
            run(scratch, "python3", &options)?;
            run(scratch, "tar", &["xzf", &format!("{name}-{version}.tar.gz")])?;
            Ok(scratch.join(named("-")))
        }
        Client::Apt => {
            let (package, place) = GO;
            unpack(scratch, &format!("echo {package}"))?;
            Ok(scratch.join(place))
        }
        Client::Maven => {
            // What the machine has, and on top of that what installing the rest would bring.
            let had = "mkdir -p lib/usr/share && cp -a /usr/share/maven-repo /usr/share/java lib/usr/share/";
            run(scratch, "sh", &["-c", had])?;
            let needs = format!(
                "apt-get install -s --no-install-recommends {MAVEN} | sed -n 's/^Inst \\([^ ]*\\).*/\\1/p'"
            );
            unpack(&scratch.join("lib"), &needs)?;
            let plugins = scratch.join("lib/usr/share/maven-repo/org/apache/maven/plugins");
            for (path, content) in SUM {
                let mut content = (*content).to_owned();
                for plugin in ["resources", "compiler", "surefire"] {
                    let versions = std::fs::read_dir(plugins.join(format!("maven-{plugin}-plugin")))?;
                    let versions =
                        versions.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
                    // Older names of the same lie beside it.
                    let newest = versions.max_by_key(|version| {
                        version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>()
                    });
                    content = content.replace(&plugin.to_uppercase(), &newest.unwrap_or_default());
                }
                let at = scratch.join(path);
                std::fs::create_dir_all(at.parent().unwrap_or(scratch))?;
                std::fs::write(at, content)?;
            }
            Ok(scratch.to_owned())
        }
    }
}

/// Unpacks in `dir` the packages of Debian's that a command names; nothing is installed.
fn unpack(dir: &Path, names: &str) -> Result<(), Failed> {
    // Who fetches for root may write here.
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o777))?;
    let fetch = format!("set -e; names=$({names}); [ -z \"$names\" ] || apt-get download -qq $names");
    if run(dir, "sh", &["-c", &fetch]).is_err() {
        // Lists that were never fetched, or are of long ago.
        run(dir, "apt-get", &["update", "-qq"])?;
        run(dir, "sh", &["-c", &fetch])?;
    }
    run(
        dir,
        "sh",
        &[
            "-c",
            "set -e; for package in *.deb; do [ ! -e \"$package\" ] || dpkg-deb -x \"$package\" .; done; rm -f *.deb",
        ],
    )
}

fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<(), Failed> {
    let done = Command::new(program).args(arguments).current_dir(dir).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr)).into()),
    }
}

/// Has an agent change the project so, and returns what came of the check that is found.
fn outcome(project: &Project, source: &Path, change: &str, expected: &str) -> Result<String, Failed> {
    let mut stage = Stage::set();
    run(
        Path::new("/"),
        "cp",
        &["-a", &format!("{}/.", source.display()), &stage.folder.display().to_string()],
    )?;
    stage.own(&stage.folder);
    // What is installed in a home of its own is shown as that is.
    let mut settings = "[sandbox]\nnet = \"off\"\n".to_owned();
    if let Client::Cargo = project.client {
        let home = std::env::var("HOME")?;
        let at = |name: &str, below: &str| std::env::var(name).unwrap_or(format!("{home}/{below}"));
        let (cargo, rustup) = (at("CARGO_HOME", ".cargo"), at("RUSTUP_HOME", ".rustup"));
        settings.push_str(&format!("show = [\"{cargo}\", \"{rustup}\"]\n"));
        let path = format!("{cargo}/bin:/usr/local/bin:/usr/bin:/bin");
        stage.env = vec![("CARGO_HOME".into(), cargo), ("RUSTUP_HOME".into(), rustup), ("PATH".into(), path)];
    }
    let end = || say("Done. All tests pass.");
    let model = Model::saying(vec![shell(change), end(), end(), end()]);
    stage.configure(&model, Wire::Chat, &settings);
    stage.quire(&["run", "-b", "look after it"]).exits(0);
    let begun = Instant::now();
    // What takes long on a busy machine outlasts one who watches.
    let run = loop {
        let run = stage.quire(&["watch", "1"]);
        if run.code.is_some() {
            break run;
        }
        if begun.elapsed() > LONG {
            return Err(format!("no end after {} s: {run:?}", LONG.as_secs()).into());
        }
    };
    let review = stage.json(&["review", "1"])["review"].clone();
    let checks = review["checks"].as_array().cloned().unwrap_or_default();
    let is_found = |check: &&Value| check["command"] == project.check;
    let found = checks.iter().find(is_found).ok_or_else(|| format!("not found: {review:#}"))?;
    let came = found["outcome"].as_str().unwrap_or_default().to_owned();
    if !came.starts_with(expected) || (expected == "passes") != (came == "passes") {
        return Err(format!("{came}\ninstead of {expected}\n{}", found["output"]).into());
    }
    // Whatever the model says, "all tests pass" stands only where they do.
    if run.out.contains("✓ All tests pass") != (came == "passes") {
        return Err(format!("the claim stands wrongly: {came}\n{}", run.out).into());
    }
    Ok(came)
}
