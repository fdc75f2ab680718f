//! The rows and cells that an answer names, to be opened: as they stand in the file, with the formula of a cell that has one. It is the
//! agent that named them; what is shown is the file's, so that a number can be looked up where it is said to come from.

use crate::terminal::clean;
use crate::web::places::{Place, places};
use crate::web::tables::{self, Formula, Sheet, letters, short};
use crate::web::text::marked;
use crate::web::{Page, icons, lock};
use maud::{Markup, html};
use quire_core::{Hash, RelPath, Task};
use quire_engine::{EngineError, Quire};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Places of an answer, rows of one, columns and files that are shown.
const PLACES_MAX: usize = 8;
const ROWS_MAX: usize = 20;
const COLUMNS_MAX: usize = 24;
const FILES_MAX: usize = 3;
/// Larger files are not read for it.
const BYTES_MAX: u64 = 1 << 20;
/// Folders in which a file is looked for that is named without one.
const FOLDERS_MAX: usize = 8;
/// Answers of which it is kept what they name.
const KEPT: usize = 8;

/// A place that is there: what is shown of it, and no more, so that it can be kept.
#[derive(Debug, PartialEq)]
struct Found {
    /// Its file is as it is told: where there are several folders, with that of the file.
    place: Place,
    /// Empty of a CSV file.
    sheet: String,
    /// The columns that are shown, and how many there are.
    columns: std::ops::Range<usize>,
    width: usize,
    /// Of these columns.
    rows: Vec<(usize, Vec<String>)>,
    formula: Option<Formula>,
}

/// The places that an answer names, where they are there.
#[derive(Debug, Default)]
pub struct Named {
    found: Vec<Found>,
    has_more: bool,
}

/// What an answer is read in: a task, its version where it has one, and a hash of its words. Neither a version nor what it began with
/// changes.
type Of = (u64, Option<(u32, Hash)>, Hash);

/// What was read for answers, so that a page that is loaded again and again does not read the same files each time.
#[derive(Default)]
pub struct Kept(Mutex<VecDeque<(Of, Arc<Named>)>>);

impl Page {
    /// Returns the places that the words of a task's answer name, read once.
    pub fn named(&self, task: &Task, words: &str) -> Arc<Named> {
        let version = task.version().map(|version| (version.number, version.snapshot));
        let of = (task.id, version, Hash::of(words.as_bytes()));
        if let Some((_, named)) = lock(&self.named.0).iter().find(|(known, _)| *known == of) {
            return named.clone();
        }
        let (named, is_whole) = read(&self.quire, task, words);
        let named = Arc::new(named);
        // What could not be read now may be another time.
        if is_whole {
            let mut kept = lock(&self.named.0);
            kept.retain(|(known, _)| *known != of);
            kept.truncate(KEPT - 1);
            kept.push_front((of, named.clone()));
        }
        named
    }
}

/// Files that a name means, each as it is told, with its tables.
type Files = Vec<(String, Vec<Sheet>)>;

/// Returns the places that a text names, and whether everything could be read. The answer stands without what could not.
pub fn read(quire: &Quire, task: &Task, text: &str) -> (Named, bool) {
    let places = places(&clean(text));
    let mut files: Vec<(&str, Files)> = vec![];
    let mut is_whole = true;
    for place in &places {
        let name = place.file.as_str();
        if files.len() < FILES_MAX && files.iter().all(|(other, _)| *other != name) {
            let meant = files_of(quire, task, name, &places);
            is_whole &= meant.is_ok();
            files.push((name, meant.unwrap_or_default()));
        }
    }
    let there = places.iter().flat_map(|place| {
        let read = files.iter().filter(move |(name, _)| *name == place.file).flat_map(|(_, read)| read);
        read.filter_map(move |(file, sheets)| Some((place, file, sheet_of(place, sheets)?)))
    });
    let mut found: Vec<Found> = vec![];
    for (place, file, sheet) in there {
        // Two names may mean one file.
        let one = Found::of(place, file, sheet);
        if !found.contains(&one) {
            found.push(one);
        }
        if found.len() > PLACES_MAX {
            break;
        }
    }
    let has_more = found.len() > PLACES_MAX;
    found.truncate(PLACES_MAX);
    (Named { found, has_more }, is_whole)
}

/// Returns those of the files that a name may mean which are there and have tables.
fn files_of(quire: &Quire, task: &Task, name: &str, places: &[Place]) -> Result<Files, EngineError> {
    let its = places.iter().filter(|place| place.file == name);
    let cells: Vec<tables::Place> = its.filter_map(|place| Some((place.rows.0, place.column?))).collect();
    let version = task.version().map(|version| version.number);
    let folders = &task.charter.folders;
    let mut files = vec![];
    for (folder, path) in meant(folders, name) {
        let Some(content) = quire.file_of(task.id, version, folder, &path, BYTES_MAX)? else { continue };
        if let Some(sheets) = tables::sheets_with_formulas(name, &content, &cells) {
            files.push((format!("{}{path}", before(folders, folder)), sheets));
        }
    }
    Ok(files)
}

/// Returns the files that a name may mean: an absolute one is in its folder; where there are several, any other one may begin with its
/// folder's name, or be in each of them.
fn meant(folders: &[PathBuf], name: &str) -> Vec<(u32, RelPath)> {
    let numbered = || (0u32..).zip(folders).take(FOLDERS_MAX);
    let path = |name: &Path| RelPath::new(name.as_os_str().as_encoded_bytes());
    let below = |folder: &Path| path(Path::new(name).strip_prefix(folder).ok()?);
    let called = |folder: &Path| below(Path::new(folder.file_name()?)).filter(|_| folders.len() > 1);
    let absolute = numbered().filter_map(|(n, folder)| Some((n, below(folder)?)));
    let by_name = numbered().filter_map(|(n, folder)| Some((n, called(folder)?)));
    let plain = numbered().filter_map(|(n, _)| Some((n, path(Path::new(name))?)));
    match name.starts_with('/') {
        true => absolute.collect(),
        false => by_name.chain(plain).collect(),
    }
}

/// Returns what stands before a path of a folder's: its name where there are several, and all of it where two have the same.
fn before(folders: &[PathBuf], folder: u32) -> String {
    let Some(one) = folders.get(folder as usize).filter(|_| folders.len() > 1) else { return String::new() };
    let is_same = |other: &&PathBuf| other.file_name() == one.file_name();
    match one.file_name().filter(|_| folders.iter().filter(is_same).count() == 1) {
        Some(name) => format!("{}/", name.to_string_lossy()),
        None => format!("{}/", one.display()),
    }
}

/// Returns the sheet that is meant, the one that is named or the only one, where it has these rows.
fn sheet_of<'s>(place: &Place, sheets: &'s [Sheet]) -> Option<&'s Sheet> {
    let sheet = match (&place.sheet, sheets) {
        (Some(name), _) => sheets.iter().find(|sheet| sheet.name == *name)?,
        (None, [only]) => only,
        _ => return None,
    };
    (place.rows.1 <= sheet.rows.len()).then_some(sheet)
}

impl Named {
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns the places, each to be opened.
    pub fn folded(&self) -> Markup {
        html! {
            @if !self.is_empty() {
                h2.minor { "Rows that it names" }
                div.checks.sheet {
                    @for found in &self.found {
                        details {
                            summary {
                                (icons::sign("lines"))
                                span.what { (found.name()) }
                                span {} span {}
                                (icons::chevron())
                            }
                            (found.drawn())
                        }
                    }
                }
                (self.more())
            }
        }
    }

    /// Returns them one below the other, as on paper.
    pub fn open(&self) -> Markup {
        html! { @for found in &self.found { h3 { (found.name()) } (found.drawn()) } (self.more()) }
    }

    fn more(&self) -> Markup {
        html! { @if self.has_more { p.mut { "It names more; the first " (PLACES_MAX) " are shown." } } }
    }
}

impl Found {
    fn of(place: &Place, file: &str, sheet: &Sheet) -> Found {
        let (first, last) = place.rows;
        let named = (first..=last).take(ROWS_MAX).map(|row| (row, &sheet.rows[row - 1]));
        // The first row says what the columns are.
        let head = sheet.rows.first().filter(|_| first > 1).map(|head| (1, head));
        let shown: Vec<(usize, &Vec<String>)> = head.into_iter().chain(named).collect();
        let width = shown.iter().map(|(_, cells)| cells.len()).chain(place.column).max().unwrap_or(0);
        // A cell far to the right is shown with those around it.
        let far = place.column.filter(|column| *column > COLUMNS_MAX);
        let from = far.map_or(0, |column| column - COLUMNS_MAX / 2).min(width.saturating_sub(COLUMNS_MAX));
        let columns = from..width.min(from + COLUMNS_MAX);
        let kept = |text: &String| tables::kept(text);
        let cells = |cells: &[String]| {
            cells
                .get(columns.start..cells.len().min(columns.end))
                .map(|cells| cells.iter().map(kept).collect())
        };
        let rows = shown.into_iter().map(|(row, all)| (row, cells(all).unwrap_or_default())).collect();
        let cell = place.column.map(|column| (first, column));
        let formula = sheet.formulas.iter().find(|(at, _)| Some(*at) == cell).map(|(_, formula)| formula);
        let formula = formula.map(|formula| Formula { text: kept(&formula.text), ..formula.clone() });
        let place = Place { file: file.to_owned(), ..place.clone() };
        Found { place, sheet: sheet.name.clone(), columns, width, rows, formula }
    }

    /// Returns where it is, in words: `ledger.xlsx, Sales, cell B12`.
    fn words(&self) -> [String; 2] {
        let within = if self.sheet.is_empty() { String::new() } else { format!("{}, ", self.sheet) };
        [self.place.file.clone(), format!("{within}{}", self.place.told())]
    }

    fn name(&self) -> Markup {
        let [file, rest] = self.words();
        html! { (marked(&file)) ", " (marked(&rest)) }
    }

    /// Returns the rows, and the formula of a cell.
    fn drawn(&self) -> Markup {
        let (first, last) = self.place.rows;
        let (rows, columns) = (last - first + 1, &self.columns);
        html! {
            @if let Some(formula) = &self.formula {
                pre.out tabindex="0" { "=" (short(&formula.text)) }
                @if let Some((row, column)) = formula.from { p.mut { "It is filled from " (letters(column)) (row) ", where it is written so." } }
            }
            div.cells { div.grid tabindex="0" role="region" aria-label=(clean(&self.words().join(", "))) {
                table {
                    @for (row, cells) in &self.rows {
                        tr {
                            th scope="row" { (row) }
                            @for n in columns.clone() {
                                td.best[*row == first && self.place.column == Some(n + 1)] { @if let Some(cell) = cells.get(n - columns.start) { (short(cell)) } }
                            }
                        }
                    }
                }
            } }
            @if rows > ROWS_MAX { p.mut { "The first " (ROWS_MAX) " of these " (rows) " rows are shown." } }
            @if columns.len() < self.width { p.mut { "Columns " (letters(columns.start + 1)) " to " (letters(columns.end)) " of " (letters(self.width)) " are shown." } }
            @if self.sheet.is_empty() { p.mut { "Counted from the file's first row, which is row 1; empty lines do not count." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell_of(row: usize, column: usize) -> Place {
        Place { file: "a.xlsx".to_owned(), sheet: None, rows: (row, row), column: Some(column) }
    }

    #[test]
    fn a_place_is_in_the_sheet_that_is_meant_and_in_no_other() {
        let sheet = |name: &str| Sheet { name: name.to_owned(), rows: vec![vec![]; 3], formulas: vec![] };
        let (one, two) = (vec![sheet("May")], vec![sheet("May"), sheet("June")]);
        for (named, row, sheets, expected) in [
            (None, 3, &one, Some("May")),
            (None, 4, &one, None),
            (None, 3, &two, None),
            (Some("June"), 3, &two, Some("June")),
            (Some("July"), 3, &two, None),
        ] {
            let place = Place { sheet: named.map(str::to_owned), ..cell_of(row, 1) };
            let found = sheet_of(&place, sheets).map(|sheet| sheet.name.as_str());
            assert_eq!(found, expected, "{named:?} {row}");
        }
    }

    #[test]
    fn a_name_means_a_file_in_each_folder_that_it_may_be_in() {
        let one = ["/home/ada/shop"].map(PathBuf::from);
        let two = ["/home/ada/shop", "/srv/till"].map(PathBuf::from);
        let same = ["/home/ada/shop", "/srv/shop"].map(PathBuf::from);
        let rows: [(&[PathBuf], &str, &str); 9] = [
            (&one, "a.csv", "a.csv"),
            (&one, "shop/a.csv", "shop/a.csv"),
            (&one, "/home/ada/shop/b/a.csv", "b/a.csv"),
            (&one, "/etc/a.csv", ""),
            (&one, "../a.csv", ""),
            (&two, "a.csv", "shop/a.csv, till/a.csv"),
            (&two, "till/a.csv", "till/a.csv, shop/till/a.csv, till/till/a.csv"),
            (&two, "/srv/till/a.csv", "till/a.csv"),
            (
                &same,
                "shop/a.csv",
                "/home/ada/shop/a.csv, /srv/shop/a.csv, /home/ada/shop/shop/a.csv, /srv/shop/shop/a.csv",
            ),
        ];
        for (folders, name, expected) in rows {
            let told = |(folder, path): (u32, RelPath)| format!("{}{path}", before(folders, folder));
            let told: Vec<String> = meant(folders, name).into_iter().map(told).collect();
            assert_eq!(told.join(", "), expected, "{name}");
        }
    }

    #[test]
    fn a_place_is_shown_as_far_as_there_is_room_and_the_cell_always() {
        let rows = (1..=99)
            .map(|row| (1..=60).map(|column| format!("{}{row}", letters(column))).collect())
            .collect();
        let formulas = vec![((2, 50), Formula { text: "A1".to_owned(), from: Some((1, 50)) })];
        let sheet = Sheet { name: "a\u{202e}b".to_owned(), rows, formulas };
        let drawn = |place: &Place, sheet: &Sheet| {
            let found = vec![Found::of(place, "a.xlsx", sheet)];
            Named { found, has_more: false }.folded().into_string()
        };
        let far = drawn(&cell_of(2, 50), &sheet);
        for part in [
            "<td class=\"best\">AX2</td>",
            ">AX1</td>",
            "<pre class=\"out\" tabindex=\"0\">=A1</pre>",
            "filled from AX1",
        ] {
            assert!(far.contains(part), "{part}: {far}");
        }
        assert!(far.contains("Columns AK to BH of BH are shown.") && !far.contains(">A2</td>"), "{far}");
        assert!(
            !far.contains('\u{202e}') && far.contains("aria-label=\"a.xlsx, a&lt;U+202E&gt;b, cell AX2\""),
            "{far}"
        );
        let found = vec![Found::of(&cell_of(2, 50), "a.xlsx", &sheet)];
        let paper = Named { found, has_more: true }.open().into_string();
        assert!(paper.contains("=A1</pre>") && !paper.contains("<details"), "{paper}");
        assert!(
            paper.contains("<h3>a.xlsx, a<span") && paper.ends_with("the first 8 are shown.</p>"),
            "{paper}"
        );
        let many = drawn(&Place { rows: (1, 99), column: None, ..cell_of(1, 1) }, &sheet);
        assert!(
            many.contains("The first 20 of these 99 rows") && many.contains("Columns A to X of BH"),
            "{many}"
        );
        let long = Sheet { rows: vec![vec!["x".repeat(5_000)]], ..Sheet::default() };
        let short = drawn(&cell_of(1, 2), &long);
        assert!(short.len() < 2_000 && short.contains("<td class=\"best\"></td>"), "{short}");
        assert!(short.contains("x…</td>") && short.contains("empty lines do not count"), "{short}");
    }
}
