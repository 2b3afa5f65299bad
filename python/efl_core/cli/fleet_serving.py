"""``efl fleet serve``, ``status``, ``secret`` and ``key``: a learner over HTTP, from a terminal."""

import argparse
import json
import logging
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from efl_core.errors import CorruptDataError, InvalidInputError, LearnerAwayError, MissingExtraError

__all__ = ["add", "listening"]

Scope = Callable[[Path], dict[str, Any]]
CLEAR = "\x1b[H\x1b[J"


def add(verbs: Any, scope: Scope) -> None:  # noqa: ANN401 (argparse does not name its type)
    """Add the verbs to those of ``efl fleet``; ``scope`` runs a file and returns its names."""
    serve = verbs.add_parser("serve", help="serve a learner over HTTP, and learn")
    serve.add_argument("what", metavar="FILE.py:NAME", help="a Learner in a file that is run")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1)")
    serve.add_argument("--port", type=int, default=7070, help="port to listen at (default 7070)")
    trust = serve.add_mutually_exclusive_group(required=True)
    trust.add_argument("--secret", type=Path, metavar="FILE", help="from which the keys of replicas follow")
    trust.add_argument("--open", action="store_true", help="believe everybody who reaches the port")
    serve.add_argument("--revoked", nargs="*", default=[], metavar="NAME", help="keys that are shut out")
    serve.add_argument("--operator", type=Path, metavar="FILE", help="a password for /, /status and /metrics")
    serve.add_argument("--update", default="adam", help="adam (default), descent, a name in the file, none")
    serve.add_argument("--queries", type=int, default=64, help="contributions of a step (default 64)")
    serve.add_argument("--canary", type=float, default=0.25, help="part that tries a step (default 0.25)")
    serve.add_argument("--workers", type=int, default=16, help="processes that may use one key (default 16)")
    serve.add_argument("--quota", type=float, help="queries a second of one key")
    serve.set_defaults(run=lambda options: _serve(options, scope))

    status = verbs.add_parser("status", help="how a served learner is doing")
    status.add_argument("url", help="where it is, such as http://127.0.0.1:7070")
    status.add_argument("--every", type=float, metavar="SECONDS", help="again and again, until Ctrl-C")
    status.add_argument("--operator", type=Path, metavar="FILE", help="the password that serve was given")
    status.set_defaults(run=_status)

    secret = verbs.add_parser("secret", help="write a new secret, from which the keys of replicas follow")
    secret.add_argument("file", type=Path)
    secret.set_defaults(run=_secret)

    key = verbs.add_parser("key", help="the key of a replica: what Replica takes as key=")
    key.add_argument("name", help="of the replica")
    key.add_argument("--secret", type=Path, metavar="FILE", required=True)
    key.set_defaults(run=_key)


def _serve(options: argparse.Namespace, scope: Scope) -> None:
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("serve needs uvicorn: pip install 'efl-core[serve]'") from None
    from efl_core.fleet import Keys, Learner, asgi

    file, colon, name = options.what.rpartition(":")
    names = scope(Path(file)) if colon else {}
    if not isinstance(names.get(name), Learner):
        raise InvalidInputError(f"{options.what}: expected FILE.py:NAME of a Learner")
    update = None if options.update == "none" else names.get(options.update, options.update)
    app = asgi(
        names[name],
        keys=None if options.open else Keys(options.secret.read_text(), revoked=options.revoked),
        update=update,
        queries=options.queries,
        canary=options.canary or None,
        operator=None if options.operator is None else options.operator.read_text().strip(),
        workers=options.workers,
        quota=options.quota,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    place = listening(options.host, options.port)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"serving {options.what} at http://{host}:{place.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="on",
        limit_concurrency=1024,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=30,
        server_header=False,
    )
    with place, names[name]:  # a learner with a journal writes down where it ends
        uvicorn.Server(config).run(sockets=[place])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens there, and whose connections send what is small at once.

    Otherwise the second part of an answer waits until the first one is acknowledged: 40 ms on Linux. Event
    loops see to that for sockets that they make themselves.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    place = socket.create_server((host, port), family=family)
    place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return place


def _status(options: argparse.Namespace) -> None:
    from efl_core.fleet.status import shown

    url = options.url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidInputError.of("url", "an address such as http://127.0.0.1:7070", repr(options.url))
    request = urllib.request.Request(f"{url}/status")
    if options.operator is not None:
        password = b64encode(b"efl:" + options.operator.read_text().strip().encode()).decode()
        request.add_header("authorization", f"Basic {password}")
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                found = json.loads(reply.read())
        except ValueError:
            raise CorruptDataError.of("url", f"a learner at {url}", "something else") from None
        except urllib.error.HTTPError as error:
            raise LearnerAwayError.of("url", f"a learner at {url}", f"HTTP {error.code}") from None
        except OSError as error:
            raise LearnerAwayError.of("url", f"a learner at {url}", str(error)) from None
        text = shown(found)
        if options.every is None:
            print(text)
            return
        print(f"{CLEAR if sys.stdout.isatty() else ''}{text}", flush=True)
        time.sleep(options.every)


def _secret(options: argparse.Namespace) -> None:
    from efl_core.fleet.web.signing import new_secret

    try:
        place = os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidInputError.of("file", "one that is not there yet", options.file) from None
    with os.fdopen(place, "w") as file:
        file.write(new_secret() + "\n")


def _key(options: argparse.Namespace) -> None:
    from efl_core.fleet import Keys

    print(Keys(options.secret.read_text()).of(options.name))
