//! Attempts at the same thing, side by side: what each made as it looks, the same checks on each, run by quire, and where they
//! differ. One is reviewed and accepted like any other task; a further one begins with the files of one of them and is told how the
//! others differ.

use crate::error::Failure;
use crate::terminal::{clean, took};
use crate::web::act::see;
use crate::web::changes;
use crate::web::door::Session;
use crate::web::frame::{self, Frame, Place};
use crate::web::lines::{Drawing, Layout};
use crate::web::result::{Thumb, thumb};
use crate::web::text::{markdown, marked, prose, quoting};
use crate::web::{Page, icons, standing, watch};
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use quire_core::task::Suggestion;
use quire_core::view::{self, AttemptRow, CheckRow, FileRow, Group, Mark, Review, letter};
use quire_core::{Phase, Task};
use quire_engine::Comparison;
use std::collections::HashMap;
use std::sync::Arc;

/// Files that are listed as different; `quire compare` has more.
const FILES_MAX: usize = 60;
/// Pairs that are offered; the address takes any.
const PAIRS_MAX: usize = 10;
/// Files, or steps, that are named of an attempt of which nothing can be looked at.
const NAMED_MAX: usize = 8;
/// Characters of what an attempt says of itself; its review has all.
const SAID_CHARS_MAX: usize = 280;

/// An attempt that was not discarded.
struct One {
    letter: String,
    row: AttemptRow,
    task: Task,
    review: Option<Arc<Review>>,
}

impl One {
    /// Returns where it is looked at, and in a word why.
    fn way(&self) -> (String, &'static str) {
        let at = format!("/tasks/{}", self.row.task);
        match (self.row.mark, &self.review) {
            (Mark::Working, _) => (at, "Watch"),
            (Mark::NeedsYou | Mark::Paused, _) | (_, None) => (at, "Look at"),
            _ => (at, "Review"),
        }
    }
}

pub async fn compare(
    State(page): State<Arc<Page>>,
    Extension(session): Extension<Session>,
    Path(id): Path<u64>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let made = page.blocking(move |page| {
        let compared = page.quire.compare(&[id])?;
        let mut left = vec![];
        for (place, row) in
            compared.attempts.iter().enumerate().filter(|(_, row)| row.mark != Mark::Discarded)
        {
            let task = page.quire.task(row.task)?;
            // What was cleared away cannot be reviewed any more, and what is at work is not yet: each of its events would make another.
            let review = match row.version {
                Some(_) if row.mark != Mark::Working => page.review(row.task, None).ok(),
                _ => None,
            };
            left.push(One { letter: letter(place), row: row.clone(), task, review });
        }
        // One that is left alone is a task like any other.
        let [first, _, ..] = left.as_slice() else {
            return Ok(see(&format!("/tasks/{}", left.first().map_or(id, |one| one.row.task))));
        };
        let frame = Frame::of(page, &session)?;
        let title = first.task.title();
        let named = |name: &str| {
            let task: u64 = asked.get(name)?.parse().ok()?;
            left.iter().find(|one| one.row.task == task)
        };
        let main = match (named("from"), named("to")) {
            (Some(from), Some(to)) => against(page, from, to, &left)?,
            _ => side_by_side(page, &frame, &compared, &left)?,
        };
        let main = html! { (standing::after(page, &frame, &asked)?) (main) };
        Ok(frame.page(&title, Place::Tasks, &main))
    });
    made.await.unwrap_or_else(|failure| frame::failed(&failure, &format!("/tasks/{id}")))
}

fn side_by_side(page: &Page, frame: &Frame, compared: &Comparison, left: &[One]) -> Result<Markup, Failure> {
    let at = format!("/tasks/{}", left[0].row.task);
    let ready: Vec<&One> = left.iter().filter(|one| one.review.is_some()).collect();
    let in_folder = |one: &&One| one.task.last_accept().is_some();
    let taken = left.iter().find(in_folder);
    // Those that are shown are discarded, and none that came since.
    let others: Vec<String> =
        left.iter().filter(|one| !in_folder(one)).map(|one| one.row.task.to_string()).collect();
    let fields: Vec<(&str, &str)> = others.iter().map(|task| ("task", task.as_str())).collect();
    let suggestion = left.iter().find_map(|one| one.task.suggestion.as_ref());
    let lead = suggestion.and_then(|suggestion| suggestion.task);
    let mut columns = vec![];
    for one in left {
        columns.push(column(page, one, lead == Some(one.row.task))?);
    }
    Ok(html! {
        main.cmp id="main" data-parts {
            (head(&left[0].task))
            p.lede id="lede" data-part {
                (view::count(left.len() as u64, "attempt"))
                (if compared.bases_differ { ", which did not all begin with the same state of the folder. " } else { " from the same starting point. " })
                @if ready.is_empty() { "They stand here as they get done." } @else { "Choose one, or say what to take from each." }
            }
            div.beside {
                div.side {
                    (ways(&ready, compared, None))
                    span.seg role="radiogroup" aria-label="Width" {
                        label { input type="radio" name="w" id="w-phone"; "Phone" }
                        label { input type="radio" name="w" id="w-full" checked; "Full" }
                    }
                }
                div.trio { @for column in &columns { (column) } }
            }
            div id="judge" data-part { (judge(frame, suggestion, left, &ready, &at)) }
            div id="grid" data-part { @if !ready.is_empty() { (table(left)) (files(compared, left)) } }
            div id="mixing" data-part { @if ready.len() > 1 { (mixing(frame, &at, &ready, lead)) } }
        }
        div.accept role="region" aria-label="Decision" id="bar" data-part { div {
            p {
                @match taken {
                    Some(one) => { b { (lies(&one.task)) (one.letter) " is in your folder." } span { "The others are kept until you discard them." } },
                    None => { b { "Your folder has not changed." } span { "Review one to accept it. The others are kept until you discard them." } },
                }
            }
            @if !fields.is_empty() { (frame.button(&format!("{at}/discard-attempts"), "ghost big", &html! { (if taken.is_some() { "Discard the others" } else { "Discard all" }) }, &fields)) }
            @if ready.len() > 1 { a.btn.pen.big href="#mix" { "Mix attempts " kbd { "m" } } }
        } }
    })
}

/// Returns how much of an attempt is in the folder, before its letter.
fn lies(task: &Task) -> &'static str {
    match task.phase {
        Phase::Accepted if !task.is_part() => "Attempt ",
        Phase::Accepted => "A part of attempt ",
        _ => "An earlier version of attempt ",
    }
}

fn head(task: &Task) -> Markup {
    let folders =
        task.charter.folders.iter().map(|folder| view::short_folder(folder, crate::cmd::home().as_deref()));
    html! {
        nav.crumb aria-label="Breadcrumb" {
            a href="/" { "Tasks" } span aria-hidden="true" { "/" }
            span { (clean(&folders.collect::<Vec<_>>().join(", "))) }
        }
        h1 { (clean(&task.title())) }
    }
}

/// Returns the ways to what is compared: the results, and the files of one against those of another.
fn ways(ready: &[&One], compared: &Comparison, shown: Option<(u64, u64)>) -> Markup {
    let pairs =
        (0..ready.len()).flat_map(|from| (from + 1..ready.len()).map(move |to| (ready[from], ready[to])));
    html! {
        nav.seg.col aria-label="What to compare" id="ways" data-part {
            a href="?" aria-current=[shown.is_none().then_some("true")] { "Result" }
            @if shown.is_none() && !ready.is_empty() { a href="#grid" { "Checks and files" } }
            @if !compared.bases_differ {
                @for (from, to) in pairs.take(PAIRS_MAX) {
                    @let both = (from.row.task, to.row.task);
                    a href=(format!("?from={}&to={}", both.0, both.1)) aria-current=[(shown == Some(both)).then_some("true")] { (from.letter) " against " (to.letter) }
                }
            }
        }
    }
}

fn column(page: &Page, one: &One, leads: bool) -> Result<Markup, Failure> {
    let (way, word) = one.way();
    let name = format!("a-{}", one.letter);
    let model = one.task.charter.model.as_ref().map_or_else(|| "No model".to_owned(), |model| model.title());
    let key = one.letter.to_lowercase();
    Ok(html! {
        article.att.sheet.lead[leads] id=(format!("att-{}", one.row.task)) data-part aria-labelledby=(name) {
            header { span.letter { (one.letter) } h2 id=(name) { span.vh { "Attempt " (one.letter) ", " } (clean(&model)) } span.end { (icons::mark(one.row.mark)) } }
            @match one.review.as_deref() {
                Some(review) => (made(page, one, review)),
                None => (doing(page, one)?),
            }
            div.foot { a.btn.pri[leads] href=(way) aria-keyshortcuts=(key) { (word) " " (one.letter) " " kbd { (key) } } }
        }
    })
}

/// Returns what an attempt made, as it looks, and what it says of it.
fn made(page: &Page, one: &One, review: &Review) -> Markup {
    let said = review.brief.summary.trim();
    let first = said.split("\n\n").next().unwrap_or_default();
    let short: String = first.chars().take(SAID_CHARS_MAX).collect();
    let rest = if short.len() < said.len() { " …" } else { "" };
    html! {
        div.thumb { @match thumb(page, review) {
            Some(Thumb::Page(at)) => { iframe sandbox="allow-scripts allow-forms" referrerpolicy="no-referrer" loading="lazy" tabindex="-1" title=(format!("What attempt {} made", one.letter)) src=(at) {} },
            Some(Thumb::Picture(at)) => { img loading="lazy" alt=(format!("What attempt {} made", one.letter)) src=(at); },
            None => { ul.paths {
                @for file in review.files.iter().take(NAMED_MAX) { li { code { (marked(&file.path.to_string())) } " " (changes::extent(file)) } }
                @if review.files.len() > NAMED_MAX { li { "and " (review.files.len() - NAMED_MAX) " more" } }
                @if review.files.is_empty() { li { "No file changed." } }
            } },
        } }
        div.say { @if said.is_empty() { p { "It ended without a word." } } @else { (markdown(&format!("{short}{rest}"))) } }
    }
}

/// Returns where an attempt stands that has nothing to be reviewed yet.
fn doing(page: &Page, one: &One) -> Result<Markup, Failure> {
    let story = page.story(one.row.task)?;
    let now = match one.row.mark.group() {
        Group::Working => story.progress.now().unwrap_or("Starting"),
        _ => one.row.state.strip_prefix("needs you: ").unwrap_or(&one.row.state),
    };
    Ok(html! {
        div.thumb {
            @if one.task.plan.is_empty() {
                ul.paths { @for line in story.lines.iter().skip(story.lines.len().saturating_sub(NAMED_MAX)) { li { (quoting(&clean(&line.text))) } } }
            } @else { (watch::plan_steps(&one.task)) }
        }
        div.say { p { (quoting(&clean(now))) } }
    })
}

fn judge(frame: &Frame, suggestion: Option<&Suggestion>, left: &[One], ready: &[&One], at: &str) -> Markup {
    let name = |task: u64| {
        let found = left.iter().find(|one| one.row.task == task);
        found.map_or_else(|| "one that was discarded".to_owned(), |one| one.letter.clone())
    };
    html! {
        @if let Some(suggestion) = suggestion {
            section.judge.sheet aria-labelledby="judge-t" {
                (icons::sign("scale"))
                div {
                    h2 id="judge-t" { @match suggestion.task { Some(task) => { "Suggested: " (name(task)) }, None if suggestion.takes_none() => "None is suggested", None => "The model did not say which it would take" } }
                    (prose(&suggestion.told(name)))
                    p.mut {
                        "A suggestion by a model that saw what each says and changes and how its checks went, and was not told which model made it. Nobody checked its words."
                        @for one in ready.iter().filter(|one| !suggestion.shown.contains(&one.row.task)) { " It has not seen " (one.letter) "." }
                    }
                }
            }
        } @else if ready.len() > 1 {
            section.judge.sheet aria-labelledby="judge-t" {
                (icons::sign("scale"))
                div {
                    h2 id="judge-t" { "Which one would a model take?" }
                    p { "It is not told which model made what. Asking costs as any request." }
                    div.acts { (frame.button(&format!("{at}/suggest"), "", &html! { "Ask for a suggestion" }, &[])) }
                }
            }
        }
    }
}

/// Returns what can be counted of each: the same rows for all, the best of them marked.
fn table(left: &[One]) -> Markup {
    let mut commands: Vec<&str> = vec![];
    for check in left.iter().flat_map(|one| &one.row.checks) {
        if !commands.contains(&check.command.as_str()) {
            commands.push(&check.command);
        }
    }
    let made = |one: &One, figure: u64| one.review.as_ref().map(|_| figure);
    let lines = |one: &One| {
        one.review
            .as_ref()
            .map(|review| review.lines())
            .map_or(0, |(added, removed)| (added + removed) as u64)
    };
    let smallest = best(left, |one| made(one, lines(one)));
    let soonest = best(left, |one| made(one, one.row.worked_ms));
    let cheapest = best(left, |one| one.review.as_ref().and(one.row.cost.usd));
    html! {
        div.grid.sheet { table {
            caption.vh { "Attempts compared" }
            colgroup { col.c0; @for _ in left { col; } }
            thead { tr { th scope="col" { "Same checks, run by quire" } @for one in left { th scope="col" { (one.letter) } } } }
            tbody {
                @for command in &commands {
                    tr { th scope="row" { code { (clean(command)) } } @for one in left { td { (outcome(one.row.checks.iter().find(|check| check.command == *command))) } } }
                }
                @if commands.is_empty() { tr { th scope="row" { "Checks" } @for _ in left { td { "none" } } } }
                tr { th scope="row" { "Of what it says, proved" } @for one in left { td { (claims(one)) } } }
                tr {
                    th scope="row" { "Size of change" }
                    @for (one, best) in left.iter().zip(&smallest) { td.best[*best] { (size(one)) } }
                }
                tr { th scope="row" { "Time" } @for (one, best) in left.iter().zip(&soonest) { td.best[*best] { (took(one.row.worked_ms)) } } }
                tr { th scope="row" { "Cost" } @for (one, best) in left.iter().zip(&cheapest) { td.best[*best] { (one.row.cost.with_tokens(one.row.tokens)) } } }
            }
        } }
    }
}

/// Returns which are the least, where not all are.
fn best<F: Ord + Copy>(left: &[One], figure: impl Fn(&One) -> Option<F>) -> Vec<bool> {
    let figures: Vec<Option<F>> = left.iter().map(figure).collect();
    let least = figures.iter().flatten().min().copied();
    let all = figures.iter().flatten().all(|figure| Some(*figure) == least);
    figures.iter().map(|figure| !all && figure.is_some() && *figure == least).collect()
}

fn outcome(check: Option<&CheckRow>) -> Markup {
    html! {
        @match check {
            Some(check) => { span.v { (icons::outcome(check.passed, check.doubted)) span { (quoting(&clean(&check.outcome))) } } },
            None => span.mut { "not run" },
        }
    }
}

fn claims(one: &One) -> Markup {
    let Some(review) = &one.review else { return html! { span.mut { "nothing yet" } } };
    let claims = &review.brief.claims;
    let proved = claims.iter().filter(|claim| claim.passed == Some(true) && !claim.doubted).count();
    html! { @if claims.is_empty() { span.mut { "no claims" } } @else { (proved) " of " (claims.len()) } }
}

fn size(one: &One) -> Markup {
    let Some(review) = &one.review else { return html! { span.mut { "nothing yet" } } };
    let (added, removed) = review.lines();
    html! { (view::count(review.files.len() as u64, "file")) ", " span.plus { "+" (added) } " " span.minus { "−" (removed) } }
}

/// Returns what became of the files that are not the same in all.
fn files(compared: &Comparison, left: &[One]) -> Markup {
    let place = |one: &One| {
        compared.attempts.iter().position(|row| row.task == one.row.task).filter(|_| one.review.is_some())
    };
    let places: Vec<Option<usize>> = left.iter().map(place).collect();
    let folders = left[0].task.charter.folders.len();
    // What was discarded or is not done yet differs from nothing.
    let differs = |file: &&FileRow| {
        let mut fates = places.iter().flatten().map(|place| file.fates.get(*place));
        fates.next().is_some_and(|first| fates.any(|fate| fate != first))
    };
    let differing: Vec<&FileRow> = compared.files.iter().filter(differs).collect();
    html! {
        @if !differing.is_empty() {
            div.grid.sheet { table {
                caption.vh { "Files that are not the same in all" }
                colgroup { col.c0; @for _ in left { col; } }
                thead { tr { th scope="col" { "What differs, by file" } @for one in left { th scope="col" { (one.letter) } } } }
                tbody {
                    @for file in differing.iter().take(FILES_MAX) {
                        tr {
                            th scope="row" { code { @if folders > 1 { (file.folder + 1) "/" } (marked(&file.path.to_string())) } }
                            @for place in &places { @let fate = place.map_or(String::new(), |place| file.fate(place)); td.mut[fate != "its own"] { (fate) } }
                        }
                    }
                }
            } }
            @if differing.len() > FILES_MAX { p.hint { "and " (differing.len() - FILES_MAX) " more" } }
        }
        @if compared.same > 0 { p.hint { (view::count(compared.same as u64, "file")) " changed in the same way by all." } }
    }
}

/// Returns the box in which it is said what a further attempt is to be.
fn mixing(frame: &Frame, at: &str, ready: &[&One], lead: Option<u64>) -> Markup {
    let first = ready.iter().find(|one| lead == Some(one.row.task)).unwrap_or(&ready[0]);
    html! {
        form.ask.say-box method="post" action=(format!("{at}/mix")) {
            (frame.key())
            label.q for="mix" { "Mix: what should a further attempt be like?" }
            textarea id="mix" name="words" rows="2" required placeholder=(format!("As {} is, but with …", first.letter)) {}
            div.row {
                span.chip id="begin" { "Begins with the files of" }
                span.seg role="radiogroup" aria-labelledby="begin" {
                    @for one in ready {
                        label { input type="radio" name="from" value=(one.row.task) checked[one.row.task == first.row.task]; (one.letter) }
                    }
                }
                button.btn.pen { "Begin it" }
            }
        }
        p.hint { "It is told what you say, and how the others differ from those files." }
    }
}

/// Returns the files of one attempt beside those of another.
fn against(page: &Page, from: &One, to: &One, left: &[One]) -> Result<Markup, Failure> {
    let changed = page.quire.files_between(from.row.task, to.row.task)?;
    let folders = from.task.charter.folders.len();
    let ready: Vec<&One> = left.iter().filter(|one| one.review.is_some()).collect();
    let compared = Comparison { attempts: vec![], files: vec![], same: 0, bases_differ: false };
    let drawing = Drawing {
        layout: Layout::Unified,
        choosable: false,
        since: None,
        name: "",
        noted: None,
        around: None,
    };
    Ok(html! {
        main.cmp id="main" {
            (head(&from.task))
            p.lede { "What attempt " (to.letter) " has otherwise than attempt " (from.letter) ": " (view::count(changed.len() as u64, "file")) "." }
            div.beside {
                div.side { (ways(&ready, &compared, Some((from.row.task, to.row.task)))) }
                section.sec aria-label="Changes" {
                    h2.vh { "Changes" }
                    (changes::whole(&changed, folders, drawing, &format!("quire compare {0} --diff {0} {1}", from.row.task, to.row.task)))
                    p.acts { @for one in [from, to] { a.btn href=(one.way().0) { (one.way().1) " " (one.letter) } } }
                }
            }
        }
    })
}
