//! What the person and the folder want, read once and resolved once. Layers, later ones winning: the person's
//! `config.toml`, the folder's `quire.toml`, `QUIRE_*` variables, `-c`, the other options. A folder may come from anybody,
//! so its file may only narrow ([`Settings::wider_than`]) until its person trusts it ([`crate::trust`]).
//!
//! [`resolve`] is a function of its arguments and of the files it reads; the environment is captured once, in
//! [`Surroundings`].

mod folders;
mod keep;
mod known;
mod layer;
mod models;
mod units;

pub use folders::{FolderError, new_folder};
pub use keep::keep;
pub use known::budget_of;
pub use layer::Origin;
pub use models::{LOCAL, PriceSaid, Provider, Traits};

use crate::facts::Facts;
use crate::nearest::nearest;
use crate::plain_file::read_start;
use crate::trust::{self, Wants};
use layer::{Leaf, Value};
use quire_core::charter::{
    Charter, CheckSpec, Hook, Limits, Model, Net, Purpose, Reviewer, Sandbox, SecretRule,
};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A settings file that is longer is none.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What the options of a command say, as typed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-C`; absent: the current folder.
    pub folder: Option<PathBuf>,
    /// `folder` is one of [`new_folder`], which is not there yet.
    pub new_folder: bool,
    /// `--add-dir`.
    pub further: Vec<PathBuf>,
    /// `-m`.
    pub model: Option<String>,
    /// `--check`, in order.
    pub checks: Vec<String>,
    /// `--max-steps`.
    pub steps: Option<u32>,
    /// `--max-time`.
    pub time: Option<String>,
    /// `--budget`.
    pub budget: Option<String>,
    /// `--net`.
    pub net: Option<String>,
    /// `-c KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// The person said yes to a folder as large as a home.
    pub confirmed: bool,
    /// `--review`.
    pub review: bool,
    /// `--plan`, or `quire ask`.
    pub purpose: Purpose,
}

/// The environment that a command was started in. Variables that are not UTF-8 are left out.
#[derive(Clone, Default)]
pub struct Surroundings {
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
}

/// Without the variables: keys are among them.
impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Returns the surroundings of this process.
    pub fn capture() -> Surroundings {
        let env = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        // A folder that was deleted under the shell has no path; "." then gives the right error.
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Surroundings { env, cwd }
    }

    pub fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME")
    }

    /// Returns `$XDG_CONFIG_HOME/quire`, else `~/.config/quire`.
    pub fn config_dir(&self) -> Option<PathBuf> {
        let base = self.absolute("XDG_CONFIG_HOME").or_else(|| Some(self.home()?.join(".config")));
        base.map(|b| b.join("quire"))
    }

    /// Returns the path in a variable; one that is empty or relative counts as not set (XDG Base Directory 0.8).
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.env.get(name).map(PathBuf::from).filter(|p| p.is_absolute())
    }
}

/// Provider and name of a model.
pub type Named = (String, String);

/// All settings, folded from their layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Provider and name, as the person named them.
    pub model: Option<Named>,
    pub review_model: Option<Named>,
    /// Absent: where there is a model for it, and more than a few lines changed.
    pub review: Option<bool>,
    pub compact_model: Option<Named>,
    pub fallback_models: Vec<Named>,
    pub providers: BTreeMap<String, Provider>,
    pub limits: Limits,
    pub sandbox: Sandbox,
    /// In the order in which they were set.
    pub checks: Vec<CheckSpec>,
    /// By name.
    pub secrets: Vec<SecretRule>,
    /// The person's, then those of a trusted folder.
    pub hooks: Vec<Hook>,
    /// What the folder wants and is not trusted with; without effect.
    pub untrusted: Option<Wants>,
    /// What of hooks has no effect, and why.
    pub idle: Vec<String>,
    /// What servers said of their models.
    facts: Facts,
    home: Option<PathBuf>,
    /// Where each setting was last set, by its dotted key.
    origins: BTreeMap<String, Origin>,
}

/// What [`resolve`] found: all of a [`Charter`] but its model, which may still have to be looked for.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub folders: Vec<PathBuf>,
    /// As in [`Charter::new_folder`].
    pub new_folder: bool,
    pub settings: Settings,
    pub env: Vec<(String, String)>,
    pub purpose: Purpose,
}

impl Resolved {
    /// Returns the charter of a task with this model, or of one that waits for a model.
    pub fn charter(&self, model: Option<Model>) -> Charter {
        let settings = &self.settings;
        let fallbacks = settings.fallback_models.iter().filter_map(|named| settings.model_of(named));
        Charter {
            folders: self.folders.clone(),
            new_folder: self.new_folder,
            // To ask again what just did not answer helps nobody.
            fallback_models: fallbacks.filter(|fallback| Some(fallback) != model.as_ref()).collect(),
            review_model: settings.review_model.as_ref().and_then(|named| settings.model_of(named)),
            compact_model: settings.compact_model.as_ref().and_then(|named| settings.model_of(named)),
            model,
            // An answer leaves nothing that could be checked.
            checks: match self.purpose {
                Purpose::Answer => vec![],
                Purpose::Change | Purpose::Plan => self.settings.checks.clone(),
            },
            limits: Limits { reviewer: self.reviewer(), ..settings.limits },
            sandbox: self.settings.sandbox.clone(),
            env: self.env.clone(),
            hooks: self.settings.hooks.clone(),
            secrets: self.settings.secrets.clone(),
            purpose: self.purpose,
        }
    }

    fn reviewer(&self) -> Reviewer {
        match (self.purpose, self.settings.review, &self.settings.review_model) {
            (Purpose::Answer, ..) | (_, Some(false), _) | (_, None, None) => Reviewer::Never,
            (_, Some(true), _) => Reviewer::Always,
            (_, None, Some(_)) => Reviewer::Long,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{origin}: {problem}.")]
    Syntax { origin: Origin, problem: String },
    #[error("{origin}: there is no setting `{key}`.{}", did_you_mean(.nearest))]
    Unknown { origin: Origin, key: String, nearest: Option<String> },
    #[error("{origin}: `{key}` takes {takes}, but this is {found}.")]
    Kind { origin: Origin, key: String, takes: String, found: String },
    #[error("{origin}: `{key}`: {problem}.")]
    Value { origin: Origin, key: String, problem: String },
    #[error("{origin}: `{key}` is not in this version.")]
    Later { origin: Origin, key: String, instead: &'static str },
    #[error("{origin}: a folder's quire.toml may only narrow what you allow, and `{key}` {why}.")]
    Wider { origin: Origin, key: String, why: &'static str },
    #[error("{origin}: there is no provider `{name}`.{}", did_you_mean(.nearest))]
    NoProvider { origin: Origin, name: String, nearest: Option<String> },
    #[error("{origin}: the provider `{name}` has no address: set providers.{name}.base_url.")]
    NoAddress { origin: Origin, name: String },
    #[error("{} cannot be read: {source}.", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |n| format!(" Did you mean `{n}`?"))
}

/// Returns what a new task may use and must obey.
pub fn resolve(options: &Options, surroundings: &Surroundings) -> Result<Resolved, SettingsError> {
    let home = surroundings.home();
    let folders = match (&options.folder, options.new_folder) {
        (Some(folder), true) => vec![folder.clone()],
        _ => folders::resolve(
            options.folder.as_deref(),
            &options.further,
            &surroundings.cwd,
            home.as_deref(),
            crate::quire::home(surroundings).ok().as_deref(),
            options.confirmed,
        )?,
    };
    let mut settings = read(options, Some(&folders[0]), surroundings)?;
    if matches!(settings.sandbox.net, Net::Only { registries: true, .. }) {
        settings.sandbox.named = crate::reach::named(home.as_deref(), &surroundings.env);
    }
    Ok(Resolved {
        folders,
        new_folder: options.new_folder,
        settings,
        env: inside(&surroundings.env),
        purpose: options.purpose,
    })
}

/// Returns the settings that hold in `folder`; without one those of the person alone.
pub fn read(
    options: &Options,
    folder: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Settings, SettingsError> {
    let mut settings = Settings {
        model: None,
        review_model: None,
        review: None,
        compact_model: None,
        fallback_models: vec![],
        providers: models::built_in(),
        limits: Limits::default(),
        sandbox: Sandbox { net: Net::registries(), ..Sandbox::default() },
        checks: vec![],
        secrets: vec![],
        hooks: vec![],
        untrusted: None,
        idle: vec![],
        facts: Facts::read(surroundings),
        home: surroundings.home(),
        origins: BTreeMap::new(),
    };
    if let Some(dir) = surroundings.config_dir() {
        for leaf in file(&dir.join("config.toml"))?.0 {
            settings.put(&leaf)?;
        }
        let path = dir.join("hooks.json");
        let (_, hooks, idle) = trust::hooks_of(&path, &path.display().to_string());
        settings.hooks = hooks;
        settings.idle = idle;
    }
    if let Some(folder) = folder {
        settings.take_from_folder(folder, surroundings)?;
    }
    for leaf in layer::of_environment(&surroundings.env) {
        settings.put(&leaf)?;
    }
    for argument in &options.set {
        for leaf in layer::of_argument(argument)? {
            settings.put(&leaf)?;
        }
    }
    for leaf in of_options(options) {
        settings.put(&leaf)?;
    }
    settings.agree()?;
    Ok(settings)
}

/// Returns the settings of a file, and what is in it.
fn file(path: &Path) -> Result<(Vec<Leaf>, String), SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: path.to_owned(), source };
    let Some(start) = read_start(path, FILE_BYTES_MAX).map_err(unreadable)? else {
        return Ok((vec![], String::new()));
    };
    if !start.whole {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB")));
    }
    let text = String::from_utf8(start.bytes)
        .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))?;
    Ok((layer::of_file(path, &text)?, text))
}

/// Options that stand for a setting are that setting.
fn of_options(options: &Options) -> Vec<Leaf> {
    let leaf = |path: &[&str], value, argument: String| Leaf {
        path: path.iter().map(|p| (*p).to_owned()).collect(),
        value,
        origin: Origin::Argument(argument),
    };
    let mut leaves = Vec::new();
    if let Some(model) = &options.model {
        leaves.push(leaf(&["model"], Value::Text(model.clone()), format!("-m {model}")));
    }
    if let Some(steps) = options.steps {
        leaves.push(leaf(&["budget", "steps"], Value::Number(steps.into()), format!("--max-steps {steps}")));
    }
    if let Some(time) = &options.time {
        leaves.push(leaf(&["budget", "time"], Value::Text(time.clone()), format!("--max-time {time}")));
    }
    if let Some(budget) = &options.budget {
        let value = layer::of_amount(budget);
        leaves.push(leaf(&["budget", "task_usd"], value, format!("--budget {budget}")));
    }
    if let Some(net) = &options.net {
        leaves.push(leaf(&["sandbox", "net"], Value::Text(net.clone()), format!("--net {net}")));
    }
    if options.review {
        leaves.push(leaf(&["review"], Value::Flag(true), "--review".to_owned()));
    }
    for command in &options.checks {
        if command.trim() == "none" {
            leaves.push(leaf(&["checks", "found"], Value::Flag(false), "--check none".to_owned()));
            continue;
        }
        // Its own command is the best name that a check without one has.
        leaves.push(leaf(
            &["checks", command.trim()],
            Value::Text(command.clone()),
            format!("--check {command}"),
        ));
    }
    leaves
}

impl Settings {
    /// Takes in the folder's own: what narrows counts, the rest where the person trusts exactly these files.
    fn take_from_folder(&mut self, folder: &Path, surroundings: &Surroundings) -> Result<(), SettingsError> {
        let (mut wants, idle) = Wants::of_hooks(folder);
        self.idle.extend(idle);
        let (leaves, text) = file(&folder.join("quire.toml"))?;
        let mut wide = vec![];
        for leaf in leaves {
            let before = self.clone();
            self.put(&leaf)?;
            let Some(why) = self.wider_than(&before) else { continue };
            let key = leaf.path.join(".");
            // Whoever is sent keys and secrets is no folder's business.
            if self.secrets != before.secrets || self.providers != before.providers {
                return Err(SettingsError::Wider { origin: leaf.origin, key, why });
            }
            *self = before;
            wants.add_setting(format!("{key} ({why})"), text.as_bytes());
            wide.push(leaf);
        }
        if wants.is_empty() {
            return Ok(());
        }
        let home = crate::quire::home(surroundings).ok();
        if home.is_some_and(|home| wants.is_trusted(&home)) {
            wide.iter().try_for_each(|leaf| self.put(leaf))?;
            self.hooks.append(&mut wants.hooks);
        } else {
            self.untrusted = Some(wants);
        }
        Ok(())
    }

    /// Returns in which way `self` allows more than `before`, or `None` where it allows the same or less. This alone
    /// decides what a folder's own file may say.
    fn wider_than(&self, before: &Settings) -> Option<&'static str> {
        let (now, was) = (&self.sandbox, &before.sandbox);
        let wider = [
            (self.review != before.review, "decides what is asked of a model"),
            (self.named() != before.named(), "decides where its files are sent"),
            (self.providers != before.providers, "decides where its files and your keys are sent"),
            (
                !now.net.is_within(&was.net, crate::reach::is_registry),
                "would let the agent reach more of the network",
            ),
            (self.secrets != before.secrets, "decides who is sent your secrets"),
            (now.show != was.show, "would show the agent more of your home"),
            (was.hide.iter().any(|glob| !now.hide.contains(glob)), "would show the agent hidden files"),
            (self.limits.steps > before.limits.steps, "is higher than your own limit"),
            (is_more(self.limits.tokens, before.limits.tokens), "is higher than your own limit"),
            (is_more(self.limits.task_usd, before.limits.task_usd), "is higher than your own limit"),
            (is_more(self.limits.day_usd, before.limits.day_usd), "is higher than your own limit"),
            (self.limits.time_ms > before.limits.time_ms, "is higher than your own limit"),
            (now.memory_bytes > was.memory_bytes, "is higher than your own limit"),
            (now.processes > was.processes, "is higher than your own limit"),
            (now.disk_bytes > was.disk_bytes, "is higher than your own limit"),
            (
                before.checks.iter().any(|check| !self.checks.contains(check)),
                "would replace a check of yours",
            ),
            (before.limits.found_checks && !self.limits.found_checks, "would leave out checks"),
        ];
        wider.into_iter().find(|(is, _)| *is).map(|(_, why)| why)
    }

    /// Returns whether the layers fit together: a model has a provider, and a provider has an address.
    fn agree(&self) -> Result<(), SettingsError> {
        for (key, origin) in &self.origins {
            let origin = origin.clone();
            let named = self.named();
            let of_key = named.iter().filter(|(role, _)| role == key);
            if let Some((_, (name, _))) =
                of_key.into_iter().find(|(_, (name, _))| !self.providers.contains_key(name))
            {
                let nearest = nearest(name, self.providers.keys().map(String::as_str)).map(str::to_owned);
                return Err(SettingsError::NoProvider { origin, name: name.clone(), nearest });
            }
            let Some(name) = key.strip_prefix("providers.").and_then(|rest| rest.split('.').next()) else {
                continue;
            };
            let Some(provider) = self.providers.get(name) else { continue };
            if provider.base_url.is_none() {
                return Err(SettingsError::NoAddress { origin, name: name.to_owned() });
            }
        }
        Ok(())
    }

    /// Returns every model that is named, with the setting that names it.
    pub fn named(&self) -> Vec<(&'static str, &Named)> {
        let one = [
            ("model", &self.model),
            ("review_model", &self.review_model),
            ("compact_model", &self.compact_model),
        ];
        let one = one.into_iter().filter_map(|(role, named)| Some((role, named.as_ref()?)));
        one.chain(self.fallback_models.iter().map(|named| ("fallback_models", named))).collect()
    }

    /// Returns a model by provider and name, or `None` where there is no such provider.
    pub fn model_of(&self, (provider, name): &Named) -> Option<Model> {
        let found = self.providers.get(provider)?;
        let base_url = found.base_url.as_deref().unwrap_or_default();
        found.model(provider, name, self.facts.of(provider, base_url, name))
    }

    /// Returns the model that the person named, or `None` where none is named.
    pub fn named_model(&self) -> Option<Model> {
        self.model_of(self.model.as_ref()?)
    }
}

/// Returns whether `now` is a wider limit than `was`; an absent one bounds nothing.
fn is_more<T: PartialOrd>(now: Option<T>, was: Option<T>) -> bool {
    match (now, was) {
        (Some(now), Some(was)) => now > was,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// Variables that commands see inside besides `LC_*`: the language, the time, who one is, and where tools are that do not
/// stand where they usually do. Anything else, and above all every key, stays outside. A driver finds the person's own
/// instructions and stored keys by these too.
const INSIDE: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "VIRTUAL_ENV",
    "XDG_CONFIG_HOME",
];

fn is_inside(name: &str) -> bool {
    INSIDE.contains(&name) || name.starts_with("LC_")
}

fn inside(env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    env.iter()
        .filter(|(name, _)| is_inside(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
