-- An hour is closed when its minutes were dropped: from then on it is what late minutes are added
-- to. Until then it is always merged from all of its minutes, so that none can count twice.

ALTER TABLE rollup_hour ADD COLUMN closed boolean NOT NULL DEFAULT false;

UPDATE rollup_hour h SET closed = true WHERE NOT EXISTS (
    SELECT FROM rollup_minute m WHERE m.device = h.device AND m.camera = h.camera
    AND m.start_ms >= h.start_ms AND m.start_ms < h.start_ms + 3600000);

CREATE INDEX rollup_hour_open ON rollup_hour (start_ms) WHERE NOT closed;
