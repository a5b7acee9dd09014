"""An OpenAI-compatible speech server at the port of the first argument, with 0.3 s for each line."""

import sys
from http.server import ThreadingHTTPServer

from tests.speech.engines.speech_servers import OpenAiHandler, Seen

handler = type("Handler", (OpenAiHandler,), {"seen": Seen(work_s=0.3)})
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
