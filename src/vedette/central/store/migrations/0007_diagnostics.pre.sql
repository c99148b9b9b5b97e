-- Questions about a device besides pictures: what was asked exactly, and the form of the answer.

ALTER TABLE requests
    ADD COLUMN lines         integer NOT NULL DEFAULT 0,
    ADD COLUMN with_cameras  boolean NOT NULL DEFAULT false,
    ADD COLUMN content_type  text NOT NULL DEFAULT '',
    ADD COLUMN refused       text NOT NULL DEFAULT '';   -- in the device's words; '' where it answered

CREATE INDEX requests_device ON requests (device, asked_ms DESC, request DESC);
