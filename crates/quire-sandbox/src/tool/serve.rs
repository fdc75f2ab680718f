//! `serve`: how a person can look at the result. Nothing is run or kept here: the call itself is in the log.

use super::{Here, Tool, refused, said};
use crate::protocol::HandOutcome;
use schemars::JsonSchema;
use serde::Deserialize;

/// Record how a person can try what you made in a browser: `command`, run in the folder later, serves it on `port`. Plain
/// HTML needs none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Serve {
    command: String,
    port: u16,
    /// Page to open first.
    #[serde(default)]
    path: String,
}

impl Tool for Serve {
    const NAME: &'static str = "serve";

    fn run(self, _here: &Here<'_>) -> HandOutcome {
        if self.command.trim().is_empty() || self.command.contains('\0') {
            return refused("serve: `command` is no command line.");
        }
        if self.port == 0 {
            return refused("serve: `port` is to be one that the command always listens on.");
        }
        let path = self.path.trim_start_matches('/');
        said(format!("Recorded: {} serves http://localhost:{}/{path}", self.command.trim(), self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::super::specs;
    use super::super::tests::Place;
    use quire_core::charter::Edits;
    use serde_json::json;

    #[test]
    fn what_can_be_run_later_is_recorded() {
        let place = Place::new();
        for (input, expect) in [
            (
                json!({"command": "npm run dev", "port": 5173}),
                "Recorded: npm run dev serves http://localhost:5173/",
            ),
            (json!({"command": "x", "port": 80, "path": "/a"}), "Recorded: x serves http://localhost:80/a"),
            (json!({"command": " ", "port": 80}), "is no command line"),
            (json!({"command": "x", "port": 0}), "always listens on"),
            (json!({"command": "x", "port": 70000}), "serve: invalid value"),
        ] {
            let outcome = place.call("serve", input);
            assert_eq!(outcome.ok, expect.starts_with("Recorded"), "{}", outcome.text);
            assert!(outcome.text.contains(expect), "{}", outcome.text);
        }
    }

    #[test]
    fn it_costs_a_prompt_little() {
        let tools = specs(Edits::ApplyPatch, false);
        let serve = tools.iter().find(|tool| tool.name == "serve").unwrap();
        let told = format!("{}{}{}", serve.name, serve.description, serve.input);
        assert!(told.len() < 400, "{} {told}", told.len());
    }
}
