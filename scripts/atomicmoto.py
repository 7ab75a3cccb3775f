"""Serves moto on 127.0.0.1, at the port that is the argument, one request at a time.

moto answers requests in threads that share its state without a lock, so that of
two conditional writes at once both may win. AWS promises that one does.
"""

import functools
import io
import signal
import sys
import threading
import traceback

import moto.core.responses
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple
from werkzeug.test import run_wsgi_app

lock = threading.Lock()
dispatcher = DomainDispatcherApplication(create_backend_app)

# What moto finds out with each request and what does not change: which service a
# host is, for which it reads its own directory, and what a service can do. Both
# were a third of its time.
dispatcher.get_backend_for_host = functools.cache(dispatcher.get_backend_for_host)
moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)


class Handler(MotoRequestHandler):
    """Keeps connections open, as AWS does. werkzeug's own closes each after one
    request: it does not know whether the request has been read to its end."""

    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave together

    def run_wsgi(self):
        environ = self.make_environ()
        length = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        try:
            with lock:
                body, status, headers = run_wsgi_app(dispatcher, environ, buffered=True)
                body = b"".join(body)
        except Exception:
            traceback.print_exc()
            body, status, headers = b"", "500 INTERNAL SERVER ERROR", {}
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers and self.command != "HEAD" and code != "204":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
run_simple("127.0.0.1", int(sys.argv[1]), dispatcher, threaded=True, request_handler=Handler)
