-- Alerts: what is worth telling, incidents, who was told.

-- Rules, ladders, schedules and people's contacts as they were written; the newest version counts.
CREATE TABLE alert_documents (
    kind        text NOT NULL,                          -- rule, ladder, schedule, contacts
    name        text NOT NULL,
    version     bigint NOT NULL,
    body        bytea,                                  -- alerting.facts as JSON; NULL: removed
    changed_by  text NOT NULL,
    changed_ms  bigint NOT NULL,
    note        text NOT NULL DEFAULT '',
    PRIMARY KEY (kind, name, version)
);

-- Events that no turn has looked at yet; written with the event, taken with what follows of it.
CREATE TABLE alert_inbox (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device      text NOT NULL,
    event       text NOT NULL,
    received_ms bigint NOT NULL
);

-- Trouble that holds now, or did a moment ago: what a rule's `for_s` and `clear_s` are counted by.
CREATE TABLE alert_conditions (
    rule        text NOT NULL,
    subject     text NOT NULL,                          -- site|device|camera|place|what
    since_ms    bigint NOT NULL,
    well_ms     bigint,                                 -- since when it is well again
    raised_ms   bigint,                                 -- NULL: not long enough yet
    value       double precision,
    text        text NOT NULL DEFAULT '',
    due_ms      bigint,                                 -- when it is looked at next without news
    PRIMARY KEY (rule, subject)
);
CREATE INDEX alert_conditions_due ON alert_conditions (due_ms) WHERE due_ms IS NOT NULL;

-- Events counted towards a rule that wants several within a time.
CREATE TABLE alert_counts (
    rule        text NOT NULL,
    key         text NOT NULL,
    at_ms       bigint[] NOT NULL,
    PRIMARY KEY (rule, key)
);

CREATE TABLE incidents (
    incident    text PRIMARY KEY,
    key         text NOT NULL,                          -- rule and group
    rule        text NOT NULL,
    severity    text NOT NULL,
    state       text NOT NULL,                          -- alerting.facts.IncidentState
    title       text NOT NULL,
    site        text NOT NULL DEFAULT '',               -- '': more than one
    device      text NOT NULL DEFAULT '',
    camera      text NOT NULL DEFAULT '',
    opened_ms   bigint NOT NULL,
    changed_ms  bigint NOT NULL,
    known_ms    bigint NOT NULL,
    resolved_ms bigint,
    silenced    text NOT NULL DEFAULT '',
    inhibited   text NOT NULL DEFAULT '',
    late_only   boolean NOT NULL DEFAULT false,
    due_ms      bigint,                                 -- NULL: not before news
    version     bigint NOT NULL,
    body        bytea NOT NULL                          -- alerting.facts.Incident as JSON
);
CREATE UNIQUE INDEX incidents_open ON incidents (key) WHERE state <> 'resolved';
CREATE INDEX incidents_due ON incidents (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX incidents_newest ON incidents (opened_ms DESC, incident DESC);
CREATE INDEX incidents_site ON incidents (site, opened_ms DESC);

-- Which sites an incident of several concerns: who may see it.
CREATE TABLE incident_sites (
    incident    text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    site        text NOT NULL,
    PRIMARY KEY (incident, site)
);
CREATE INDEX incident_sites_site ON incident_sites (site);

CREATE TABLE incident_events (
    incident    text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    device      text NOT NULL,
    event       text NOT NULL,
    at_ms       bigint NOT NULL,
    late        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (incident, device, event)
);
CREATE INDEX incident_events_of ON incident_events (device, event);

CREATE TABLE incident_history (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident    text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    at_ms       bigint NOT NULL,
    kind        text NOT NULL,
    actor       text NOT NULL,
    text        text NOT NULL DEFAULT '',
    body        bytea                                   -- alerting.facts.History as JSON
);
CREATE INDEX incident_history_of ON incident_history (incident, number);

CREATE TABLE alert_silences (
    silence     text PRIMARY KEY,
    from_ms     bigint NOT NULL,
    to_ms       bigint NOT NULL,
    ended_ms    bigint,
    body        bytea NOT NULL                          -- alerting.facts.Silence as JSON
);
CREATE INDEX alert_silences_to ON alert_silences (to_ms);

CREATE TABLE alert_overrides (
    override    text PRIMARY KEY,
    schedule    text NOT NULL,
    person      text NOT NULL,
    from_ms     bigint NOT NULL,
    to_ms       bigint NOT NULL,
    body        bytea NOT NULL                          -- alerting.facts.Override as JSON
);
CREATE INDEX alert_overrides_of ON alert_overrides (schedule, to_ms);

-- Where notices go; what is secret in it is encrypted under a key that the database does not have.
CREATE TABLE alert_channels (
    channel     text PRIMARY KEY,
    kind        text NOT NULL,                          -- webhook, mail, mqtt, apprise
    body        bytea NOT NULL,                         -- its settings without secrets, as JSON
    secret      bytea,                                  -- sealed
    enabled     boolean NOT NULL DEFAULT true,
    disabled_why text NOT NULL DEFAULT '',
    version     bigint NOT NULL DEFAULT 1,
    changed_by  text NOT NULL,
    changed_ms  bigint NOT NULL
);

-- One row for each notice and each thing exported: what is to be sent, and what became of it.
CREATE TABLE deliveries (
    delivery    text PRIMARY KEY,                       -- the webhook-id too: the same at each try
    key         text NOT NULL UNIQUE,                   -- alerting.facts.Notice.key
    channel     text NOT NULL,
    address     text NOT NULL DEFAULT '',
    person      text NOT NULL DEFAULT '',
    incident    text NOT NULL DEFAULT '',
    kind        text NOT NULL,
    state       text NOT NULL DEFAULT 'waiting',        -- waiting sending sent dead cancelled
    made_ms     bigint NOT NULL,
    asked_ms    bigint NOT NULL,                        -- Notice.due_ms
    due_ms      bigint,                                 -- when it is tried next; NULL: not
    leased_ms   bigint,                                 -- until when whoever sends it now has it
    tries       integer NOT NULL DEFAULT 0,
    done_ms     bigint,
    said        text NOT NULL DEFAULT '',               -- what the last try came to, in words
    body        bytea NOT NULL                          -- the Notice as JSON
);
CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX deliveries_newest ON deliveries (made_ms DESC, delivery DESC);
CREATE INDEX deliveries_incident ON deliveries (incident);
CREATE INDEX deliveries_dead ON deliveries (made_ms DESC) WHERE state = 'dead';
