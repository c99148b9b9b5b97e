-- The first tables. Times that cross the wire or are compared with them are milliseconds since
-- 1970 UTC (`*_ms`), by central's clock unless the comment says otherwise.

-- ------------------------------------------------------------------------------- sites, devices

CREATE TABLE sites (
    site            text PRIMARY KEY,
    name            text NOT NULL,
    time_zone       text NOT NULL DEFAULT 'UTC',
    site_keys       text[] NOT NULL DEFAULT '{}',   -- raw Ed25519 keys, base64url
    site_threshold  integer NOT NULL DEFAULT 1,
    policy          bytea,                          -- wire.signed.Signed as JSON, signed by the site
    policy_version  bigint NOT NULL DEFAULT 0,
    created_ms      bigint NOT NULL
);

CREATE TABLE devices (
    device            text PRIMARY KEY,
    site              text NOT NULL REFERENCES sites,
    public_key        text NOT NULL UNIQUE,
    hardware          text NOT NULL DEFAULT '',
    version           text NOT NULL DEFAULT '',
    enrolled_ms       bigint NOT NULL,
    revoked_ms        bigint,
    -- liveness: by receive time only
    state             text NOT NULL DEFAULT 'never' CHECK (state IN ('never', 'ok', 'dark')),
    since_ms          bigint,
    last_contact_ms   bigint,
    dark_deadline_ms  bigint,
    -- the latest of what it said, moved forward only by (epoch, seq)
    boot_id           text NOT NULL DEFAULT '',
    clock_state       text NOT NULL DEFAULT '',
    health            bytea,                        -- wire.messages.HealthReport as msgpack
    health_epoch      bigint NOT NULL DEFAULT 0,
    health_seq        bigint NOT NULL DEFAULT 0,
    health_at_ms      bigint,
    drained_to_ms     bigint,                       -- all it recorded before this has arrived
    -- desired state
    settings          bytea,                        -- wire.signed.Signed as JSON, signed by central
    settings_version  bigint NOT NULL DEFAULT 0,
    desired_etag      text NOT NULL DEFAULT '',
    attended_until_ms bigint NOT NULL DEFAULT 0     -- an operator looks at it until then
);
CREATE INDEX devices_site ON devices (site);
-- Only devices that can still go dark are in this index: the liveness loop reads its head.
CREATE INDEX devices_deadline ON devices (dark_deadline_ms) WHERE state = 'ok';

CREATE TABLE device_transitions (
    device      text NOT NULL REFERENCES devices ON DELETE CASCADE,
    at_ms       bigint NOT NULL,                    -- when it happened
    noticed_ms  bigint NOT NULL,                    -- when central knew
    state       text NOT NULL CHECK (state IN ('ok', 'dark')),
    PRIMARY KEY (device, at_ms, state)
);

-- --------------------------------------------------------------- who may speak: enrolment, tokens

CREATE TABLE claim_tokens (
    token_hash  bytea PRIMARY KEY,
    site        text NOT NULL REFERENCES sites,
    device      text,                               -- the name it will get; NULL: one is made
    created_ms  bigint NOT NULL,
    expires_ms  bigint NOT NULL,
    used_ms     bigint,
    used_by     text
);

CREATE TABLE nonces (
    nonce_hash  bytea PRIMARY KEY,
    expires_ms  bigint NOT NULL
);
CREATE INDEX nonces_expiry ON nonces (expires_ms);

CREATE TABLE access_tokens (
    token_hash  bytea PRIMARY KEY,
    device      text NOT NULL REFERENCES devices ON DELETE CASCADE,
    expires_ms  bigint NOT NULL
);
CREATE INDEX access_tokens_expiry ON access_tokens (expires_ms);
CREATE INDEX access_tokens_device ON access_tokens (device);

-- ---------------------------------------------------------------------------- what was received

-- One row per lane of a device's spool: the memory that makes ingest exactly-once.
CREATE TABLE lanes (
    device         text NOT NULL REFERENCES devices ON DELETE CASCADE,
    epoch          bigint NOT NULL,
    lane           text NOT NULL,
    acked_through  bigint NOT NULL DEFAULT 0,
    have           bigint[] NOT NULL DEFAULT '{}',  -- closed ranges above acked_through: lo, hi, lo, hi
    PRIMARY KEY (device, epoch, lane)
);

-- Raw messages, by how long they are kept, then by day of receipt; dropped a partition at a time.
CREATE TABLE reports (
    keep_days    smallint NOT NULL,
    day          date NOT NULL,
    device       text NOT NULL,
    epoch        bigint NOT NULL,
    lane         text NOT NULL,
    seq          bigint NOT NULL,
    received_ms  bigint NOT NULL,
    made_ms      bigint,                            -- when the device made it; NULL: not datable
    schema       text NOT NULL,
    outcome      text NOT NULL,                     -- accepted, undated, rejected: reason
    boot_id      text NOT NULL,
    t_wall_ms    bigint NOT NULL,                   -- by the device's clock
    t_mono_ms    bigint NOT NULL,
    clock_state  text NOT NULL,
    body         bytea NOT NULL
) PARTITION BY LIST (keep_days);

CREATE INDEX reports_key ON reports (device, epoch, lane, seq);

CREATE TABLE reports_7 PARTITION OF reports FOR VALUES IN (7) PARTITION BY RANGE (day);
CREATE TABLE reports_90 PARTITION OF reports FOR VALUES IN (90) PARTITION BY RANGE (day);
CREATE TABLE reports_other PARTITION OF reports DEFAULT;
CREATE TABLE reports_7_other PARTITION OF reports_7 DEFAULT;
CREATE TABLE reports_90_other PARTITION OF reports_90 DEFAULT;

CREATE TABLE cameras (
    device         text NOT NULL REFERENCES devices ON DELETE CASCADE,
    camera         text NOT NULL,
    name           text NOT NULL DEFAULT '',
    known_from_ms  bigint NOT NULL,                 -- start of the first time it spoke of
    state          text NOT NULL DEFAULT 'unknown',
    since_ms       bigint,
    cause          text,
    signs          text[] NOT NULL DEFAULT '{}',
    detail         text NOT NULL DEFAULT '',
    state_epoch    bigint NOT NULL DEFAULT 0,
    state_seq      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (device, camera)
);

CREATE TABLE camera_states (
    device      text NOT NULL,
    camera      text NOT NULL,
    epoch       bigint NOT NULL,
    seq         bigint NOT NULL,
    at_ms       bigint NOT NULL,
    noticed_ms  bigint NOT NULL,
    state       text NOT NULL,
    cause       text,
    signs       text[] NOT NULL DEFAULT '{}',
    detail      text NOT NULL DEFAULT '',
    PRIMARY KEY (device, camera, epoch, seq),
    FOREIGN KEY (device, camera) REFERENCES cameras ON DELETE CASCADE
);
CREATE INDEX camera_states_at ON camera_states (device, camera, at_ms);

-- What was claimed about a camera's time. `weak` claims fill holes only. Resolved by
-- central.coverage when read, so the order of arrival cannot matter.
CREATE TABLE coverage_claims (
    device    text NOT NULL,
    camera    text NOT NULL,
    start_ms  bigint NOT NULL,
    end_ms    bigint NOT NULL CHECK (end_ms > start_ms),
    cause     text,                                 -- NULL: observed
    weak      boolean NOT NULL DEFAULT false,
    rate_fps  double precision,
    detail    text NOT NULL DEFAULT ''
    -- no foreign key: ingest writes the camera in the same transaction, and a check per row costs
);
CREATE INDEX coverage_claims_end ON coverage_claims (device, camera, end_ms);

CREATE TABLE events (
    device       text NOT NULL,
    event        text NOT NULL,
    site         text NOT NULL,
    camera       text NOT NULL,
    kind         text NOT NULL,
    at_ms        bigint NOT NULL,
    received_ms  bigint NOT NULL,
    late         boolean NOT NULL,
    dated        boolean NOT NULL DEFAULT true,     -- false: at_ms is only the latest it can have been
    label        text NOT NULL DEFAULT '',
    where_name   text NOT NULL DEFAULT '',
    evidence     text NOT NULL DEFAULT '',
    body         bytea NOT NULL,                    -- wire.messages.EventReport as msgpack
    PRIMARY KEY (device, event)
);
CREATE INDEX events_at ON events (at_ms DESC, event DESC);
CREATE INDEX events_camera ON events (device, camera, at_ms DESC);
CREATE INDEX events_id ON events (event);

CREATE TABLE evidence (
    device       text NOT NULL,
    evidence     text NOT NULL,
    event        text NOT NULL,
    camera       text NOT NULL,
    status       text NOT NULL,
    stays        boolean NOT NULL,
    received_ms  bigint NOT NULL,
    epoch        bigint NOT NULL,
    seq          bigint NOT NULL,
    body         bytea NOT NULL,                    -- wire.messages.EvidenceRecord as msgpack
    PRIMARY KEY (device, evidence)
);

-- ------------------------------------------------------------------------------------- rollups

-- One merged wire.messages.Aggregate (msgpack, without spans) per camera and minute, hour, day.
CREATE TABLE rollup_minute (
    device    text NOT NULL,
    camera    text NOT NULL,
    start_ms  bigint NOT NULL,
    body      bytea NOT NULL,
    PRIMARY KEY (device, camera, start_ms)
);
CREATE TABLE rollup_hour (LIKE rollup_minute INCLUDING ALL);
CREATE TABLE rollup_day (LIKE rollup_minute INCLUDING ALL);

-- Hours whose minutes changed since they were merged.
CREATE TABLE rollup_dirty (
    device     text NOT NULL,
    camera     text NOT NULL,
    hour_ms    bigint NOT NULL,
    marked_ms  bigint NOT NULL,
    PRIMARY KEY (device, camera, hour_ms)
);
CREATE INDEX rollup_dirty_marked ON rollup_dirty (marked_ms);

-- ----------------------------------------------------------------------- what operators ask for

CREATE TABLE requests (
    request      text PRIMARY KEY,
    device       text NOT NULL REFERENCES devices ON DELETE CASCADE,
    kind         text NOT NULL,
    camera       text NOT NULL DEFAULT '',
    asked_by     text NOT NULL,
    asked_ms     bigint NOT NULL,
    expires_ms   bigint NOT NULL,
    answered_ms  bigint,
    answer       bytea                              -- the privacy-safe JPEG
);
CREATE INDEX requests_camera ON requests (device, camera, asked_ms DESC);
CREATE INDEX requests_open ON requests (device) WHERE answered_ms IS NULL;

CREATE TABLE users (
    username       text PRIMARY KEY,
    password_hash  text NOT NULL,                   -- argon2id; '' until set up
    role           text NOT NULL CHECK (role IN ('viewer', 'reviewer', 'operator', 'admin')),
    sites          text[],                          -- NULL: all
    created_ms     bigint NOT NULL,
    disabled_ms    bigint
);

-- A one-time link to set a password: first run, and resets.
CREATE TABLE setup_tokens (
    token_hash  bytea PRIMARY KEY,
    username    text NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_ms  bigint NOT NULL
);

CREATE TABLE sessions (
    token_hash  bytea PRIMARY KEY,
    username    text NOT NULL REFERENCES users ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('browser', 'api')),
    label       text NOT NULL DEFAULT '',
    csrf        text NOT NULL,
    created_ms  bigint NOT NULL,
    seen_ms     bigint NOT NULL,
    expires_ms  bigint NOT NULL
);

-- Each row's hash covers the row before it: nothing can be taken out of the middle unseen.
CREATE TABLE audit_log (
    number     bigint PRIMARY KEY,
    at_ms      bigint NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL,
    detail     bytea NOT NULL,                      -- JSON
    prev_hash  bytea NOT NULL,
    hash       bytea NOT NULL
);

-- ------------------------------------------------------------------------ central's own presence

CREATE TABLE central_heartbeat (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    beat_ms  bigint NOT NULL
);
CREATE TABLE central_downs (
    start_ms  bigint PRIMARY KEY,
    end_ms    bigint NOT NULL CHECK (end_ms > start_ms)
);
