"""One face, many recordings: POST a recording, get the video; no file is written.

python examples/service.py photo.jpg 8000
curl --data-binary @speech.wav http://127.0.0.1:8000 --output talk.mp4
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from speech2vid import Speech2VidError, make_identity, talk

identity = make_identity(sys.argv[1])  # finds the face and loads the networks, once; threads may share it


class Service(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        audio = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, kind, answer = 200, "video/mp4", talk(identity, audio)
        except Speech2VidError as error:  # says what is wrong with the recording, and what to do
            status, kind, answer = 422, "text/plain; charset=utf-8", str(error).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Service)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
