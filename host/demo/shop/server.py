"""HTTP server of the shop: `PORT=8000 python3 -m shop.server`."""

import json
import os
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

from shop import catalog, orders, pricing


def answer(target):
    """Status and body for a GET of `target`."""
    url = urlparse(target)
    parts = [part for part in url.path.split("/") if part]
    if parts == ["health"]:
        return 200, {"ok": True}
    if parts == ["products"]:
        number = int(parse_qs(url.query).get("page", ["1"])[0])
        return 200, {"products": catalog.page(number), "pages": catalog.page_count(3)}
    if len(parts) >= 2 and parts[0] == "orders":
        order = orders.find(parts[1])
        if order is None:
            return 404, {"error": "no such order"}
        if parts[2:] == ["summary"]:
            change = orders.last_change(order)
            return 200, {
                "order": parts[1],
                "net": pricing.net_total(order),
                "gross": pricing.gross_total(order),
                "state": change["state"],
                "since": change["at"],
            }
    return 404, {"error": "not found"}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        try:
            status, body = answer(self.path)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            status, body = 500, {"error": "internal error"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        print("%s %s" % (self.command, format % args), flush=True)


def main():
    port = int(os.environ.get("PORT", "8000"))
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
