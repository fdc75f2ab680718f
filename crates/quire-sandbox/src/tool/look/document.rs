//! A document as it is printed: pages of a PDF as pictures by poppler, and other documents turned into a PDF by LibreOffice
//! before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Pages that are shown at once.
pub(crate) const PAGES_MAX: usize = 4;

/// Documents that LibreOffice turns into a PDF.
pub(crate) const OFFICE: &[&str] = &["docx", "doc", "odt", "rtf", "xlsx", "xls", "ods", "pptx", "ppt", "odp"];

/// Dots to an inch: a page of A4 is then about 830 x 1170 pixels.
const RESOLUTION: &str = "100";

/// Pages of a document as pictures.
pub(crate) struct Printed {
    pub pages: u64,
    pub shown: Vec<PathBuf>,
}

/// Shows a PDF from its page `first` on; the pictures lie in `into`.
pub(crate) fn pdf(path: &Path, first: u64, into: &Path) -> io::Result<Printed> {
    let told = run(Command::new("pdfinfo").arg(path))?;
    let pages = told.lines().find_map(|line| line.strip_prefix("Pages:")?.trim().parse().ok());
    let pages: u64 = pages.ok_or_else(|| io::Error::other("it is no PDF that poppler reads"))?;
    let first = first.clamp(1, pages.max(1));
    let last = first + PAGES_MAX as u64 - 1;
    let mut command = Command::new("pdftoppm");
    command.args(["-png", "-r", RESOLUTION, "-f", &first.to_string(), "-l", &last.to_string()]);
    run(command.arg(path).arg(into.join("page")))?;
    let mut shown: Vec<PathBuf> = fs::read_dir(into)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let is_page =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("page-"));
    shown.retain(is_page);
    shown.sort();
    Ok(Printed { pages, shown })
}

/// Turns another document into a PDF in `into`.
pub(crate) fn to_pdf(path: &Path, into: &Path) -> io::Result<PathBuf> {
    let mut command = Command::new("soffice");
    command.arg(format!("-env:UserInstallation=file://{}/profile", into.display()));
    run(command.args(["--headless", "--convert-to", "pdf", "--outdir"]).arg(into).arg(path))?;
    let made = into.join(path.file_name().unwrap_or_default()).with_extension("pdf");
    if made.is_file() { Ok(made) } else { Err(io::Error::other("LibreOffice made no PDF of it")) }
}

fn run(command: &mut Command) -> io::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output();
    let belongs_to = if program == "soffice" { "LibreOffice" } else { "poppler" };
    let done = done.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other(format!("{belongs_to} is not installed here")),
        _ => error,
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.lines().last().unwrap_or("it failed").to_owned();
        return Err(io::Error::other(format!("{program}: {said}")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
