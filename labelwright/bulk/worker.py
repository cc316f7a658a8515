"""The process of a worker on this machine: settings and shards as JSON lines on stdin, what became of them on stdout.

It ends when its stdin does, so none outlives the command that began it, however that ended.
``labelwright.bulk.on_processes`` starts it.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading

from labelwright.bulk.answering import Answerer


def main() -> None:
    """Answer shards until there are no more."""
    # What libraries print is no answer.
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    answerer = Answerer(json.loads(asked.get()))
    while True:
        said.write(json.dumps(answerer.answer(json.loads(asked.get()))) + "\n")
        said.flush()


def _listen(asked: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        asked.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
