//! Questions of the agent's to its person: asked in a batch, each with what is assumed until there is an answer. The task goes
//! on with the assumptions; only a question that it cannot go on without makes it wait, and no time turns that into an answer.
//!
//! `ask` is no tool of the sandbox's: what is asked is an event, and the outcome of the call follows from it.

use super::{CallState, Phase, Task};
use crate::event::{Question, Why};
use crate::message::{Call, Outcome, ToolSpec};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// A question, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Asking {
    pub question: Question,
    /// What the person said last.
    pub answer: Option<Arc<str>>,
    /// Whether the task waits for the answer. It does no more once the person let it go on without one.
    pub presses: bool,
    /// The person let the task go on without an answer.
    passed: bool,
}

impl Asking {
    /// Returns what the agent works with: the answer, else its default.
    pub fn holds(&self) -> Option<&str> {
        self.answer.as_deref().or(self.question.default.as_deref())
    }

    /// Returns whether the agent works with something that its person never said.
    pub fn is_assumed(&self) -> bool {
        self.answer.is_none()
    }

    /// Returns whether the person is still to be asked.
    pub fn is_open(&self) -> bool {
        self.answer.is_none() && !self.passed
    }
}

/// The tool's name.
pub const ASK: &str = "ask";
/// Most questions of one call, and most that may be open at a time.
const BATCH_MAX: usize = 8;
const OPEN_MAX: usize = 20;
/// Most characters of a question or a default, and of a choice.
const TEXT_MAX: usize = 400;
const CHOICE_MAX: usize = 100;
const CHOICES_MAX: usize = 8;

/// Returns the tool as a model is told of it.
pub fn ask_spec() -> ToolSpec {
    let string = json!({"type": "string"});
    ToolSpec {
        name: ASK.to_owned(),
        description: "Ask the person what only they can decide; all questions in one call. Go on at once with your defaults: \
                      you are told when they answer."
            .to_owned(),
        input: json!({
            "type": "object",
            "properties": {"questions": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "question": string,
                    "default": string,
                    "choices": {"type": "array", "items": string},
                    "must": {"type": "boolean", "description": "Wait for the answer; only where no default will do."},
                },
                "required": ["question", "default"],
            }}},
            "required": ["questions"],
        }),
        reads: true,
    }
}

/// Returns what a call of the tool asks, tidied, or what to tell the model instead.
pub(crate) fn questions_of(input: &str) -> Result<Vec<Question>, String> {
    #[derive(Deserialize)]
    struct Input {
        questions: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        question: String,
        #[serde(default)]
        default: Option<String>,
        #[serde(default)]
        choices: Vec<String>,
        #[serde(default)]
        must: bool,
    }
    let form = r#"Send {"questions": [{"question": "...", "default": "..."}]}."#;
    let Input { questions } =
        serde_json::from_str(input).map_err(|error| format!("Not asked: {error}. {form}"))?;
    if questions.is_empty() {
        return Err(format!("Not asked: there is no question. {form}"));
    }
    if questions.len() > BATCH_MAX {
        return Err(format!("Not asked: at most {BATCH_MAX} questions at once."));
    }
    let one = |(n, one): (usize, One)| {
        let wrong = |what: String| Err(format!("Not asked: question {} {what}.", n + 1));
        let text = tidy(&one.question);
        let default = one.default.map(|text| tidy(&text)).filter(|text| !text.is_empty());
        let choices: Vec<String> = one.choices.iter().map(|choice| tidy(choice)).collect();
        let long = |text: &str, most| text.chars().count() > most;
        if text.is_empty() {
            return wrong("is empty".into());
        }
        if long(&text, TEXT_MAX) || default.as_deref().is_some_and(|text| long(text, TEXT_MAX)) {
            return wrong(format!("or its default is longer than {TEXT_MAX} characters"));
        }
        if choices.len() > CHOICES_MAX || choices.iter().any(|c| c.is_empty() || long(c, CHOICE_MAX)) {
            return wrong(format!(
                "may have {CHOICES_MAX} choices of 1 to {CHOICE_MAX} characters; the person may also answer otherwise"
            ));
        }
        if default.is_none() && !one.must {
            return wrong("has no default to go on with".into());
        }
        Ok(Question { text, default, choices, must: one.must })
    };
    questions.into_iter().enumerate().map(one).collect()
}

/// Returns a text of a model's as one line without control characters.
fn tidy(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Task {
    /// Returns why the call at `place` of the reply asks nothing, where it does not.
    pub(crate) fn may_not_ask(&self, place: usize, call: &Call) -> Option<String> {
        let questions = match questions_of(&call.input) {
            Ok(questions) => questions,
            Err(why) => return Some(why),
        };
        let reply = &self.reply.as_ref()?.reply;
        if reply.calls.iter().take(place).any(|call| call.tool == ASK) {
            return Some("Not asked: send all questions in one call.".to_owned());
        }
        let open = self.asked_of_person.iter().filter(|asking| asking.is_open()).count();
        (open + questions.len() > OPEN_MAX).then(|| {
            format!("Not asked: {open} questions wait for the person already. Choose as they would most likely want.")
        })
    }

    /// Returns the questions without an answer that the task waits for, with their numbers, which begin at 1.
    pub fn awaited(&self) -> impl Iterator<Item = (u32, &Asking)> {
        (1u32..).zip(self.asked_of_person.iter()).filter(|(_, asking)| asking.presses)
    }

    /// Returns what the agent assumes without a word of its person's, with the numbers of the questions.
    pub fn assumed(&self) -> impl Iterator<Item = (u32, &Asking)> {
        (1u32..).zip(self.asked_of_person.iter()).filter(|(_, asking)| asking.is_assumed())
    }

    /// Returns the question of that number.
    pub fn asking(&self, question: u32) -> Option<&Asking> {
        self.asked_of_person.get((question as usize).checked_sub(1)?)
    }

    pub(super) fn ask_person(&mut self, call: u32, questions: &[Question]) {
        let mut said = String::from("The person is asked, and answers when they can:");
        let first = self.asked_of_person.len() + 1;
        for (number, question) in (first..).zip(questions) {
            let then = match &question.default {
                _ if question.must => {
                    "you wait for the answer before you go on, and what runs in the background ends"
                        .to_owned()
                }
                default => format!("go on with: {}", default.as_deref().unwrap_or_default()),
            };
            said.push_str(&format!("\n{number}. {} {then}.", question.text));
            Arc::make_mut(&mut self.asked_of_person).push(Asking {
                question: question.clone(),
                answer: None,
                presses: question.must,
                passed: false,
            });
        }
        self.rests |= questions.iter().any(|question| question.must);
        self.set_call(call, CallState::Done(Arc::new(Outcome::said(said))));
        self.end_calls();
    }

    pub(super) fn may_answer(&self, question: u32, answer: &str) -> Result<(), &'static str> {
        if self.is_being_written() {
            return Err("the folder is being written");
        }
        let news = self.asking(question).is_some_and(|asking| asking.answer.as_deref() != Some(answer));
        if news && !answer.trim().is_empty() {
            Ok(())
        } else {
            Err("an answer needs a question, and says something new")
        }
    }

    /// The model is told. What it assumed rightly is no reason to ask it again.
    pub(super) fn hear_answer_to(&mut self, question: u32, answer: &str) {
        let Some(place) = (question as usize).checked_sub(1) else { return };
        let Some(asking) = Arc::make_mut(&mut self.asked_of_person).get_mut(place) else { return };
        let waited = std::mem::take(&mut asking.presses);
        let same = |held: &str| held.trim().to_lowercase() == answer.trim().to_lowercase();
        let settles = !waited && asking.holds().is_some_and(same);
        asking.answer = Some(answer.into());
        let told = format!("The person answers question {question} ({}): {answer}", asking.question.text);
        self.checkpoints.answered(told.clone());
        if settles {
            self.asides.push(format!("[quire] {told}"));
            return;
        }
        self.notice(&told);
        match self.phase {
            Phase::Waiting(Why::Question) if self.awaited().next().is_some() => {}
            Phase::Waiting(Why::Question) => self.phase = Phase::Working,
            // The plan is to be made with it.
            Phase::Waiting(Why::Plan) => self.begin_turn(),
            _ => self.turn_goes_on(),
        }
    }

    /// The person let the task go on without the answers that it waited for.
    pub(super) fn pass_over_questions(&mut self) {
        // Words that came with it may well be the answer.
        let says = self.unheard.iter().any(|told| !told.starts_with("[quire]"));
        let mut passed = vec![];
        for (number, asking) in (1u32..).zip(Arc::make_mut(&mut self.asked_of_person)) {
            if std::mem::take(&mut asking.presses) {
                asking.passed = true;
                let then = asking.question.default.as_ref();
                let then = then.map_or("decide as you think best".to_owned(), |d| format!("go on with: {d}"));
                passed.push(match says {
                    true => {
                        format!("Where the person's words above do not answer question {number}: {then}.")
                    }
                    false => format!("The person gives no answer to question {number}: {then}."),
                });
            }
        }
        passed.iter().for_each(|told| self.notice(told));
    }

    /// Returns every answer so far as the model is told of it once the conversation was cut short.
    pub(super) fn answers_told(&self) -> String {
        let told = |asking: &Asking| match (&asking.answer, &asking.question.default) {
            (Some(answer), _) => {
                format!("You asked the person: {} They answered: {answer}", asking.question.text)
            }
            (None, Some(default)) => {
                format!(
                    "You asked the person: {} No answer yet; you go on with: {default}",
                    asking.question.text
                )
            }
            (None, None) => format!("You asked the person: {} They gave no answer.", asking.question.text),
        };
        self.asked_of_person.iter().map(|asking| format!("\n\n{}", told(asking))).collect()
    }

    /// Nobody need answer any more what was asked since there were only `known` questions.
    pub(super) fn take_back_questions(&mut self, known: usize) {
        for asking in Arc::make_mut(&mut self.asked_of_person).iter_mut().skip(known) {
            (asking.presses, asking.passed) = (false, true);
        }
    }

    /// Returns whether `text` holds every answer, word for word.
    pub(super) fn holds_answers(&self, text: &str) -> bool {
        self.asked_of_person.iter().all(|asking| asking.answer.as_deref().is_none_or(|a| text.contains(a)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_asks_is_bounded_and_tidied() {
        let long = "x".repeat(TEXT_MAX + 1);
        let many = vec![json!({"question": "a?", "default": "b"}); BATCH_MAX + 1];
        let rows = [
            ("".to_owned(), "Not asked: EOF"),
            ("{}".to_owned(), "missing field `questions`"),
            (json!({"questions": []}).to_string(), "there is no question"),
            (json!({"questions": "blue?"}).to_string(), "invalid type"),
            (json!({"questions": many}).to_string(), "at most 8 questions"),
            (json!({"questions": [{"question": " \n", "default": "b"}]}).to_string(), "question 1 is empty"),
            (json!({"questions": [{"question": "a?"}]}).to_string(), "has no default"),
            (json!({"questions": [{"question": "a?", "default": " "}]}).to_string(), "has no default"),
            (json!({"questions": [{"question": long, "default": "b"}]}).to_string(), "longer than 400"),
            (json!({"questions": [{"question": "a?", "default": long}]}).to_string(), "longer than 400"),
            (
                json!({"questions": [{"question": "a?", "default": "b", "choices": [""]}]}).to_string(),
                "8 choices",
            ),
        ];
        for (input, expected) in rows {
            let told = questions_of(&input).unwrap_err();
            assert!(told.contains(expected) && told.len() < 400, "{input}: {told}");
        }
        let asked = questions_of(
            r#"{"questions": [
                {"question": "Which\n\ncolour?\u001b[2J", "default": " blue ", "choices": ["blue", "red\t"]},
                {"question": "Whose number?", "must": true, "why": "extra"}
            ]}"#,
        );
        let question = |text: &str, default: Option<&str>, choices: &[&str], must| Question {
            text: text.into(),
            default: default.map(Into::into),
            choices: choices.iter().map(|c| (*c).into()).collect(),
            must,
        };
        assert_eq!(
            asked.unwrap(),
            [
                question("Which colour? [2J", Some("blue"), &["blue", "red"], false),
                question("Whose number?", None, &[], true)
            ]
        );
    }

    #[test]
    fn it_costs_a_prompt_little() {
        let spec = ask_spec();
        let told = format!("{}{}{}", spec.name, spec.description, spec.input);
        assert!(told.len() < 560, "{} {told}", told.len());
    }
}
