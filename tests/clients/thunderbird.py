"""Thunderbird, under Xvfb: reads, flags, files and sends over IMAP, and fetches by POP3."""

import base64
import json
import os
import shutil
import ssl
import subprocess

import harness
from harness import DOMAIN, HERE, PASSWORD, ServerCase, message, wait_for

INSTALLED = "/usr/lib/thunderbird"
# What a first start would ask or look up elsewhere.
PREFERENCES = {
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mail.rights.version": 1,
    "mailnews.start_page.enabled": False,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "app.donation.eoy.version.viewed": 999,
    "network.manage-offline-status": False,
    "network.online": True,
    "offline.autoDetect": False,
    "network.proxy.type": 0,
}
# nsMsgSocketType.
STARTTLS, TLS = 2, 3
# For one run of it.
SECONDS = "180"


class Thunderbird(ServerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A copy by links, with the file in it that makes it run ours.
        cls.program = os.path.join(cls.work, "thunderbird")
        subprocess.run(["cp", "-rs", INSTALLED, cls.program], check=True)
        for name in ("thunderbird", "thunderbird-bin"):
            os.unlink(os.path.join(cls.program, name))
            shutil.copy(os.path.join(INSTALLED, name), cls.program)
        with open(os.path.join(cls.program, "defaults", "pref", "pillarbox.js"), "w") as f:
            f.write('pref("general.config.filename", "pillarbox.cfg");\n')
            f.write('pref("general.config.obscure_value", 0);\n')
            f.write('pref("general.config.sandbox_enabled", false);\n')
        shutil.copy(os.path.join(HERE, "thunderbird.cfg.js"), os.path.join(cls.program, "pillarbox.cfg"))

    def setUp(self):
        self.server.empty("alice")
        bodies = [message(n, subject=s) for n, s in enumerate(("first", "second", "third"))]
        bodies.append(message(9, subject="=?utf-8?B?0J/QuNGB0YzQvNC+?="))
        self.server.append("alice", "INBOX", bodies)

    def drive(self, kind, socket):
        """Runs it to its end; what it said."""
        profile = os.path.join(self.work, self.id())
        os.makedirs(profile)
        with open(os.path.join(profile, "user.js"), "w") as f:
            for name, value in PREFERENCES.items():
                f.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
        result = os.path.join(profile, "result")
        sent = (
            f"From: Alice Meyer <alice@{DOMAIN}>\r\nTo: alice@{DOMAIN}\r\nSubject: sent by Thunderbird\r\n"
            "Date: Mon, 2 Feb 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=UTF-8\r\n\r\nHello from a mail program.\r\n"
        )
        with open(self.server.ca) as f:
            authority = base64.b64encode(ssl.PEM_cert_to_DER_cert(f.read())).decode()
        plain = socket == STARTTLS
        environment = {
            "PB_RESULT": result,
            "PB_CA": authority,
            "PB_KIND": kind,
            "PB_USER": f"alice@{DOMAIN}",
            "PB_PASSWORD": PASSWORD,
            "PB_SOCKET": str(socket),
            "PB_IMAP": str(self.server.port("imap" if plain else "imaps")),
            "PB_POP": str(self.server.port("pop3" if plain else "pop3s")),
            "PB_SUBMISSION": str(self.server.port("submission" if plain else "submissions")),
            "PB_COUNT": "4",
            "PB_MESSAGE": self.file("sent.eml", sent),
        }
        command = ["timeout", SECONDS, "xvfb-run", "-a", os.path.join(self.program, "thunderbird"), "--no-remote", "--profile", profile]
        done = self.run_client(*command, status=None, timeout=300, env=environment)
        self.assertTrue(os.path.exists(result), f"it did not begin:\n{done.stdout[-2000:]}")
        with open(result, encoding="utf-8") as f:
            said = [json.loads(line) for line in f]
        self.assertEqual(said[-1], ["done"], f"{said}\n{self.server.log_tail()}")
        return {line[0]: line[1:] for line in said}

    def uses_imap(self, socket):
        said = self.drive("imap", socket)
        names = ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
        self.assertEqual([it.upper() for it in said["folders"][0] if it != "Büro"], [it.upper() for it in names])
        self.assertEqual(said["uses"], [["Sent", "Drafts", "Trash", "Junk", "Archive"]])
        self.assertEqual(said["subjects"], [["first", "second", "third", "Письмо"]])
        self.assertIn("offline", said)
        self.assertEqual(said["moved"], [["third"]])
        # What it did, seen by another.
        client = self.server.imap("alice")
        client.select("INBOX", readonly=True)
        for key, subject in (("SEEN", "first"), ("FLAGGED", "second")):
            found = lambda: client.search(None, key, "SUBJECT", subject)[1][0].split()
            wait_for(lambda: len(found()) == 1, message=f"{subject} is not {key}")
        self.assertEqual(client.search(None, "SUBJECT", "third")[1], [b""])
        for mailbox in ("INBOX", "Sent"):
            client.select(mailbox, readonly=True)
            found = lambda: client.search(None, "SUBJECT", '"sent by Thunderbird"')[1][0].split()
            wait_for(lambda: len(found()) == 1, message=f"it is not in {mailbox}")
        for mailbox in ("Sent", '"B&APw-ro"'):
            client.select(mailbox)
            client.store("1:*", "+FLAGS.SILENT", "\\Deleted")
            client.expunge()
        client.close()
        client.delete('"B&APw-ro"')
        client.logout()

    def test_imap_over_tls(self):
        self.uses_imap(TLS)

    def test_imap_with_starttls(self):
        self.uses_imap(STARTTLS)

    def test_pop3_leaves_messages_and_fetches_none_twice(self):
        said = self.drive("pop3", TLS)
        wanted = ["first", "second", "third", "Письмо"]
        self.assertEqual(said["first"], [wanted])
        self.assertEqual(said["again"], [wanted])
        self.assertEqual(len(self.server.bodies("alice")), 4)


if __name__ == "__main__":
    harness.main()
