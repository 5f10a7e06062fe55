//! What the server says in English, in a person's language: refusals, findings, and what our own
//! commands print. One table; a sentence is known by its English, with `{}` where it differs.
//! A test holds the table to the sources that the sentences come from. Pure.

use super::text::{Language, Text};
use std::cell::Cell;

/// Sentences within sentences: an address: why it is none.
const DEPTH: u32 = 6;
/// Longest line that is looked at, bytes: longer ones are none of ours.
const MAX_LENGTH: usize = 1000;
/// Readings that one line may take: others have a hand in it, and could write one of which each
/// part reads in many ways. Our own take some dozens.
const MAX_READINGS: u32 = 3000;

/// The sentence as that language has it; what is not ours, such as another server's reply,
/// stays as it is.
pub fn say(text: &str, language: Language) -> String {
    match language {
        Language::English => text.into(),
        Language::Russian => translated(text, language, DEPTH),
    }
}

/// Each line for itself.
pub fn say_lines(text: &str, language: Language) -> String {
    let lines = text.lines().map(|line| say(line, language) + "\n");
    lines.collect()
}

fn translated(text: &str, language: Language, depth: u32) -> String {
    let body = text.trim_start();
    let indent = text.get(..text.len() - body.len()).unwrap_or_default();
    let left = Cell::new(MAX_READINGS);
    let said = reading(body, language, depth, &left).0;
    match left.get() {
        0 => text.into(),
        _ => format!("{indent}{said}"),
    }
}

/// How it reads, and how many characters of it were known: "{}: {}" fits much.
fn reading(text: &str, language: Language, depth: u32, left: &Cell<u32>) -> (String, usize) {
    let unknown = (text.to_string(), 0);
    left.set(left.get().saturating_sub(1));
    if left.get() == 0 {
        return unknown;
    }
    let Some(depth) = depth.checked_sub(1).filter(|_| text.len() <= MAX_LENGTH) else {
        return unknown;
    };
    let put = |phrase: Text, words: &[&str]| {
        let own = phrase.english.len() - 2 * words.len();
        let words = words.iter().map(|it| {
            let body = it.trim_start();
            let (said, known) = reading(body, language, depth, left);
            let indent = it.get(..it.len() - body.len()).unwrap_or_default();
            (format!("{indent}{said}"), known)
        });
        let (words, known): (Vec<String>, Vec<usize>) = words.unzip();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (
            phrase.with(language, &words),
            own + known.iter().sum::<usize>(),
        )
    };
    let phrases = PHRASES.iter().chain(PARTS);
    phrases
        .filter_map(|it| Some(put(*it, &words_of(it.english, text)?)))
        .filter(|it| it.1 > PARTS_KNOWN)
        .max_by_key(|it| it.1)
        .unwrap_or(unknown)
}

/// Of two sentences in one, each for itself.
const PARTS: &[Text] = &[both("{}: {}"), both("{}; {}"), both("{}, {}")];
/// What stands between two sentences is nothing that is known of them.
const PARTS_KNOWN: usize = 2;

const fn both(text: &'static str) -> Text {
    Text {
        english: text,
        russian: text,
    }
}

/// What stands in the places of the pattern; `None` if the text is another one.
fn words_of<'a>(pattern: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut pieces = pattern.split("{}");
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let pieces: Vec<&str> = pieces.collect();
    let mut words = Vec::new();
    for (n, piece) in pieces.iter().enumerate() {
        let last = n + 1 == pieces.len();
        let at = match (last, piece.is_empty()) {
            (true, true) => rest.len(),
            (true, false) => rest.strip_suffix(piece)?.len(),
            (false, _) => rest.find(piece)?,
        };
        let (word, after) = rest.split_at_checked(at)?;
        if word.is_empty() {
            return None;
        }
        words.push(word);
        rest = after.get(piece.len()..)?;
    }
    rest.is_empty().then_some(words)
}

macro_rules! phrases {
    ($($english:literal, $russian:literal;)+) => {
        const PHRASES: &[Text] = &[$(Text { english: $english, russian: $russian },)+];
    };
}

phrases! {
    // Addresses and passwords.
    "a domain has at most 255 bytes", "в домене не больше 255 байт";
    "this is not a domain name", "это не имя домена";
    "an address literal is [192.0.2.1] or [IPv6:2001:db8::1]", "адрес машины пишут так: [192.0.2.1] или [IPv6:2001:db8::1]";
    "an address has at most 254 bytes", "в адресе не больше 254 байт";
    "an address is name@domain", "адрес имеет вид ИМЯ@ДОМЕН";
    "the part before @ has 1 to 64 bytes", "перед @ от 1 до 64 байт";
    "the part before @ has a control character", "перед @ стоит управляющий символ";
    "the part before @ has a character that needs quotes", "перед @ стоит знак, которому нужны кавычки";
    "the quotes before @ do not end", "кавычки перед @ не закрыты";
    "a password needs at least {} characters", "в пароле должно быть не меньше {} знаков";
    "a password has at most {} bytes", "в пароле не больше {} байт";
    "a password can't have control characters", "в пароле не может быть управляющих символов";
    "the system gives no random numbers; try again", "система не даёт случайных чисел; попробуйте ещё раз";
    "the system gives no memory; try again", "система не даёт памяти; попробуйте ещё раз";

    // The store.
    "no such account", "такого ящика нет";
    "no such mailbox", "такой папки нет";
    "that name is taken", "это имя занято";
    "over the limit on {}", "превышен предел: {}";
    "the mailbox is full", "ящик полон";
    "the message is too large", "письмо слишком большое";
    "the disk is full", "диск полон";
    "too much at once", "слишком много сразу";
    "what is stored is damaged: {}", "сохранённое повреждено: {}";
    "the storage failed: {}", "сбой хранилища: {}";
    "the store is closed", "хранилище закрыто";
    "the store was written by an older version of this program, whose stores this one can't read", "хранилище записано старой версией программы, эта его не прочтёт";
    "the store is in use by another process", "хранилище занято другой программой";

    // Accounts and aliases.
    "the name {} is reserved; choose another", "имя {} занято самим сервером; выберите другое";
    "{} exists already, as an account or an alias", "{} уже есть, как ящик или как псевдоним";
    "there is no account {}", "ящика {} нет";
    "{} is an alias of {}", "{} — псевдоним ящика {}";
    "{} is an account, not an alias", "{} — ящик, а не псевдоним";
    "there is no alias {}", "псевдонима {} нет";
    "disabled", "выключен";
    "disabled, refuses mail", "выключен, почту не берёт";
    "deleted", "удалён";
    "deleted, kept until {}", "удалён, хранится до {}";
    "{} is deleted, and can be had back until {}: account restore", "ящик {} удалён, вернуть можно до {}: account restore";
    "the server does not know this request", "сервер не знает такой просьбы";
    "{} is not among the capabilities that can be turned off: {}", "{} нет среди возможностей, которые можно выключить: {}";

    // The queue and routes.
    "{} is no number of a queued message", "{} — не номер письма в очереди";
    "there is no message {} in the queue", "письма {} в очереди нет";
    "{}: TLS is starttls, implicit or none", "{}: TLS бывает starttls, implicit или none";
    "{} is neither a name nor an address", "{} — не имя и не адрес";
    "without TLS nothing is sent but on this machine: 127.0.0.1 or ::1", "без TLS почта идёт только внутри этой машины: 127.0.0.1 или ::1";
    "user and password have 1 to {} bytes", "в имени и пароле от 1 до {} байт";
    "{} is no port", "{} — не порт";
    "there is no route for {}", "маршрута для {} нет";
    "no answer in time", "ответа нет слишком долго";
    "the test took too long", "проверка идёт слишком долго";
    "default", "все";
    "it has no server", "в нём нет сервера";
    "{}, login", "{}, вход";
    "connected {}", "соединение есть, {}";
    "with TLS", "с TLS";
    "without TLS", "без TLS";
    "logged in", "вход выполнен";
    "by the route to {}: {}", "по маршруту через {}: {}";
    "no TLS", "без TLS";
    "TLS if it is offered", "TLS, если его предлагают";
    "TLS with any certificate", "TLS с любым сертификатом";
    "TLS with a certificate that is checked", "TLS с проверкой сертификата";
    "TLS with a certificate that TLSA records name", "TLS с сертификатом из записей TLSA";
    "{} is an address", "{} — адрес";
    "{} has no MX, so it is asked itself", "у {} нет MX, поэтому спрашиваем его самого";
    "{} has {} MX", "у {} записей MX: {}";
    "there is no domain {}", "домена {} нет";
    "the domain {} takes no mail: it has neither MX nor address", "домен {} почту не принимает: у него нет ни MX, ни адреса";
    "the domain {} takes no mail, and says so", "домен {} почту не принимает и сам так говорит";
    "mail for the domain is to come here, but the domain is none of ours", "почта домена должна идти сюда, но домен не наш";
    "the domain's MTA-STS policy does not name it", "его не называет политика MTA-STS домена";
    "its TLSA records: {}", "его записи TLSA: {}";
    "no server took it in time", "ни один сервер не взял письмо вовремя";
    "no server took it", "ни один сервер не взял письмо";
    "no route is set, and mail does not go directly", "маршрут не задан, а напрямую почта не идёт";
    "a demo sends nothing to other servers", "демонстрация ничего не шлёт другим серверам";
    "the routes can't be read", "маршруты не читаются";
    "the session went astray", "разговор с сервером сбился";
    "TLS can't be made: {}", "TLS не удалось: {}";
    "there is no such name in the DNS", "такого имени в DNS нет";
    "the name has no such record in the DNS", "такой записи у этого имени в DNS нет";
    "the DNS gives no answer: {}", "DNS не отвечает: {}";
    "well", "всё хорошо";
    "paused", "приостановлен";
    "not yet", "ещё не был";

    // Settings and the server.
    "can't listen on {} for {}: {}", "не удалось открыть {} для {}: {}";
    "can't reach the server at {}: {}", "сервер не отвечает, {}: {}";
    "the server's answer: {}", "ответ сервера: {}";
    "no server runs here: start it, then ask again", "сервер здесь не запущен: запустите его и спросите снова";
    "no server runs", "сервер не запущен";
    "there is no mail store in {}: {}", "в {} нет хранилища почты: {}";
    "{} is no directory", "{} — не каталог";
    "{} belongs to user {}: run this as that user, or start the server first", "{} принадлежит пользователю {}: запустите это от его имени или сначала запустите сервер";
    "other passwords are being checked; try again in a minute", "уже проверяются другие пароли; попробуйте через минуту";
    "the administrator's password is damaged; set it anew", "пароль администратора повреждён; задайте его заново";
    "the password is set, but nobody could be told: {}", "пароль задан, но сообщить никому не удалось: {}";

    // The system's own.
    "Connection refused (os error {})", "соединение отвергнуто";
    "Connection refused", "соединение отвергнуто";
    "connection refused", "соединение отвергнуто";
    "Connection reset by peer (os error {})", "соединение оборвано";
    "No such file or directory (os error {})", "такого файла или каталога нет";
    "Permission denied (os error {})", "нет прав";
    "Address already in use (os error {})", "адрес уже занят другой программой";
    "Network is unreachable (os error {})", "сеть недоступна";
    "No route to host (os error {})", "туда нет пути";
    "No space left on device (os error {})", "на диске нет места";
    "timed out", "время вышло";

    // pillarbox dns.
    "; mail for the domain comes here; the name needs an A or AAAA record", "; сюда идёт почта домена; имени нужна запись A или AAAA";
    "; who sends for the domain; with a relay, add what its provider says: include:…", "; кто шлёт почту домена; с провайдером добавьте, что он велит: include:…";
    "; what others do with mail that only claims to be the domain's", "; что другим делать с письмами, которые лишь выдают себя за ваши";
    "; where others report failures of TLS", "; куда другие сообщают о сбоях TLS";
    "; only once a web server of yours serves the policy below: see pillarbox help dns", "; лишь когда ваш веб-сервер отдаёт политику ниже: pillarbox help dns";
    "; where mail programs find the server", "; по ним почтовые программы находят сервер";
    "; The policy that _mta-sts.{} promises: serve it, by a web server of your own, as", "; Политика, которую обещает _mta-sts.{}: отдавайте её своим веб-сервером как";
    "; https://mta-sts.{}/.well-known/mta-sts.txt, before you publish that record:", "; https://mta-sts.{}/.well-known/mta-sts.txt раньше, чем заведёте эту запись:";
    "; There is no DKIM key yet: pillarbox dkim make {}", "; Ключа DKIM ещё нет: pillarbox dkim make {}";
    "{} is no name in DNS", "{} — не имя для DNS";
    "dns takes a domain: pillarbox dns [check] YOUR.DOMAIN", "dns нужен домен: pillarbox dns [check] ВАШ.ДОМЕН";
    "one record that mail depends on is not right", "одна запись, нужная почте, неверна";
    "{} records that mail depends on are not right", "неверны записи, нужные почте: {}";

    // pillarbox test.
    "ok {}", "да  {}";
    "look {}", "?   {}";
    "FAIL {}", "НЕТ {}";
    "clock {}", "часы  {}";
    "disk {}", "диск {}";
    "certificate {}", "сертификат  {}";
    "name {} is {}", "имя  {} — это {}";
    "name {}", "имя  {}";
    "{} ms {}", "{} мс {}";
    "port {}: {}", "порт {}: {}";
    "it is not {}: set the clock (timedatectl set-ntp true)", "сейчас не {}: установите часы (timedatectl set-ntp true)";
    "it is {}", "на них {}";
    "{} MiB free", "свободно МиБ: {}";
    "{}, no mail is taken: {}", "{}, почта не принимается: {}";
    "{}, that is little: {}", "{}, этого мало: {}";
    "pillarbox account list shows whose mail takes it; or use a larger disk", "чья почта его занимает, покажет pillarbox account list; или возьмите диск больше";
    "renew it, then: systemctl reload pillarbox", "обновите его, затем: systemctl reload pillarbox";
    "pillarbox tls status says why", "почему, скажет pillarbox tls status";
    "restart the server, it makes a new one", "перезапустите сервер, он сделает новый";
    "{} can't be read: {}", "{} не читается: {}";
    "{} is no certificate", "{} — не сертификат";
    "{} does not hold yet: is the clock right?", "{} ещё не действует: верны ли часы?";
    "{} is over: {}", "{}: срок вышел: {}";
    "{} ends in {} days: {}", "{}: осталось дней {}: {}";
    "it holds for {} days more", "действует ещё дней: {}";
    "{} is no full name: pillarbox settings set server.hostname mail.YOUR.DOMAIN", "{} — неполное имя: pillarbox settings set server.hostname mail.ВАШ.ДОМЕН";
    "the DNS gives no answer for {}: {}; another server to ask: pillarbox settings set dns.servers ADDRESS", "DNS не отвечает об имени {}: {}; спросить другой сервер: pillarbox settings set dns.servers АДРЕС";
    "{} has no address in the DNS: make an A or AAAA record, then: pillarbox dns check YOUR.DOMAIN", "у {} нет адреса в DNS: заведите запись A или AAAA, затем: pillarbox dns check ВАШ.ДОМЕН";
    "no server runs on {}: start it (systemctl start pillarbox, or pillarbox serve) and try again", "на {} сервер не запущен: запустите его (systemctl start pillarbox или pillarbox serve) и повторите";
    "there is no account yet: pillarbox account add YOU@YOUR.DOMAIN", "ещё нет ни одного ящика: pillarbox account add ВЫ@ВАШ.ДОМЕН";
    "not tried: its login-type takes no password, and this test has no other", "не проверено: её login-type не берёт паролей, а у проверки ничего другого нет";
    "submission is off: nothing can be sent, so no message will be found", "submission выключена: отправить нечем, поэтому письмо не найдётся";
    "All is well: people can read and send mail.", "Всё хорошо: почту можно читать и отправлять.";
    "{} of {} failed", "не прошло: {} из {}";
    "no connection: {}", "соединения нет: {}";
    "the connection broke: {}", "соединение оборвалось: {}";
    "it sends a line without end", "сервер шлёт строку без конца";
    "it sends lines without end", "сервер шлёт строки без конца";
    "it closed the connection", "сервер закрыл соединение";
    "no answer: {}", "ответа нет: {}";
    "logged in and sent a message", "вход выполнен, письмо отправлено";
    "logged in, found, read and deleted a message", "вход выполнен, письмо найдено, прочитано и удалено";
    "logged in, read and deleted a message", "вход выполнен, письмо прочитано и удалено";
    "takes mail for an account here, and for nobody elsewhere", "берёт почту для здешнего ящика и ни для кого чужого";
    "the message that was sent is not there", "отправленного письма нет";
    "it refuses mail for an account here: {}", "отвергает почту для здешнего ящика: {}";
    "it takes mail for others from anybody: {}", "берёт чужую почту от кого угодно: {}";
    "it says: {}", "отвечает: {}";
    "the message is not what was sent", "письмо не то, что отправлено";

    // The machine: pillarbox box and update.
    "{}: RESET was asked for; nothing was removed", "{}: нужно было слово RESET; ничего не удалено";
    "{}: the URL of an update begins with https://", "{}: URL обновления начинается с https://";
    "The console can be reached by SSH: ssh console@ADDRESS", "Консоль доступна по SSH: ssh console@АДРЕС";
    "The console can't be reached by SSH any more.", "По SSH консоль больше не доступна.";
    "At the next start everything is removed.", "При следующем включении всё будет удалено.";
    "the machine does not restart by itself: switch it off and on", "машина сама не перезапускается: выключите её и включите";
    "give a file or URL, or one of --status, --confirm, --back", "нужен файл или URL, либо --status, --confirm или --back";
    "this machine is no pillarbox appliance", "эта машина не устройство pillarbox";
    "update pillarbox the way it was installed", "обновите pillarbox так, как его ставили";
    "{}: there is nothing to confirm.", "{}: подтверждать нечего.";
    "The signature is good: version {} for {}.", "Подпись верна: версия {} для {}.";
    "Writing slot {} and reading it back; slot {}, which runs, stays as it is ...", "Пишем слот {} и читаем его снова; слот {}, который работает, остаётся как есть ...";
    "Done. The next start tries version {} in slot {}, up to {} times. It is kept once its server answers; else version {} starts again.", "Готово. Следующее включение пробует версию {} в слоте {}, до {} раз. Она останется, если её сервер ответит; иначе снова запустится версия {}.";
    "the signature is no text", "подпись не текст";
    "{} has more than {} bytes", "{}: больше {} байт";
    "{} is no file", "{} — не файл";
    "Downloading {} ...", "Загружаем {} ...";
    "the update is for {}, this machine is {}", "обновление для {}, а эта машина {}";
    "version {} is older than {}, which runs; {}", "версия {} старше работающей {}; {}";
    "--downgrade takes it all the same", "с --downgrade она всё же подойдёт";
    "the store has schema {}, version {} reads up to schema {}: it could not open the mail", "схема хранилища {}, версия {} читает схемы до {}: почту она открыть не сможет";
    "Slot {}, version {}, is good already.", "Слот {}, версия {}, уже признан годным.";
    "the server does not answer: version {} stays on trial", "сервер не отвечает: версия {} остаётся на испытании";
    "Version {} in slot {} is kept.", "Версия {} в слоте {} остаётся.";
    "The next start is that of slot {}, version {}.", "Следующее включение запустит слот {}, версию {}.";
    "{} has no room for {} bytes", "в {} нет места на {} байт";
    "that is no update file of pillarbox", "это не файл обновления pillarbox";
    "Board {}", "Плата {}";
    "Slot {}", "Слот {}";
    "Next start  slot {}", "Дальше      слот {}";
    "{}, {}, runs", "{}, {}, работает";
    "version {} (schema {})", "версия {} (схема {})";
    "{} version {} (schema {}), {}", "{} версия {} (схема {}), {}";
    "version not known", "версия неизвестна";
    "good", "годный";
    "runs", "работает";
    "on trial, 1 try left", "на испытании, осталась 1 попытка";
    "on trial, no tries left", "на испытании, попыток не осталось";
    "on trial, {} tries left", "на испытании, осталось попыток: {}";
    "not to be started", "запускать нельзя";
    "Restarting the machine ...", "Перезапускаем машину ...";
    "it answers with status {}", "сервер отвечает кодом {}";
    "it does not speak HTTP as it should", "сервер не говорит по HTTP как положено";
    "it gives no length", "сервер не называет длину";
    "it has {} bytes, {} at most are taken", "в нём {} байт, а берём не больше {}";
    "slot {} holds no version that is known to be good", "в слоте {} нет версии, которая признана годной";
    "slot {} does not give back what was written to it: the card is worn out", "слот {} читается не так, как записан: карта изношена";
    "the signature does not fit the file: it is not as it was signed", "подпись не подходит к файлу: подписан он был иным";
    "the signature is by a key that this machine does not trust", "подпись сделана ключом, которому эта машина не верит";
    "the signature is none that minisign made", "это не подпись minisign";
    "the update has {} bytes, slot {} has room for {}", "в обновлении {} байт, а в слоте {} место для {}";
    "the update does not hold what it says", "в обновлении не то, что в нём заявлено";
    "the update can't be unpacked: {}", "обновление не распаковывается: {}";

    // The wizard.
    "{} has no answer that holds", "на вопрос {} нет верного ответа";
    "{} exists already, as an alias or a group", "{} уже есть, как псевдоним или группа";
    "there is no password of the relay to keep", "пароля провайдера, который можно оставить, нет";
    "there is no {}", "нет {}";
    "no answer", "ответа нет";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the sentences come from that the console and the wizard show.
    const SOURCES: [&str; 17] = [
        include_str!("../address.rs"),
        include_str!("../secret.rs"),
        include_str!("../store/error.rs"),
        include_str!("../control/administrator.rs"),
        include_str!("../control/perform.rs"),
        include_str!("../control/queue.rs"),
        include_str!("../control/routing.rs"),
        include_str!("../queue/destination.rs"),
        include_str!("../cli/dns/mod.rs"),
        include_str!("../cli/dns/records.rs"),
        include_str!("../cli/test/line.rs"),
        include_str!("../cli/test/machine.rs"),
        include_str!("../cli/test/mod.rs"),
        include_str!("../cli/test/services.rs"),
        include_str!("../cli/update.rs"),
        include_str!("../console/menu.rs"),
        include_str!("../mail/capability.rs"),
    ];

    /// Sentences that no console shows: of the log, of mail, of options.
    const ELSEWHERE: &[&str] = &[
        "a forgotten administrator's password",
        "a wrong administrator's password",
        "the administrator's password was replaced",
        "was replaced by a new one at its console",
        "as a forgotten one",
        "account password",
        "account show",
        "account set",
        "account add",
        "account delete",
        "account list",
        "alias list",
        "alias add",
        "alias remove",
        "status show",
        "administrator password",
        "administrator recover",
        "administrator check",
        "administrator show",
        "route list",
        "route set",
        "route remove",
        "route try",
        "route test",
        "by {means}",
        "not zero",
        "systemctl reboot",
        "sends and deletes this",
    ];

    /// The literals of a source before its tests, with `{}` for what is put in.
    fn literals(source: &str) -> Vec<String> {
        let code = source.split("#[cfg(test)]").next().unwrap();
        let code = code.replace("'\"'", "' '").replace("'\\\"'", "' '");
        let lines = code.lines().filter(|it| !it.trim_start().starts_with("//"));
        // What only the log gets.
        let code = lines.collect::<Vec<_>>().join("\n");
        let mut found = Vec::new();
        let mut rest = code.as_str();
        while let Some(begin) = rest.find('"') {
            let before = rest[..begin].trim_end();
            let logged = ["log::warn!(", "log::error!(", "log::info!("];
            let logged = logged.iter().any(|it| before.ends_with(it));
            let (mut text, mut escaped, mut end) = (String::new(), false, rest.len());
            for (at, c) in rest[begin + 1..].char_indices() {
                match (escaped, c) {
                    (false, '"') => {
                        end = begin + 1 + at;
                        break;
                    }
                    (false, '\\') => escaped = true,
                    (true, '\n') => {
                        escaped = false;
                        text.push('\u{1}');
                    }
                    (true, 'n' | 'r') => {
                        escaped = false;
                        text.push('\n');
                    }
                    (_, c) => {
                        escaped = false;
                        text.push(c);
                    }
                }
            }
            rest = &rest[(end + 1).min(rest.len())..];
            // A line that goes on without the spaces it begins with.
            let mut pieces = text.split('\u{1}');
            let mut text = pieces.next().unwrap().to_string();
            pieces.for_each(|it| text.push_str(it.trim_start()));
            if !logged {
                found.push(text);
            }
        }
        found
    }

    /// With the number 7 in each place.
    fn filled(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            out.push('7');
            rest = after.split_once('}').map_or("", |it| it.1);
        }
        out + rest
    }

    /// Two words of English, side by side.
    fn is_english(text: &str) -> bool {
        let word = |it: &str| {
            let it = it.trim_matches(|c: char| ",.;:?!()".contains(c));
            it.len() > 1 && it.chars().all(|c| c.is_ascii_lowercase() || c == '\'')
        };
        let words: Vec<bool> = text.split(' ').map(word).collect();
        words.windows(2).any(|it| it[0] && it[1])
    }

    /// Commands stay what they are.
    fn without_commands(text: &str) -> String {
        let mut out = text.to_string();
        for command in [
            "pillarbox settings set",
            "pillarbox account list",
            "pillarbox account add",
            "pillarbox tls status",
            "pillarbox dns check",
            "pillarbox dkim make",
            "pillarbox help dns",
            "pillarbox serve",
            "pillarbox dns",
            "systemctl start pillarbox",
            "systemctl reload pillarbox",
            "timedatectl set-ntp true",
            "account restore",
            "starttls, implicit",
        ] {
            out = out.replace(command, "");
        }
        out
    }

    #[test]
    fn every_sentence_that_the_sources_have_is_there_in_russian() {
        let mut missing = Vec::new();
        let mut seen = 0;
        for text in SOURCES.into_iter().flat_map(literals) {
            let elsewhere = ELSEWHERE.iter().any(|it| text.contains(it));
            let filled = filled(&text);
            if elsewhere || !is_english(&filled) {
                continue;
            }
            seen += 1;
            for line in filled.lines() {
                let said = without_commands(&say(line, Language::Russian));
                // Notes of records stand behind a mark.
                let noted = without_commands(&say(&format!("; {line}"), Language::Russian));
                if is_english(&said) && is_english(&noted) {
                    missing.push(line.to_string());
                }
            }
        }
        assert!(missing.is_empty(), "{missing:#?}");
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn phrases_have_the_same_places_in_both_languages() {
        for (n, it) in PHRASES.iter().enumerate() {
            let count = |text: &str| text.matches("{}").count();
            // The number of a system's error helps nobody.
            let same = count(it.english) == count(it.russian) || it.english.contains("os error");
            assert!(same, "{}", it.english);
            assert!(PHRASES[..n].iter().all(|known| known.english != it.english));
        }
    }

    #[test]
    fn sentences_are_said_with_what_they_hold() {
        let said = |text: &str| say(text, Language::Russian);
        assert_eq!(said("there is no account a@b.test"), "ящика a@b.test нет");
        assert_eq!(
            said("x@y@z: this is not a domain name"),
            "x@y@z: это не имя домена"
        );
        assert_eq!(
            said(
                "FAIL  imap               12 ms  port 143: no connection: Connection refused (os error 111)"
            ),
            "НЕТ  imap               12 мс  порт 143: соединения нет: соединение отвергнуто"
        );
        assert_eq!(said("550 5.1.1 nobody is here"), "550 5.1.1 nobody is here");
        assert_eq!(say("it is so", Language::English), "it is so");
        assert_eq!(
            say_lines("no answer\n\nx", Language::Russian),
            "ответа нет\n\nx\n"
        );
        // However deep it goes, it ends.
        say(&"a: ".repeat(10_000), Language::Russian);
    }

    #[test]
    fn what_reads_in_too_many_ways_stays_as_it_is() {
        let each = "it says: a, no mail is taken: b ms c: d; e, that is little: f is over: g; ";
        let many = each.repeat(MAX_LENGTH / each.len());
        assert_eq!(say(&many, Language::Russian), many);
        // One of ours with as many parts as any has leaves the most of it.
        let ours = "  FAIL  imap               12 ms  port 143: no connection: it says: \
                    the storage failed: no answer: Connection refused (os error 111)";
        let left = Cell::new(MAX_READINGS);
        reading(ours.trim_start(), Language::Russian, DEPTH, &left);
        assert!(left.get() > MAX_READINGS / 2, "{}", left.get());
    }
}
