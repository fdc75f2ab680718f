//! `quire export N FILE` and `quire import FILE`: a whole task as one file, and back again as a record.

use crate::cli::{ExportArgs, ImportArgs};
use crate::cmd::{Face, open, print_json};
use crate::error::{Exit, Failure};
use crate::layout::one_line;
use crate::terminal::print;
use quire_core::view::{count, thousands};
use quire_engine::Parcel;
use serde_json::json;

pub fn export(args: &ExportArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let parcel = quire.export(args.task.task, &args.file)?;
    if face.json {
        print_json(json!({"exported": parcel, "file": args.file.display().to_string()}))?;
        return Ok(Exit::Done);
    }
    let masked = match parcel.masked {
        0 => "No secrets were seen in it; its words and files are in it as they are.".to_owned(),
        masked => format!("Secrets were masked in {}.", count(masked, "text")),
    };
    let file = one_line(&args.file.display().to_string());
    print(&format!("Task {} is in {file}: {}. {masked}\n", parcel.task, holds(&parcel)))?;
    Ok(Exit::Done)
}

pub fn import(args: &ImportArgs, face: &Face) -> Result<Exit, Failure> {
    let (quire, _) = open()?;
    let parcel = quire.import(&args.file)?;
    if face.json {
        print_json(json!({"imported": parcel}))?;
        return Ok(Exit::Done);
    }
    let id = parcel.task;
    print(&format!(
        "It is task {id} here: {}. Read it: quire log {id}; quire review {id}\n",
        holds(&parcel)
    ))?;
    Ok(Exit::Done)
}

fn holds(parcel: &Parcel) -> String {
    format!("{} events, {} contents", thousands(parcel.events), thousands(parcel.blobs))
}
