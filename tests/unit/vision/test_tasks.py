"""Classes, embeddings and anomalies: what outputs of networks say, and what is refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.errors import BadModelOutput, ModelLoadFailed
from vedette.vision.preprocess import Preprocess, Transform
from vedette.vision.tasks import (
    Anomaly,
    Answer,
    Classification,
    Embedding,
    Reader,
    Reference,
    Task,
    encode_reference,
)
from vedette.vision.tasks.classification import Classes

SQUARE = Preprocess(size=(32, 32), resize="stretch")
WHOLE = Transform.between((32, 32), SQUARE)
BLANK = np.zeros((1, 3, 32, 32), np.float32)


def read(
    task: Task,
    output: np.ndarray,
    *,
    labels: int = 0,
    reference: np.ndarray | None = None,
    tensor: np.ndarray = BLANK,
    transform: Transform = WHOLE,
    preprocess: Preprocess = SQUARE,
) -> Answer:
    """Return what one output says."""
    file = b"" if reference is None else encode_reference(reference)
    reader = Reader(task, labels, preprocess, lambda _name: file)
    return reader.read({"answer": output}, tensor, transform)


def probabilities(task: Classification, *scores: float) -> np.ndarray:
    """Return the probability of each class."""
    output = np.array([scores], np.float32)
    classes = read(task, output, labels=len(scores)).classes
    assert classes is not None
    return classes.probability


def test_logits_become_probabilities_as_the_bundle_says():
    """Softmax over all classes, sigmoid of each, or what the network itself made."""
    soft = probabilities(Classification(classes=3), 0.0, np.log(2.0), 0.0)
    assert np.allclose(soft, [0.25, 0.5, 0.25])
    each = Classification(classes=2, activation="sigmoid", exclusive=False)
    assert np.allclose(probabilities(each, 0.0, np.log(3.0)), [0.5, 0.75])
    done = Classification(classes=2, activation="none")
    assert np.allclose(probabilities(done, 0.25, 0.75), [0.25, 0.75])


@given(st.lists(st.floats(-3e38, 3e38), min_size=1, max_size=20))
def test_any_finite_logits_are_probabilities(scores: list[float]):
    """However large, nothing overflows: they sum to one and the entropy is within 0 to 1."""
    p = probabilities(Classification(classes=len(scores)), *scores)
    assert p.sum() == pytest.approx(1, abs=1e-4)
    assert p.min() >= 0
    assert -1e-6 <= Classes(p, exclusive=True).entropy <= 1 + 1e-6
    each = Classification(classes=len(scores), activation="sigmoid", exclusive=False)
    q = probabilities(each, *scores)
    assert 0 <= q.min() <= q.max() <= 1
    assert -1e-6 <= Classes(q, exclusive=False).entropy <= 1 + 1e-6


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((1, 4)),
        np.zeros((2, 3)),
        np.zeros(3),
        np.zeros((1, 3, 3)),
        np.array([[0, np.nan, 0]]),
        np.array([[0, np.inf, 0]]),
        np.array([[0, 1e300, 0]]),
        np.zeros((1, 0)),
    ],
)
@pytest.mark.parametrize(
    "task",
    [
        Classification(classes=3),
        Embedding(dimensions=3),
        Anomaly(method="nearest", limit=1.0, dimensions=3, reference=Reference(file="r", rows=1)),
    ],
)
def test_a_vector_of_another_shape_or_not_finite_is_bad_output(output: np.ndarray, task: Task):
    """Never a strange answer: one batch, the stated length, finite also as float32."""
    labels = 3 if isinstance(task, Classification) else 0
    with pytest.raises(BadModelOutput):
        read(task, output, labels=labels, reference=np.ones((1, 3)))


def test_sides_of_one_around_a_vector_are_taken_off():
    """Networks that end in a global pooling give (1, c, 1, 1)."""
    found = read(Embedding(dimensions=3), np.ones((1, 3, 1, 1)))
    assert found.embedding is not None
    assert found.embedding.shape == (3,)


def test_logits_where_probabilities_were_promised_are_bad_output():
    """A wrong activation shows at once and not as a certainty of 7."""
    with pytest.raises(BadModelOutput, match="are they logits"):
        probabilities(Classification(classes=2, activation="none"), -3.0, 7.0)


def test_the_output_is_found_by_name_among_several():
    """By its name where it has one; without a name several are not guessed from."""
    outputs = {"a": np.zeros((1, 2)), "b": np.array([[0.0, 9.0]])}
    named = Reader(Classification(classes=2, output="b"), 2, SQUARE, lambda _: b"")
    classes = named.read(outputs, BLANK, WHOLE).classes
    assert classes is not None
    assert classes.top == 1
    for task in (Classification(classes=2), Classification(classes=2, output="c")):
        with pytest.raises(BadModelOutput, match="no output named"):
            Reader(task, 2, SQUARE, lambda _: b"").read(outputs, BLANK, WHOLE)


# ------------------------------------------------------------------------------------ embeddings


PROTOTYPES = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
SCENES = Embedding(dimensions=3, prototypes=Reference(file="p.f32", rows=3), temperature=0.05)


def test_the_scene_is_that_of_the_nearest_prototype_whatever_the_lengths():
    """Cosine alone counts: long prototypes and long vectors win nothing."""
    found = read(SCENES, np.array([[90.0, 100.0, 0.0]]), labels=3, reference=PROTOTYPES)
    assert found.classes is not None
    assert found.classes.top == 1
    assert found.classes.similarity == pytest.approx(100 / np.hypot(90, 100), abs=1e-4)
    assert found.embedding is not None
    assert found.embedding.tolist() == [90, 100, 0]


def test_a_label_with_several_prototypes_has_the_nearest_of_them():
    """And one that has none is never the answer."""
    task = msgspec.structs.replace(SCENES, labels_of=[2, 0, 2])
    found = read(task, np.array([[1.0, 0.0, 0.2]]), labels=4, reference=PROTOTYPES).classes
    assert found is not None
    assert found.top == 2
    assert found.probability[[1, 3]].tolist() == [0, 0]
    assert found.probability.sum() == pytest.approx(1)


def test_a_picture_far_from_every_prototype_is_of_no_scene():
    """Below the least similarity no label has any probability."""
    task = msgspec.structs.replace(SCENES, min_similarity=0.9)
    found = read(task, np.array([[1.0, 1.0, 1.0]]), labels=3, reference=PROTOTYPES).classes
    assert found is not None
    assert found.probability.tolist() == [0, 0, 0]
    assert found.similarity == pytest.approx(3**-0.5, abs=1e-4)


def test_a_vector_of_zeros_is_undecided_and_not_a_division_by_zero():
    """Equally far from all."""
    found = read(SCENES, np.zeros((1, 3)), labels=3, reference=PROTOTYPES).classes
    assert found is not None
    assert np.allclose(found.probability, 1 / 3)


# ------------------------------------------------------------------------------------- anomalies


def test_what_a_network_cannot_rebuild_is_strange_and_told_where():
    """The score is one half at the limit; the box is in pixels of the picture."""
    task = Anomaly(method="reconstruction", limit=4.0, cell_px=8, area=1 / 16)
    tensor = BLANK.copy()
    tensor[..., 8:16, 16:24] = 2.0
    transform = Transform.between((320, 160), SQUARE)
    found = read(task, BLANK, tensor=tensor, transform=transform).anomaly
    assert found is not None
    assert found.distance == pytest.approx(4.0)
    assert found.score == pytest.approx(0.5)
    assert found.cells is not None
    assert found.cells.shape == (4, 4)
    worse = read(task, BLANK, tensor=1.5 * tensor, transform=transform).anomaly
    assert worse is not None
    assert worse.score > 0.5
    assert worse.box == (160, 40, 240, 80)
    assert found.box is None


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_padding_around_a_picture_is_not_strange(layout: str):
    """Errors outside of a letterboxed picture count nothing, whatever the layout."""
    spec = Preprocess(size=(32, 32), anchor="center", layout=layout)  # pyright: ignore[reportArgumentType]
    transform = Transform.between((64, 32), spec)
    tensor = np.zeros(spec.shape, np.float32)
    again = tensor.copy()
    rows = again[:, :, :8] if layout == "NCHW" else again[:, :8]
    rows[:] = 100.0
    task = Anomaly(method="reconstruction", limit=1.0)
    found = read(task, again, tensor=tensor, transform=transform, preprocess=spec).anomaly
    assert found is not None
    assert found.distance == 0


def test_each_pixel_can_be_its_own_square():
    """With squares of one and the whole area, the distance is the mean squared error."""
    rng = np.random.default_rng(1)
    again = rng.normal(size=BLANK.shape).astype(np.float32)
    task = Anomaly(method="reconstruction", limit=1.0, cell_px=1, area=1.0)
    found = read(task, again).anomaly
    assert found is not None
    assert found.distance == pytest.approx(float((again**2).mean()), rel=1e-5)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_squares_at_the_edges_keep_their_mean(width: int, height: int, side: int):
    """A picture of one error everywhere has that error in every square, cut or not."""
    spec = Preprocess(size=(width, height), resize="stretch")
    tensor = np.full(spec.shape, 3.0, np.float32)
    task = Anomaly(method="reconstruction", limit=1.0, cell_px=side)
    transform = Transform.between((width, height), spec)
    found = read(
        task, np.zeros_like(tensor), tensor=tensor, transform=transform, preprocess=spec
    ).anomaly
    assert found is not None
    assert found.cells is not None
    assert np.allclose(found.cells, 9.0)


def test_a_network_may_give_the_score_or_its_map():
    """One number is the distance; a map is put over the input and its worst part counts."""
    task = Anomaly(method="score", limit=2.0, cell_px=4, area=1 / 64)
    number = read(task, np.array([[6.0]])).anomaly
    assert number is not None
    assert number.score == pytest.approx(0.75)
    heat = np.zeros((1, 1, 8, 8))
    heat[0, 0, 2, 5] = 6.0
    mapped = read(task, heat).anomaly
    assert mapped is not None
    assert mapped.score == pytest.approx(0.75)
    assert mapped.box == (20, 8, 24, 12)


@pytest.mark.parametrize(
    ("method", "output"),
    [
        ("reconstruction", np.zeros((1, 3, 32, 31))),
        ("reconstruction", np.full((1, 3, 32, 32), np.nan)),
        ("reconstruction", np.full((1, 3, 32, 32), 1e30)),
        ("score", np.array([[-1.0]])),
        ("score", np.array([[np.inf]])),
        ("score", np.zeros((1, 2, 8, 8))),
        ("score", np.zeros((2, 8, 8))),
        ("score", np.full((1, 8, 8), -1.0)),
        ("score", np.zeros((1, 0))),
    ],
)
def test_an_anomaly_that_cannot_be_meant_is_bad_output(method, output):
    """Not finite, negative or of another shape."""
    with pytest.raises(BadModelOutput):
        read(Anomaly(method=method, limit=1.0), output)


def test_mahalanobis_is_the_distance_in_deviations():
    """As the textbook's formula with the inverse of the covariance, over the root of its rows."""
    rng = np.random.default_rng(2)
    seen = rng.normal(size=(500, 3)) @ np.array([[2, 0, 0], [1, 1, 0], [0, 0.5, 3]])
    inverse = np.linalg.inv(np.cov(seen.T))
    rows = np.vstack([seen.mean(axis=0), np.linalg.cholesky(inverse).T])
    task = Anomaly(
        method="mahalanobis", limit=1.0, dimensions=3, reference=Reference(file="r", rows=4)
    )
    x = np.array([3.0, -2.0, 5.0])
    found = read(task, x[None], reference=rows).anomaly
    assert found is not None
    away = x - seen.mean(axis=0)
    assert found.distance == pytest.approx(np.sqrt(away @ inverse @ away / 3), rel=1e-4)


@pytest.mark.parametrize(("metric", "expected"), [("euclidean", 1.5), ("cosine", 0.0)])
def test_nearest_is_the_mean_over_the_neighbours(metric, expected):
    """Of the two nearest of three; with cosine only directions count."""
    reference = Reference(file="r", rows=3)
    task = Anomaly(
        method="nearest", limit=1.0, dimensions=2, reference=reference, neighbours=2, metric=metric
    )
    rows = np.array([[1, 0], [4, 0], [-9, 1]])
    found = read(task, np.array([[2.0, 0.0]]), reference=rows).anomaly
    assert found is not None
    assert found.distance == pytest.approx(expected, abs=1e-6)


# --------------------------------------------------------------------------------------- refusals


def test_a_reference_file_of_another_length_or_not_finite_is_refused():
    """Cut short, too long, NaN: told when the model is loaded."""
    for data in (b"", encode_reference(PROTOTYPES)[:-1], encode_reference(PROTOTYPES) + b"\0"):
        with pytest.raises(ModelLoadFailed, match="3 vectors of 3 are 36"):
            Reader(SCENES, 3, SQUARE, lambda _name, data=data: data)
    broken = encode_reference(np.where(PROTOTYPES == 1, np.nan, PROTOTYPES))
    with pytest.raises(ModelLoadFailed, match="not finite"):
        Reader(SCENES, 3, SQUARE, lambda _name: broken)


def test_a_reference_without_direction_cannot_be_compared_by_cosine():
    """A row of zeros, told when the model is loaded."""
    task = Anomaly(
        method="nearest",
        limit=1.0,
        dimensions=3,
        reference=Reference(file="r", rows=2),
        metric="cosine",
    )
    data = encode_reference(np.array([[1, 0, 0], [0, 0, 0]]))
    with pytest.raises(ModelLoadFailed, match="no direction"):
        Reader(task, 0, SQUARE, lambda _name: data)


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (Classification(classes=3), 2),
        (SCENES, 2),
        (msgspec.structs.replace(SCENES, labels_of=[0, 0, 5]), 3),
        (Embedding(dimensions=3), 1),
        (Anomaly(method="score", limit=1.0), 1),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(task: Task, labels: int):
    """Too few, too many, or where there can be none."""
    with pytest.raises(ModelLoadFailed, match=r"labels|label"):
        Reader(task, labels, SQUARE, lambda _name: encode_reference(PROTOTYPES))


@pytest.mark.parametrize(
    "text",
    [
        b'{"kind":"poetry"}',
        b'{"kind":"classification","classes":0}',
        b'{"kind":"classification","classes":100000000}',
        b'{"kind":"classification","classes":2,"exclusive":false}',
        b'{"kind":"classification","classes":2,"softmax":true}',
        b'{"kind":"embedding","dimensions":0}',
        b'{"kind":"embedding","dimensions":1000000}',
        b'{"kind":"embedding","dimensions":8,"temperature":0}',
        b'{"kind":"embedding","dimensions":8,"min_similarity":2}',
        b'{"kind":"embedding","dimensions":8,"labels_of":[0]}',
        b'{"kind":"embedding","dimensions":8,"prototypes":{"file":"x","rows":0}}',
        b'{"kind":"embedding","dimensions":8192,"prototypes":{"file":"x","rows":10000}}',
        b'{"kind":"embedding","dimensions":8,"prototypes":{"file":"x","rows":1},"labels_of":[-1]}',
        b'{"kind":"anomaly","method":"score","limit":0}',
        b'{"kind":"anomaly","method":"score","limit":1e999}',
        b'{"kind":"anomaly","method":"guess","limit":1}',
        b'{"kind":"anomaly","method":"nearest","limit":1}',
        b'{"kind":"anomaly","method":"mahalanobis","limit":1,"reference":{"file":"x","rows":1}}',
        b'{"kind":"anomaly","method":"score","limit":1,"area":0}',
        b'{"kind":"anomaly","method":"score","limit":1,"cell_px":0}',
        b'{"kind":"anomaly","method":"nearest","limit":1,"neighbours":3}',
    ],
)
def test_a_description_that_cannot_be_is_refused_before_anything_is_read(text: bytes):
    """Sizes, shares and temperatures out of bounds; fields and kinds that nobody knows."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Task)
