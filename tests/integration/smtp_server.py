"""A real SMTP server for the tests, in a process of its own: `smtp_server.py FOLDER CERT KEY MODE`.

MODE is starttls (required before MAIL), implicit, plain, auth (STARTTLS and log-in required) or
no-starttls. Prints its port. Mails land in FOLDER as numbered .eml files. The recipient says what
shall happen: `rcpt-550.x@` is refused at RCPT, `data-554.x@` at DATA, `once-451.x@` at the first
attempt only; anything else is taken.
"""

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

folder, cert, key, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Handler:
    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.partition("@")[0]
        if local.startswith("rcpt-"):
            return f"{local[5:8]} 5.1.1 <{address}> is not known here"
        if local.startswith("once-") and address not in self.seen:
            self.seen.add(address)
            return f"{local[5:8]} 4.3.0 <{address}> try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        local = envelope.rcpt_tos[0].partition("@")[0]
        if local.startswith("data-"):
            return f"{local[5:8]} message refused for {envelope.rcpt_tos[0]}"
        self.count += 1
        (folder / f"{self.count:04d}.eml").write_bytes(envelope.content)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, auth_data):
    good = (auth_data.login, auth_data.password) == (b"bills", b"right")
    return AuthResult(success=good, handled=good)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(cert, key)
options = {"enable_SMTPUTF8": False}
if mode in ("starttls", "auth"):
    options |= {"tls_context": context, "require_starttls": True}
if mode == "auth":
    options |= {"authenticator": authenticate, "auth_required": True}


async def serve() -> None:
    handler = Handler()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, **options),
        "127.0.0.1",
        0,
        ssl=context if mode == "implicit" else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
