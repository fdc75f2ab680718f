//! Files that can make something run on the person's machine, after Accept, without that the person starts it by name: they
//! open the folder in an editor, commit, build, or log in, and a line in one of these is a command.
//!
//! Known by where a file lies and how it is called, because what it says is the agent's; only manifests are looked into
//! ([`inert`](super::inert)), where most changes run nothing. What only runs where a person
//! starts the program that they are writing is not here, or nothing would be left out. The list is of well-known programs; what it
//! does not know is no promise. Each row's
//! reason is documented behaviour of the program that it names. What the git of a person's folder is told to run is for who reads that.

use crate::bytes::RelPath;
use crate::change::inert;

/// A rule, and what happens because of a file that it fits.
struct Rule {
    /// Lower-case; whole components joined by `/`, matched at any depth. `*` in a component stands for anything in it; a
    /// `/` at the end for everything below.
    pattern: &'static str,
    runs: &'static str,
}

const fn rule(pattern: &'static str, runs: &'static str) -> Rule {
    Rule { pattern, runs }
}

pub const HOOK: &str = "runs when you use git here";
const HG: &str = "runs when you use Mercurial here";
const EDITOR: &str = "can run when you open the folder in an editor";
const AGENT: &str = "tells coding agents what to run";
const CI: &str = "runs where the project is built after a push";
const SHELL: &str = "runs when a shell starts or enters the folder";
const BUILD: &str = "runs when you build, test or install the project";
const PYTHON: &str = "runs when Python starts here";
const LOGIN: &str = "runs when you log in, or by the clock";
const TOOL: &str = "runs when the program starts that it is for";
const REMOTE: &str = "lets somebody or something in";

#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule(".git/", HOOK), rule(".githooks/", HOOK), rule(".husky/", HOOK), rule("git-hooks/", HOOK), rule(".git-hooks/", HOOK),
    rule(".pre-commit-config.yaml", HOOK), rule(".pre-commit-config.yml", HOOK), rule(".pre-commit-hooks.yaml", HOOK),
    rule("lefthook.*", HOOK), rule(".lefthook.*", HOOK), rule(".lefthook/", HOOK), rule(".overcommit.yml", HOOK),
    rule(".lintstagedrc*", HOOK), rule("lint-staged.config.*", HOOK), rule(".simple-git-hooks*", HOOK),
    rule("simple-git-hooks.*", HOOK), rule(".gitmodules", HOOK), rule(".gitconfig", HOOK), rule(".gitattributes", HOOK),
    rule("hooks/pre-*", HOOK), rule("hooks/post-*", HOOK), rule("hooks/commit-msg", HOOK), rule("hooks/prepare-commit-msg", HOOK), rule(".hg/", HG), rule(".hgrc", HG),
    rule(".vscode/", EDITOR), rule("*.code-workspace", EDITOR), rule(".idea/", EDITOR), rule("*.iml", EDITOR), rule(".fleet/", EDITOR),
    rule(".zed/", EDITOR), rule(".nova/", EDITOR), rule("*.sublime-project", EDITOR), rule("*.sublime-build", EDITOR),
    rule(".dir-locals.el", EDITOR), rule(".dir-locals-2.el", EDITOR), rule(".emacs", EDITOR), rule(".emacs.d/", EDITOR), rule(".vimrc", EDITOR),
    rule(".exrc", EDITOR), rule(".nvimrc", EDITOR), rule(".nvim.lua", EDITOR), rule(".vim/", EDITOR), rule(".lvimrc", EDITOR),
    rule(".kateconfig", EDITOR), rule(".helix/", EDITOR), rule(".devcontainer/", EDITOR), rule(".devcontainer.json", EDITOR),
    rule(".gitpod.yml", EDITOR), rule(".vs/", EDITOR), rule(".settings/", EDITOR), 
    rule(".claude/", AGENT), rule(".claude.json", AGENT), rule("claude.md", AGENT), rule("claude.local.md", AGENT), rule("agents.md", AGENT), rule("agents.override.md", AGENT),
    rule("gemini.md", AGENT), rule(".gemini/", AGENT), rule(".codex/", AGENT), rule(".cursor/", AGENT), rule(".cursorrules", AGENT),
    rule(".mcp.json", AGENT), rule("mcp.json", AGENT), rule(".windsurf/", AGENT), rule(".windsurfrules", AGENT), rule(".clinerules", AGENT), rule(".clinerules/", AGENT),
    rule(".aider.conf.yml", AGENT), rule(".continue/", AGENT), rule(".roo/", AGENT), rule(".kiro/", AGENT), rule(".opencode/", AGENT), rule("opencode.json*", AGENT), rule(".agents/", AGENT),
    rule(".github/copilot-instructions.md", AGENT), rule(".goosehints", AGENT), rule("quire.toml", AGENT), rule("skill.md", AGENT), rule(".quire/", AGENT),
    rule(".github/workflows/", CI), rule(".github/actions/", CI), rule("action.yml", CI), rule("action.yaml", CI), rule(".gitlab-ci.yml", CI), rule(".gitlab/", CI), rule(".circleci/", CI),
    rule(".travis.yml", CI), rule("jenkinsfile*", CI), rule("azure-pipelines*.yml", CI), rule("bitbucket-pipelines.yml", CI), rule(".drone.yml", CI),
    rule(".woodpecker.yml", CI), rule(".woodpecker/", CI), rule(".buildkite/", CI), rule(".cirrus.yml", CI), rule("appveyor.yml", CI), rule(".appveyor.yml", CI), rule(".forgejo/", CI), rule(".gitea/", CI),
    rule("cloudbuild.yaml", CI), rule("buildspec.yml", CI), rule(".builds/", CI), rule(".sourcehut/", CI),
    rule(".envrc", SHELL), rule(".bashrc", SHELL), rule(".bash_profile", SHELL), rule(".bash_login", SHELL), rule(".bash_logout", SHELL), rule(".bash_aliases", SHELL),
    rule(".profile", SHELL), rule(".zshrc", SHELL), rule(".zshenv", SHELL), rule(".zprofile", SHELL), rule(".zlogin", SHELL), rule(".zlogout", SHELL),
    rule(".config/fish/", SHELL), rule(".kshrc", SHELL), rule(".cshrc", SHELL), rule(".tcshrc", SHELL), rule(".login", SHELL), rule(".inputrc", SHELL),
    rule(".tool-versions", SHELL), rule("mise.toml", SHELL), rule(".mise.toml", SHELL), rule("mise.local.toml", SHELL), rule(".mise/", SHELL), rule(".rtx.toml", SHELL), rule(".autoenv", SHELL), rule(".autoenv.zsh", SHELL), rule(".env.zsh", SHELL),
    rule("flake.nix", SHELL), rule("shell.nix", SHELL), rule("default.nix", SHELL), rule("devenv.nix", SHELL), rule("devbox.json", SHELL), rule(".shadowenv.d/", SHELL),
    rule("makefile", BUILD), rule("gnumakefile", BUILD), rule("makefile.*", BUILD), rule("*.mk", BUILD), rule("justfile", BUILD), rule(".justfile", BUILD), rule("*.just", BUILD),
    rule("taskfile.y*ml", BUILD), rule("taskfile.dist.y*ml", BUILD), rule("rakefile", BUILD), rule("*.gemspec", BUILD), rule("podfile", BUILD), rule("fastlane/", BUILD),
    rule("cmakelists.txt", BUILD), rule("*.cmake", BUILD), rule("cmakepresets.json", BUILD), rule("meson.build", BUILD), rule("sconstruct", BUILD), rule("wscript", BUILD), rule("configure", BUILD), rule("configure.ac", BUILD), rule("autogen.sh", BUILD),
    rule("build.rs", BUILD), rule(".cargo/", BUILD), rule("rust-toolchain*", BUILD), rule("build.zig", BUILD), rule("package.swift", BUILD), rule("project.clj", BUILD), rule("mix.exs", BUILD), rule("build.sbt", BUILD), rule("setup.hs", BUILD),
    rule("build.gradle*", BUILD), rule("settings.gradle*", BUILD), rule("init.gradle*", BUILD), rule("gradlew*", BUILD), rule("gradle/wrapper/", BUILD), rule(".mvn/", BUILD), rule("mvnw*", BUILD), rule("build.xml", BUILD), rule("pom.xml", BUILD),
    rule("build.bazel", BUILD), rule("module.bazel", BUILD), rule(".bazelrc", BUILD), rule("*.bzl", BUILD), rule(".buckconfig", BUILD),
    rule("directory.build.*", BUILD), rule("*.targets", BUILD), rule("*.props", BUILD), rule("*.*proj", BUILD), rule("nuget.config", BUILD), rule("vagrantfile", BUILD), rule("tiltfile", BUILD), rule("gemfile", BUILD), rule("deno.json*", BUILD),
    rule(".npmrc", BUILD), rule(".yarnrc*", BUILD), rule(".yarn/", BUILD), rule(".pnp.*", BUILD), rule(".pnpmfile.cjs", BUILD), rule("pnpm-workspace.yaml", BUILD), rule("bunfig.toml", BUILD), rule("binding.gyp", BUILD),
    rule("gruntfile.*", BUILD), rule("gulpfile.*", BUILD), rule("*.config.js", BUILD), rule("*.config.cjs", BUILD), rule("*.config.mjs", BUILD), rule("*.config.ts", BUILD), rule("*.config.mts", BUILD), rule(".eslintrc*", BUILD), rule(".babelrc*", BUILD), rule(".mocharc*", BUILD), rule(".prettierrc*", BUILD), rule("composer.json", BUILD),
    rule("setup.py", BUILD), rule("setup.cfg", BUILD), rule("tox.ini", BUILD), rule("noxfile.py", BUILD), rule("conftest.py", BUILD), rule("pytest.ini", BUILD), rule("tasks.py", BUILD), rule("fabfile.py", BUILD), rule("dodo.py", BUILD),
    rule("sitecustomize.py", PYTHON), rule("usercustomize.py", PYTHON), rule("*.pth", PYTHON), rule("pyvenv.cfg", PYTHON), rule("venv/", PYTHON), rule(".venv/", PYTHON), rule(".pythonrc*", PYTHON), rule(".pypirc", PYTHON), rule(".pip/", PYTHON), rule("pip.conf", PYTHON), rule(".ipython/", PYTHON), rule(".jupyter/", PYTHON),
    rule(".config/autostart/", LOGIN), rule(".config/systemd/", LOGIN), rule("systemd/user/", LOGIN), rule("*.service", LOGIN), rule("*.timer", LOGIN), rule("crontab", LOGIN), rule("cron.d/", LOGIN), rule("*.desktop", LOGIN), rule(".xinitrc", LOGIN), rule(".xsession*", LOGIN), rule(".xprofile", LOGIN), rule(".pam_environment", LOGIN), rule("launchagents/", LOGIN), rule("launchdaemons/", LOGIN),
    rule(".gdbinit", TOOL), rule(".lldbinit", TOOL), rule(".screenrc", TOOL), rule(".tmux.conf", TOOL), rule(".irbrc", TOOL), rule(".pryrc", TOOL), rule(".rprofile", TOOL), rule(".octaverc", TOOL), rule(".psqlrc", TOOL), rule(".sqliterc", TOOL), rule(".curlrc", TOOL), rule(".wgetrc", TOOL), rule(".ansible.cfg", TOOL), rule("ansible.cfg", TOOL), rule(".terraformrc", TOOL), rule(".lesskey", TOOL), rule(".mailcap", TOOL), rule(".latexmkrc", TOOL), rule("latexmkrc", TOOL), rule(".local/bin/", TOOL),
    rule(".ssh/", REMOTE), rule("authorized_keys*", REMOTE), rule(".netrc", REMOTE), rule(".kube/", REMOTE), rule(".docker/", REMOTE), rule(".gnupg/", REMOTE),
];

/// Returns in a few words what a file at `path` can make run, or `None`. `contents` are what it was and is, where they are
/// known; a deletion runs nothing and need not be asked about.
pub fn runs(path: &RelPath, contents: Option<(&[u8], &[u8])>) -> Option<&'static str> {
    // Some file systems do not tell the cases apart, and programs of theirs find the file by either.
    let shown = String::from_utf8_lossy(path.as_bytes()).to_lowercase();
    let parts: Vec<&str> = shown.split('/').collect();
    if let Some(name) = parts.last().filter(|name| inert::is_manifest(name)) {
        return contents.is_none_or(|(was, now)| !inert::is_inert(name, was, now)).then_some(BUILD);
    }
    RULES.iter().find(|rule| fits(rule.pattern, &parts)).map(|rule| rule.runs)
}

fn fits(pattern: &str, parts: &[&str]) -> bool {
    let (pattern, below) = match pattern.strip_suffix('/') {
        Some(dir) => (dir, true),
        None => (pattern, false),
    };
    let wanted: Vec<&str> = pattern.split('/').collect();
    let places = parts.windows(wanted.len()).enumerate();
    let mut found =
        places.filter(|(_, some)| some.iter().zip(&wanted).all(|(part, wanted)| is_like(wanted, part)));
    // A link or file of the directory's own name is what the directory would be.
    found.any(|(at, _)| below || at + wanted.len() == parts.len())
}

/// Returns whether a component is like a pattern with at most two `*`.
fn is_like(pattern: &str, part: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == part };
    let Some(part) = part.strip_prefix(head) else { return false };
    match rest.split_once('*') {
        None => part.ends_with(rest),
        Some((middle, tail)) => part.strip_suffix(tail).is_some_and(|between| between.contains(middle)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j10_files_that_run_things_are_known() {
        for (path, expected) in [
            (".git/hooks/pre-commit", Some(HOOK)),
            ("sub/.husky/pre-push", Some(HOOK)),
            (".pre-commit-config.yaml", Some(HOOK)),
            ("lefthook.yml", Some(HOOK)),
            ("a/.vscode/tasks.json", Some(EDITOR)),
            (".VSCode/Settings.json", Some(EDITOR)),
            (".vscode", Some(EDITOR)),
            (".idea/workspace.xml", Some(EDITOR)),
            (".envrc", Some(SHELL)),
            (".bashrc", Some(SHELL)),
            (".cargo/config.toml", Some(BUILD)),
            ("Makefile", Some(BUILD)),
            ("sub/GNUmakefile", Some(BUILD)),
            ("CMakePresets.json", Some(BUILD)),
            ("lib/pyvenv.cfg", Some(PYTHON)),
            (".venv/bin/python", Some(PYTHON)),
            (".codex/config.toml", Some(AGENT)),
            (".claude/settings.json", Some(AGENT)),
            (".mcp.json", Some(AGENT)),
            ("AGENTS.md", Some(AGENT)),
            (".github/workflows/ci.yml", Some(CI)),
            ("package.json", Some(BUILD)),
            (".config/autostart/x.desktop", Some(LOGIN)),
            (".ssh/authorized_keys", Some(REMOTE)),
            ("src/main.rs", None),
            ("Cargo.toml", Some(BUILD)),
            ("pyproject.toml", Some(BUILD)),
            ("setup.cfg", Some(BUILD)),
            ("app/pom.xml", Some(BUILD)),
            ("Vagrantfile", Some(BUILD)),
            ("Tiltfile", Some(BUILD)),
            ("Gemfile", Some(BUILD)),
            ("deno.jsonc", Some(BUILD)),
            ("src/App.csproj", Some(BUILD)),
            (".hg/hgrc", Some(HG)),
            ("index.html", None),
            ("notes/makefiles.md", None),
            ("vscode/tasks.json", None),
            ("build/index.html", None),
            (".github/ISSUE_TEMPLATE.md", None),
            ("workflows/ci.yml", None),
            ("README.md", None),
            ("hooks/useState.js", None),
        ] {
            assert_eq!(runs(&RelPath::new(path).unwrap(), None), expected, "{path}");
        }
    }

    #[test]
    fn rules_are_written_as_they_are_compared() {
        for rule in RULES {
            assert_eq!(rule.pattern, rule.pattern.to_lowercase());
            assert!(!rule.pattern.starts_with('/') && rule.pattern.matches('*').count() <= 2);
        }
    }
}
