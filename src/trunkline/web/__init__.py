"""What people and their tools see over HTTP: REST in Zuul's shape, the console stream, the live page.

What may live here: routes, authentication, the shapes of answers, templates and static files. What may not: SQL,
decisions, the settings object. Everything shown comes through `WebSource`, a protocol of asynchronous queries and
actions that a service implements; so the whole room runs in a test with data in memory.

Nouns: *source* (where answers come from), *caller* (who asks, as far as a token proves it), *hint* (something of a
topic changed; the page fetches that fragment again), *fragment* (a piece of a page that can be fetched by itself).

Data comes from WebSource and, for consoles, from the finger port of the executor that runs the build; it goes out
as JSON, text frames and HTML. Nothing is kept but an answer per tenant and second for `status`.
"""

from trunkline.web.app import make_app
from trunkline.web.context import WebSettings
from trunkline.web.source import WebSource
from trunkline.web.tokens import Authenticators

__all__ = ["Authenticators", "WebSettings", "WebSource", "make_app"]
