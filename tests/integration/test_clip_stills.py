"""The still picture of a clip, clear or blurred, over the real database: taken, shown; attacks."""

import pytest

from tests.integration.test_clips import (
    EVENT,
    THERE,
    House,
    facts,
    house,
    named,
    offer,
    open_request,
    put,
    send,
    signed,
    video,
)
from vedette.wire.evidence import MAX_POSTER_BYTES, SIGNATURE, BlobFile, signature_of

pytestmark = pytest.mark.anyio
__all__ = ["house", "video"]

STILLS = [
    ("clip", "blurred.jpg", 10, 400),
    ("blurred", "poster.jpg", 10, 400),
    ("blurred", "Blurred.jpg", 10, 400),
    ("blurred", "blurred.jpeg", 10, 400),
    ("blurred", "../blurred.jpg", 10, 400),
    ("blurred", "blurred.jpg", MAX_POSTER_BYTES + 1, 413),
    ("blurred", "blurred.jpg", 0, 413),
]


async def test_the_still_of_a_blurred_copy_is_one_small_jpeg_under_one_name(house: House) -> None:
    """Another name, form or size is refused before a byte; what is no picture fails the clip."""
    device = await house.box()
    operator = await house.program("operator")
    await house.ask(operator)
    request = (await open_request(device))["request"]
    for form, name, size, status in STILLS:
        main = named("clip.mp4" if form == "clip" else "blurred.mp4", b"x")
        still = BlobFile(name=name, sha256="ab" * 32, bytes=size)
        assert (await offer(device, request, [main, still], form)).status_code == status, name
    page = b"<html><script>1</script>"
    main, still = named("blurred.mp4", b"x"), named("blurred.jpg", page)
    assert (await offer(device, request, [main, still], "blurred")).status_code == 200
    assert (await put(device, still, 0, page)).status_code == 400
    state = await house.state(operator)
    assert (state["state"], state["said"]) == ("failed", "what came as a picture is none")


@pytest.mark.parametrize("form", ["clip", "blurred"])
async def test_the_picture_of_a_clip_is_shown_in_either_form(
    house: House, video: bytes, form: str
) -> None:
    """By the name that its form has; a clip that came without one is a row without a picture."""
    device = await house.box()
    operator = await house.program("operator", ["shop"])
    main, name = ("clip.mp4", "poster.jpg") if form == "clip" else ("blurred.mp4", "blurred.jpg")
    files = {main: video, "evidence.json": facts(house.now_ms)}
    jpeg = b"\xff\xd8\xff" + b"a street at night" * 50
    for picture in ("", name):
        await house.ask(operator)
        request = (await open_request(device))["request"]
        what = signed(device.key, files | ({name: jpeg} if picture else {}), form=form)
        what[signature_of(form)] = what.pop(SIGNATURE)
        await send(device, request, what, form)
        (row,) = (await house.http.get("/v1/events", headers=operator)).json()["events"]
        assert (row["poster"], row["has_poster"]) == (picture, bool(picture))
        one = (await house.http.get(f"/v1/events/{EVENT}", headers=operator)).json()
        assert one["poster"] == picture
        found = await house.http.get(f"{THERE}/{name}", headers=operator)
        assert found.status_code == (200 if picture else 404)
        if not picture:
            assert (await house.http.delete(THERE, headers=operator)).status_code == 204
    assert found.content == jpeg
    assert found.headers["content-type"] == "image/jpeg"
    assert (await house.state(operator))["signed"]
