-- What makes questions fast: resolved coverage by day, and every metric by hour, a row per device,
-- metric and day. Both are derived: they can be emptied at any time and are made again.

-- Up to here the coverage of a device is resolved and kept: nothing but late news can change it.
CREATE TABLE coverage_through (
    device      text PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    through_ms  bigint NOT NULL
);

-- Late news: what is kept of these stretches does not hold any more. camera '': all of the device.
CREATE TABLE coverage_dirty (
    device   text NOT NULL,
    camera   text NOT NULL,
    from_ms  bigint NOT NULL,
    to_ms    bigint NOT NULL
);
CREATE INDEX coverage_dirty_device ON coverage_dirty (device);

-- The resolved coverage of a camera's day (UTC): vedette.central.query.runs.
CREATE TABLE coverage_day (
    device  text NOT NULL,
    camera  text NOT NULL,
    day_ms  bigint NOT NULL,
    runs    bytea NOT NULL,
    PRIMARY KEY (device, camera, day_ms)
);

-- One metric of one device over the 24 hours of a day (UTC): vedette.central.query.packing. Parted by
-- metric, so that a question about many devices reads pages that hold little else.
CREATE TABLE metric_day (
    device  text NOT NULL,
    metric  text NOT NULL,
    day_ms  bigint NOT NULL,
    keys    text NOT NULL,                          -- JSON: [[camera, name, label], …]
    hours   bytea NOT NULL,                         -- float64, little endian, 24 × keys
    PRIMARY KEY (device, metric, day_ms)
) PARTITION BY HASH (metric);
DO $$
BEGIN
    FOR part IN 0..31 LOOP
        EXECUTE format('CREATE TABLE metric_day_%s PARTITION OF metric_day'
                       ' FOR VALUES WITH (MODULUS 32, REMAINDER %s)', part, part);
    END LOOP;
END $$;

-- Days of which an hour was merged since their metrics were laid out.
CREATE TABLE metric_dirty (
    device  text NOT NULL,
    day_ms  bigint NOT NULL,
    PRIMARY KEY (device, day_ms)
);

INSERT INTO metric_dirty
SELECT DISTINCT device, start_ms - start_ms % 86400000 FROM rollup_hour;

CREATE INDEX reports_health ON reports (device, received_ms) WHERE schema = 'health.v1';

-- Whoever writes what coverage is made of marks what is kept of it. A claim that only says again
-- what was said (`claims_join`) sets vedette.same_coverage in its transaction.

CREATE FUNCTION coverage_mark_claims() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('vedette.same_coverage', true) = 'on' THEN RETURN NULL; END IF;
    INSERT INTO coverage_dirty (device, camera, from_ms, to_ms)
    SELECT n.device, n.camera, min(n.start_ms), least(max(n.end_ms), t.through_ms)
    FROM new_rows n JOIN coverage_through t USING (device)
    WHERE n.start_ms < t.through_ms GROUP BY n.device, n.camera, t.through_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_mark AFTER INSERT ON coverage_claims
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION coverage_mark_claims();

-- A state ends the one before it in the device's order, so it changes all from itself on; and all
-- since the device fell silent in between, for what was only likely then is certain now.
CREATE FUNCTION coverage_mark_states() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    began_ms bigint := NEW.at_ms;
    through bigint;
BEGIN
    SELECT through_ms INTO through FROM coverage_through WHERE device = NEW.device;
    IF through IS NULL THEN RETURN NULL; END IF;
    SELECT least(began_ms, s.at_ms) INTO began_ms FROM (SELECT) one LEFT JOIN LATERAL (
        SELECT at_ms FROM camera_states
        WHERE device = NEW.device AND camera = NEW.camera
          AND (epoch, seq) > (NEW.epoch, NEW.seq) ORDER BY epoch, seq LIMIT 1) s ON true;
    SELECT least(began_ms, min(t.at_ms)) INTO began_ms FROM (
        SELECT at_ms FROM camera_states
        WHERE device = NEW.device AND camera = NEW.camera
          AND (epoch, seq) < (NEW.epoch, NEW.seq) ORDER BY epoch DESC, seq DESC LIMIT 1) s
    JOIN device_transitions t ON t.device = NEW.device AND t.state = 'dark' AND t.at_ms > s.at_ms;
    IF began_ms < through THEN
        INSERT INTO coverage_dirty VALUES (NEW.device, NEW.camera, began_ms, through);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_mark AFTER INSERT ON camera_states
    FOR EACH ROW EXECUTE FUNCTION coverage_mark_states();

-- 150 s: coverage.FRESH_MS, which a lasting silence reaches back.
CREATE FUNCTION coverage_mark_transitions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed record;
    began_ms bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    began_ms := changed.at_ms;
    IF changed.state = 'ok' THEN
        -- The spell that it ends began with the first silence since it was heard before.
        SELECT coalesce(min(d.at_ms), began_ms) INTO began_ms FROM device_transitions d
        WHERE d.device = changed.device AND d.state = 'dark' AND d.at_ms <= changed.at_ms
          AND d.at_ms >= coalesce((SELECT max(o.at_ms) FROM device_transitions o
              WHERE o.device = changed.device AND o.state = 'ok' AND o.at_ms < changed.at_ms), 0);
    END IF;
    INSERT INTO coverage_dirty (device, camera, from_ms, to_ms)
    SELECT t.device, '', began_ms - 150000, t.through_ms FROM coverage_through t
    WHERE t.device = changed.device AND began_ms - 150000 < t.through_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_mark AFTER INSERT OR UPDATE OR DELETE ON device_transitions
    FOR EACH ROW EXECUTE FUNCTION coverage_mark_transitions();

CREATE FUNCTION coverage_mark_downs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed record;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    INSERT INTO coverage_dirty (device, camera, from_ms, to_ms)
    SELECT t.device, '', changed.start_ms, t.through_ms
    FROM coverage_through t WHERE changed.start_ms < t.through_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_mark AFTER INSERT OR UPDATE OR DELETE ON central_downs
    FOR EACH ROW EXECUTE FUNCTION coverage_mark_downs();

CREATE FUNCTION coverage_mark_cameras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO coverage_dirty (device, camera, from_ms, to_ms)
    SELECT t.device, NEW.camera, NEW.known_from_ms, t.through_ms
    FROM coverage_through t WHERE t.device = NEW.device AND NEW.known_from_ms < t.through_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER coverage_mark AFTER INSERT OR UPDATE OF known_from_ms ON cameras
    FOR EACH ROW EXECUTE FUNCTION coverage_mark_cameras();

CREATE FUNCTION metric_mark_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO metric_dirty (device, day_ms)
    VALUES (NEW.device, NEW.start_ms - NEW.start_ms % 86400000)
    ON CONFLICT (device, day_ms) DO UPDATE SET day_ms = excluded.day_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER metric_mark AFTER INSERT OR UPDATE OF body ON rollup_hour
    FOR EACH ROW EXECUTE FUNCTION metric_mark_hours();

CREATE FUNCTION metric_mark_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO metric_dirty (device, day_ms)
    VALUES (NEW.device, NEW.at_ms - NEW.at_ms % 86400000)
    ON CONFLICT (device, day_ms) DO UPDATE SET day_ms = excluded.day_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER metric_mark AFTER INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION metric_mark_events();
