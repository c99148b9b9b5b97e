-- Rules of alerts: what is looked at when, and what of it has to be remembered in between.

-- One number for everything that people wrote: it moves with each change of a document.
CREATE TABLE alert_book (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    version     bigint NOT NULL
);
INSERT INTO alert_book (version) VALUES (0);

-- Who is looked at for trouble is found by where it would be.
ALTER TABLE alert_conditions
    ADD COLUMN site   text GENERATED ALWAYS AS (split_part(subject, '|', 1)) STORED,
    ADD COLUMN device text GENERATED ALWAYS AS (split_part(subject, '|', 2)) STORED,
    ADD COLUMN gone   boolean NOT NULL DEFAULT false;   -- over at once: nobody asks for it any more
CREATE INDEX alert_conditions_device ON alert_conditions (device);
CREATE INDEX alert_conditions_site ON alert_conditions (site);

-- When each source of trouble was looked at last, by which version of the rules, and what it was
-- like then: while that stands, nobody has to look again.
CREATE TABLE alert_looks (
    source      text PRIMARY KEY,
    looked_ms   bigint NOT NULL,
    book        bigint NOT NULL,
    mark        text NOT NULL DEFAULT ''
);

-- What is in trouble is few of many: each look reads these alone.
CREATE INDEX devices_in_trouble ON devices (device)
WHERE state = 'dark' OR quarantined_ms IS NOT NULL;
CREATE INDEX cameras_in_trouble ON cameras (device, camera)
WHERE state IN ('down', 'tampered', 'degraded');
CREATE INDEX device_slots_in_trouble ON device_slots (device, slot)
WHERE state = 'reverted' OR problem <> '';

-- Crashes that a device's reports spoke of: how many in all, and when the newest were seen.
CREATE TABLE alert_crashes (
    device      text PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    crashes     bigint NOT NULL,
    at_ms       bigint[] NOT NULL DEFAULT '{}'
);

CREATE INDEX alert_documents_newest ON alert_documents (kind, name, version DESC);
CREATE INDEX alert_documents_changed ON alert_documents (changed_ms DESC);
