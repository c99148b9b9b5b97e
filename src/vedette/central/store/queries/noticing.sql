-- What devices say of their updates, in the transaction that takes their messages in.

-- name: rollout_device_said
-- A device went on with what it was assigned: only forward, and only within that attempt. A rollout
-- that is over has the slot no more, and another may take it before anything is decided: what is
-- confirmed then, is what the device has from now on, and goes back to next time.
WITH moved AS (
    UPDATE rollout_devices r SET
        state = %(state)s, since_ms = %(now_ms)s, detail = %(detail)s,
        saved_bytes = greatest(r.saved_bytes, %(saved_bytes)s),
        active_ms = CASE WHEN %(state)s::text IN ('activating', 'probation')
                         THEN coalesce(r.active_ms, %(now_ms)s) ELSE r.active_ms END
    FROM rollout_devices was
    WHERE r.rollout = %(rollout)s AND r.device = %(device)s
      AND was.rollout = r.rollout AND was.device = r.device
      AND r.attempt = %(attempt)s AND r.digest = %(digest)s AND r.state IS NOT NULL
      AND update_rank(r.state) < update_rank(%(state)s)
    RETURNING r.rollout, r.device, coalesce(was.state, '') AS was, r.stage, r.attempt),
known AS (
    INSERT INTO installed (device, slot, artefact)
    SELECT a.device, a.slot,
           convert_to((convert_from(a.item, 'UTF8')::jsonb -> 'artefact')::text, 'UTF8')
    FROM assigned a JOIN moved m USING (rollout, device) JOIN rollouts u USING (rollout)
    WHERE %(state)s::text = 'confirmed' AND u.state = ANY (%(over)s::text[])
    ON CONFLICT (device, slot) DO UPDATE SET artefact = excluded.artefact)
INSERT INTO rollout_history (rollout, device, at_ms, actor, was, state, stage, attempt, reason)
SELECT rollout, device, %(now_ms)s, 'device', was, %(state)s, stage, attempt, %(detail)s FROM moved

-- name: slots_note
-- What is in the slots of devices, where this report is their newest; a row changes where it does.
WITH said AS (
    SELECT said.* FROM unnest(
        %(device)s::text[], %(slot)s::text[], %(kind)s::text[], %(rollout)s::text[],
        %(attempt)s::integer[], %(state)s::text[], %(digest)s::text[], %(running)s::text[],
        %(previous)s::text[], %(problem)s::text[], %(bytes_done)s::bigint[], %(bytes)s::bigint[],
        %(load_s)s::float8[], %(golden_ok)s::boolean[], %(epoch)s::bigint[], %(seq)s::bigint[],
        %(now_ms)s::bigint[])
        AS said (device, slot, kind, rollout, attempt, state, digest, running, previous, problem,
                 bytes_done, bytes, load_s, golden_ok, epoch, seq, now_ms)
    JOIN devices d ON d.device = said.device
                  AND (d.health_epoch, d.health_seq) = (said.epoch, said.seq)),
gone AS (
    DELETE FROM device_slots s USING (SELECT device, array_agg(slot) AS slots FROM said GROUP BY device) n
    WHERE s.device = n.device AND s.slot <> ALL (n.slots))
INSERT INTO device_slots AS s (device, slot, kind, rollout, attempt, state, digest, running, previous,
                          problem, bytes_done, bytes, load_s, golden_ok, epoch, seq, changed_ms)
SELECT * FROM said
ON CONFLICT (device, slot) DO UPDATE SET
    kind = excluded.kind, rollout = excluded.rollout, attempt = excluded.attempt,
    state = excluded.state, digest = excluded.digest, running = excluded.running,
    previous = excluded.previous, problem = excluded.problem, bytes_done = excluded.bytes_done,
    bytes = excluded.bytes, load_s = excluded.load_s, golden_ok = excluded.golden_ok,
    epoch = excluded.epoch, seq = excluded.seq, changed_ms = excluded.changed_ms
WHERE (s.kind, s.rollout, s.attempt, s.state, s.digest, s.running, s.previous, s.problem,
       s.bytes_done, s.bytes, s.load_s, s.golden_ok)
      IS DISTINCT FROM
      (excluded.kind, excluded.rollout, excluded.attempt, excluded.state, excluded.digest,
       excluded.running, excluded.previous, excluded.problem, excluded.bytes_done, excluded.bytes,
       excluded.load_s, excluded.golden_ok)

-- name: counters_note
-- By how much the counters of devices grew since their report before, by the hour of this one. One
-- that fell began anew. The first report of a device is compared with nothing.
WITH newest AS (
    SELECT said.* FROM unnest(
        %(device)s::text[], %(epoch)s::bigint[], %(seq)s::bigint[], %(at_ms)s::bigint[],
        %(assignment_version)s::bigint[], %(crashes)s::bigint[], %(restarts)s::bigint[],
        %(golden_failed)s::boolean[])
        AS said (device, epoch, seq, at_ms, assignment_version, crashes, restarts, golden_failed)
    JOIN devices d ON d.device = said.device
                  AND (d.health_epoch, d.health_seq) = (said.epoch, said.seq)),
grown AS (
    INSERT INTO device_bad_hours AS b (device, hour_ms, kind, count)
    SELECT n.device, n.at_ms - n.at_ms %% 3600000, k.kind, least(k.count, %(most)s)
    FROM newest n JOIN device_counters c USING (device)
    CROSS JOIN LATERAL (VALUES
        ('crash', CASE WHEN n.crashes >= c.crashes THEN n.crashes - c.crashes ELSE n.crashes END),
        ('restart',
         CASE WHEN n.restarts >= c.restarts THEN n.restarts - c.restarts ELSE n.restarts END),
        ('golden', (n.golden_failed AND NOT c.golden_failed)::integer::bigint)) k (kind, count)
    WHERE k.count > 0
    ON CONFLICT (device, hour_ms, kind) DO UPDATE SET count = b.count + excluded.count)
INSERT INTO device_counters AS c (device, epoch, seq, assignment_version, crashes, restarts,
                                  golden_failed)
SELECT device, epoch, seq, assignment_version, crashes, restarts, golden_failed FROM newest
ON CONFLICT (device) DO UPDATE SET
    epoch = excluded.epoch, seq = excluded.seq, assignment_version = excluded.assignment_version,
    crashes = excluded.crashes, restarts = excluded.restarts, golden_failed = excluded.golden_failed
WHERE (c.assignment_version, c.crashes, c.restarts, c.golden_failed)
      IS DISTINCT FROM
      (excluded.assignment_version, excluded.crashes, excluded.restarts, excluded.golden_failed)

-- name: bad_hours_add
-- Bad minutes and reports of devices, by hour and kind.
INSERT INTO device_bad_hours AS b (device, hour_ms, kind, count)
SELECT device, hour_ms, kind, count
FROM unnest(%(device)s::text[], %(hour_ms)s::bigint[], %(kind)s::text[], %(count)s::bigint[])
     AS said (device, hour_ms, kind, count)
ON CONFLICT (device, hour_ms, kind) DO UPDATE SET count = b.count + excluded.count

-- name: bad_hours_expire
-- Bad events of long ago.
DELETE FROM device_bad_hours WHERE hour_ms < %(before_ms)s
