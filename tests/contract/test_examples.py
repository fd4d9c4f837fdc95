"""The examples run as they are."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path

import pytest

from speech2vid import verify

MOST_LINES = 36  # a service of 30 lines, and its docstring


@pytest.mark.parametrize("recordings", [3])
def test_service_answers_recordings_for_one_face_and_refuses_in_words(
    root: Path, photo: Path, second: Path, tmp_path: Path, recordings: int
) -> None:
    example = root / "examples" / "service.py"
    assert len(example.read_text().splitlines()) <= MOST_LINES
    with subprocess.Popen(
        [sys.executable, str(example), str(photo), "0"], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as service:
        try:
            assert service.stdout is not None
            address = service.stdout.readline().strip().removeprefix("http://")

            def post(content: bytes) -> tuple[int, bytes]:
                client = http.client.HTTPConnection(address, timeout=120)
                client.request("POST", "/", content)
                answer = client.getresponse()
                return answer.status, answer.read()

            answers = [post(second.read_bytes()) for _ in range(recordings)]
            assert {status for status, _ in answers} == {200}
            assert verify(answers[0][1]).verdict == "marked"
            assert len({video for _, video in answers}) == 1
            status, text = post(b"no audio")
            assert status == 422
            assert "<audio> is not a media file" in text.decode()
            assert not list(tmp_path.iterdir())
        finally:
            service.terminate()
