//! What the console says.

use crate::setup::text::texts;

texts! {
    // The status page.
    RUNS: "pillarbox {} on {}, running for {}", "pillarbox {} на {}, работает {}";
    STOPPED: "pillarbox {} on {}, STOPPED", "pillarbox {} на {}, ОСТАНОВЛЕН";
    ADDRESSES: "Addresses", "Адреса";
    SERVICES: "Services", "Службы";
    ON: "on", "вкл.";
    OFF: "off", "выкл.";
    ACCOUNTS: "Accounts", "Ящики";
    CONNECTIONS: "Connections", "Соединения";
    CONNECTED: "{} of mail programs, {} of other servers",
        "почтовых программ: {}, других серверов: {}";
    QUEUE: "Queue", "Очередь";
    QUEUE_EMPTY: "nothing waits", "пусто";
    QUEUED: "{} waiting, the oldest for {}; {} held",
        "ждут отправки: {}, старейшее: {}; задержаны: {}";
    MAIL: "Mail", "Почта";
    STORED: "{} messages, {}", "писем: {}, {}";
    DISK: "Disk", "Диск";
    FREE: "{} free of {}", "свободно {} из {}";
    ROOM: ": room for about {} messages more", ": хватит ещё примерно на {} писем";
    CERTIFICATE: "Certificate", "Сертификат";
    LOCAL: "from the server's own authority", "своего центра сертификации";
    FILES: "from your files", "из ваших файлов";
    ACME: "by ACME", "полученный по ACME";
    DAYS_LEFT: "{}, {} days left", "{}, осталось дней: {}";
    EXPIRED: "{}, EXPIRED", "{}, СРОК ИСТЁК";
    UNREADABLE: "can't be read", "не читается";
    PROGRAMS: "Programs", "Программы";
    INSIDE: "inside: {}", "внутри сети: {}";
    OUTSIDE: "outside: {}", "снаружи: {}";
    CHECKED: "Last check", "Проверка";
    CHECKED_AGO: "{} ({} ago)", "{} ({} назад)";
    NEVER_CHECKED: "never: pillarbox check", "ещё не было: pillarbox check";
    SOUND: "all is well", "всё в порядке";
    REPAIRED: "what was wrong was put right", "ошибки исправлены";
    REPAIRABLE: "some rows are wrong: pillarbox check --repair",
        "есть ошибки в записях: pillarbox check --repair";
    DAMAGED: "something is DAMAGED: pillarbox check",
        "есть ПОВРЕЖДЕНИЯ: pillarbox check";
    UNFINISHED: "it did not come to its end: pillarbox check",
        "не дошла до конца: pillarbox check";
    COLLECTORS: "Collectors", "Сборщики";
    PROBLEMS: "Last errors", "Ошибки";
    NO_PROBLEMS: "none since the start", "с запуска не было";
    TIMES: " ({} times)", " (раз: {})";

    // Units.
    SECONDS: "{} s", "{} с";
    MINUTES: "{} min", "{} мин";
    HOURS: "{} h {} min", "{} ч {} мин";
    DAYS: "{} d {} h", "{} д {} ч";
    BYTES: "{} B", "{} Б";
    KILOBYTES: "{} kB", "{} кБ";
    MEGABYTES: "{} MB", "{} МБ";
    GIGABYTES: "{} GB", "{} ГБ";

    // Logging in.
    LOG_IN: "Type the administrator's password (ru: по-русски; ?: it is forgotten).",
        "Введите пароль администратора (en: in English; ?: пароль забыт).";
    PASSWORD: "Password: ", "Пароль: ";
    WRONG: "That is not the administrator's password.",
        "Это не пароль администратора.";
    TOO_MANY: "Too many wrong passwords.", "Слишком много неверных паролей.";
    NO_PASSWORD: "No administrator's password is set yet. On this machine, as root:\n    pillarbox setup                     sets the whole server up\n    pillarbox administrator password    sets the password alone",
        "Пароль администратора ещё не задан. На этой машине, от имени root:\n    pillarbox setup                     настроит весь сервер\n    pillarbox administrator password    задаст только пароль";
    SET_UP: "This server is not set up yet.\nPress Enter to begin, or type 0 to leave (ru: in Russian).",
        "Этот сервер ещё не настроен.\nНажмите Enter, чтобы начать, или введите 0, чтобы выйти (en: in English).";
    UNREACHABLE: "The mail server can't be asked: {}", "Почтовый сервер не отвечает: {}";
    START: "Press Enter to start the mail service, or type 0 to leave.",
        "Нажмите Enter, чтобы запустить почтовую службу, или введите 0, чтобы выйти.";
    TRY_AGAIN: "Press Enter to try again, or type 0 to leave.",
        "Нажмите Enter, чтобы попробовать снова, или введите 0, чтобы выйти.";
    CHOICE: "Choice: ", "Выбор: ";

    // Recovery.
    HOW_TO_RECOVER: "A forgotten password is replaced at the machine itself, where nobody can be by\nnetwork: connect a screen and keyboard or the serial console, switch the\nmachine off and on, and type ? here within {} minutes.",
        "Забытый пароль заменяют у самой машины, куда по сети не попасть: подключите\nэкран и клавиатуру или последовательную консоль, выключите и включите машину\nи введите здесь ? в первые {} минут.";
    RECOVER: "The administrator's password will be replaced by a new one. This is written to\nthe log, and the administrators are told by mail.",
        "Пароль администратора будет заменён новым. Это попадёт в журнал, и\nадминистраторам придёт письмо.";
    RECOVER_CONFIRM: "Type yes to go on: ", "Введите да, чтобы продолжить: ";
    YES: "yes", "да";
    NOT_DONE: "Nothing was changed.", "Ничего не изменено.";
    RECOVERED: "The administrator has a new password.", "У администратора новый пароль.";

    // Asking.
    NEW_PASSWORD: "New password: ", "Новый пароль: ";
    ONCE_MORE: "Once more: ", "Ещё раз: ";
    DIFFER: "The two differ; nothing was changed.", "Они не совпали; ничего не изменено.";
    NO_CHOICE: "Type one of the numbers.", "Введите один из номеров.";
    FAILED: "It did not work: {}", "Не получилось: {}";
    DONE: "Done.", "Готово.";
    NOTHING: "There is nothing.", "Здесь пусто.";
    MORE: "-- Enter: more; 0: enough -- ", "-- Enter: дальше; 0: хватит -- ";
    MOMENT: "A moment ...", "Минуту ...";
    IDLE_TEXT: "Nobody has typed for {} minutes: logged out.",
        "{} минут ничего не вводили: сеанс окончен.";
    BYE: "Logged out.", "Сеанс окончен.";
    BACK: "Back", "Назад";
    LOG_OUT: "Log out", "Выйти";

    // The menus.
    MAIN: "What is to be done?", "Что сделать?";
    STATUS: "Status", "Состояние";
    ACCOUNT_MENU: "Accounts", "Почтовые ящики";
    ALIAS_MENU: "Aliases", "Псевдонимы";
    SERVICE_MENU: "Services on and off", "Включить или выключить службы";
    QUEUE_MENU: "Mail on its way (queue)", "Исходящая почта (очередь)";
    RELAY_MENU: "Relay: a provider that sends our mail", "Почта через провайдера (relay)";
    DNS_MENU: "DNS records of a domain", "Записи DNS для домена";
    TEST_MENU: "Test the server", "Проверить сервер";
    ERRORS_MENU: "Last errors", "Последние ошибки";
    PASSWORD_MENU: "Administrator's password", "Пароль администратора";
    SETUP_MENU: "Set up again", "Настроить заново";
    MACHINE_MENU: "The machine: restart, update, SSH", "Машина: перезапуск, обновление, SSH";
    LANGUAGE: "По-русски", "In English (на английском)";

    ADD_ACCOUNT: "Add an account", "Завести ящик";
    RESET_PASSWORD: "Reset a password", "Сменить пароль";
    LIST_ACCOUNTS: "List them", "Показать все";
    CAPABILITY: "Capability of a protocol, on or off", "Возможность протокола: включить или выключить";
    WHICH_CAPABILITY: "Capability, such as imap.IDLE (? names them all): ",
        "Возможность, например imap.IDLE (? перечислит все): ";
    GO_WITHOUT: "Off, for this account alone", "Выключить, для одного этого ящика";
    ACCOUNT_ADDRESS: "Address (NAME@DOMAIN): ", "Адрес (ИМЯ@ДОМЕН): ";
    ACCOUNT_ADDED: "{} can log in now.", "{}: ящик готов, можно входить.";
    PASSWORD_RESET: "{} has a new password.", "{}: пароль сменён.";
    COLUMN_ACCOUNT: "ACCOUNT", "ЯЩИК";
    COLUMN_MESSAGES: "MESSAGES", "ПИСЕМ";
    COLUMN_SIZE: "SIZE", "РАЗМЕР";
    COLUMN_STATE: "STATE", "СОСТОЯНИЕ";

    LIST_ALIASES: "List them", "Показать все";
    ADD_ALIAS: "Add an alias", "Добавить псевдоним";
    REMOVE_ALIAS: "Remove an alias", "Удалить псевдоним";
    ALIAS_ADDRESS: "Alias (NAME@DOMAIN): ", "Псевдоним (ИМЯ@ДОМЕН): ";
    ALIAS_ACCOUNT: "Account that gets its mail: ", "Ящик, куда идёт его почта: ";
    ALIAS_ADDED: "Mail for {} goes to {} now.", "Почта для {} теперь идёт в {}.";
    ALIAS_REMOVED: "{} is no alias any more.", "{} больше не псевдоним.";
    COLUMN_ALIAS: "ALIAS", "ПСЕВДОНИМ";

    WHICH_SERVICE: "Service: ", "Служба: ";
    IMAP: "IMAP (reading mail, folders stay here)", "IMAP (чтение почты, папки на сервере)";
    POP3: "POP3 (fetching mail)", "POP3 (забирание почты)";
    SUBMISSION: "Submission (sending mail)", "Отправка почты (submission)";
    SMTP: "SMTP (mail from other servers)", "SMTP (почта от других серверов)";
    ON_OR_OFF: "On or off: ", "Включить или выключить: ";
    SWITCH_ON: "On", "Включить";
    SWITCH_OFF: "Off: its port is closed", "Выключить: порт закроется";

    LIST_QUEUE: "List it", "Показать";
    RETRY: "Try again now", "Отправить ещё раз сейчас";
    HOLD: "Hold back", "Задержать";
    RELEASE: "Release what is held", "Отпустить задержанное";
    WHICH_MESSAGE: "Number of the message (Enter: all): ", "Номер письма (Enter: все): ";
    MESSAGES_CHANGED: "Messages: {}.", "Писем: {}.";
    COLUMN_NUMBER: "NO.", "НОМЕР";
    COLUMN_NEXT: "NEXT", "КОГДА";
    COLUMN_TRIED: "TRIED", "ПОПЫТОК";
    COLUMN_FROM: "FROM", "ОТ";
    COLUMN_TO: "TO", "КОМУ";
    COLUMN_REPLY: "LAST REPLY", "ПОСЛЕДНИЙ ОТВЕТ";
    HELD: "held", "задержано";
    NOW: "now", "сейчас";
    LATER: "in {}", "через {}";

    LIST_RELAY: "Show", "Показать";
    SET_RELAY: "Send by a provider", "Отправлять через провайдера";
    REMOVE_RELAY: "Send directly", "Отправлять напрямую";
    TEST_RELAY: "Try it (nothing is sent)", "Проверить (ничего не отправляется)";
    RELAY_HOST: "The provider's server (smtp.example.org): ",
        "Сервер провайдера (smtp.example.org): ";
    RELAY_PORT: "Port (Enter: 587): ", "Порт (Enter: 587): ";
    RELAY_USER: "User there (Enter: none): ", "Пользователь там (Enter: нет): ";
    RELAY_PASSWORD: "Password there: ", "Пароль там: ";
    RELAY_SET: "Mail goes by {} now.", "Почта теперь идёт через {}.";
    RELAY_REMOVED: "Mail goes directly now.", "Почта теперь идёт напрямую.";
    RELAY_ADDRESS: "To which address: ", "На какой адрес: ";
    COLUMN_SENDERS: "SENDERS", "ОТПРАВИТЕЛИ";
    COLUMN_SERVER: "SERVER", "СЕРВЕР";
    COLUMN_TLS: "TLS", "ЗАЩИТА";
    COLUMN_USER: "USER", "ПОЛЬЗОВАТЕЛЬ";
    COLUMN_FINDING: "FINDING", "РЕЗУЛЬТАТ";

    DOMAIN: "Domain: ", "Домен: ";
    RESTART: "Restart the mail service", "Перезапустить почтовую службу";
    REBOOT: "Restart the machine", "Перезапустить машину";
    POWER_OFF: "Switch the machine off", "Выключить машину";
    SURE: "Type yes to do it: ", "Введите да, чтобы это сделать: ";
    SSH: "This console by SSH, on or off", "Эта консоль по SSH: включить или выключить";
    UPDATE_STATUS: "Versions: what runs, what starts next", "Версии: что работает, что запустится";
    UPDATE: "Update by network", "Обновить по сети";
    UPDATE_URL: "URL of the update file (https://...): ", "URL файла обновления (https://...): ";
    UPDATE_BACK: "Go back to the version before", "Вернуться к прежней версии";
    RESET_BOX: "Factory reset: remove all mail and settings", "Сброс: удалить всю почту и настройки";
    RESET_SURE: "All mail, accounts and settings are removed, for good.\nType yes to go on: ",
        "Вся почта, все ящики и настройки будут удалены навсегда.\nВведите да, чтобы продолжить: ";
    RESET_WORD: "Once more: type RESET, in capitals: ", "Ещё раз: введите RESET, заглавными буквами: ";

    // A new machine, by network.
    CODE_SHOWN: "Or from another computer: ssh console@ADDRESS, with the code {}",
        "Или с другого компьютера: ssh console@АДРЕС, с кодом {}";
    CODE_ASKED: "This server is not set up yet. Type the code that its own screen or serial\nconsole shows (ru: in Russian).",
        "Этот сервер ещё не настроен. Введите код, который показывает его экран или\nпоследовательная консоль (en: in English).";
    CODE: "Code: ", "Код: ";
    CODE_WRONG: "That is not the code.", "Это не тот код.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::text::prove;

    #[test]
    fn every_text_is_there_in_every_language() {
        // The one text in the other language on purpose: who can't read this one looks for it.
        let own =
            |name: &&(&str, crate::setup::text::Text)| !["LANGUAGE", "LOG_IN"].contains(&name.0);
        let all: Vec<_> = ALL.iter().filter(own).copied().collect();
        assert!(all.len() > 100);
        prove(&all);
    }

    #[test]
    fn labels_fit_their_column() {
        let labels = [
            ADDRESSES,
            SERVICES,
            ACCOUNTS,
            CONNECTIONS,
            QUEUE,
            MAIL,
            DISK,
            CERTIFICATE,
            PROGRAMS,
            CHECKED,
            COLLECTORS,
            PROBLEMS,
        ];
        for label in labels {
            for text in [label.english, label.russian] {
                assert!(text.chars().count() < super::super::page::COLUMN, "{text}");
            }
        }
    }
}
