"""Alerts by mail against a real SMTP server (aiosmtpd), with and without TLS and authentication.

Every case starts `panelsync serve` with other settings of its mail server, and looks at what arrived there and at what
`panelsync alert ls`, `alert test` and `doctor` say: what arrives whole, what is refused for now and tried again, what is
refused for good and said, whose certificate is not trusted, and that no password is told to anybody.

usage: check.py PANELSYNC
"""

import email
import email.policy
import json
import logging
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

PANELSYNC = str(pathlib.Path(sys.argv[1]).resolve())
ADMIN = "admin-password"
USER, PASSWORD = "alerts@example.org", "correct horse battery staple"
PATIENCE = 60

logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # that a client breaks off is what is tried here
logging.getLogger("mail.debug").setLevel(logging.CRITICAL)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Mailbox:
    """What a server was handed, and what it refuses."""

    def __init__(self):
        self.mails = []
        self.refusals = {}  # by address, answers that are given first

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refusals.get(address):
            return self.refusals[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((mail, list(envelope.rcpt_tos), session.ssl is not None, session.authenticated))
        return "250 taken"


def authenticator(server, session, envelope, mechanism, data):
    good = data.login == USER.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=good, handled=False) if not good else AuthResult(success=True)


class Server:
    """A mail server while it is there."""

    def __init__(self, **settings):
        self.box, self.port = Mailbox(), free_port()
        self.controller = Controller(self.box, hostname="127.0.0.1", port=self.port, **settings)

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_):
        self.controller.stop()


class Raw:
    """One that speaks no SMTP: it says this, and then nothing, or goes on for ever."""

    def __init__(self, says, endless=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, args=(says, endless), daemon=True).start()

    def serve(self, says, endless):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.speak, args=(stream, says, endless), daemon=True).start()

    def speak(self, stream, says, endless):
        try:
            stream.sendall(says)
            while endless:
                stream.sendall(b"x" * 65536)
            time.sleep(PATIENCE)
        except OSError:
            pass


class Panelsync:
    """The server in a folder that is kept between the cases."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.log = open(folder / "log", "wb")

    def environment(self, password=None):
        given = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "RUST_LOG": "debug"}
        given["PANELSYNC_ADMIN_PASSWORD"] = ADMIN
        given["PANELSYNC_SERVER"] = f"http://127.0.0.1:{self.port}"
        if password:
            given["PANELSYNC_SMTP_PASSWORD"] = password
        return given

    def flags(self, smtp):
        return ["--data-dir", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}", *smtp]

    def start(self, smtp, password=None):
        command = [PANELSYNC, "serve", "--alert-gather", "1ms", *self.flags(smtp)]
        self.process = subprocess.Popen(command, env=self.environment(password), stderr=self.log)
        until = time.time() + PATIENCE
        while subprocess.run([PANELSYNC, "login", "--username", "admin", "--password-stdin"], input=ADMIN, text=True,
                             env=self.environment(), capture_output=True).returncode != 0:
            assert time.time() < until and self.process.poll() is None, "panelsync does not start"
            time.sleep(0.1)
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *arguments, good=(0,)):
        ran = subprocess.run([PANELSYNC, "--output", "json", *arguments], env=self.environment(), text=True,
                             capture_output=True, timeout=PATIENCE)
        assert ran.returncode in good, (arguments, ran.returncode, ran.stdout, ran.stderr)
        return json.loads(ran.stdout) if ran.stdout else None

    def test(self, alert="mail"):
        return self.run("alert", "test", alert, good=(0, 1))

    def alert(self, name):
        return next(alert for alert in self.run("alert", "ls") if alert["name"] == name)

    def until(self, name, is_so):
        end = time.time() + PATIENCE
        while not is_so(self.alert(name)):
            assert time.time() < end, self.alert(name)
            time.sleep(0.1)
        return self.alert(name)

    def fail(self, number):
        """A batch that every panel refuses."""
        profile = {
            "link_id": f"91c615e3-1040-4815-8ecb-{number:012x}", "name": "Never",
            "time_options": {"is_all_day": False, "date_from": 1735804800, "date_to": 1735804800},
            "repeat_options": {"repeat_enable": False},
        }
        (self.folder / "bad.json").write_text(json.dumps([profile]))
        self.run("apply", "-f", str(self.folder / "bad.json"), "--all", good=(1,))

    def doctor(self, smtp, password=None):
        ran = subprocess.run([PANELSYNC, "--output", "json", "doctor", *self.flags(smtp)], text=True, timeout=PATIENCE,
                             env=self.environment(password), capture_output=True)
        return next(found for found in json.loads(ran.stdout) if found["check"] == "mail server")


def certificate(folder, name):
    """A certificate of its own for 127.0.0.1, and its key."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=mail", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def context(files):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    return made


def smtp(server, *further, scheme="smtp", user=""):
    at = f"{user.replace('@', '%40')}@" if user else ""
    return ["--smtp", f"{scheme}://{at}127.0.0.1:{server.port}", "--smtp-from", "panelsync <alerts@example.org>", *further]


def contains(said, *words):
    for word in words:
        assert word in said, said


def in_clear(panelsync, folder):
    with Server() as server, panelsync.start(smtp(server)):
        panelsync.run("panel", "add", "north-01", "--zone", "Europe/Kyiv")
        panelsync.run("alert", "add", "mail", "--mail", "ops@example.org", "night@example.org", "--on", "batch-failed")
        tested = panelsync.test()
        assert tested["sent"], tested
        contains(tested["said"], f"127.0.0.1:{server.port} took it")
        panelsync.fail(1)
        panelsync.until("mail", lambda alert: alert["sent"] == 1)
        assert [to for _, to, _, _ in server.box.mails] == [["ops@example.org"], ["night@example.org"]] * 2
        mail = server.box.mails[2][0]
        assert mail["subject"] == "[panelsync] 1 batch ended with failures", mail["subject"]
        assert mail["from"] == "panelsync <alerts@example.org>" and mail["auto-submitted"] == "auto-generated"
        assert mail["to"] == "ops@example.org, night@example.org" and mail["message-id"].endswith("@example.org>")
        assert mail["message-id"] == server.box.mails[3][0]["message-id"]
        assert abs(mail["date"].datetime.timestamp() - time.time()) < 300
        contains(mail.get_content(), "Batch ", "north-01 (", "`panelsync batch show ID --failed`", "panelsync alert rm mail")
        found = panelsync.doctor(smtp(server))
        assert found["verdict"] == "ok", found
    found = panelsync.doctor(smtp(server))
    assert found["verdict"] == "wrong" and "is not reached" in found["what"], found


def with_starttls(panelsync, folder):
    own, other = certificate(folder, "own"), certificate(folder, "other")
    settings = dict(tls_context=context(own), require_starttls=True, authenticator=authenticator, auth_required=True)
    with Server(**settings) as server:
        required = ["--smtp-tls", "required", "--smtp-ca-file", str(own[0])]
        given = smtp(server, *required, user=USER)
        with panelsync.start(given, PASSWORD):
            assert panelsync.test()["sent"]
            _, _, encrypted, authenticated = server.box.mails[0]
            assert encrypted and authenticated
            assert panelsync.doctor(given, PASSWORD)["verdict"] == "ok"
        count = len(server.box.mails)
        with panelsync.start(given, "wrong"):
            tested = panelsync.test()
            assert not tested["sent"], tested
            contains(tested["said"], f"does not let {USER} in", "535", "are user and password right?")
            found = panelsync.doctor(given, "wrong")
            assert found["verdict"] == "wrong" and "does not let" in found["what"], found
        with panelsync.start(smtp(server, *required)):
            contains(panelsync.test()["said"], "it says 530")
        with panelsync.start(smtp(server, "--smtp-tls", "required", "--smtp-ca-file", str(other[0]), user=USER), PASSWORD):
            contains(panelsync.test()["said"], "its certificate is not trusted", "--smtp-ca-file")
        assert len(server.box.mails) == count
    with Server() as server, panelsync.start(smtp(server, "--smtp-tls", "required")):
        contains(panelsync.test()["said"], "it offers no encryption (STARTTLS)")
        assert not server.box.mails


def with_tls_from_the_start(panelsync, folder):
    own = certificate(folder, "smtps")
    with Server(ssl_context=context(own), authenticator=authenticator, auth_require_tls=False) as server:
        with panelsync.start(smtp(server, "--smtp-ca-file", str(own[0]), scheme="smtps", user=USER), PASSWORD):
            assert panelsync.test()["sent"]
            assert server.box.mails[0][3]
        with panelsync.start(smtp(server, scheme="smtps", user=USER), PASSWORD):
            contains(panelsync.test()["said"], "its certificate is not trusted")
        with panelsync.start(smtp(server)):
            assert not panelsync.test()["sent"]  # it waits for TLS, and we for its greeting
        assert len(server.box.mails) == 2


def refused(panelsync, folder):
    with Server() as server, panelsync.start(smtp(server)):
        sent, failed = panelsync.alert("mail")["sent"], panelsync.alert("mail")["failed"]
        server.box.refusals["night@example.org"] = ["451 try again later"]
        panelsync.fail(2)
        waiting = panelsync.until("mail", lambda alert: alert["failing_since"])
        assert waiting["waiting"] == 1, waiting
        contains(waiting["last"]["said"], "night@example.org: it says 451", "try again later")
        panelsync.until("mail", lambda alert: alert["sent"] == sent + 1)
        # Who had it did not get it again.
        assert sorted(to for _, to, _, _ in server.box.mails) == [["night@example.org"], ["ops@example.org"]]
        server.box.refusals["ops@example.org"] = ["550 no such user here"]
        panelsync.fail(3)
        given_up = panelsync.until("mail", lambda alert: alert["failed"] == failed + 1)
        contains(given_up["last"]["said"], "given up: ops@example.org: it says 550", "no such user here")
        assert given_up["waiting"] == 0 and server.box.mails[-1][1] == ["night@example.org"]
        panelsync.fail(4)
        panelsync.until("mail", lambda alert: alert["sent"] == sent + 2)
        assert len(server.box.mails) == 5


def no_mail_server(panelsync, folder):
    for server, said in [
        (Raw(b""), "within 20s"),
        (Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "HTTP/1.1 400"),
        (Raw(b"220-", endless=True), "its reply does not end"),
        (Raw(b"220 ready\r\n250-x\r\n250 STARTTLS\r\n220 go\r\nthis is no TLS"), "TLS"),
    ]:
        with panelsync.start(smtp(server)):
            contains(panelsync.test()["said"], said)


def nothing_secret_is_told(panelsync, folder):
    with panelsync.start([]):
        hook = f"http://127.0.0.1:{free_port()}/TOKEN-IN-A-PATH?token=TOKEN-IN-A-QUERY"
        secret = panelsync.run("alert", "add", "hook", "--webhook", hook, "--on", "batch-failed")["secret"]
        assert not panelsync.test("hook")["sent"]
        panelsync.fail(9)
        panelsync.until("hook", lambda alert: alert["failing_since"])
        contains(panelsync.test()["said"], "this server has no mail server: start it with --smtp")
    log = (folder / "log").read_text(errors="replace")
    assert log and PASSWORD not in log and "wrong" not in [word.strip('"') for word in log.split()], "a password is logged"
    database = (folder / "data" / "panelsync.redb").read_bytes()
    for told in [PASSWORD, secret, secret.removeprefix("whsec_"), "TOKEN-IN"]:
        assert told not in log and told.encode() not in database, told
    for wrong, said in [
        (["--smtp", f"smtp://alerts:{PASSWORD.split()[0]}@127.0.0.1"], "without a password"),
        (["--smtp", "smtp://alerts@mail.example", "--smtp-from", "a@b.example"], "a password for its user"),
        (["--smtp", "smtp://mail.example"], "whom mails are from"),
        (["--smtp-from", "a@b.example"], "the mail server"),
        (["--smtp", "smtps://mail.example", "--smtp-from", "a@b.example", "--smtp-tls", "off"], "encrypted always"),
    ]:
        ran = subprocess.run([PANELSYNC, "serve", *panelsync.flags(wrong)], env=panelsync.environment(), text=True,
                             capture_output=True, timeout=PATIENCE)
        assert ran.returncode == 2, ran
        contains(ran.stderr, said)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        panelsync = Panelsync(folder)
        try:
            for case in [in_clear, with_starttls, with_tls_from_the_start, refused, no_mail_server, nothing_secret_is_told]:
                began = time.time()
                case(panelsync, folder)
                print(f"mail {case.__name__.replace('_', ' ')}: well, in {time.time() - began:.1f} s", flush=True)
        except BaseException:
            panelsync.log.flush()
            print("\n".join((folder / "log").read_text(errors="replace").splitlines()[-20:]), file=sys.stderr)
            raise


main()
