-- Clips that operators asked for, and their files.

-- name: clip_of
-- One clip.
SELECT device, evidence, event, site, camera, request, asked_by, asked_ms, expires_ms, state, form,
       said, settled_ms
FROM clips WHERE device = %(device)s AND evidence = %(evidence)s

-- name: clip_of_request
-- The clip of a request to this device, while it is asked for; held until the transaction ends.
SELECT device, evidence, event, site, camera, request, asked_by, asked_ms, expires_ms, state, form,
       said, settled_ms
FROM clips WHERE request = %(request)s AND device = %(device)s AND state IN ('asked', 'sending')
  AND expires_ms > %(now_ms)s FOR UPDATE

-- name: clip_of_blob
-- The clip that this device is sending with a file of this content, and the file's length.
SELECT c.request, c.evidence, f.name, f.bytes, f.whole, c.form
FROM clips c JOIN clip_files f USING (device, evidence)
WHERE c.device = %(device)s AND f.sha256 = %(sha256)s AND c.state = 'sending'
  AND c.expires_ms > %(now_ms)s
ORDER BY f.whole, c.asked_ms, f.name LIMIT 1

-- name: clips_open_count
-- How many clips a device is asked for and has not sent.
SELECT count(*) FROM clips
WHERE device = %(device)s AND state IN ('asked', 'sending') AND expires_ms > %(now_ms)s

-- name: clips_lock
-- One at a time decides whether there is room.
SELECT pg_advisory_xact_lock(7150019)

-- name: clips_bytes
-- What all clips take, those on their way counted whole; each content once for each device.
SELECT coalesce(sum(bytes), 0)::bigint
FROM (SELECT DISTINCT device, sha256, bytes FROM clip_files) AS content

-- name: clip_put
-- A clip is asked for, again where it was before.
INSERT INTO clips (device, evidence, event, site, camera, request, asked_by, asked_ms, expires_ms,
                   state)
VALUES (%(device)s, %(evidence)s, %(event)s, %(site)s, %(camera)s, %(request)s, %(asked_by)s,
        %(now_ms)s, %(expires_ms)s, 'asked')
ON CONFLICT (device, evidence) DO UPDATE
SET request = excluded.request, asked_by = excluded.asked_by, asked_ms = excluded.asked_ms,
    expires_ms = excluded.expires_ms, state = 'asked', form = '', said = '', settled_ms = NULL

-- name: clip_request_put
-- What the device sees of it.
INSERT INTO requests (request, device, kind, camera, asked_by, asked_ms, expires_ms, evidence)
VALUES (%(request)s, %(device)s, 'evidence', %(camera)s, %(asked_by)s, %(now_ms)s, %(expires_ms)s,
        %(evidence)s)

-- name: clip_request_done
-- The device need not see it any more.
UPDATE requests SET answered_ms = %(now_ms)s, refused = %(said)s
WHERE request = %(request)s AND answered_ms IS NULL

-- name: clip_settle
-- How a clip ended, or that it is on its way. One that is here may be what an export waits for.
WITH settled AS (
    UPDATE clips SET state = %(state)s, form = %(form)s, said = %(said)s,
           settled_ms = %(settled_ms)s
    WHERE device = %(device)s AND evidence = %(evidence)s
    RETURNING device, event, evidence, settled_ms)
INSERT INTO export_inbox (kind, device, event, evidence, received_ms) SELECT 'clip', settled.*
FROM settled WHERE %(state)s = 'here' AND EXISTS (SELECT FROM exports WHERE enabled)

-- name: clip_files_of
-- The files of a clip.
SELECT name, sha256, bytes, whole FROM clip_files
WHERE device = %(device)s AND evidence = %(evidence)s ORDER BY name

-- name: clip_files_drop
-- No file of a clip.
DELETE FROM clip_files WHERE device = %(device)s AND evidence = %(evidence)s

-- name: clip_file_put
-- A file that is announced; it is here already only where this device sent the same content before.
INSERT INTO clip_files (device, evidence, name, sha256, bytes, whole)
VALUES (%(device)s, %(evidence)s, %(name)s, %(sha256)s, %(bytes)s, %(whole)s)

-- name: clip_blob_sent
-- True where this device has sent this content, whole.
SELECT true FROM clip_files WHERE device = %(device)s AND sha256 = %(sha256)s AND whole LIMIT 1

-- name: clip_blob_whole
-- This content is here, for every clip of this device that names it.
UPDATE clip_files SET whole = true WHERE device = %(device)s AND sha256 = %(sha256)s

-- name: clip_missing
-- True while a file of a clip is not here.
SELECT true FROM clip_files
WHERE device = %(device)s AND evidence = %(evidence)s AND NOT whole LIMIT 1

-- name: clip_look
-- A look at a file; nothing where the same person looked at it a moment ago.
INSERT INTO clip_looks (actor, device, evidence, name, at_ms)
VALUES (%(actor)s, %(device)s, %(evidence)s, %(name)s, %(now_ms)s)
ON CONFLICT (actor, device, evidence, name) DO UPDATE SET at_ms = excluded.at_ms
WHERE clip_looks.at_ms < excluded.at_ms - %(same_ms)s OR clip_looks.at_ms > excluded.at_ms
RETURNING true

-- name: clips_expire
-- Clips that were settled long ago, and those that never came; what is held stays.
DELETE FROM clips c
WHERE coalesce(settled_ms, expires_ms) < %(before_ms)s
  AND NOT EXISTS (SELECT FROM evidence_holds h
                  WHERE h.device = c.device AND h.evidence = c.evidence)

-- name: clip_looks_expire
-- Looks that are no longer a moment ago.
DELETE FROM clip_looks WHERE at_ms < %(before_ms)s

-- name: clips_unasked_files
-- Files of clips that did not come in time, or were refused: their room is free again.
DELETE FROM clip_files f USING clips c
WHERE c.device = f.device AND c.evidence = f.evidence
  AND (c.state IN ('refused', 'failed')
       OR (c.state IN ('asked', 'sending') AND c.expires_ms <= %(now_ms)s))

-- name: clip_blobs
-- Every content that a clip names.
SELECT DISTINCT sha256 FROM clip_files

-- name: device_silence
-- Whether a device speaks, and when it did last.
SELECT state, last_contact_ms FROM devices WHERE device = %(device)s

-- name: clip_drop
-- Nothing of a clip any more; its files go with it.
DELETE FROM clips WHERE device = %(device)s AND evidence = %(evidence)s
