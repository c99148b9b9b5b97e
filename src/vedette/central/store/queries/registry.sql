-- The registry of models.

-- name: model_hold
-- One model, held until the transaction ends.
SELECT model, created_ms, policy, incumbent FROM models WHERE model = %(model)s FOR UPDATE

-- name: model_get
-- One model.
SELECT model, created_ms, policy, incumbent FROM models WHERE model = %(model)s

-- name: models_count
-- How many models there are.
SELECT count(*) FROM models

-- name: model_put
-- A new model; one that is there stays as it is.
INSERT INTO models (model, created_ms, policy) VALUES (%(model)s, %(now_ms)s, %(policy)s)
ON CONFLICT (model) DO NOTHING

-- name: model_set
-- What is asked of a model's versions.
UPDATE models SET policy = %(policy)s, incumbent = %(incumbent)s WHERE model = %(model)s

-- name: models_listed
-- Models by name, each with its newest version that was not withdrawn.
SELECT m.model, m.created_ms, m.incumbent,
       (SELECT count(*) FROM model_versions v WHERE v.model = m.model) AS versions,
       n.digest, n.version, n.registered_ms,
       CASE WHEN n.waived_ms > %(now_ms)s::bigint THEN n.verdict ELSE n.bare END AS verdict,
       coalesce(n.waived_ms > %(now_ms)s::bigint AND n.verdict <> n.bare, false) AS waived
FROM models m
LEFT JOIN LATERAL (
    SELECT digest, version, registered_ms, bare, verdict, waived_ms FROM model_versions v
    WHERE v.model = m.model AND state = 'registered'
    ORDER BY registered_ms DESC, digest LIMIT 1
) n ON true
WHERE m.model > %(after)s
ORDER BY m.model
LIMIT %(limit)s

-- name: model_version_get
-- One version by the digest of its bundle.
SELECT digest, model, version, state, registered_ms, registered_by, manifest, lineage, bare,
       verdict, waived_ms
FROM model_versions WHERE digest = %(digest)s

-- name: model_version_named
-- The digest that a version of a model has.
SELECT digest FROM model_versions WHERE model = %(model)s AND version = %(version)s

-- name: model_versions_count
-- How many versions a model has.
SELECT count(*) FROM model_versions WHERE model = %(model)s

-- name: model_versions_of
-- The versions of a model, the newest first, after one of them.
SELECT digest, model, version, state, registered_ms, registered_by, manifest, lineage, bare,
       verdict, waived_ms
FROM model_versions
WHERE model = %(model)s
  AND (registered_ms < %(at_ms)s::bigint
       OR registered_ms = %(at_ms)s::bigint AND digest > %(after)s)
ORDER BY registered_ms DESC, digest
LIMIT %(limit)s

-- name: model_version_put
-- A new version.
INSERT INTO model_versions (digest, model, version, registered_ms, registered_by, manifest, lineage)
VALUES (%(digest)s, %(model)s, %(version)s, %(now_ms)s, %(actor)s, %(manifest)s, %(lineage)s)

-- name: model_version_set
-- Where a version comes from, and whether it may still be used.
UPDATE model_versions SET state = %(state)s, lineage = %(lineage)s WHERE digest = %(digest)s

-- name: model_version_judge
-- What the gates say of a version now.
UPDATE model_versions SET bare = %(bare)s, verdict = %(verdict)s, waived_ms = %(waived_ms)s
WHERE digest = %(digest)s

-- name: model_evaluation_put
-- A new evaluation; the very same one once more changes nothing.
INSERT INTO model_evaluations
    (evaluation, digest, received_ms, actor, data_sha256, has_times, record)
VALUES (%(evaluation)s, %(digest)s, %(now_ms)s, %(actor)s, %(data_sha256)s, %(has_times)s,
        %(record)s)
ON CONFLICT (evaluation) DO NOTHING

-- name: model_evaluations_count
-- How many evaluations a version has.
SELECT count(*) FROM model_evaluations WHERE digest = %(digest)s

-- name: model_evaluations_of
-- The evaluations of a version, the newest first.
SELECT evaluation, digest, received_ms, actor, data_sha256, has_times, record
FROM model_evaluations WHERE digest = %(digest)s
ORDER BY received_ms DESC, evaluation

-- name: model_evaluation_newest
-- The newest evaluation of a version that has camera-days, of one data set where that is given.
SELECT evaluation, digest, received_ms, actor, data_sha256, has_times, record
FROM model_evaluations
WHERE digest = %(digest)s AND data_sha256 <> ''
  AND (%(data_sha256)s::text = '' OR data_sha256 = %(data_sha256)s::text)
ORDER BY received_ms DESC, evaluation LIMIT 1

-- name: model_evaluations_timed
-- The evaluations of a version that hold times, the newest first.
SELECT evaluation, digest, received_ms, actor, data_sha256, has_times, record
FROM model_evaluations WHERE digest = %(digest)s AND has_times
ORDER BY received_ms DESC, evaluation

-- name: model_signers_all
-- Whose signature a waiver may have.
SELECT keyid, key, name, added_ms, added_by FROM model_signers ORDER BY name, keyid

-- name: model_signer_put
-- One more who may sign waivers.
INSERT INTO model_signers (keyid, key, name, added_ms, added_by)
VALUES (%(keyid)s, %(key)s, %(name)s, %(now_ms)s, %(actor)s)
ON CONFLICT (keyid) DO UPDATE SET name = excluded.name

-- name: model_signer_drop
-- One less; what only they signed does not stand any more.
DELETE FROM model_signers WHERE keyid = %(keyid)s

-- name: model_waiver_put
-- A waiver; the very same one once more changes nothing.
INSERT INTO model_waivers (waiver, digest, received_ms, actor, document)
VALUES (%(waiver)s, %(digest)s, %(now_ms)s, %(actor)s, %(document)s)
ON CONFLICT (waiver) DO NOTHING

-- name: model_waivers_of
-- The waivers of a version, taken back ones too.
SELECT waiver, digest, received_ms, actor, document, taken_ms, taken_by
FROM model_waivers WHERE digest = %(digest)s ORDER BY received_ms, waiver

-- name: model_waiver_take
-- A waiver that does not stand any more.
UPDATE model_waivers SET taken_ms = %(now_ms)s, taken_by = %(actor)s
WHERE waiver = %(waiver)s AND digest = %(digest)s AND taken_ms IS NULL

-- name: models_all
-- Every model's name.
SELECT model, created_ms, policy, incumbent FROM models ORDER BY model
