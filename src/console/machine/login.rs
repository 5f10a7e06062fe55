//! Who may use the console: the administrator's password, and what is done when it is forgotten.

use super::*;

impl Console {
    pub(super) fn log_in(&mut self, before: &str) -> Step {
        if self.only_recovers {
            return self.end(before);
        }
        self.state = State::LogIn;
        let language = self.language;
        let text = format!("{before}{}\n{}", LOG_IN.of(language), PASSWORD.of(language));
        self.read(text, true)
    }

    pub(super) fn password(&mut self, line: Secret<String>) -> Step {
        // None of these is long enough to be a password.
        match line.reveal().trim() {
            "" => self.open(),
            "?" => self.recover(),
            word => match Language::parse(&word.to_lowercase()) {
                Some(language) => {
                    self.language = language;
                    self.open()
                }
                None => {
                    self.state = State::Checking;
                    let check = Administrator::Check { password: line };
                    ask(String::new(), Request::Administrator(check))
                }
            },
        }
    }

    pub(super) fn checked(&mut self, reply: Reply) -> Step {
        let word = reply.map(|rows| rows.into_iter().flatten().next().unwrap_or_default());
        match word.as_deref() {
            Ok("right") => {
                self.logged_in = true;
                self.wrong = 0;
                self.menu("")
            }
            Ok("none") => self.no_password(),
            Ok(_) => {
                self.wrong += 1;
                let text = format!("{}\n", self.text(WRONG));
                match self.wrong < MAX_WRONG {
                    true => self.log_in(&text),
                    false => {
                        let text = format!("{text}{}\n", self.text(TOO_MANY));
                        self.end(&text)
                    }
                }
            }
            Err(error) => {
                let text = self.failed(error);
                self.log_in(&text)
            }
        }
    }

    /// The server has told whether there is a password, and whether there are accounts.
    pub(super) fn greeted(&mut self, opening: Opening, none: bool, accounts: bool) -> Step {
        match (none, accounts, opening) {
            (true, false, Opening::Page) => self.fresh(),
            (true, false, Opening::Wizard) => {
                self.state = State::Starting;
                self.run("", Program::Setup)
            }
            (.., Opening::Wizard) => self.open(),
            (true, true, Opening::Page) => self.no_password(),
            (false, ..) => self.log_in(""),
        }
    }

    /// Who has accounts here has set it up, if not by the wizard.
    fn no_password(&mut self) -> Step {
        let text = format!("{}\n", self.text(NO_PASSWORD));
        match self.place.local {
            true => self.log_in(&text),
            false => self.end(&text),
        }
    }

    /// Whoever stands at a machine that nobody has set up may do that; by network, who is root.
    pub(super) fn fresh(&mut self) -> Step {
        if !self.place.local {
            return match self.place.code {
                Some(_) => self.ask_code(""),
                None => {
                    let text = format!("{}\n", self.text(NO_PASSWORD));
                    self.end(&text)
                }
            };
        }
        self.state = State::Fresh;
        let mut text = format!("{}\n", self.text(SET_UP));
        if let Some(code) = self.place.code {
            let code = String::from_utf8_lossy(&code).into_owned();
            text += &format!("{}\n", CODE_SHOWN.with(self.language, &[&code]));
        }
        text.push_str(self.text(CHOICE));
        self.read(text, false)
    }

    fn ask_code(&mut self, before: &str) -> Step {
        self.state = State::Code;
        let text = format!("{before}{}\n{}", self.text(CODE_ASKED), self.text(CODE));
        self.read(text, false)
    }

    pub(super) fn code(&mut self, word: &str) -> Step {
        if let Some(language) = Language::parse(&word.to_lowercase()) {
            self.language = language;
            return self.ask_code("");
        }
        let right = self.place.code.as_ref().map_or(&[][..], |it| &it[..]);
        // It is shown to whoever stands there, and holds until the wizard's end.
        if !right.is_empty() && word.to_lowercase().as_bytes() == right {
            self.wrong = 0;
            self.state = State::Starting;
            return self.run("", Program::Setup);
        }
        self.wrong += 1;
        match self.wrong < MAX_WRONG {
            true => {
                let text = format!("{}\n", self.text(CODE_WRONG));
                self.ask_code(&text)
            }
            false => {
                let text = format!("{}\n", self.text(CODE_WRONG));
                self.end(&text)
            }
        }
    }

    pub(super) fn down(&mut self, error: &str) -> Step {
        self.state = State::Down;
        let next = if self.place.appliance {
            START
        } else {
            TRY_AGAIN
        };
        let text = UNREACHABLE.with(
            self.language,
            &[&printable(&say(error.trim_end(), self.language))],
        );
        let text = format!(
            "\n{}\n{}\n{}",
            wrap(text.trim_end()),
            self.text(next),
            self.text(CHOICE)
        );
        self.read(text, false)
    }

    pub(super) fn recover(&mut self) -> Step {
        if !self.may_recover() {
            return self.too_late();
        }
        self.state = State::Confirming;
        let text = format!("{}\n{}", self.text(RECOVER), self.text(RECOVER_CONFIRM));
        self.read(text, false)
    }

    /// Whether a forgotten password may be replaced here and now: by root, who has asked for
    /// nothing else, or at a machine that was just switched on.
    pub(super) fn may_recover(&self) -> bool {
        self.only_recovers || self.place.local && self.at.up < RECOVERY
    }

    pub(super) fn too_late(&mut self) -> Step {
        let minutes = (RECOVERY.as_secs() / 60).to_string();
        let text = HOW_TO_RECOVER.with(self.language, &[&minutes]);
        self.log_in(&format!("{text}\n"))
    }

    pub(super) fn recovering_with(
        &mut self,
        once: Option<Secret<String>>,
        line: Secret<String>,
    ) -> Step {
        match once {
            _ if !self.may_recover() => self.too_late(),
            None => {
                self.state = State::Recovering(Some(line));
                self.read(self.text(ONCE_MORE).into(), true)
            }
            Some(once) if once.reveal() == line.reveal() => {
                self.state = State::Recovered;
                let recover = Administrator::Recover { password: line };
                ask(String::new(), Request::Administrator(recover))
            }
            Some(_) => {
                let text = format!("{}\n", self.text(DIFFER));
                self.log_in(&text)
            }
        }
    }
}
