-- Sites and devices: enrolment, tokens, desired state, requests.

-- name: site_add
-- A new site; none is changed.
INSERT INTO sites (site, name, folder, time_zone, site_keys, site_threshold, created_ms)
VALUES (%(site)s, %(name)s, %(folder)s, %(time_zone)s, %(site_keys)s, %(site_threshold)s, %(now_ms)s)
ON CONFLICT DO NOTHING

-- name: site_get
-- One site.
SELECT site, name, time_zone, site_keys, site_threshold, site_keys_version, policy, policy_version
FROM sites WHERE site = %(site)s

-- name: site_keys_set
-- Other keys for a site, one version later.
UPDATE sites SET site_keys = %(site_keys)s, site_threshold = %(site_threshold)s,
                 site_keys_version = %(version)s
WHERE site = %(site)s

-- name: site_hold_keys
-- Hold a site until its keys are changed.
SELECT true FROM sites WHERE site = %(site)s FOR UPDATE

-- name: site_key_document_put
-- One replacement of a site's keys, as it was signed.
INSERT INTO site_key_documents (site, version, document, stored_ms)
VALUES (%(site)s, %(version)s, %(document)s, %(now_ms)s)

-- name: site_key_documents_forget
-- Keys were set by hand: no document leads to them.
DELETE FROM site_key_documents WHERE site = %(site)s

-- name: site_key_documents_all
-- The newest replacements of a site's keys, oldest first.
SELECT document FROM (
    SELECT version, document FROM site_key_documents WHERE site = %(site)s
    ORDER BY version DESC LIMIT %(limit)s) newest
ORDER BY version

-- name: sites_all
-- Every site.
SELECT site, name, time_zone, site_keys, site_threshold, site_keys_version, policy, policy_version
FROM sites ORDER BY site

-- name: site_policy_set
-- A newer policy; an older one changes nothing.
UPDATE sites SET policy = %(policy)s, policy_version = %(version)s
WHERE site = %(site)s AND policy_version < %(version)s

-- name: claim_put
-- A claim token that nobody used yet.
INSERT INTO claim_tokens (token_hash, site, device, created_ms, expires_ms, replaces, made_by)
VALUES (%(token_hash)s, %(site)s, %(device)s, %(now_ms)s, %(expires_ms)s, %(replaces)s, %(actor)s)

-- name: claim_take
-- Use a claim token up; no row where it was used, is too old or never was.
UPDATE claim_tokens SET used_ms = %(now_ms)s, used_by = coalesce(device, %(device)s)
WHERE token_hash = %(token_hash)s AND used_ms IS NULL AND withdrawn_ms IS NULL
  AND expires_ms > %(now_ms)s
RETURNING site, used_by AS device, replaces

-- name: claims_all
-- Claim tokens that were not withdrawn, newest first; `claim` is the head of the hash.
SELECT encode(substr(token_hash, 1, 8), 'hex') AS claim, site, device, replaces, made_by,
       created_ms, expires_ms, used_ms, used_by FROM claim_tokens
WHERE withdrawn_ms IS NULL AND (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[]))
  AND (used_ms IS NULL AND expires_ms > %(now_ms)s OR %(all)s)
  AND (created_ms, encode(substr(token_hash, 1, 8), 'hex')) < (%(after_ms)s, %(after_claim)s)
ORDER BY created_ms DESC, claim DESC LIMIT %(limit)s

-- name: claim_withdraw
-- A claim token that nobody used can not be used any more.
UPDATE claim_tokens SET withdrawn_ms = %(now_ms)s
WHERE encode(substr(token_hash, 1, 8), 'hex') = %(claim)s
  AND used_ms IS NULL AND withdrawn_ms IS NULL
  AND (%(scope)s::text[] IS NULL OR site = ANY(%(scope)s::text[]))
RETURNING site

-- name: claim_of
-- The device that used this claim token with this very key: its answer may have been lost.
SELECT d.device, d.site, d.min_epoch FROM claim_tokens c JOIN devices d ON d.device = c.used_by
WHERE c.token_hash = %(token_hash)s AND d.public_key = %(public_key)s AND c.expires_ms > %(now_ms)s
  AND d.revoked_ms IS NULL

-- name: device_add
-- A device, not heard of yet.
INSERT INTO devices (device, site, public_key, hardware, version, enrolled_ms)
SELECT %(device)s, %(site)s, %(public_key)s, %(hardware)s, %(version)s, %(now_ms)s
ON CONFLICT DO NOTHING

-- name: device_site
-- The site of a device.
SELECT site FROM devices WHERE device = %(device)s

-- name: key_is_used
-- True where this key speaks, spoke or is about to speak for a device.
SELECT true WHERE EXISTS (SELECT FROM retired_keys WHERE public_key = %(public_key)s)
  OR EXISTS (SELECT FROM devices
             WHERE public_key = %(public_key)s OR next_key = %(public_key)s)

-- name: device_hold_name
-- A device by its name, held: somebody is about to take it over.
SELECT device, site, public_key, generation, revoked_ms FROM devices
WHERE device = %(device)s FOR UPDATE

-- name: device_replace
-- Another key under the same name: its numbers begin above all that were ever given.
WITH gone AS (DELETE FROM access_tokens WHERE device = %(device)s)
UPDATE devices SET public_key = %(public_key)s, generation = generation + 1, next_key = NULL,
    next_key_ms = NULL, key_since_ms = %(now_ms)s, rotate_asked_ms = NULL, revoked_ms = NULL,
    revoked_reason = '', quarantined_ms = NULL, quarantine = NULL, lives = NULL,
    hardware = %(hardware)s, version = %(version)s,
    min_epoch = 1 + greatest(
        (SELECT coalesce(max(epoch), 0) FROM lanes WHERE device = %(device)s),
        min_epoch, health_epoch)
WHERE device = %(device)s RETURNING min_epoch

-- name: key_retire
-- This key never speaks again.
INSERT INTO retired_keys (public_key, device, retired_ms, why)
VALUES (%(public_key)s, %(device)s, %(now_ms)s, %(why)s) ON CONFLICT DO NOTHING

-- name: key_retired_of
-- Why one of a device's former keys was retired.
SELECT why FROM retired_keys WHERE public_key = %(public_key)s

-- name: keys_retired_all
-- The former keys of a device.
SELECT public_key FROM retired_keys WHERE device = %(device)s ORDER BY retired_ms DESC LIMIT 20

-- name: device_keys_ever
-- Every key that speaks, is about to speak or spoke for a device.
SELECT public_key, 'speaks' AS state, key_since_ms AS since_ms, NULL::bigint AS retired_ms,
       '' AS why FROM devices WHERE device = %(device)s
UNION ALL
SELECT next_key, 'next', next_key_ms, NULL, '' FROM devices
WHERE device = %(device)s AND next_key IS NOT NULL
UNION ALL
(SELECT public_key, 'retired', NULL, retired_ms, why FROM retired_keys
 WHERE device = %(device)s ORDER BY retired_ms DESC LIMIT 500)

-- name: device_keys
-- The keys that may speak for a device that is not revoked.
SELECT public_key, next_key, generation, quarantined_ms, lives FROM devices
WHERE device = %(device)s AND revoked_ms IS NULL FOR UPDATE

-- name: next_key_set
-- Announce a device's next key.
UPDATE devices SET next_key = %(public_key)s, next_key_ms = %(now_ms)s WHERE device = %(device)s

-- name: next_key_promote
-- The next key was used: from now on it is the only one.
WITH gone AS (DELETE FROM access_tokens WHERE device = %(device)s)
UPDATE devices SET public_key = next_key, next_key = NULL, next_key_ms = NULL,
    key_since_ms = %(now_ms)s, rotate_asked_ms = NULL, generation = generation + 1
WHERE device = %(device)s RETURNING generation

-- name: rotate_ask
-- This device should make itself another key.
UPDATE devices SET rotate_asked_ms = coalesce(rotate_asked_ms, %(now_ms)s)
WHERE device = %(device)s AND revoked_ms IS NULL AND quarantined_ms IS NULL

-- name: rotate_due
-- Devices whose key is older than it may get.
SELECT device FROM devices WHERE revoked_ms IS NULL AND rotate_asked_ms IS NULL
  AND quarantined_ms IS NULL
  AND coalesce(key_since_ms, enrolled_ms) < %(before_ms)s ORDER BY device LIMIT %(limit)s

-- name: device_revoke
-- Nothing is taken from this device any more.
WITH gone AS (DELETE FROM access_tokens WHERE device = %(device)s)
UPDATE devices SET revoked_ms = %(now_ms)s, revoked_reason = %(reason)s,
    generation = generation + 1, next_key = NULL, rotate_asked_ms = NULL
WHERE device = %(device)s AND revoked_ms IS NULL

-- name: devices_list
-- Every device, for a person at a terminal.
SELECT device, site, state, version, hardware, last_contact_ms, revoked_ms, revoked_reason,
       quarantined_ms,
       coalesce((SELECT jsonb_object_agg(c.camera, c.detail) FROM cameras c
                 WHERE c.device = d.device AND c.state = 'down'), '{}') AS cameras_down
FROM devices d ORDER BY site, device

-- name: nonce_put
-- A nonce that we gave out.
INSERT INTO nonces (nonce_hash, expires_ms) VALUES (%(nonce_hash)s, %(expires_ms)s)

-- name: nonce_take
-- Use a nonce up.
DELETE FROM nonces WHERE nonce_hash = %(nonce_hash)s AND expires_ms > %(now_ms)s RETURNING true

-- name: token_put
-- An access token.
INSERT INTO access_tokens (token_hash, device, generation, expires_ms)
SELECT %(token_hash)s, device, generation, %(expires_ms)s FROM devices
WHERE device = %(device)s AND generation = %(generation)s AND revoked_ms IS NULL

-- name: tokens_find
-- Whose access tokens these are, as far as they hold.
SELECT t.token_hash, t.device, t.generation, t.expires_ms
FROM access_tokens t JOIN devices d USING (device, generation)
WHERE t.token_hash = ANY(%(hashes)b::bytea[]) AND t.expires_ms > %(now_ms)s AND d.revoked_ms IS NULL

-- name: device_speaks
-- True while the holder of a token that was found a moment ago still may speak.
SELECT true FROM devices
WHERE device = %(device)s AND generation = %(generation)s AND revoked_ms IS NULL

-- name: desired_facts
-- What a device's desired state is made of.
SELECT d.device, d.site, d.settings, d.settings_version, s.policy, s.policy_version,
       s.site_keys_version, d.desired_etag,
       CASE WHEN d.quarantined_ms IS NULL THEN d.rotate_asked_ms END AS rotate_asked_ms,
       d.assignment, d.assignment_version
FROM devices d JOIN sites s USING (site) WHERE d.device = %(device)s

-- name: desired_facts_many
-- What the tags of some devices' desired states are made of.
SELECT d.device, d.site, NULL::bytea AS settings, d.settings_version, NULL::bytea AS policy,
       s.policy_version, s.site_keys_version, d.desired_etag,
       CASE WHEN d.quarantined_ms IS NULL THEN d.rotate_asked_ms END AS rotate_asked_ms,
       d.assignment_version
FROM devices d JOIN sites s USING (site) WHERE d.device = ANY (%(devices)s)

-- name: desired_etags_set
-- The tags of some desired states as they are now.
UPDATE devices d SET desired_etag = n.etag
FROM unnest(%(device)s::text[], %(etag)s::text[]) AS n (device, etag) WHERE d.device = n.device

-- name: requests_open_of
-- Which of some devices have questions to answer.
SELECT DISTINCT device FROM requests
WHERE device = ANY (%(devices)s) AND answered_ms IS NULL AND expires_ms > %(now_ms)s

-- name: desired_etag_set
-- The tag of the desired state as it is now.
UPDATE devices SET desired_etag = %(etag)s WHERE device = %(device)s

-- name: device_settings_lock
-- The settings that a device has, held until the new ones are stored.
SELECT d.device, d.site, d.settings, d.settings_version, s.policy, s.policy_version,
       s.site_keys_version, d.desired_etag, d.rotate_asked_ms
FROM devices d JOIN sites s USING (site) WHERE d.device = %(device)s FOR UPDATE OF d

-- name: device_last_health
-- The latest health report of a device.
SELECT health FROM devices WHERE device = %(device)s

-- name: device_settings_set
-- Newly signed settings.
UPDATE devices SET settings = %(settings)s, settings_version = %(version)s
WHERE device = %(device)s

-- name: site_healths
-- The latest health report of each device of a site.
SELECT device, health FROM devices WHERE site = %(site)s AND revoked_ms IS NULL ORDER BY device

-- name: devices_of_site
-- The devices of one site.
SELECT device FROM devices WHERE site = %(site)s AND revoked_ms IS NULL ORDER BY device

-- name: device_attend
-- An operator looks at this device.
UPDATE devices SET attended_until_ms = %(until_ms)s
WHERE device = %(device)s AND attended_until_ms < %(until_ms)s - 10000

-- name: request_put
-- Something that an operator asks of a device.
INSERT INTO requests (request, device, kind, camera, asked_by, asked_ms, expires_ms)
VALUES (%(request)s, %(device)s, %(kind)s, %(camera)s, %(asked_by)s, %(now_ms)s, %(expires_ms)s)

-- name: requests_open
-- What a device was asked and has not answered; clips, which take long, last. Of holds a few at a
-- time: a device that is too old to know them is still asked everything else.
SELECT request, kind, camera, expires_ms, lines, with_cameras, evidence, reason FROM (
    SELECT *, kind IN ('hold', 'release') AND 8 < row_number() OVER (
        PARTITION BY kind IN ('hold', 'release') ORDER BY asked_ms, request) AS waits
    FROM requests
    WHERE device = %(device)s AND answered_ms IS NULL AND expires_ms > %(now_ms)s) open
WHERE NOT waits
ORDER BY kind = 'evidence', asked_ms LIMIT 28

-- name: request_open_for
-- An open request for the same camera: asking twice is asking once.
SELECT request FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind = %(kind)s AND answered_ms IS NULL
  AND expires_ms > %(now_ms)s

-- name: request_answer
-- The answer, only where this device was asked and has not answered.
UPDATE requests SET answered_ms = %(now_ms)s, answer = %(answer)s, content_type = 'image/jpeg'
WHERE request = %(request)s AND device = %(device)s AND kind IN ('thumbnail', 'reference')
  AND answered_ms IS NULL AND expires_ms > %(now_ms)s

-- name: thumbnail_newest
-- The newest privacy-safe picture of a camera.
SELECT request, asked_by, answered_ms, answer FROM requests
WHERE device = %(device)s AND camera = %(camera)s AND kind = 'thumbnail' AND answered_ms IS NOT NULL
ORDER BY asked_ms DESC LIMIT 1

-- name: camera_exists
-- True where this device spoke of this camera and can be asked.
SELECT true FROM cameras c JOIN devices d USING (device)
WHERE c.device = %(device)s AND c.camera = %(camera)s AND d.revoked_ms IS NULL

-- name: zones_all
-- The time zone of every site.
SELECT site, time_zone FROM sites

-- name: zones_devices
-- Devices of sites that said something of themselves, with their site's time zone.
SELECT d.device, s.time_zone, d.health, d.settings FROM devices d JOIN sites s USING (site)
WHERE d.site = ANY(%(sites)s) AND d.device > %(after)s AND d.revoked_ms IS NULL
  AND d.health IS NOT NULL
ORDER BY d.device LIMIT %(limit)s

-- name: zone_of_site
-- The time zone of a site.
SELECT time_zone FROM sites WHERE site = %(site)s
