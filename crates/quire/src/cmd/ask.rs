//! `quire ask "QUESTION"`: answers from the folder. The answer alone goes to stdout; nothing is changed and nothing is kept.

use crate::cli::AskArgs;
use crate::cmd::run::begin;
use crate::cmd::{Face, follow, words};
use crate::error::{Exit, Failure};

pub fn ask(args: &AskArgs, face: &Face) -> Result<Exit, Failure> {
    begin(&words(&args.question)?, &[], &args.options(), false, &follow::end, face)
}
