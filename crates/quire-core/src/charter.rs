//! What a task may use and must obey, resolved once from flags, settings and environment by the face that opened it. It is
//! part of the task's first event; nothing below reads settings or the environment again.

use crate::bytes::Hash;
use crate::message::Reply;
use crate::money::{Price, Usd};
pub use crate::net::Net;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charter {
    /// Absolute, canonical folders; the first is the task's folder, further ones came by `--add-dir`. Never empty.
    pub folders: Vec<PathBuf>,
    /// The first folder is one that the task was given in place of none: it is there once something is accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_folder: bool,
    /// Absent: none was found yet; the task waits with its words kept, and a resume brings one.
    pub model: Option<Model>,
    /// What takes its place, in this order, when it does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_models: Vec<Model>,
    /// The model that reviews; absent: the task's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_model: Option<Model>,
    /// The model that sums a long conversation up; absent: the task's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact_model: Option<Model>,
    /// Checks of the person's, by `--check` and `[checks]`, in the order they are run.
    pub checks: Vec<CheckSpec>,
    pub limits: Limits,
    pub sandbox: Sandbox,
    /// The few variables of the person's environment that commands see inside (PATH, LANG, TZ, ...), captured once.
    pub env: Vec<(String, String)>,
    /// The person's hooks, and those of the folder where it was trusted when the task began, in the order in which they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Secrets of the person's that commands may use without seeing them. The values are not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRule>,
    #[serde(default, skip_serializing_if = "Purpose::is_change")]
    pub purpose: Purpose,
}

/// What a person wants of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Versions of the folders.
    #[default]
    Change,
    /// The same, after a plan that they agreed to.
    Plan,
    /// An answer; nothing that is done to find it is kept.
    Answer,
}

impl Charter {
    /// Returns whether folder `number` may be missing, which is as if it were empty.
    pub fn may_lack(&self, number: usize) -> bool {
        self.new_folder && number == 0
    }
}

impl Purpose {
    fn is_change(&self) -> bool {
        *self == Purpose::Change
    }
}

/// A command that runs inside the sandbox at certain points of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub event: HookEvent,
    /// The tools before or after whose calls it runs; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// A shell command.
    pub command: String,
    pub timeout_ms: u64,
    /// The file that it stands in, for a person.
    pub from: String,
}

/// When a hook runs, by the names that hooks have elsewhere too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    SessionStart,
    UserPromptSubmit,
    PreToolUse,
    PostToolUse,
    Stop,
}

/// A variable that holds a placeholder inside; on the way to `hosts` the proxy puts the real value in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRule {
    pub name: String,
    /// As in [`crate::net::HostRule`].
    pub hosts: Vec<String>,
}

impl SecretRule {
    /// Returns what stands in the variable inside. `seed` makes it another one for each task, so that what one task wrote
    /// down means nothing in the next; it need not be secret, because only the proxy of its task takes it for anything.
    pub fn placeholder(&self, seed: &str) -> String {
        format!("quire-placeholder-{}", Hash::of(format!("{seed}\0{}", self.name).as_bytes()).short())
    }
}

/// A model and the way to it. The key is not here: it reaches the host in memory only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub provider: String,
    pub name: String,
    pub wire: Wire,
    /// The wire adds `/responses`, `/chat/completions` or `/messages`. For a tape: the file it is on.
    pub base_url: String,
    /// The variable that holds the key; absent: no key is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Which tools change files: models differ in what they were trained on.
    pub edits: Edits,
    /// Whether the model takes images.
    #[serde(default)]
    pub images: bool,
    /// Tokens that it can hold, read and written together; absent where nobody said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// The most output that is asked for in one reply; absent: [`OUTPUT_TOKENS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Absent where nobody said it: then tokens and steps bound a task, and money cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// The most output that is asked for in one reply, in tokens. Enough for a large file in one call; a server that allows less
/// says so, and is asked for less from then on.
pub const OUTPUT_TOKENS: u64 = 16_384;

impl Model {
    /// Returns how a person names it: PROVIDER/MODEL.
    pub fn title(&self) -> String {
        format!("{}/{}", self.provider, self.name)
    }

    /// Returns whether `reply` is this model's own, which it also is where an old log does not say.
    pub fn said(&self, reply: &Reply) -> bool {
        reply.by.is_empty() || reply.by == self.title()
    }

    /// Returns the most output that is asked for in one reply, in tokens. It leaves room for what is read.
    pub fn output_max(&self) -> u64 {
        let fits = self.context_tokens.map_or(u64::MAX, |context| (context / 4).max(1));
        self.output_tokens.unwrap_or(OUTPUT_TOKENS).min(fits)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// OpenAI Responses.
    Responses,
    /// OpenAI Chat Completions and the many servers that speak it.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// A recorded conversation in a file.
    Tape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edits {
    ApplyPatch,
    EditAndWrite,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    pub name: String,
    /// A shell command, run in the folder.
    pub command: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Model calls until the task pauses and asks; granted again by each resume.
    pub steps: u32,
    /// Milliseconds of work (waiting for a person is not work) until the task pauses and asks.
    pub time_ms: u64,
    /// How often failed checks go back to the model before the version is presented as it is.
    pub check_rounds: u32,
    /// Whether quire looks for checks that the project has, besides those of the person's. Old logs do not say: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found_checks: bool,
    /// When another pair of eyes looks at a version. Old logs do not say: never.
    #[serde(default, skip_serializing_if = "Reviewer::is_never")]
    pub reviewer: Reviewer,
    /// Tokens read and written until the task pauses and asks; granted again by each resume. Absent: not bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// The most that the task may cost, over all its turns. Absent: not bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_usd: Option<Usd>,
    /// The most that all tasks of this home together may cost in any 24 hours, as this task was told. Absent: not bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_usd: Option<Usd>,
}

/// Which versions a reviewer looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reviewer {
    #[default]
    Never,
    /// Those that change more than a few lines.
    Long,
    Always,
}

impl Reviewer {
    fn is_never(&self) -> bool {
        *self == Reviewer::Never
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Globs of files that stand empty inside, besides the built-in ones.
    #[serde(default)]
    pub hide: Vec<String>,
    /// Paths of the home that are visible (copy-on-write), besides folders and known tool directories.
    #[serde(default)]
    pub show: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "Net::is_off")]
    pub net: Net,
    /// Hosts that the machine's own package managers are set to, with a port where it is said; they count as registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    pub memory_bytes: u64,
    pub processes: u32,
    pub disk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            steps: 200,
            time_ms: 60 * 60 * 1000,
            check_rounds: 2,
            found_checks: true,
            reviewer: Reviewer::Never,
            tokens: Some(10_000_000),
            task_usd: Some(Usd(2_000_000_000_000)),
            day_usd: Some(Usd(10_000_000_000_000)),
        }
    }
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox {
            hide: vec![],
            show: vec![],
            net: Net::Off,
            named: vec![],
            memory_bytes: 4 << 30,
            processes: 512,
            disk_bytes: 10 << 30,
        }
    }
}
