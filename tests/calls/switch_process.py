"""A switch in a process of its own, to be killed: calls that wait in the menu of a worker.

Arguments: the worker's port, a folder for sounds, how many calls. Says "waiting" when all of them
have heard the menu.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from esl_worker.switch.caller import ScriptedCaller  # noqa: E402
from esl_worker.switch.clock import Clock  # noqa: E402
from esl_worker.switch.dialplan import service_dialplan  # noqa: E402
from esl_worker.switch.switch import Switch  # noqa: E402

port, folder, count = sys.argv[1:]
switch = Switch(service_dialplan([f"127.0.0.1:{port}"]), Path(folder), Clock(1.0), missing_s=0.01)
callers = [ScriptedCaller([]) for _ in range(int(count))]
for caller in callers:
    switch.call("2000", "02188776655", caller=caller)
while not all(caller.questions for caller in callers):
    gevent.sleep(0.01)
print("waiting", flush=True)
gevent.sleep(60)
