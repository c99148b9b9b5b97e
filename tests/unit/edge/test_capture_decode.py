"""The decoder of one stream: what is shown of damaged packets."""

from pathlib import Path

import av
import numpy as np
import pytest

from vedette.edge.capture.decode import Decoder
from vedette.edge.capture.packets import EncodedPacket, StreamInfo
from vedette.edge.capture.settings import Decode
from vedette.sim import footage


@pytest.mark.parametrize("live", [True, False])
def test_a_picture_that_was_not_wholly_received_is_counted_and_not_shown(
    tmp_path: Path, *, live: bool
) -> None:
    """It is decoded all the same, for those that refer to it; a file's own flag changes nothing."""
    pictures = [np.full((96, 160, 3), 20 * n, np.uint8) for n in range(8)]
    footage.encode(tmp_path / "clip.mp4", pictures, fps=10)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        decoder = Decoder(context, Decode.ALL, live=live)
        shown: list[int] = []
        for number, raw in enumerate(container.demux(video=0)):
            if not raw.size:
                continue
            raw.is_corrupt = number == 3
            info = StreamInfo("h264", b"")
            packet = EncodedPacket(b"", number / 10, number / 10, raw.is_keyframe, 0, 0, info)
            shown += [round(one.packet.t_s * 10) for one in decoder.decode(raw, packet)]
    assert shown == [n for n in range(8) if n != 3 or not live]
    assert decoder.undecodable == int(live)
