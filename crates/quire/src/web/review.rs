//! The review: what the task says it did, what quire saw of it, every change, and the decision. The decision names the hash of
//! exactly what is on this page.

use crate::error::Failure;
use crate::terminal::{clean, took};
use crate::web::around::Around;
use crate::web::frame::Frame;
use crate::web::lines::Drawing;
use crate::web::standing::{head, open, questions, say};
use crate::web::text::{markdown, marked, prose, quoting};
use crate::web::{Page, answer, bars, changes, edit, icons, lock, notes, points, result, story};
use maud::{Markup, html};
use quire_core::event::Listing;
use quire_core::merge::Overlap;
use quire_core::message::Image;
use quire_core::task::own_words;
use quire_core::view::{
    self, Brief, DriftRow, FileChange, Fit, Mark, Review, Taken, reached_text, reviewed_text, sentence,
};
use quire_core::{RelPath, Task};
use quire_engine::Takeable;
use std::collections::HashMap;
use std::sync::Arc;

/// Paths under "Look here first"; more than these nobody looks at one by one.
const LOOK_MAX: usize = 20;
/// Earlier versions that are offered to look from; the address takes any.
const EARLIER_MAX: usize = 3;
/// Of what both changed: places of a file, and lines of a side.
const OVERLAPS_MAX: usize = 4;
const SIDE_LINES_MAX: usize = 8;

pub fn main(
    page: &Page,
    frame: &Frame,
    task: &Task,
    asked: &HashMap<String, String>,
) -> Result<Markup, Failure> {
    let review = page.review(task.id, None)?;
    let since = Since::of(page, &review, asked);
    let files = since.shown.as_ref().unwrap_or(&review);
    let story = page.story(task.id)?;
    // The folder changes without a word in the task's log, by which reviews are kept.
    let drift = page.quire.drift(task)?;
    let takeable = page.quire.takeable(task, &drift)?;
    let said =
        lock(&page.said).get(&task.id).filter(|(seq, _)| *seq == task.seq).map(|(_, said)| said.clone());
    let folders = task.charter.folders.len();
    let shown = result::result(page, frame, &review);
    let drawing = changes::drawing(task, files, asked);
    let around = Around::of(files, None, drawing.layout, asked);
    let drawing = Drawing { around: Some(&around), ..drawing };
    let seen = page.quire.seen(task.id)?;
    let (added, removed) = files.lines();
    let passed = review.checks.iter().filter(|check| check.passed == Some(true) && !check.doubted).count();
    // Of an answer nothing is to be changed, and no check is missed.
    let first = if review.files.is_empty() { "Answer" } else { "Summary" };
    let has_checks = !review.checks.is_empty() || !review.files.is_empty();
    let next = match review.files.is_empty() {
        true => (answer::WHAT_ELSE, answer::FOLLOW_UP),
        false => ("What should be different?", "Ask for changes"),
    };
    let mark = match review.mark {
        Mark::Ready if review.fails() => html! { span.tag.red { (clean(&view::capital(&review.state))) } },
        Mark::Ready if review.is_answer() => html! { span.tag.green { "No files changed" } },
        Mark::Ready => html! { span.tag.amber { "Ready for you" } },
        Mark::Accepted => html! { span.tag.green { "Accepted" } },
        Mark::Answered => html! { span.tag.green { (clean(&view::capital(&review.state))) } },
        _ => html! { span.tag { (clean(&view::capital(&review.state))) } },
    };
    Ok(html! {
        main id="main" data-task=(task.id) data-review=(review.version) {
            (head(page, task, &html! {
                (mark)
                span { "Version " (review.version) }
                span { (took(review.worked_ms)) " of work" }
                @if let Some(cost) = review.cost.text() { span { (cost) } }
                @if let Some(model) = &task.charter.model { span { (clean(&model.title())) } }
            }))
            nav.tabs aria-label="Sections" { div {
                a href="#summary" aria-current="true" { (first) }
                @if shown.is_some() { a href="#result" { "Result" } }
                @if has_checks { a href="#checks" { "Checks " @if !review.checks.is_empty() { span { (passed) " of " (review.checks.len()) } } } }
                @if !review.files.is_empty() { a href="#changes" { "Changes " span { (view::count(review.files.len() as u64, "file")) } } }
                a href="#say" { (next.1) }
            } }
            div.cols {
                div {
                    (questions(frame, task))
                    @if let Some(stands) = review.stands_text() {
                        section.sec.sheet.told { (icons::sign("flag")) p { (clean(&stands)) } }
                    }
                    (drifted(frame, &drift, &takeable, &review))
                    (secrets(frame, &review))
                    @if let Some(why) = &since.refused {
                        section.sec.sheet.told { (icons::sign("flag")) p { (clean(why)) " Here is all that the task changed." } }
                    }
                    @if let Some(edited) = review.edited_text() {
                        section.sec.sheet.told { (icons::sign("lines")) p { (marked(&edited)) } }
                    }
                    (since.told(task, &review))
                    section.sec id="summary" aria-labelledby="summary-t" {
                        h2.vh id="summary-t" { (first) }
                        (brief(&review.brief, review.files.is_empty()))
                        @if review.files.is_empty() { (page.named(task, &review.brief.summary).folded()) }
                        (reviewer(&review))
                        (looked(page, &review))
                    }
                    @if let Some(shown) = &shown { (shown) }
                    @if has_checks { (checks(page, &review)) }
                }
                aside.rail.keep aria-label="Attention" {
                    @if review.files.is_empty() { (answer::next(frame, task, &review.brief.next)) }
                    (notes::listed(frame, &review)) (rail(&review, files, &story)) (points::choice(frame, task))
                    @if !review.files.is_empty() { (answer::next(frame, task, &review.brief.next)) section { (answer::report(task, "txt")) } }
                }
                @if !review.files.is_empty() || files.since.is_some() {
                    section.sec.wide id="changes" aria-labelledby="changes-t" {
                        header {
                            h2 id="changes-t" { "Changes" @if let Some(since) = files.since { " since version " (since) } }
                            span.mut { (view::count(files.files.len() as u64, "file")) ", " span.plus { "+" (added) } " " span.minus { "−" (removed) } }
                            div.end { (since.choice(&review)) (tools(files, &since)) }
                        }
                        div.diffwrap {
                            (list(task, files, &since))
                            div { div id="found" {} (changes::files(page, files, folders, drawing, &seen)?) }
                        }
                        (since.marks(frame, task.id))
                        (notes::dropping(frame, task.id))
                    }
                }
                @if !review.imported { div.wide { (say(frame, task, next.0, next.1)) } }
                template id="note-form" { (notes::form(frame, task.id, &HashMap::new(), "")) }
            }
        }
        (bar(frame, task, &review, &drift, &since, said.as_deref()))
    })
}

/// What changed since an earlier version, where there is one: what a person looks at who has seen that.
struct Since {
    /// The version before.
    last: Option<Arc<Review>>,
    /// What the address asks for.
    shown: Option<Arc<Review>>,
    /// Why that is not shown.
    refused: Option<String>,
    split: bool,
    /// A version of a task at work is looked at.
    version: bool,
}

impl Since {
    fn of(page: &Page, review: &Review, asked: &HashMap<String, String>) -> Since {
        let earlier = |version: &u32| (1..review.version).contains(version);
        let of = |version| page.review(review.task, Some(version));
        let shown = asked.get("since").map(|text| match changes::since(asked).filter(earlier) {
            Some(version) => of(version).map_err(|failure| failure.what),
            None => Err(format!("There is no earlier version {text}.")),
        });
        let (shown, refused) = match shown {
            Some(Ok(shown)) => (Some(shown), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        Since {
            shown,
            refused,
            // A record that came from elsewhere has no files of its earlier versions.
            last: Some(review.version - 1).filter(earlier).and_then(|version| of(version).ok()),
            split: asked.contains_key("split"),
            version: asked.contains_key("version"),
        }
    }

    /// Returns the address of the changes, laid out and chosen as named.
    fn address(&self, split: bool, since: Option<u32>) -> String {
        let flags = [
            split.then_some("split".to_owned()),
            self.version.then_some("version".to_owned()),
            since.map(|since| format!("since={since}")),
        ];
        format!("?{}#changes", flags.into_iter().flatten().collect::<Vec<_>>().join("&"))
    }

    /// Returns the form by which files are marked as seen, which comes back to the same changes.
    fn marks(&self, frame: &Frame, task: u64) -> Markup {
        let shown = self.shown.as_ref().and_then(|shown| shown.since);
        html! {
            form method="post" action=(format!("/tasks/{task}/seen")) id="see" {
                (frame.key())
                @for (name, is) in [("split", self.split), ("version", self.version)] { @if is { input type="hidden" name=(name); } }
                @if let Some(since) = shown { input type="hidden" name="since" value=(since); }
            }
        }
    }

    /// Returns what came of what was said to the version before: each note, and how much changed.
    fn told(&self, task: &Task, review: &Review) -> Markup {
        let Some(last) = &self.last else { return html! {} };
        let before = review.version - 1;
        let notes = notes::news(review, before);
        html! {
            section.sec.sheet.told.since aria-labelledby="since-t" {
                (icons::sign("lines"))
                div {
                    h2 id="since-t" { "Since version " (before) }
                    @if let Some(words) = task.words.last().filter(|_| notes.is_empty() && review.edited.is_empty()) { blockquote { (prose(own_words(words))) } }
                    @if !notes.is_empty() { ul.marks { @for note in notes { li { (notes::row(note, &html! {})) } } } }
                    p.acts {
                        span { (clean(&last.extent())) }
                        @if !last.files.is_empty() { a.txt href=(self.address(self.split, Some(before))) { "Show only what changed since" } }
                    }
                }
            }
        }
    }

    /// Returns the choice of the version since which changes are shown.
    fn choice(&self, review: &Review) -> Markup {
        let chosen = self.shown.as_ref().and_then(|shown| shown.since);
        html! {
            @if self.last.is_some() {
                nav.seg aria-label="Which changes" {
                    a href=(self.address(self.split, None)) aria-current=[chosen.is_none().then_some("true")] { "All" }
                    @for version in (1..review.version).rev().take(EARLIER_MAX) {
                        a href=(self.address(self.split, Some(version))) aria-current=[(chosen == Some(version)).then_some("true")] { "Since " (version) }
                    }
                }
            }
        }
    }
}

/// Returns where the person went on working in what the version changes: what fits, and both sides of what does not.
fn drifted(frame: &Frame, drift: &[DriftRow], takeable: &Takeable, review: &Review) -> Markup {
    html! {
        @if !drift.is_empty() && review.taken != Taken::Whole {
            section.sec.sheet.told aria-labelledby="drift-t" {
                (icons::sign("flag"))
                div {
                    h2 id="drift-t" { "Your folder changed while it worked" }
                    @for row in drift.iter().take(LOOK_MAX) {
                        p { code { (marked(&review.named(row.folder, &row.path))) } ": " (row.text()) }
                        (sides(&row.overlaps, "The task's"))
                    }
                    @if drift.len() > LOOK_MAX { p { "and " (drift.len() - LOOK_MAX) " more" } }
                    @let fitting = fitting(drift, review);
                    div.acts {
                        (frame.button(&format!("/tasks/{}/fit", review.task), "pri", &html! { "Let it fit around mine" }, &[]))
                        @if !fitting.is_empty() && fitting.len() < review.files.len() {
                            @let numbers: Vec<String> = fitting.iter().map(usize::to_string).collect();
                            @let fields: Vec<(&str, &str)> = numbers.iter().map(|number| ("file", number.as_str())).collect();
                            @let seen = review.seen.to_string();
                            @let label = html! { "Keep mine, accept the other " @if fitting.len() == 1 { "file" } @else { (fitting.len()) " files" } };
                            (frame.button(&format!("/tasks/{}/accept", review.task), "", &label, &[&[("seen", seen.as_str())][..], &fields].concat()))
                        }
                        (take_this_one(frame, review, takeable, &fitting))
                    }
                    p.mut { "What both changed is never overwritten unasked: accept writes what fits, or nothing. What you take over yours, an undo brings back." }
                }
            }
        }
    }
}

/// Returns how the task's side is taken where both changed the same: at once where nothing else stands against it, and else of the
/// files that are ticked.
fn take_this_one(frame: &Frame, review: &Review, takeable: &Takeable, fitting: &[usize]) -> Markup {
    let numbers = (0..review.files.len()).filter(|number| {
        let file = &review.files[*number];
        let is = |path: &RelPath| takeable.paths.contains(&(file.folder, path.clone()));
        is(&file.path) || file.renamed_from.as_ref().is_some_and(is)
    });
    let numbers: Vec<usize> = numbers.collect();
    let at = format!("/tasks/{}/accept", review.task);
    let (seen, count) = (review.seen.to_string(), review.files.len().to_string());
    html! {
        @match (&takeable.alone, numbers.as_slice()) {
            (_, []) => {},
            (Some(built), [one]) => {
                (frame.button(&at, "", &html! { "Take this one" }, &[("seen", &built.to_string()), ("all", &count), ("over", &one.to_string())]))
            },
            _ => {
                form method="post" action=(at) {
                    (frame.key())
                    input type="hidden" name="seen" value=(seen);
                    @for number in fitting { input type="hidden" name="file" value=(number); }
                    @for number in &numbers {
                        @let file = &review.files[*number];
                        label.chip { input type="checkbox" name="over" value=(number); " Take the task's " code { (marked(&review.named(file.folder, &file.path))) } }
                    }
                    button.btn { "Take these and what fits" }
                }
            },
        }
    }
}

/// Returns what a person made of the same lines as somebody else, and what those did.
pub fn sides(overlaps: &[Overlap], theirs: &str) -> Markup {
    let side = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let lines: Vec<&str> = text.lines().take(SIDE_LINES_MAX).collect();
        html! { @if lines.is_empty() { em { "nothing" } } @else { code { @for line in lines { (marked(line)) br; } } } }
    };
    html! {
        @for overlap in overlaps.iter().take(OVERLAPS_MAX) {
            div.vs {
                span { b { "Yours, line " (overlap.line) } (side(&overlap.mine)) }
                span { b { (theirs) } (side(&overlap.theirs)) }
            }
        }
    }
}

/// Returns what looks like a secret in what the version adds, without showing it.
fn secrets(frame: &Frame, review: &Review) -> Markup {
    let found: Vec<String> = review
        .files
        .iter()
        .flat_map(|file| file.secrets.iter().map(move |one| (file, one)))
        .map(|(file, one)| {
            format!("{}, line {}: {}", review.named(file.folder, &file.path), one.line, one.kind)
        })
        .collect();
    let more = found.len().saturating_sub(LOOK_MAX);
    html! {
        @if !found.is_empty() && review.taken != Taken::Whole {
            section.sec.sheet.told aria-labelledby="secrets-t" {
                (icons::sign("flag"))
                div {
                    h2 id="secrets-t" { "What looks like a secret is in this change" }
                    ul.paths { @for one in found.iter().take(LOOK_MAX) { li { (marked(one)) } } @if more > 0 { li { "and " (more) " more" } } }
                    @let words = format!("Take what looks like a secret out of what you wrote, and say how it is to be given instead:\n{}", found[..found.len() - more].join("\n"));
                    div.acts { (frame.button(&format!("/tasks/{}/revise", review.task), "", &html! { "Send it back" }, &[("words", &words)])) }
                    p.mut { "Accept takes it all the same." }
                }
            }
        }
    }
}

/// Returns the numbers of the files that can be written beside what the person did.
fn fitting(drift: &[DriftRow], review: &Review) -> Vec<usize> {
    let stands_against = |file: &FileChange| {
        let mut against = drift.iter().filter(|row| row.fit != Fit::Merges && row.folder == file.folder);
        against.any(|row| row.path == file.path || file.renamed_from.as_ref() == Some(&row.path))
    };
    (0..review.files.len()).filter(|number| !stands_against(&review.files[*number])).collect()
}

/// Returns what the task says it did, and beside each claim what quire saw of it. The tables of an answer are drawn.
pub fn brief(brief: &Brief, is_answer: bool) -> Markup {
    let Brief { summary, claims, assumed, not_done, .. } = brief;
    html! {
        div.prose {
            @if summary.is_empty() && claims.is_empty() { p { "The model ended without a word." } }
            @else if is_answer { (bars::answer(summary)) }
            @else { (markdown(summary)) }
        }
        @if !claims.is_empty() {
            ul.claims {
                @for claim in claims {
                    li { (icons::outcome(claim.passed, claim.doubted)) span { (quoting(&clean(&claim.text))) } span.proof.un[claim.passed.is_none()] { (quoting(&clean(&claim.outcome))) } }
                }
            }
        }
        @for (heading, lines) in [("Assumed", assumed), ("Not done", not_done)] {
            @if !lines.is_empty() { h2.minor { (heading) } ul.prose { @for line in lines { li { (quoting(&clean(line))) } } } }
        }
    }
}

/// Returns what the agent looked at, with its pictures.
fn looked(page: &Page, review: &Review) -> Markup {
    if review.looked.is_empty() && review.not_looked.is_empty() {
        return html! {};
    }
    html! {
        h2.minor { "Looked at" }
        @for look in &review.looked {
            p { (quoting(&clean(&look.text()))) }
            div.shots {
                @for picture in &look.pictures {
                    (pictured(page, review, picture, &format!("What {} looks like", clean(&look.target))))
                }
            }
        }
        @if !review.not_looked.is_empty() {
            p.claim { (icons::outcome(None, false)) "Not looked at: " (clean(&review.not_looked.join(", "))) }
        }
    }
}

/// Returns what a reviewer says of it, where one was asked.
fn reviewer(review: &Review) -> Markup {
    let Some(reviewed) = &review.reviewer else { return html! {} };
    html! {
        h2.minor { "Review" }
        div.prose {
            p { (clean(&reviewed_text(reviewed))) }
            @if !reviewed.open.is_empty() { ul { @for finding in &reviewed.open { li { (quoting(&clean(&finding.sentence()))) } } } }
        }
    }
}

/// Returns a picture, small, which opens large in a tab of its own.
fn pictured(page: &Page, review: &Review, picture: &Image, told: &str) -> Markup {
    let at = format!("{}/{}", page.pictures_at(review.task), picture.blob);
    html! { a href=(at) target="_blank" rel="noreferrer" { img src=(at) alt=(told) loading="lazy"; } }
}

/// Returns what a window of that width is called.
fn window(width: u32) -> &'static str {
    match width {
        0..=480 => "Phone",
        481..=1024 => "Tablet",
        _ => "Wide",
    }
}

fn checks(page: &Page, review: &Review) -> Markup {
    html! {
        section.sec id="checks" aria-labelledby="checks-t" {
            header { h2 id="checks-t" { "Checks" } }
            @if review.checks.is_empty() {
                p.claim { (icons::outcome(None, false)) "Not checked: the task has no check. Name one when you start it, or in quire.toml." }
            } @else {
                div.checks.sheet {
                    @for check in &review.checks {
                        details open[check.passed == Some(false) || !check.shots.is_empty()] {
                            summary {
                                (icons::outcome(check.passed, check.doubted))
                                span.what { code { (clean(&check.command)) } " " (clean(&check.outcome)) }
                                span.by { @if check.passed.is_some() { "quire ran it" } }
                                span.dur { @if check.passed.is_some() { (format!("{:.1} s", check.millis as f64 / 1000.0)) } }
                                (icons::chevron())
                            }
                            @if !check.shots.is_empty() {
                                div.shots {
                                    @for shot in &check.shots {
                                        @let told = format!("{}, {} px", window(shot.width), shot.width);
                                        figure {
                                            (pictured(page, review, &shot.image, &format!("The page at {} px", shot.width)))
                                            figcaption { (told) @if shot.wider > 0 { ", scrolls sideways" } }
                                        }
                                    }
                                }
                            }
                            @if !check.output.trim().is_empty() { pre.out tabindex="0" { (clean(check.output.trim_end())) } }
                        }
                    }
                }
            }
        }
    }
}

fn rail(review: &Review, shown: &Review, story: &story::Story) -> Markup {
    let look = review.look();
    let apart = [
        ("Outside the folder, not taken", &review.apart.outside),
        ("In ignored folders, not taken", &review.apart.ignored),
        ("Pipes, sockets and devices, not taken", &review.apart.special),
    ];
    html! {
        @if !look.is_empty() {
            section { h3 { "Look here first" } ul.look {
                @for (path, why) in look.iter().take(LOOK_MAX) {
                    @let told = html! { (marked(path)) " " span.mut { (clean(why)) } };
                    @let at = shown.files.iter().position(|file| review.named(file.folder, &file.path) == *path);
                    li { (icons::sign("flag")) @match at { Some(number) => a href=(format!("#f{number}")) { (told) }, None => span { (told) } } }
                }
                @if look.len() > LOOK_MAX { li { (icons::sign("flag")) span { "and " (look.len() - LOOK_MAX) " more" } } }
            } }
        }
        @for (title, listing) in apart.iter().filter(|(_, listing)| listing.total > 0) {
            section { h3 { (title) } (listed(review, listing)) }
        }
        @if let Some(weak) = &review.weak { section { h3 { "Sandbox" } p.two { (clean(weak)) } } }
        @for stand_in in &review.stand_ins {
            section { h3 { "Model" } p.two { (clean(&format!("{} stood in for {}: {}", stand_in.model, stand_in.instead_of, sentence(&stand_in.why)))) } }
        }
        @if let Some(reached) = reached_text(&review.reached) { section { h3 { "Reached" } p.two { (clean(&reached)) } } }
        section { h3 { "How it got here" } (story::steps(story)) }
    }
}

fn listed(review: &Review, listing: &Listing) -> Markup {
    html! {
        ul.paths {
            @for path in listing.paths.iter().take(5) { li { code { (marked(&review.named_apart(path))) } } }
            @if listing.total > 5 { li { "and " (view::thousands(listing.total - 5)) " more" } }
        }
    }
}

fn list(task: &Task, review: &Review, since: &Since) -> Markup {
    let (choosable, folders) = (changes::is_choosable(task, review), task.charter.folders.len());
    html! {
        nav.files aria-label="Changed files" {
            @if choosable {
                label.all { input type="checkbox" id="all" checked hidden; span id="taking" { "Taking " (review.files.len()) " of " (view::count(review.files.len() as u64, "file")) } }
            }
            ul {
                @for (number, file) in review.files.iter().enumerate() {
                    li { div.f {
                        @if choosable {
                            input type="checkbox" form="accept" name="file" value=(number) checked aria-label=(format!("Take {}", clean(&changes::name(file, folders))));
                        } @else { span {} }
                        a.nm href=(format!("#f{number}")) { (marked(&changes::name(file, folders))) }
                        span.ct { (changes::extent(file)) }
                    } }
                }
            }
            @if review.since.is_some() { small { @if review.files.is_empty() { "Nothing changed since. " } "What is taken is chosen among " a.txt href=(since.address(since.split, None)) { "all changes" } "." } }
            @if choosable { small { "Boxes choose what is taken into your folder. " kbd { "n" } " next change, " kbd { "x" } " take or leave." } }
        }
    }
}

/// Returns what is done with the changes as a whole: search in them, and how they are laid out.
fn tools(review: &Review, since: &Since) -> Markup {
    let split = since.split;
    html! {
        form.find role="search" action=(format!("/tasks/{}/find", review.task)) {
            (icons::sign("find"))
            label.vh for="find" { "Find in the changes" }
            input type="search" id="find" name="q" placeholder="Find in the changes" autocomplete="off";
            @if split { input type="hidden" name="split"; }
            @if let Some(since) = review.since { input type="hidden" name="since" value=(since); }
            kbd { "/" }
        }
        span.seg role="group" aria-label="Layout of the changes" {
            a href=(since.address(false, review.since)) aria-current=[(!split).then_some("true")] { "Unified" }
            a href=(since.address(true, review.since)) aria-current=[split.then_some("true")] { "Split" }
        }
    }
}

fn bar(
    frame: &Frame,
    task: &Task,
    review: &Review,
    drift: &[DriftRow],
    since: &Since,
    said: Option<&str>,
) -> Markup {
    let at = format!("/tasks/{}", task.id);
    let folder = view::short_folder(&task.charter.folders[0], crate::cmd::home().as_deref());
    let count = view::count(review.files.len() as u64, "file");
    let is_now = task.is_at_rest();
    let fits = review.taken != Taken::No || drift.iter().all(|row| row.fit == Fit::Merges);
    let is_clear = fits && !review.fails();
    html! {
        div.accept role="region" aria-label="Decision" { div {
            @if review.imported {
                p { b { (review.folder_text()) } }
                (frame.button(&format!("{at}/discard"), "ghost big", &html! { "Discard" }, &[]))
            } @else if review.files.is_empty() {
                @if review.has_only_committed() { p { b { (review.extent()) "." } span { "Accept brings the commits into your repository." } } }
                @else { p { b { "Nothing to accept." } span { "Your folder was only read." } } }
                @if review.taken == Taken::No { (frame.button(&format!("{at}/discard"), "ghost big", &html! { "Discard" }, &[])) }
                (answer::report(task, "btn ghost big"))
                a.btn.pen.big href="#say" { (answer::FOLLOW_UP) " " kbd { "⇧R" } }
                @if is_now && review.mark == Mark::Ready {
                    // Decided all the same: it needs nobody any more.
                    form method="post" action=(format!("{at}/accept")) id="accept" {
                        (frame.key())
                        input type="hidden" name="seen" value=(review.seen);
                        input type="hidden" name="all" value="0";
                        button.btn.pri.big id="accept-button" { (if review.has_only_committed() { "Accept " } else { "Done " }) kbd { "⇧A" } }
                    }
                } @else { a.btn.pri.big href="/" { "Done" } }
            } @else {
                p {
                    b {
                        @if let Some(said) = said { (clean(said)) }
                        // What was taken back says nothing yet of how the folder is.
                        @if said.is_none() || review.taken == Taken::No { " " (review.folder_text_with(drift)) }
                    }
                    span id=[fits.then_some("will")] {
                        @match review.taken {
                            _ if !fits => "Accept writes what still fits, where that is all you take.",
                            Taken::Whole => "You can take it back.",
                            _ => { "Accept writes " (count) " into " (clean(&folder)) ". You can undo it." },
                        }
                    }
                }
                @if review.taken == Taken::Part { (frame.button(&format!("{at}/discard"), "ghost big", &html! { "Leave the rest" }, &[])) }
                @if review.taken == Taken::No { (frame.button(&format!("{at}/discard"), "ghost big", &html! { "Discard" }, &[])) }
                @else { (frame.button(&format!("{at}/undo"), if review.taken == Taken::Whole { "big undo" } else { "ghost big undo" }, &html! { "Undo " kbd { "⇧U" } }, &[])) (open(frame, task, "ghost big")) }
                @if notes::drafts(review) > 0 {
                    (frame.button(&format!("{at}/revise"), "pen big", &html! { "Send " (view::count(notes::drafts(review) as u64, "note")) " " kbd { "⇧R" } }, &[("notes", "all")]))
                }
                @else if review.fails() && review.taken == Taken::No {
                    (frame.button(&format!("{at}/revise"), "pri big", &html! { "Send it back" }, &[("words", &mend(review))]))
                    @if let Some(way) = edit::take_over(review) { a.btn.big href=(way) { "Take over" } }
                }
                @else { a.btn.pen.big href="#say" { "Ask for changes " kbd { "⇧R" } } }
                @if is_now && review.taken != Taken::Whole {
                    form method="post" action=(format!("{at}/accept")) id="accept" {
                        (frame.key())
                        input type="hidden" name="seen" value=(review.seen);
                        input type="hidden" name="heads" value="yes";
                        @if since.shown.is_some() { input type="hidden" name="all" value=(review.files.len()); }
                        @if review.files.iter().any(|file| file.runs.is_some()) {
                            label { input type="checkbox" name="programs" value="yes"; " Also files that can run programs here" }
                        }
                        button.btn.big.pri[is_clear].ghost[!is_clear] id="accept-button" { span { (if review.fails() { "Accept anyway: " } else { "Accept " }) span id="accept-count" { (count) } } " " kbd { "⇧A" } }
                    }
                }
            }
        } }
    }
}

/// Returns what is said to a task whose checks fail.
fn mend(review: &Review) -> String {
    let failed = review.checks.iter().filter(|check| check.passed == Some(false) && !check.as_before);
    let named: Vec<String> = failed.map(|check| format!("`{}`", check.command)).collect();
    format!("You say it is done, but {} fails. Mend that.", named.join(", "))
}
