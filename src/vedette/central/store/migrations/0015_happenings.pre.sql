-- What happened to a device, as its health reports tell it, and what a timeline is read from.

-- Changes from one report to the next: starts, heat, programs, settings, models. Derived from raw
-- reports when their hour is complete, so that it outlives them: vedette.central.timeline.keeping.
CREATE TABLE happenings (
    device  text NOT NULL REFERENCES devices ON DELETE CASCADE,
    at_ms   bigint NOT NULL,
    kind    text NOT NULL,                              -- timeline.told.KINDS
    number  smallint NOT NULL,                          -- of several at one moment
    detail  bytea NOT NULL,                             -- JSON
    PRIMARY KEY (device, at_ms, kind, number)
);

CREATE INDEX happenings_age ON happenings (at_ms);

-- Up to where that was done, and how the device was then: the next report is compared with it.
CREATE TABLE happenings_through (
    device      text PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    through_ms  bigint NOT NULL,
    last        bytea                                   -- timeline.told.Last as msgpack
);

-- Gaps that are rare and worth a line each; all others are states of cameras and devices.
CREATE INDEX coverage_claims_rare ON coverage_claims (device, start_ms)
WHERE cause IN ('PIPELINE_STOPPED', 'EVICTED', 'CLOCK_UNTRUSTED') AND NOT weak;

-- What was done to one site or device.
CREATE INDEX audit_log_place ON audit_log (split_part(target, '/', 1), at_ms DESC);
