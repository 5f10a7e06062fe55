"""What mail goes out to in tests, all on loopback: a server that takes mail or misbehaves as told, a
web server for MTA-STS, certificates, Postfix."""

import hashlib
import http.server
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time

class Authority:
    """Makes certificates by openssl: `ca.pem`, and for each name a PEM of key and chain."""

    def __init__(self, directory):
        self.directory = directory
        self.ca, self.key = self.path("ca.pem"), self.path("ca.key")
        self.run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", self.key, "-out", self.ca, "-days", "30", "-subj", "/CN=test authority",
        )

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self, *words):
        subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def certificate(self, name):
        """PEM file of key and certificate for a host."""
        key, request, cert, both = (self.path(name + end) for end in (".key", ".csr", ".crt", ".pem"))
        if not os.path.exists(both):
            self.run(
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", key, "-out", request, "-subj", "/CN=" + name,
            )
            with open(self.path("ext"), "w") as f:
                f.write("subjectAltName=DNS:" + name)
            self.run(
                "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial",
                "-out", cert, "-days", "30", "-extfile", self.path("ext"),
            )
            with open(both, "wb") as f:
                for part in (key, cert, self.ca):
                    with open(part, "rb") as source:
                        f.write(source.read())
        return both

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(name))
        return context

    def spki_sha256(self, name):
        """What a TLSA record 3 1 1 has."""
        self.certificate(name)
        public = subprocess.run(
            ["openssl", "x509", "-in", self.path(name + ".crt"), "-noout", "-pubkey"], check=True, capture_output=True
        ).stdout
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True, capture_output=True
        ).stdout
        return hashlib.sha256(der).digest()


class Taken:
    """One message that a peer took."""

    def __init__(self, mail, rcpts, body, tls, login):
        self.mail, self.rcpts, self.body, self.tls, self.login = mail, rcpts, body, tls, login


class Peer:
    """A mail server on port 25 of a loopback address. `extensions` are EHLO's; `replies` maps a
    verb, or a whole line, to another reply; a connection is dropped at the verb `drop`, or stalls
    at the verb `stall`; "." is the end of the message. `garbage` is said in place of the greeting. A
    message has `room` for so many recipients."""

    def __init__(self, ip, extensions=(), tls=None, replies=(), drop=None, stall=None, garbage=None, port=25, room=1000):
        self.extensions, self.tls, self.replies, self.drop = list(extensions), tls, dict(replies), drop
        self.stall, self.garbage, self.room = stall, garbage, room
        self.taken, self.connections, self.lines = [], 0, []
        peer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                peer.connections += 1
                try:
                    peer.talk(self.request)
                except (OSError, EOFError):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in ip else socket.AF_INET

        self.server = Server((ip, port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def talk(self, sock):
        sock.settimeout(60)
        tls, mail, rcpts = False, None, []
        read = sock.makefile("rb")
        say = lambda text: sock.sendall(text.encode() + b"\r\n")
        say(self.garbage or "220 peer.test ESMTP")
        while True:
            line = read.readline()
            if not line:
                return
            line = line.decode("utf-8").rstrip("\r\n")
            verb = line.split(" ")[0].upper()
            self.lines.append(line)
            if self.drop == verb:
                return
            if self.stall == verb:
                time.sleep(60)
                return
            reply = self.replies.get(line) or self.replies.get(verb)
            if reply and not (verb == "RCPT" and not line.upper().startswith("RCPT")):
                say(reply)
                continue
            if verb == "EHLO":
                words = ["peer.test", *self.extensions] + (["STARTTLS"] if self.tls and not tls else [])
                say("\r\n".join("250%s%s" % (" " if n + 1 == len(words) else "-", word) for n, word in enumerate(words)))
            elif verb == "STARTTLS" and self.tls:
                say("220 go")
                if self.tls == "broken":
                    sock.sendall(b"no TLS at all\r\n")
                    return
                sock = self.tls.wrap_socket(sock, server_side=True)
                read, tls = sock.makefile("rb"), True
                say = lambda text: sock.sendall(text.encode() + b"\r\n")
            elif verb in ("HELO", "RSET", "NOOP"):
                mail, rcpts = None, []
                say("250 ok")
            elif verb == "MAIL":
                mail, rcpts = line, []
                say("250 ok")
            elif verb == "RCPT" and len(rcpts) >= self.room:
                say("452 4.5.3 too many recipients")
            elif verb == "RCPT":
                rcpts.append(line)
                say("250 ok")
            elif verb in ("DATA", "BDAT"):
                if verb == "BDAT":
                    body = read.read(int(line.split(" ")[1]))
                else:
                    say("354 go")
                    lines = []
                    while (part := read.readline()) != b".\r\n":
                        if not part:
                            return
                        lines.append(part[1:] if part.startswith(b".") else part)
                    body = b"".join(lines)
                if self.drop == ".":
                    return
                if self.stall == ".":
                    time.sleep(60)
                    return
                reply = self.replies.get(".")
                if not reply:
                    self.taken.append(Taken(mail, rcpts, body, tls, None))
                say(reply or "250 2.0.0 taken")
                mail, rcpts = None, []
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("502 what")


class Web:
    """HTTPS on port 443 of a loopback address, which gives one text under MTA-STS's path."""

    def __init__(self, ip, context, text):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                good = self.path == "/.well-known/mta-sts.txt"
                self.send_response(200 if good else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *words):
                pass

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer((ip, 443), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Postfix:
    """Debian's Postfix on port 25 of a loopback address, with everything of its own in a temporary
    directory; mail for `domain` lands there, a file a message."""

    def __init__(self, ip, domain, certificate=None, settings=()):
        self.base = tempfile.mkdtemp(prefix="postfix-")
        os.chmod(self.base, 0o755)
        self.config = os.path.join(self.base, "config")
        self.mail = os.path.join(self.base, "mail")
        for path in (self.config, self.mail, os.path.join(self.base, "queue"), os.path.join(self.base, "data")):
            os.mkdir(path)
        shutil.chown(os.path.join(self.base, "data"), "postfix")
        shutil.chown(self.mail, "nobody", "nogroup")
        for name in ("postfix-files", "dynamicmaps.cf"):
            if os.path.exists("/etc/postfix/" + name):
                shutil.copy("/etc/postfix/" + name, self.config)
        shutil.copy("/usr/share/postfix/master.cf.dist", os.path.join(self.config, "master.cf"))
        lines = {
            "compatibility_level": "3.6",
            "queue_directory": os.path.join(self.base, "queue"),
            "data_directory": os.path.join(self.base, "data"),
            "maillog_file": os.path.join(self.base, "mail.log"),
            "maillog_file_prefixes": self.base,
            # The address is in master.cf: this wants to see it on an interface.
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "myhostname": "postfix." + domain,
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "smtpd_recipient_restrictions": "permit_auth_destination, reject",
            "smtpd_relay_restrictions": "permit_auth_destination, reject",
            "virtual_mailbox_domains": domain,
            "virtual_mailbox_base": self.mail,
            "virtual_mailbox_maps": "static:all/",
            "virtual_uid_maps": "static:65534",
            "virtual_gid_maps": "static:65534",
            "virtual_minimum_uid": "100",
            "smtputf8_enable": "yes",
            **dict(settings),
        }
        if certificate:
            lines.update({"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": certificate})
            lines["smtpd_tls_received_header"] = "yes"
        with open(os.path.join(self.config, "main.cf"), "w") as f:
            f.writelines(f"{key} = {value}\n" for key, value in lines.items())
        with open(os.path.join(self.config, "master.cf")) as f:
            lines = [line.split() for line in f if line[:1].isalpha()]
        # Nothing in a chroot: the queue has none of the files for it.
        text = "\n".join(" ".join([*words[:4], "n", *words[5:]]) for words in lines).replace("smtp inet", f"{ip}:25 inet", 1)
        if "postlog" not in text:
            text += "\npostlog unix-dgram n - n - 1 postlogd\n"
        with open(os.path.join(self.config, "master.cf"), "w") as f:
            f.write(text + "\n")
        started = subprocess.run(["postfix", "-c", self.config, "start"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if started.returncode:
            raise AssertionError(started.stdout.decode() + self.log())
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((ip, 25), 5).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise AssertionError(self.log())
                time.sleep(0.1)

    def log(self):
        try:
            with open(os.path.join(self.base, "mail.log")) as f:
                return f.read()
        except OSError:
            return ""

    def messages(self):
        found = []
        for directory, _, names in os.walk(os.path.join(self.mail, "all", "new")):
            for name in names:
                with open(os.path.join(directory, name), "rb") as f:
                    found.append(f.read())
        return found

    def stop(self):
        subprocess.run(["postfix", "-c", self.config, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.base, ignore_errors=True)
