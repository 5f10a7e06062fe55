"""mutt, scripted: reads, flags, deletes, saves to a folder, by IMAP and POP3, and sends."""

import os

import harness
from harness import DOMAIN, PASSWORD, ServerCase, message


class Mutt(ServerCase):
    def setUp(self):
        self.server.empty("alice")

    def config(self, *lines, user="alice"):
        cache = os.path.join(self.work, f"cache-{self.id()}")
        os.makedirs(cache, exist_ok=True)
        return self.file(
            "muttrc",
            "\n".join(
                (
                    f'set certificate_file="{self.server.ca}"',
                    "set ssl_starttls=yes",
                    "set ssl_force_tls=yes",
                    f'set imap_user={user} imap_pass="{PASSWORD}"',
                    f'set pop_user={user} pop_pass="{PASSWORD}"',
                    f'set smtp_pass="{PASSWORD}"',
                    f'set from={user}@{DOMAIN} realname="The {user}"',
                    "set use_domain=no",
                    "set quit=yes",
                    "set move=no",
                    "set delete=yes",
                    "set confirmappend=no confirmcreate=no",
                    "set resolve=no",
                    "set wait_key=no",
                    "set timeout=5",
                    f'set header_cache="{cache}"',
                    "set copy=no",
                    "set beep=no",
                    "set auto_tag=no",
                    f"set tmpdir={self.work}",
                    # Reads the file, never the terminal.
                    'set pager="cat >/dev/null"',
                    "set prompt_after=no",
                    *lines,
                )
            )
            + "\n",
        )

    def drive(self, url, keys, *lines):
        """Opens a mailbox, types `keys` (mutt's own syntax) and ends."""
        config = self.config(*lines)
        # mutt wants a terminal; script(1) gives it one.
        command = f"mutt -F {config} -f '{url}' -e 'push \"{keys}<quit>\"'"
        return self.run_client("script", "-qec", command, "/dev/null", env={"TERM": "xterm"}, timeout=60)

    def imap_url(self, service="imaps", folder="INBOX"):
        return f"{service}://alice@localhost:{self.server.port(service)}/{folder}"

    def flags(self, folder="INBOX"):
        client = self.server.imap("alice")
        client.select(folder, readonly=True)
        found = [
            set(harness.imaplib.ParseFlags(it)) - {b"\\Recent"}
            for it in client.fetch("1:*", "(FLAGS)")[1]
            if it
        ]
        client.logout()
        return found

    def test_imap_read_flag_delete_save(self):
        self.server.append("alice", "INBOX", [message(n) for n in range(5)])
        self.drive(
            self.imap_url(),
            # Reads 1, flags 2, deletes 3, saves 4 into a new folder, leaves 5.
            "1<enter><display-message>2<enter><flag-message>3<enter><delete-message>"
            f"4<enter><save-message><kill-line>{self.imap_url(folder='Kept')}<enter>",
        )
        self.assertEqual(self.server.bodies("alice"), [message(0), message(1), message(4)])
        self.assertEqual(self.server.bodies("alice", "Kept"), [message(3)])
        flags = self.flags()
        self.assertIn(b"\\Seen", flags[0])
        self.assertIn(b"\\Flagged", flags[1])
        self.assertNotIn(b"\\Flagged", flags[2])

    def test_imap_starttls_search_and_tag(self):
        self.server.append("alice", "INBOX", [message(n) for n in range(6)])
        self.drive(self.imap_url("imap"), "<tag-pattern>~s 4<enter><tag-prefix><delete-message>")
        self.assertEqual(self.server.bodies("alice"), [message(n) for n in (0, 1, 2, 3, 5)])

    def test_pop3_read_and_delete(self):
        self.server.append("alice", "INBOX", [message(n) for n in range(4)])
        for service in ("pops", "pop"):
            port = self.server.port("pop3s" if service == "pops" else "pop3")
            self.drive(
                f"{service}://alice@localhost:{port}/",
                "1<enter><display-message><delete-message>",
                "set pop_delete=yes",
            )
        self.assertEqual(self.server.bodies("alice"), [message(2), message(3)])

    def test_send_by_smtp_with_attachment(self):
        attachment = self.file("figures.csv", "a,b\n1,2\n")
        for scheme, service in (("smtp", "submission"), ("smtps", "submissions")):
            config = self.config(
                f'set smtp_url="{scheme}://bob@localhost:{self.server.port(service)}/"', user="bob"
            )
            self.run_client(
                "mutt",
                "-F",
                config,
                "-s",
                "Grüße von mutt",
                "-a",
                attachment,
                "--",
                f"alice@{DOMAIN}",
                stdin="Schöne Grüße.\n",
                timeout=60,
            )
        got = self.server.bodies("alice")
        self.assertEqual(len(got), 2)
        for data in got:
            self.assertIn(b"figures.csv", data)
            self.assertRegex(data.lower(), rb"subject: =\?(utf-8|iso-8859-1)\?")

    def send(self, to, *lines, bcc=None):
        """Sends a message as bob."""
        port = self.server.port("submissions")
        config = self.config(f'set smtp_url="smtps://bob@localhost:{port}/"', *lines, user="bob")
        options = ("-b", bcc) if bcc else ()
        self.run_client("mutt", "-F", config, "-s", "x", *options, "--", *to.split(), stdin="Hello.\n", timeout=60)

    def sent(self):
        """How many are in bob's Sent; all have to be \\Seen."""
        client = self.server.imap("bob")
        count = int(client.select("Sent", readonly=True)[1][0])
        seen = client.search(None, "SEEN")[1][0].split()
        client.logout()
        self.assertEqual(len(seen), count)
        return count

    def test_sent_copy_is_filed_once_by_the_server(self):
        for mailbox in ("INBOX", "Sent"):
            self.server.empty("bob", mailbox)
        self.server.cli("account", "set", f"bob@{DOMAIN}", "sent-copy", "on")
        try:
            self.send(f"alice@{DOMAIN}")
            self.assertEqual(self.sent(), 1)
            # Whoever it is for, it is one; and who is among them gets it in INBOX too.
            self.send(f"alice@{DOMAIN} carol@{DOMAIN}", bcc=f"bob@{DOMAIN}")
            self.assertEqual(self.sent(), 2)
            (own,) = self.server.bodies("bob")
            copies = self.server.bodies("bob", "Sent")
            self.assertEqual(own, copies[1])
            self.assertNotIn(b"\r\nBcc:", copies[1])
            # A program that files its own makes a second one, as the manual says.
            folder = f"imaps://bob@localhost:{self.server.port('imaps')}/Sent"
            self.send(f"alice@{DOMAIN}", "set copy=yes", f'set record="{folder}"')
            self.assertEqual(self.sent(), 4)
        finally:
            self.server.cli("account", "set", f"bob@{DOMAIN}", "sent-copy", "off")
        self.send(f"alice@{DOMAIN}")
        self.assertEqual(self.sent(), 4)


if __name__ == "__main__":
    harness.main()
