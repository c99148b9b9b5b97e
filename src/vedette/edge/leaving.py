"""The last look at a message before it leaves: pixels that may not leave any more stay.

A message may wait in the spool for days, and the site may have withdrawn its consent since. The
rule: what counts is the policy of the moment of sending; only the picture is taken out, so that
what was counted is still told.
"""

from typing import Final

import msgspec

from vedette.wire import codec
from vedette.wire.envelope import Batch, Envelope
from vedette.wire.signed import PixelPolicy
from vedette.wire.updates import Disagreement

SCHEMA: Final = "disagreement.v1"
WITHDRAWN: Final = "the site's policy lets no picture leave any more"


def allowed(envelope: Envelope, pixels: PixelPolicy) -> Envelope:
    """Return the message as far as it may leave now. Pure."""
    if envelope.schema != SCHEMA or pixels.review_frames:
        return envelope
    body = codec.decode(envelope.body, Disagreement)
    if not body.picture:
        return envelope
    bare = msgspec.structs.replace(body, picture=b"", crop_px=None, withheld=WITHDRAWN)
    return msgspec.structs.replace(envelope, body=codec.encode(bare))


def allowed_of(batch: Batch, pixels: PixelPolicy) -> Batch:
    """Return the batch as far as it may leave now. Pure."""
    envelopes = [allowed(one, pixels) for one in batch.envelopes]
    return msgspec.structs.replace(batch, envelopes=envelopes)
