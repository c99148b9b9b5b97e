"""An own RTSP client: pictures leave at their last packet, not when the next one begins.

FFmpeg's parser holds every picture back until it sees the next; RTP says with its marker bit where
a picture ends. Media comes interleaved in the RTSP connection (TCP) only.

Where things are: `address` what is asked for · `message` requests and answers · `description` the
session description · `wire` one connection, cut into messages and frames · `session` the
conversation up to PLAY and keep-alive · `header` and `payload` what is in an RTP packet · `units`
whole pictures · `parameters` what an SPS says · `order` decoding times · `stream` packets for the
decoder · `source` opening, and FFmpeg's client where ours cannot · `refusal` failures in words.

The rule: whatever a server sends, every wait ends, every size has a limit, and nothing is raised
but `SourceLost`.
"""

from vedette.edge.capture.rtsp.source import CameraSource

__all__ = ["CameraSource"]
