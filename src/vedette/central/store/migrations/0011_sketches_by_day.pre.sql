-- Sketches of a device merged by day and by week, one row for each name (a stage, a zone), with
-- labels and model versions apart: vedette.central.query.sketch_days. Derived from rollup_day and
-- rollup_hour: it can be emptied and is made again.
CREATE TABLE sketch_day (
    device    text NOT NULL,
    field     text NOT NULL,
    name      text NOT NULL,
    days      smallint NOT NULL,                    -- 1 or 7
    start_ms  bigint NOT NULL,
    keys      text NOT NULL,                        -- forms, and [[label, model, shape], …]
    bins      bytea NOT NULL,
    counts    bytea NOT NULL,
    sums      bytea NOT NULL,
    PRIMARY KEY (field, name, days, device, start_ms)
) PARTITION BY HASH (field, name);
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE sketch_day_%s PARTITION OF sketch_day'
                       ' FOR VALUES WITH (MODULUS 16, REMAINDER %s)'
                       ' WITH (toast_tuple_target = 8160)', part, part);
        EXECUTE format('ALTER TABLE sketch_day_%s ALTER COLUMN bins SET STORAGE MAIN,'
                       ' ALTER COLUMN counts SET STORAGE MAIN', part);
        EXECUTE format('CREATE INDEX ON sketch_day_%s (device, start_ms)', part);
    END LOOP;
END $$;

-- Days of which the merged counts changed since their sketches were laid out.
CREATE TABLE sketch_dirty (
    device  text NOT NULL,
    day_ms  bigint NOT NULL,
    PRIMARY KEY (device, day_ms)
);

-- Weeks of which a day was laid out since they were merged as a whole.
CREATE TABLE sketch_loose (
    device   text NOT NULL,
    week_ms  bigint NOT NULL,
    PRIMARY KEY (device, week_ms)
);

INSERT INTO sketch_dirty SELECT DISTINCT device, start_ms FROM rollup_day;

CREATE FUNCTION sketch_mark_days() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sketch_dirty (device, day_ms) VALUES (NEW.device, NEW.start_ms)
    ON CONFLICT (device, day_ms) DO UPDATE SET day_ms = excluded.day_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER sketch_mark AFTER INSERT OR UPDATE OF body ON rollup_day
    FOR EACH ROW EXECUTE FUNCTION sketch_mark_days();
