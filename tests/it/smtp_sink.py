"""An SMTP server for tests: prints its port, then every mail that it takes as one line of JSON.

later@…     is put off at RCPT (451)
refused@…   is refused at RCPT (550)
full@…      is refused after the data (552)
silent@…    is never confirmed: the connection closes after the data
"""

import json
import sys

from aiosmtpd.controller import Controller


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
        mail = {"from": envelope.mail_from, "to": to, "text": envelope.content.decode("ascii")}
        print(json.dumps(mail), flush=True)
        return "250 taken"


controller = Controller(Sink(), hostname="127.0.0.1", port=0, ready_timeout=10)
# Port 0 is not what the controller would connect to for its own check; bind first, then say which port it is.
import socket

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    controller.port = free.getsockname()[1]
controller.start()
print(controller.port, flush=True)
sys.stdin.read()
controller.stop()
