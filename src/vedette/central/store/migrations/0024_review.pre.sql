-- Candidates in shadow: what devices counted, pictures on which both models differ, and what people
-- made of them.

CREATE TABLE shadow_sums (
    rollout    text NOT NULL,
    device     text NOT NULL REFERENCES devices ON DELETE CASCADE,
    camera     text NOT NULL,
    a          text NOT NULL,            -- digest of the model in use
    b          text NOT NULL,            -- of the candidate
    slot       text NOT NULL,
    site       text NOT NULL,
    first_ms   bigint NOT NULL,
    last_ms    bigint NOT NULL,
    frames     bigint NOT NULL,
    differing  bigint NOT NULL,
    failed     bigint NOT NULL,
    shed       bigint NOT NULL,
    both_n     bigint NOT NULL,          -- objects, of all classes
    only_a     bigint NOT NULL,
    only_b     bigint NOT NULL,
    PRIMARY KEY (rollout, device, camera, a, b)
);
CREATE INDEX shadow_sums_device ON shadow_sums (device);

CREATE TABLE disagreements (
    device        text NOT NULL REFERENCES devices ON DELETE CASCADE,
    disagreement  text NOT NULL,
    rollout       text NOT NULL,
    slot          text NOT NULL,
    site          text NOT NULL,
    camera        text NOT NULL,
    a             text NOT NULL,
    b             text NOT NULL,
    at_ms         bigint NOT NULL,
    received_ms   bigint NOT NULL,
    weight        double precision NOT NULL,
    lot           text NOT NULL,         -- the order in which they are shown: by chance
    body          bytea NOT NULL,        -- boxes and sizes, without the picture
    picture       bytea,                 -- null: it never came, or its time is over
    PRIMARY KEY (device, disagreement)
);
CREATE INDEX disagreements_rollout ON disagreements (rollout, lot);
CREATE INDEX disagreements_received ON disagreements (received_ms);

CREATE TABLE judgements (
    device        text NOT NULL,
    disagreement  text NOT NULL,
    reviewer      text NOT NULL,
    at_ms         bigint NOT NULL,
    verdict       text NOT NULL CHECK (verdict IN ('a', 'b', 'neither', 'unclear')),
    PRIMARY KEY (device, disagreement, reviewer),
    FOREIGN KEY (device, disagreement) REFERENCES disagreements ON DELETE CASCADE
);
CREATE INDEX judgements_reviewer ON judgements (reviewer, at_ms);

-- Who looked at which picture when last: to show it twice in a moment is one look.
CREATE TABLE disagreement_looks (
    actor         text NOT NULL,
    device        text NOT NULL,
    disagreement  text NOT NULL,
    at_ms         bigint NOT NULL,
    PRIMARY KEY (actor, device, disagreement)
);
