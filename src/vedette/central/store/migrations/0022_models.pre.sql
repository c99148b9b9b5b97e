-- The registry of models: versions by the digest of their bundle, what was measured of them, and
-- what somebody signed that a gate shall not hold back.

CREATE TABLE models (
    model       text PRIMARY KEY,
    created_ms  bigint NOT NULL,
    policy      bytea NOT NULL,                         -- stats.gates.Policy, JSON
    incumbent   text                                    -- digest of the version to be compared with
);

CREATE TABLE model_versions (
    digest         text PRIMARY KEY,
    model          text NOT NULL REFERENCES models,
    version        text NOT NULL,
    state          text NOT NULL DEFAULT 'registered' CHECK (state IN ('registered', 'withdrawn')),
    registered_ms  bigint NOT NULL,
    registered_by  text NOT NULL,
    manifest       bytea NOT NULL,                      -- bundle.json, canonical
    lineage        bytea NOT NULL,                      -- central.registry.manifest.Lineage, JSON
    bare           text NOT NULL DEFAULT 'inconclusive',  -- verdict without any waiver
    verdict        text NOT NULL DEFAULT 'inconclusive',
    waived_ms      bigint,                              -- until when `verdict` holds; then `bare`
    UNIQUE (model, version)                             -- a version never becomes another bundle
);
CREATE INDEX model_versions_newest ON model_versions (model, registered_ms DESC, digest);

CREATE TABLE model_evaluations (
    evaluation   text PRIMARY KEY,                      -- SHA-256 of the record
    digest       text NOT NULL REFERENCES model_versions,
    received_ms  bigint NOT NULL,
    actor        text NOT NULL,
    data_sha256  text NOT NULL DEFAULT '',              -- empty: times alone
    has_times    boolean NOT NULL,
    record       bytea NOT NULL                         -- wire.evaluation.EvaluationRecord, JSON
);
CREATE INDEX model_evaluations_newest ON model_evaluations (digest, received_ms DESC, evaluation);

CREATE TABLE model_signers (
    keyid      text PRIMARY KEY,
    key        text NOT NULL,
    name       text NOT NULL,
    added_ms   bigint NOT NULL,
    added_by   text NOT NULL
);

CREATE TABLE model_waivers (
    waiver       text PRIMARY KEY,                      -- SHA-256 of what was signed
    digest       text NOT NULL REFERENCES model_versions,
    received_ms  bigint NOT NULL,
    actor        text NOT NULL,
    document     bytea NOT NULL,                        -- wire.signed.Signed, JSON
    taken_ms     bigint,                                -- taken back
    taken_by     text
);
CREATE INDEX model_waivers_of ON model_waivers (digest, received_ms);
