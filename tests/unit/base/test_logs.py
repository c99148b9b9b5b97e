"""Logs are structured and never hold credentials."""

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette import logs


@pytest.fixture
def stream():
    """A stream that Vedette's logs go to during one test."""
    out = io.StringIO()
    root = logging.getLogger("vedette")
    before = (root.handlers[:], root.level, root.propagate)
    logs.setup(stream=out, json_lines=True)
    yield out
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def test_a_record_is_one_json_line_with_event_and_ids(stream):
    """Machines find the event and the ids; people the message."""
    logging.getLogger("vedette.edge").warning(
        "stream lost", extra={"event": "capture.stream_lost", "camera": "door"}
    )
    line = json.loads(stream.getvalue())
    assert (line["event"], line["camera"], line["level"]) == (
        "capture.stream_lost",
        "door",
        "warning",
    )


def test_a_password_in_a_message_or_traceback_is_taken_out(stream):
    """Even where a library put the address into its exception."""
    try:
        raise OSError("cannot open rtsp://admin:hunter2@192.0.2.7/x")
    except OSError:
        logging.getLogger("vedette.x").exception("rtsp://admin:hunter2@192.0.2.7/x failed")
    assert "hunter2" not in stream.getvalue()
    assert "192.0.2.7" in stream.getvalue()


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_user_or_password_survives_redaction(user, password):
    """Whatever characters they are made of."""
    secret = f"secret{password}secret"
    for bad in "/?#\\[]@ \t\r\n":
        secret = secret.replace(bad, "")
    url = f"rtsp://{user.replace('/', '').replace('?', '').replace('#', '')}:{secret}@host/path"
    assert secret not in logs.redact_url(url)


@pytest.mark.parametrize(
    "source",
    [
        "gst:rtspsrc location=rtsp://192.0.2.7/x user-id=bob user-pw=hunter2 ! decodebin",
        "gst:rtsp://bob:hunter2@192.0.2.7/x ! decodebin",
        'gst:"rtspsrc user-pw=hunter2"',
        "rtsp:/bob:hunter2@192.0.2.7/x",
        "bob:hunter2@192.0.2.7/x",
        "rtsp://bob:12/hunter2@192.0.2.7/x",
        "rtsp://bob:12?hunter2@192.0.2.7/x",
        "http://192.0.2.7/video.cgi?user=bob&pwd=hunter2",
    ],
)
def test_no_way_of_writing_an_address_shows_its_password(source):
    """Pipelines, addresses with a typing error, passwords with signs that must be escaped."""
    shown = logs.redact_url(source)
    assert "hunter2" not in shown
    assert "12" not in shown.replace("192.0.2.7", "")


def test_properties_that_are_passwords_are_taken_out_of_a_text():
    """As a library's error may hold them; what stands around them stays."""
    said = 'no "x" in user-pw="two words" rtsp://bob:12/hunter2@h/x?pwd=hunter2&a=1, password=p1'
    assert logs.redact_text(said) == 'no "x" in user-pw=… rtsp://h/x?pwd=…&a=1, password=…'


def test_a_file_path_stays_as_it_is():
    """Only addresses have credentials."""
    assert logs.redact_url("clips/door.mp4") == "clips/door.mp4"
    assert logs.redact_url("rtsp://u:p@[2001:db8::1]:554/a?token=1") == "rtsp://[2001:db8::1]:554/a"
