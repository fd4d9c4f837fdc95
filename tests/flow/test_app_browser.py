"""The page in headless Chromium, as a person uses it. Skipped where there is no Chromium: set CHROMIUM to its path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from processes import eventually
from speech2vid.media import probe

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
PATIENCE_MS = 240_000  # machines that are busy with other things
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 740}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium was found: install it, or set CHROMIUM")


@pytest.fixture(scope="module")
def page(pages: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pages.flawless_page(tmp_path_factory.mktemp("page"), "max_upload_mb=20, max_seconds=60, workers=2") as running:
        yield running


@pytest.fixture(scope="module")
def chromium(speech: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `dev` is not installed")
    with playwright.sync_playwright() as driver:
        flags = [*FLAGS.split(), f"--use-file-for-fake-audio-capture={speech}"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(page: Any, chromium: Any) -> Iterator[Callable[..., Tab]]:
    """Open the page as another visitor; at the end no request has gone elsewhere and no script has failed."""
    contexts, faults = [], []

    def open_tab(size: dict[str, int] = DESKTOP) -> Tab:
        context = chromium.new_context(viewport=size, accept_downloads=True, permissions=["microphone"])
        contexts.append(context)
        tab: Tab = context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("request", lambda request: faults.append(request.url) if is_foreign(request.url, page.url) else None)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
        tab.goto(page.url)
        tab.get_by_role("button", name="Make the video").wait_for()
        return tab

    yield open_tab
    for context in contexts:
        context.close()
    assert not faults


def is_foreign(url: str, ours: str) -> bool:
    return not url.startswith((ours, ours.replace("http", "ws"), "blob:", "data:"))


@pytest.fixture(scope="module")
def me(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """A photo with one face, 300 pixels wide."""
    import PIL.Image

    path = tmp_path_factory.mktemp("photo") / "me.jpg"
    PIL.Image.open(photo).crop((80, 0, 380, 300)).save(path)
    return path


def fill(tab: Tab, photo: Path, audio: Path, *, agree: bool = True) -> None:
    """Upload both in the tab Talk, and tick the box."""
    tab.locator("#talk-photo input[type=file]").set_input_files(photo)
    tab.locator("#talk-photo img").wait_for()
    upload_audio(tab, "talk", audio)
    if agree:
        tab.locator("#talk-consent input").check()


def upload_audio(tab: Tab, name: str, audio: Path) -> None:
    tab.locator(f"#{name}-sound input[type=file]").set_input_files(audio)
    tab.locator(f"#{name}-sound [data-testid=waveform-controls]").wait_for()


def failure(tab: Tab, name: str) -> str:
    """What a tab says went wrong."""
    return tab.locator(f"#{name}-status .s2v-failure").inner_text()


def playing(tab: Tab, name: str) -> dict[str, Any]:
    """The result of a tab, once it plays."""
    video, failed = tab.locator(f"#{name}-result video"), tab.locator(f"#{name}-status .s2v-failure")
    video.or_(failed).wait_for()
    assert not failed.count(), failed.inner_text()
    video.evaluate("v => v.play()")
    tab.wait_for_function(f"() => document.querySelector('#{name}-result video').currentTime > 0.2")
    found: dict[str, Any] = video.evaluate(
        "v => ({seconds: v.duration, width: v.videoWidth, height: v.videoHeight, fault: v.error, src: v.currentSrc})"
    )
    return found


def test_a_photo_and_a_audio_become_a_video_that_plays(
    visit: Callable[..., Tab], me: Path, short_speech: Path, tmp_path: Path
) -> None:
    tab = visit()
    fill(tab, me, short_speech, agree=False)
    tab.locator("#talk-make").click()
    assert "consent" in failure(tab, "talk")
    tab.locator("#talk-consent input").check()
    tab.locator("#talk-make").click()
    tab.locator("#talk-status .s2v-failure").wait_for(state="detached")
    result = playing(tab, "talk")
    assert result["seconds"] == pytest.approx(1.2, abs=0.08)
    assert (result["width"], result["height"], result["fault"]) == (300, 300, None)
    assert "1.2 s of video" in tab.locator("#talk-status .s2v-done").inner_text()
    with tab.expect_download() as download:
        tab.locator("#talk-download").click()
    download.value.save_as(tmp_path / "talk.mp4")
    assert probe(tmp_path / "talk.mp4").duration_s == pytest.approx(1.2, abs=0.08)


def begun(page: Any) -> list[Path]:
    """Videos that are being written."""
    return [path for path in page.generated() if path.name.startswith(".")]


def test_cancel(
    visit: Callable[..., Tab], page: Any, pages: ModuleType, me: Path, tmp_path: Path, cut_speech: Callable[..., Path]
) -> None:
    minute = cut_speech(tmp_path / "minute.wav", 60)
    tab = visit()
    fill(tab, me, minute)
    tab.locator("#talk-make").click()
    tab.locator("#talk-status progress[max]").wait_for()
    assert eventually(lambda: begun(page))
    tab.locator("#talk-cancel").click()
    assert "Stopped." in failure(tab, "talk")
    assert eventually(lambda: not begun(page))
    assert tab.locator("#talk-make").is_enabled()


def test_a_bad_file_is_a_sentence(visit: Callable[..., Tab], tmp_path: Path) -> None:
    bad = tmp_path / "holiday.jpg"
    bad.write_bytes(b"this is not an image")
    tab = visit()
    tab.locator("#talk-photo input[type=file]").set_input_files(bad)
    text = tab.locator(".s2v-failure").inner_text()
    assert "Holiday.jpg is not an image" in text
    assert "/" not in text


def test_a_click_on_the_preview_chooses_the_face(visit: Callable[..., Tab], me: Path, tmp_path: Path) -> None:
    import PIL.Image
    from playwright.sync_api import expect

    one = PIL.Image.open(me)
    both = PIL.Image.new("RGB", (2 * one.width, one.height))
    both.paste(one, (0, 0))
    both.paste(one, (one.width, 0))
    both.save(tmp_path / "both.png")
    tab = visit()
    tab.locator("#talk-photo input[type=file]").set_input_files(tmp_path / "both.png")
    preview = tab.locator(".faces img")
    preview.wait_for()
    for share, face in ((0.8, "Face 2"), (0.2, "Face 1")):
        box = preview.bounding_box()
        assert box is not None
        preview.click(position={"x": share * box["width"], "y": 0.4 * box["height"]})
        expect(tab.get_by_role("radio", name=face)).to_be_checked(timeout=PATIENCE_MS)


def test_two_visitors_at_once_see_their_own(visit: Callable[..., Tab], me: Path, short_speech: Path) -> None:
    one, other = visit(), visit(PHONE)
    for tab in (one, other):
        fill(tab, me, short_speech)
    for tab in (one, other):
        tab.locator("#talk-make").click()
    results = [playing(tab, "talk") for tab in (one, other)]
    assert [result["seconds"] for result in results] == pytest.approx([1.2, 1.2], abs=0.08)
    addresses = [result["src"] for result in results]
    assert addresses[0] != addresses[1]
    assert other.request.get(addresses[0]).status == 404
    assert one.request.get(addresses[0]).status == 200


def test_the_example_is_one_click_away_and_the_phone_needs_no_sideways_scrolling(visit: Callable[..., Tab]) -> None:
    tab = visit(PHONE)
    tab.locator("tr.tr-body").first.click()
    tab.locator("#talk-photo img").wait_for()
    assert tab.get_by_role("tablist").count() == 1
    for name in ("Re-dub", "Sync", "Live", "Talk"):
        tab.get_by_role("tab", name=name).click()
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("size", [{"width": 1440, "height": 900}, {"width": 390, "height": 844}], ids=str)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_inputs_button_failure_and_result_are_in_one_window(
    visit: Callable[..., Tab], me: Path, short_speech: Path, size: dict[str, int], theme: str
) -> None:
    def seen(name: str) -> bool:
        box = tab.locator(name).bounding_box()
        assert box is not None
        return box["y"] >= 0 and box["y"] + box["height"] <= size["height"] + 1

    tab = visit(size)
    tab.goto(f"{tab.url}?__theme={theme}")
    tab.locator("#talk-make").wait_for()
    assert all(seen(name) for name in ("#talk-photo", "#talk-sound", "#talk-consent", "#talk-make"))
    tab.locator("#talk-make").click()
    tab.locator("#talk-status .s2v-failure").wait_for()
    assert seen("#talk-status")
    fill(tab, me, short_speech)
    tab.locator("#talk-make").click()
    tab.locator("#talk-status .s2v-failure").wait_for(state="detached")
    playing(tab, "talk")
    tab.wait_for_timeout(1000)  # scrolled to, on a phone
    assert all(seen(name) for name in ("#talk-make", "#talk-status", "#talk-result"))


def test_redub_and_sync_of_a_video(
    visit: Callable[..., Tab], face_clip: Callable[..., Path], short_speech: Path, tmp_path: Path
) -> None:
    clip = face_clip(tmp_path / "clip.mp4", frames=75)
    tab = visit()
    tab.get_by_role("tab", name="Sync").click()
    tab.locator("#sync-video input[type=file]").set_input_files(clip)
    tab.locator("#sync-video video").wait_for()
    tab.locator("#sync-make").click()
    tab.locator(".s2v-curve").wait_for()
    assert "Confidence" in tab.locator("#sync-status .s2v-done").inner_text()

    tab.get_by_role("tab", name="Re-dub").click()
    tab.locator("#redub-video input[type=file]").set_input_files(clip)
    tab.locator("#redub-video video").wait_for()
    upload_audio(tab, "redub", short_speech)
    tab.locator("#redub-consent input").check()
    tab.locator("#redub-make").click()
    assert playing(tab, "redub")["seconds"] == pytest.approx(1.2, abs=0.1)


def test_live(visit: Callable[..., Tab]) -> None:
    """Chromium plays the demo speech into its microphone; the face speaks along until it is stopped."""
    tab = visit()
    tab.get_by_role("tab", name="Live").click()
    tab.get_by_role("button", name="Start speaking").click()
    status = tab.locator("#live-status")
    assert "consent" in status.inner_text()
    tab.locator("#live-consent input").check()
    tab.locator(".gallery-item").click()
    tab.locator("#live-photo img").wait_for()
    tab.get_by_role("button", name="Start speaking").click()
    tab.wait_for_function("() => document.getElementById('live-status').dataset.frames > 20")
    image = "() => document.getElementById('live-canvas').toDataURL()"
    images = set()
    for _ in range(5):
        images.add(tab.evaluate(image))
        tab.wait_for_timeout(300)
    assert len(images) > 1
    assert tab.evaluate("() => document.getElementById('live-canvas').width") == 512
    tab.get_by_role("button", name="Stop").click()
    assert "Stopped." in status.inner_text()
