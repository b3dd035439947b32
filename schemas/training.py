"""What training writes."""

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema

TOP = 5

PREDICTIONS = schema(
    "training.predictions",
    2,
    field("id", pa.int64(), "Id of the title in the run"),
    field("split", pa.string(), "validation or test"),
    field("label", pa.int32(), "Number of its category in the run's labels; -1 when training has no title of it"),
    field("prediction", pa.int32(), "The most likely label"),
    field("top_labels", list_of(pa.int32()), "The five likeliest, in order"),
    optional(
        "top_probabilities",
        list_of(pa.float32()),
        "How likely they are; all labels have 1 together. Null where the model is balanced and not calibrated",
    ),
    field(
        "top_scores",
        list_of(pa.float32()),
        "What they are ordered by; all labels have 1 together. Balanced: as if all categories were equally frequent",
    ),
)

TRIALS = schema(
    "training.trials",
    1,
    field("trial", pa.string(), "Name of the experiment, or the model and the number of the repeat"),
    field("model", pa.string(), "Language model"),
    field("titles", pa.int64(), "Titles that were predicted"),
    field("classes", pa.int32(), "Categories among them"),
    field("accuracy", pa.float64(), "Share of the titles that were predicted right"),
    field("balanced_accuracy", pa.float64(), "Mean recall over the categories"),
    field("low", pa.float64(), "Lower bound of it at 95 %, by a bootstrap over titles"),
    field("high", pa.float64(), "Upper bound"),
    optional("published", pa.float64(), "Balanced accuracy that was published; null where none was"),
    optional("epochs", pa.int32(), "Epochs trained; null for a published experiment"),
    optional("seconds", pa.float64(), "Of training; null without --timings"),
    optional("peak_bytes", pa.int64(), "Most memory of the process until its end; null as above"),
)

MODELS = schema(
    "training.models",
    1,
    field("model", pa.string(), "Language model"),
    optional("language", pa.string(), "en or es; null where the name does not say"),
    field("normalized", pa.string(), "yes where the name has norm in it: punctuation is removed; else no"),
    optional("dim", pa.string(), "Numbers of a vector; null where nothing says"),
    field("repeats", pa.int32(), "Trials"),
    field("balanced_accuracy", pa.float64(), "Mean over the trials"),
    optional("deviation", pa.float64(), "Standard deviation of the trials; null of one"),
    field("low_titles", pa.float64(), "Lower bound at 95 %, by a bootstrap over titles"),
    field("high_titles", pa.float64(), "Upper bound"),
    optional("low_repeats", pa.float64(), "Lower bound at 95 %, by a bootstrap over repeats; null of one"),
    optional("high_repeats", pa.float64(), "Upper bound"),
    field("low", pa.float64(), "Lower bound at 95 %, by both"),
    field("high", pa.float64(), "Upper bound"),
    field("below_best", pa.float64(), "How far below the best model, by the means"),
    field("below_best_low", pa.float64(), "Lower bound of that, by both, at 95 % for all models together"),
    field("below_best_high", pa.float64(), "Upper bound"),
)

EFFECTS = schema(
    "training.effects",
    1,
    field("factor", pa.string(), "language, normalized or dim"),
    field("high", pa.string(), "The value with the higher mean"),
    field("low", pa.string(), "The value with the lower"),
    field("difference", pa.float64(), "Mean, over pairs of models that differ in this alone, of the difference"),
    field("low_bound", pa.float64(), "Lower bound at 95 %, by a bootstrap over titles and repeats"),
    field("high_bound", pa.float64(), "Upper bound"),
    field("p", pa.float64(), "By a permutation of the trials within each pair, two-sided"),
    field("holm", pa.float64(), "The same, corrected for the number of factors"),
    field("strata", pa.int32(), "Pairs of models"),
    field("trials", pa.int32(), "Trials in them"),
)

# of train titles, train compare and model train; each has some of them
COUNTERS = {
    "titles_read": "Titles of the run that is trained on",
    "train": "Of these, those to train with",
    "validation": "Of these, those to choose among epochs or to measure with",
    "test": "Of these, those to measure the chosen one with",
    "left_out": "Of these, those without a known category, of model train",
    "predictions": "Rows written: a prediction for each title of validation and test",
    "trials": "Trainings that are compared",
    "models": "Models that are compared",
    "effects": "Factors whose effect is measured",
}
