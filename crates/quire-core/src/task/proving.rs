//! What comes of a check: the next one, a word back to the model, or the end of the checks.

use super::{Stage, Task};
use crate::event::Proof;
use std::sync::Arc;

impl Task {
    pub(super) fn check(&mut self, proof: &Proof) {
        let sealed = self.sealed.as_mut().expect("may() saw it");
        sealed.proofs.push(Arc::new(proof.clone()));
        let may_mend = self.check_rounds_used < self.charter.limits.check_rounds;
        let (ran, all, own) = (sealed.proofs.len(), sealed.checks.len(), self.charter.checks.len());
        // What is mended is checked anew: those that quire found are not run for what will change.
        let goes_back = may_mend && ran >= own && sealed.proofs.iter().any(|proof| proof.fails());
        if ran < all && !goes_back {
            return;
        }
        let failed: Vec<String> = sealed
            .proofs
            .iter()
            .zip(sealed.checks.iter())
            .filter(|(proof, _)| proof.fails())
            .map(|(proof, spec)| {
                let exit = proof.exit.map_or("did not end".to_owned(), |code| format!("exit {code}"));
                format!("`{}` failed ({exit}):\n{}", spec.command, proof.output.trim_end())
            })
            .collect();
        if goes_back {
            self.check_rounds_used += 1;
            self.notice(&format!(
                "quire ran the checks on what you left. {}\nMend the cause, not the check, then end with your summary again.",
                failed.join("\n")
            ));
            self.stage = Stage::Ask;
            self.note_checkpoint(self.step, None);
        } else {
            self.end_checks();
        }
    }
}
