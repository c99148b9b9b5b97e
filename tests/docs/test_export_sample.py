"""What the page on exports shows is a CloudEvent as we make it."""

import json

from tests.cloud_event_rules import check_cloud_event


def test_the_cloud_event_in_the_documentation_is_one(docs):
    """Valid by the specification, with the names that the code gives."""
    [sample] = [block for block in docs.blocks("json") if "specversion" in block.text]
    said = json.loads(sample.text)
    check_cloud_event(said)
    assert said["source"] == "/sites/lisbon-1/devices/lisbon-1-a/cameras/door"
    assert said["data"]["event"]["kind"] == "zone_entered"
    assert said["id"] == f"{said['data']['evidence']['evidence']}.{said['data']['clip']['form']}"
