from molino.transforms.report.training import training_report

SPLIT = {"titles": 120, "loss": 0.5, "accuracy": 0.91, "top5_accuracy": 0.99, "balanced_accuracy": 0.8765}
EPOCH = {"loss": 1.5, "validation_loss": 1.25, "validation_accuracy": 0.8, "validation_balanced_accuracy": 0.75}


def found(**more):
    return {
        "run": "ab" * 32,
        "backend": "tensorflow",
        "options": {"architecture": "mlp-512", "embedding": ["es"], "quiet": True, "rate": 0.001},
        "categories": 4,
        "parameters": 1234,
        "epochs": {"all": [EPOCH, {**EPOCH, "loss": 1.0}]},
        "choice": {},
        "validation": SPLIT | {"low": 0.85, "high": 0.9},
        "test": SPLIT | {"low": 0.85, "high": 0.9},
        "worst": [{"category": "<script>", "titles": 4, "right": 1, "taken_for": [["CUPS", 2], ["LAMPS", 1]]}],
        "times": {"all": [{"seconds": 1.5, "rows_a_second": 1000.4, "waiting": None}]},
    } | more


def test_the_page_tells_what_came_of_it():
    page = training_report(found())
    for text in ("0.8765", "0.8500 to 0.9000", "CUPS (2), LAMPS (1)", "25.00%", "1,234", "Among the first 5", "1,000"):
        assert text in page
    assert "Lines of the loss by epoch; after the last 1.0000 and 1.2500." in page
    assert "<script>" not in page
    assert "One classifier, or one a language" not in page
    assert page == training_report(found())


def test_the_better_choice_of_languages_is_said():
    pair = {"one": 0.7, "each": 0.71}
    choice = {"better": "each", "validation": pair, "test": pair, "test_by_language": {"spanish": pair}}
    page = training_report(found(choice=choice))
    assert "One classifier a language is better on the validation split" in page
    assert "test, spanish" in page
