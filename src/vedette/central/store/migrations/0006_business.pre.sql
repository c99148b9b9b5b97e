-- What the fleet is for, beside what it sees: objectives, figures of the business, people's word.

-- How much of a month must be observed, by site or folder; the nearest one holds.
CREATE TABLE slo_targets (
    place       text PRIMARY KEY,                   -- site:lisbon-3, folder:europe/portugal, '' : all
    percent     double precision NOT NULL CHECK (percent > 0 AND percent < 100),
    changed_ms  bigint NOT NULL,
    changed_by  text NOT NULL
);

-- Figures that somebody else measures: receipts, scrap, turnover.
CREATE TABLE kpis (
    kpi         text PRIMARY KEY,
    title       text NOT NULL,
    unit        text NOT NULL DEFAULT '',
    adds_up     boolean NOT NULL,                   -- true: a sum over time; false: a level, averaged by time
    changed_ms  bigint NOT NULL,
    changed_by  text NOT NULL
);

-- One figure of one site over one stretch of time; sent again, it replaces what was there.
CREATE TABLE kpi_values (
    kpi          text NOT NULL REFERENCES kpis ON DELETE CASCADE,
    site         text NOT NULL REFERENCES sites ON DELETE CASCADE,
    start_ms     bigint NOT NULL,
    end_ms       bigint NOT NULL CHECK (end_ms > start_ms),
    value        double precision NOT NULL,
    received_ms  bigint NOT NULL,
    PRIMARY KEY (kpi, site, start_ms)
);

-- A person said that a model was wrong, or right after all.
CREATE TABLE overrides (
    override     text PRIMARY KEY,
    site         text NOT NULL,
    device       text NOT NULL,
    camera       text NOT NULL,
    event        text NOT NULL DEFAULT '',          -- the event that was judged; '': only a moment
    at_ms        bigint NOT NULL,
    model        text NOT NULL DEFAULT '',
    said         text NOT NULL DEFAULT '',          -- what the model said
    verdict      text NOT NULL CHECK (verdict IN ('right', 'wrong', 'unsure')),
    correct      text NOT NULL DEFAULT '',          -- what it was, where it was wrong
    note         text NOT NULL DEFAULT '',
    said_by      text NOT NULL,
    received_ms  bigint NOT NULL
);
CREATE INDEX overrides_at ON overrides (at_ms);
CREATE UNIQUE INDEX overrides_event ON overrides (device, event, said_by) WHERE event <> '';

-- What things cost, by site or folder; the nearest one holds.
CREATE TABLE cost_rates (
    place        text PRIMARY KEY,
    currency     text NOT NULL,
    device_hour  double precision NOT NULL,         -- purchase and care of one device, per hour
    kwh          double precision NOT NULL,
    gigabyte     double precision NOT NULL,         -- sent over the site's line
    watts        double precision NOT NULL,         -- where a device cannot tell what it draws
    changed_ms   bigint NOT NULL,
    changed_by   text NOT NULL
);
