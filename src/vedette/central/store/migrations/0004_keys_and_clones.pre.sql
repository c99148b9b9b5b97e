-- Who may speak, under which key, and when two speak with one: rotation, revocation, quarantine;
-- whole sites that are dark; faults of central's own clock.

ALTER TABLE devices
    -- `generation` moves with every change of who holds the name: older tokens are worth nothing
    ADD COLUMN generation       integer NOT NULL DEFAULT 1,
    ADD COLUMN key_since_ms     bigint,                     -- NULL: since it was enrolled
    ADD COLUMN next_key         text UNIQUE,                -- announced, not yet used
    ADD COLUMN next_key_ms      bigint,
    ADD COLUMN rotate_asked_ms  bigint,                     -- an operator demands another key
    ADD COLUMN revoked_reason   text NOT NULL DEFAULT '',
    ADD COLUMN min_epoch        bigint NOT NULL DEFAULT 0,  -- whoever took the name over begins here
    -- two copies with one key: see central.ingest.clones
    ADD COLUMN sent_mono_ms     bigint,                     -- of its last batch, within boot_id
    ADD COLUMN lives            bytea,                      -- clones.Lives as msgpack
    ADD COLUMN quarantined_ms   bigint,
    ADD COLUMN quarantine       bytea,                      -- clones.Evidence as JSON
    ADD COLUMN set_aside_bytes  bigint NOT NULL DEFAULT 0;

ALTER TABLE access_tokens ADD COLUMN generation integer NOT NULL DEFAULT 1;

-- Keys that spoke for a device once and never will again.
CREATE TABLE retired_keys (
    public_key  text PRIMARY KEY,
    device      text NOT NULL,
    retired_ms  bigint NOT NULL,
    why         text NOT NULL                               -- rotated, replaced
);

ALTER TABLE claim_tokens
    ADD COLUMN replaces      boolean NOT NULL DEFAULT false, -- may take over the name of a device
    ADD COLUMN made_by       text NOT NULL DEFAULT '',
    ADD COLUMN withdrawn_ms  bigint;

-- What a device in quarantine sent: kept as it came, counted nowhere until a person says so.
CREATE TABLE set_aside (
    number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device       text NOT NULL REFERENCES devices ON DELETE CASCADE,
    copy         text NOT NULL,                             -- which of the copies: boot id / epoch
    received_ms  bigint NOT NULL,
    made_ms      bigint,
    shift_ms     bigint NOT NULL,
    latest_ms    bigint NOT NULL,
    epoch        bigint NOT NULL,
    lane         text NOT NULL,
    seq          bigint NOT NULL,
    schema       text NOT NULL,
    boot_id      text NOT NULL,
    t_wall_ms    bigint NOT NULL,
    t_mono_ms    bigint NOT NULL,
    clock_state  text NOT NULL,
    body         bytea NOT NULL
);
CREATE INDEX set_aside_device ON set_aside (device, number);

-- A whole site that is dark is one fact.
ALTER TABLE sites ADD COLUMN dark_since_ms bigint;
CREATE TABLE site_transitions (
    site        text NOT NULL REFERENCES sites ON DELETE CASCADE,
    at_ms       bigint NOT NULL,                            -- when it happened
    noticed_ms  bigint NOT NULL,                            -- when central knew
    state       text NOT NULL CHECK (state IN ('ok', 'dark')),
    devices     text[] NOT NULL,                            -- that fell silent together, or came back
    PRIMARY KEY (site, at_ms, state)
);

-- When central's own wall clock was moved, and what was done about it.
CREATE TABLE clock_steps (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noticed_ms  bigint NOT NULL,                            -- by the time that central went on with
    by_ms       bigint NOT NULL,                            -- forwards above zero
    outcome     text NOT NULL                               -- held, followed, ended, set_back
);
