"""The report of the pca job: true figures, nothing that runs, and the same page for the same arguments."""

import re

import numpy as np
import pytest

from molino.transforms.pca.components import find_components
from molino.transforms.pca.cosine_errors import count_errors, score_sample
from molino.transforms.pca.report import TERMS, pca_report
from molino.transforms.pca.rotate import Findings
from molino.transforms.pca.second_moment import second_moment
from molino.transforms.report.run import RunFacts

EVIL = '<script>alert("x")</script>'
OPTIONS = {"column": ["v"], "numbers": 5, "seed": 1, "against": None, "center": False}
COUNTERS = {"rows_read": 63, "vectors": 60, "rejects": 3, "rejects.infinite": 3, "numbers": 5, "components": 2}


def report_of(vectors, *, kept=2, against=None, labels=None, center=False, scale=1.0, names=()):
    vectors = vectors * scale
    components = find_components(second_moment(vectors, center=center))
    other = vectors[:, ::-1].copy() if against else None
    sample = score_sample(np.arange(len(vectors)), vectors, components, labels, other)
    stored = sample.after[:, :kept]
    how = {"column": "v", "against": against, "stored": stored, "vector_type": "float64", "seed": 1}
    errors = count_errors(sample, components, **how)
    findings = Findings(
        components=components, kept=stored.shape[1], refined=False, sample=sample, errors=errors, stored=stored
    )
    options = OPTIONS | {"against": against, "center": center}
    facts = RunFacts(terms=TERMS, balance=("rows_read", ("vectors", "rejects")), counters=COUNTERS, options=options)
    return pca_report(findings, facts, names), errors.to_pylist()


def draw(rows=60):
    return np.random.default_rng(0).standard_normal((rows, 5)) / np.arange(1, 6)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_it_tells_the_errors():
    page, errors = report_of(draw())
    text = text_of(page)
    assert f"{errors[-1]['cosine_error_mean']:.2g}" in text
    assert f"{errors[-1]['recall_10']:.2%}" in text
    assert "not centred" in text
    assert page.count("data:image/svg+xml") >= 6
    assert report_of(draw())[0] == page


def test_texts_are_escaped():
    page, _ = report_of(draw(), labels=[EVIL] * 60, against="w")
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "Against w" in page


def test_short_vectors_have_loadings_and_their_numbers_beside_the_components():
    page, _ = report_of(draw(), names=["width", "a<b", "c", "d", "e"])
    text = text_of(page)
    components = find_components(second_moment(draw(), center=False))
    for name, row in zip(["width", "a&lt;b", "c", "d", "e"], components.axes, strict=True):
        assert f"{name} {row[0]:.4f} {row[1]:.4f}" in text
    captions = re.findall(r"<figcaption>([^<]*)</figcaption>", page)
    assert [name for name in captions if len(name) < 8] == ["width.", "PC1.", "a&lt;b.", "PC2.", "c.", "d."]
    assert "number 1" in text_of(report_of(draw())[0])


@pytest.mark.parametrize("rows", [0, 1, 2, 60])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("scale", [0, 1e-150, 1, 1e150])
def test_any_data_has_a_report(rows, center, scale):
    page, _ = report_of(draw(rows), center=center, scale=scale, against="w")
    assert "Principal components" in page
    assert "nan" not in text_of(page).lower().replace("is nan", "")
