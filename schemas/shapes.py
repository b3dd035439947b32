"""What the shapes job writes: points, networks, and what these say of the test points."""

import pyarrow as pa

from molino.schemas import field, list_of, optional, schema

POINTS = schema(
    "shapes.points",
    1,
    field("problem", pa.string(), "positivos, linear, circle, ring, cos or polar"),
    optional("r", pa.float64(), "Radius or frequency of the problem; null where it has none"),
    field("split", pa.string(), "train, validation or test"),
    field("row", pa.int32(), "Number of the point in its split, from 0; all problems have the same points"),
    field("x", pa.float64(), "From -1 to 1"),
    field("y", pa.float64(), "From -1 to 1"),
    field("label", pa.bool_(), "Whether the point lies in the shape"),
)

RUNS = schema(
    "shapes.runs",
    1,
    field("run", pa.int32(), "Number of the network in the sweep, from 0"),
    field("problem", pa.string(), "positivos, linear, circle, ring, cos or polar"),
    optional("r", pa.float64(), "Radius or frequency of the problem; null where it has none"),
    field("hidden", list_of(pa.int32(), item="item"), "Nodes of every hidden layer"),
    field("batch", pa.int32(), "Points in a step"),
    field("steps", pa.int32(), "Steps of gradient descent"),
    field("rate", pa.float64(), "Learning rate of the first step"),
    field("decay", pa.float64(), "The rate is multiplied by it every `decay_steps` steps; 1 keeps it"),
    field("decay_steps", pa.int32(), "Steps between two decays"),
    field("l2", pa.float64(), "beta: the loss has beta/2 times the sum of squares of every matrix of weights"),
    field("deviation", pa.float64(), "Standard deviation of the initial weights before they are cut at two of it"),
    field("seed", pa.int64(), "Of the initial weights"),
    field("parameters", pa.int64(), "Weights and biases"),
    field("loss", pa.float32(), "Cross-entropy of the training points and penalty, at the end; NaN where it diverged"),
    field("train_accuracy", pa.float64(), "Share of the training points that the network has right"),
    field("validation_accuracy", pa.float64(), "Of the validation points"),
    field("test_accuracy", pa.float64(), "Of the test points"),
    field("base", pa.float64(), "Share of the larger class among the test points: what no network at all has right"),
    field("diverged", pa.bool_(), "Whether a weight or bias is infinite or no number; it then says false of all"),
    field("curve_step", list_of(pa.int32(), item="item"), "Steps at which the loss was noted, from 0; about 50"),
    field(
        "curve_loss",
        list_of(pa.float32(), item="item"),
        "Loss of that step's batch, penalty included, before the step is taken",
    ),
    optional("seconds", pa.float32(), "Time of the training alone; null by option"),
)

PREDICTIONS = schema(
    "shapes.predictions",
    1,
    field("run", pa.int32(), "Number of the network in the sweep"),
    field("row", pa.int32(), "Number of the point among the test points"),
    field("x", pa.float32(), "As the network saw it: `x` of the point, rounded"),
    field("y", pa.float32(), "As the network saw it"),
    field("label", pa.bool_(), "Whether the point lies in the shape"),
    field("predicted", pa.bool_(), "What the network says"),
    field("probability", pa.float32(), "That the point lies in the shape, by the network"),
)

COUNTERS = {
    "networks": "Networks of the sweep",
    "runs": "Rows written: one for each network",
    "diverged": "Networks whose weights became infinite",
    "points": "Points written, of every problem and split",
    "predictions": "Predictions written, of every network and test point",
    "units": "Work units, one for each network",
    "units.resumed": "Of these, those that an earlier attempt had done",
}
