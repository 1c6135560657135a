"""Runs several proxies at a time, each in its own process, because the lab waits most of the time.

Processes are used instead of threads, because each cleans up by itself when it is interrupted.
"""

from __future__ import annotations

import os
import signal
from multiprocessing import connection, get_context
from multiprocessing.context import ForkProcess
from typing import Callable, Iterator, TypeVar, Union

from network import Failure

T = TypeVar("T")


def interruptible() -> None:
    """Makes `kill` behave as Ctrl-C does: the namespaces are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def works(act: Callable[[str], T], key: str, result: connection.Connection) -> None:
    interruptible()
    try:
        try:
            result.send(act(key))
        except (Failure, OSError) as error:
            result.send(Failure(str(error)))
    except KeyboardInterrupt:
        os._exit(130)  # everything is cleaned up, and the parent reports it


def in_parallel(
    keys: list[str], act: Callable[[str], T], jobs: int
) -> Iterator[tuple[str, Union[T, Failure]]]:
    """Each key with the result of `act`, in the order in which they end."""
    waiting, running = list(keys), dict[connection.Connection, tuple[str, ForkProcess]]()
    context = get_context("fork")
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                key = waiting.pop(0)
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=works, args=(act, key, there))
                process.start()
                there.close()
                running[here] = (key, process)
            for ready in connection.wait(list(running)):
                assert isinstance(ready, connection.Connection)
                key, process = running[ready]
                try:
                    result = ready.recv()
                except EOFError:
                    result = Failure("its process ended without a result")
                process.join()
                del running[ready]
                yield key, result
    finally:
        for _, process in running.values():
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)
        for _, process in running.values():
            process.join()
