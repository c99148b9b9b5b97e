-- Rollouts: what an operator asked for, where it is, what each device made of it, and why.

CREATE TABLE rollouts (
    rollout        text PRIMARY KEY,
    kind           text NOT NULL,                       -- wire.slots.ArtefactKind
    slot           text NOT NULL,
    digest         text NOT NULL,                       -- of the artefact
    plan           bytea NOT NULL,                      -- rollouts.facts.Plan as JSON
    sites          text[] NOT NULL,                     -- of the plan; {*}: all
    note           text NOT NULL DEFAULT '',
    state          text NOT NULL,                       -- rollouts.facts.RolloutState
    stage          integer,                             -- index into the plan; NULL: not begun
    since_ms       bigint NOT NULL,                     -- of the state
    progress       bytea NOT NULL,                      -- rollouts.facts.Progress as JSON
    version        bigint NOT NULL DEFAULT 1,           -- counts changes: whoever changes names it
    reason         text NOT NULL DEFAULT '',            -- of the state, in words
    made_by        text NOT NULL,
    made_ms        bigint NOT NULL,
    approved_by    text[] NOT NULL DEFAULT '{}',        -- people at central; the offline keys are apart
    approved_ms    bigint,
    started_ms     bigint,
    due_ms         bigint,                              -- when it is decided about next; NULL: never
    superseded_by  text NOT NULL DEFAULT '',
    approval       bytea                                -- wire.updates.Approval, as last read
);
CREATE INDEX rollouts_due ON rollouts (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX rollouts_made ON rollouts (made_ms DESC, rollout DESC);

-- One row for each device that could take part.
CREATE TABLE rollout_devices (
    rollout        text NOT NULL REFERENCES rollouts ON DELETE CASCADE,
    device         text NOT NULL REFERENCES devices ON DELETE CASCADE,
    state          text,                                -- wire.slots.UpdateState; NULL: nothing assigned
    attempt        integer NOT NULL DEFAULT 0,          -- the highest that was ever assigned
    stage          integer,                             -- that it was taken into
    since_ms       bigint,                              -- of the state, by central's clock
    digest         text NOT NULL DEFAULT '',            -- assigned by this rollout; '': nothing
    is_shadow      boolean NOT NULL DEFAULT false,
    before         bytea,                               -- wire.updates.Artefact that was in the slot
    assigned_ms    bigint,                              -- of this attempt
    active_ms      bigint,                              -- first seen active in this attempt
    confirmed_ms   bigint,                              -- by a decision, after a heartbeat named it
    detail         text NOT NULL DEFAULT '',
    -- evidence, added up as hours are known in full: see rollouts.evidence
    covered_h      double precision NOT NULL DEFAULT 0, -- since it was confirmed
    covered_ms     bigint,                              -- added up to here
    before_h       double precision,                    -- camera-hours before the start; NULL: not yet
    since_h        double precision NOT NULL DEFAULT 0, -- camera-hours in this stage
    since_from_ms  bigint,
    gathered_ms    bigint,                              -- added up to here
    PRIMARY KEY (rollout, device)
);
CREATE INDEX rollout_devices_device ON rollout_devices (device);

-- Every transition of a rollout (device '') and of its devices, with who and why.
CREATE TABLE rollout_history (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollout  text NOT NULL REFERENCES rollouts ON DELETE CASCADE,
    device   text NOT NULL DEFAULT '',
    at_ms    bigint NOT NULL,
    actor    text NOT NULL,                             -- a person, `central`, `device`
    was      text NOT NULL DEFAULT '',
    state    text NOT NULL,
    stage    integer,
    attempt  integer NOT NULL DEFAULT 0,
    reason   text NOT NULL DEFAULT ''
);
CREATE INDEX rollout_history_of ON rollout_history (rollout, number DESC);
CREATE INDEX rollout_history_device ON rollout_history (rollout, device, number DESC);

-- What each gate of a stage said last, with the numbers that it said it by.
CREATE TABLE rollout_gates (
    rollout   text NOT NULL REFERENCES rollouts ON DELETE CASCADE,
    stage     integer NOT NULL,
    gate      text NOT NULL,
    verdict   text NOT NULL,                            -- rollouts.facts.Verdict
    at_ms     bigint NOT NULL,                          -- since when it says so
    looked_ms bigint NOT NULL,
    result    bytea NOT NULL,                           -- rollouts.facts.GateResult as JSON
    course    bytea NOT NULL,                           -- [[ms, value], …] as JSON: for a plot
    PRIMARY KEY (rollout, stage, gate)
);

-- What is assigned: one artefact for each slot of a device; the signed whole is with the device.
CREATE TABLE assigned (
    device   text NOT NULL REFERENCES devices ON DELETE CASCADE,
    slot     text NOT NULL,
    rollout  text NOT NULL,
    item     bytea NOT NULL,                            -- wire.updates.Assigned as JSON
    PRIMARY KEY (device, slot)
);
CREATE INDEX assigned_rollout ON assigned (rollout);

-- What central put into a slot and a heartbeat named: what a device can be sent back to.
CREATE TABLE installed (
    device    text NOT NULL REFERENCES devices ON DELETE CASCADE,
    slot      text NOT NULL,
    artefact  bytea NOT NULL,                           -- wire.updates.Artefact as JSON
    PRIMARY KEY (device, slot)
);

-- Devices whose assignment has to be signed again.
CREATE TABLE assigned_dirty (
    device  text PRIMARY KEY REFERENCES devices ON DELETE CASCADE
);

ALTER TABLE devices
    ADD COLUMN assignment bytea,                        -- wire.signed.Signed as JSON, by central
    ADD COLUMN assignment_version bigint NOT NULL DEFAULT 0;

-- What devices say of their slots, from the newest health report; changed only where it changed.
CREATE TABLE device_slots (
    device      text NOT NULL REFERENCES devices ON DELETE CASCADE,
    slot        text NOT NULL,
    kind        text NOT NULL,
    rollout     text NOT NULL DEFAULT '',
    attempt     integer NOT NULL DEFAULT 0,
    state       text NOT NULL DEFAULT '',
    digest      text NOT NULL DEFAULT '',
    running     text NOT NULL DEFAULT '',
    previous    text NOT NULL DEFAULT '',
    problem     text NOT NULL DEFAULT '',
    bytes_done  bigint NOT NULL DEFAULT 0,
    bytes       bigint NOT NULL DEFAULT 0,
    load_s      double precision,
    golden_ok   boolean,
    epoch       bigint NOT NULL,
    seq         bigint NOT NULL,
    changed_ms  bigint NOT NULL,                        -- received
    PRIMARY KEY (device, slot)
);

-- Counters that devices report, as of the newest report: what they grew by is counted by the hour.
CREATE TABLE device_counters (
    device              text PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    epoch               bigint NOT NULL,
    seq                 bigint NOT NULL,
    assignment_version  bigint NOT NULL DEFAULT 0,
    crashes             bigint NOT NULL DEFAULT 0,
    restarts            bigint NOT NULL DEFAULT 0,
    golden_failed       boolean NOT NULL DEFAULT false
);

-- Bad events by device and hour (UTC, by central's clock): crash, restart, golden, silent_minute.
CREATE TABLE device_bad_hours (
    device   text NOT NULL REFERENCES devices ON DELETE CASCADE,
    hour_ms  bigint NOT NULL,
    kind     text NOT NULL,
    count    bigint NOT NULL,
    PRIMARY KEY (device, hour_ms, kind)
);
CREATE INDEX device_bad_hours_age ON device_bad_hours (hour_ms);

-- How far a device is with an attempt: within one it only goes forward. What central said (`lost`)
-- gives way to whatever the device says.
CREATE FUNCTION update_rank(state text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_position(ARRAY['lost', 'assigned', 'downloaded', 'verified',
        'waiting_window', 'activating', 'shadowing', 'probation', 'confirmed', 'reverted', 'skipped'],
        state), 0)
$$;

-- The first full hour from a moment on.
CREATE FUNCTION ceil_hour(at_ms bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (at_ms + 3599999) / 3600000 * 3600000
$$;

-- Latency and confidence of sampled devices before the rollout and in a stage; NULL: nothing there.
CREATE TABLE rollout_measured (
    rollout            text NOT NULL REFERENCES rollouts ON DELETE CASCADE,
    stage              integer NOT NULL,
    device             text NOT NULL REFERENCES devices ON DELETE CASCADE,
    taken              boolean NOT NULL,
    to_ms              bigint NOT NULL,
    latency_before_ms  double precision,
    latency_after_ms   double precision,
    confidence_before  double precision,
    confidence_after   double precision,
    PRIMARY KEY (rollout, stage, device)
);
