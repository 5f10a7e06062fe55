//! A task: what it asks, question by question, and how its outcome is told.

use super::*;

impl Console {
    pub(super) fn ask_next(&mut self, mut pending: Pending) -> Step {
        let answered = pending.answers.0.len();
        let Some(field) = pending.task.fields.get(answered) else {
            return self.act(pending);
        };
        let mut text = String::new();
        let secret = match &field.kind {
            Kind::Password => {
                let last = pending.answers.0.last();
                if last.is_none_or(|it| it.reveal().is_empty()) {
                    pending.answers.0.push(Secret::new(String::new()));
                    return self.ask_next(pending);
                }
                true
            }
            Kind::NewPassword => true,
            Kind::Choice(choices) => {
                for (n, (choice, _)) in choices.iter().enumerate() {
                    text.push_str(&format!("{:>3}  {}\n", n + 1, self.text(*choice)));
                }
                false
            }
            Kind::Word | Kind::Optional | Kind::Sure => false,
        };
        let prompt = match pending.once {
            Some(_) => ONCE_MORE,
            None => field.ask,
        };
        text.push_str(self.text(prompt));
        self.state = State::Asking(pending);
        self.read(text, secret)
    }

    pub(super) fn answer(&mut self, mut pending: Pending, line: Secret<String>) -> Step {
        let answered = pending.answers.0.len();
        let Some(field) = pending.task.fields.get(answered) else {
            return self.menu("");
        };
        let word = line.reveal().trim();
        let answer = match &field.kind {
            Kind::Word if word.is_empty() => return self.menu(""),
            Kind::Word | Kind::Optional => Secret::new(word.to_string()),
            Kind::Password => line,
            Kind::NewPassword => match pending.once.take() {
                None if line.reveal().is_empty() => return self.menu(""),
                None => {
                    pending.once = Some(line);
                    return self.ask_next(pending);
                }
                Some(once) if once.reveal() == line.reveal() => line,
                Some(_) => {
                    let text = format!("{}\n", self.text(DIFFER));
                    return self.menu(&text);
                }
            },
            Kind::Choice(choices) => {
                let chosen = word.parse::<usize>().ok().and_then(|it| it.checked_sub(1));
                match chosen.and_then(|it| choices.get(it)) {
                    Some((_, word)) => Secret::new(word.to_string()),
                    None => return self.menu(""),
                }
            }
            Kind::Sure if is_yes(word) => Secret::new(word.to_string()),
            Kind::Sure => {
                let text = format!("{}\n", self.text(NOT_DONE));
                return self.menu(&text);
            }
        };
        pending.answers.0.push(answer);
        self.ask_next(pending)
    }

    pub(super) fn act(&mut self, pending: Pending) -> Step {
        match (pending.task.act)(&pending.answers) {
            Ok(Act::Ask(request, show)) => {
                self.state = State::Working(show);
                ask(String::new(), request)
            }
            Ok(Act::Run(program)) => {
                let text = match program {
                    Program::Setup => String::new(),
                    _ => format!("{}\n", self.text(MOMENT)),
                };
                self.state = State::Working(Show::Said(DONE, Vec::new()));
                self.run(&text, program)
            }
            Err(error) => {
                let text = self.failed(&error);
                self.menu(&text)
            }
        }
    }

    pub(super) fn shown(&self, show: Show, mut rows: Vec<Vec<String>>) -> String {
        let language = self.language;
        match show {
            Show::Said(text, words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                printable(&text.with(language, &words))
            }
            Show::Count => {
                let count = rows.into_iter().flatten().next().unwrap_or_default();
                format!("{}\n", MESSAGES_CHANGED.with(language, &[&count]))
            }
            Show::Accounts => {
                for bytes in rows.iter_mut().filter_map(|row| row.get_mut(2)) {
                    *bytes = size(bytes.parse().unwrap_or(0), language);
                }
                for state in rows.iter_mut().filter_map(|row| row.get_mut(3)) {
                    *state = say(state, language);
                }
                let heading = [COLUMN_ACCOUNT, COLUMN_MESSAGES, COLUMN_SIZE, COLUMN_STATE];
                self.rows(&heading, &rows)
            }
            Show::Queue => {
                // The last is how many more there are.
                rows.pop();
                for next in rows.iter_mut().filter_map(|row| row.get_mut(1)) {
                    *next = match next.parse::<i64>() {
                        Ok(moment) if moment <= self.at.now => NOW.of(language).into(),
                        Ok(moment) => {
                            LATER.with(language, &[&span(moment - self.at.now, language)])
                        }
                        Err(_) if next == "held" => HELD.of(language).into(),
                        Err(_) => std::mem::take(next),
                    };
                }
                for reply in rows.iter_mut().filter_map(|row| row.get_mut(5)) {
                    *reply = say(reply, language);
                }
                let heading = [
                    COLUMN_NUMBER,
                    COLUMN_NEXT,
                    COLUMN_TRIED,
                    COLUMN_FROM,
                    COLUMN_TO,
                    COLUMN_REPLY,
                ];
                self.rows(&heading, &rows)
            }
            Show::Rows(heading) => {
                for cell in rows.iter_mut().flatten() {
                    *cell = say(cell, language);
                }
                self.rows(heading, &rows)
            }
        }
    }

    pub(super) fn rows(&self, heading: &[Text], rows: &[Vec<String>]) -> String {
        match rows {
            [] => format!("{}\n", self.text(NOTHING)),
            rows => table(heading, rows, self.language),
        }
    }

    pub(super) fn failed(&self, error: &str) -> String {
        let error = say_lines(error, self.language);
        printable(&FAILED.with(self.language, &[error.trim_end()]))
    }
}
