"""Content Credentials: signed, read back by us and by the library's own reader, refused after any change."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from speech2vid.errors import ConfigError, MissingExtraError, OutputError, Speech2VidError
from speech2vid.media import (
    Claim,
    Signer,
    VideoReader,
    VideoWriter,
    credentials,
    probe,
    read_credentials,
    read_synthetic_metadata,
)

c2pa = pytest.importorskip("c2pa")
FACTS = {"command": "talk", "weights": {"audio_to_mouth": "ab" * 32}}


@pytest.fixture(scope="module")
def pair(make_pair, tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("pair"))


def write(path: Path, signer: Signer | None, claim: Claim | None = None) -> Path:
    finish = None if signer is None else partial(signer.sign, claim=claim or Claim(FACTS))
    with VideoWriter(path, 64, 48, preset="ultrafast", details={"signed": signer is not None}, finish=finish) as writer:
        rng = np.random.default_rng(0)
        for _ in range(10):
            writer.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def signed(pair, tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("signed") / "a.mp4", Signer(pair.cert, pair.key))


def changed(signed: Path, to: Path, at: int) -> Path:
    content = bytearray(signed.read_bytes())
    content[at] ^= 1
    to.write_bytes(content)
    return to


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_signed_and_read_back(pair, tmp_path, suffix) -> None:
    path = write(tmp_path / f"a.{suffix}", Signer(pair.cert, pair.key))
    found = read_credentials(path)
    assert found is not None
    assert (found.state, found.trusted, found.problems) == ("intact", False, ())
    assert found.signer == "Ada Signer, Test House"
    assert found.tool.startswith("speech2vid ")
    assert found.source_types == ("trainedAlgorithmicMedia",)
    assert found.synthetic
    assert found.facts == FACTS
    assert read_synthetic_metadata(path) is not None, "the mark is still there"
    assert len(list(VideoReader(path))) == 10, "and so are the pictures"
    assert probe(path).frame_rate_hz == 25
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "no hidden file is left"


def test_the_library_s_own_reader_agrees(signed) -> None:
    with c2pa.Reader(str(signed)) as reader:
        assert reader.get_validation_state() == "Valid"
        active = reader.get_active_manifest()
        (status,) = json.loads(reader.json())["validation_status"]
    assert status["code"] == "signingCredential.untrusted"
    (actions,) = [a["data"]["actions"] for a in active["assertions"] if a["label"].startswith("c2pa.actions")]
    assert [action["action"] for action in actions] == ["c2pa.created"]
    assert actions[0]["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert actions[0]["softwareAgent"]["name"] == "speech2vid"
    assert "thumbnail" not in active


def test_a_root_that_is_given_is_trusted_and_another_one_is_not(pair, signed, make_pair, tmp_path) -> None:
    assert read_credentials(signed, pair.root).trusted
    other = read_credentials(signed, make_pair(tmp_path / "other").root)
    assert (other.state, other.trusted) == ("intact", False)


def test_an_edit_names_the_video_it_was_made_from(pair, signed, tmp_path) -> None:
    path = write(tmp_path / "b.mp4", Signer(pair.cert, pair.key), Claim(FACTS, signed))
    found = read_credentials(path)
    assert found.state == "intact"
    assert found.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    assert found.synthetic
    with c2pa.Reader(str(path)) as reader:
        active = reader.get_active_manifest()
    (parent,) = active["ingredients"]
    assert parent["relationship"] == "parentOf"
    assert "active_manifest" in parent, "the parent's own credentials are carried along"


def test_an_edit_of_a_container_that_cannot_carry_credentials(pair, tmp_path) -> None:
    source = write(tmp_path / "a.mkv", None)
    found = read_credentials(write(tmp_path / "b.mp4", Signer(pair.cert, pair.key), Claim(FACTS, source)))
    assert (found.state, found.source_types) == ("intact", ("compositeWithTrainedAlgorithmicMedia",))


@pytest.mark.parametrize("where", ["image", "index", "mark", "manifest", "end"])
def test_any_change_is_noticed(signed, tmp_path, where) -> None:
    content = signed.read_bytes()
    at = {
        "image": content.rindex(b"mdat") + 200,
        "index": content.index(b"stts") + 9,
        "mark": content.index(b"Synthetic media"),
        "manifest": content.index(b"trainedAlgorithmicMedia"),
    }
    if where == "end":
        path = tmp_path / "cut.mp4"
        path.write_bytes(content[:-100])
    else:
        path = changed(signed, tmp_path / "a.mp4", at[where])
    found = read_credentials(path)
    assert found.state == "tampered"
    assert found.problems


def test_a_copy_into_another_file_loses_them(signed, tmp_path) -> None:
    copy = tmp_path / "copy.mp4"
    with av.open(str(signed)) as source, av.open(str(copy), "w") as output:
        output.metadata.update(source.metadata)
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    assert read_credentials(copy) is None
    assert read_synthetic_metadata(copy)["signed"] is True


@pytest.mark.parametrize("kind", ["p384", "p521", "rsa", "ed25519"])
def test_kinds_of_keys(make_pair, tmp_path, kind) -> None:
    pair = make_pair(tmp_path / "pair", kind)
    assert read_credentials(write(tmp_path / "a.mp4", Signer(pair.cert, pair.key))).state == "intact"


BAD = {
    "expired": ({"days": (-30, -1)}, "valid from"),
    "not yet": ({"days": (2, 30)}, "valid from"),
    "no purpose": ({"purpose": False}, "cannot sign"),
    "a password": ({"password": b"secret"}, "is protected by a password"),
    "a curve that C2PA lacks": ({"kind": "k1"}, "C2PA does not support"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_certificate_that_will_not_do_is_known_before_the_work(make_pair, tmp_path, what) -> None:
    options, said = BAD[what]
    pair = make_pair(tmp_path, **options)
    with pytest.raises(ConfigError, match=said) as caught:
        Signer(pair.cert, pair.key).check(tmp_path / "a.mp4")
    assert caught.value.hint


def test_files_that_are_not_what_they_should_be(pair, make_pair, tmp_path, photo) -> None:
    other = make_pair(tmp_path / "other")
    for cert, key, said in (
        (tmp_path / "none.pem", pair.key, "none.pem cannot be read"),
        (photo, pair.key, "not a PEM certificate"),
        (pair.cert, photo, "not a PEM private key"),
        (pair.cert, other.key, "does not match the certificate"),
        (pair.root, pair.key, "does not match the certificate"),
    ):
        with pytest.raises(ConfigError, match=said):
            Signer(cert, key).check(tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="cannot sign"):
        Signer(pair.cert, pair.key, "ps256").check(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match=r"require \.mp4 or \.mov"):
        Signer(pair.cert, pair.key).check(tmp_path / "a.mkv")


def test_a_failed_signature_leaves_nothing(pair, tmp_path, monkeypatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"before")
    monkeypatch.setattr(credentials, "FACTS", "c2pa.hash.bmff.v3")  # a label that is not ours to use
    with pytest.raises(Speech2VidError):
        write(tmp_path / "a.mp4", Signer(pair.cert, pair.key))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.mp4": b"before"}


def test_without_the_extra(signed, pair, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert read_credentials(signed).state == "unchecked"
    with pytest.raises(MissingExtraError) as caught:
        Signer(pair.cert, pair.key).check(Path("a.mp4"))
    assert "speech2vid[c2pa]" in caught.value.hint


def test_nothing_is_loaded_for_a_file_without_credentials(tmp_path) -> None:
    path = write(tmp_path / "a.mp4", None)
    code = "import sys, speech2vid.media as m; m.read_credentials(sys.argv[1]); sys.exit('c2pa' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0
