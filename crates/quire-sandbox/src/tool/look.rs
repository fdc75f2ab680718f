//! `look`: what the model made, as a person would see it: a page at several widths, a document as it is printed, an image.

mod browser;
mod document;
pub(super) mod glance;

use super::command::{Running, Waited};
use super::{Here, Tool, refused};
use crate::protocol::{HandImage, HandOutcome};
use glance::{Pictured, Report, Request};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// See what you made as a person would: an HTML page or a local server (http://localhost:PORT/...) with its console's
/// errors, whether it scrolls sideways, and how many pages it prints on; a PDF or office document by its pages; an image. Look
/// before you end, and after changes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// A path from the task's folder, or an address of a server that you started.
    target: String,
    /// Widths of the window in pixels, at most 4; usually 1280 and, for a phone, 390.
    #[serde(default)]
    widths: Vec<u32>,
    /// First page of a document, from 1.
    page: Option<u64>,
}

/// The longest that a look may take.
const TIME_MAX: Duration = Duration::from_secs(90);
const WIDTHS_MAX: usize = 4;
/// The largest picture that is shown, in bytes.
const PICTURE_MAX: u64 = 5 << 20;

/// What the person's machine has for looking, by the programs of these names that it runs.
pub struct Eyes {
    pub pages: bool,
    pub documents: bool,
    pub office: bool,
}

impl Eyes {
    pub fn of(runs: &dyn Fn(&str) -> bool) -> Eyes {
        let documents = runs("pdftoppm") && runs("pdfinfo");
        Eyes {
            pages: browser::PROGRAMS.iter().any(|program| runs(program)),
            documents,
            office: documents && runs("soffice"),
        }
    }

    /// Returns what a model is told that it cannot look at here, where there is something.
    pub fn told(&self) -> Option<String> {
        let lacks = [
            (self.pages, "pages (no Chromium)"),
            (self.documents, "PDFs (no poppler)"),
            (self.office, "office documents (no LibreOffice)"),
        ];
        let lacks: Vec<&str> = lacks.into_iter().filter(|(has, _)| !has).map(|(_, what)| what).collect();
        let what = lacks.join(", ");
        (!lacks.is_empty()).then(|| {
            format!("`look` cannot show these on this machine: {what}. Say that you could not look at them.")
        })
    }
}

impl Tool for Look {
    const NAME: &'static str = "look";
    const ONLY_READS: bool = true;
    const FOR_EYES: &'static str = " You are shown pictures.";

    fn run(self, here: &Here<'_>) -> HandOutcome {
        let place = here.inside.out.join(format!("look-{}", here.inside.next_id()));
        let outcome = self.look(here, &place);
        let _ = fs::remove_dir_all(&place);
        outcome.unwrap_or_else(|error| refused(format!("look: {error}.")))
    }
}

impl Look {
    fn look(&self, here: &Here<'_>, place: &Path) -> io::Result<HandOutcome> {
        let mut widths: Vec<u32> = self.widths.iter().map(|width| (*width).clamp(200, 3_840)).collect();
        if widths.is_empty() {
            widths.push(1_280);
        }
        widths.truncate(WIDTHS_MAX);
        fs::create_dir(place)?;
        let (target, into) = (self.target.clone(), place.to_owned());
        let request = Request { target, widths, page: self.page.unwrap_or(1), into };
        let request = serde_json::to_string(&request)?.replace('\'', "'\\''");
        let command = format!("exec {} --request '{request}'", glance::NAME);
        let running = Running::start(here.inside, here.call, &command, false)?;
        let waited = running.wait(here.inside, here.call, TIME_MAX, &|_| (), |_| false);
        // Whatever a browser left goes with it.
        running.kill();
        let (said, waited) = running.show(waited);
        let report = fs::read(place.join("report.json")).ok();
        let report = report.and_then(|report| serde_json::from_slice::<Report>(&report).ok());
        match (report, waited) {
            (Some(report), _) => Ok(show(place, &here.inside.out, || here.inside.next_id(), report)),
            (None, Waited::Goes) => {
                Ok(refused(format!("look: it had not come to an end after {} s.", TIME_MAX.as_secs())))
            }
            (None, _) => Ok(refused(format!("look: it broke off. {}", said.text.trim()))),
        }
    }
}

/// Turns what was seen into an outcome, with its pictures where outcomes leave them: in `out`. It says which are left out, so
/// that none is taken for another.
fn show(place: &Path, out: &Path, next_id: impl Fn() -> u32, report: Report) -> HandOutcome {
    let (mut images, mut text) = (vec![], report.text);
    for Pictured { name, window } in report.pictures {
        let from = place.join(&name);
        let is_fit = fs::metadata(&from).is_ok_and(|meta| meta.is_file() && meta.len() <= PICTURE_MAX);
        let kind = match from.extension().and_then(|ending| ending.to_str()) {
            Some("jpg") => "jpeg",
            Some(kind) => kind,
            None => continue,
        };
        let file = format!("look-{}.{kind}", next_id());
        if is_fit && fs::rename(&from, out.join(&file)).is_ok() {
            images.push(HandImage { media_type: format!("image/{kind}"), file, window });
        } else {
            text.push_str(&format!("\n{name} is not shown; it is larger than {} MiB", PICTURE_MAX >> 20));
        }
    }
    HandOutcome { text, ok: report.ok, exit: None, millis: 0, whole: None, images }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Window;

    #[test]
    fn a_picture_that_is_left_out_is_named_and_the_others_keep_their_windows() {
        let (place, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let picture = |width: u32, bytes: u64| {
            let name = format!("width-{width}.png");
            fs::File::create(place.path().join(&name)).unwrap().set_len(bytes).unwrap();
            Pictured { name, window: Some(Window { width, wider: 0 }) }
        };
        let pictures = vec![picture(390, PICTURE_MAX + 1), picture(768, PICTURE_MAX), picture(1_280, 1)];
        let report = Report { text: "seen".into(), ok: true, pictures };
        let shown = show(place.path(), out.path(), || 7, report);
        let widths: Vec<u32> = shown.images.iter().filter_map(|image| Some(image.window?.width)).collect();
        assert_eq!(widths, [768, 1_280]);
        assert_eq!(shown.text, "seen\nwidth-390.png is not shown; it is larger than 5 MiB");
    }

    #[test]
    fn a_model_is_told_what_it_cannot_look_at() {
        let told = |has: &[&str]| Eyes::of(&|program| has.contains(&program)).told().unwrap_or_default();
        for (has, lacks) in [
            (&["chromium", "pdftoppm", "pdfinfo", "soffice"][..], &[][..]),
            (&["google-chrome", "pdftoppm", "pdfinfo"], &["office"]),
            (&["soffice", "chromium", "pdfinfo"], &["PDFs", "office"]),
            (&[], &["pages", "PDFs", "office"]),
        ] {
            for what in ["pages (", "PDFs (", "office documents ("] {
                let is_told = lacks.iter().any(|lack| what.starts_with(lack));
                assert_eq!(told(has).contains(what), is_told, "{has:?} {what}");
            }
        }
    }
}
