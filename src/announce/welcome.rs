//! The first message of an account: how a mail program reaches it.

use super::{Announcement, to};
use crate::address::Address;
use crate::mail::AccountId;
use crate::mail::option::Language;
use crate::settings::Settings;
use crate::settings::connections::{Connection, Encryption, for_users};
use crate::store::{Error, Result, Store};

/// Puts it into the account's INBOX, in the account's language or the server's.
pub async fn send(store: &Store, settings: &Settings, id: AccountId) -> Result<()> {
    let read = store.look(|snapshot| {
        let account = snapshot.account(id)?.ok_or(Error::NoAccount)?;
        Ok((account.address, snapshot.account_options(id)?.language))
    });
    let (address, language) = read?;
    let language = language.unwrap_or_else(|| Language::of(settings.language));
    let what = welcome(&address, language, &for_users(settings));
    to(store, &settings.hostname, id, what).await
}

fn welcome(address: &Address, language: Language, connections: &[Connection]) -> Announcement {
    let mut text = String::from(language.choose(
        "Welcome! Your mailbox is ready.\n\n",
        "Добро пожаловать! Ваш почтовый ящик готов.\n\n",
    ));
    if !connections.is_empty() {
        text += language.choose(
            "A mail program that asks for its settings needs these:\n\n",
            "Если почтовая программа спросит настройки, введите эти:\n\n",
        );
        for one in connections {
            text += &line(one, language);
        }
        text.push('\n');
    }
    text += language.choose("Login name: ", "Имя для входа: ");
    text += &format!("{address}\n");
    text += language.choose(
        "Password: the one you were given. Whoever runs this server can make you\n\
         further passwords, one for each device, and take each back on its own.\n",
        "Пароль: тот, который вам сообщили. Тот, кто управляет этим сервером, может\n\
         создать отдельный пароль для каждого устройства и отозвать любой из них.\n",
    );
    Announcement {
        subject: language
            .choose("Welcome to your mailbox", "Ваш почтовый ящик готов")
            .into(),
        text,
    }
}

fn line(one: &Connection, language: Language) -> String {
    let service = match one.service {
        "imap" => "IMAP",
        "pop3" => "POP3",
        _ => language.choose("SMTP (sending)", "SMTP (отправка)"),
    };
    let encryption = match one.encryption {
        Encryption::Tls => "SSL/TLS",
        Encryption::StartTls => "STARTTLS",
    };
    let (host, port) = (&one.host, one.port);
    let named = language.choose("port", "порт");
    format!("  {service:<16} {host}, {named} {port}, {encryption}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_a_program_asks_for_in_both_languages() {
        let settings = Settings {
            hostname: "mx.b.test".into(),
            ..Settings::default()
        };
        let address = Address::parse("ann@b.test").unwrap();
        for (language, port) in [(Language::English, "port"), (Language::Russian, "порт")] {
            let what = welcome(&address, language, &for_users(&settings));
            for line in [
                format!("IMAP             mx.b.test, {port} 993, SSL/TLS\n"),
                format!("mx.b.test, {port} 465, SSL/TLS\n"),
                "ann@b.test\n".into(),
            ] {
                assert!(what.text.contains(&line), "{line} is not in {}", what.text);
            }
            assert!(what.text.lines().all(|it| it.chars().count() < 79));
        }
    }
}
