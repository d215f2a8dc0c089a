"""Genesis with its Outbound server: events on, lingering, each application waited for."""

import asyncio
import sys

import ready
from genesis import Outbound
from steps import PROMPT, QUESTIONS, VARIABLE


async def converse(session):
    """The steps."""
    await session.sendmsg("execute", "answer", block=True)
    for _ in range(QUESTIONS):
        event = await session.sendmsg(
            "execute",
            "play_and_get_digits",
            f"1 1 1 7000 none {PROMPT} silence_stream://1 {VARIABLE} [0-9*#]+ 4000",
            block=True,
        )
        assert event[f"variable_{VARIABLE}"] == "1"
    await session.sendmsg("execute", "hangup", "NORMAL_CLEARING")


async def main():
    server = Outbound(converse, "127.0.0.1", 0)
    await server.start(block=False)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ready.end_with_parent)
    ready.say(server.server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


asyncio.run(main())
