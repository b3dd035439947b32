"""The predict job: bad inputs, and classifiers that cannot be used."""

import hashlib
import json
import shutil

import pyarrow.parquet as pq
import pytest

from molino.jobs import predict
from molino.transforms.models import embed
from molino.transforms.titles.sample import sample_titles
from tests.answers import ask_here
from tests.docs.test_counters import undeclared


def run(*words):
    return predict.JOB.main([str(word) for word in words])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, hub):
    """A SavedModel that finds a category by the first letter of a title, and says so for a language."""
    import tensorflow as tf

    class First(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="title"),
                tf.TensorSpec([None], tf.string, name="language"),
            ]
        )
        def classify(self, title, language):
            first = tf.strings.join(
                [tf.strings.substr(title, 0, 1, unit="UTF8_CHAR"), tf.strings.substr(language, 0, 1)]
            )
            names = tf.stack([first, tf.fill(tf.shape(first), "OTHER")], 1)
            return {"categories": names, "probabilities": tf.tile([[0.75, 0.25]], [tf.size(title), 1])}

    folder = tmp_path_factory.mktemp("classifier")
    module = First()
    tf.saved_model.save(module, str(folder / "serving"), signatures={"with_language": module.classify})
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture
def here(monkeypatch):
    """Answer in this process what is else asked of another: TensorFlow is here already."""
    monkeypatch.setattr(embed, "ask_tensorflow", ask_here)


@pytest.mark.slow
def test_every_row_has_a_prediction_or_a_reason(classifier, here, tmp_path):
    hostile = sample_titles(str(tmp_path / "t.csv"), rows=800, hostile=True)["hostile"]
    options = ["--quiet", "--workers", "1", "--max-reject-ratio", "0.2"]
    assert run("--model", classifier, "--input", tmp_path / "t.csv", "--output", tmp_path / "out", *options) == 0
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert undeclared(manifest) == set()
    counters = manifest["counters"]
    rejects = {name.removeprefix("rejects."): n for name, n in counters.items() if name.startswith("rejects.")}
    # a title needs no category to have one predicted
    assert rejects == {name: n for name, n in hostile.items() if name not in ("no_category", "bad_category")}
    assert counters["rows_read"] == counters["predictions"] + sum(rejects.values())
    (file,) = manifest["datasets"]["predictions"]["files"]
    for row in pq.read_table(tmp_path / "out" / file["path"]).to_pylist():
        assert row["prediction"] in [row["title"][:1] + language for language in ("s", "p", "")]
        assert row["top_categories"] == [row["prediction"], "OTHER"]
        # what a classifier of an earlier version calls probabilities
        assert (row["top_scores"], row["top_probabilities"]) == ([0.75, 0.25], None)


@pytest.mark.slow
def test_json_lines_are_predicted(classifier, here, tmp_path):
    lines = [b'{"title": "Mesa", "id": 7}', b'{"title": null}', b'{"id": 8, "title": "Silla", "language": "es"}']
    (tmp_path / "t.jsonl").write_bytes(b"\n".join(lines))
    options = ["--quiet", "--workers", "1", "--max-reject-ratio", "1", "--keep", "id"]
    assert run("--model", classifier, "--input", tmp_path / "t.jsonl", "--output", tmp_path / "out", *options) == 0
    (file,) = json.loads((tmp_path / "out/_manifest.json").read_text())["datasets"]["predictions"]["files"]
    rows = pq.read_table(tmp_path / "out" / file["path"]).sort_by("line").to_pylist()
    assert [(row["line"], row["prediction"], row["id"]) for row in rows] == [(1, "M", "7"), (3, "Se", "8")]


def test_a_classifier_is_checked_once_a_machine(classifier, here, tmp_path, monkeypatch):
    from molino.transforms.predict import predict_titles

    asked = []
    monkeypatch.setattr(embed, "ask_tensorflow", lambda *words, **more: asked.append(words) or ask_here(*words, **more))
    monkeypatch.setenv("MOLINO_CACHE", str(tmp_path / "cache"))
    first = predict_titles.plan_classifier(str(classifier))
    assert predict_titles.plan_classifier(str(classifier)) == first
    assert len(asked) == 1
    predict_titles.plan_classifier(str(classifier), trust=True)  # that is another question
    assert len(asked) == 2
    changed = shutil.copytree(classifier, tmp_path / "changed")
    (changed / "serving/more.txt").write_text("x")
    assert predict_titles.plan_classifier(str(changed)).digest != first.digest
    assert len(asked) == 3
    monkeypatch.setenv("MOLINO_CACHE", "/proc/none")  # where nothing can be kept it is checked each time
    assert predict_titles.plan_classifier(str(classifier)) == first
    assert len(asked) == 4


@pytest.mark.slow
def test_what_was_planned_is_near_what_is_counted(classifier, here, tmp_path):
    sample_titles(str(tmp_path / "t.csv"), rows=20_000)
    words = ["--input", tmp_path / "t.csv", "--output", tmp_path / "out", "--quiet", "--workers", "1"]
    assert run("--model", classifier, *words) == 0
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    plan = manifest["plan"]
    assert plan["rows"] == pytest.approx(20_000, rel=0.1)
    assert plan["datasets"]["predictions"] == pytest.approx(manifest["counters"]["predictions"], rel=0.1)
    assert plan["read_bytes"] == (tmp_path / "t.csv").stat().st_size
    assert plan["shuffle_bytes"] == pytest.approx(manifest["used"]["shuffle_bytes"], rel=0.1)


@pytest.mark.slow
def test_one_line_says_what_is_wrong(classifier, here, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("title\nMesa\n")
    words = ["--input", tmp_path / "t.csv", "--output", tmp_path / "out", "--quiet"]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/metrics.json").write_text("{}")
    for model, message in (
        (tmp_path / "nowhere", "there is no model"),
        (tmp_path / "bare", "holds a classifier without serving/, or a language model"),
    ):
        with pytest.raises(SystemExit) as stopped:
            _run_and_exit(model, words)
        assert stopped.value.code == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    with pytest.raises(SystemExit) as stopped:
        _run_and_exit(classifier, [*words, "--model-sha256", hashlib.sha256(b"").hexdigest()])
    assert stopped.value.code == 1
    assert "it is another model, or was changed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _run_and_exit(model, words):
    """Run the command; a failure ends the process by os._exit, here by SystemExit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("molino.jobs.runners.exits.leave", _leave)
        run("--model", model, *words)


def _leave(code):
    raise SystemExit(code)


def test_the_digest_must_be_one(capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--model", "m", "--input", "t", "--output", "o", "--model-sha256", "xyz")
    assert stopped.value.code == 2
    assert "64 digits of a sha256" in capsys.readouterr().err


@pytest.fixture(scope="module")
def odd_classifier(tmp_path_factory, hub):
    """A classifier whose scores of titles with x in them are NaN."""
    import tensorflow as tf

    class Odd(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="title"),
                tf.TensorSpec([None], tf.string, name="language"),
            ]
        )
        def classify(self, title, language):
            odd = tf.strings.regex_full_match(title, ".*x.*")[:, None]
            scores = tf.where(odd, tf.constant([[float("nan")]]), tf.constant([[0.75, 0.25]]))
            names = tf.tile([["A", "B"]], [tf.size(title), 1])
            return {"categories": names, "scores": scores, "probabilities": scores}

    folder = tmp_path_factory.mktemp("odd")
    module = Odd()
    tf.saved_model.save(module, str(folder / "serving"), signatures={"with_language": module.classify})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("way", ["reject", "zero", "keep"])
def test_scores_that_are_not_finite_are_counted_and_told(odd_classifier, here, tmp_path, capsys, way):
    (tmp_path / "t.csv").write_text('title\n"Mesa\nlarga"\nMixta\nSilla\n')
    words = ["--input", tmp_path / "t.csv", "--output", tmp_path / "out", "--quiet", "--workers", "1"]
    assert run("--model", odd_classifier, *words, "--not-finite", way, "--max-reject-ratio", "0.5") == 0
    told = capsys.readouterr().err
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert [each["count"] for each in manifest["warnings"]] == [1]
    assert "not finite" in told
    (file,) = manifest["datasets"]["predictions"]["files"]
    rows = pq.read_table(tmp_path / "out" / file["path"]).to_pylist()
    assert [row["record"] for row in rows] == ([1, 3] if way == "reject" else [1, 2, 3])
    assert [row["line"] for row in rows][-1] == 5
    assert rows[0]["top_scores"] == rows[0]["top_probabilities"] == [0.75, 0.25]
    if way == "reject":
        assert manifest["counters"]["rejects.not_finite"] == 1
    else:
        assert "t.csv line 4" in told
        assert str(rows[1]["top_scores"]) == ("[0.0, 0.0]" if way == "zero" else "[nan, nan]")
