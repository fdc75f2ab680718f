//! What a reviewer is told and shown. It reads in a sandbox of the version that is made for the one look and dropped after it, so
//! there is nothing of the work that it could change, and nothing of it that has to be kept.

use super::*;
use quire_core::diff;
use quire_core::{Entry, Node};

/// The longest diff that a reviewer is told, in bytes; the files it can read whole.
const DIFF_MAX: usize = 60_000;
/// The longest outcome of a look, in bytes.
const LOOK_MAX: usize = 16_000;
/// Of larger files it is told that they changed.
const FILE_MAX: u64 = 1 << 20;

impl Work {
    /// Returns what the reviewer is told of the sealed version.
    pub async fn tell_reviewer(self: &Arc<Work>, task: &Task) -> Result<Event, Undone> {
        let sealed = task.sealed.clone().ok_or_else(unsealed)?;
        let (work, frozen, folders) = (self.clone(), self.frozen(task)?, task.charter.folders.len());
        let masks = self.masks(task).await?;
        let (diff, lines) = blocking(move || {
            let mut diff = vec![];
            for entry in &work.load_snapshot(&sealed.snapshot)?.entries {
                let prefix = if folders > 1 { format!("{}/", entry.folder) } else { String::new() };
                let base = frozen.get(entry.folder as usize);
                let (was, now) = (base.and_then(|base| was_of(base, entry)), work.now_of(entry));
                match was.zip(now) {
                    Some((was, now)) => diff.extend(diff::unified(&prefix, entry, &was, &now)),
                    None => {
                        diff.extend(format!("{prefix}{}: changed, too large to show\n", entry.path).bytes())
                    }
                }
            }
            let diff = String::from_utf8_lossy(&diff).into_owned();
            let lines = diff.lines().filter(|line| is_change(line)).count() as u64;
            Ok((masks.mask(&diff).unwrap_or(diff), lines))
        })
        .await?;
        // What is bound to be long, or cannot be counted by lines, is worth one too.
        let counts = lines.max(if diff.contains("too large to show") { u64::MAX } else { 0 });
        if !task.is_reviewed_again() && !task.is_worth_a_review(counts) {
            return Ok(Event::ReviewerTold { text: String::new() });
        }
        Ok(Event::ReviewerTold { text: told(task, &bounded(&diff, DIFF_MAX)) })
    }

    /// Asks the reviewer. `again` is asked before a further try where the one before may have cost something.
    pub async fn ask_reviewer(&self, task: &Task, again: MayRepeat<'_>) -> Result<Event, Undone> {
        let model = task.reviewer().ok_or(Why::NoModel)?;
        Ok(match self.ask_model(&task.charter, model, &task.reviewer_prompt(), again).await? {
            Ok(reply) => Event::ReviewerReplied { reply },
            Err(Unanswered { fault, charged }) => Event::ReviewFailed { why: fault.message, spent: charged },
        })
    }

    /// Runs the calls of the reviewer's last reply in a fresh sandbox of the version.
    pub async fn look_up(self: &Arc<Work>, task: &Task) -> Result<Event, Undone> {
        let failed = |why: Why| match why {
            Why::Trouble(_, text) => Event::ReviewFailed { why: text, spent: false },
            _ => Event::ReviewFailed { why: "no sandbox could be made for it".to_owned(), spent: false },
        };
        Ok(self.look_up_all(task).await.unwrap_or_else(failed))
    }

    async fn look_up_all(self: &Arc<Work>, task: &Task) -> Result<Event, Undone> {
        let (line, reply) = task
            .sealed
            .as_ref()
            .map(|sealed| sealed.line.clone())
            .zip(task.reviewer_looks())
            .ok_or_else(unsealed)?;
        let tools = task.reviewer_tools();
        let names: HashSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let (scratch, masks) = (self.place.dir().join("look"), self.masks(task).await?);
        freeze::remove_tree(&scratch).map_err(disk)?;
        std::fs::create_dir_all(scratch.join("out")).map_err(disk)?;
        let hands = self.stand(task, &scratch, Some(&line)).await?;
        let mut outcomes = vec![];
        for call in &reply.calls {
            if !names.contains(call.tool.as_str()) {
                let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
                let text = format!("There is no tool \"{}\". There are: {}.", call.tool, known.join(", "));
                outcomes.push(Outcome::refused(text));
                continue;
            }
            outcomes.push(match hands.call(&call.tool, &call.input, |_| ()).await {
                Ok(said) => {
                    let text = bounded(&masks.mask(&said.text).unwrap_or(said.text), LOOK_MAX);
                    Outcome { ok: said.ok, millis: said.millis, ..Outcome::said(text) }
                }
                Err(Gone) => Outcome::refused("The sandbox ended while this ran."),
            });
        }
        blocking(move || {
            hands.discard().map_err(disk)?;
            freeze::remove_tree(&scratch).map_err(disk)
        })
        .await?;
        Ok(Event::ReviewerLooked { outcomes })
    }

    /// Returns what the file of an entry holds now; nothing where it is none.
    fn now_of(&self, entry: &Entry) -> Option<Vec<u8>> {
        match &entry.now {
            Some(Node::File { blob, bytes, .. }) => {
                (*bytes <= FILE_MAX).then(|| self.store.blobs().get(blob).ok())?
            }
            _ => Some(vec![]),
        }
    }
}

fn was_of(base: &Frozen, entry: &Entry) -> Option<Vec<u8>> {
    let Some(Node::File { bytes, .. }) = &entry.was else { return Some(vec![]) };
    let mut content = vec![];
    let file = (*bytes <= FILE_MAX).then(|| snapshot::old_content(base, &entry.path).ok())??;
    file?.take(FILE_MAX).read_to_end(&mut content).ok()?;
    Some(content)
}

fn is_change(line: &str) -> bool {
    (line.starts_with('+') || line.starts_with('-')) && !line.starts_with("+++ ") && !line.starts_with("--- ")
}

fn told(task: &Task, diff: &str) -> String {
    if task.is_reviewed_again() {
        return format!(
            "[quire] Who did the work was told of your findings, and says:\n{}\n\nThe whole change as it is now:\n{diff}\n\nLook \
             whether your findings still hold. End with those that do, in the same form, and with nothing new; or with: No findings.",
            task.last_text.trim()
        );
    }
    let mut text = String::from("[quire] Review what was done.");
    for words in &task.words {
        text.push_str(&format!("\n\nThe person said:\n{words}"));
    }
    let sealed = task.sealed.iter().flat_map(|sealed| sealed.checks.iter().zip(&sealed.proofs));
    for (spec, proof) in sealed {
        let how = if proof.passed { "passes" } else { "does not pass" };
        text.push_str(&format!("\n\nquire ran `{}`: it {how}.", spec.command));
    }
    text.push_str(&format!("\n\nWhat was changed in the folder:\n{diff}"));
    text
}

/// Returns the beginning of a text where it is longer than `most` bytes, which it then says.
fn bounded(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}\n[quire] cut here: {} bytes more", &text[..end], text.len() - end)
}

fn unsealed() -> Undone {
    Why::Trouble(Trouble::Other, "A review was asked for before anything was sealed.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_content_count_as_changes() {
        let diff = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n+\n z\n";
        assert_eq!(diff.lines().filter(|line| is_change(line)).count(), 3);
    }

    #[test]
    fn a_long_text_says_that_it_was_cut() {
        assert_eq!(bounded("short", 10), "short");
        assert_eq!(bounded("\u{e9}\u{e9}\u{e9}", 3), "\u{e9}\n[quire] cut here: 4 bytes more");
    }
}
