"""Two servers on the loopback: one that serves pages, one that only writes down who came (the canary)."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, content, headers):
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def _serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Canary:
    """The paths that were asked for, by whatever method."""

    def __init__(self):
        self.news = threading.Condition()
        self.paths = []

    def came(self, name, seconds):
        with self.news:
            return self.news.wait_for(lambda: any(p.partition("?")[0] == f"/{name}" for p in self.paths), seconds)


@contextmanager
def canary():
    """(the canary, its address)"""
    found = Canary()

    class Handler(_Quiet):
        def do_GET(self):
            with found.news:
                found.paths.append(self.path)
                found.news.notify_all()
            self.answer(b"", {"content-type": "text/plain", "access-control-allow-origin": "*"})

        do_POST = do_HEAD = do_OPTIONS = do_GET  # noqa: N815  # http.server's names

    with _serving(Handler) as address:
        yield found, address


@contextmanager
def pages(content):
    """Serves `content`: path -> (bytes, headers); may be added to while it runs."""

    class Handler(_Quiet):
        def do_GET(self):
            body, headers = content.get(self.path, (b"", {"content-type": "text/plain"}))
            self.answer(body, headers)

    with _serving(Handler) as address:
        yield address
