//! What the server says, in each of its languages (LANG: RFC 6856, 3).

/// A language of replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Russian,
}

impl Language {
    /// In the order in which LANG lists them.
    pub const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// By its tag, in any case; a region or script behind it makes no difference, and `*` is
    /// the server's own (RFC 4647, 3.4).
    pub fn find(range: &str) -> Option<Language> {
        let primary = range.split('-').next().unwrap_or_default();
        match primary {
            "*" => Some(Language::default()),
            tag => Language::ALL
                .into_iter()
                .find(|it| it.tag().eq_ignore_ascii_case(tag)),
        }
    }

    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Russian => "ru",
        }
    }

    /// As its speakers call it.
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Russian => "Русский",
        }
    }
}

macro_rules! texts {
    ($($name:ident: $english:literal, $russian:literal;)+) => {
        /// A reply's text; `{}` takes what [`Text::fill`] is given.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Text { $($name),+ }

        impl Text {
            /// Of the tests' loops over all of them.
            #[cfg(test)]
            const ALL: &[Text] = &[$(Text::$name),+];

            fn template(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Text::$name, Language::English) => $english,
                    (Text::$name, Language::Russian) => $russian,)+
                }
            }
        }
    };
}

texts! {
    Ready: "POP3 server ready", "Сервер POP3 готов";
    Goodbye: "Goodbye", "До свидания";
    NotDeleted: "Messages were not deleted", "Сообщения не удалены";
    TooManyErrors: "Too many errors", "Слишком много ошибок";
    LineTooLong: "The line is too long", "Строка слишком длинная";
    LineEndless: "The line does not end", "Строка не заканчивается";
    TlsAlready: "TLS is on already", "TLS уже включён";
    TlsBegin: "Begin TLS now", "Начинайте TLS";
    TlsFirst: "Begin TLS first: STLS", "Сначала включите TLS: STLS";
    SendPass: "Send PASS", "Отправьте PASS";
    SendUser: "Send USER first", "Сначала отправьте USER";
    LoginFirst: "Log in first", "Сначала войдите";
    NotAfterLogin: "Not after the login", "После входа это невозможно";
    Capabilities: "Capabilities follow", "Далее возможности сервера";
    Mechanisms: "Mechanisms follow", "Далее механизмы";
    MechanismsAre: "The mechanisms are {}", "Есть механизмы {}";
    WrongPassword: "Wrong name or password", "Неверное имя или пароль";
    LoginLater: "Too many failed logins, try later",
        "Слишком много неудачных попыток входа, повторите позже";
    LoginClosed: "POP3 is off for this account; ask the administrator",
        "POP3 для этой учётной записи отключён; обратитесь к администратору";
    TooManyConnections: "This account has too many connections, try later",
        "У этой учётной записи слишком много соединений, повторите позже";
    LoginUnavailable: "Logins can't be checked now, try later",
        "Сейчас вход проверить нельзя, повторите позже";
    LoginMalformed: "That is not how the mechanism goes", "Обмен не соответствует механизму";
    AccountDisabled: "This account is disabled: ask the administrator",
        "Эта учётная запись отключена: обратитесь к администратору";
    CertificateExpired: "The certificate has expired, or is not valid yet",
        "Срок действия сертификата истёк или ещё не начался";
    LoginCancelled: "Login given up", "Вход отменён";
    LoginTooOften: "Too many failed logins", "Слишком много неудачных попыток входа";
    Totals: "{} messages ({} octets)", "Сообщений: {} (байт: {})";
    InUse: "Another session has this maildrop open", "Ящик уже открыт в другом сеансе";
    TooSoon: "Log in once in {} seconds at most", "Входите не чаще одного раза в {} с";
    MaildropLater: "The maildrop can't be read now, try later",
        "Сейчас ящик прочитать нельзя, повторите позже";
    MaildropDamaged: "The maildrop is damaged; tell the administrator",
        "Ящик повреждён; сообщите администратору";
    NoMessage: "There is no such message", "Такого сообщения нет";
    Reset: "Nothing is marked deleted", "Пометки об удалении сняты";
    UniqueIds: "Unique-ids follow", "Далее уникальные номера";
    Deleted: "Marked deleted", "Помечено для удаления";
    Octets: "{} octets", "Байт: {}";
    Top: "The top of the message follows", "Далее начало сообщения";
    Unreadable: "The message is gone or can't be read now",
        "Сообщения больше нет, или сейчас его прочитать нельзя";
    Languages: "Languages follow", "Далее языки";
    Language: "English it is", "Теперь по-русски";
    NoLanguage: "That language is not spoken here", "Такого языка здесь нет";
    Utf8: "UTF-8 is on", "UTF-8 включён";
    NotText: "A command is a line of text", "Команда должна быть строкой текста";
    NoArgument: "This command takes no argument", "У этой команды нет аргументов";
    UserName: "USER takes a name", "Для USER нужно имя";
    PassPassword: "PASS takes a password", "Для PASS нужен пароль";
    Unknown: "Command not recognized", "Неизвестная команда";
    AuthArguments: "AUTH takes a mechanism and one response",
        "Для AUTH нужен механизм и один ответ";
    TopArguments: "TOP takes a message number and a number of lines",
        "Для TOP нужны номер сообщения и число строк";
    LangArgument: "LANG takes one language", "Для LANG нужен один язык";
    Forwarded: "So it comes from there", "Понятно, откуда это";
    XclientArguments: "XCLIENT takes NAME=value", "Для XCLIENT нужно NAME=value";
    Number: "A number is due", "Здесь нужно число";
}

impl Text {
    /// The text with each `{}` replaced in turn.
    pub fn fill(self, language: Language, with: &[&str]) -> String {
        let mut parts = self.template(language).split("{}");
        let mut text = String::from(parts.next().unwrap_or_default());
        for (part, value) in parts.zip(with.iter().chain(std::iter::repeat(&""))) {
            text.push_str(value);
            text.push_str(part);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_one_line_in_every_language() {
        for text in Text::ALL {
            let places = |language| text.template(language).matches("{}").count();
            assert_eq!(
                places(Language::English),
                places(Language::Russian),
                "{text:?}"
            );
            for language in Language::ALL {
                let said = text.fill(language, &[]);
                // RFC 2449, 4: a response has at most 512 octets.
                assert!(!said.is_empty() && said.len() < 400 && !said.contains(['\r', '\n', '[']));
            }
            assert!(text.template(Language::English).is_ascii());
            assert!(!text.template(Language::Russian).is_ascii());
        }
    }

    #[test]
    fn languages_are_found_by_range() {
        assert_eq!(Language::find("RU-ru"), Some(Language::Russian));
        assert_eq!(Language::find("en"), Some(Language::English));
        assert_eq!(Language::find("*"), Some(Language::English));
        for range in ["", "russian", "de", "-ru"] {
            assert_eq!(Language::find(range), None, "{range}");
        }
        let filled = Text::Totals.fill(Language::English, &["2", "30"]);
        assert_eq!(filled, "2 messages (30 octets)");
    }
}
