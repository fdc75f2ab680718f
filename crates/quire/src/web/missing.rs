//! Where no sandbox can be made, or a lesser one than usual: what stands in the way, why that matters, and the commands that would
//! change it. Each is looked for anew when *Check again* is pressed, and not when a page is read.

use crate::error::Failure;
use crate::terminal::clean;
use crate::web::door::Fields;
use crate::web::frame::Frame;
use crate::web::{Page, act, frame, icons, lock};
use axum::extract::{Extension, State};
use axum::response::Response;
use maud::{Markup, html};
use quire_core::view::{capital, sentence};
use quire_engine::raise::{self, Machine, Obstacle, Remedy};
use quire_engine::{EngineError, Proof, Rung, StartError};
use std::path::PathBuf;
use std::sync::Arc;

/// What a machine gives, as it was found last.
pub struct Found {
    /// Absent: nothing, and why.
    pub proof: Result<Proof, Missing>,
    obstacles: Vec<Obstacle>,
    other_ways: Vec<String>,
}

/// Why there is no sandbox.
pub struct Missing {
    /// Whether it is the machine that allows none, and no lack of room or the like.
    is_refused: bool,
    why: String,
}

impl Found {
    /// Finds it out by making a sandbox, which takes a moment.
    pub fn out(page: &Page) -> Found {
        let proof = page.quire.prove_sandbox().map_err(|error| Missing {
            is_refused: matches!(error, EngineError::Sandbox(StartError::Refused(_))),
            why: error.to_string(),
        });
        let binary = std::env::current_exe().and_then(std::fs::canonicalize);
        let machine = Machine::look(page.quire.home(), binary.unwrap_or_else(|_| PathBuf::from("quire")));
        Found::on(&machine, proof)
    }

    fn on(machine: &Machine, proof: Result<Proof, Missing>) -> Found {
        let rung = proof.as_ref().ok().map(|proof| proof.rung);
        // What is full or cannot be written is no matter of what the machine allows.
        let is_raised = proof.as_ref().err().is_none_or(|missing| missing.is_refused);
        let obstacles = if is_raised { raise::obstacles(machine, rung) } else { vec![] };
        Found { proof, obstacles, other_ways: raise::other_ways(machine) }
    }

    /// Returns what is told as a heading, where there is none.
    pub fn heading(&self) -> Option<&'static str> {
        let missing = self.proof.as_ref().err()?;
        Some(match missing.is_refused {
            true => "This computer does not allow private copies yet",
            false => "No private copy can be made now",
        })
    }

    /// Returns what stands in the way of a sandbox, or of a better one, and what can be done; `on` is the page that it is on.
    pub fn told(&self, frame: &Frame, on: &str) -> Markup {
        let whys: Vec<String> = self.obstacles.iter().map(|one| sentence(&capital(&one.why))).collect();
        let lines = |obstacle: &Obstacle| match &obstacle.remedy {
            Remedy::Steps(steps) => steps.iter().map(|step| clean(&step.to_string())).collect(),
            Remedy::Advice(_) => vec![],
        };
        let commands: Vec<String> = self.obstacles.iter().flat_map(lines).collect();
        let id = format!("raise-{on}");
        html! {
            @match &self.proof {
                Err(missing) => {
                    p.sub {
                        @if whys.is_empty() { (sentence(&capital(&clean(&missing.why)))) } @else { (clean(&whys.join(" "))) }
                        " A task could touch your real files, so none runs until this is mended. Nothing is lost: what you say is kept."
                    }
                },
                Ok(proof) => {
                    p.sub { "It is of a lesser kind than usual: " (proof.rung) ". What is less:" }
                    ul.prose { @for weaker in proof.rung.weaker() { li { (weaker) "." } } }
                    @if !whys.is_empty() { p.sub { (clean(&whys.join(" "))) } }
                },
            }
            @for obstacle in &self.obstacles {
                @if let Remedy::Advice(advice) = &obstacle.remedy { p.sub { (clean(advice)) } }
            }
            @if !commands.is_empty() { pre.out.live-out id=(id) tabindex="0" aria-label="What mends it" { (commands.join("\n")) } }
            div.acts {
                @if !commands.is_empty() { button.btn.pri type="button" data-copy=(id) hidden { @if commands.len() == 1 { "Copy command" } @else { "Copy commands" } } }
                (frame.button("/settings/check", if commands.is_empty() && self.proof.is_err() { "pri" } else { "" }, &html! { "Check again" }, &[("on", on)]))
            }
            details.points {
                summary { "Other ways" }
                ul.prose {
                    @if !commands.is_empty() { li { "In a terminal, " code { "sudo quire doctor --fix" } " does the same, and says each thing before it does it." } }
                    @for way in &self.other_ways { li { (clean(way)) } }
                    @if let Err(missing) = &self.proof {
                        li { "Without a sandbox quire runs nothing." }
                        @if !whys.is_empty() { li { "As each kind of sandbox was refused: " (clean(&missing.why)) } }
                    }
                }
            }
        }
    }
}

impl Page {
    /// Returns what was found last, where it is that no task can run.
    pub fn missing(&self) -> Option<Arc<Found>> {
        let found = lock(&self.probe).sandbox.clone();
        found.filter(|found| found.proof.is_err())
    }

    /// Returns whether what was found is less than usual.
    pub fn is_less(found: &Found) -> bool {
        found.proof.as_ref().is_ok_and(|proof| proof.rung > Rung::OneUid)
    }
}

/// Returns what stands on the page of tasks, where no task can run.
pub fn on_home(page: &Page, frame: &Frame) -> Markup {
    let missing = page.missing();
    html! {
        @if let Some(found) = missing {
            section.sheet.told aria-labelledby="missing-t" {
                (icons::status("fail", "fail", "Missing"))
                div { h2 id="missing-t" { (found.heading().unwrap_or_default()) } (found.told(frame, "home")) }
            }
        }
    }
}

/// Looks anew.
pub async fn check(State(page): State<Arc<Page>>, Extension(fields): Extension<Fields>) -> Response {
    let back = if fields.get("on") == Some("home") { "/" } else { "/settings" };
    let checked = page.blocking(|page| {
        let found = Arc::new(Found::out(page));
        lock(&page.probe).sandbox = Some(found);
        Ok::<_, Failure>(())
    });
    match checked.await {
        Ok(()) => act::see(back),
        Err(failure) => frame::failed(&failure, back),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ordinary user's machine that lacks nothing.
    fn machine() -> Machine {
        Machine {
            container: None,
            root: false,
            kernel: (6, 18),
            apparmor_restricts: None,
            userns_clone: None,
            max_userns: Some(1000),
            overlay: true,
            landlock: 0,
            data_kind: "ext4".into(),
            binary: "/usr/bin/quire".into(),
        }
    }

    fn shown(machine: &Machine, proof: Result<Proof, Missing>) -> String {
        Found::on(machine, proof).told(&Frame::for_tests(), "settings").into_string()
    }

    fn refused() -> Result<Proof, Missing> {
        Err(Missing { is_refused: true, why: "it lets <nobody>".into() })
    }

    #[test]
    fn what_is_switched_off_is_told_with_the_command_that_switches_it_on() {
        let off = Machine { userns_clone: Some(0), ..machine() };
        let told = shown(&off, refused());
        for part in [
            "User namespaces are switched off for ordinary users",
            "none runs until this is mended",
            "sudo sysctl --load /etc/sysctl.d/60-quire.conf",
            "data-copy=\"raise-settings\" hidden>Copy commands<",
            "class=\"btn \">Check again<",
            "Other ways",
            "it lets &lt;nobody&gt;",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn where_there_is_no_command_checking_again_is_what_can_be_done() {
        let inside = Machine { container: Some("docker".into()), ..machine() };
        let full = Err(Missing { is_refused: false, why: "the disk is full".into() });
        for (machine, proof, part) in [
            (&inside, refused(), "--security-opt seccomp=unconfined"),
            (&machine(), refused(), "The kernel has no Landlock"),
            (&Machine { max_userns: Some(0), ..machine() }, full, "The disk is full."),
        ] {
            let told = shown(machine, proof);
            assert!(told.contains(part), "{part}: {told}");
            assert!(told.contains("class=\"btn pri\">Check again<") && !told.contains("data-copy"), "{told}");
        }
    }

    #[test]
    fn of_a_lesser_one_it_is_told_what_is_less_and_what_raises_it() {
        let less = |rung| Ok(Proof { rung, refused: vec![], ports_taken: None });
        let told = shown(&Machine { max_userns: Some(0), landlock: 6, ..machine() }, less(Rung::Copy));
        for part in ["there is no network", "No user namespaces may be made", "Copy commands", "Check again"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("none runs"), "{told}");
        let found = |rung| Found::on(&machine(), less(rung));
        assert!(Page::is_less(&found(Rung::NoNewProc)) && !Page::is_less(&found(Rung::OneUid)));
    }
}
