//! The terminal of the wizard: lines in, text out. No raw mode, no cursor movement: a serial
//! line at 9600 baud and a terminal that knows nothing are enough.

use crate::secret::Secret;
use crate::setup::value::MAX_ANSWER;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr,
};
use std::io::{self, BufRead, Read, Write};

/// What came of reading a line.
pub enum Typed {
    Line(Secret<String>),
    /// Longer than any answer, or no UTF-8.
    Unreadable,
    /// The other end is gone, or Ctrl-D.
    End,
}

pub struct Terminal {
    /// As it was found; `None` if it is none.
    before: Option<Termios>,
}

impl Terminal {
    /// Makes it take whole lines and show what is typed: a login program may have left it
    /// otherwise, and so does a wizard that is killed while it reads a password.
    pub fn open() -> Terminal {
        let before = tcgetattr(io::stdin()).ok();
        let terminal = Terminal { before };
        terminal.set(true);
        terminal
    }

    pub fn show(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Shows `text` and reads what is typed behind it. A secret is hidden before it is asked
    /// for: who types at once is not seen either.
    pub fn ask(&self, text: &str, secret: bool) -> io::Result<Typed> {
        if secret {
            self.set(false);
        }
        self.show(text)?;
        let read = read_line();
        if secret {
            self.set(true);
        }
        read
    }

    /// What is typed ahead stays. Where echo is off, the line's end is shown all the same.
    fn set(&self, echo: bool) {
        let Some(mut modes) = self.before.clone() else {
            return;
        };
        modes.input_modes |= InputModes::ICRNL | InputModes::IUTF8;
        modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        modes.local_modes |=
            LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHOE | LocalModes::ECHONL;
        modes.local_modes.set(LocalModes::ECHO, echo);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn read_line() -> io::Result<Typed> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    input
        .by_ref()
        .take(MAX_ANSWER as u64 + 2)
        .read_until(b'\n', &mut line)?;
    let whole = line.ends_with(b"\n");
    if line.is_empty() {
        return Ok(Typed::End);
    }
    // A last line without its end is one all the same; of a longer one the rest goes.
    if !whole && line.len() > MAX_ANSWER {
        input.skip_until(b'\n')?;
        return Ok(Typed::Unreadable);
    }
    let text = String::from_utf8(line).map(Secret::new);
    Ok(match text {
        Ok(text) => Typed::Line(Secret::new(
            text.reveal().trim_end_matches(['\r', '\n']).into(),
        )),
        Err(_) => Typed::Unreadable,
    })
}
