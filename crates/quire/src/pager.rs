//! Long text on a terminal: through the person's pager, where it does not fit on the screen.

use crate::terminal::{Look, print};
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Returns how many lines the terminal on stdout has.
fn rows() -> Option<usize> {
    // SAFETY: a winsize is plain numbers, and TIOCGWINSZ writes one whole winsize or nothing.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    };
    size.map(|s| usize::from(s.ws_row)).filter(|rows| *rows > 0)
}

/// Prints `text`, which has to be clean, to stdout; through `$PAGER` or `less` where stdout is a terminal and the text is
/// longer than it.
pub fn show(text: &str, out: &Look) -> io::Result<()> {
    let fits = !out.terminal || rows().is_none_or(|rows| text.lines().count() < rows);
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    if fits || pager.trim().is_empty() || pager == "cat" {
        return print(text);
    }
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Colours as they are, and leave the text on the screen.
        command.env("LESS", "RX");
    }
    let Ok(mut child) = command.spawn() else { return print(text) };
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(text.as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e),
            // A reader who has seen enough.
            _ => {}
        }
    }
    // 127: the shell found no such program, and nothing was shown.
    if child.wait()?.code() == Some(127) { print(text) } else { Ok(()) }
}
