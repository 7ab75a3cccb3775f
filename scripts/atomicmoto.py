"""Serves moto on 127.0.0.1, at the port that is the argument, one request at a time.

moto answers requests in threads that share its state without a lock, so that of
two conditional writes at once both may win. AWS promises that one does.
"""

import signal
import sys
import threading

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple

lock = threading.Lock()
moto = DomainDispatcherApplication(create_backend_app)


def one_at_a_time(environ, start_response):
    with lock:
        return list(moto(environ, start_response))


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True, request_handler=MotoRequestHandler)
