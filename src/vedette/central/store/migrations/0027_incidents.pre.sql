-- Incidents: what is wrong in each, what planned work holds back, when the engine turned last.

-- What is in an open incident, of health: a thing that is wrong is in one of its rule at most.
CREATE TABLE incident_members (
    rule        text NOT NULL,
    subject     text NOT NULL,                          -- site|device|camera|place|what
    incident    text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    PRIMARY KEY (rule, subject)
);
CREATE INDEX incident_members_of ON incident_members (incident);

-- Trouble that began during planned work; what outlasts it becomes an incident then.
CREATE TABLE alert_held (
    rule        text NOT NULL,
    subject     text NOT NULL,
    silence     text NOT NULL,
    until_ms    bigint NOT NULL,
    body        bytea NOT NULL,                         -- alerting.facts.Signal as JSON
    PRIMARY KEY (rule, subject)
);
CREATE INDEX alert_held_until ON alert_held (until_ms);

-- One row: by which time, and by which book of rules, the engine turned last.
CREATE TABLE alert_turns (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    turned_ms   bigint NOT NULL,
    book        bigint NOT NULL
);

-- What it kept from becoming an incident; of planned work.
ALTER TABLE alert_silences ADD COLUMN hidden bigint NOT NULL DEFAULT 0;

CREATE INDEX incidents_key ON incidents (key, known_ms DESC);
CREATE INDEX incidents_rule_open ON incidents (rule, changed_ms) WHERE state <> 'resolved';
CREATE INDEX incidents_inhibited ON incidents (inhibited) WHERE inhibited <> '';
CREATE INDEX incidents_resolved ON incidents (resolved_ms) WHERE resolved_ms IS NOT NULL;
