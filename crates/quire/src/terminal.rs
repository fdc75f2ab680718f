//! What is special about a terminal: whether it is one, its width and colours, and which characters must not reach it.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsRawFd;

/// How to write to one of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub terminal: bool,
    pub color: bool,
    /// In columns.
    pub width: usize,
}

impl Look {
    pub fn of_stdout(no_color: bool) -> Look {
        Look::of(&io::stdout(), no_color)
    }

    pub fn of_stderr(no_color: bool) -> Look {
        Look::of(&io::stderr(), no_color)
    }

    fn of(stream: &(impl IsTerminal + AsRawFd), no_color: bool) -> Look {
        let terminal = stream.is_terminal();
        // https://no-color.org: any value but an empty one.
        let unwanted = no_color || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let width = if terminal { columns(stream.as_raw_fd()) } else { None };
        Look { terminal, color: terminal && !unwanted && !dumb, width: width.unwrap_or(80) }
    }

    /// Returns `text` in one of the 16 colours of the terminal's theme (30 to 37, 90 to 97) or attributes (1 bold, 2 dim).
    pub fn paint(&self, code: u8, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn columns(fd: i32) -> Option<usize> {
    // SAFETY: a winsize is plain numbers, and TIOCGWINSZ writes one whole winsize or nothing.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    };
    size.map(|s| usize::from(s.ws_col)).filter(|columns| *columns > 0)
}

/// Writes `text` to stdout.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_gone(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Returns what came of writing. A reader that went away (`quire ls | head -1`) has what it wanted: no error.
pub fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Asks a question on the terminal; only `y` and `yes` are a yes.
pub fn confirm(question: &str) -> io::Result<bool> {
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let answer = read_until(&mut io::stdin().lock(), b"\n")?;
    Ok(matches!(answer.trim_ascii().to_ascii_lowercase().as_slice(), b"y" | b"yes"))
}

/// Returns the next line of the input, or `None` where it has ended.
pub fn read_line() -> io::Result<Option<String>> {
    let line = read_until(&mut io::stdin().lock(), b"\n")?;
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// Asks on the terminal for a line that is not shown while it is typed, or `None` where Ctrl-C was typed instead.
pub fn read_secret(question: &str) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let fd = stdin.as_raw_fd();
    // SAFETY: a termios is plain numbers, and both calls only touch the one that they are given.
    let shown = unsafe {
        let mut shown: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(fd, &mut shown) == 0).then_some(shown).ok_or_else(io::Error::last_os_error)?
    };
    let mut hidden = shown;
    // Ctrl-C must not end quire while nothing is shown, or the terminal would stay so: here it ends the line instead.
    hidden.c_lflag &= !(libc::ECHO | libc::ISIG);
    hidden.c_cc[libc::VEOL] = CTRL_C;
    let set = |settings: &libc::termios| {
        // SAFETY: as above.
        let done = unsafe { libc::tcsetattr(fd, libc::TCSAFLUSH, settings) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    set(&hidden)?;
    eprint!("{question}");
    let read = read_until(&mut stdin.lock(), &[b'\n', CTRL_C]);
    set(&shown)?;
    eprintln!();
    let line = read?;
    Ok((!line.contains(&CTRL_C)).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// Returns what comes up to the first of `ends`, and it with it, or all up to the end of the input.
fn read_until(input: &mut impl BufRead, ends: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let piece = input.fill_buf()?;
        let end = piece.iter().position(|b| ends.contains(b));
        let taken = end.map_or(piece.len(), |at| at + 1);
        bytes.extend_from_slice(&piece[..taken]);
        input.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(bytes);
        }
    }
}

const CTRL_C: u8 = 3;

/// Returns `text` without anything that could move the cursor, colour, write to the clipboard, or show text in another
/// order than it has: escape sequences are taken out, other control characters too (but line break and tab), and
/// invisible or reordering characters are named, like `<U+202E>`. For whatever came from a model, a tool or a file's name.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\x1b' => match rest.next() {
                Some('[') => skip_control_sequence(&mut rest),
                Some(']' | 'P' | '_' | '^' | 'X') => skip_string(&mut rest),
                // Two or three letters, like a change of the character set.
                Some(' '..='/') => {
                    while rest.next_if(|c| (' '..='/').contains(c)).is_some() {}
                    rest.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{9d}' | '\u{90}' | '\u{9f}' | '\u{9e}' | '\u{98}' => skip_string(&mut rest),
            // The joiners U+200C and U+200D stay: Persian and many emoji are wrong without them.
            '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{61c}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' => out.push_str(&format!("<U+{:04X}>", c as u32)),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Skips parameters and the final letter of a control sequence (ECMA-48, 5.4).
fn skip_control_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while rest.next_if(|c| ('\x20'..='\x3f').contains(c)).is_some() {}
    rest.next_if(|c| ('\x40'..='\x7e').contains(c));
}

/// Skips a control string up to its end: BEL or ST. One that does not end on its line does not swallow the next.
fn skip_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        match c {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Returns how long something took: `0:41`, `12:03`, `1:02:03`.
pub fn took(millis: u64) -> String {
    let seconds = millis / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Returns when something was, by the clock of this machine, in the form that is given.
pub fn local(at_ms: u64, form: &str) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "?".to_owned(),
        |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime(form).to_string(),
    )
}

/// Returns how long ago something was, roughly: `now`, `2m`, `5h`, `3d`.
pub fn ago(millis: u64) -> String {
    match millis / 60_000 {
        0 => "now".to_owned(),
        minutes @ 1..60 => format!("{minutes}m"),
        minutes @ 60..1440 => format!("{}h", minutes / 60),
        minutes => format!("{}d", minutes / 1440),
    }
}

/// Returns a count with its noun: `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j24_nothing_that_moves_a_cursor_is_shown() {
        let rows = [
            ("plain \u{fc}nic\u{f6}de\n\tline", "plain \u{fc}nic\u{f6}de\n\tline"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[2J\x1b[Hgone", "gone"),
            ("a\x1b]52;c;aGFsbG8=\x07b", "ab"),
            ("a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
            ("a\x1bPq#0\x1b\\b", "ab"),
            ("\u{9b}31mred\u{9d}0;title\u{9c}x", "redx"),
            ("\x1b(Ba\x1bcb", "ab"),
            ("over\rwritten\x08\x07\0", "overwritten"),
            ("\x1b]0;never ends\nnext", "\nnext"),
            ("end\x1b", "end"),
            ("\x1b[31", ""),
            ("user\u{202e}nimda\u{2066}x\u{200b}", "user<U+202E>nimda<U+2066>x<U+200B>"),
            ("\u{1f468}\u{200d}\u{1f469}", "\u{1f468}\u{200d}\u{1f469}"),
        ];
        for (text, expected) in rows {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_and_counts() {
        assert_eq!([0, 41_999, 723_000, 3_723_000].map(took), ["0:00", "0:41", "12:03", "1:02:03"]);
        assert_eq!([59_999, 120_000, 18_000_000, 260_000_000].map(ago), ["now", "2m", "5h", "3d"]);
        assert_eq!([count(1, "file"), count(0, "file")], ["1 file", "0 files"]);
    }

    #[test]
    fn without_a_terminal_there_is_no_colour() {
        let look = Look { terminal: false, color: false, width: 80 };
        assert_eq!(look.paint(31, "x"), "x");
        assert_eq!(Look { color: true, ..look }.paint(31, "x"), "\x1b[31mx\x1b[0m");
    }
}
