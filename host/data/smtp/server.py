"""A real SMTP server for the demo: takes mail on loopback, refuses some, and says what it got.

Needs aiosmtpd (`make setup` brings it). Prints its port, then one line of JSON for each mail that it was offered:
{"id": …, "answer": 250 | 451 | 550, "again": …, "unsubscribe": …}. Ends when its standard input is closed.
"""

import asyncio
import email
import json
import socket
import sys
import zlib

from aiosmtpd.smtp import SMTP

LATER_ONE_IN = 40
NEVER_ONE_IN = 200


class Handler:
    def __init__(self):
        self.offered = {}

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content)
        key = (mail["Message-ID"] or "").strip("<>").split("@")[0]
        luck = zlib.crc32(key.encode())
        tries = self.offered[key] = self.offered.get(key, 0) + 1
        if luck % NEVER_ONE_IN == 1:
            answer = "550 5.1.1 no such mailbox"
        elif luck % LATER_ONE_IN == 0 and tries == 1:
            answer = "451 4.3.0 come back later"
        else:
            answer = "250 2.0.0 taken"
        line = {
            "id": key,
            "answer": int(answer[:3]),
            "tries": tries,
            "unsubscribe": mail["List-Unsubscribe"] is not None,
        }
        print(json.dumps(line), flush=True)
        return answer


class Server(SMTP):
    def data_received(self, data):
        # A mail comes in several small writes: a late acknowledgement would cost 40 ms each.
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        super().data_received(data)


async def main():
    handler = Handler()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(handler, hostname="smtp.demo.example", enable_SMTPUTF8=True), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass
    server.close()


asyncio.run(main())
