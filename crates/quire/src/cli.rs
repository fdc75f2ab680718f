//! What a person may type. clap's derive is the grammar; [`parse`] adds what it has no words for: a task as the first
//! argument, and things that a later version has.

use crate::error::{Exit, Failure};
use crate::later;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use quire_core::charter::Purpose;
use quire_engine::Point;
use quire_engine::nearest::nearest;
use quire_engine::settings::Options;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  quire demo                                     see the whole journey, without a model
  quire \"make me a homepage from notes.txt\"      start a task on the current folder
  quire review 3                                 look at what task 3 did
  quire accept 3                                 let it go live; quire undo 3 takes it back";

const RUN_EXAMPLES: &str = "\
Examples:
  quire \"fix the failing rounding test\" --check \"cargo test\"
  quire run -m ollama/qwen3-coder -b \"sort these photos by the day they were taken\"
  quire run - < task.txt";

const ASK_EXAMPLES: &str = "\
Examples:
  quire ask \"which months lost money, and why?\"
  quire ask -C ~/shop \"where is the discount computed?\" > answer.txt";

const NOTE_EXAMPLES: &str = "\
Examples:
  quire note 3 \"shorter, please\"                     on the whole
  quire note 3 src/tax.rs:88 \"round only once\"       on a line of the version
  quire note 3 --hunk 4d5c9535 \"why is this?\"        on a change
  quire note 3 index.html --element h1 --quote \"Our bread\" \"smaller\"
  quire note 3                                       the notes, and what became of each
  quire send 3                                       send those that were not sent";

const ANSWER_EXAMPLES: &str = "\
Examples:
  quire answer 3 \"the blue one\"       the only question that is open
  quire answer 3 1=blue 2=\"at nine\"   several, by their numbers
  quire answer 3 1=                    what the agent assumed is right";

const EDIT_EXAMPLES: &str = "\
Examples:
  quire edit 3 style.css              in your editor ($VISUAL, $EDITOR)
  quire edit 3 style.css < new.css    from stdin, for scripts";

const REWIND_EXAMPLES: &str = "\
Examples:
  quire rewind 3            list the steps of task 3
  quire rewind 3 --to 7     back to where it stood after step 7
  quire rewind 3 --to v2    back to its version 2";

/// An agent does a task in a private copy of this machine; your folder changes only when you accept.
///
/// `quire "TASK"` starts a task on the current folder and follows it. `quire` alone lists the tasks.
#[derive(Debug, Parser)]
#[command(name = "quire", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub face: FaceArgs,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Args)]
pub struct FaceArgs {
    /// Say everything as JSON, with "v":1
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// No colours (as with NO_COLOR set)
    #[arg(long, global = true, help_heading = "Output")]
    pub no_color: bool,
    /// Only the result and problems
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a task and follow it; Ctrl-C leaves it running
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Answer a question about the folder; changes nothing, and prints the answer alone
    #[command(after_help = ASK_EXAMPLES)]
    Ask(AskArgs),
    /// List the tasks, or search in all of them
    Ls(LsArgs),
    /// Follow a task
    Watch(TaskArgs),
    /// Show the events of a task
    Log(TaskArgs),
    /// Show what a task did: summary, checks, changes
    Review(ReviewArgs),
    /// Try what was made in a browser, from a fresh sandbox of it
    Serve(ServeArgs),
    /// Leave a note on what was done, for `send`; without words, list the notes
    #[command(after_help = NOTE_EXAMPLES)]
    Note(NoteArgs),
    /// Send a task's notes: its next version follows
    Send(TaskArgs),
    /// Ask for changes to what was done; notes that were not sent go with it
    Revise(ReviseArgs),
    /// Change a file of the version yourself: what you leave is the next version
    #[command(after_help = EDIT_EXAMPLES)]
    Edit(EditArgs),
    /// Take a task back to where it stood after a step: files and conversation
    #[command(after_help = REWIND_EXAMPLES)]
    Rewind(RewindArgs),
    /// Begin another task where one stood after a step
    Fork(ForkArgs),
    /// Show attempts at the same thing side by side
    Compare(CompareArgs),
    /// Begin a further attempt with the files of one, which is told how the others differ from it
    Mix(MixArgs),
    /// Write the version, or part of it, into the real folder
    Accept(AcceptArgs),
    /// Take an accept back, or part of it
    Undo(UndoArgs),
    /// Drop a task; the real folder stays as it is
    Discard(DiscardArgs),
    /// Answer what a task's agent asks you
    #[command(after_help = ANSWER_EXAMPLES)]
    Answer(AnswersArgs),
    /// Let a task reach a host that it asks for
    Allow(AllowArgs),
    /// Do not let it; the task is told to do without
    Deny(AnswerArgs),
    /// Cut a task's conversation with the model short, before its next request
    Compact(TaskArgs),
    /// Pause a task
    Stop(TaskArgs),
    /// Go on with a task that waits
    Resume(ResumeArgs),
    /// Open the page: hand over tasks, see results and accept them in a browser
    Web(WebArgs),
    /// Drive the tasks in the foreground (otherwise started by itself)
    Host(HostArgs),
    /// Show which models answer, or add a provider's key
    Models(ModelsArgs),
    /// Show what a folder brings of its own, settings and hooks, and let it take effect
    Trust(TrustArgs),
    /// Show what works on this machine, proved by doing it
    Doctor(DoctorArgs),
    /// Show the whole journey with a recorded model: no key, no network
    Demo(DemoArgs),
    /// Run one command in a fresh sandbox and show what it would change
    Sandbox(SandboxArgs),
    /// Clear away what is past its age; a host does it once a day by itself
    Gc(GcArgs),
    /// Show what takes how much of the disk
    Du,
    /// Write a whole task as one file, with secrets masked
    Export(ExportArgs),
    /// Read such a file back, as a record
    Import(ImportArgs),
    /// Take away all that quire made
    Uninstall(UninstallArgs),
    /// Print completions for a shell, or the man page
    Completions(CompletionsArgs),
}

/// The settings that an option can change.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// The folder to work on [default: the current one]
    #[arg(short = 'C', value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// A further folder to work on
    #[arg(long, value_name = "DIR")]
    pub add_dir: Vec<PathBuf>,
    /// What commands may reach: off, registries, all, or hosts like example.org,*.example.net:8443
    #[arg(long, value_name = "NET")]
    pub net: Option<String>,
    /// Any setting, dotted; a value that is not TOML is a string
    #[arg(short = 'c', value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Answer yes where a folder is as large as your home, or `quire sandbox` would copy gigabytes
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// What should be done; `-` reads it from stdin
    #[arg(value_name = "TASK", value_parser = words)]
    pub task: String,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The model to use; given several times, one attempt with each
    #[arg(short = 'm', value_name = "PROVIDER/MODEL")]
    pub model: Vec<String>,
    /// A picture, document or other file to hand over with the task
    #[arg(short = 'i', value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// So many attempts side by side, to choose from; what the budget allows is for all of them
    #[arg(short = 'n', value_name = "ATTEMPTS", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub attempts: Option<u32>,
    /// A command that quire runs itself when the agent is done; it must exit with 0
    #[arg(long, value_name = "CMD", value_parser = words)]
    pub check: Vec<String>,
    /// Pause and ask before it costs more, in USD; `none`: no limit
    #[arg(long, value_name = "USD")]
    pub budget: Option<String>,
    /// Pause and ask after so many model calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_steps: Option<u32>,
    /// Pause and ask after so much work, like 20m
    #[arg(long, value_name = "DUR")]
    pub max_time: Option<String>,
    /// Have a reviewer look at every version: `review_model`, or else the model itself with fresh eyes
    #[arg(long)]
    pub review: bool,
    /// First make a plan, which you agree to or change before anything is done
    #[arg(long)]
    pub plan: bool,
    /// Do not follow
    #[arg(short = 'b')]
    pub background: bool,
    /// Accept it when it is ready, if every check passes and nothing needs your look
    #[arg(long, conflicts_with_all = ["background", "attempts"])]
    pub accept_if_checks_pass: bool,
}

impl RunArgs {
    /// Returns the model of each attempt: the named ones in turn; `None` is the settings' own.
    pub fn attempts(&self) -> Vec<Option<String>> {
        quire_engine::spread(&self.model, self.attempts)
    }

    /// Returns what was typed, as the settings take it.
    pub fn options(&self) -> Options {
        Options {
            model: self.model.first().cloned(),
            checks: self.check.clone(),
            steps: self.max_steps,
            time: self.max_time.clone(),
            budget: self.budget.clone(),
            review: self.review,
            purpose: if self.plan { Purpose::Plan } else { Purpose::Change },
            ..self.settings.options()
        }
    }
}

#[derive(Debug, Args)]
pub struct AskArgs {
    /// What you want to know; `-` reads it from stdin
    #[arg(value_name = "QUESTION", value_parser = words)]
    pub question: String,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The model to use
    #[arg(short = 'm', value_name = "PROVIDER/MODEL")]
    pub model: Option<String>,
    /// Pause and ask before it costs more, in USD; `none`: no limit
    #[arg(long, value_name = "USD")]
    pub budget: Option<String>,
}

impl AskArgs {
    /// Returns what was typed, as the settings take it.
    pub fn options(&self) -> Options {
        Options {
            model: self.model.clone(),
            budget: self.budget.clone(),
            purpose: Purpose::Answer,
            ..self.settings.options()
        }
    }
}

impl SettingsArgs {
    /// Returns what was typed, as the settings take it.
    pub fn options(&self) -> Options {
        Options {
            folder: self.folder.clone(),
            further: self.add_dir.clone(),
            net: self.net.clone(),
            set: self.set.clone(),
            confirmed: self.yes,
            ..Options::default()
        }
    }
}

#[derive(Debug, Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Drop the rest of what was accepted in part
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct TaskArgs {
    /// The task's number, as `quire ls` shows it
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub task: u64,
}

#[derive(Debug, Default, Args)]
pub struct LsArgs {
    /// Only tasks in which all of these words stand: said by you or the agent, or in what changed
    #[arg(value_name = "WORDS")]
    pub words: Vec<String>,
    /// Only tasks on this folder, or one below it
    #[arg(short = 'C', value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Only tasks that stand there
    #[arg(long, value_name = "STATE")]
    pub state: Option<StateArg>,
}

/// The groups of `ls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StateArg {
    NeedsYou,
    Working,
    Done,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// A file that is not there yet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct AnswerArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Which one, where it asks for several
    #[arg(value_name = "HOST[:PORT]")]
    pub host: Option<String>,
}

#[derive(Debug, Args)]
pub struct AllowArgs {
    #[command(flatten)]
    pub answer: AnswerArgs,
    /// Until this turn ends, its checks included; then it is closed again, and asked anew when it is tried
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub struct AnswersArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// The answer, or NUMBER=ANSWER for one of several questions; NUMBER= takes what the agent assumed
    #[arg(value_name = "ANSWER", value_parser = words)]
    pub answers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Edit the plan that waits in your editor ($VISUAL, $EDITOR), then begin with it
    #[arg(long)]
    pub edit: bool,
    /// What it may cost from now on: so much more, like +0.50, so much altogether, like 3, or `none`: no limit
    #[arg(long, value_name = "[+]USD")]
    pub budget: Option<String>,
    /// Go on with this model
    #[arg(short = 'm', value_name = "PROVIDER/MODEL")]
    pub model: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReviewArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Print the plain unified diff
    #[arg(long)]
    pub diff: bool,
    /// Only what changed since that version
    #[arg(long, value_name = "V", value_parser = clap::value_parser!(u32).range(1..))]
    pub since: Option<u32>,
    /// Write what quire saw into a new folder, as files to send on
    #[arg(long, value_name = "DIR", conflicts_with_all = ["diff", "since"])]
    pub evidence: Option<PathBuf>,
    /// Write it into a new HTML file, to keep, print or send on; `-` writes it to stdout
    #[arg(long, value_name = "FILE", conflicts_with_all = ["diff", "since", "evidence"])]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// The version to show [default: the last]
    #[arg(long, value_name = "V", value_parser = clap::value_parser!(u32).range(1..))]
    pub version: Option<u32>,
    /// The port of 127.0.0.1 to show it at [default: a free one]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
}

#[derive(Debug, Args)]
pub struct ReviseArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// What should be different; `-` reads it from stdin
    #[arg(value_name = "WORDS", value_parser = words, required_unless_present = "fit")]
    pub words: Option<String>,
    /// A picture, document or other file to hand over with the words
    #[arg(short = 'i', value_name = "FILE", conflicts_with = "fit")]
    pub file: Vec<PathBuf>,
    /// Let it fit around what you changed in your folder meanwhile
    #[arg(long)]
    pub fit: bool,
}

#[derive(Debug, Args)]
pub struct NoteArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// What the note is on [default: the whole], then its words; `-` reads them from stdin
    #[arg(value_names = ["FILE[:LINE]", "WORDS"], num_args = 0..=2)]
    pub note: Vec<OsString>,
    /// On a change, by the name that `review` shows
    #[arg(long, value_name = "HUNK", conflicts_with = "element")]
    pub hunk: Option<String>,
    /// On an element of the page FILE, by its CSS selector
    #[arg(long, value_name = "SELECTOR")]
    pub element: Option<String>,
    /// The text that the element shows, by which it is found again
    #[arg(long, value_name = "TEXT", requires = "element")]
    pub quote: Option<String>,
    /// Take a note back that was not sent
    #[arg(long, value_name = "NOTE", conflicts_with_all = ["note", "hunk", "element"])]
    pub drop: Option<u32>,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The attempts; of one, all that began with it
    #[arg(value_name = "N", required = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub tasks: Vec<u64>,
    /// Also ask a model which one it would take; it is not told which model made what. Costs as any request
    #[arg(long, conflicts_with = "diff")]
    pub suggest: bool,
    /// Print what the second has otherwise than the first, as a plain unified diff
    #[arg(long, num_args = 2, value_names = ["A", "B"], value_parser = clap::value_parser!(u64).range(1..))]
    pub diff: Vec<u64>,
}

#[derive(Debug, Args)]
pub struct EditArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// A file that the version changes, as `review` shows it
    #[arg(value_name = "FILE")]
    pub file: OsString,
    /// Read the new content from stdin, where a file may also become empty
    #[arg(value_name = "-", value_parser = ["-"])]
    pub stdin: Option<String>,
    /// Delete the file instead
    #[arg(long, conflicts_with = "stdin")]
    pub delete: bool,
}

#[derive(Debug, Args)]
pub struct RewindArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// The step, or a version as v2 [default: list them]
    #[arg(long, value_name = "STEP", value_parser = point)]
    pub to: Option<Point>,
}

#[derive(Debug, Args)]
pub struct ForkArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// The step, or a version as v2 [default: list them]
    #[arg(long, value_name = "STEP", value_parser = point)]
    pub at: Option<Point>,
}

#[derive(Debug, Args)]
pub struct MixArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// What should be otherwise, and what of which other attempt; `-` reads it from stdin
    #[arg(value_name = "WORDS", value_parser = words)]
    pub words: String,
}

pub fn point(text: &str) -> Result<Point, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let point = match text.strip_prefix(['v', 'V']) {
        Some(version) => number(version).map(Point::Version),
        None => number(text).map(Point::Step),
    };
    point.ok_or_else(|| "it is neither a step's number nor a version like v2".to_owned())
}

#[derive(Debug, Args)]
pub struct AcceptArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Files and folders to take [default: everything]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Single changes within files to take, by the names that `review` shows (comma-separated)
    #[arg(long, value_name = "HUNK", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Files in which the task's side is written where you changed the same lines; undo brings yours back (comma-separated)
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    pub over: Vec<PathBuf>,
    /// Write only if the version is still the one with this hash, as `review` shows it
    #[arg(long, value_name = "HASH", value_parser = hash)]
    pub seen: Option<String>,
    /// Also files that can run programs on your machine: hooks, editor tasks, build files
    #[arg(long)]
    pub with_programs: bool,
    /// Do not run the checks on a part of the version, or on what was merged with your edits
    #[arg(long)]
    pub unchecked: bool,
    /// Also commit what is written, and nothing else, with the agent's summary as its message
    #[arg(long)]
    pub commit: bool,
    /// Commit it on a new branch instead of writing it into the folder
    #[arg(long, value_name = "NAME", conflicts_with = "commit")]
    pub branch: Option<String>,
    /// Commit it into a new file instead, a git bundle: to fetch from in another clone
    #[arg(long, value_name = "FILE", conflicts_with_all = ["commit", "branch"])]
    pub bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// Files and folders to take back [default: everything]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct WebArgs {
    /// Print the page's address instead of opening it; it lets one browser in, within a minute
    #[arg(long)]
    pub print: bool,
    /// Put quire among the programs of your desktop
    #[arg(long, conflicts_with = "print")]
    pub install: bool,
}

#[derive(Debug, Args)]
pub struct HostArgs {
    /// The port of the page [default: the one it had]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Stop the host that runs; its tasks go on with the next one
    #[arg(long)]
    pub stop: bool,
    /// Started by another command: ends by itself
    #[arg(long, hide = true, conflicts_with = "stop")]
    pub background: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
    /// Ask this model too, besides those that your settings name (may be given several times)
    #[arg(short, long = "model", value_name = "PROVIDER/MODEL")]
    pub model: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Read a provider's key from stdin, test it, and store it
    Add {
        /// openai, anthropic, google, mistral, deepseek, openrouter, or one of your settings
        #[arg(value_name = "PROVIDER")]
        provider: String,
    },
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Also settings and keys, and the work of tasks that are not finished or not accepted
    #[arg(long)]
    pub purge: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The folder [default: the current one]
    #[arg(short = 'C', value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Take it back
    #[arg(long, conflicts_with = "yes")]
    pub remove: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Do what would raise the kind of sandbox, as root; as anybody else, list it
    #[arg(long)]
    pub fix: bool,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where samples and tapes are read instead of those built in; for work on the demo itself
    #[arg(long, value_name = "DIR", hide = true)]
    pub from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct SandboxArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The command and its arguments, after `--`
    #[arg(value_name = "CMD", last = true, required = true)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell, or `man` for the man page
    #[arg(value_name = "SHELL")]
    pub reader: Reader,
}

/// Who reads what quire's commands and options are.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Reader {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
    Man,
}

fn words(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// What came of the arguments.
pub enum Parsed {
    Command(Box<Cli>),
    /// Help or the version: a result, for stdout.
    Text(clap::Error),
}

/// Options that have a value in the next argument, those of later versions too: the value is not the task.
const WITH_VALUE: [&str; 13] = [
    "--branch",
    "--bundle",
    "-C",
    "-c",
    "-m",
    "--add-dir",
    "--check",
    "--max-steps",
    "--max-time",
    "-n",
    "-i",
    "--budget",
    "--net",
];

/// Returns what `arguments` (without the program's name) ask for.
pub fn parse(arguments: &[OsString]) -> Result<Parsed, Failure> {
    let first = first_word(arguments);
    let mut arguments = arguments.to_vec();
    if let Some(at) = first {
        let word = arguments[at].to_string_lossy().into_owned();
        if word.contains(char::is_whitespace) {
            arguments.insert(0, OsString::from("run"));
        } else if !command_names().contains(&word) {
            return Err(no_command(&word));
        }
    }
    let name = OsString::from("quire");
    match Cli::try_parse_from(std::iter::once(&name).chain(&arguments)) {
        Ok(cli) => Ok(Parsed::Command(Box::new(cli))),
        Err(text) if !text.use_stderr() => Ok(Parsed::Text(text)),
        Err(wrong) => {
            let command = first_word(&arguments).map(|at| arguments[at].to_string_lossy().into_owned());
            Err(wrong_use(&wrong, command.as_deref(), arguments.iter().any(|argument| argument == "--")))
        }
    }
}

/// Returns whether the arguments ask for JSON, also where they are wrong.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|a| *a != "--").any(|a| a == "--json")
}

/// Returns the place of the first argument that is neither an option nor an option's value.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        if WITH_VALUE.iter().any(|option| argument == OsStr::new(option)) || ends_with_value(argument) {
            at += 2;
        } else if argument.as_encoded_bytes().starts_with(b"-") && argument != "-" {
            at += 1;
        } else {
            return Some(at);
        }
    }
    None
}

/// Returns whether the last of several letters behind one dash has its value in the next argument, as in `-bm`.
fn ends_with_value(argument: &OsStr) -> bool {
    let letters = argument.to_str().and_then(|text| text.strip_prefix('-')).unwrap_or_default();
    let has_value = |letter: char| WITH_VALUE.iter().any(|option| *option == format!("-{letter}"));
    letters.char_indices().find(|(_, letter)| has_value(*letter)).is_some_and(|(at, letter)| {
        at > 0 && !letters.starts_with('-') && at + letter.len_utf8() == letters.len()
    })
}

/// Takes the beginning of a hash, long enough to mean one.
fn hash(text: &str) -> Result<String, &'static str> {
    let fine = (6..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fine.then(|| text.to_ascii_lowercase())
        .ok_or("it is no hash as `quire review` shows it: at least six digits")
}

fn command_names() -> Vec<String> {
    let names = Cli::command().get_subcommands().map(|c| c.get_name().to_owned()).collect::<Vec<_>>();
    names.into_iter().chain(["help".to_owned()]).collect()
}

fn no_command(word: &str) -> Failure {
    if let Some(later) = later::command(word) {
        return later;
    }
    if word.is_empty() {
        return Failure::new(
            Exit::WrongUse,
            "The task is empty.",
            "Nothing was started or changed.",
            "Say in words what should be done: quire \"make me a homepage from notes.txt\"",
        );
    }
    let names = command_names();
    let what = match nearest(word, names.iter().map(String::as_str)) {
        Some(name) => format!("`{word}` is no command. Did you mean `quire {name}`?"),
        None => format!("`{word}` is no command."),
    };
    Failure::new(
        Exit::WrongUse,
        what,
        "Nothing was started or changed.",
        format!("If it is a task: quire run {word}"),
    )
}

/// Turns clap's error into one of ours: what was wrong in its words, and where to read on.
fn wrong_use(wrong: &clap::Error, command: Option<&str>, has_dashes: bool) -> Failure {
    let context = |kind| match wrong.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if wrong.kind() == ErrorKind::InvalidSubcommand
        && let Some(word) = context(ContextKind::InvalidSubcommand)
        && let Some(later) = later::command(word)
    {
        return later;
    }
    let help = command.filter(|c| command_names().iter().any(|name| name == c) && *c != "help");
    let help = help.map_or("quire help".to_owned(), |command| format!("quire help {command}"));
    if let Some(what) = wrong_value(wrong, &context) {
        return Failure::new(
            Exit::WrongUse,
            what,
            "Nothing was started or changed.",
            format!("Read: {help}"),
        );
    }
    if command == Some("sandbox") && wrong.kind() == ErrorKind::UnknownArgument && !has_dashes {
        let next = "Put `--` before the command: quire sandbox -- CMD...";
        let what = format!("`{}` is no option.", context(ContextKind::InvalidArg).unwrap_or_default());
        return Failure::new(Exit::WrongUse, what, "Nothing was started or changed.", next);
    }
    let said = wrong.render().to_string();
    let what =
        said.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect::<Vec<_>>().join(" ");
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let tip = said.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    // clap's advice to pass an option as a value has never helped anybody who mistyped one.
    let tip = tip.filter(|tip| !tip.contains("as a value"));
    let next = tip.map_or(format!("Read: {help}"), |tip| format!("Tip: {tip}. Read: {help}"));
    Failure::new(Exit::WrongUse, sentence(what), "Nothing was started or changed.", next)
}

/// Returns what is wrong with a value, where clap speaks of types and ranges.
fn wrong_value<'a>(wrong: &clap::Error, context: &impl Fn(ContextKind) -> Option<&'a str>) -> Option<String> {
    if wrong.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let (argument, value) = (context(ContextKind::InvalidArg)?, context(ContextKind::InvalidValue)?);
    match argument {
        "<N>" => Some(format!("`{value}` is no task's number.")),
        "--max-steps <N>" => Some(format!("`--max-steps` takes a whole number above 0, not `{value}`.")),
        "--to <STEP>" | "--at <STEP>" => {
            Some(format!("`{value}` is neither a step's number nor a version like v2."))
        }
        "--version <V>" | "--since <V>" => Some(format!("`{value}` is no version's number.")),
        "--port <P>" => Some(format!("`--port` takes a port from 1 to 65535, not `{value}`.")),
        "<TASK>" => Some("The task is empty.".to_owned()),
        _ => None,
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let text: String = letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default();
    if text.ends_with(['.', '?', ']', '>']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    fn parsed(arguments: &[&str]) -> Result<Cli, Failure> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        match parse(&arguments)? {
            Parsed::Command(cli) => Ok(*cli),
            Parsed::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn a_first_argument_with_a_space_is_a_task() {
        let rows: &[&[&str]] = &[
            &["fix the test", "-m", "ollama/x", "--json"],
            &["-m", "ollama/x", "fix the test", "--json"],
            &["--json", "-m", "ollama/x", "fix the test"],
            &["run", "-m", "ollama/x", "--json", "fix the test"],
            &["run", "--json", "-m", "ollama/x", "--", "fix the test"],
        ];
        for arguments in rows {
            let cli = parsed(arguments).unwrap();
            let Some(Command::Run(run)) = cli.command else { panic!("{arguments:?}") };
            assert_eq!(
                (run.task.as_str(), run.model.first().map(String::as_str), cli.face.json),
                ("fix the test", Some("ollama/x"), true)
            );
        }
        assert!(parsed(&[]).unwrap().command.is_none());
        assert!(
            matches!(parsed(&["run", "review"]).unwrap().command, Some(Command::Run(r)) if r.task == "review")
        );
    }
}
