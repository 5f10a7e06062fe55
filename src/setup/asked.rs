//! The words of the questions: title, what it is about in two lines, help, choices.

use super::text::texts;

texts! {
    LANGUAGE: "Language", "Язык";
    LANGUAGE_ABOUT:
        "What this setup, the console and the server's own messages speak.\n\
         It does not concern the language of mail.",
        "На каком языке говорят эта настройка, консоль и сообщения сервера.\n\
         На язык писем это не влияет.";
    LANGUAGE_HELP:
        "Russian needs a terminal that shows UTF-8.",
        "Для русского нужен терминал, который показывает UTF-8.";
    ENGLISH: "English", "английский (English)";
    RUSSIAN: "Russian", "русский";

    NETWORK: "Network", "Сеть";
    NETWORK_ABOUT:
        "Most networks hand out addresses by themselves (DHCP). A fixed address is\n\
         for networks that don't, or where the router must forward ports to it.",
        "Обычно сеть сама выдаёт адреса (DHCP). Постоянный адрес нужен там,\n\
         где этого нет или где маршрутизатор перенаправляет на него порты.";
    NETWORK_HELP:
        "If you don't know, take dhcp. The router can be told to give this machine the\n\
         same address each time: look for static lease or address reservation there.",
        "Если не знаете, выберите dhcp. Чтобы адрес не менялся, его закрепляют\n\
         за машиной в маршрутизаторе: ищите там «резервирование адресов».";
    DHCP: "the network gives the address", "адрес выдаёт сеть";
    STATIC: "a fixed address", "постоянный адрес";

    ADDRESS: "Address", "Адрес";
    ADDRESS_ABOUT:
        "The fixed address of this machine, with the length of the network's prefix\n\
         behind a slash: 192.168.1.20/24.",
        "Постоянный адрес этой машины и через косую черту длина префикса сети:\n\
         192.168.1.20/24.";
    ADDRESS_HELP:
        "A netmask of 255.255.255.0 is /24. Take an address that the router does not\n\
         hand out to others. IPv6 is possible too: 2001:db8::20/64.",
        "Маска 255.255.255.0 — это /24. Возьмите адрес, который маршрутизатор\n\
         не выдаёт другим. Подойдёт и IPv6: 2001:db8::20/64.";
    GATEWAY: "Gateway", "Шлюз";
    GATEWAY_ABOUT:
        "The router's address in this network: whatever is not near goes by it.\n\
         It is in the same network as the address before.",
        "Адрес маршрутизатора в этой сети: через него идёт всё, что не рядом.\n\
         Он из той же сети, что и предыдущий адрес.";
    GATEWAY_HELP:
        "Often it is the first address of the network: 192.168.1.1. Other machines here\n\
         show theirs as the default gateway or router.",
        "Часто это первый адрес сети: 192.168.1.1. Другие компьютеры показывают его\n\
         в свойствах сети как основной шлюз.";
    SERVERS: "Name servers", "Серверы имён";
    SERVERS_ABOUT:
        "Who tells this machine the addresses of names (DNS): one to three, with\n\
         spaces between. The router often does it.",
        "Кто сообщает этой машине адреса по именам (DNS): от одного до трёх,\n\
         через пробел. Часто это делает сам маршрутизатор.";
    SERVERS_HELP:
        "Your provider's are better for a mail server than large public ones: some\n\
         lists of senders of junk mail give those no answer.",
        "Для почты серверы провайдера лучше больших общедоступных: тем не отвечают\n\
         некоторые списки рассыльщиков спама.";
    ZONE: "Time zone", "Часовой пояс";
    ZONE_ABOUT:
        "The region and city by whose time this machine keeps its logs, such as\n\
         Europe/London; or UTC.",
        "Регион и город, по времени которых машина ведёт журналы, например\n\
         Europe/Moscow; или UTC.";
    ZONE_HELP:
        "Messages carry a time zone of their own, so mail does not depend on it. Names\n\
         are those of the tz database: Asia/Tokyo, America/New_York.",
        "Письма несут собственный часовой пояс, поэтому почта от него не зависит.\n\
         Имена берутся из базы tz: Asia/Yekaterinburg, Europe/Kaliningrad.";

    HOST: "Host name", "Имя сервера";
    HOST_ABOUT:
        "The name by which mail programs and other servers reach this machine, such\n\
         as mail.example.org. It stands in the certificate and in the greeting.",
        "Имя, по которому машину находят почтовые программы и другие серверы,\n\
         например mail.example.org. Оно стоит в сертификате и в приветствии.";
    HOST_HELP:
        "Without a domain of your own take a name that ends in .home.arpa: mail then\n\
         stays within your network. The entry in DNS can be made later.",
        "Если своего домена нет, возьмите имя на .home.arpa: почта останется внутри\n\
         вашей сети. Запись в DNS можно сделать позже.";
    DOMAIN: "Mail domain", "Почтовый домен";
    DOMAIN_ABOUT:
        "What stands behind the @ of your mail addresses, such as example.org.\n\
         Often it is the host name without its first part.",
        "То, что стоит после @ в ваших почтовых адресах, например example.org.\n\
         Часто это имя сервера без первой части.";
    DOMAIN_HELP:
        "More domains can come later: an account with an address in another domain is\n\
         all it takes.",
        "Другие домены можно добавить позже: достаточно завести учётную запись\n\
         с адресом в новом домене.";
    SERVICES: "Services", "Службы";
    SERVICES_ABOUT:
        "What this server offers, with spaces between: imap and pop3 to read mail,\n\
         submission to send it, smtp to take it from other servers.",
        "Что предлагает сервер, через пробел: imap и pop3 — читать почту,\n\
         submission — отправлять её, smtp — принимать от других серверов.";
    SERVICES_HELP:
        "What you leave out has its ports closed until you want it: pillarbox settings\n\
         set pop3.enabled on. If you don't know, take them all.",
        "Порты того, что не названо, закрыты, пока вы не захотите иного:\n\
         pillarbox settings set pop3.enabled on. Если не знаете, берите все.";

    TLS: "Certificate", "Сертификат";
    TLS_ABOUT:
        "By it mail programs know this server. An authority of its own needs no\n\
         internet, but each device must be told once to trust it.",
        "По нему почтовые программы узнают сервер. Своему центру не нужен\n\
         интернет, но каждому устройству надо один раз велеть ему доверять.";
    TLS_HELP:
        "Programs trust a certificate of Let's Encrypt at once; for that the host name\n\
         must be in DNS and port 80 reachable. It can be chosen later as well.",
        "Сертификату Let's Encrypt программы верят сразу; для него имя сервера должно\n\
         быть в DNS, а порт 80 доступен снаружи. Его можно выбрать и позже.";
    LOCAL: "an authority of this server's own", "собственный центр сертификации сервера";
    OWN_FILES: "one that you have (PEM files)", "тот, что у вас есть (файлы PEM)";
    BY_ACME: "from Let's Encrypt, by ACME", "от Let's Encrypt, по протоколу ACME";
    PEM: "Certificate file", "Файл сертификата";
    PEM_ABOUT:
        "The file with your certificate and its chain, in PEM form: a path from /.\n\
         The server's user must be able to read it.",
        "Файл с вашим сертификатом и его цепочкой в формате PEM: путь от /.\n\
         Пользователь, от имени которого работает сервер, должен его читать.";
    PEM_HELP:
        "It begins with -----BEGIN CERTIFICATE-----; yours comes first, those of the\n\
         authorities follow.",
        "Он начинается со строки -----BEGIN CERTIFICATE-----; ваш сертификат первый,\n\
         за ним идут сертификаты центров.";
    KEY: "Key file", "Файл ключа";
    KEY_ABOUT:
        "The file with the private key of that certificate, in PEM form: a path\n\
         from /. Nobody but the server's user should be able to read it.",
        "Файл с закрытым ключом этого сертификата в формате PEM: путь от /.\n\
         Читать его должен только пользователь сервера.";
    KEY_HELP:
        "It begins with -----BEGIN PRIVATE KEY----- or the like, and has no passphrase.",
        "Он начинается со строки -----BEGIN PRIVATE KEY----- или похожей\n\
         и не защищён паролем.";
    CONTACT: "Contact of the certificate", "Контакт для сертификата";
    CONTACT_ABOUT:
        "Where Let's Encrypt may write to you; - gives no address. By going on you\n\
         agree to its terms: letsencrypt.org/repository.",
        "Куда может написать вам Let's Encrypt; - означает «без адреса». Продолжая,\n\
         вы принимаете его условия: letsencrypt.org/repository.";
    CONTACT_HELP:
        "An address that works while this server does not is the better one.",
        "Лучше адрес, который работает и тогда, когда этот сервер не работает.";

    ADMINISTRATOR: "Administrator's password", "Пароль администратора";
    ADMINISTRATOR_ABOUT:
        "It opens the console of this server, and no mailbox. At least 8 characters;\n\
         it is not shown, and asked for twice.",
        "Открывает консоль этого сервера, но ни один почтовый ящик. Не короче\n\
         8 знаков; при вводе не виден, вводится дважды.";
    ADMINISTRATOR_HELP:
        "Some words that have nothing to do with each other are easy to keep and hard\n\
         to guess. Whoever sits at the serial console can set another.",
        "Несколько не связанных друг с другом слов легко запомнить и трудно угадать.\n\
         Новый пароль может задать тот, кто сидит за последовательной консолью.";
    SSH: "Console by SSH", "Консоль по SSH";
    SSH_ABOUT:
        "SSH opens this machine's console from elsewhere in the network, and nothing\n\
         else: no shell, no files. It asks for the administrator's password too.",
        "SSH открывает консоль этой машины из сети, и только её: ни командной\n\
         строки, ни файлов. Пароль администратора консоль спросит и там.";
    SSH_HELP:
        "If you don't need it, leave it off: the serial console does the same. keys is\n\
         safer than password alone: nobody without your key comes so far.",
        "Если не нужно, оставьте off: последовательная консоль умеет то же самое.\n\
         keys надёжнее, чем password: без вашего ключа не войдёт никто.";
    SSH_OFF: "no SSH", "без SSH";
    SSH_KEYS: "for the owner of a key alone", "только для владельца ключа";
    SSH_PASSWORD: "for who knows the administrator's password",
        "для того, кто знает пароль администратора";
    SSH_KEY: "Your SSH key", "Ваш ключ SSH";
    SSH_KEY_ABOUT:
        "The public key of your computer, one line that begins with ssh-ed25519,\n\
         ecdsa-sha2-... or ssh-rsa: paste it whole.",
        "Открытый ключ вашего компьютера: одна строка, которая начинается с\n\
         ssh-ed25519, ecdsa-sha2-... или ssh-rsa. Вставьте её целиком.";
    SSH_KEY_HELP:
        "It is in .ssh/id_ed25519.pub of your home directory; ssh-keygen -t ed25519\n\
         makes one. More keys can be added later.",
        "Он в файле .ssh/id_ed25519.pub вашего домашнего каталога; создаёт его\n\
         ssh-keygen -t ed25519. Другие ключи можно добавить позже.";
    ACCOUNT: "First account", "Первая учётная запись";
    ACCOUNT_ABOUT:
        "The first mail address, such as anna; it is the name to log in with too.\n\
         What the server has to tell its owner comes here.",
        "Первый почтовый адрес, например anna; он же — имя для входа.\n\
         Сюда приходит и то, что сервер сообщает владельцу.";
    ACCOUNT_HELP:
        "Type the name alone or the whole address. pillarbox account add makes more\n\
         accounts later.",
        "Введите только имя или весь адрес. Остальные учётные записи позже заведёт\n\
         команда pillarbox account add.";
    PASSWORD: "Its password", "Пароль учётной записи";
    PASSWORD_ABOUT:
        "The password of that account, for mail programs. At least 8 characters;\n\
         it is not shown, and asked for twice.",
        "Пароль этой учётной записи, для почтовых программ. Не короче 8 знаков;\n\
         при вводе не виден, вводится дважды.";
    PASSWORD_HELP:
        "Only what verifies it is kept, so nobody can read it later. If it is lost,\n\
         pillarbox account password sets another.",
        "Хранится лишь то, чем пароль проверяют, поэтому прочесть его не сможет\n\
         никто. Новый задаёт команда pillarbox account password.";

    SENDING: "Mail to other servers", "Почта на другие серверы";
    SENDING_ABOUT:
        "How mail leaves here. At home port 25 is often closed, or what comes from\n\
         there is refused: then mail goes by a provider's server.",
        "Как почта уходит отсюда. В домашних сетях порт 25 часто закрыт или письма\n\
         оттуда отвергают: тогда почта идёт через сервер провайдера.";
    SENDING_HELP:
        "smarthost needs an account at a provider that sends mail for your domain. With\n\
         none, mail stays between the accounts of this server.",
        "Для smarthost нужна учётная запись у провайдера, который отправит почту\n\
         вашего домена. При none письма ходят только между учётными записями здесь.";
    DIRECT: "straight to the servers of its recipients", "прямо на серверы получателей";
    SMARTHOST: "by a provider's server", "через сервер провайдера";
    NOWHERE: "not at all: only between accounts here", "никак: только внутри сервера";
    RELAY_HOST: "Provider's server", "Сервер провайдера";
    RELAY_HOST_ABOUT:
        "The server that takes your mail, such as smtp.example.net. Its help pages\n\
         call it SMTP server or server for outgoing mail.",
        "Сервер, который принимает вашу почту, например smtp.example.net. В справке\n\
         провайдера это сервер исходящей почты, или SMTP.";
    RELAY_HOST_HELP:
        "Its certificate must hold for this name, so take the name that the provider\n\
         gives and no address.",
        "Его сертификат должен быть выдан на это имя, поэтому берите имя, которое\n\
         называет провайдер, а не адрес.";
    RELAY_PORT: "Its port", "Его порт";
    RELAY_PORT_ABOUT:
        "587 is usual where TLS comes after the greeting, 465 where it comes first.\n\
         Port 25 is seldom open to customers.",
        "Обычно 587, если TLS начинается после приветствия, и 465, если сразу.\n\
         Порт 25 для клиентов открыт редко.";
    RELAY_PORT_HELP:
        "Take what the provider writes. If both are named, 465 is the better one.",
        "Берите тот, что указал провайдер. Если названы оба, лучше 465.";
    RELAY_TLS: "Its TLS", "Шифрование";
    RELAY_TLS_ABOUT:
        "How the way there is encrypted. Neither mail nor password crosses a network\n\
         in clear: none is for a server on this machine.",
        "Как шифруется путь туда. Ни письма, ни пароль не идут по сети открыто:\n\
         none годится только для сервера на этой же машине.";
    RELAY_TLS_HELP:
        "Port 465 goes with implicit, port 587 with starttls.",
        "Порту 465 соответствует implicit, порту 587 — starttls.";
    STARTTLS: "after the greeting", "после приветствия";
    IMPLICIT: "from the first byte", "с первого байта";
    NO_TLS: "none", "без шифрования";
    RELAY_USER: "User name there", "Имя для входа туда";
    RELAY_USER_ABOUT:
        "The name to log in with at the provider, often a whole mail address.\n\
         A - means that it wants no login.",
        "Имя, под которым сервер входит к провайдеру, часто полный адрес.\n\
         Знак - означает, что входить не нужно.";
    RELAY_USER_HELP:
        "It is what you would enter in a mail program for outgoing mail.",
        "Это то, что указывают в почтовой программе для исходящей почты.";
    RELAY_PASSWORD: "Password there", "Пароль для входа туда";
    RELAY_PASSWORD_ABOUT:
        "The password for that name; it is not shown. Some providers want an app\n\
         password here, made on their web pages.",
        "Пароль для этого имени; при вводе не виден. Некоторые провайдеры требуют\n\
         пароль приложения, который создают на их сайте.";
    RELAY_PASSWORD_HELP:
        "The server keeps it as it is, since it has to show it to the provider; only\n\
         the server's user can read it.",
        "Сервер хранит его как есть, ведь его надо предъявлять провайдеру;\n\
         прочесть его может только пользователь сервера.";
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_text_is_there_in_both_languages() {
        crate::setup::text::prove(super::ALL);
    }
}
