"""What a CloudEvent is, read from the specification alone and not from our code."""

import re
from datetime import datetime
from typing import Any

_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def check_cloud_event(said: dict[str, Any]) -> None:
    """CloudEvents 1.0.2: sections "Naming Conventions", "Type System", "REQUIRED Attributes",
    "OPTIONAL Attributes"; JSON Event Format 1.0.2, "Envelope" and "Handling of Data".
    """  # noqa: D205 - a list of sections
    assert {"specversion", "id", "source", "type"} <= said.keys()
    assert said["specversion"] == "1.0"
    for name, value in said.items():
        assert re.fullmatch("[a-z0-9]{1,20}", name), name
        if name != "data":
            assert isinstance(value, str), name
            assert value, name
            # String: no control characters, no surrogates, no noncharacters.
            assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value), name
            assert not any(0xD800 <= ord(c) < 0xE000 or ord(c) & 0xFFFE == 0xFFFE for c in value)
    assert _REFERENCE.fullmatch(said["source"]), said["source"]
    assert _TIME.fullmatch(said["time"])
    assert datetime.fromisoformat(said["time"]).utcoffset() is not None
    assert re.fullmatch(r"application/([a-z.]+\+)?json", said["datacontenttype"])
    assert isinstance(said["data"], dict)
    assert "data_base64" not in said
