//! What the wizard says besides its questions: commands, review, findings, the end.

use super::text::texts;

texts! {
    WELCOME:
        "This sets up the mail server pillarbox. It takes some five minutes, and nothing\n\
         is changed before you have seen it all and said yes.\n\
         Enter takes what stands in [brackets]; ? helps, < goes back, ! leaves.",
        "Настройка почтового сервера pillarbox займёт минут пять. Ничего не меняется,\n\
         пока вы не увидите всё целиком и не ответите «да».\n\
         Enter — взять то, что в [скобках]; ? — помощь, < — назад, ! — выйти.";
    RESUMED:
        "Answers kept from before: {}. It goes on where it ended.",
        "Сохранено прежних ответов: {}. Продолжаем с того же места.";
    SET_UP_BEFORE:
        "This server has been set up already. You can go over the answers again;\n\
         passwords stay unless you type new ones. To leave it as it is, type !",
        "Этот сервер уже настроен. Ответы можно пройти заново; пароли остаются,\n\
         если не ввести новые. Чтобы оставить всё как есть, введите !";
    LEFT:
        "Nothing was changed. What you answered is kept: pillarbox setup goes on there.",
        "Ничего не изменено. Ответы сохранены: pillarbox setup продолжит отсюда.";
    NOT_KEPT:
        "The answers can't be kept ({}): don't leave before the end.",
        "Ответы не удаётся сохранить ({}): не выходите до конца.";
    NEEDED: "An answer is needed here.", "Здесь нужен ответ.";
    NO_CHOICE:
        "Type the number or the word of one of these.",
        "Введите номер или слово из списка.";
    FIRST: "This is the first question.", "Это первый вопрос.";
    ONCE_MORE: "Once more", "Ещё раз";
    DIFFER:
        "The two passwords differ. Please again.",
        "Пароли не совпали. Попробуйте ещё раз.";
    TOO_SHORT:
        "A password needs at least 8 characters.",
        "В пароле должно быть не меньше 8 знаков.";
    TOO_LONG:
        "A password has at most 1024 bytes.",
        "В пароле может быть не больше 1024 байт.";
    CONTROL:
        "A password can't have control characters (arrow keys, Tab).",
        "В пароле не может быть управляющих символов (стрелок, Tab).";
    UNREADABLE:
        "That line is too long or has characters that can't be read. Please again.",
        "Строка слишком длинная или содержит нечитаемые знаки. Введите ещё раз.";
    SEALED_BADLY:
        "The password can't be worked on: {}",
        "Не удалось обработать пароль: {}";
    SET: "(set)", "(задан)";
    UNCHANGED: "unchanged", "прежний";
    DOUBT: "Enter goes on with it, < changes it: ", "Enter — оставить, < — изменить: ";
    REVIEW: "Your answers:", "Ваши ответы:";
    REVIEW_PROMPT:
        "A number changes that answer; yes applies them all: ",
        "Номер — изменить ответ; да — применить всё: ";
    REVIEW_HELP:
        "Nothing has been changed so far. Type the number of an answer to change it,\n\
         yes to apply all of them at one moment, or ! to leave and come back later.",
        "Пока ничего не изменено. Введите номер ответа, чтобы изменить его, «да»,\n\
         чтобы применить всё сразу, или !, чтобы выйти и вернуться позже.";
    NO_SUCH_NUMBER:
        "Type a number of the list, or yes.",
        "Введите номер из списка или «да».";
    APPLYING:
        "Applying. Making the keys that sign mail takes a moment ...",
        "Применяю. Ключи для подписи писем создаются не сразу ...";
    FAILED:
        "That did not work, and nothing was changed: {}",
        "Не получилось, ничего не изменено: {}";
    DONE: "Done: the server is set up.", "Готово: сервер настроен.";
    SYSTEM_FAILED:
        "The mail server is set up, but this machine's own settings are not: {} \
         Mend that, and run pillarbox setup again.",
        "Почтовый сервер настроен, но настройки самой машины не записаны: {} \
         Исправьте это и запустите pillarbox setup ещё раз.";
    NOT_RUNNING:
        "The server does not run yet: systemctl start pillarbox, or pillarbox serve.",
        "Сервер ещё не запущен: systemctl start pillarbox или pillarbox serve.";
    RECORDS:
        "Records for the DNS of {}, as a zone file has them; with a provider's web \
         form, strings in quotes are one text. pillarbox dns shows them again.",
        "Записи для DNS домена {}, как в файле зоны; в веб-форме \
         строки в кавычках складываются в одну. Ещё раз: pillarbox dns.";
    PROGRAMS:
        "What people enter in their mail programs:",
        "Что вводят в почтовых программах:";
    USER: "user name: {}", "имя пользователя: {}";
    OWN_AUTHORITY:
        "Devices must trust this authority first, once; give them the file:\n  {}",
        "Сначала каждое устройство должно один раз довериться центру из файла:\n  {}";
    NEXT:
        "Next: pillarbox test tries it all, pillarbox account add makes more accounts.",
        "Дальше: pillarbox test проверит всё, pillarbox account add заведёт ещё\n\
         учётные записи.";

    CLOCK_WELL: "The clock is right: {}.", "Часы идут верно: {}.";
    CLOCK_WRONG:
        "The clock says {}, which can't be. Certificates and mail need the right \
         time: set it now (date -s, or timedatectl set-ntp true).",
        "Часы показывают {}, этого не может быть. Сертификатам и почте \
         нужно верное время: установите его (date -s или timedatectl set-ntp true).";
    CLOCK_UNKNOWN:
        "The clock says {}; nothing here keeps it right by a time server. Is it \
         right? If not, set it: date -s, or timedatectl set-ntp true.",
        "Часы показывают {}; сервер времени их здесь не поправляет. Верно ли \
         это? Если нет, установите: date -s или timedatectl set-ntp true.";
    ZONE_WELL: "The time zone is known: {}.", "Часовой пояс известен: {}.";
    ZONE_WRONG: "This machine knows no time zone {}.", "Часовой пояс {} неизвестен.";
    ZONE_UNKNOWN:
        "Whether there is such a time zone can't be seen: {}",
        "Проверить часовой пояс не удалось: {}";
    NAME_WELL: "DNS knows this name: {}.", "DNS знает это имя: {}.";
    NAME_WRONG:
        "DNS has no address for this name ({}). Mail programs won't find the server \
         by it: make an A or AAAA record, now or later.",
        "В DNS нет адреса для этого имени ({}). Почтовые программы не найдут \
         по нему сервер: сделайте запись A или AAAA, сейчас или позже.";
    NAME_UNKNOWN:
        "DNS can't be asked now ({}). That does no harm here; pillarbox dns check \
         asks it later.",
        "Спросить DNS сейчас нельзя ({}). Это не мешает; \
         позже его спросит pillarbox dns check.";
    PORTS_WELL: "The ports are free: {}.", "Порты свободны: {}.";
    PORTS_WRONG:
        "These ports can't be had: {}. Stop the program that has them, or leave \
         that service out.",
        "Эти порты занять нельзя: {}. Остановите программу, которая \
         их держит, или уберите эту службу.";
    PORTS_UNKNOWN:
        "Whether the ports are free can't be seen: {}.",
        "Свободны ли порты, проверить нельзя: {}.";
    CERTIFICATE_WELL:
        "Certificate and key belong together{}.",
        "Сертификат и ключ подходят друг к другу{}.";
    CERTIFICATE_WRONG: "That can't be used: {}.", "Это не годится: {}.";
    CERTIFICATE_UNKNOWN:
        "Certificate and key can't be tried: {}.",
        "Проверить сертификат и ключ не удалось: {}.";
    OUTWARDS_WELL: "Port 25 is open outwards ({}).", "Порт 25 наружу открыт ({}).";
    OUTWARDS_WRONG:
        "Port 25 seems closed outwards ({}). Choose smarthost, or ask your \
         provider to open it.",
        "Похоже, порт 25 наружу закрыт ({}). Выберите smarthost или \
         попросите провайдера его открыть.";
    OUTWARDS_UNKNOWN:
        "Whether port 25 is open outwards can't be seen now ({}). If mail stays in \
         the queue later, choose smarthost: pillarbox setup again.",
        "Открыт ли порт 25 наружу, сейчас не проверить ({}). Если письма \
         застрянут в очереди, выберите smarthost: снова pillarbox setup.";
    RELAY_WELL: "The provider's server takes it: {}.", "Сервер провайдера согласен: {}.";
    RELAY_WRONG:
        "The provider's server does not take it: {}",
        "Сервер провайдера не согласен: {}";
    RELAY_UNKNOWN:
        "The provider's server can't be asked now: {}. \
         pillarbox route test tries it later.",
        "Спросить сервер провайдера сейчас нельзя: {}. \
         Позже его проверит pillarbox route test.";
    LOOKING: "Looking ...", "Проверяю ...";

    BAD_HOST:
        "A host name has letters, digits, hyphens and at least one dot.",
        "В имени сервера — латинские буквы, цифры, дефисы и хотя бы одна точка.";
    BAD_DOMAIN:
        "That is no domain name: example.org is one.",
        "Это не имя домена; пример: example.org.";
    BAD_SERVICES:
        "Name one or more of imap, pop3, submission, smtp; or all.",
        "Назовите одну или несколько: imap, pop3, submission, smtp; или all.";
    BAD_PATH:
        "A path begins with / and has no control characters.",
        "Путь начинается с / и не содержит управляющих символов.";
    BAD_ADDRESS:
        "That is no mail address, and no name for one.",
        "Это не почтовый адрес и не имя для него.";
    RESERVED:
        "The names administrator, anonymous and guest are reserved; choose another.",
        "Имена administrator, anonymous и guest заняты; выберите другое.";
    OTHER_DOMAIN:
        "The first account is in the mail domain that you chose.",
        "Первая учётная запись находится в выбранном почтовом домене.";
    BAD_NETWORK:
        "That is no address with a prefix: 192.168.1.20/24 is one.",
        "Это не адрес с префиксом; пример: 192.168.1.20/24.";
    BAD_IP:
        "That is no IP address: 192.168.1.1 is one.",
        "Это не IP-адрес; пример: 192.168.1.1.";
    BAD_GATEWAY:
        "The gateway is an address in the same network, and not this machine's own.",
        "Шлюз — это адрес в той же сети, но не адрес самой машины.";
    BAD_SERVERS:
        "Name one to three IP addresses, with spaces between.",
        "Назовите от одного до трёх IP-адресов через пробел.";
    BAD_ZONE:
        "A time zone is like Europe/London, or UTC.",
        "Часовой пояс пишется как Europe/Moscow или UTC.";
    BAD_KEY:
        "That is no public key: ssh-ed25519 AAAA... and a name, on one line.",
        "Это не открытый ключ: нужна одна строка вида ssh-ed25519 AAAA... имя.";
    BAD_PORT: "A port is a number from 1 to 65535.", "Порт — это число от 1 до 65535.";
    NEAR_ONLY:
        "Without TLS nothing is sent but on this machine: 127.0.0.1 or ::1.",
        "Без TLS почта передаётся только внутри этой машины: 127.0.0.1 или ::1.";
    BAD_USER:
        "The user's name has 1 to 1024 bytes, the password too.",
        "Имя пользователя и пароль — от 1 до 1024 байт.";
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_text_is_there_in_both_languages() {
        crate::setup::text::prove(super::ALL);
    }
}
