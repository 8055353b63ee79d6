"""A mail server for tests: real SMTP, on this machine, that keeps what it takes."""

import socket

from aiosmtpd.controller import Controller


class Inbox:
    """What a real SMTP server takes; `says`: its answer to a recipient, where that is no yes."""

    def __init__(self):
        self.mails, self.says = [], {}

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: ARG002, N802
        if address in self.says:
            return self.says[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: ARG002, N802
        self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


def controller(inbox, **options):
    with socket.create_server(("127.0.0.1", 0)) as free:  # it wants to be told a port
        port = free.getsockname()[1]
    made = Controller(inbox, hostname="127.0.0.1", port=port, **options)
    made.start()
    return made
