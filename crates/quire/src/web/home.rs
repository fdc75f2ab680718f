//! The tasks: a box for the next one, and below it what needs the person, what is at work, and what is done.

use crate::cmd::home as home_folder;
use crate::error::Failure;
use crate::terminal::clean;
use crate::web::door::Session;
use crate::web::frame::{self, Frame, Place, attach};
use crate::web::text::quoting;
use crate::web::{Page, ago, icons, missing, now_ms, suggest};
use axum::extract::{Extension, Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};
use quire_core::Phase;
use quire_core::event::Why;
use quire_core::view::{self, Group, Mark, Summary, TaskRow};
use quire_engine::Hit;
use quire_engine::settings::{self, Options, Surroundings};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that are drawn; the rest on demand.
const ROWS_MAX: usize = 60;
/// Folders that are offered.
const FOLDERS_MAX: usize = 8;

type Asked = Query<HashMap<String, String>>;

pub async fn home(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Query(asked): Asked,
) -> Response {
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let tasks = page.quire.summaries()?;
        let main = html! {
            main.page id="main" {
                h1.vh { "Tasks" }
                (ask(page, &frame, &tasks, asked.get("words").map_or("", String::as_str)))
                (missing::on_home(page, &frame))
                @if tasks.is_empty() { (suggested(&folders(&tasks, &page.here()))) } @else { (search(&asked, &tasks)) }
                div.board id="rows" { (groups(page, &frame, &tasks, &asked)?) }
            }
            footer.keys aria-label="Keyboard shortcuts" {
                @for (key, what) in [("c", "new task"), ("j k", "move"), ("↵", "open"), ("y", "allow"), ("/", "find"), ("?", "all keys")] {
                    span { @for key in key.split(' ') { kbd { (key) } } " " (what) }
                }
            }
        };
        Ok(frame.page("Tasks", Place::Tasks, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, "/"))
}

/// The rows alone, for the script.
pub async fn rows(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Query(asked): Asked,
) -> Response {
    let made = page.blocking(move |page| {
        let frame = Frame::of(page, &session)?;
        let groups = groups(page, &frame, &page.quire.summaries()?, &asked)?;
        Ok(Html(groups.into_string()).into_response())
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, "/"))
}

/// Returns the box in which a task is given.
fn ask(page: &Page, frame: &Frame, tasks: &[Summary], words: &str) -> Markup {
    let here = &page.here();
    let folders = folders(tasks, here);
    let options = Options::default();
    let settings = settings::read(&options, folders.first().map(PathBuf::as_path), here).ok();
    let named = settings.as_ref().and_then(|settings| settings.named_model()).map(|model| model.title());
    let others = page.other_models(settings.as_ref(), named.as_deref());
    let budget = settings.as_ref().and_then(|settings| settings.limits.task_usd);
    let home = home_folder();
    html! {
        form.ask.first[tasks.is_empty()] method="post" action="/tasks" enctype="multipart/form-data" {
            (frame.key())
            label.q for="q" { "What should be done?" }
            textarea id="q" name="words" rows="2" required
                placeholder="Describe the result you want. Nothing in your folder changes until you accept it." { (clean(words)) }
            div.row {
                label.chip title="Folder to work on" {
                    (icons::sign("folder")) span.vh { "Folder" }
                    select name="folder" {
                        @for folder in &folders {
                            option value=(folder.display()) { (clean(&view::short_folder(folder, home.as_deref()))) }
                        }
                        option value="new" { "A new folder in Quire" }
                    }
                }
                (attach())
                label.chip title="Which model does the work" {
                    (icons::sign("model")) span.vh { "Model" }
                    select name="model" {
                        option value="" { (named.as_deref().unwrap_or("Best available")) }
                        @for title in &others { option { (title) } }
                    }
                }
                label.chip title="So many try it, each on its own, and you choose; the budget is for all of them" {
                    (icons::sign("copies")) span.vh { "Attempts" }
                    select name="attempts" {
                        option value="" { "1 attempt" }
                        @for attempts in 2..=4 { option value=(attempts) { (attempts) " attempts" } }
                    }
                }
                label.chip title="The task pauses when it reaches this" {
                    (icons::sign("coin")) span.vh { "Budget" }
                    select name="budget" {
                        option value="" { @match budget { Some(most) => { "Up to " (most) }, None => "No limit" } }
                        @for most in ["0.50", "1", "5", "10"] { option value=(most) { "Up to $" (most) } }
                    }
                }
                details.extra {
                    summary.chip { "More" }
                    label { "Another folder" input.field name="path" placeholder="/home/you/project" autocomplete="off" spellcheck="false"; }
                    @if !others.is_empty() {
                        fieldset.with {
                            legend { "Also have it tried by, one attempt each" }
                            @for title in &others { label { input type="checkbox" name="with" value=(title); (title) } }
                        }
                    }
                    label { "Other models, one attempt each" input.field name="with" placeholder="PROVIDER/MODEL, PROVIDER/MODEL" autocomplete="off" spellcheck="false"; }
                    label { "A check that quire runs itself" input.field name="check" placeholder="cargo test" autocomplete="off" spellcheck="false"; }
                }
                @if page.missing().is_none() { button.btn.pri { "Start " kbd { "⌘↵" } } }
            }
        }
    }
}

/// Returns what could be done, for who has done nothing yet: links that fill in the box.
fn suggested(folders: &[PathBuf]) -> Markup {
    let folder = folders.first().map(PathBuf::as_path);
    let fill = |words: &str| {
        url::form_urlencoded::Serializer::new("/?".to_owned()).append_pair("words", words).finish()
    };
    html! {
        section.grp aria-labelledby="ideas" {
            h2 id="ideas" { (if folder.is_some() { "From this folder" } else { "For a beginning" }) }
            ul.tasks.quiet {
                @for one in suggest::suggestions(folder) {
                    li.task.idea {
                        (icons::status("open", "off", "Suggestion"))
                        div.main { h3.t { a href=(fill(&one.words)) data-words=(one.words) { (clean(&one.words)) } } p.s { (clean(&one.why)) } }
                    }
                }
            }
        }
        p.hint { "Choosing one fills in the box above; you can edit it before it starts. It happens in a private copy, and you look at the result before anything changes." }
    }
}

/// Returns the folders that are offered: the one the page was opened in, then those of the latest tasks.
fn folders(tasks: &[Summary], here: &Surroundings) -> Vec<PathBuf> {
    let opened = settings::resolve(&Options::default(), here).ok();
    let mut found: Vec<PathBuf> = opened.into_iter().flat_map(|resolved| resolved.folders).collect();
    let mut latest: Vec<&Summary> = tasks.iter().collect();
    latest.sort_by_key(|task| std::cmp::Reverse(task.last_ms));
    for folder in latest.iter().flat_map(|task| task.folders.first()) {
        // A name that is not UTF-8 cannot be sent back by a form.
        if found.len() < FOLDERS_MAX
            && !found.contains(folder)
            && folder.to_str().is_some()
            && folder.is_dir()
        {
            found.push(folder.clone());
        }
    }
    found
}

fn search(asked: &HashMap<String, String>, tasks: &[Summary]) -> Markup {
    let home = home_folder();
    // One that is looked for stays, also where no task has it any more.
    let mut folders: BTreeSet<&str> = tasks.iter().map(|task| task.folder.as_str()).collect();
    let chosen = asked.get("in").filter(|chosen| !chosen.is_empty()).map(String::as_str);
    folders.extend(chosen);
    html! {
        div.list-head {
            div.seg role="radiogroup" aria-label="Layout" {
                label { input type="radio" name="v" id="v-list" checked; "List" }
                label { input type="radio" name="v" id="v-board"; "Board" }
            }
            @if folders.len() > 1 {
                label.chip title="Whose tasks are listed" {
                    (icons::sign("folder")) span.vh { "Tasks of folder" }
                    select name="in" form="find-form" id="in" {
                        option value="" { "All folders" }
                        @for folder in folders { option value=(folder) selected[chosen == Some(folder)] { (clean(&view::short_folder(Path::new(folder), home.as_deref()))) } }
                    }
                }
                noscript { button.btn form="find-form" { "Show" } }
            }
            form.find role="search" action="/" id="find-form" {
                (icons::sign("find"))
                label.vh for="find" { "Find a task" }
                input type="search" id="find" name="q" placeholder="Find a task" value=[asked.get("q")];
                kbd { "/" }
            }
        }
    }
}

fn groups(
    page: &Page,
    frame: &Frame,
    tasks: &[Summary],
    asked: &HashMap<String, String>,
) -> Result<Markup, Failure> {
    let by_number: HashMap<u64, &Summary> = tasks.iter().map(|task| (task.task, task)).collect();
    let wanted = asked.get("q").map(|q| q.trim().to_lowercase()).unwrap_or_default();
    // The best place of each task is the first of it.
    let hits = if wanted.is_empty() { vec![] } else { page.quire.search(&wanted)? };
    let said: HashMap<u64, &Hit> = hits.iter().rev().map(|hit| (hit.task, hit)).collect();
    let mut rows = view::rows(tasks, now_ms());
    let of_folder = asked.get("in").filter(|folder| !folder.is_empty());
    rows.retain(|row| of_folder.is_none_or(|folder| row.folder == *folder));
    rows.retain(|row| {
        row.title.to_lowercase().contains(&wanted)
            || row.folder.to_lowercase().contains(&wanted)
            || said.contains_key(&row.task)
    });
    let mut rows = gathered(rows, tasks);
    let left_out = if asked.contains_key("all") { 0 } else { rows.len().saturating_sub(ROWS_MAX) };
    rows.truncate(rows.len() - left_out);
    let mut drawn = vec![];
    for (group, heading, class) in
        [(Group::NeedsYou, "Needs you", "need"), (Group::Working, "Working", ""), (Group::Done, "Done", "")]
    {
        let its: Vec<&Row> = rows.iter().filter(|row| row.mark().group() == group).collect();
        if its.is_empty() {
            continue;
        }
        let mut list = vec![];
        for row in &its {
            let Row(team) = row;
            let hit = team.iter().find_map(|row| said.get(&row.task).copied());
            list.push(match team.as_slice() {
                [row] => one(page, frame, row, by_number.get(&row.task).copied(), hit)?,
                _ => attempts(frame, row, hit),
            });
        }
        drawn.push(html! {
            section.grp.(class) aria-label=(heading) {
                h2 { (heading) " " span.n { (its.len()) } }
                ul.tasks.quiet[group == Group::Done] { @for row in list { (row) } }
            }
        });
    }
    Ok(html! {
        @if rows.is_empty() && of_folder.is_some() && wanted.is_empty() {
            p.hint { "No task is on that folder. " a.txt href="/" { "Show all" } }
        }
        @if rows.is_empty() && !wanted.is_empty() {
            p.hint { "No task has that in its title, its folder, what was said or what changed. " a.txt href="/" { "Show all" } }
        }
        @for group in drawn { (group) }
        @if left_out > 0 { a.more href=(all(asked)) { (view::count(left_out as u64, "earlier task")) } }
    })
}

/// Returns the address of what is listed, with the rows that are left out of a long list.
fn all(asked: &HashMap<String, String>) -> String {
    let mut address = url::form_urlencoded::Serializer::new("/?all=1".to_owned());
    for name in ["q", "in"] {
        if let Some(what) = asked.get(name) {
            address.append_pair(name, what);
        }
    }
    address.finish()
}

fn one(
    page: &Page,
    frame: &Frame,
    row: &TaskRow,
    task: Option<&Summary>,
    hit: Option<&Hit>,
) -> Result<Markup, Failure> {
    let at = format!("/tasks/{}", row.task);
    let doing = match row.mark.group() {
        Group::Working => page.story(row.task)?.progress.now().map(clean),
        _ => None,
    };
    let plan = task.map(|task| task.done).filter(|(_, steps)| *steps > 0 && row.mark == Mark::Working);
    let said = doing.unwrap_or_else(|| row.told());
    Ok(html! {
        li.task id=(format!("task-{}", row.task)) data-mark=(format!("{:?}", row.mark)) {
            (icons::mark(row.mark))
            div.main {
                h3.t { a href=(at) { (clean(&row.title)) } }
                p.s { (quoting(&clean(&said))) }
                (found(hit))
                (questions(frame, row))
                @if let Some((done, steps)) = plan {
                    progress.meter max=(steps) value=(done) aria-label="Plan" {}
                }
            }
            span.where { (clean(&row.short_folder(home_folder().as_deref()))) }
            span.meta { span { (ago(row.age_ms)) } @if let Some(cost) = row.cost.text() { span { (cost) } } }
            div.act {
                @match row.mark {
                    Mark::Ready => { a.btn href=(at) { (if row.is_answer() { "Read" } else { "Review" }) } },
                    Mark::NeedsYou if row.questions.is_empty() && row.agent_questions.is_empty() => {
                        a.btn href=(at) { "Look" } (again(page, frame, task)?)
                    },
                    Mark::NeedsYou => {},
                    Mark::Paused if task.is_some_and(|task| task.phase == Phase::Waiting(Why::Person)) => {
                        (frame.button(&format!("{at}/resume"), "", &html! { "Go on" }, &[]))
                    },
                    Mark::Paused => { a.btn href=(at) { "Look" } (again(page, frame, task)?) },
                    Mark::Working => { a.btn.ghost href=(at) { "Watch" } },
                    Mark::Accepted if task.is_some_and(|task| !task.cleared) => {
                        (frame.button(&format!("{at}/undo"), "ghost", &html! { "Undo" }, &[]))
                    },
                    Mark::Answered => { a.btn.ghost href=(at) { "Read" } },
                    Mark::Accepted | Mark::Discarded => {},
                }
            }
        }
    })
}

/// Returns what lets a task go on that waits for money, or for what may be there by now.
fn again(page: &Page, frame: &Frame, task: Option<&Summary>) -> Result<Markup, Failure> {
    let Some((task, Phase::Waiting(why))) = task.map(|task| (task.task, &task.phase)) else {
        return Ok(html! {});
    };
    let at = format!("/tasks/{task}/resume");
    Ok(match why {
        Why::Money | Why::Shared { .. } => {
            let more = view::budget_to_add(why, &page.quire.task(task)?).to_string();
            frame.button(&at, "", &html! { "Add " (more) }, &[("budget", &more.replace('$', "+"))])
        }
        Why::Model(fault) if fault.kind.is_silence() => frame.button(&at, "", &html! { "Try again" }, &[]),
        Why::Silence | Why::Trouble(..) => frame.button(&at, "", &html! { "Try again" }, &[]),
        _ => html! {},
    })
}

/// Returns where the words that are looked for were found.
fn found(hit: Option<&Hit>) -> Markup {
    html! {
        @if let Some(hit) = hit {
            p.s.mut {
                @match hit.kind.as_str() { "you" => "You said: ", "agent" => "It said: ", _ => { (clean(&hit.place)) ": " } }
                (clean(&hit.text))
            }
        }
    }
}

/// Returns what a row's task asks, with the answers.
fn questions(frame: &Frame, row: &TaskRow) -> Markup {
    let at = format!("/tasks/{}", row.task);
    html! {
        @for question in &row.questions {
            div.q {
                span { (clean(&question.text)) }
                (frame.button(&format!("{at}/answer"), "", &html! { "Deny" }, &[("reach", &question.reach.to_string()), ("allow", "no")]))
                (frame.button(&format!("{at}/answer"), "allow", &html! { "Allow" }, &[("reach", &question.reach.to_string()), ("allow", "yes")]))
            }
        }
        @for question in &row.agent_questions {
            div.q.of-agent { span { (clean(&question.text)) } a.btn href=(at) { "Answer" } }
        }
    }
}

/// A row of the tasks: one task, or all attempts at one thing that are not discarded.
pub struct Row(Vec<TaskRow>);

impl Row {
    /// Returns where it stands.
    pub fn mark(&self) -> Mark {
        view::together(&self.0.iter().map(|row| row.mark).collect::<Vec<_>>())
    }

    pub fn title(&self) -> &str {
        &self.0[0].title
    }

    /// Returns how long ago something last happened to it.
    pub fn age_ms(&self) -> u64 {
        self.0.iter().map(|row| row.age_ms).min().unwrap_or_default()
    }

    /// Returns where it is looked at.
    pub fn at(&self) -> String {
        let compare = if self.0.len() > 1 { "/compare" } else { "" };
        format!("/tasks/{}{compare}", self.0[0].task)
    }

    /// Returns where it stands in words: of several how many stand where.
    pub fn state(&self) -> String {
        let [row] = self.0.as_slice() else {
            let kinds = [
                (Mark::Accepted, "accepted"),
                (Mark::Ready, "ready"),
                (Mark::NeedsYou, "waiting for you"),
                (Mark::Paused, "paused"),
                (Mark::Working, "at work"),
            ];
            let count = |mark: Mark| self.0.iter().filter(|row| row.mark == mark).count();
            let counts =
                kinds.iter().map(|(mark, word)| (count(*mark), word)).filter(|(count, _)| *count > 0);
            return counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
        };
        row.state.clone()
    }
}

/// Returns the rows, in which attempts at one thing are one, in the order in which a person looks at them.
pub fn gathered(rows: Vec<TaskRow>, tasks: &[Summary]) -> Vec<Row> {
    let attempts = tasks.iter().filter_map(|task| Some((task.task, task.attempt?.first)));
    let attempts: HashMap<u64, u64> = attempts.collect();
    let (mut gathered, mut places) = (Vec::<Row>::new(), HashMap::new());
    for row in rows {
        let first = attempts.get(&row.task).filter(|_| row.mark != Mark::Discarded);
        match first.and_then(|first| places.get(first)) {
            Some(place) => {
                let Row(team) = &mut gathered[*place];
                team.push(row);
            }
            None => {
                places.extend(first.map(|first| (*first, gathered.len())));
                gathered.push(Row(vec![row]));
            }
        }
    }
    gathered.sort_by_key(|row| if row.mark().group() == Group::Done { Mark::Accepted } else { row.mark() });
    gathered
}

/// Returns where the first is looked at that needs the person, of those that are not this task.
pub fn next(page: &Page, than: u64) -> Result<Option<String>, Failure> {
    let tasks = page.quire.summaries()?;
    let rows = gathered(view::rows(&tasks, now_ms()), &tasks);
    let mut others = rows.iter().filter(|Row(team)| team.iter().all(|row| row.task != than));
    Ok(others.find(|row| row.mark().group() == Group::NeedsYou).map(Row::at))
}

/// Returns the one row of several attempts.
fn attempts(frame: &Frame, row: &Row, hit: Option<&Hit>) -> Markup {
    let Row(team) = row;
    let (first, mark, at) = (&team[0], row.mark(), row.at());
    let spent = team.iter().filter_map(|row| row.cost.usd).reduce(quire_core::Usd::plus);
    html! {
        li.task id=(format!("task-{}", first.task)) data-mark=(format!("{mark:?}")) {
            (icons::mark(mark))
            div.main {
                h3.t { a href=(at) { (clean(row.title())) } " " span.tag { (view::count(team.len() as u64, "attempt")) } }
                p.s { (row.state()) }
                (found(hit))
                @for row in team { (questions(frame, row)) }
            }
            span.where { (clean(&first.short_folder(home_folder().as_deref()))) }
            span.meta { span { (ago(row.age_ms())) } @if let Some(spent) = spent { span { (spent) } } }
            div.act { a.btn.ghost[mark.group() != Group::NeedsYou] href=(at) { "Compare" } }
        }
    }
}
