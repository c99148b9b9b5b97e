-- Exports: events and evidence for other systems; holds, which keep evidence whatever its age.

CREATE TABLE exports (
    export      text PRIMARY KEY,
    version     bigint NOT NULL DEFAULT 1,
    enabled     boolean NOT NULL DEFAULT true,
    body        bytea NOT NULL,                         -- exporting.facts.Export as JSON
    changed_by  text NOT NULL,
    changed_ms  bigint NOT NULL
);

-- What no turn has looked at yet: written with the event, the record or the clip.
CREATE TABLE export_inbox (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,                          -- event, evidence, clip; fetch: ask for it
    device      text NOT NULL,
    event       text NOT NULL,
    evidence    text NOT NULL DEFAULT '',
    received_ms bigint NOT NULL
);

CREATE INDEX export_inbox_fetch ON export_inbox (device, evidence) WHERE kind = 'fetch';

-- What nobody may let go: an event, with its evidence on the device and here where it has any.
CREATE TABLE evidence_holds (
    device      text NOT NULL REFERENCES devices ON DELETE CASCADE,
    event       text NOT NULL,
    evidence    text NOT NULL,                          -- '': the event has none
    site        text NOT NULL,
    camera      text NOT NULL,
    reason      text NOT NULL,
    held_by     text NOT NULL,
    held_ms     bigint NOT NULL,
    PRIMARY KEY (device, event)
);
CREATE INDEX evidence_holds_evidence ON evidence_holds (device, evidence);
CREATE INDEX evidence_holds_newest ON evidence_holds (held_ms DESC, device, event);

ALTER TABLE requests ADD COLUMN reason text NOT NULL DEFAULT '';   -- of kinds hold and release
CREATE INDEX requests_holds ON requests (device, evidence) WHERE kind IN ('hold', 'release');
