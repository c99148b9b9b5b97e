-- Settings: where sessions come from, who an identity provider brought, what the audit log was
-- checked to, what jobs did, how large things are.

ALTER TABLE sessions ADD COLUMN address text NOT NULL DEFAULT '';   -- from where it was opened
ALTER TABLE sessions ADD COLUMN agent text NOT NULL DEFAULT '';     -- what the browser called itself

ALTER TABLE users ADD COLUMN seen_ms bigint;                        -- last seen, beside open sessions
ALTER TABLE users ADD COLUMN issuer text NOT NULL DEFAULT '';       -- OpenID provider; '': none
ALTER TABLE users ADD COLUMN subject text NOT NULL DEFAULT '';      -- who they are there
CREATE UNIQUE INDEX users_subject ON users (issuer, subject) WHERE issuer <> '';

-- Sign-ins by a provider that are under way: each is taken once, by the browser that began it.
CREATE TABLE sign_ins (
    state_hash    bytea PRIMARY KEY,
    browser_hash  bytea NOT NULL,
    issuer        text NOT NULL,
    nonce         text NOT NULL,
    verifier      text NOT NULL,
    next_url      text NOT NULL,
    expires_ms    bigint NOT NULL
);
CREATE INDEX sign_ins_expiry ON sign_ins (expires_ms);

CREATE INDEX audit_log_at ON audit_log (at_ms);
CREATE INDEX audit_log_actor ON audit_log (actor, number DESC);
CREATE INDEX audit_log_action ON audit_log (action text_pattern_ops, number DESC);
CREATE INDEX audit_log_target ON audit_log (target, number DESC);

-- Up to where the chain was followed, and from where to go on.
CREATE TABLE audit_checks (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    number      bigint NOT NULL,
    hash        bytea NOT NULL,
    whole_ms    bigint NOT NULL,                    -- when it was last followed from the beginning
    checked_ms  bigint NOT NULL,
    broken      bigint                              -- the first entry that does not follow
);

CREATE TABLE job_runs (
    job        text PRIMARY KEY,
    ended_ms   bigint,                              -- when it last ended well; NULL: never
    took_ms    bigint NOT NULL DEFAULT 0,
    failed_ms  bigint,                              -- when it last failed
    why        text NOT NULL DEFAULT ''
);

CREATE TABLE table_sizes (
    day_ms  bigint NOT NULL,
    family  text NOT NULL,
    bytes   bigint NOT NULL,
    PRIMARY KEY (day_ms, family)
);

CREATE TABLE backups (
    made_ms  bigint PRIMARY KEY,
    bytes    bigint NOT NULL
);
