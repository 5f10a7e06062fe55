//! The wizard: asks one question after the other, goes back, reviews, and has all applied at
//! one moment, last. It says what it needs ([`Step`]) and is told; it holds no terminal, file,
//! clock or store.

use super::answers::{Answers, Facts};
use super::check::{Check, Finding};
use super::document;
use super::phrases::say;
use super::question::{Kind, QUESTIONS, Question};
use super::sealed;
use super::text::{Language, Text, WIDTH, wrap};
use super::value::{MAX_ANSWER, Read};
use super::words::*;
use crate::secret::{MAX_PASSWORD, MIN_PASSWORD, Secret};

/// What the world is to do next, after it has shown [`Wizard::take_output`].
#[derive(Debug)]
pub enum Step {
    /// Keep the answers so far, durably; then [`Wizard::saved`].
    Save(Secret<String>),
    /// Read a line, not shown if it is secret; then [`Wizard::line`], or [`Wizard::leave`].
    Line { secret: bool },
    /// Look; then [`Wizard::found`].
    Check(Check),
    /// Make what verifies this password ([`sealed::write`]); then [`Wizard::sealed`].
    Seal(Secret<String>),
    /// Apply the answers in one transaction; then [`Wizard::applied`].
    Apply,
    /// All is applied: the answers that were kept can go.
    Done,
    /// Left before the end.
    Left,
}

enum State {
    Ask(usize),
    /// The password of that question once more.
    Again(usize, Secret<String>),
    Seal(usize, Secret<String>),
    Check(usize, Check),
    /// Something is wrong with that answer; it may be kept.
    Doubt(usize, Check),
    Review,
    Apply,
    Done,
    Left,
}

pub struct Wizard {
    facts: Facts,
    answers: Answers,
    state: State,
    out: String,
    unsaved: bool,
    /// That keeping them failed has been told.
    told: bool,
    /// All has been asked: what is changed from now on leads back to the review.
    reviewing: bool,
}

impl Wizard {
    /// `kept`: what [`Step::Save`] kept of a wizard that did not come to its end.
    pub fn new(facts: Facts, kept: Answers) -> Wizard {
        let resumed = !kept.is_empty();
        let mut wizard = Wizard {
            facts,
            answers: kept,
            state: State::Left,
            out: String::new(),
            unsaved: false,
            told: false,
            reviewing: false,
        };
        if resumed {
            let asked = wizard.applicable().into_iter();
            let answered = asked.filter_map(|n| wizard.answers.get(QUESTIONS.get(n)?.name));
            let count = answered.count().to_string();
            let text = RESUMED.with(wizard.language(), &[&count]);
            wizard.say(&text);
        }
        wizard.go_on();
        wizard
    }

    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// What is to be shown now; the last line has no end where an answer is typed behind it.
    pub fn take_output(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    pub fn step(&mut self) -> Step {
        if std::mem::take(&mut self.unsaved) {
            return Step::Save(Secret::new(document::write(&self.answers, true)));
        }
        match &self.state {
            State::Ask(n) => Step::Line {
                secret: QUESTIONS.get(*n).is_some_and(Question::is_secret),
            },
            State::Again(..) => Step::Line { secret: true },
            State::Doubt(..) | State::Review => Step::Line { secret: false },
            State::Seal(_, password) => Step::Seal(password.clone()),
            State::Check(_, check) => Step::Check(*check),
            State::Apply => Step::Apply,
            State::Done => Step::Done,
            State::Left => Step::Left,
        }
    }

    /// What was typed, without its end; `None` if it can't be read.
    pub fn line(&mut self, typed: Option<&str>) {
        let Some(typed) = typed.filter(|it| it.len() <= MAX_ANSWER) else {
            self.say_text(UNREADABLE);
            return self.prompt_again();
        };
        let secret = self.step_is_secret();
        match typed.trim() {
            "?" => self.help(),
            "<" => self.back(),
            "!" => self.leave(),
            word if !secret && ["back", "назад"].contains(&word) => self.back(),
            word if !secret && ["quit", "выход"].contains(&word) => self.leave(),
            word => self.answer(if secret { typed } else { word }),
        }
    }

    /// Ends it; what was answered is kept.
    pub fn leave(&mut self) {
        self.out.push('\n');
        self.say_text(LEFT);
        self.state = State::Left;
    }

    pub fn saved(&mut self, done: Result<(), String>) {
        if let Err(why) = done
            && !std::mem::replace(&mut self.told, true)
        {
            let text = format!(
                "\n{}",
                NOT_KEPT.with(self.language(), &[&say(&why, self.language())])
            );
            self.say(&text);
            self.prompt_again();
        }
    }

    pub fn found(&mut self, finding: Finding) {
        let State::Check(n, check) = self.state else {
            return;
        };
        let text = check.say(self.language(), &finding);
        self.say(&text);
        match finding {
            Finding::Wrong(_) if check.must_hold() => {
                let again = QUESTIONS.iter().position(|it| it.name == check.question());
                self.ask(again.unwrap_or(n));
            }
            Finding::Wrong(_) => {
                self.state = State::Doubt(n, check);
                self.prompt_again();
            }
            Finding::Well(_) | Finding::Unknown(_) => self.advance(n),
        }
    }

    /// The sealed password, or why it can't be.
    pub fn sealed(&mut self, done: Result<String, String>) {
        let State::Seal(n, _) = self.state else {
            return;
        };
        match done {
            Ok(sealed) => self.accept(n, sealed),
            Err(why) => {
                let text = SEALED_BADLY.with(self.language(), &[&say(&why, self.language())]);
                self.say(&text);
                self.ask(n);
            }
        }
    }

    /// After an error the review is shown again.
    pub fn applied(&mut self, done: Result<(), String>) {
        match done {
            Ok(()) => self.state = State::Done,
            Err(why) => {
                let text = format!(
                    "\n{}",
                    FAILED.with(self.language(), &[&say(&why, self.language())])
                );
                self.say(&text);
                self.review();
            }
        }
    }

    // What was typed.

    fn answer(&mut self, text: &str) {
        match std::mem::replace(&mut self.state, State::Review) {
            State::Ask(n) => self.answer_question(n, text),
            State::Again(n, first) if first.reveal() == text => self.state = State::Seal(n, first),
            State::Again(n, _) => {
                self.say_text(DIFFER);
                self.ask(n);
            }
            State::Doubt(n, _) if text.is_empty() => self.advance(n),
            state @ State::Doubt(..) => {
                self.state = state;
                self.prompt_again();
            }
            State::Review => self.answer_review(text),
            other => self.state = other,
        }
    }

    fn answer_question(&mut self, n: usize, text: &str) {
        let Some(question) = QUESTIONS.get(n) else {
            return;
        };
        let secret = question.is_secret();
        let read = match text {
            "" if secret && may_keep(question, &self.answers, &self.facts) => Ok(String::new()),
            "" if secret => Err(NEEDED),
            "" => self.default(question).ok_or(NEEDED),
            text => read(question, text, &self.answers),
        };
        match read {
            Ok(password) if !password.is_empty() && matches!(question.kind, Kind::NewPassword) => {
                self.state = State::Again(n, Secret::new(password));
                self.prompt_again();
            }
            Ok(value) => self.accept(n, value),
            Err(refusal) => {
                self.say_text(refusal);
                self.state = State::Ask(n);
                self.prompt_again();
            }
        }
    }

    fn answer_review(&mut self, text: &str) {
        if ["yes", "y", "да", "д"].contains(&text.to_lowercase().as_str()) {
            self.forget_unasked();
            self.state = State::Apply;
            return self.say_text(APPLYING);
        }
        let chosen: Option<usize> = text.parse().ok().and_then(|it: usize| it.checked_sub(1));
        match chosen.and_then(|it| self.applicable().get(it).copied()) {
            Some(n) => self.ask(n),
            None => {
                self.say_text(NO_SUCH_NUMBER);
                self.prompt_again();
            }
        }
    }

    fn accept(&mut self, n: usize, value: String) {
        let Some(question) = QUESTIONS.get(n) else {
            return;
        };
        let begins = question.name == "language" && !self.answers.is("language", &value);
        let kept = value.is_empty();
        self.answers.put(question.name, value);
        self.unsaved = true;
        if begins && !self.reviewing {
            self.out.push('\n');
            self.say_text(WELCOME);
            if self.facts.earlier.is_some() {
                self.say_text(SET_UP_BEFORE);
            }
        }
        match (question.check)(&self.answers).filter(|_| !kept) {
            Some(check) => {
                if check.takes_long() {
                    self.say_text(LOOKING);
                }
                self.state = State::Check(n, check);
            }
            None => self.advance(n),
        }
    }

    fn help(&mut self) {
        let text = match self.state {
            State::Ask(n) | State::Again(n, _) | State::Doubt(n, _) => {
                QUESTIONS.get(n).map_or(REVIEW_HELP, |it| it.help)
            }
            _ => REVIEW_HELP,
        };
        self.say_text(text);
        self.prompt_again();
    }

    // Where it goes next.

    fn back(&mut self) {
        match self.state {
            State::Ask(_) if self.reviewing && self.open().is_none() => self.review(),
            State::Ask(n) => {
                let before = self.applicable().into_iter().rev().find(|it| *it < n);
                match before {
                    Some(before) => self.ask(before),
                    None => {
                        self.say_text(FIRST);
                        self.prompt_again();
                    }
                }
            }
            State::Again(n, _) => self.ask(n),
            State::Doubt(n, check) => {
                let again = QUESTIONS.iter().position(|it| it.name == check.question());
                self.ask(again.unwrap_or(n));
            }
            State::Review => match self.applicable().last() {
                Some(last) => self.ask(*last),
                None => self.prompt_again(),
            },
            _ => {}
        }
    }

    /// After that question.
    fn advance(&mut self, n: usize) {
        let next = self.applicable().into_iter().find(|it| *it > n);
        match next.filter(|_| !self.reviewing) {
            Some(next) => self.ask(next),
            None => self.go_on(),
        }
    }

    /// The first question without an answer that still holds, or the review.
    fn go_on(&mut self) {
        match self.open() {
            Some(n) => self.ask(n),
            None => self.review(),
        }
    }

    fn applicable(&self) -> Vec<usize> {
        let all = QUESTIONS.iter().enumerate();
        let asked = all.filter(|(_, it)| (it.applies)(&self.answers, &self.facts));
        asked.map(|(n, _)| n).collect()
    }

    /// What was answered on a way that was not taken in the end.
    fn forget_unasked(&mut self) {
        let asked = self.applicable();
        for (n, question) in QUESTIONS.iter().enumerate() {
            if !asked.contains(&n) {
                self.answers.remove(question.name);
            }
        }
    }

    fn open(&self) -> Option<usize> {
        let name = unanswered(&self.answers, &self.facts)?.name;
        QUESTIONS.iter().position(|it| it.name == name)
    }

    // What is shown.

    fn language(&self) -> Language {
        match (self.answers.is_empty(), &self.facts.earlier) {
            (true, Some(earlier)) => earlier.language(),
            _ => self.answers.language(),
        }
    }

    fn say(&mut self, text: &str) {
        self.out.push_str(&wrap(text));
        self.out.push('\n');
    }

    fn say_text(&mut self, text: Text) {
        self.say(text.of(self.language()));
    }

    fn ask(&mut self, n: usize) {
        let Some(question) = QUESTIONS.get(n) else {
            return;
        };
        self.state = State::Ask(n);
        // What no longer holds is no default.
        if self
            .answers
            .get(question.name)
            .is_some_and(|it| !holds(question, it, &self.answers, &self.facts))
        {
            self.answers.remove(question.name);
        }
        self.out.push('\n');
        let language = self.language();
        if question.name == "language" {
            self.say("pillarbox");
        } else {
            let all = self.applicable();
            let place = all.iter().position(|it| *it == n).map_or(0, |it| it + 1);
            let title = question.title.of(language);
            self.say(&format!("{place}/{}  {title}", all.len()));
            self.say_text(question.about);
        }
        if let Kind::Choice(words, _) = question.kind {
            let width = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
            for (n, (word, meaning)) in words.iter().enumerate() {
                let n = n + 1;
                match question.name {
                    "language" => {
                        // Before it is known who reads.
                        let own = if *word == "ru" {
                            "Русский"
                        } else {
                            "English"
                        };
                        self.say(&format!("  {n}  {own}"));
                    }
                    _ => self.say(&format!("  {n}  {word:<width$}  {}", meaning.of(language))),
                }
            }
        }
        self.prompt_again();
    }

    fn prompt_again(&mut self) {
        let language = self.language();
        let prompt = match &self.state {
            State::Ask(n) => match QUESTIONS.get(*n) {
                Some(question) => self.prompt(question),
                None => return,
            },
            State::Again(..) => format!("{}: ", ONCE_MORE.of(language)),
            State::Doubt(..) => DOUBT.of(language).to_string(),
            State::Review => REVIEW_PROMPT.of(language).to_string(),
            _ => return,
        };
        self.out.push_str(&prompt);
    }

    fn prompt(&self, question: &Question) -> String {
        let language = self.language();
        let title = match question.name {
            "language" => "Language / Язык",
            _ => question.title.of(language),
        };
        let default = match question.is_secret() {
            true => may_keep(question, &self.answers, &self.facts)
                .then(|| UNCHANGED.of(language).to_string()),
            false => self.default(question),
        };
        let line = match default {
            Some(default) => format!("{title} [{default}]: "),
            None => format!("{title}: "),
        };
        // A long default goes over the prompt's line.
        match line.chars().count() > WIDTH - 10 {
            true => format!(
                "{}\n: ",
                split(line.trim_end_matches([' ', ':'])).join("\n")
            ),
            false => line,
        }
    }

    /// What Enter takes.
    fn default(&self, question: &Question) -> Option<String> {
        let earlier = self.facts.earlier.as_ref();
        let known = self.answers.get(question.name);
        let known = known.or_else(|| earlier.and_then(|it| it.get(question.name)));
        let fits = |it: &&str| holds(question, it, &self.answers, &self.facts);
        match known.filter(fits) {
            Some(known) => Some(known.to_string()),
            None => (question.default)(&self.answers, &self.facts),
        }
    }

    fn step_is_secret(&self) -> bool {
        match &self.state {
            State::Ask(n) => QUESTIONS.get(*n).is_some_and(Question::is_secret),
            State::Again(..) => true,
            _ => false,
        }
    }

    fn review(&mut self) {
        self.state = State::Review;
        self.reviewing = true;
        self.out.push('\n');
        self.say_text(REVIEW);
        for (place, n) in self.applicable().into_iter().enumerate() {
            let Some(question) = QUESTIONS.get(n) else {
                continue;
            };
            let title = question.title.of(self.language());
            let line = format!("{:>3}  {title:<26}", place + 1);
            let value = self.shown(question);
            let whole = format!("{line} {value}");
            match whole.chars().count() <= WIDTH {
                true => self.say(&whole),
                false => {
                    self.say(line.trim_end());
                    for piece in split(&value) {
                        self.say(&format!("     {piece}"));
                    }
                }
            }
        }
        self.prompt_again();
    }

    fn shown(&self, question: &Question) -> String {
        let language = self.language();
        let value = self.answers.get(question.name).unwrap_or_default();
        match question.kind {
            Kind::NewPassword | Kind::Password if value.is_empty() => {
                format!("({})", UNCHANGED.of(language))
            }
            Kind::NewPassword | Kind::Password => SET.of(language).to_string(),
            Kind::Choice(words, _) => match words.iter().find(|(word, _)| *word == value) {
                Some((word, meaning)) => format!("{word} ({})", meaning.of(language)),
                None => value.to_string(),
            },
            Kind::Line(_) => value.to_string(),
        }
    }
}

/// Pieces that fit on a line with some room before them, of a word that does not.
fn split(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars
        .chunks(WIDTH - 9)
        .map(|it| it.iter().collect())
        .collect()
}

/// A typed answer in its one spelling, or what is wrong with it.
pub fn read(question: &Question, text: &str, answers: &Answers) -> Read {
    match question.kind {
        Kind::Line(read) => read(text, answers),
        Kind::Choice(words, read) => {
            let number = text.parse().ok().and_then(|it: usize| it.checked_sub(1));
            let word = match number.and_then(|it| words.get(it)) {
                Some((word, _)) => Some(*word),
                None => {
                    let text = text.to_lowercase();
                    words.iter().map(|it| it.0).find(|it| *it == text)
                }
            };
            word.ok_or(NO_CHOICE).and_then(|word| read(word, answers))
        }
        Kind::NewPassword if text.chars().count() < MIN_PASSWORD => Err(TOO_SHORT),
        Kind::NewPassword | Kind::Password if text.len() > MAX_PASSWORD => Err(TOO_LONG),
        Kind::NewPassword | Kind::Password if text.chars().any(char::is_control) => Err(CONTROL),
        Kind::NewPassword | Kind::Password => Ok(text.to_string()),
    }
}

/// Whether a password can stay as it is, which an empty answer says.
pub fn may_keep(question: &Question, answers: &Answers, facts: &Facts) -> bool {
    let same = |name: &str| match (&facts.earlier, answers.get(name)) {
        (Some(earlier), Some(now)) => earlier.is(name, now),
        _ => false,
    };
    match question.name {
        "administrator.password" => facts.administrator,
        "account.password" => {
            let address = answers.get("account.address").unwrap_or_default();
            facts
                .accounts
                .iter()
                .any(|it| it.eq_ignore_ascii_case(address))
        }
        "relay.password" => ["relay.mode", "relay.host", "relay.user"]
            .into_iter()
            .all(same),
        _ => false,
    }
}

/// Whether an answer still is one, after those before it have changed.
fn holds(question: &Question, value: &str, answers: &Answers, facts: &Facts) -> bool {
    match question.kind {
        Kind::Line(read) => read(value, answers).is_ok_and(|it| it == value),
        Kind::Choice(words, read) => {
            words.iter().any(|(word, _)| *word == value) && read(value, answers).is_ok()
        }
        _ if value.is_empty() => may_keep(question, answers, facts),
        Kind::NewPassword => sealed::read(value).is_some(),
        Kind::Password => true,
    }
}

/// The first question that is asked and has no answer that holds.
pub fn unanswered(answers: &Answers, facts: &Facts) -> Option<&'static Question> {
    QUESTIONS.iter().find(|question| {
        let answered = answers.get(question.name);
        (question.applies)(answers, facts)
            && !answered.is_some_and(|it| holds(question, it, answers, facts))
    })
}

/// What there is to look at once all is answered, for who did not answer one by one.
pub fn checks(answers: &Answers, facts: &Facts) -> Vec<Check> {
    let asked = QUESTIONS.iter().filter(|it| (it.applies)(answers, facts));
    let kept = |it: &&Question| answers.get(it.name).is_some_and(str::is_empty);
    asked
        .filter(|it| !kept(it))
        .filter_map(|it| (it.check)(answers))
        .collect()
}

#[cfg(test)]
#[path = "wizard_tests.rs"]
mod tests;
