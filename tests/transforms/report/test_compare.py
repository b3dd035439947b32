from molino.transforms.report.compare import compare_report

MODEL = {
    "language": "es",
    "normalized": "yes",
    "dim": "50",
    "repeats": 1,
    "deviation": None,
    "low_titles": 0.7,
    "high_titles": 0.72,
    "low_repeats": None,
    "high_repeats": None,
    "low": 0.69,
    "high": 0.73,
}
TRIAL = {"titles": 1000, "classes": 12, "accuracy": 0.8, "low": 0.7, "high": 0.72, "epochs": 3, "seconds": 4.5}
EFFECT = {
    "factor": "language",
    "high": "es",
    "low": "en",
    "difference": 0.0231,
    "low_bound": 0.01,
    "high_bound": 0.03,
    "p": 0.004,
    "holm": 0.012,
    "strata": 1,
    "trials": 2,
}


def found(published=None):
    far = {"below_best_low": 0.0, "below_best_high": 0.0}
    return {
        "models": [
            {**MODEL, **far, "model": "<script>best", "balanced_accuracy": 0.7123, "below_best": 0.0},
            {**MODEL, **far, "model": "second", "balanced_accuracy": 0.7001, "below_best": 0.0122},
        ],
        "trials": [
            {**TRIAL, "trial": f"{m} 1", "model": m, "balanced_accuracy": b, "published": published, "peak_bytes": 2e9}
            for m, b in (("<script>best", 0.7123), ("second", 0.7001))
        ],
        "effects": [EFFECT],
        "sentences": ["Spanish models score +0.0231 above English models."],
        "draws": 500,
        "own_titles": False,
    }


def test_the_page_says_what_was_found():
    shown = compare_report(found())
    for text in ("Spanish models score +0.0231", "0.7123", "0.0122 (+0.0000 to +0.0000)", "0.6900 to 0.7300", "4.5"):
        assert text in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;best" in shown
    assert shown == compare_report(found())


def test_published_trials_have_no_seconds():
    shown = compare_report(found(published=0.7111))
    assert "0.7111" in shown
    assert "Seconds" not in shown
