"""What may stand in `source`: every kind is told by its text alone, and nonsense is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edge.address import (
    DeviceAddress,
    Kind,
    check_evidence_source,
    check_source,
    device_address,
    is_live,
    kind_of,
    path_of,
    pipeline_words,
)
from vedette.errors import ConfigError


@pytest.mark.parametrize(
    ("source", "kind", "live"),
    [
        ("rtsp://ann:pw@192.0.2.7/1", Kind.RTSP, True),
        ("RTSPS://192.0.2.7:322/1", Kind.RTSP, True),
        ("http://192.0.2.7/video.mjpg", Kind.HTTP, True),
        ("https://192.0.2.7/video.mjpg", Kind.HTTP, True),
        ("/dev/video0", Kind.DEVICE, True),
        ("v4l2:/dev/v4l/by-id/usb-046d_C920-index0", Kind.DEVICE, True),
        ("gst:rtspsrc location=rtsp://192.0.2.7/1 ! rtph264depay", Kind.GSTREAMER, True),
        ("watch:/srv/ftp/door", Kind.WATCHED, True),
        ("clips/door.mp4", Kind.PATH, False),
        ("file:clips/door.mp4", Kind.PATH, False),
        ("file:///clips/door.mp4", Kind.PATH, False),
        ("odd:name.mp4", Kind.PATH, False),
    ],
)
def test_the_kind_is_told_by_the_text(source: str, kind: Kind, live: bool) -> None:
    """Each is recognised and accepted, and only files can be asked for again."""
    check_source(source)
    assert kind_of(source) is kind
    assert is_live(source) is live


@pytest.mark.parametrize(
    "source",
    [
        "ftp://192.0.2.7/x",
        "concat://a",
        "rtsp://",
        "http://[::1",
        "http://host:port/",
        "v4l2:/etc/passwd",
        "v4l2:/dev/../dev/video0",
        "/dev/video0?size=huge",
        "/dev/video0?size=1x1&input_format=x",
        "v4l2:/dev/video0?fps=0",
        "v4l2:/dev/video0?format=raw",
        "gst:",
        "gst:--gst-plugin-path=/tmp fakesrc",
        "gst:filesrc location='a ! b",
        "watch:",
        "door\n.mp4",
        "x" * 5000,
    ],
)
def test_what_can_never_be_read_is_refused_with_advice(source: str) -> None:
    """A mistake is said when the configuration is loaded, with what to write."""
    with pytest.raises(ConfigError) as refused:
        check_source(source)
    assert refused.value.operator_hint


def test_a_device_and_its_options_are_read() -> None:
    """Size, rate and format go to the driver; what is not said is left to it."""
    said = device_address("v4l2:/dev/video2?size=1280x720&fps=15&format=mjpeg")
    assert said == DeviceAddress("/dev/video2", (1280, 720), 15, "mjpeg")
    assert device_address("/dev/video0") == DeviceAddress("/dev/video0")


def test_a_pipeline_is_words_and_nothing_in_it_is_a_shells() -> None:
    """Quotes hold a word together; everything else stands as it is."""
    words = pipeline_words("gst:filesrc location='/a b.mp4' ! decodebin $(reboot) ; `x`")
    assert words[:3] == ["filesrc", "location=/a b.mp4", "!"]
    assert "$(reboot)" in words


@pytest.mark.parametrize("source", ["/dev/video0", "gst:videotestsrc", "watch:/srv/ftp"])
def test_clips_are_only_cut_from_what_is_encoded_already(source: str) -> None:
    """Raw pictures have no packets to keep."""
    with pytest.raises(ConfigError, match="encoded already"):
        check_evidence_source(source)


@given(st.text(max_size=60))
def test_any_text_is_accepted_or_refused_in_words(source: str) -> None:
    """Hostile text gives a `ConfigError`, never anything else."""
    refused: ConfigError | None = None
    try:
        check_source(source)
    except ConfigError as error:
        refused = error
    if refused is None:
        assert str(path_of(source)) or not source
    else:
        assert refused.operator_hint
