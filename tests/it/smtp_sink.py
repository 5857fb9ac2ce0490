"""An SMTP server for tests: prints its port, then every mail that it takes as one line of JSON.

later@…     is put off at RCPT (451)
refused@…   is refused at RCPT (550)
full@…      is refused after the data (552)
silent@…    is never confirmed: the connection closes after the data

Options: --tls starttls|tls with --certificate and --key; --user and --password, who must log in; --login PLAIN|LOGIN|none, the
one way to do so. Each line tells the mail's TLS version and who logged in.
"""

import argparse
import json
import socket
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("later@"):
            return f"451 {address} try again"
        if address.startswith("refused@"):
            return f"550 {address} unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        to = envelope.rcpt_tos[0]
        if to.startswith("full@"):
            return "552 mailbox full"
        if to.startswith("silent@"):
            server.transport.close()
            return "250 never said"
        tls = server.transport.get_extra_info("ssl_object")
        mail = {"tls": tls and tls.version(), "user": session.auth_data and session.auth_data.login.decode()}
        mail |= {"from": envelope.mail_from, "to": to, "text": envelope.content.decode("ascii")}
        print(json.dumps(mail), flush=True)
        return "250 taken"


options = argparse.ArgumentParser()
for name in ["tls", "certificate", "key", "user", "password", "login"]:
    options.add_argument(f"--{name}")
options = options.parse_args()


def authenticate(server, session, envelope, mechanism, data):
    known = (data.login.decode(), data.password.decode()) == (options.user, options.password)
    return AuthResult(success=known, handled=False, auth_data=data)


more = {}
if options.tls:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    more = {"ssl_context": context} if options.tls == "tls" else {"tls_context": context, "require_starttls": True}
if options.user:
    more |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": options.tls == "starttls"}
    if options.login:
        more |= {"auth_exclude_mechanism": {"PLAIN", "LOGIN"} - {options.login}}

# Port 0 is not what the controller would connect to for its own check; bind first, then say which port it is.
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
controller = Controller(Sink(), hostname="127.0.0.1", port=port, ready_timeout=10, **more)
controller.start()
print(port, flush=True)
sys.stdin.read()
controller.stop()
