"""Debian's Dovecot, private, on loopback: the oracle of the differential test, and the
stand-in for pillarbox that tells a wrong IMAP or POP3 test from a wrong server."""

import grp
import os
import pwd
import shutil
import subprocess
import tempfile

from harness import DOMAIN, USERS, Server

CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
mail_location = {format}:{dir}/mail/%n
mail_home = {dir}/home/%n
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {internal_group}
protocols = imap pop3
ssl = yes
ssl_cert = <{dir}/server.pem
ssl_key = <{dir}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-256
auth_username_format = %Ln
auth_failure_delay = 0
mail_max_userip_connections = 100
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%n {dir}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={dir}/home/%n
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Archive {{
    auto = subscribe
    special_use = \\Archive
  }}
  mailbox Drafts {{
    auto = subscribe
    special_use = \\Drafts
  }}
  mailbox Junk {{
    auto = subscribe
    special_use = \\Junk
  }}
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = subscribe
    special_use = \\Trash
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3}
  }}
  inet_listener pop3s {{
    address = 127.0.0.1
    port = {pop3s}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class Dovecot(Server):
    """The same interface as the server under test, as far as IMAP and POP3 go."""

    format = "maildir"

    def start(self):
        self.log = os.path.join(self.directory, "dovecot.log")
        self.prepare()
        # -F keeps it in the foreground, so that it ends with the test.
        self.process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", os.path.join(self.directory, "dovecot.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_ready()
        return self

    def wait_ready(self):
        from harness import READY_SECONDS, wait_for

        for service in ("imap", "pop3", "imaps"):
            wait_for(lambda: self.greets(service), READY_SECONDS, message=f"{service} does not greet")

    def prepare(self):
        os.chmod(self.directory, 0o755)
        if not os.path.exists(self.ca):
            self.make_certificate()
        # As root the mail belongs to an ordinary user, whom Dovecot insists on.
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        for name in ("mail", "home"):
            path = os.path.join(self.directory, name)
            os.makedirs(path, exist_ok=True)
            os.chown(path, user.pw_uid, user.pw_gid)
        with open(os.path.join(self.directory, "users"), "w") as f:
            for name in USERS:
                f.write(f"{name}:{{PLAIN}}{self.password}\n")
        ports = {name: self.port(name) for name in ("imap", "imaps", "pop3", "pop3s")}
        with open(os.path.join(self.directory, "dovecot.conf"), "w") as f:
            f.write(
                CONFIG.format(
                    dir=self.directory,
                    user=user.pw_uid,
                    group=user.pw_gid,
                    format=self.format,
                    **daemons(user),
                    **ports,
                )
            )

    def make_certificate(self):
        key = os.path.join(self.directory, "server.key")
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                key,
                "-out",
                self.ca,
                "-days",
                "2",
                "-subj",
                f"/CN={DOMAIN}",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                # A server's own, not an authority's: rustls tells them apart.
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
            check=True,
            capture_output=True,
        )
        shutil.copy(self.ca, os.path.join(self.directory, "server.pem"))

    def log_text(self):
        return open(self.log, errors="replace").read() if os.path.exists(self.log) else ""

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def daemons(user):
    """Whom Dovecot's own processes run as: its users if it may change to them, else ours."""
    if os.geteuid() == 0:
        return {"login": "dovenull", "internal": "dovecot", "internal_group": "dovecot"}
    return {
        "login": user.pw_name,
        "internal": user.pw_name,
        "internal_group": grp.getgrgid(user.pw_gid).gr_name,
    }


PROXY = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/dovecot.log
default_login_user = {login}
default_internal_user = {internal}
default_internal_group = {internal_group}
protocols = lmtp
ssl = no
lmtp_proxy = yes
first_valid_uid = 0
passdb {{
  driver = static
  args = proxy=y host=127.0.0.1 port={to} nopassword=y
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class LmtpProxy:
    """Dovecot takes mail by LMTP on `port` and hands all of it on, by LMTP, to port `to`."""

    def __init__(self, port, to):
        self.directory = tempfile.mkdtemp(prefix="dovecot-")
        os.chmod(self.directory, 0o755)
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        config = os.path.join(self.directory, "dovecot.conf")
        with open(config, "w") as f:
            f.write(PROXY.format(dir=self.directory, port=port, to=to, **daemons(user)))
        self.process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", config],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def log_text(self):
        with open(os.path.join(self.directory, "dovecot.log"), errors="replace") as f:
            return f.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)
