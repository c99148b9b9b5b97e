-- Ingest: everything in one transaction, in this order.

-- name: senders_lock
-- The devices of this group, locked in one order so that two groups never wait for each other.
SELECT device, site, state, coalesce(last_contact_ms, enrolled_ms) AS contact_before_ms,
       desired_etag, attended_until_ms, generation, boot_id, sent_mono_ms, last_contact_ms, lives,
       quarantined_ms, set_aside_bytes, min_epoch
FROM devices WHERE device = ANY(%(devices)s) AND revoked_ms IS NULL
ORDER BY device FOR NO KEY UPDATE

-- name: lanes_make
-- Rows for lanes that were never heard of.
INSERT INTO lanes (device, epoch, lane)
SELECT * FROM unnest(%(devices)s::text[], %(epochs)s::bigint[], %(lanes)s::text[])
ON CONFLICT DO NOTHING

-- name: lanes_read
-- The lanes of this group; they are their device's, which is held.
SELECT l.device, l.epoch, l.lane, l.acked_through, l.have
FROM lanes l JOIN unnest(%(devices)s::text[], %(epochs)s::bigint[], %(lanes)s::text[])
     AS wanted (device, epoch, lane) USING (device, epoch, lane)

-- name: lanes_move
-- What is settled now.
UPDATE lanes SET acked_through = moved.acked_through, have = moved.have::bigint[]
FROM unnest(%(devices)s::text[], %(epochs)s::bigint[], %(lanes)s::text[],
            %(acked)s::bigint[], %(haves)s::text[])
     AS moved (device, epoch, lane, acked_through, have)
WHERE (lanes.device, lanes.epoch, lanes.lane) = (moved.device, moved.epoch, moved.lane)

-- name: lanes_of_device
-- How many lanes a device has used: a bound on epochs.
SELECT device, count(*) FROM lanes WHERE device = ANY(%(devices)s) GROUP BY device

-- name: cameras_of_devices
-- The cameras that these devices spoke of before, and since when each is known.
SELECT device, camera, known_from_ms FROM cameras WHERE device = ANY(%(devices)s)

-- name: reports_copy
-- Raw messages in.
COPY reports (keep_days, day, device, epoch, lane, seq, received_ms, made_ms, schema, outcome,
              boot_id, t_wall_ms, t_mono_ms, clock_state, body)
FROM STDIN (FORMAT BINARY)

-- name: reports_of_numbers
-- What the messages with these numbers said, as far as it was kept whole.
WITH asked AS (
    SELECT * FROM unnest(%(devices)s::text[], %(epochs)s::bigint[], %(lanes)s::text[],
                         %(seqs)s::bigint[]) AS asked (device, epoch, lane, seq))
SELECT r.device, r.epoch, r.lane, r.seq, r.body FROM reports r
JOIN asked USING (device, epoch, lane, seq) WHERE r.outcome IN ('accepted', 'undated')
UNION ALL
SELECT s.device, s.epoch, s.lane, s.seq, s.body FROM set_aside s
JOIN asked USING (device, epoch, lane, seq)

-- name: claims_copy
-- Coverage claims in.
COPY coverage_claims (device, camera, start_ms, end_ms, cause, weak, rate_fps, detail)
FROM STDIN (FORMAT BINARY)

-- name: cameras_know
-- Cameras that were spoken of, and from when on.
INSERT INTO cameras (device, camera, known_from_ms)
SELECT * FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(from_ms)s::bigint[])
ON CONFLICT (device, camera) DO UPDATE
SET known_from_ms = excluded.known_from_ms
WHERE cameras.known_from_ms > excluded.known_from_ms

-- name: camera_state_add
-- One more state in the history of a camera.
INSERT INTO camera_states (device, camera, epoch, seq, at_ms, noticed_ms, state, cause, signs, detail)
VALUES (%(device)s, %(camera)s, %(epoch)s, %(seq)s, %(at_ms)s, %(noticed_ms)s, %(state)s,
        %(cause)s, %(signs)s, %(detail)s)
ON CONFLICT DO NOTHING

-- name: camera_state_latest
-- The state now, moved only forward by (epoch, seq), never by arrival.
UPDATE cameras SET state = %(state)s, since_ms = %(at_ms)s, cause = %(cause)s, signs = %(signs)s,
       detail = %(detail)s, state_epoch = %(epoch)s, state_seq = %(seq)s
WHERE device = %(device)s AND camera = %(camera)s
  AND (state_epoch, state_seq) < (%(epoch)s, %(seq)s)

-- name: event_add
-- One event; the same id twice is one event.
INSERT INTO events (device, event, site, camera, kind, at_ms, received_ms, late, dated, label,
                    where_name, evidence, body)
VALUES (%(device)s, %(event)s, %(site)s, %(camera)s, %(kind)s, %(at_ms)s, %(received_ms)s, %(late)s,
        %(dated)s, %(label)s, %(where_name)s, %(evidence)s, %(body)s)
ON CONFLICT (device, event) DO NOTHING

-- name: evidence_add
-- What a device holds as evidence; a later word about it replaces an earlier one.
INSERT INTO evidence (device, evidence, event, camera, status, stays, received_ms, epoch, seq, body)
VALUES (%(device)s, %(evidence)s, %(event)s, %(camera)s, %(status)s, %(stays)s, %(received_ms)s,
        %(epoch)s, %(seq)s, %(body)s)
ON CONFLICT (device, evidence) DO UPDATE
SET status = excluded.status, stays = excluded.stays, body = excluded.body, epoch = excluded.epoch,
    seq = excluded.seq, received_ms = excluded.received_ms
WHERE (evidence.epoch, evidence.seq) < (excluded.epoch, excluded.seq)

-- name: minutes_add
-- Minutes that nobody spoke of before; those that stand are left as they are, and not returned.
INSERT INTO rollup_minute (device, camera, start_ms, body)
SELECT * FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(starts)s::bigint[],
                     %(bodies)b::bytea[])
ON CONFLICT (device, camera, start_ms) DO NOTHING
RETURNING device, camera, start_ms

-- name: minutes_read
-- The minutes that this group adds to, where they exist already; held, so that a job that drops
-- them waits until they are written again.
SELECT r.device, r.camera, r.start_ms, r.body
FROM rollup_minute r JOIN unnest(%(devices)s::text[], %(cameras)s::text[], %(starts)s::bigint[])
     AS wanted (device, camera, start_ms) USING (device, camera, start_ms)
ORDER BY r.device, r.camera, r.start_ms FOR UPDATE OF r

-- name: minutes_write
-- The merged minutes.
INSERT INTO rollup_minute (device, camera, start_ms, body)
SELECT * FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(starts)s::bigint[],
                     %(bodies)b::bytea[])
ON CONFLICT (device, camera, start_ms) DO UPDATE SET body = excluded.body

-- name: hours_mark_dirty
-- Hours that have to be merged again. A mark that is there is held, not changed: whoever takes it to
-- merge that hour must not do so before this transaction's minutes can be seen.
INSERT INTO rollup_dirty (device, camera, hour_ms, marked_ms)
SELECT device, camera, hour_ms, %(now_ms)s
FROM unnest(%(devices)s::text[], %(cameras)s::text[], %(hours)s::bigint[])
     AS marked (device, camera, hour_ms)
ON CONFLICT (device, camera, hour_ms) DO UPDATE SET marked_ms = excluded.marked_ms WHERE false

-- name: devices_heard
-- Contact by receive time, the transition of those that were not well, and the latest health, which
-- moves only forward by (epoch, seq). The deadline is left to `deadlines_move`, so that this touches
-- no index.
WITH heard AS (
    SELECT * FROM unnest(%(devices)s::text[], %(received)s::bigint[], %(boots)s::text[],
                         %(epoch)s::bigint[], %(seq)s::bigint[], %(at_ms)s::bigint[],
                         %(body)b::bytea[], %(version)s::text[], %(clock_state)s::text[],
                         %(drained_to_ms)s::bigint[], %(sent)s::bigint[])
         AS heard (device, received_ms, boot_id, epoch, seq, at_ms, body, version, clock_state,
                   drained_to_ms, sent_mono_ms)),
turned AS (
    INSERT INTO device_transitions (device, at_ms, noticed_ms, state)
    SELECT device, received_ms, received_ms, 'ok' FROM heard JOIN devices d USING (device)
    WHERE d.state <> 'ok' ON CONFLICT DO NOTHING)
UPDATE devices d SET
    last_contact_ms = greatest(d.last_contact_ms, heard.received_ms),
    dark_deadline_ms = CASE WHEN d.state = 'ok' THEN d.dark_deadline_ms
        ELSE greatest(d.last_contact_ms, heard.received_ms) + %(dark_after_ms)s END,
    since_ms = CASE WHEN d.state = 'ok' THEN d.since_ms ELSE heard.received_ms END,
    state = 'ok',
    boot_id = heard.boot_id,
    sent_mono_ms = heard.sent_mono_ms,
    health = CASE WHEN newer THEN heard.body ELSE d.health END,
    health_epoch = CASE WHEN newer THEN heard.epoch ELSE d.health_epoch END,
    health_seq = CASE WHEN newer THEN heard.seq ELSE d.health_seq END,
    health_at_ms = CASE WHEN newer THEN heard.at_ms ELSE d.health_at_ms END,
    version = CASE WHEN newer THEN heard.version ELSE d.version END,
    clock_state = CASE WHEN newer THEN heard.clock_state ELSE d.clock_state END,
    drained_to_ms = CASE WHEN newer THEN greatest(d.drained_to_ms, heard.drained_to_ms)
        ELSE d.drained_to_ms END
FROM heard JOIN devices now USING (device)
     CROSS JOIN LATERAL (SELECT (now.health_epoch, now.health_seq) < (heard.epoch, heard.seq))
     AS latest (newer)
WHERE heard.device = d.device
