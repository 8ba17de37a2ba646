# SPDX-License-Identifier: MIT
"""A proxy between an S3 client and its server that spoils replies on request.

usage: fault_proxy.py UPSTREAM_HOST:PORT FAULT_FILE    prints its own port

FAULT_FILE holds "METHOD FAULT TIMES", and is counted down. Faults: 503, error200 (good status, bad
news), cut (half of the body), flip (one bit, of what is sent by PUT or read by GET), lost (done, but
the reply does not come), hang, slow (ten pieces, half a second apart), skew (the server's clock is
an hour behind).
"""
import email.utils
import http.client
import http.server
import sys
import threading
import time

UPSTREAM, PLAN = sys.argv[1:3]
lock = threading.Lock()


def next_fault(method):
    with lock:
        words = open(PLAN).read().split()
        if len(words) != 3 or words[0] != method or int(words[2]) == 0:
            return None
        with open(PLAN, "w") as plan:
            plan.write(f"{words[0]} {words[1]} {int(words[2]) - 1}")
        return words[1]


def flip(body):
    return bytes([body[0] ^ 1]) + body[1:] if body else body


def error(code):
    return f"<Error><Code>{code}</Code><Message>made up</Message></Error>".encode()


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, headers, body, sent=None, pieces=1):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            body = body if sent is None else sent
            size = -(-len(body) // pieces)
            for i in range(pieces):
                time.sleep(0.5 if i else 0)
                self.wfile.write(body[i * size:(i + 1) * size])

    def made_up(self, status, code, age_s=0):
        body = error(code)
        date = email.utils.formatdate(time.time() - age_s, usegmt=True)
        self.reply(status, [("Content-Length", len(body)), ("Date", date),
                            ("Content-Type", "application/xml")], body)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = next_fault(self.command)
        if fault == "503":
            return self.made_up(503, "SlowDown")
        if fault == "error200":
            return self.made_up(200, "InternalError")
        if fault == "skew":
            return self.made_up(403, "RequestTimeTooSkewed", 3600)
        if fault == "hang":
            time.sleep(4)
            self.close_connection = True
            return None
        if fault == "flip" and self.command == "PUT":
            body = flip(body)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "connection")}
        upstream = http.client.HTTPConnection(UPSTREAM, timeout=60)
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        data = answer.read()
        if fault == "lost":
            self.close_connection = True
            return None
        if fault == "flip" and self.command == "GET":
            data = flip(data)
        kept = [(k, v) for k, v in answer.getheaders()
                if k.lower() not in ("transfer-encoding", "connection", "content-length")]
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        if answer.status != 204:
            kept.append(("Content-Length", length))
        self.reply(answer.status, kept, data, data[: len(data) // 2] if fault == "cut" else None,
                   10 if fault == "slow" else 1)
        if fault == "cut":
            self.close_connection = True
        return None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
