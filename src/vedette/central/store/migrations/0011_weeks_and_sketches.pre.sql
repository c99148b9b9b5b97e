-- What makes questions about a large fleet over months fast: metrics of seven days in one row, and
-- sketches merged by device and day. Both are derived: they can be emptied and are made again.

-- Seven days of metric_day (weeks begin on Thursdays, as 1970 did) as one row; while it is here, its
-- days are not there: vedette.central.query.weeks. hours: seven days laid end to end.
CREATE TABLE metric_week (
    device   text NOT NULL,
    metric   text NOT NULL,
    week_ms  bigint NOT NULL,
    keys     text NOT NULL,
    days     bytea NOT NULL,                        -- seven int8send(day_ms)
    hours    bytea NOT NULL,
    sum_keys text NOT NULL,                         -- form of the sum, and one nameless series
    sums     bytea NOT NULL,                        -- all series added up
    PRIMARY KEY (device, metric, week_ms)
) PARTITION BY HASH (metric);
DO $$
BEGIN
    FOR part IN 0..31 LOOP
        EXECUTE format('CREATE TABLE metric_week_%s PARTITION OF metric_week'
                       ' FOR VALUES WITH (MODULUS 32, REMAINDER %s)'
                       ' WITH (toast_tuple_target = 8160)', part, part);
        EXECUTE format('ALTER TABLE metric_week_%s ALTER COLUMN hours SET STORAGE MAIN', part);
    END LOOP;
END $$;

-- Which weeks of a device are folded.
CREATE TABLE metric_folded (
    device   text NOT NULL,
    week_ms  bigint NOT NULL,
    PRIMARY KEY (device, week_ms)
);
