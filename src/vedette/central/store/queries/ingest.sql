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

-- name: lanes_believed
-- Lanes that devices ask for; `have` is null beyond the edges that one device is told at once.
SELECT device, epoch, lane, acked_through, CASE WHEN edges <= %(most)s::bigint THEN have END
FROM (SELECT l.device, l.epoch, l.lane, l.acked_through, l.have,
             sum(cardinality(l.have)) OVER (PARTITION BY l.device ORDER BY l.epoch DESC, l.lane) AS edges
      FROM lanes l JOIN unnest(%(devices)s::text[], %(epochs)s::bigint[], %(lanes)s::text[])
           AS wanted (device, epoch, lane) USING (device, epoch, lane)) AS told

-- name: ranges_of_device
-- How many separate ranges the lanes of a device have.
SELECT device, (sum(cardinality(have)) / 2)::bigint FROM lanes WHERE device = ANY(%(devices)s)
GROUP BY device

-- name: lanes_of_device
-- How many lanes a device has used: a bound on epochs.
SELECT device, count(*) FROM lanes WHERE device = ANY(%(devices)s) GROUP BY device

-- name: cameras_of_devices
-- The cameras that these devices spoke of before, and since when each is known.
SELECT device, camera, known_from_ms FROM cameras WHERE device = ANY(%(devices)s)

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

-- name: group_write
-- What every group brings, in one statement; returns the minutes that nobody spoke of before (those
-- that stand are left as they are). Bodies come as one value per table, with where each begins and
-- how long it is: an array of them would be read byte by byte.
WITH raw AS (
    INSERT INTO reports (keep_days, day, device, epoch, lane, seq, received_ms, made_ms, schema,
                         outcome, boot_id, t_wall_ms, t_mono_ms, clock_state, body)
    SELECT keep_days, DATE '1970-01-01' + (received_ms / 86400000)::integer, device, epoch, lane, seq,
           received_ms, made_ms, schema, outcome, boot_id, t_wall_ms, t_mono_ms, clock_state,
           substring(%(raw_bodies)b::bytea FROM at FOR size)
    FROM unnest(%(raw_keep_days)s::smallint[], %(raw_device)s::text[], %(raw_epoch)s::bigint[],
                %(raw_lane)s::text[], %(raw_seq)s::bigint[], %(raw_received_ms)s::bigint[],
                %(raw_made_ms)s::bigint[], %(raw_schema)s::text[], %(raw_outcome)s::text[],
                %(raw_boot_id)s::text[], %(raw_t_wall_ms)s::bigint[], %(raw_t_mono_ms)s::bigint[],
                %(raw_clock_state)s::text[], %(raw_at)s::integer[], %(raw_size)s::integer[])
         AS message (keep_days, device, epoch, lane, seq, received_ms, made_ms, schema, outcome,
                     boot_id, t_wall_ms, t_mono_ms, clock_state, at, size)),
claims AS (
    INSERT INTO coverage_claims (device, camera, start_ms, end_ms, cause, weak, rate_fps, detail)
    SELECT * FROM unnest(
        %(claim_device)s::text[], %(claim_camera)s::text[], %(claim_start_ms)s::bigint[],
        %(claim_end_ms)s::bigint[], %(claim_cause)s::text[], %(claim_weak)s::boolean[],
        %(claim_rate_fps)s::float8[], %(claim_detail)s::text[])),
-- The deadline is left to `deadlines_move`, so that this touches no index; the latest health moves
-- only forward by (epoch, seq).
heard AS (
    SELECT *, substring(%(health_bodies)b::bytea FROM at FOR size) AS body
    FROM unnest(%(heard_device)s::text[], %(heard_received_ms)s::bigint[], %(heard_boot_id)s::text[],
                %(heard_sent_mono_ms)s::bigint[], %(health_epoch)s::bigint[],
                %(health_seq)s::bigint[], %(health_at_ms)s::bigint[], %(health_version)s::text[],
                %(health_clock_state)s::text[], %(health_drained_to_ms)s::bigint[],
                %(health_at)s::integer[], %(health_size)s::integer[])
         AS heard (device, received_ms, boot_id, sent_mono_ms, epoch, seq, at_ms, version,
                   clock_state, drained_to_ms, at, size)),
turned AS (
    INSERT INTO device_transitions (device, at_ms, noticed_ms, state)
    SELECT device, received_ms, received_ms, 'ok' FROM heard JOIN devices d USING (device)
    WHERE d.state <> 'ok' ON CONFLICT DO NOTHING),
contact AS (
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
    WHERE heard.device = d.device),
-- What is settled now.
lanes_moved AS (
    UPDATE lanes SET acked_through = moved.acked_through, have = moved.have::bigint[]
    FROM unnest(%(lane_device)s::text[], %(lane_epoch)s::bigint[], %(lane_lane)s::text[],
                %(lane_acked)s::bigint[], %(lane_have)s::text[])
         AS moved (device, epoch, lane, acked_through, have)
    WHERE (lanes.device, lanes.epoch, lanes.lane) = (moved.device, moved.epoch, moved.lane)),
minute AS (
    SELECT * FROM unnest(%(minute_device)s::text[], %(minute_camera)s::text[],
                         %(minute_start_ms)s::bigint[], %(minute_at)s::integer[],
                         %(minute_size)s::integer[])
                  AS minute (device, camera, start_ms, at, size)),
minutes_new AS (
    INSERT INTO rollup_minute (device, camera, start_ms, body)
    SELECT device, camera, start_ms, substring(%(minute_bodies)b::bytea FROM at FOR size) FROM minute
    ON CONFLICT (device, camera, start_ms) DO NOTHING
    RETURNING device, camera, start_ms),
-- Hours that have to be merged again. A mark that is there is held, not changed: whoever takes it to
-- merge that hour must not do so before this transaction's minutes can be seen.
hours_marked AS (
    INSERT INTO rollup_dirty (device, camera, hour_ms, marked_ms)
    SELECT DISTINCT device, camera, start_ms - start_ms %% 3600000, %(now_ms)s::bigint FROM minute
    ON CONFLICT (device, camera, hour_ms) DO UPDATE SET marked_ms = excluded.marked_ms WHERE false)
SELECT device, camera, start_ms FROM minutes_new

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
-- One event; the same id twice is one event. A turn of the alerts takes it from the inbox.
WITH added AS (
    INSERT INTO events (device, event, site, camera, kind, at_ms, received_ms, late, dated, label,
                        where_name, evidence, body)
    VALUES (%(device)s, %(event)s, %(site)s, %(camera)s, %(kind)s, %(at_ms)s, %(received_ms)s,
            %(late)s, %(dated)s, %(label)s, %(where_name)s, %(evidence)s, %(body)s)
    ON CONFLICT (device, event) DO NOTHING
    RETURNING device, event, received_ms),
exported AS (
    INSERT INTO export_inbox (kind, device, event, received_ms) SELECT 'event', added.* FROM added
    WHERE EXISTS (SELECT FROM exports WHERE enabled))
INSERT INTO alert_inbox (device, event, received_ms) SELECT * FROM added

-- name: evidence_add
-- What a device holds as evidence; a later word about it replaces an earlier one.
WITH said AS (
    INSERT INTO evidence (device, evidence, event, camera, status, stays, received_ms, epoch, seq,
                          body)
    VALUES (%(device)s, %(evidence)s, %(event)s, %(camera)s, %(status)s, %(stays)s,
            %(received_ms)s, %(epoch)s, %(seq)s, %(body)s)
    ON CONFLICT (device, evidence) DO UPDATE
    SET status = excluded.status, stays = excluded.stays, body = excluded.body,
        epoch = excluded.epoch, seq = excluded.seq, received_ms = excluded.received_ms
    WHERE (evidence.epoch, evidence.seq) < (excluded.epoch, excluded.seq)
    RETURNING device, event, evidence, received_ms)
INSERT INTO export_inbox (kind, device, event, evidence, received_ms) SELECT 'evidence', said.*
FROM said WHERE EXISTS (SELECT FROM exports WHERE enabled)

-- name: commission_add
-- What came of commissioning a camera; the newest 20 are kept.
WITH others AS (
    DELETE FROM commissions AS old WHERE old.device = %(device)s AND old.camera = %(camera)s
    AND old.at_ms < (SELECT at_ms FROM commissions WHERE device = %(device)s AND camera = %(camera)s
                     ORDER BY at_ms DESC OFFSET 18 LIMIT 1)
)
INSERT INTO commissions (device, camera, at_ms, received_ms, body)
VALUES (%(device)s, %(camera)s, %(at_ms)s, %(received_ms)s, %(body)s)
ON CONFLICT (device, camera, at_ms) DO NOTHING

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
