-- Proof on notices: clips that a ladder's step asks for; who was on call when that was looked at.

-- What a device is to be asked for, or was and has not answered.
CREATE TABLE alert_asks (
    device      text NOT NULL,
    evidence    text NOT NULL,
    incident    text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    event       text NOT NULL,
    site        text NOT NULL,
    camera      text NOT NULL,
    made_ms     bigint NOT NULL,
    due_ms      bigint,                                 -- when it is asked; NULL: it was
    PRIMARY KEY (device, evidence)
);
CREATE INDEX alert_asks_due ON alert_asks (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX alert_asks_incident ON alert_asks (incident);

-- Who was on call when that was looked at last, of schedules that tell at hand-over.
CREATE TABLE alert_duties (
    schedule    text PRIMARY KEY,
    person      text NOT NULL,                          -- '': nobody
    since_ms    bigint NOT NULL,
    due_ms      bigint,                                 -- when it may be somebody else; NULL: never
    said        text NOT NULL DEFAULT ''                -- what telling them came to
);
CREATE INDEX alert_duties_due ON alert_duties (due_ms) WHERE due_ms IS NOT NULL;

-- What whoever is on call leaves to whoever comes; told with the next hand-over, once.
CREATE TABLE alert_handovers (
    schedule    text PRIMARY KEY,
    note        text NOT NULL,
    made_by     text NOT NULL,
    made_ms     bigint NOT NULL
);
