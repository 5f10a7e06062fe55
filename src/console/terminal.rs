//! The terminal: lines in, text out, with nothing asked of it but that: no colour, no cursor.
//! It is left as it was found.

use crate::secret::Secret;
use async_io::{Async, Timer};
use async_signal::{Signal, Signals};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use rustix::fs::{OFlags, fstat, major};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr,
    ttyname,
};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use zeroize::Zeroize;

/// Longest line that is read, bytes; the rest of a longer one is dropped.
const MAX_LINE: usize = 1024;
/// How long a terminal may take to write a page: 9600 baud needs two seconds.
const WRITE: Duration = Duration::from_secs(120);

/// A terminal that is ours for now.
pub struct Terminal {
    tty: Async<File>,
    /// How it was found.
    before: Termios,
    signals: Signals,
    /// Read, and no whole line yet.
    input: Vec<u8>,
}

/// What a person does.
pub enum Typed {
    Line(Secret<String>),
    /// Ctrl-C and its like.
    Interrupt,
    /// Nothing, for as long as was given.
    Idle,
    /// The line is gone, or was closed by Ctrl-D, or the system wants us to go.
    Gone,
}

impl Terminal {
    /// Standard input's.
    pub fn open() -> io::Result<Terminal> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Err(io::Error::other(
                "the console needs a terminal: by SSH, ssh -t",
            ));
        }
        // Opened anew: what is set on it, whoever shares standard input does not notice.
        let name = ttyname(&stdin, Vec::new())?;
        let tty = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits() as i32)
            .open(OsStr::from_bytes(name.to_bytes()))?;
        let before = tcgetattr(&tty)?;
        // First the signals: none of them shall end us with the terminal changed.
        let signals = Signals::new([
            Signal::Int,
            Signal::Quit,
            Signal::Tstp,
            Signal::Hup,
            Signal::Term,
        ])?;
        let terminal = Terminal {
            tty: Async::new(tty)?,
            before,
            signals,
            input: Vec::new(),
        };
        terminal.hide(false)?;
        Ok(terminal)
    }

    /// Whether it belongs to the machine, a screen or a serial line: a pseudo-terminal may be
    /// anywhere.
    pub fn is_local(&self) -> bool {
        fstat(&self.tty).is_ok_and(|it| !is_pseudo(major(it.st_rdev)))
    }

    /// From now on a line at a time, edited by the system; seen unless it is a secret.
    pub fn hide(&self, secret: bool) -> io::Result<()> {
        let mut modes = self.before.clone();
        // A serial line may have been left raw.
        modes.input_modes |= InputModes::ICRNL | InputModes::IUTF8 | InputModes::IXON;
        modes.input_modes -= InputModes::IGNCR | InputModes::INLCR;
        modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        modes.local_modes |= LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::ECHO
            | LocalModes::ECHOE
            | LocalModes::ECHOK
            | LocalModes::ECHONL;
        if secret {
            modes.local_modes -= LocalModes::ECHO;
        }
        tcsetattr(&self.tty, OptionalActions::Now, &modes)?;
        Ok(())
    }

    /// Gives the terminal to a program, until [`Terminal::take_back`].
    pub fn give(&self) {
        // Nobody is there to complain to.
        let _ = tcsetattr(&self.tty, OptionalActions::Drain, &self.before);
    }

    pub fn take_back(&mut self) {
        let _ = self.hide(false);
        self.forget();
    }

    /// An error if the terminal is gone, or does not take it.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        let write = self.tty.write_all(text.as_bytes());
        let late = async {
            Timer::after(WRITE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let gone = async {
            leave(&mut self.signals).await;
            Err(io::ErrorKind::Interrupted.into())
        };
        future::or(write, future::or(late, gone)).await
    }

    /// The next line.
    pub async fn read(&mut self, within: Option<Duration>) -> Typed {
        let (tty, input, signals) = (&mut self.tty, &mut self.input, &mut self.signals);
        let line = async {
            match line(tty, input).await {
                Ok(Some(line)) => Typed::Line(line),
                _ => Typed::Gone,
            }
        };
        let signal = async {
            match signals.next().await {
                Some(Ok(Signal::Int | Signal::Quit | Signal::Tstp)) => Typed::Interrupt,
                _ => Typed::Gone,
            }
        };
        let idle = async {
            match within {
                Some(within) => drop(Timer::after(within).await),
                None => future::pending().await,
            }
            Typed::Idle
        };
        let typed = future::or(line, future::or(signal, idle)).await;
        if matches!(typed, Typed::Interrupt) {
            self.forget();
        }
        typed
    }

    /// Does something that nobody can interrupt, but by hanging up: then `None`.
    pub async fn wait<T>(&mut self, for_what: impl Future<Output = T>) -> Option<T> {
        let done = async { Some(for_what.await) };
        let gone = async {
            leave(&mut self.signals).await;
            None
        };
        future::or(done, gone).await
    }

    fn forget(&mut self) {
        self.input.zeroize();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.forget();
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

/// Until the line is gone, or the system wants us to go. Ctrl-C says neither.
async fn leave(signals: &mut Signals) {
    while let Some(Ok(Signal::Int | Signal::Quit | Signal::Tstp)) = signals.next().await {}
}

/// The next line without its end; `None` at Ctrl-D.
async fn line(tty: &mut Async<File>, input: &mut Vec<u8>) -> io::Result<Option<Secret<String>>> {
    loop {
        if let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let mut rest = input.split_off(end);
            rest.remove(0);
            let mut line = std::mem::replace(input, rest);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            line.zeroize();
            return Ok(Some(Secret::new(text)));
        }
        let mut chunk = [0; 256];
        let length = tty.read(&mut chunk).await?;
        if length == 0 {
            return Ok(None);
        }
        for byte in chunk.iter().take(length) {
            if *byte == b'\n' || input.len() < MAX_LINE {
                input.push(*byte);
            }
        }
        chunk.zeroize();
    }
}

/// Major numbers of pseudo-terminals (Linux, admin-guide/devices): Unix98's, then BSD's.
fn is_pseudo(major: u32) -> bool {
    matches!(major, 136..=143 | 2..=3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_terminal_is_not_the_machines() {
        // ttyS0 and tty1, console, ttyAMA0, ttyUSB0, hvc0.
        for major in [4, 5, 204, 188, 229] {
            assert!(!is_pseudo(major), "{major}");
        }
        for major in [136, 143, 3] {
            assert!(is_pseudo(major), "{major}");
        }
    }
}
